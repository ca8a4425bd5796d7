use std::{
    cell::Cell,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use super::{
    batch::Batch,
    busy::Deferral,
    exchange::{Counts, Exchange},
    interface::Interface,
    options::{BusyPoll, Options},
    socket::{self, Bound, Outcome, Refusal},
    stats::Statistics,
    sys,
};
use crate::Error;

/// A receive queue of an interface, whose packets come here where an XDP program sends them: put the
/// queue into a map of type `BPF_MAP_TYPE_XSKMAP`, and redirect to that.
///
/// It belongs to one thread at a time. What waits in it is still there after the interface has gone.
///
/// # Minimum kernel version
///
/// 5.11; 6.6 for packets of several frames.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use darknet_core::xsk::{Options, Queue};
///
/// let mut queue = Queue::open("eth1", &Options::default())?;
/// println!("{}", queue.outcome());
/// // Into the map of the program: map.set(0, &queue, 0)
/// loop {
///     let batch = queue.receive(64);
///     for frame in &batch {
///         println!("{} bytes", frame.data().len());
///     }
///     let is_idle = batch.is_empty();
///     drop(batch);
///     if is_idle {
///         queue.wait(Duration::from_millis(100))?;
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), darknet_core::Error>(())
/// ```
///
/// It moves to other threads, but is not shared:
///
/// ```
/// fn moves<T: Send>() {}
/// moves::<darknet_core::xsk::Queue>();
/// ```
///
/// ```compile_fail,E0277
/// fn is_shared<T: Sync>() {}
/// is_shared::<darknet_core::xsk::Queue>();
/// ```
#[derive(Debug)]
pub struct Queue {
    /// Closed before the memory is unmapped.
    socket: OwnedFd,
    exchange: Exchange,
    outcome: Outcome,
    /// Taken back when the socket is closed.
    _deferral: Option<Deferral>,
    /// Whether the interface was found to be gone.
    is_gone: bool,
    _not_sync: PhantomData<Cell<()>>,
}

impl Queue {
    /// Opens a queue of an interface, in the best mode that the options and the driver allow.
    ///
    /// # Errors
    ///
    /// - [`Error::Setting`] for an option that is wrong, also a queue that there isn't.
    /// - [`Error::UnknownInterface`], [`Error::InterfaceGone`].
    /// - [`Error::FrameSize`] if packets of the interface don't fit into a frame and can't come in
    ///   several.
    /// - [`Error::Privilege`] without CAP_NET_RAW.
    /// - [`Error::System`] with what the kernel said: no memory, a queue that another socket has, no
    ///   mode that was allowed.
    pub fn open(interface: &str, options: &Options) -> Result<Self, Error> {
        options.check()?;
        let interface = Interface::find(interface)?;
        let Bound {
            socket,
            exchange,
            mode,
            multi_buffer,
            mut refusals,
        } = socket::bind(&interface, options)?;
        let (deferral, busy_poll) = match options.busy_poll {
            Some(wanted) => poll_busily(socket.as_fd(), &interface, wanted, &mut refusals),
            None => (None, false),
        };
        Ok(Self {
            outcome: Outcome {
                interface,
                queue: options.queue,
                mode,
                ring: options.ring,
                chunk: exchange.umem.chunk(),
                huge_pages: exchange.umem.is_huge(),
                multi_buffer,
                // Each rung asks for it, and the kernel refuses flags that it doesn't know.
                need_wakeup: true,
                busy_poll,
                refusals,
            },
            socket,
            exchange,
            _deferral: deferral,
            is_gone: false,
            _not_sync: PhantomData,
        })
    }

