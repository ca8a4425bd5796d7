use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::XdpMode,
};

use super::{error::Error, object, world::World};

/// Room for kept frames, 2,048 bytes each: a power of two.
const KEPT: u32 = 16_384 * 2_048;

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// In the driver.
    #[default]
    Driver,
    /// Behind the driver, on any interface.
    Generic,
}

/// An XDP program on the telescope's interface that drops every frame and counts it, or keeps it.
/// Dropping this detaches it.
pub struct Sink {
    /// Holds the program and its link.
    _object: Ebpf,
    counts: PerCpuArray<MapData, [u64; 3]>,
    frames: RingBuf<MapData>,
}

/// What a sink received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames.
    pub packets: u64,
    /// Their bytes, from the destination address of Ethernet on.
    pub bytes: u64,
    /// Frames that should have been kept and found no room.
    pub missed: u64,
}

impl Sink {
    /// One that only counts: the bare program that others are compared with.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, also because another program is there.
    pub fn counting(world: &World, mode: Mode) -> Result<Self, Error> {
        Self::attach(world, mode, "count", 4096)
    }

    /// One that also keeps the first 16,384 frames for [`Sink::frame`].
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, also because another program is there.
    pub fn keeping(world: &World, mode: Mode) -> Result<Self, Error> {
        Self::attach(world, mode, "keep", KEPT)
    }

    fn attach(world: &World, mode: Mode, name: &str, room: u32) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FRAMES", room);
        let mut object = object::load(&mut loader, "sink", object::SINK)?;
        let program = object::load_program(&mut object, name)?;
        let mode = match mode {
            Mode::Driver => XdpMode::Driver,
            Mode::Generic => XdpMode::Skb,
        };
        let interface = world.interface();
        world
            .telescope()
            .enter(|| program.attach(interface, mode))?
            .map_err(Error::bpf(format!("attaching to {interface}")))?;
        let mut map = |name| object.take_map(name).ok_or_else(|| object::no_map(name));
        let (counts, frames) = (map("COUNTS")?, map("FRAMES")?);
        Ok(Self {
            counts: PerCpuArray::try_from(counts).map_err(Error::bpf("the lab's map COUNTS"))?,
            frames: RingBuf::try_from(frames).map_err(Error::bpf("the lab's map FRAMES"))?,
            _object: object,
        })
    }

    /// What was received so far.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to say.
    pub fn counts(&self) -> Result<Counts, Error> {
        let values = self.counts.get(&0, 0);
        let values = values.map_err(Error::bpf("the lab's map COUNTS"))?;
        Ok(values.iter().fold(Counts::default(), |sum, value| {
            let [packets, bytes, missed] = value;
            Counts {
                packets: sum.packets + packets,
                bytes: sum.bytes + bytes,
                missed: sum.missed + missed,
            }
        }))
    }

    /// The next kept frame, in the order of arrival at one queue.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        let item = self.frames.next()?;
        // The length, then room for any frame.
        let (length, room) = item.split_first_chunk()?;
        let length = u32::from_ne_bytes(*length) as usize;
        Some(room.get(..length)?.to_vec())
    }
}
