//! Watching an interface: the kernel counts, frames or records of their headers are observed, windows
//! close by the clock.

/// Where delivered packets ended.
mod account;
/// Whether a window adds up.
mod checks;
/// The time of packets.
mod clock;
mod control;
/// What workers observe, by window.
mod epochs;
mod figures;
mod host;
/// Records and frames, as a worker takes them.
mod inlet;
/// Aggregates that are used again.
mod pool;
/// What workers show of the open window.
mod publication;
/// A socket on each queue.
mod queues;
mod session;
#[cfg(feature = "stages")]
#[doc(hidden)]
pub mod stages;
/// How quick it is.
mod timings;
/// One thread that observes.
mod worker;
/// All of them.
mod workers;

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Dark, Error, Filter, Sample, Telescope,
    aggregate::{Aggregate, Survey},
    kernel::Attachment,
    time::Nanoseconds,
    window::Window,
    xsk,
};

use clock::{is_over, time_of_day};
use control::Showing;
pub use control::{Change, Control};
pub use figures::LiveFigures;
use session::Session;

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The interface.
    pub interface: String,
    /// What is delivered to userspace of each packet, beside counting it.
    pub packets: Packets,
    /// How frames are taken, where they are. On which queue is not asked: on all.
    pub sockets: xsk::Options,
    /// Threads that take header records; `None`: one for each two processors. Frames have one for
    /// each queue.
    pub workers: Option<usize>,
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
    /// Whether workers show once a second what aggregates
    /// [publish](crate::aggregate::Aggregate::publish). Ours publish nothing.
    pub publish: bool,
    /// Whether frames come without metadata, as by drivers that have none: for tests.
    #[doc(hidden)]
    pub no_metadata: bool,
}

impl Watch {
    /// Watches `interface` and delivers all packets, as frames or as headers of them, until it is
    /// stopped. Nothing is filtered or pinned.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            packets: Packets::Auto,
            sockets: xsk::Options::default(),
            workers: None,
            duration: None,
            any: false,
            filter: Filter::default(),
            sample: Sample::default(),
            kernel_memory: None,
            networks_by_port: false,
            pins: None,
            publish: false,
            no_metadata: false,
        }
    }
}

/// What is delivered of each counted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Frames where the driver delivers them without a copy, header records elsewhere; an error if that is
    /// required ([`ZeroCopy::Require`](xsk::ZeroCopy::Require)), and always records if it is
    /// [never](xsk::ZeroCopy::Never) to be.
    Auto,
    /// Whole frames, through AF_XDP.
    Frames,
    /// Header records.
    Headers,
    /// Nothing: the kernel's counts only.
    None,
}

