use std::time::{Duration, Instant};

use darknet_ebpf::Cell;

use super::{
    Change, Control, Event, LiveFigures, Packets, Started, Watch,
    account::Account,
    checks::mismatches,
    clock::time_of_day,
    host,
    inlet::Inlet,
    pool::Make,
    queues::{self, Opened},
    timings::Clocked,
    workers::{Told, Workers, half_of_the_processors},
};
use crate::{
    Error, Nanoseconds, Telescope,
    aggregate::Aggregate,
    kernel::{BankFigures, Delivery, Inheritance, Kernel, Records, Settings},
    time::timestamp,
    window::Window,
    xsk::{Outcome, Queue},
};

/// How long it is waited for what workers show: they are asked once a second.
const PATIENCE: Duration = Duration::from_millis(200);

/// How late a window may be cut whose edges are still said to be those that were meant: it is looked at
/// every 20 ms, if nothing holds that up.
const LATE: Nanoseconds = 1_000_000_000;

/// Processes that may give up in a row and leave what they counted, each in tables of its own: who starts
/// them again and again must not fill the host's memory.
const GENERATIONS: usize = 8;

/// A watch that runs.
pub(super) struct Session<'a, A> {
    telescope: &'a Telescope,
    control: &'a Control<A>,
    pub(super) settings: Settings,
    pub(super) kernel: Kernel,
    packets: Packets,
    refused: Option<Error>,
    outcomes: Vec<Outcome>,
    workers: Option<Workers<A>>,
    account: Account,
    /// Where the open window begins.
    pub(super) start: Nanoseconds,
    /// When workers were asked what they show of it, and it has not been shown yet.
    asked: Option<Instant>,
    /// What was shown of the open turn: ports and ICMP messages.
    shown: BankFigures,
    /// What the interface had missed when the last window closed.
    pub(super) missed: u64,
}

