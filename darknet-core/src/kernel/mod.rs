//! The in-kernel half as userspace sees it: load, attach, count, hand over.
//!
//! [`Kernel`] is the front door. Minimum kernel version: [`OLDEST`] (`cargo xtask vm`); also run on
//! 6.18.

/// Which interface, in which mode.
mod attach;
/// The tables, and how a bank is taken out of use.
mod counters;
/// What an interface gives, asked before anything is attached.
pub(crate) mod device;
/// What a bank has counted, read from its words.
mod figures;
/// What another process has counted and not told of.
mod inheritance;
/// What the program is, what it costs and what it does with a frame.
mod inspect;
/// What the program says.
mod log;
/// Which program an interface has, and what it missed.
mod netlink;
/// The embedded program, made ready for its settings.
mod object;
/// What outlives the process.
mod pins;
/// What a process may do.
mod privilege;
/// A loaded program with its tables, or what is left of one.
mod program;
/// The ring of header records.
mod records;
/// What it means that the kernel refused something.
mod refused;
/// What the program is told before it is loaded.
mod settings;
/// What the tables take, and how many networks there is room for.
mod sizes;
/// The leaf that calls the kernel.
#[expect(
    unsafe_code,
    reason = "mmap, bpf, membarrier and netlink have no safe call"
)]
mod sys;
#[cfg(test)]
mod testing;
/// Prefixes in tables of longest matches.
mod tries;

pub(crate) use attach::loaded_program;
pub use attach::{Attachment, Mode};
pub use figures::BankFigures;
pub use inheritance::Inheritance;
pub use inspect::{Action, Footprint, Identity};
pub use pins::{Ended, detach};
pub(crate) use privilege::absent as absent_capabilities;
pub use privilege::missing_capabilities;
pub use records::{Records, Ring};
pub use settings::{Delivery, Settings};

use std::os::fd::{AsFd, OwnedFd};

pub(crate) use sys::{interface_index, run_first};

use self::{counters::Counters, pins::Pins, program::Program, sys::Link};
use crate::{Error, Nanoseconds};

/// The names of the programs of a telescope.
pub(crate) const PROGRAMS: [&str; 2] = [object::FRAGMENTS, object::PLAIN];

/// The oldest kernel that takes the program: its major and minor number.
pub const OLDEST: (u32, u32) = (6, 1);

/// The loaded kernel program and its tables.
///
/// Dropping it detaches the program, and the kernel forgets both.
///
/// # Examples
///
/// ```no_run
/// use std::{thread::sleep, time::Duration};
///
/// use darknet_core::{
///     Dark,
///     kernel::{Kernel, Settings},
/// };
///
/// let dark = Dark::new(&["203.0.113.0/24".parse()?], &[])?;
/// let mut kernel = Kernel::load(&Settings { dark, ..Settings::default() })?;
/// println!("{}", kernel.attach("eth1")?.mode);
/// sleep(Duration::from_secs(10));
/// println!("{} packets", kernel.flip_and_drain()?.ledger.counted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Kernel {
    program: Program,
    attached: Option<Attached>,
    pinned: Option<Pinned>,
    /// Who takes the frames of which queue.
    sockets: Vec<(u32, OwnedFd)>,
}

#[derive(Debug)]
struct Attached {
    attachment: Attachment,
    program: &'static str,
    link: Link,
}

/// What is pinned: the tables of the program, and those of programs before it that have not been
/// handed over.
#[derive(Debug)]
struct Pinned {
    pins: Pins,
    generation: u64,
    former: Vec<u64>,
    left: Vec<(Counters, Option<Records>)>,
}

/// A program that another has taken the place of.
#[derive(Debug)]
pub(crate) struct Former(Program);

impl Former {
    /// What it has counted since the last cut, once it has ended on every processor.
    pub(crate) fn remains(self) -> Result<BankFigures, Error> {
        counters::wait_for_programs()?;
        self.0.counters.remains()
    }
}

