//! Watching an interface: the kernel counts, header records are observed, windows close by the
//! clock.

mod control;
mod figures;
mod host;
mod observer;
mod session;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    Dark, Error, Filter, Sample, Telescope, kernel::Attachment, time::Nanoseconds, window::Window,
};

pub use control::{Change, Control};
pub use figures::LiveFigures;
use observer::Observer;
use session::Session;

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
    /// The program is attached: counting has begun. The second is the kernel's memory for its
    /// tables, in bytes.
    Started(&'a Attachment, u64),
    /// At the start and once a second: the open window so far, without sources. Its ledger may be
    /// off by the packets in flight.
    Open(&'a Window<LiveFigures>),
    /// A window has closed, or a part of one that a change or another process cut. When this
    /// returns, it counts as handed over: the kernel forgets it.
    Closed(&'a mut Window<LiveFigures>),
    /// What [`Control::change`] asked for is done, with what is dark now; or was refused, and all
    /// goes on as before.
    Changed(Result<&'a Dark, Error>),
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
    /// 6.12 is the oldest that takes the program.
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
        mut event: impl FnMut(Event<'_>),
    ) -> Result<(), Error> {
        host::check(&self.dark, watch.any)?;
        let mut session = Session::begin(self, watch)?;
        let memory = session.kernel.memory();
        let attachment = session.kernel.attach(&watch.interface)?;
        event(Event::Started(attachment, memory));
        session.missed = session.kernel.missed()?;
        session.inherit(&mut event)?;

        let begun = Instant::now();
        let mut refreshed: Option<Instant> = None;
        let outcome = loop {
            thread::sleep(TICK);
            if control.is_stopped() || watch.duration.is_some_and(|time| begun.elapsed() >= time) {
                break Ok(());
            }
            if let Err(gone) = session.kernel.check() {
                break Err(gone);
            }
            if let Some(change) = control.take() {
                let changed = session.change(change, watch.any, &mut event);
                event(Event::Changed(changed.map(|()| &session.settings.dark)));
            }
            session.kernel.forward_log();
            let now = self.window_start(now());
            // A clock that was set back leaves the window open until it has caught up.
            if now > session.start {
                session.close(now, &mut event)?;
                refreshed = Some(Instant::now());
            } else if refreshed.is_none_or(|refreshed| refreshed.elapsed() >= REFRESH) {
                event(Event::Open(&session.open()?));
                refreshed = Some(Instant::now());
            }
        };
        // First no more packets, then what they said; but what is pinned counts on.
        if watch.pins.is_none() || outcome.is_err() {
            session.kernel.detach()?;
        }
        session.leave(&mut event)?;
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