/// What a watch tells while it runs.
#[derive(Debug)]
pub enum Event<'a, A = Survey> {
    /// The program is attached: counting has begun.
    Started(Started<'a>),
    /// At the start and once a second: the open window so far, with what the kernel counts, and what
    /// aggregates [publish](crate::aggregate::Aggregate::publish). Nothing is observed before the
    /// window closes. Its ledger may be off by the packets in flight.
    Open(&'a Window<LiveFigures<A>>),
    /// A window has closed, or a part of one that a change or another process cut. When this
    /// returns, it counts as handed over: the kernel forgets it, and what was observed is used again
    /// unless it was taken out. Where it could not be kept, there is [`Control::give_up`].
    Closed(&'a mut Window<LiveFigures<A>>),
    /// What [`Control::change`] asked for is done, with what is dark now; or was refused, and all
    /// goes on as before.
    Changed(Result<&'a Dark, Error>),
}

/// What a watch got from the host.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Started<'a> {
    /// Where the program is, and in which mode.
    pub attachment: &'a Attachment,
    /// The kernel's memory for its tables, in bytes.
    pub memory: u64,
    /// What is delivered: never [`Packets::Auto`].
    pub packets: Packets,
    /// How frames are taken from each queue, if they are.
    pub queues: &'a [xsk::Outcome],
    /// Why it is not frames that are delivered, where that was left to the host.
    pub refused: Option<&'a Error>,
}

/// Between two looks at the clock, and at what the control says.
const TICK: Duration = Duration::from_millis(20);
/// Between two events of the open window.
const REFRESH: Duration = Duration::from_secs(1);

impl Telescope {
    /// Watches an interface until `control` says to stop, or its time is over.
    ///
    /// With [`Watch::pins`], the kernel program stays when this returns and counts on: the next
    /// watch with the same folder takes over, and its first window holds what was counted
    /// meanwhile. [`detach`](crate::kernel::detach) ends it.
    ///
    /// # Minimum kernel version
    ///
    /// [`kernel::OLDEST`](crate::kernel::OLDEST).
    ///
    /// # Errors
    ///
    /// No privilege; no such interface, or one that vanishes (the windows up to then have been
    /// told of); a program of somebody else on it; no dark prefix, or one that holds an address
    /// of this host that is not excluded; pins that cannot be made or taken over.
    pub fn watch(
        &self,
        watch: &Watch,
        control: &Control,
        event: impl FnMut(Event<'_>),
    ) -> Result<(), Error> {
        self.watch_with(watch, control, Self::survey, event)
    }

    /// [`watch`](Self::watch) with aggregates of one's own: `make` makes an empty one. With
    /// `|telescope| (telescope.survey(), Own::default())` they run beside ours, and windows have a
    /// [`snapshot`](Window::snapshot).
    ///
    /// Each worker has one for each window that is open; when it closes, they are merged in another.
    /// What `make` is given is this telescope with the share of [`memory`](Self::memory) that the
    /// aggregate may take: that of one worker, or all of it.
    ///
    /// An aggregate that panics loses what it had of the window, at that worker: `lost.abandoned`
    /// of the ledger says how many packets that were, and the window's `faults` say what it said.
    /// Other workers, and later windows, are as if nothing had happened.
    ///
    /// # Minimum kernel version
    ///
    /// As [`watch`](Self::watch).
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use darknet_core::{
    ///     Telescope,
    ///     aggregate::Distributions,
    ///     live::{Control, Event, Watch},
    /// };
    ///
    /// let telescope = Telescope::new();
    /// let make = |telescope: &Telescope| (telescope.survey(), Distributions::default());
    /// telescope.watch_with(&Watch::new("eth1"), &Control::new(), make, |event| {
    ///     if let Event::Closed(window) = event {
    ///         println!("{:?}", window.snapshot(telescope.dark(), 10).hosts);
    ///         if let Some((_, distributions)) = &window.aggregate.observed {
    ///             println!("{distributions:?}");
    ///         }
    ///     }
    /// })?;
    /// # Ok::<(), darknet_core::Error>(())
    /// ```
    pub fn watch_with<A: Aggregate + 'static>(
        &self,
        watch: &Watch,
        control: &Control<A>,
        make: impl Fn(&Self) -> A + Send + Sync + 'static,
        mut event: impl FnMut(Event<'_, A>),
    ) -> Result<(), Error> {
        host::check(&self.dark, watch.any)?;
        let mut session = Session::begin(self, watch, control, Box::new(make))?;
        session.attach(watch)?;
        event(Event::Started(session.started()));
        session.inherit(&mut event)?;

        let _showing = Showing(control);
        let begun = Instant::now();
        let mut refreshed: Option<Instant> = None;
        let mut is_unsure = false;
        let outcome = loop {
            thread::sleep(TICK);
            // First, however late it is: what comes next is of the next window.
            let now = self.window_start(time_of_day());
            if is_over(session.start, now, self.window) && !control.is_given_up() {
                session.close(now, &mut event)?;
                refreshed = Some(Instant::now());
            }
            if control.is_stopped() || watch.duration.is_some_and(|time| begun.elapsed() >= time) {
                break Ok(());
            }
            match session.kernel.check() {
                Ok(()) => is_unsure = false,
                Err(
                    gone @ (Error::InterfaceGone { .. }
                    | Error::InterfaceTaken { .. }
                    | Error::Detached { .. }),
                ) => break Err(gone),
                // The kernel had no memory to answer, or this process no descriptor to ask.
                Err(error) if !is_unsure => {
                    is_unsure = true;
                    tracing::warn!("{error}; it is asked again");
                }
                Err(_) => {}
            }
            if let Some(change) = control.take() {
                let changed = session.change(change, watch.any, &mut event);
                event(Event::Changed(changed.map(|()| &session.settings.dark)));
            }
            if let Some(number) = control.dying() {
                session.end_worker(number);
            }
            session.kernel.forward_log();
            if refreshed.is_none_or(|refreshed| refreshed.elapsed() >= REFRESH)
                && session.may_be_shown(watch)
            {
                let open = Arc::new(session.open()?);
                event(Event::Open(&open));
                control.show(Some(open));
                refreshed = Some(Instant::now());
            }
        };
        if control.is_given_up() {
            return outcome;
        }
        // First no more packets, then what they said; but what is pinned counts on.
        let detached = match watch.pins.is_none() || outcome.is_err() {
            true => session.kernel.detach(),
            false => Ok(()),
        };
        let left = session.leave(&mut event);
        outcome.and(left).and(detached)
    }

    /// Where the window of a time begins.
    fn window_start(&self, time: Nanoseconds) -> Nanoseconds {
        time.div_euclid(self.window).saturating_mul(self.window)
    }
}
