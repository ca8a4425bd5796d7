//! The in-kernel half as userspace sees it: load, attach, count, hand over.
//!
//! [`Kernel`] is the front door. Minimum kernel version: 6.1, the oldest that the program was run
//! on (`cargo xtask vm`); also on 6.12 and 6.18.

/// Which interface, in which mode.
mod attach;
/// The tables, and how a bank is taken out of use and read.
mod counters;
/// Which program an interface has, and what it missed.
mod netlink;
/// The embedded program, and what goes wrong when it is loaded.
mod object;
/// What outlives the process.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "no telescope is pinned yet, only ended")
)]
mod pins;
/// What a process may do.
mod privilege;
/// The ring of header records.
mod records;
/// The leaf that calls the kernel.
#[expect(
    unsafe_code,
    reason = "mmap, bpf, membarrier and netlink have no safe call"
)]
mod sys;
#[cfg(test)]
mod testing;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::{Ebpf, TestRun as _, TestRunOptions, programs::Xdp};

pub use attach::{Attachment, Mode};
pub use counters::BankFigures;
pub use pins::{Ended, detach};
pub use privilege::missing_capabilities;
pub use records::Records;

use self::counters::Counters;
use crate::{Dark, Error, Filter, Sample};

/// What the kernel program is told before it is loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which destinations are dark. Up to 32 boundaries between dark and not dark for each IP
    /// version (16 prefixes that don't touch) are compared one by one; more are looked up in a
    /// trie, which costs some 20 ns a packet more. Default: all.
    pub dark: Dark,
    /// Sources whose packets to dark destinations are filtered. Default: none.
    pub filter: Filter,
    /// Which counted packets are delivered. Default: all.
    pub sample: Sample,
    /// Whether each counted packet is handed over as a record. Default: no.
    pub records: bool,
    /// Bytes of the ring of records, rounded up to a power of two; a record takes 72. Default:
    /// 16 MiB.
    pub record_bytes: u32,
    /// Whether source networks are counted by class and port too. They take as many slots as they
    /// have classes and ports. Default: no.
    pub networks_by_port: bool,
    /// Bytes of the kernel's tables together. What the ports, the records and the prefixes leave
    /// is for source networks, 32 bytes each. Default: 64 MiB, or what leaves 34 MiB for networks
    /// where there are many processors (7.1 MiB each).
    pub memory: Option<usize>,
    /// Rounds that the program idles between reading where to count and counting: for tests.
    #[doc(hidden)]
    pub idle: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dark: Dark::any(),
            filter: Filter::default(),
            sample: Sample::default(),
            records: false,
            record_bytes: 16 << 20,
            networks_by_port: false,
            memory: None,
            idle: 0,
        }
    }
}

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was for a dark destination: nobody else sees it.
    Drop,
    /// It goes on to the network stack, untouched.
    Pass,
    /// Something that the program never does.
    Other(u32),
}

/// What the program cost the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// Instructions that the verifier looked at; it gives up at 1,000,000. `None` before Linux 5.16.
    pub verified: Option<u32>,
    /// Bytes of machine code.
    pub machine_code: u32,
}

/// Which of the kernel's programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Its number.
    pub program: u32,
    /// Whether it is the one that sees frames of several buffers too. A tail call needs both
    /// programs to agree on that.
    pub fragments: bool,
}

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
}

/// A loaded program, and what it counts in.
#[derive(Debug)]
struct Program {
    loaded: Ebpf,
    counters: Counters,
    records: Option<Records>,
}

#[derive(Debug)]
struct Attached {
    attachment: Attachment,
    program: &'static str,
    link: OwnedFd,
}

impl Program {
    /// Loads a program that begins with a turn.
    fn load(settings: &Settings, epoch: u64) -> Result<Self, Error> {
        let processors = object::processors()?;
        let mut loaded = object::load(settings, processors)?;
        let program = attach::program(&mut loaded, object::FRAGMENTS)?;
        // An old kernel may refuse this one and take the other, which attaching falls back to.
        if attach::ready(program).is_err() {
            let plain = attach::program(&mut loaded, object::PLAIN)?;
            attach::ready(plain).map_err(object::program_refused)?;
        }
        let records = Records::new(loaded.take_map("RECORDS"))?;
        let counters = Counters::new(|name| object::take(&mut loaded, name))?;
        counters.begin(epoch);
        Ok(Self {
            records: settings.records.then_some(records),
            counters,
            loaded,
        })
    }
}