impl Kernel {
    /// Loads the program and makes its tables. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// Too little memory for the tables, a missing capability (by name), or a kernel that refuses
    /// the program (with the verifier's words in the error's `log`); a folder of pins that is not
    /// on a BPF file system, or in use, or of another version.
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let Some(folder) = &settings.pins else {
            return Ok(Self {
                program: Program::load(settings, 0, None)?,
                attached: None,
                pinned: None,
                sockets: Vec::new(),
            });
        };
        let pins = Pins::open(folder)?;
        let former = pins.generations()?;
        let left = former.iter().map(|&number| program::left(&pins, number));
        let left: Vec<_> = left.collect::<Result<_, _>>()?;
        let epoch = left.iter().map(|(counters, _)| counters.epoch() + 1).max();
        let generation = former.last().map_or(1, |last| last + 1);
        let program = Program::load(settings, epoch.unwrap_or(0), Some((&pins, generation)))?;
        Ok(Self {
            program,
            attached: None,
            pinned: Some(Pinned {
                pins,
                generation,
                former,
                left,
            }),
            sockets: Vec::new(),
        })
    }

    /// Attaches the program to an interface of this thread's network namespace: in driver mode, or
    /// where the driver refuses in generic mode. Where another telescope has left a program on it
    /// in the folder of pins, the new one takes its place, and no packet sees none or both.
    ///
    /// # Errors
    ///
    /// An interface that there isn't, that has another XDP program (its name and number), or that
    /// takes the program in neither mode; a second interface; pins of another interface.
    pub fn attach(&mut self, interface: &str) -> Result<&Attachment, Error> {
        if let Some(attached) = &self.attached {
            return Err(Error::Setting {
                name: "interface",
                value: format!("{interface} beside {}", attached.attachment.interface),
                rule: "one for each kernel program",
            });
        }
        let pinned = self.pinned.as_ref();
        let link = pinned.map_or(Ok(None), |pinned| pinned.pins.link())?;
        let ends = link.as_ref().map(attach::ends).transpose()?;
        let takes_over = ends.as_ref().is_some_and(|ends| ends.interface.is_some());
        let attached = match (link, ends) {
            (Some(link), Some(ends)) if takes_over => {
                let (mut attachment, program) = attach::find(interface, ends)?;
                attachment.program = self.program.replace(program, &link)?;
                Attached {
                    attachment,
                    program,
                    link,
                }
            }
            (gone, _) => {
                let (attachment, program, link) = self.program.attach(interface)?;
                if let Some(Pinned { pins, .. }) = pinned {
                    if gone.is_some() {
                        pins.remove_link()?;
                    }
                    pins.pin_link(&link)?;
                }
                Attached {
                    attachment,
                    program,
                    link,
                }
            }
        };
        let attached = self.attached.insert(attached);
        if takes_over {
            counters::wait_for_programs()?;
        }
        Ok(&attached.attachment)
    }

    /// Lets a program with other settings count instead of this one: each packet is seen by one of
    /// the two. Returns what the old one has counted since the last cut. Where that is to be pinned
    /// is not changed by it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); the old program counts on.
    pub fn replace(&mut self, settings: &Settings) -> Result<BankFigures, Error> {
        self.swap(settings)?.remains()
    }

    /// As [`replace`](Self::replace), but what the old one has counted is still to be read.
    pub(crate) fn swap(&mut self, settings: &Settings) -> Result<Former, Error> {
        let epoch = self.program.counters.epoch().wrapping_add(1);
        let pins = self.pinned.as_ref();
        let pins = pins.map(|pinned| (&pinned.pins, pinned.generation + 1));
        let mut next = Program::load(settings, epoch, pins)?;
        self.put_in_place(&mut next).inspect_err(|_| {
            if let Some(pinned) = &self.pinned {
                // The first error says more.
                let _ = pinned.pins.remove(pinned.generation + 1);
            }
        })?;
        if let Some(pinned) = &mut self.pinned {
            pinned.former.push(pinned.generation);
            pinned.generation += 1;
        }
        Ok(Former(std::mem::replace(&mut self.program, next)))
    }

    /// Puts a program in the place of this one, with the sockets that it delivers to.
    fn put_in_place(&mut self, next: &mut Program) -> Result<(), Error> {
        for (queue, socket) in &self.sockets {
            next.deliver_to(*queue, socket.as_fd())?;
        }
        next.counters.set_begun(self.program.counters.begun());
        if let Some(attached) = &mut self.attached {
            attached.attachment.program = next.replace(attached.program, &attached.link)?;
        }
        Ok(())
    }

    /// The number of the turn that is counted now.
    pub fn epoch(&self) -> u64 {
        self.program.counters.epoch()
    }

    /// The interface that the program is attached to.
    pub fn attachment(&self) -> Option<&Attachment> {
        Some(&self.attached.as_ref()?.attachment)
    }

    /// Fails if the interface has disappeared, or the program is no longer on it: nothing is
    /// counted any more then, and what was counted is still there.
    ///
    /// # Errors
    ///
    /// Which of the two it is.
    pub fn check(&self) -> Result<(), Error> {
        self.attachment().map_or(Ok(()), attach::check)
    }

    /// Packets that the interface lost since it is there, as its driver says: the device had no
    /// room for them, and the program never saw them. 0 if nothing is attached.
    ///
    /// The difference of two calls is what was lost between them. Not every driver counts, and
    /// some begin anew when the interface is reset.
    ///
    /// # Errors
    ///
    /// An interface that has disappeared, or what the kernel said.
    pub fn missed(&self) -> Result<u64, Error> {
        self.attachment().map_or(Ok(0), attach::missed)
    }

    /// Detaches the program, and unpins what is pinned. The program stays loaded, with what it has
    /// counted. An interface that has disappeared is no error.
    ///
    /// # Errors
    ///
    /// What the kernel said of the pins.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.attached = None;
        self.pinned
            .take()
            .map_or(Ok(()), |pinned| pinned.pins.clear())
    }

    /// Takes what was counted since the last time, while the program goes on counting.
    ///
    /// Each packet is in exactly one such turn, with all that it counted. Takes about 10 ms: the
    /// kernel has to see every processor out of the program first.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn flip_and_drain(&mut self) -> Result<BankFigures, Error> {
        let figures = self.cut()?;
        self.handed_over(self.program.counters.begun())?;
        Ok(figures)
    }

    /// As [`flip_and_drain`](Self::flip_and_drain), but what was taken stays in the kernel's
    /// tables, and goes to whoever takes over if this process is killed before
    /// [`handed_over`](Self::handed_over) is called. Until then, nothing may be cut.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn cut(&mut self) -> Result<BankFigures, Error> {
        self.program.counters.cut()
    }

    /// Says that what was cut, inherited or replaced is in good hands. What comes next belongs to
    /// a window that began at `begun`.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn handed_over(&mut self, begun: Nanoseconds) -> Result<(), Error> {
        self.program.counters.handed_over(begun)?;
        if let Some(Pinned { pins, former, .. }) = &mut self.pinned {
            // Who has no descriptor for it now may have one when the next window closes.
            former.retain(|&generation| {
                let removed = pins.remove(generation);
                removed
                    .inspect_err(|error| tracing::warn!("{error}; it is tried again"))
                    .is_err()
            });
        }
        Ok(())
    }

    /// Programs that have counted what is not handed over yet, this one included: as many as there are
    /// tables of [`memory`](Self::memory).
    pub fn generations(&self) -> usize {
        let pinned = self.pinned.as_ref();
        1 + pinned.map_or(0, |pinned| pinned.former.len())
    }

    /// What was counted since the last time, so far. Read in the middle of traffic, the figures
    /// may differ from each other by the packets that came meanwhile; of a port, an ICMP message or a
    /// network, what a processor hands on at that moment may be missing: 32,768 packets at most, and of
    /// a port or message with more than 33 million, or 8.6 GB, that many.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn live(&self) -> Result<BankFigures, Error> {
        self.program.counters.live()
    }

    /// The ring of records, once for each program, if the settings asked for it.
    pub fn take_records(&mut self) -> Option<Records> {
        self.program.records.take()
    }

    /// Sends the frames that come by a queue to an AF_XDP socket that is bound to it, of this
    /// program and of those that take its place, until the socket is closed. Frames of queues
    /// without a socket are lost, as `no_socket`.
    ///
    /// # Errors
    ///
    /// What the kernel said: no such queue, or no such socket.
    ///
    /// # Examples
    ///
    /// Frames with what the program found of them, of an interface with one queue; those of all
    /// queues are in `darknet-core/examples/frames.rs`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use darknet_core::{
    ///     Dark,
    ///     kernel::{Delivery, Kernel, Settings},
    ///     rules::Metadata,
    ///     xsk::{Options, Queue},
    /// };
    ///
    /// let mut kernel = Kernel::load(&Settings {
    ///     dark: Dark::new(&["203.0.113.0/24".parse()?], &[])?,
    ///     delivery: Delivery::Frames,
    ///     ..Settings::default()
    /// })?;
    /// let mut queue = Queue::open("eth1", &Options::default())?;
    /// kernel.deliver_to(0, &queue)?;
    /// kernel.attach("eth1")?;
    /// let mut kept = None;
    /// while queue.wait(Duration::from_secs(1))? {
    ///     for frame in &queue.receive(64) {
    ///         let data: &[u8] = frame.data();
    ///         let found = Metadata::before(frame.metadata());
    ///         if let Some(packet) = found.and_then(|found| found.packet(data)) {
    ///             println!("{} bytes to port {}", data.len(), packet.destination_port);
    ///         }
    ///         // A slice lives as long as its batch; this one is `bytes::Bytes`.
    ///         kept = Some(frame.to_bytes());
    ///     }
    /// }
    /// println!("the last: {kept:02x?}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deliver_to(&mut self, queue: u32, socket: impl AsFd) -> Result<(), Error> {
        let socket = socket.as_fd();
        self.program.deliver_to(queue, socket)?;
        let kept = socket.try_clone_to_owned();
        let kept = kept.map_err(|source| Error::System {
            doing: "keeping an AF_XDP socket".into(),
            source,
        })?;
        self.sockets.push((queue, kept));
        Ok(())
    }

    /// Hands on to `tracing` what the kernel program has said since the last time: that a table or
    /// the ring is full.
    pub fn forward_log(&mut self) {
        self.program.log.forward();
    }

    /// Bytes that the kernel has set aside for the tables, as it says itself.
    pub fn memory(&self) -> u64 {
        self.program.memory
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let Self {
            program: _,
            attached,
            pinned,
            sockets: _,
        } = self;
        // On no interface it has counted nothing: a start that was refused leaves no tables.
        if let (None, Some(pinned)) = (attached, pinned) {
            let _ = pinned.pins.remove(pinned.generation);
        }
    }
}
