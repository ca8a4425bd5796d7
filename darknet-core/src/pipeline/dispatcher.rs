use std::mem;

use crossbeam::channel::{Receiver, Sender};
use darknet_ebpf::{Cell, Malformed, Outer, Packet, Payload, Version, outer};

use super::{Bank, Batch, Cut, Order, Report};
use crate::{
    Error, Telescope,
    aggregate::Observation,
    ledger::Ledger,
    source::{Record, Source},
    time::{Clock, Nanoseconds, WindowNumber},
};

/// Decides each packet's fate, and hands the counted ones to the workers.
pub(super) struct Dispatcher<'a, A> {
    telescope: &'a Telescope,
    cut: Cut,
    clock: Clock,
    /// The time of the last record that had one.
    time: Nanoseconds,
    /// The banks that are open, the oldest first: at most two, and that of the last packet.
    open: Vec<Open>,
    /// Bytes of each payload that aggregates want.
    wanted: usize,
    orders: Vec<Sender<Order>>,
    returned: Receiver<Batch>,
    reports: Sender<Report<A>>,
    /// The source has lost nothing so far.
    complete: bool,
    /// Nobody listens any more.
    stopped: bool,
}

/// A bank that is open.
struct Open {
    bank: Bank,
    /// The first and the last window in it, `None` before the first packet.
    windows: Option<(WindowNumber, WindowNumber)>,
    ledger: Ledger,
    /// What has not been handed over yet, for each worker.
    pending: Vec<Batch>,
}

impl<'a, A> Dispatcher<'a, A> {
    pub(super) fn new(
        telescope: &'a Telescope,
        cut: Cut,
        wanted: usize,
        orders: Vec<Sender<Order>>,
        returned: Receiver<Batch>,
        reports: Sender<Report<A>>,
    ) -> Self {
        Self {
            telescope,
            cut,
            clock: Clock::new(telescope.window, telescope.grace),
            time: 0,
            open: Vec::with_capacity(2),
            wanted,
            orders,
            returned,
            reports,
            complete: true,
            stopped: false,
        }
    }

    /// Takes every record of `source`.
    pub(super) fn run(&mut self, source: &mut impl Source) -> Result<(), Error> {
        loop {
            self.complete = source.is_complete();
            // Only now: what was lost before the last packet, older windows may have lost.
            if self.open.len() > 1 {
                self.close_old();
            }
            let Some(record) = source.next()? else {
                return Ok(());
            };
            self.record(&record);
            if self.stopped {
                return Ok(());
            }
        }
    }

    /// Closes every bank. `complete` says whether the source has lost nothing.
    pub(super) fn finish(mut self, complete: bool) {
        self.complete = complete;
        if self.cut == Cut::Whole && self.open.is_empty() {
            // Where nothing came, there is still one document that says so.
            self.open(0);
        }
        for open in mem::take(&mut self.open) {
            self.close(open);
        }
    }

    #[inline]
    fn record(&mut self, record: &Record<'_>) {
        self.time = record.time.unwrap_or(self.time);
        let place = self.clock.place(self.time);
        let bank = match self.cut {
            Cut::Windows => place.window,
            Cut::Whole => 0,
        };
        let at = self.open.iter().position(|open| open.bank == bank);
        let at = at.unwrap_or_else(|| self.open(bank));
        let open = &mut self.open[at];
        if open
            .windows
            .is_none_or(|(first, last)| place.window < first || place.window > last)
        {
            let (first, last) = open.windows.unwrap_or((place.window, place.window));
            open.windows = Some((first.min(place.window), last.max(place.window)));
        }
        open.ledger.received += 1;
        open.ledger.late += u64::from(place.late);
        open.ledger.untimed += u64::from(record.time.is_none());
        match self.fate(record) {
            None => self.open[at].ledger.end(Cell::Passed),
            Some((packet, payload)) => self.deliver(at, packet, payload),
        }
    }

    /// The packet as it is counted, and what it carries, if that is wanted; or `None` if it passes.
    #[inline]
    fn fate<'r>(&self, record: &Record<'r>) -> Option<(Packet, Payload<'r>)> {
        let dark = &self.telescope.dark;
        let malformed = (Packet::MALFORMED, Payload::default());
        match outer(record.data, record.link?) {
            Outer::NotIp => None,
            Outer::Unreadable => dark.is_any().then_some(malformed),
            Outer::Ip(ip) => {
                let destination = match ip.version {
                    Version::V4 => ip.destination.v4().into(),
                    Version::V6 => ip.destination.v6(),
                };
                let is_dark = dark.is_dark(ip.version, destination);
                is_dark.then(|| {
                    let mut packet = Packet::MALFORMED;
                    match ip.walk(record.data, &mut packet) {
                        Ok(_) if self.wanted == 0 => (packet, Payload::default()),
                        Ok(at) => (packet, packet.payload(record.data, ip.network, at)),
                        Err(Malformed) => malformed,
                    }
                })
            }
        }
    }

    #[inline]
    fn deliver(&mut self, at: usize, packet: Packet, payload: Payload<'_>) {
        let observation = Observation::new(packet, self.time, &self.telescope.seed);
        let worker = observation.shard() % self.orders.len();
        let Open {
            bank,
            ledger,
            pending,
            ..
        } = &mut self.open[at];
        ledger.counted += 1;
        ledger.end(Cell::Delivered);
        let pending = &mut pending[worker];
        pending.push(observation, payload, self.wanted);
        if pending.is_full() {
            let empty = self.returned.try_recv();
            let empty = empty.unwrap_or_else(|_| Batch::new());
            let batch = mem::replace(pending, empty);
            let order = Order::Observe { bank: *bank, batch };
            self.stopped |= self.orders[worker].send(order).is_err();
        }
    }

    fn open(&mut self, bank: Bank) -> usize {
        let pending = self.orders.iter().map(|_| Batch::new());
        let open = Open {
            bank,
            windows: None,
            ledger: Ledger::default(),
            pending: pending.collect(),
        };
        let at = self.open.partition_point(|open| open.bank < bank);
        self.open.insert(at, open);
        at
    }

    /// Closes the windows that no packet can go into any more, the oldest first.
    fn close_old(&mut self) {
        let oldest = self.clock.oldest_open();
        while self.open.first().is_some_and(|open| open.bank < oldest) {
            let open = self.open.remove(0);
            self.close(open);
        }
    }

    fn close(&mut self, open: Open) {
        let Open {
            bank,
            windows,
            ledger,
            pending,
        } = open;
        for (orders, batch) in self.orders.iter().zip(pending) {
            self.stopped |= orders.send(Order::Close { bank, batch }).is_err();
        }
        let edges = windows.map(|(first, last)| {
            let end = self.clock.start(last.saturating_add(1));
            (self.clock.start(first), end)
        });
        let closing = Report::Closing {
            bank,
            ledger,
            edges,
            complete: self.complete,
        };
        self.stopped |= self.reports.send(closing).is_err();
    }
}