impl Kernel {
    /// Loads the program and makes its tables. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// Too little memory for the tables, a missing capability (by name), or a kernel that refuses
    /// the program (with the verifier's words in the error's `log`).
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            program: Program::load(settings, 0)?,
            attached: None,
        })
    }

    /// Attaches the program to an interface of this thread's network namespace: in driver mode, or
    /// where the driver refuses in generic mode.
    ///
    /// # Errors
    ///
    /// An interface that there isn't, that has another XDP program (its name and number), or that
    /// takes the program in neither mode; a second interface.
    pub fn attach(&mut self, interface: &str) -> Result<&Attachment, Error> {
        if let Some(attached) = &self.attached {
            return Err(Error::Setting {
                name: "interface",
                value: format!("{interface} beside {}", attached.attachment.interface),
                rule: "one for each kernel program",
            });
        }
        let (attachment, program, link) = attach::attach(&mut self.program.loaded, interface)?;
        let attached = self.attached.insert(Attached {
            attachment,
            program,
            link,
        });
        Ok(&attached.attachment)
    }

    /// Lets a program with other settings count instead of this one: each packet is seen by one of
    /// the two. Returns what the old one has counted since the last cut; that is not handed over
    /// to anybody else.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); the old program counts on.
    pub fn replace(&mut self, settings: &Settings) -> Result<BankFigures, Error> {
        let mut next = Program::load(settings, self.program.counters.epoch().wrapping_add(1))?;
        if let Some(Attached {
            attachment,
            program,
            link,
        }) = &mut self.attached
        {
            attachment.program = attach::replace(&mut next.loaded, program, link.as_fd())?;
        }
        let former = std::mem::replace(&mut self.program, next);
        counters::wait_for_programs()?;
        former.counters.remains()
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

    /// Detaches the program. It stays loaded, with what it has counted. An interface that has
    /// disappeared is no error.
    pub fn detach(&mut self) {
        self.attached = None;
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
        let figures = self.program.counters.cut()?;
        self.program.counters.handed_over()?;
        Ok(figures)
    }

    /// What was counted since the last time, so far. Read in the middle of traffic, the figures
    /// may differ from each other by the packets that came meanwhile.
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

    /// Runs the program on a frame of 14 bytes or more, `repeat` times, without an interface. Says
    /// what it did and how long it took on average. It counts as any other packet.
    ///
    /// # Errors
    ///
    /// What the kernel said: a frame that is too short, or too long.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<(Action, Duration), Error> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        };
        let result = self.xdp()?.test_run(options);
        let result = result.map_err(object::program_refused)?;
        // `enum xdp_action`, `include/uapi/linux/bpf.h`.
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            other => Action::Other(other),
        };
        Ok((action, result.duration))
    }

    /// What the program cost the kernel.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn footprint(&self) -> Result<Footprint, Error> {
        let information = self.xdp()?.info().map_err(object::program_refused)?;
        Ok(Footprint {
            verified: information.verified_instruction_count(),
            machine_code: information.size_jitted(),
        })
    }

    /// Which program it is, for somebody who calls it from a program of their own.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn identity(&self) -> Result<Identity, Error> {
        let information = self.xdp()?.info().map_err(object::program_refused)?;
        Ok(Identity {
            program: information.id(),
            fragments: information.name_as_str() == Some(object::FRAGMENTS),
        })
    }

    /// The program that is attached, or would be tried first.
    fn xdp(&self) -> Result<&Xdp, Error> {
        let attached = self.attached.as_ref().map(|attached| attached.program);
        let names = [attached.unwrap_or(object::FRAGMENTS), object::PLAIN];
        let programs = names
            .iter()
            .filter_map(|name| self.program.loaded.program(name));
        let mut programs = programs.filter_map(|program| <&Xdp>::try_from(program).ok());
        let loaded = programs.find(|program| program.fd().is_ok());
        loaded.ok_or_else(|| Error::KernelObject {
            what: "none of its programs is loaded".into(),
        })
    }
}