    /// What it got of what it asked for.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The next packets: those of `most` frames, or of as many as there are, which may be none.
    /// Never waits. A packet of several frames is there as a whole or not at all, and the first one
    /// is, even if it has more than `most`.
    ///
    /// Costs a system call only if the driver asks to be woken up, or to poll busily if nothing is
    /// there.
    #[inline]
    pub fn receive(&mut self, most: u32) -> Batch<'_> {
        self.exchange.refill();
        let wakes = self.exchange.fill.needs_wakeup();
        if wakes || (self.outcome.busy_poll && self.exchange.receive.available(1) == 0) {
            sys::wake(self.socket.as_fd());
        }
        self.exchange.receive(most)
    }

    /// Waits until there is something to receive, or for so long; `false` if there is nothing. A
    /// signal ends it early.
    ///
    /// Of an interface that is down nothing comes, and nothing is said; when it is up again, packets
    /// come again.
    ///
    /// # Errors
    ///
    /// [`Error::InterfaceGone`] after the interface was deleted, once all that it had received has
    /// been read. [`Error::System`] if the kernel refuses to wait.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        if self.pending() > 0 {
            return Ok(true);
        }
        let failed = |source| Error::System {
            doing: "waiting for packets".into(),
            source,
        };
        if !self.is_gone {
            if sys::poll(self.socket.as_fd(), timeout).map_err(failed)? {
                return Ok(true);
            }
            // `xsk_poll` says nothing of an interface that is gone.
            self.is_gone = sys::take_error(self.socket.as_fd())
                .map_err(failed)?
                .is_some();
        }
        match (self.pending() > 0, self.is_gone) {
            (true, _) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(Error::InterfaceGone {
                name: self.outcome.interface.name.clone(),
            }),
        }
    }

    /// Frames that wait to be read now.
    #[inline]
    pub fn pending(&self) -> u32 {
        self.produced().wrapping_sub(self.consumed())
    }

    /// How many frames the kernel has put into the queue, modulo 2³². What was there at a moment has
    /// been read when [`Queue::consumed`] has reached what this was then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # let mut queue = darknet_core::xsk::Queue::open("eth1", &Default::default())?;
    /// let mark = queue.produced();
    /// loop {
    ///     let left = mark.wrapping_sub(queue.consumed());
    ///     // A packet of several frames may reach beyond the mark.
    ///     if left.cast_signed() <= 0 {
    ///         break;
    ///     }
    ///     for frame in &queue.receive(left.min(64)) {
    ///         println!("{} bytes", frame.data().len());
    ///     }
    /// }
    /// # Ok::<(), darknet_core::Error>(())
    /// ```
    #[inline]
    pub fn produced(&self) -> u32 {
        self.exchange.receive.produced()
    }

    /// How many frames were read, in batches that were given back, modulo 2³².
    #[inline]
    pub const fn consumed(&self) -> u32 {
        self.exchange.receive.consumed()
    }

    /// What became of its packets.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel does not say.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let kernel = sys::statistics(self.socket.as_fd()).map_err(|source| Error::System {
            doing: "reading the statistics of an AF_XDP socket".into(),
            source,
        })?;
        let Counts {
            received,
            truncated,
            bad_descriptors,
        } = self.exchange.counts;
        Ok(Statistics {
            received,
            truncated,
            bad_descriptors,
            pending: self.pending(),
            fill: self.exchange.fill.held(),
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full,
            rx_fill_ring_empty_descs: kernel.rx_fill_ring_empty_descs,
            rx_invalid_descs: kernel.rx_invalid_descs,
        })
    }
}

/// Busy polling, as far as the system allows.
fn poll_busily(
    socket: BorrowedFd<'_>,
    interface: &Interface,
    wanted: BusyPoll,
    refusals: &mut Vec<Refusal>,
) -> (Option<Deferral>, bool) {
    let BusyPoll {
        time,
        budget,
        defer_hard_irqs,
        gro_flush_timeout,
    } = wanted;
    let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    if let Err(source) = sys::busy_poll(socket, time, budget) {
        refusals.push(Refusal {
            what: "busy polling",
            source,
        });
        return (None, false);
    }
    match Deferral::new(interface, defer_hard_irqs, gro_flush_timeout) {
        Ok(deferral) => (Some(deferral), true),
        Err(source) => {
            refusals.push(Refusal {
                what: "deferring the interrupts of the interface",
                source,
            });
            (None, true)
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
