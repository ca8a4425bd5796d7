use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use super::{
    exchange::Exchange,
    interface::Interface,
    mmap::RingMemory,
    options::{Fragments, Options},
    ring::{Descriptor, Fill, Receive, Ring},
    sys::{self, RingKind},
    umem::Umem,
};
use crate::Error;

/// Whether the kernel copies packets into our memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The driver has the device write them there.
    ZeroCopy,
    /// The kernel copies them there.
    Copy,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ZeroCopy => "zero-copy mode",
            Self::Copy => "copy mode",
        })
    }
}

/// What a queue got of what it asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The interface, as it was when the queue was opened.
    pub interface: Interface,
    /// The queue.
    pub queue: u32,
    /// Whether packets are copied, as the kernel says (`XDP_OPTIONS`).
    pub mode: Mode,
    /// Entries of its rings.
    pub ring: u32,
    /// Bytes of a frame.
    pub chunk: u32,
    /// Whether frames are on huge pages that were reserved.
    pub huge_pages: bool,
    /// Whether packets of several frames are received.
    pub multi_buffer: bool,
    /// Whether the kernel says when it wants to be woken up, so that nobody does for nothing.
    pub need_wakeup: bool,
    /// Whether the socket polls busily.
    pub busy_poll: bool,
    /// What was refused before that, in order.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            queue,
            mode,
            ring: _,
            chunk: _,
            huge_pages,
            multi_buffer,
            need_wakeup: _,
            busy_poll,
            refusals: _,
        } = self;
        write!(out, "queue {queue} of {} in {mode}", interface.name)?;
        for (is_so, what) in [
            (*multi_buffer, "several buffers"),
            (*huge_pages, "huge pages"),
            (*busy_poll, "busy polling"),
        ] {
            if is_so {
                write!(out, ", {what}")?;
            }
        }
        Ok(())
    }
}

/// Something that was asked for and not given.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// What.
    pub what: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl Clone for Refusal {
    fn clone(&self) -> Self {
        let Self { what, source } = self;
        let same = match source.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => source.kind().into(),
        };
        Self { what, source: same }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, source } = self;
        write!(out, "{what}: {source}")
    }
}

/// A way to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) zero_copy: bool,
    pub(super) multi_buffer: bool,
    /// Bytes of a frame.
    pub(super) chunk: u32,
    /// How many of them are kept free, beside those that the kernel keeps.
    pub(super) headroom: u32,
}

impl Rung {
    const fn name(self) -> &'static str {
        match (self.zero_copy, self.multi_buffer) {
            (true, true) => "zero-copy with several buffers",
            (true, false) => "zero-copy",
            (false, true) => "copying with several buffers",
            (false, false) => "copying",
        }
    }

    const fn flags(self) -> u16 {
        let mode = if self.zero_copy {
            libc::XDP_ZEROCOPY
        } else {
            libc::XDP_COPY
        };
        let buffers = if self.multi_buffer {
            libc::XDP_USE_SG
        } else {
            0
        };
        libc::XDP_USE_NEED_WAKEUP | mode | buffers
    }
}

/// Entries of the ring that is never used. Some driver may look at it.
const COMPLETION: u32 = 64;
/// How long to wait before a queue is tried again that another socket has.
const PAUSE: Duration = Duration::from_millis(5);

/// A bound socket, and what is exchanged through it.
#[derive(Debug)]
pub(super) struct Bound {
    /// Closed first.
    pub(super) socket: OwnedFd,
    pub(super) exchange: Exchange,
    pub(super) mode: Mode,
    pub(super) multi_buffer: bool,
    pub(super) refusals: Vec<Refusal>,
}

/// Opens a socket and binds it to a queue, in the best way that the kernel has.
pub(super) fn bind(interface: &Interface, options: &Options) -> Result<Bound, Error> {
    let mut refusals = Vec::new();
    let rungs = options.rungs(interface)?;
    let deadline = Instant::now() + options.patience;
    for rung in &rungs {
        // Each has a socket of its own: what a refused bind leaves in one is nobody's business
        // (since 6.6 it remembers that several buffers were asked for).
        let (socket, exchange, no_huge) = prepare(options, *rung)?;
        if let Some(source) = no_huge
            && refusals.is_empty()
        {
            refusals.push(Refusal {
                what: "huge pages",
                source,
            });
        }
        match bind_in_time(socket.as_fd(), interface, options.queue, *rung, deadline) {
            Ok(()) => {
                let is_zero_copy = sys::is_zero_copy(socket.as_fd());
                let is_zero_copy = is_zero_copy.map_err(system("asking for the socket's mode"))?;
                return Ok(Bound {
                    socket,
                    exchange,
                    mode: if is_zero_copy {
                        Mode::ZeroCopy
                    } else {
                        Mode::Copy
                    },
                    multi_buffer: rung.multi_buffer,
                    refusals,
                });
            }
            Err(source) => match source.raw_os_error() {
                Some(libc::ENODEV) => {
                    return Err(Error::InterfaceGone {
                        name: interface.name.clone(),
                    });
                }
                // In no other mode would it be free.
                Some(libc::EBUSY) => return Err(refused(interface, options, source)),
                _ => refusals.push(Refusal {
                    what: rung.name(),
                    source,
                }),
            },
        }
    }
    options.check_mtu(interface)?;
    let last = refusals.pop().map(|refusal| refusal.source);
    let source = last.unwrap_or_else(|| io::ErrorKind::Unsupported.into());
    Err(refused(interface, options, source))
}

