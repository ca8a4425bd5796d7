use std::{
    io,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{ProgramError, TestRun, TestRunAttrs, TestRunOptions, XdpMode, xdp::XdpLinkId},
};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{
    error::Error, memory::Memory, namespace::Namespace, object, slots::Size, world::World,
};

/// How the sender works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The CPU that sends, and receives: [`World::queue_of`] says by which queue.
    pub cpu: usize,
    /// Frames that are handed over at once, 1 to 256. The driver has room for 256, so fewer leave
    /// the receiver time to work them off.
    pub batch: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { cpu: 0, batch: 64 }
    }
}

/// How long attaching to the idle interface may be refused.
const PARKING: Duration = Duration::from_secs(1);

/// Frames in consecutive slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) size: Size,
    /// The first slot.
    pub(super) first: usize,
    pub(super) frames: u32,
}

/// The generator program, loaded for a world.
pub(super) struct Sender {
    object: Ebpf,
    /// The next slot, and how many frames were made.
    cursor: Array<MapData, [u64; 2]>,
    options: Options,
    /// The program that is parked, and its link.
    parked: Option<(Size, XdpLinkId)>,
    parking: Namespace,
}

impl Sender {
    /// Loads it with so many slots of each size, each a whole number of pages in all.
    pub(super) fn new(
        world: &World,
        options: &Options,
        slots: [usize; Size::ALL.len()],
    ) -> Result<(Self, [Memory; Size::ALL.len()]), Error> {
        let wire = world.wire();
        let mut loader = EbpfLoader::new();
        loader.override_global("INTERFACE", &wire, true);
        for (size, slots) in Size::ALL.into_iter().zip(slots) {
            loader.map_max_entries(size.map(), slots as u32);
        }
        let mut object = object::load(&mut loader, "generator", object::GENERATOR)?;
        for size in Size::ALL {
            object::load_program(&mut object, size.program())?;
        }
        let map = |size: Size, slots: usize| match object.map(size.map()) {
            Some(Map::Array(map)) => Memory::new(map.fd().as_fd(), slots * size.bytes()),
            _ => Err(object::no_map(size.map())),
        };
        let [small, medium, large] = slots;
        let memory = [
            map(Size::Small, small)?,
            map(Size::Medium, medium)?,
            map(Size::Large, large)?,
        ];
        let cursor = object.take_map("CURSOR");
        let cursor = cursor.ok_or_else(|| object::no_map("CURSOR"))?;
        let cursor = Array::try_from(cursor).map_err(Error::bpf("the lab's map CURSOR"))?;
        let sender = Self {
            object,
            cursor,
            options: options.clone(),
            parked: None,
            parking: Namespace::new("parking")?,
        };
        Ok((sender, memory))
    }

    pub(super) const fn cpu(&self) -> usize {
        self.options.cpu
    }

    /// Readies the thread that will call [`Sender::send`].
    pub(super) fn take_thread(&self, world: &World) -> Result<(), Error> {
        world.sender().move_thread()?;
        let cpu = self.options.cpu;
        let action = || format!("pinning the sender to CPU {cpu}");
        if cpu >= CpuSet::MAX_CPU {
            return Err(Error::system(action())(io::ErrorKind::InvalidInput.into()));
        }
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set).map_err(|error| Error::system(action())(error.into()))
    }

    /// Parks the program of a size where it never runs, so that the kernel's table of direct calls
    /// to XDP programs keeps it. Else each test run would put it in and take it out, and wait for
    /// two RCU grace periods, 25 ms and more (`bpf_prog_test_run_xdp`, net/bpf/test_run.c;
    /// `bpf_dispatcher_change_prog`, kernel/bpf/dispatcher.c).
    fn park(&mut self, size: Size) -> Result<(), Error> {
        let parked = self.parked.take();
        match parked {
            Some((parked, link)) if parked == size => {
                self.parked = Some((parked, link));
                return Ok(());
            }
            Some((parked, link)) => {
                let program = object::program(&mut self.object, parked.program())?;
                let outcome = program.detach(link);
                outcome.map_err(Error::bpf("unparking the generator program"))?;
            }
            None => {}
        }
        let program = object::program(&mut self.object, size.program())?;
        let begun = Instant::now();
        loop {
            match self.parking.enter(|| program.attach("lo", XdpMode::Skb))? {
                Ok(link) => {
                    self.parked = Some((size, link));
                    return Ok(());
                }
                // A process that was forked just now holds what was detached until it executes.
                Err(_) if begun.elapsed() < PARKING => thread::sleep(Duration::from_millis(2)),
                Err(error) => return Err(Error::bpf("parking the generator program")(error)),
            }
        }
    }

    /// Hands the frames of a piece to the driver.
    pub(super) fn send(&mut self, piece: Piece) -> Result<(), Error> {
        let Piece {
            size,
            first,
            frames,
        } = piece;
        if frames == 0 {
            return Ok(());
        }
        self.park(size)?;
        let program = object::program(&mut self.object, size.program())?;
        let packet = [0; Size::Large.room()];
        let mut left = u64::from(frames);
        let mut first = first as u64;
        while left > 0 {
            let set = self.cursor.set(0, [first, 0], 0);
            set.map_err(Error::bpf("the lab's map CURSOR"))?;
            let run = program.test_run(TestRunOptions {
                data_in: Some(&packet[..size.room()]),
                repeat: left as u32,
                attrs: TestRunAttrs::new().xdp_live_frames(self.options.batch),
                ..TestRunOptions::new()
            });
            let cursor = self.cursor.get(&0, 0);
            let [_, made] = cursor.map_err(Error::bpf("the lab's map CURSOR"))?;
            match run {
                Err(error) if !interrupted(&error) => {
                    let action = format!("sending {} frames at once", self.options.batch);
                    return Err(Error::bpf(action)(error));
                }
                Ok(_) if made != left => {
                    return Err(Error::Bpf {
                        action: "running the generator program".into(),
                        message: format!("it made {made} of {left} frames"),
                    });
                }
                // A signal ends a run early; the rest follows in another.
                _ => {}
            }
            left -= made;
            first += made;
        }
        Ok(())
    }
}

fn interrupted(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else {
        return false;
    };
    error.io_error.kind() == io::ErrorKind::Interrupted
}
