use std::{
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
};

use crate::{Dark, Filter, Sample};

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
    /// What is handed over of each counted packet. Default: nothing.
    pub delivery: Delivery,
    /// Bytes of the ring of records of each processor, rounded down to a power of two; a record
    /// takes 64. Default: 4 MiB, which 10 million packets a second fill in 6 ms.
    pub record_bytes: u32,
    /// Whether source networks are counted by class and port too. They take as many slots as they
    /// have classes and ports. Default: no.
    pub networks_by_port: bool,
    /// Bytes of the kernel's tables together. What the ports, the records and the prefixes leave
    /// is for source networks, 32 bytes each. Default: 64 MiB, or what leaves 16 MiB for networks
    /// where there are many processors: 7.3 MiB for each and 18, and the rings of records (483 MiB for
    /// 64 processors without them).
    pub memory: Option<usize>,
    /// A folder in a BPF file system, made if there is none: the program and its tables are pinned
    /// there, stay when the process ends, however it does, and are taken over by the next one.
    /// Default: none.
    pub pins: Option<PathBuf>,
    /// What a sample of networks is drawn by: programs with the same choose the same networks. Drawn anew
    /// in each default.
    #[doc(hidden)]
    pub sample_seed: [u64; 2],
    /// Rounds that the program idles between reading where to count and counting: for tests.
    #[doc(hidden)]
    pub idle: u32,
    /// Whether frames are delivered without metadata, as by drivers that have none: for tests.
    #[doc(hidden)]
    pub no_metadata: bool,
}

/// What the kernel program hands over of each counted packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    #[default]
    None,
    /// A record of its headers: [`Kernel::take_records`](super::Kernel::take_records).
    Headers,
    /// The frame, to the AF_XDP socket of its queue:
    /// [`Kernel::deliver_to`](super::Kernel::deliver_to).
    Frames,
}

/// Odd numbers that nobody can know.
pub(super) fn draw() -> [u64; 2] {
    std::array::from_fn(|_| RandomState::new().hash_one(()) | 1)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dark: Dark::any(),
            filter: Filter::default(),
            sample: Sample::default(),
            delivery: Delivery::None,
            record_bytes: 4 << 20,
            networks_by_port: false,
            memory: None,
            pins: None,
            sample_seed: draw(),
            idle: 0,
            no_metadata: false,
        }
    }
}