fn refused(interface: &Interface, options: &Options, source: io::Error) -> Error {
    let hint = match source.raw_os_error() {
        Some(libc::EBUSY) => " (another socket has it)",
        Some(libc::EOPNOTSUPP) => " (its driver does not do that)",
        _ => "",
    };
    Error::System {
        doing: format!(
            "binding to queue {} of {} {}{hint}",
            options.queue,
            interface.name,
            match options.zero_copy {
                super::ZeroCopy::Require => "in zero-copy mode",
                super::ZeroCopy::Prefer | super::ZeroCopy::Never => "in any mode",
            }
        ),
        source,
    }
}

/// Binds, again and again while another socket has the queue: one that was closed has it for a
/// moment longer.
fn bind_in_time(
    socket: BorrowedFd<'_>,
    interface: &Interface,
    queue: u32,
    rung: Rung,
    deadline: Instant,
) -> io::Result<()> {
    loop {
        match sys::bind(socket, interface.index, queue, rung.flags()) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// A socket with its umem and rings, the FILL ring filled, ready to be bound. The last is why the
/// umem is not on huge pages, if it should be.
fn prepare(options: &Options, rung: Rung) -> Result<(OwnedFd, Exchange, Option<io::Error>), Error> {
    let Options { frames, ring, .. } = *options;
    let Rung {
        chunk, headroom, ..
    } = rung;
    let socket = sys::socket().map_err(|source| match source.kind() {
        // `xsk_create`, `net/xdp/xsk.c`.
        io::ErrorKind::PermissionDenied => Error::Privilege {
            doing: "opening an AF_XDP socket",
            missing: "CAP_NET_RAW".into(),
        },
        _ => system("opening an AF_XDP socket")(source),
    })?;
    let mebibytes = (u64::from(frames) * u64::from(chunk)).div_ceil(1 << 20);
    let umem = Umem::new(frames, chunk, options.huge_pages);
    let (umem, no_huge) = umem.map_err(|source| Error::System {
        doing: format!(
            "reserving {mebibytes} MiB for {frames} frames of {chunk} bytes (take fewer frames)"
        ),
        source,
    })?;
    let registered = sys::register(socket.as_fd(), &umem, headroom);
    registered.map_err(|source| Error::System {
        doing: format!(
            "locking {mebibytes} MiB for {frames} frames of {chunk} bytes (take fewer frames, raise \
             ulimit -l, or grant CAP_IPC_LOCK)"
        ),
        source,
    })?;
    for (kind, entries) in [
        (RingKind::Receive, ring),
        (RingKind::Fill, ring),
        (RingKind::Completion, COMPLETION),
    ] {
        let made = sys::make_ring(socket.as_fd(), kind, entries);
        made.map_err(system("making the socket's rings"))?;
    }
    let offsets = sys::offsets(socket.as_fd()).map_err(system("asking for the socket's rings"))?;
    let map = |at, offsets: libc::xdp_ring_offset, words: usize| {
        let length = offsets.desc as usize + ring as usize * words * 8;
        let memory = RingMemory::map(socket.as_fd(), at, length);
        let memory = memory.map_err(system("mapping the socket's rings"))?;
        Ok::<_, Error>(Ring::new(memory, offsets, ring, words))
    };
    let receive = map(libc::XDP_PGOFF_RX_RING, offsets.rx, Descriptor::WORDS)?;
    let fill = map(libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t, offsets.fr, 1)?;
    let fragments = match rung.multi_buffer {
        true => options.fragments,
        false => Fragments::Refuse,
    };
    let exchange = Exchange::new(Receive::new(receive), Fill::new(fill), umem, fragments);
    Ok((socket, exchange, no_huge))
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System {
        doing: doing.into(),
        source,
    }
}
