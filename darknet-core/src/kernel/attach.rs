use std::{fmt, io, os::fd::AsFd as _};

use aya::{
    Ebpf,
    programs::{ProgramError, Xdp, loaded_programs},
};

use super::{
    netlink::{self, LinkState},
    object::{FRAGMENTS, PLAIN},
    privilege,
    refused::{program_refused, system_error},
    sys::{self, Ends, Link},
};
use crate::Error;

/// Where in the kernel a program sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before anything is allocated for the packet.
    Driver,
    /// In the network stack: slower, for drivers that have no place for programs.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Driver => "driver mode",
            Self::Generic => "generic mode",
        })
    }
}

/// An interface whose packets the program sees.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attachment {
    /// The interface's name when it was attached to.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// Where the program sees its packets.
    pub mode: Mode,
    /// Whether it sees frames of several buffers too.
    pub fragments: bool,
    /// Why it is not driver mode and all buffers, if it isn't: what the kernel said to that.
    pub fallback: Option<io::Error>,
    /// The number of the program.
    pub program: u32,
}

impl fmt::Display for Attachment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            index: _,
            mode,
            fragments: _,
            fallback,
            program: _,
        } = self;
        write!(out, "{interface} in {mode}")?;
        match fallback {
            Some(said) if *mode == Mode::Generic => write!(out, ", as its driver said: {said}"),
            _ => Ok(()),
        }
    }
}

/// What is tried, the best first.
const LADDER: [(&str, Mode); 4] = [
    (FRAGMENTS, Mode::Driver),
    (PLAIN, Mode::Driver),
    (FRAGMENTS, Mode::Generic),
    (PLAIN, Mode::Generic),
];

/// Attaches to an interface: in the driver if that can be, for frames of several buffers if that
/// can be. The program is there while the link is open or pinned.
pub(super) fn attach(
    loaded: &mut Ebpf,
    name: &str,
) -> Result<(Attachment, &'static str, Link), Error> {
    let index = index(name)?;
    free(name, index)?;
    let mut fallback = None;
    for (program_name, mode) in LADDER {
        let program = program(loaded, program_name)?;
        // `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE`, `include/uapi/linux/if_link.h`.
        let flags = match mode {
            Mode::Driver => 1 << 2,
            Mode::Generic => 1 << 1,
        };
        let result = ready(program).and_then(|()| {
            let link = Link::create(program.fd()?.as_fd(), index, flags);
            link.map_err(ProgramError::IOError)
        });
        match result {
            Ok(link) => {
                let attachment = Attachment {
                    interface: name.into(),
                    index,
                    mode,
                    fragments: program_name == FRAGMENTS,
                    fallback,
                    program: number(program)?,
                };
                return Ok((attachment, program_name, link));
            }
            Err(error @ ProgramError::LoadError { .. }) if program_name == PLAIN => {
                return Err(program_refused(error));
            }
            Err(error) => {
                let said = system_error(&error).unwrap_or_else(|| io::Error::other(error));
                if let Some(error) = privilege::missing(&said, "attaching to an interface") {
                    return Err(error);
                }
                // Somebody was quicker, or the interface is gone.
                free(name, index)?;
                fallback.get_or_insert(said);
            }
        }
    }
    Err(Error::Attach {
        name: name.into(),
        source: fallback.unwrap_or_else(|| io::ErrorKind::Unsupported.into()),
    })
}

/// What a link is between.
pub(super) fn ends(link: &Link) -> Result<Ends, Error> {
    link.ends().map_err(|source| Error::System {
        doing: "asking about a pinned link".into(),
        source,
    })
}

/// The attachment of a program that has a link already, left by another process, and the program's
/// name.
pub(super) fn find(name: &str, ends: Ends) -> Result<(Attachment, &'static str), Error> {
    let index = index(name)?;
    let state = state(name, index)?;
    // The number alone could be that of another interface in another namespace.
    if ends.interface != Some(index) || state.program != Some(ends.program) {
        return Err(Error::PinnedElsewhere { name: name.into() });
    }
    let plain = program_name(ends.program) == PLAIN;
    let attachment = Attachment {
        interface: name.into(),
        index,
        mode: match state.is_generic {
            true => Mode::Generic,
            false => Mode::Driver,
        },
        fragments: !plain,
        fallback: None,
        program: ends.program,
    };
    Ok((attachment, if plain { PLAIN } else { FRAGMENTS }))
}

/// The number of an interface.
fn index(name: &str) -> Result<u32, Error> {
    let unknown = || Error::UnknownInterface { name: name.into() };
    sys::interface_index(name).ok_or_else(unknown)
}

/// The number of a loaded program.
pub(super) fn number(program: &Xdp) -> Result<u32, Error> {
    Ok(program.info().map_err(program_refused)?.id())
}

/// The error that says who is on the interface, unless it is free.
fn free(name: &str, index: u32) -> Result<(), Error> {
    match on(name, index)? {
        None => Ok(()),
        Some(id) => Err(Error::InterfaceTaken {
            name: name.into(),
            program: program_name(id),
            id,
        }),
    }
}

/// The number of the program on an interface.
fn on(name: &str, index: u32) -> Result<Option<u32>, Error> {
    Ok(state(name, index)?.program)
}

fn state(name: &str, index: u32) -> Result<LinkState, Error> {
    netlink::link(index).map_err(|source| match source.raw_os_error() {
        Some(libc::ENODEV) => Error::InterfaceGone { name: name.into() },
        _ => Error::System {
            doing: format!("asking about the interface {name}"),
            source,
        },
    })
}

/// Packets that the interface had no room for, since it is there.
pub(super) fn missed(attachment: &Attachment) -> Result<u64, Error> {
    Ok(state(&attachment.interface, attachment.index)?.missed)
}

/// Fails unless the program is still on the interface that it was attached to.
pub(super) fn check(attachment: &Attachment) -> Result<(), Error> {
    let Attachment {
        interface: name,
        index,
        program,
        ..
    } = attachment;
    match on(name, *index)? {
        Some(id) if id == *program => Ok(()),
        Some(id) => Err(Error::InterfaceTaken {
            name: name.into(),
            program: program_name(id),
            id,
        }),
        None => Err(Error::Detached { name: name.into() }),
    }
}

fn program_name(id: u32) -> String {
    loaded_program(id).unwrap_or_else(|| "without a name".into())
}

/// The name of a program, if it has one and this process may see it.
pub(crate) fn loaded_program(id: u32) -> Option<String> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let program = programs.find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

/// One of the object's programs.
pub(super) fn program<'a>(loaded: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    let program = loaded.program_mut(name);
    let program = program.and_then(|program| program.try_into().ok());
    program.ok_or_else(|| Error::KernelObject {
        what: format!("it has no XDP program {name}"),
    })
}

/// Loads a program unless it is loaded.
pub(super) fn ready(program: &mut Xdp) -> Result<(), ProgramError> {
    match program.load() {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        result => result,
    }
}
