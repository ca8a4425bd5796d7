use std::{fmt, os::fd::AsRawFd};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, XskMap},
    programs::XdpMode,
};

use super::{error::Error, namespace::Namespace, object, sink::Mode, world::World};

/// What a [`Redirect`] does beside redirecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Program {
    /// Nothing.
    #[default]
    Bare,
    /// Nothing, and it takes no packets of several buffers.
    Plain,
    /// It leaves a [`Mark`] before each packet.
    Mark,
}

/// What [`Program::Mark`] leaves before a packet, as its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The queue that received it.
    pub queue: u32,
    /// Bytes of it in its first buffer.
    pub length: u32,
}

impl Mark {
    /// The mark at the end of a packet's metadata, if there is one.
    pub fn read(metadata: &[u8]) -> Option<Self> {
        let (rest, length) = metadata.split_last_chunk()?;
        let (rest, queue) = rest.split_last_chunk()?;
        rest.ends_with(b"darknet!").then_some(Self {
            queue: u32::from_ne_bytes(*queue),
            length: u32::from_ne_bytes(*length),
        })
    }
}

/// An XDP program on the telescope's interface that gives each packet to the AF_XDP socket of its
/// queue, or lets it pass where there is none. Dropping this detaches it.
pub struct Redirect {
    /// Holds the program and its link.
    _object: Ebpf,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for Redirect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            _object: object,
            sockets: _,
        } = self;
        out.debug_tuple("Redirect").field(object).finish()
    }
}

impl Redirect {
    /// Attaches it.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, also because another program is there.
    pub fn attach(world: &World, mode: Mode, program: Program) -> Result<Self, Error> {
        Self::attach_to(world.telescope(), world.interface(), mode, program)
    }

    /// Attaches it to an interface of a namespace.
    pub(super) fn attach_to(
        namespace: &Namespace,
        interface: &str,
        mode: Mode,
        program: Program,
    ) -> Result<Self, Error> {
        let mut object = object::load(&mut EbpfLoader::new(), "redirect", object::REDIRECT)?;
        let name = match program {
            Program::Bare => "redirect",
            Program::Plain => "redirect_plain",
            Program::Mark => "mark",
        };
        let program = object::load_program(&mut object, name)?;
        let mode = match mode {
            Mode::Driver => XdpMode::Driver,
            Mode::Generic => XdpMode::Skb,
        };
        namespace
            .enter(|| program.attach(interface, mode))?
            .map_err(Error::bpf(format!("attaching to {interface}")))?;
        let sockets = object.take_map("XSKS");
        let sockets = sockets.ok_or_else(|| object::no_map("XSKS"))?;
        Ok(Self {
            sockets: XskMap::try_from(sockets).map_err(Error::bpf("the lab's map XSKS"))?,
            _object: object,
        })
    }

    /// Gives the packets of a queue to a socket that is bound to it.
    ///
    /// # Errors
    ///
    /// If there are not so many queues, or it is no AF_XDP socket.
    pub fn set(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), Error> {
        let set = self.sockets.set(queue, socket.as_raw_fd(), 0);
        set.map_err(Error::bpf("the lab's map XSKS"))
    }
}