impl<'a, A: Aggregate + 'static> Session<'a, A> {
    /// Loads the program, and starts the threads that observe what is delivered.
    pub(super) fn begin(
        telescope: &'a Telescope,
        watch: &Watch,
        control: &'a Control<A>,
        make: Make<A>,
    ) -> Result<Self, Error> {
        let Opened {
            packets,
            queues,
            refused,
        } = queues::open(watch)?;
        let settings = Settings {
            dark: telescope.dark.clone(),
            filter: watch.filter.clone(),
            sample: watch.sample,
            delivery: match packets {
                Packets::Frames => Delivery::Frames,
                Packets::Headers => Delivery::Headers,
                Packets::Auto | Packets::None => Delivery::None,
            },
            networks_by_port: watch.networks_by_port,
            memory: watch.kernel_memory,
            pins: watch.pins.clone(),
            no_metadata: watch.no_metadata,
            ..Settings::default()
        };
        let kernel = Kernel::load(&settings)?;
        let threads = match packets {
            Packets::Frames => queues.len(),
            Packets::Headers => watch.workers.unwrap_or_else(half_of_the_processors).max(1),
            Packets::Auto | Packets::None => 0,
        };
        let epoch = kernel.epoch() as u32;
        let start = || Workers::start(threads, telescope, make, epoch);
        let mut session = Self {
            telescope,
            control,
            settings,
            kernel,
            packets,
            refused,
            outcomes: Vec::new(),
            workers: (threads > 0).then(start).transpose()?,
            account: Account::new(packets == Packets::Frames),
            start: telescope.window_start(time_of_day()),
            asked: None,
            shown: BankFigures::default(),
            missed: 0,
        };
        // Before the program is attached, so that no frame finds no socket.
        session.take_frames(queues)?;
        Ok(session)
    }

    /// Begins to count.
    pub(super) fn attach(&mut self, watch: &Watch) -> Result<(), Error> {
        self.kernel.attach(&watch.interface)?;
        if self.packets == Packets::Frames {
            // Some drivers change their queues when a program comes.
            let known = self.outcomes.len() as u32;
            let more = queues::further(&watch.interface, &watch.sockets, known)?;
            self.take_frames(more)?;
        }
        self.missed = self.kernel.missed()?;
        Ok(())
    }

    /// What the host has given.
    ///
    /// # Panics
    ///
    /// Before it is attached.
    pub(super) fn started(&self) -> Started<'_> {
        Started {
            attachment: self.kernel.attachment().expect("attached before"),
            memory: self.kernel.memory(),
            packets: self.packets,
            queues: &self.outcomes,
            refused: self.refused.as_ref(),
        }
    }

    /// Has the frames of these queues taken.
    fn take_frames(&mut self, queues: Vec<Queue>) -> Result<(), Error> {
        let Some(workers) = &self.workers else {
            return Ok(());
        };
        for queue in &queues {
            self.kernel.deliver_to(queue.outcome().queue, queue)?;
            self.outcomes.push(queue.outcome().clone());
        }
        workers.add(queues.into_iter().map(Inlet::from).collect());
        Ok(())
    }

    /// Tells of what a telescope before this one has left, and takes this one's records.
    pub(super) fn inherit(&mut self, event: &mut impl FnMut(Event<'_, A>)) -> Result<(), Error> {
        let cut = Instant::now();
        let Some(inheritance) = self.kernel.inheritance(&self.settings.dark)? else {
            self.take_records();
            return self.kernel.handed_over(self.start);
        };
        let Inheritance {
            mut figures,
            begun,
            same_dark,
            records,
        } = inheritance;
        let mut told = None;
        let mut has_payloads = self.packets == Packets::Frames;
        if let Some(workers) = &self.workers {
            has_payloads &= records.is_empty();
            let rings = records.into_iter().flat_map(Records::into_rings);
            workers.inherit(rings.map(Inlet::Headers).collect());
            told = Some(workers.finish(figures.epoch as u32));
        }
        // Before anything is printed, which takes longer than the new rings may take to be full.
        self.take_records();
        // What the other process had taken, it has not told of.
        let packets = told.as_ref().map_or(0, |told| told.observed.packets());
        let delivered = figures.ledger.cell(Cell::Delivered);
        let abandoned = delivered.saturating_sub(packets);
        figures.ledger.lose(Cell::Abandoned, abandoned);
        if !figures.tells_ports_apart() {
            figures.networks.say_by_port(false);
        }
        // 0: it was killed before it could say. And a clock may have been set back.
        let begun = if begun == 0 { self.start } else { begun };
        let first = self.telescope.window_start(begun).min(self.start);
        let mut window = self.checked(figures, told, cut, (first, self.end()));
        window.dark_is_known = same_dark;
        window.aggregate.has_payloads = has_payloads;
        self.hand_over(window, self.start, event)
    }

    /// Lets the kernel count by other settings. The open window is cut here: its first part is
    /// what was counted by the old ones.
    pub(super) fn change(
        &mut self,
        change: Change,
        any: bool,
        event: &mut impl FnMut(Event<'_, A>),
    ) -> Result<(), Error> {
        let Change {
            dark,
            filter,
            sample,
        } = change;
        host::check(&dark, any)?;
        let settings = Settings {
            dark,
            filter,
            sample,
            ..self.settings.clone()
        };
        let cut = Instant::now();
        let former = self.kernel.swap(&settings)?;
        // First: the new rings may be full before the old tables are read.
        self.take_records();
        let figures = former.remains()?;
        let observed = self.observed(figures.epoch);
        let window = self.checked(figures, observed, cut, (self.start, self.end()));
        self.settings = settings;
        self.hand_over(window, self.start, event)
    }

    /// Closes the open window; the next begins at `next`, which is earlier if the clock was set back.
    pub(super) fn close(
        &mut self,
        next: Nanoseconds,
        event: &mut impl FnMut(Event<'_, A>),
    ) -> Result<(), Error> {
        let cut = Instant::now();
        let late = time_of_day().saturating_sub(next.max(self.end()));
        let figures = self.kernel.cut()?;
        let observed = self.observed(figures.epoch);
        if next < self.start {
            tracing::warn!(
                "the clock was set back from {} to {}: times come twice",
                timestamp(self.start),
                timestamp(next)
            );
        }
        // Whoever was held up for long, by a disk or a debugger, has counted the next one in it too.
        let last = match late > LATE {
            true => next.saturating_add(self.telescope.window),
            false => next,
        };
        let edges = (self.start, last.max(self.end()));
        let window = self.checked(figures, observed, cut, edges);
        self.start = next;
        self.hand_over(window, next, event)
    }

    /// Tells of the open window, as nobody will be there when it closes. What is pinned counts on
    /// in it.
    pub(super) fn leave(&mut self, event: &mut impl FnMut(Event<'_, A>)) -> Result<(), Error> {
        let cut = Instant::now();
        let figures = self.kernel.cut()?;
        // What they would take from now on, they could tell nobody; the next process can.
        let workers = self.workers.take();
        let observed = workers.map(|workers| workers.leave(figures.epoch as u32));
        let window = self.checked(figures, observed, cut, (self.start, self.end()));
        self.hand_over(window, self.start, event)
    }

    /// Tells of a closed window; what is left of its aggregate is used again. The kernel forgets it, and
    /// knows that what comes next is of a window that begins at `next`.
    fn hand_over(
        &mut self,
        mut window: Window<LiveFigures<A>>,
        next: Nanoseconds,
        event: &mut impl FnMut(Event<'_, A>),
    ) -> Result<(), Error> {
        // What workers were asked was of this one.
        self.asked = None;
        event(Event::Closed(&mut window));
        if let (Some(workers), Some(used)) = (&self.workers, window.aggregate.observed) {
            workers.take_back(used);
        }
        if !self.control.is_given_up() {
            return self.kernel.handed_over(next);
        }
        let left = self.kernel.generations();
        if left <= GENERATIONS {
            return Ok(());
        }
        tracing::error!("{left} processes have told nobody what they counted: it is lost");
        self.kernel.handed_over(next)
    }

    /// Has a worker die: for tests.
    pub(super) fn end_worker(&self, number: usize) {
        if let Some(workers) = &self.workers {
            workers.end(number);
        }
    }

    /// Whether all that is to be shown of the open window is there. It is asked for where it was not
    /// yet; who does not answer is not waited for.
    pub(super) fn may_be_shown(&mut self, watch: &Watch) -> bool {
        let Some(workers) = self.workers.as_ref().filter(|_| watch.publish) else {
            return true;
        };
        let asked = self.asked.get_or_insert_with(|| {
            workers.ask();
            Instant::now()
        });
        workers.have_answered() || asked.elapsed() > PATIENCE
    }

    /// The open window so far.
    pub(super) fn open(&mut self) -> Result<Window<LiveFigures<A>>, Error> {
        let mut live = self.kernel.live()?;
        live.lift(&mut self.shown);
        let epoch = live.epoch as u32;
        let mut window = self.window(live, None, (self.start, self.end()));
        if let (Some(workers), Some(_)) = (&self.workers, self.asked.take()) {
            window.aggregate.published = workers.published(epoch);
        }
        Ok(window)
    }

    fn end(&self) -> Nanoseconds {
        self.start.saturating_add(self.telescope.window)
    }

    /// Both planes cut the same packets, as records carry their epoch.
    fn observed(&self, epoch: u64) -> Option<Told<A>> {
        Some(self.workers.as_ref()?.finish(epoch as u32))
    }

    /// Has the records of the program that counts now taken.
    fn take_records(&mut self) {
        if let (Some(workers), Some(records)) = (&self.workers, self.kernel.take_records()) {
            let rings = records.into_rings().into_iter();
            workers.replace(rings.map(Inlet::Headers).collect());
        }
    }

    /// A window that has closed, with what does not add up in it.
    fn checked(
        &mut self,
        mut figures: BankFigures,
        observed: Option<Told<A>>,
        cut: Instant,
        edges: (Nanoseconds, Nanoseconds),
    ) -> Window<LiveFigures<A>> {
        if let Ok(missed) = self.kernel.missed() {
            // It begins anew where a driver resets its counters.
            figures.ledger.missed_nic = missed.checked_sub(self.missed).unwrap_or(missed);
            self.missed = missed;
        }
        let mut aggregate = None;
        let mut clocked = Clocked::new();
        let [mut faults, mut panics] = [const { Vec::new() }; 2];
        if let Some(told) = observed {
            self.account.settle(&mut figures.ledger, &told);
            clocked.drained(&told.observed.waiting, told.took);
            if told.is_partial {
                faults.push(DEAD_WORKER.to_owned());
            }
            for panic in told.observed.part.panics {
                tracing::error!("{panic}");
                panics.push(panic);
            }
            aggregate = told.observed.part.aggregate;
        }
        faults.extend(mismatches(&figures));
        for fault in &faults {
            tracing::error!("{fault}; this is a bug in Darknet, please report it");
        }
        faults.extend(panics);
        let mut window = self.window(figures, aggregate, edges);
        window.faults = faults;
        clocked.closed(cut.elapsed());
        window.aggregate.clocked = clocked;
        window
    }

    fn window(
        &self,
        mut figures: BankFigures,
        observed: Option<A>,
        (start, end): (Nanoseconds, Nanoseconds),
    ) -> Window<LiveFigures<A>> {
        figures.networks.say_by_port(self.settings.networks_by_port);
        let mut window = Window {
            edges: Some((timestamp(start), timestamp(end))),
            epochs: Some((figures.first_epoch, figures.epoch)),
            ledger: figures.ledger.clone(),
            complete: true,
            faults: Vec::new(),
            dark_is_known: true,
            aggregate: LiveFigures::new(figures, observed, Clocked::new()),
        };
        window.aggregate.has_payloads = self.packets == Packets::Frames;
        window
    }
}

/// What a window says that has been told by some workers only.
const DEAD_WORKER: &str =
    "a worker has died, and with it what it would have observed: lost.abandoned; a restart helps";
