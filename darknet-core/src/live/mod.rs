//! Watching an interface: the kernel counts, header records are observed, windows close by the
//! clock.

mod figures;
mod host;
mod observer;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    Error, Filter, Sample, Telescope,
    aggregate::Seed,
    kernel::{Attachment, BankFigures, Kernel, Settings},
    time::{Nanoseconds, timestamp},
    window::Window,
};

pub use figures::LiveFigures;
use observer::Observer;

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The interface.
    pub interface: String,
    /// Whether packets are delivered to userspace, beside being counted.
    pub packets: Packets,
    /// When to stop by itself.
    pub duration: Option<Duration>,
    /// Whether every destination may be dark (where there is no prefix), addresses of this host
    /// included: their traffic is dropped.
    pub any: bool,
    /// Sources whose packets to dark space are neither counted nor delivered.
    pub filter: Filter,
    /// Which counted packets are delivered.
    pub sample: Sample,
    /// Bytes that the kernel's tables may take; `None` leaves it to the host.
    pub kernel_memory: Option<usize>,
    /// Whether packets are also counted by class, port and source network together.
    pub networks_by_port: bool,
    /// A folder in a bpffs where the program's tables are pinned; `None` pins nothing.
    pub pins: Option<PathBuf>,
}

impl Watch {
    /// Watches `interface` and delivers headers of all packets, until it is stopped. Nothing is
    /// filtered or pinned.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            packets: Packets::Headers,
            duration: None,
            any: false,
            filter: Filter::default(),
            sample: Sample::default(),
            kernel_memory: None,
            networks_by_port: false,
            pins: None,
        }
    }
}

/// What is delivered of each counted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Header records: hosts and sources are known.
    Headers,
    /// Nothing: the kernel's counts only.
    None,
}

/// What a watch tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// The program is attached: counting has begun.
    Started(&'a Attachment),
    /// At the start and once a second: the open window so far, without sources. Its ledger may be
    /// off by the packets in flight.
    Open(&'a Window<LiveFigures>),
    /// A window has closed, and its ledger adds up.
    Closed(&'a mut Window<LiveFigures>),
}

/// Between two looks at the clock, and at whether to stop.
const TICK: Duration = Duration::from_millis(20);
/// Between two events of the open window.
const REFRESH: Duration = Duration::from_secs(1);

impl Telescope {
    /// Watches an interface until `stop` is set, or its time is over.
    ///
    /// # Minimum kernel version
    ///
    /// 6.1 is the oldest that it was tried on.
    ///
    /// # Errors
    ///
    /// No privilege; no such interface, or one that vanishes (the windows up to then have been
    /// told of); a program of somebody else on it; no dark prefix, or one that holds an address
    /// of this host that is not excluded; a ledger that does not add up.
    pub fn watch(
        &self,
        watch: &Watch,
        stop: &AtomicBool,
        mut event: impl FnMut(Event<'_>),
    ) -> Result<(), Error> {
        host::check(&self.dark, watch.any)?;
        let settings = Settings {
            dark: self.dark.clone(),
            filter: watch.filter.clone(),
            sample: watch.sample,
            records: watch.packets == Packets::Headers,
            networks_by_port: watch.networks_by_port,
            memory: watch.kernel_memory,
            ..Settings::default()
        };
        let mut kernel = Kernel::load(&settings)?;
        let observer = match kernel.take_records() {
            Some(records) => {
                let observer = Observer::start(records, Seed::random(), self.memory);
                Some(observer.map_err(Error::Thread)?)
            }
            None => None,
        };
        event(Event::Started(kernel.attach(&watch.interface)?));

        let begun = Instant::now();
        let mut refreshed: Option<Instant> = None;
        let mut start = self.window_start(now());
        let outcome = loop {
            thread::sleep(TICK);
            if stop.load(Ordering::Relaxed)
                || watch.duration.is_some_and(|time| begun.elapsed() >= time)
            {
                break Ok(());
            }
            if let Err(gone) = kernel.check() {
                break Err(gone);
            }
            let now = now();
            // A clock that was set back leaves the window open until it has caught up.
            if self.window_start(now) > start {
                let end = self.window_start(now);
                let mut window = close(&mut kernel, observer.as_ref(), (start, end))?;
                event(Event::Closed(&mut window));
                start = end;
                refreshed = Some(Instant::now());
            } else if refreshed.is_none_or(|refreshed| refreshed.elapsed() >= REFRESH) {
                let end = start.saturating_add(self.window);
                event(Event::Open(&window(kernel.live()?, None, (start, end))));
                refreshed = Some(Instant::now());
            }
        };
        // First no more packets, then what they said.
        kernel.detach();
        let end = start.saturating_add(self.window);
        let mut window = close(&mut kernel, observer.as_ref(), (start, end))?;
        event(Event::Closed(&mut window));
        outcome
    }

    /// Where the window of a time begins.
    fn window_start(&self, time: Nanoseconds) -> Nanoseconds {
        time.div_euclid(self.window).saturating_mul(self.window)
    }
}

fn now() -> Nanoseconds {
    Timestamp::now()
        .as_nanosecond()
        .try_into()
        .unwrap_or(Nanoseconds::MAX)
}

/// Closes the current epoch: both planes cut the same packets, as records carry their epoch.
fn close(
    kernel: &mut Kernel,
    observer: Option<&Observer>,
    edges: (Nanoseconds, Nanoseconds),
) -> Result<Window<LiveFigures>, Error> {
    let mut counts = kernel.flip_and_drain()?;
    let mut sources = None;
    if let Some(observed) = observer.and_then(|observer| observer.finish(counts.epoch as u32)) {
        counts.ledger.observed = observed.packets;
        sources = Some(observed.sources);
    }
    counts.ledger.check()?;
    Ok(window(counts, sources, edges))
}

fn window(
    counts: BankFigures,
    sources: Option<crate::aggregate::Sources>,
    (start, end): (Nanoseconds, Nanoseconds),
) -> Window<LiveFigures> {
    Window {
        edges: Some((timestamp(start), timestamp(end))),
        ledger: counts.ledger.clone(),
        complete: true,
        aggregate: LiveFigures::new(counts, sources),
    }
}
