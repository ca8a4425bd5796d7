use darknet_ebpf::Packet;

use super::{SHARDS, Seed};
use crate::time::Nanoseconds;

/// A counted packet on its way to the aggregates. 64 bytes: one cache line.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// What the walk found.
    pub packet: Packet,
    /// When it was received.
    pub time: Nanoseconds,
    /// The seeded hash of the source, its low half.
    pub(crate) hash: u32,
    pub(crate) shard: u8,
}

const _: () = assert!(size_of::<Observation>() == 64);

impl Observation {
    /// A packet that was received at `time`.
    #[inline]
    pub fn new(packet: Packet, time: Nanoseconds, seed: &Seed) -> Self {
        let hash = seed.source(&packet);
        Self {
            packet,
            time,
            hash: hash as u32,
            shard: (hash >> (64 - SHARDS.trailing_zeros())) as u8,
        }
    }

    /// The logical shard of the source, below [`SHARDS`].
    #[inline]
    pub fn shard(&self) -> usize {
        usize::from(self.shard)
    }
}
