use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, Xdp, loaded_programs},
};
use darknet_core::kernel::Kernel;

/// `darknet-ebpf/src/bin/varied.rs`, compiled: `cargo xtask build-ebpf` makes it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("varied.bpf.o");

/// `XDP_DROP` (`enum xdp_action`, include/uapi/linux/bpf.h).
const DROP: u32 = 1;

/// What is called with one source after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// Counts nothing: the floor.
    Empty,
    /// Counts in one line of the cache, wherever the source network has it: the floor for a count
    /// by network.
    Line,
    /// Counts in the kernel's own hash table for each processor: the peer.
    PercpuHash,
    /// The telescope's program.
    Telescope,
}

impl Callee {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Empty, Self::Line, Self::PercpuHash, Self::Telescope];

    /// Its name in the object.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("empty"),
            Self::Line => Some("line"),
            Self::PercpuHash => Some("percpu_hash"),
            Self::Telescope => None,
        }
    }
}

/// A program that gives each run another source, then calls one that is measured.
pub struct Varied {
    object: Ebpf,
    /// Whether the programs are those for frames of several buffers, as the telescope's is.
    fragments: bool,
    cursor: Array<MapData, u64>,
    next: ProgramArray<MapData>,
    telescope: ProgramFd,
}

impl Varied {
    /// Loads it, with the sources, lines and hash entries for so many networks.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn new(kernel: &Kernel, sources: &[[u8; 4]], networks: u32) -> Self {
        let telescope = kernel.identity().expect("a program");
        let lines = networks.next_power_of_two();
        let object = EbpfLoader::new()
            .override_global("MASK", &(lines - 1), true)
            .map_max_entries("LINES", lines)
            .map_max_entries("HASH", lines)
            .load(OBJECT);
        let mut object = object.expect("root");
        let mut take = |name| object.take_map(name).expect("it is in the object");
        let cursor = Array::try_from(take("CURSOR")).expect("an array");
        let next = ProgramArray::try_from(take("NEXT")).expect("an array of programs");
        let mut list = Array::<_, [u8; 4]>::try_from(take("SOURCES")).expect("an array");
        for (index, source) in (0..).zip(sources) {
            list.set(index, source, 0).expect("a source");
        }
        let mut programs = loaded_programs().filter_map(Result::ok);
        let program = programs.find(|program| program.id() == telescope.program);
        let program = program.expect("it is loaded");
        let mut varied = Self {
            object,
            fragments: telescope.fragments,
            cursor,
            next,
            telescope: program.fd().expect("root"),
        };
        let callees = Callee::ALL.into_iter().filter_map(Callee::name);
        for name in callees.chain(["vary"]) {
            let name = varied.full_name(name);
            let program = varied.object.program_mut(&name).expect("it is there");
            let program: &mut Xdp = program.try_into().expect("an XDP program");
            program.load().expect("the verifier takes it");
        }
        varied
    }

    /// Runs a program with the sources from the first on. Returns the nanoseconds of one run.
    ///
    /// # Panics
    ///
    /// If the kernel refuses, or the program does not drop the frame.
    pub fn run(&mut self, callee: Callee, frame: &[u8], runs: u32) -> f64 {
        let program = match callee.name() {
            Some(name) => self.program(name).fd().expect("it is loaded"),
            None => &self.telescope,
        };
        let program = program.try_clone().expect("a descriptor");
        self.next.set(0, &program, 0).expect("they fit");
        self.cursor.set(0, 0, 0).expect("a number");
        self.time("vary", frame, runs)
    }

    /// Runs the floor with a frame as it is. Returns the nanoseconds of one run.
    ///
    /// # Panics
    ///
    /// As [`Varied::run`].
    pub fn empty(&self, frame: &[u8], runs: u32) -> f64 {
        self.time("empty", frame, runs)
    }

    fn time(&self, name: &str, frame: &[u8], runs: u32) -> f64 {
        let result = self.program(name).test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: runs,
            ..TestRunOptions::default()
        });
        let result = result.expect("it runs");
        assert_eq!(result.return_value, DROP, "{name}");
        result.duration.as_nanos() as f64
    }

    fn program(&self, name: &str) -> &Xdp {
        let program = self.object.program(&self.full_name(name));
        let program = program.expect("it is in the object");
        program.try_into().expect("an XDP program")
    }

    fn full_name(&self, name: &str) -> String {
        format!("{name}{}", if self.fragments { "_frags" } else { "" })
    }
}
