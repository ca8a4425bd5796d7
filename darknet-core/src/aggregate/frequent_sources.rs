//! The most frequent sources of both IP versions, in tables for each shard.

use std::hint::black_box;

use darknet_ebpf::{Class, Version};

use super::{
    LOOK_AHEAD, Observation, SHARDS, Seed,
    frequent::{Entry, Forgotten, Frequent},
    source::Address,
};

/// What is kept of a source.
pub(super) trait SourceEntry: Entry {
    /// Counts a packet of it.
    fn count(&mut self, observation: &Observation, seed: &Seed);

    /// Reads the memory that counting a packet begins with.
    fn touch(&self) -> u8;
}

/// See [`Frequent`]; `V4` is kept of a source of IPv4, `V6` of one of IPv6.
#[derive(Clone, Debug)]
pub(super) struct FrequentSources<V4, V6> {
    shards: Vec<(Frequent<V4>, Frequent<V6>)>,
    seed: Seed,
}

impl<V4: SourceEntry<Key = u32>, V6: SourceEntry<Key = u128>> FrequentSources<V4, V6> {
    /// No sources yet; in each shard, those of either version take at most so many bytes.
    pub(super) fn new(v4: usize, v6: usize, seed: &Seed) -> Self {
        Self {
            shards: vec![(Frequent::new(v4), Frequent::new(v6)); SHARDS],
            seed: seed.clone(),
        }
    }

    /// What is said of each source, in no order.
    pub(super) fn rows<R>(
        &self,
        v4_row: impl Fn(&V4) -> R + Copy,
        v6_row: impl Fn(&V6) -> R + Copy,
    ) -> impl Iterator<Item = R> {
        let shards = self.shards.iter();
        shards.flat_map(move |(v4, v6)| v4.iter().map(v4_row).chain(v6.iter().map(v6_row)))
    }

    /// Packets that a source which is not there sent at most.
    pub(super) fn missed(&self) -> u64 {
        let shards = self.shards.iter();
        let missed = shards.map(|(v4, v6)| v4.missed().max(v6.missed()));
        missed.max().unwrap_or(0)
    }

    pub(super) fn forgotten(&self) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for (v4, v6) in &self.shards {
            forgotten += v4.forgotten();
            forgotten += v6.forgotten();
        }
        forgotten
    }

    #[inline]
    pub(super) fn observe_batch(&mut self, batch: &[Observation]) {
        let Self { shards, seed } = self;
        for batch in batch.chunks(LOOK_AHEAD) {
            // The index for all of them, then what it leads to.
            let (mut numbers, mut touched) = ([0; LOOK_AHEAD], 0);
            for (number, observation) in numbers.iter_mut().zip(batch) {
                let ((v4, v6), hash) = (&shards[observation.shard()], observation.hash() as u32);
                *number = match observation.packet.version {
                    Version::V4 => v4.first(hash),
                    Version::V6 => v6.first(hash),
                };
            }
            for (&number, observation) in numbers.iter().zip(batch) {
                let (v4, v6) = &shards[observation.shard()];
                touched |= match observation.packet.version {
                    Version::V4 => v4.numbered(number).map_or(0, V4::touch),
                    Version::V6 => v6.numbered(number).map_or(0, V6::touch),
                };
            }
            black_box(touched);
            for observation in batch {
                let (packet, hash) = (&observation.packet, observation.hash() as u32);
                let (v4, v6) = &mut shards[observation.shard()];
                match (packet.class, packet.version) {
                    (Class::Malformed, _) => {}
                    (_, Version::V4) => v4.count(u32::of(packet), hash, seed, |entry| {
                        entry.count(observation, seed);
                    }),
                    (_, Version::V6) => v6.count(u128::of(packet), hash, seed, |entry| {
                        entry.count(observation, seed);
                    }),
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        let Self { shards, seed } = self;
        for (mine, theirs) in shards.iter_mut().zip(&mut other.shards) {
            mine.0.merge(&mut theirs.0, seed);
            mine.1.merge(&mut theirs.1, seed);
        }
    }

    pub(super) fn reset(&mut self) {
        for (v4, v6) in &mut self.shards {
            v4.reset();
            v6.reset();
        }
    }
}
