use darknet_ebpf::Packet;

use super::{SHARDS, Seed};
use crate::time::Nanoseconds;

/// A counted packet on its way to the aggregates. 64 bytes: one cache line.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// What the walk found.
    pub packet: Packet,
    /// When it was received: nanoseconds since 1970, UTC.
    pub time: Nanoseconds,
    /// The seeded hash of the source.
    hash: u64,
}

const _: () = assert!(size_of::<Observation>() == 64);

impl Observation {
    /// A packet that was received at `time`.
    #[inline]
    pub fn new(packet: Packet, time: Nanoseconds, seed: &Seed) -> Self {
        Self {
            packet,
            time,
            hash: seed.source(&packet),
        }
    }

    /// The seeded hash of the source.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The logical shard of the source, below [`SHARDS`].
    #[inline]
    pub fn shard(&self) -> usize {
        shard_of(self.hash)
    }
}

/// The logical shard of a source with this hash.
#[inline]
pub(super) fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARDS.trailing_zeros())) as usize
}
