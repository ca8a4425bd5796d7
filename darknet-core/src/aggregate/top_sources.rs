use std::{cmp::Reverse, net::IpAddr};

use super::{
    Aggregate, Counts, Observation, SHARDS, Seed,
    frequent::{Entry, Forgotten},
    frequent_sources::{FrequentSources, SourceEntry},
    source::Address,
    table::Slot,
};

/// The sources with the most packets, in a fixed budget, however many there are.
///
/// Exact while all sources fit, which 32 MiB do for 380,000 of IPv4 and 140,000 of IPv6. Where they
/// don't, the lesser half gives way, and each figure says what it may have missed:
/// [`TopSource::missed`], 0 for sources that were never forgotten. A source that is not there had
/// [`missed`](Self::missed) packets at most. That is at most twice the packets of a shard over its
/// capacity: with 32 MiB and IPv4, 1 in 3,000 of the shard's packets, some 1 in 190,000 of all.
///
/// Kept for each shard, so that figures don't depend on the number of workers. Windows that follow
/// each other may be merged too: the bounds hold, but where sources gave way they depend on which
/// were merged first.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Observation, Seed, TopSources},
///     rules::{Address, Class, Packet, Version},
/// };
///
/// let seed = Seed::random();
/// let mut sources = TopSources::new(1 << 20, &seed);
/// for packet in 0..900_000_u32 {
///     // One source of ours in each third packet; all others are new.
///     let source = if packet % 3 == 0 { 7 } else { packet + 10 };
///     let packet = Packet {
///         class: Class::TcpSyn,
///         version: Version::V4,
///         source: Address::from_words([source, 0, 0, 0]),
///         ..Packet::MALFORMED
///     };
///     sources.observe(&Observation::new(packet, 0, &seed));
/// }
/// let top = sources.top(1)[0];
/// assert_eq!(top.source.to_string(), "0.0.0.7");
/// assert_eq!((top.counts.packets, top.missed), (300_000, 0));
/// assert!(sources.missed() < 100 && sources.forgotten().packets > 500_000);
/// ```
#[derive(Clone, Debug)]
pub struct TopSources(FrequentSources<Counter<u32>, Counter<u128>>);

/// A source with many packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopSource {
    /// The address.
    pub source: IpAddr,
    /// What it sent at least.
    pub counts: Counts,
    /// How many packets it may have sent beside these, at most.
    pub missed: u64,
}

/// A free one has no packets.
#[derive(Clone, Copy, Debug, Default)]
struct Counter<A> {
    counts: Counts,
    missed: u64,
    address: A,
}

impl TopSources {
    /// No sources yet; they take at most `memory` bytes, and start with none. Half of it is for
    /// IPv4, a quarter for IPv6, and the rest for the moment in which sources give way.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        let part = memory / SHARDS / 4;
        Self(FrequentSources::new(part * 2, part, seed))
    }

    /// The `count` sources with the most packets, most first, then by address; 0 is all there are.
    pub fn top(&self, count: usize) -> Vec<TopSource> {
        let rows = self.0.rows(Counter::row, Counter::row);
        let key = |row: &TopSource| (Reverse(row.counts.packets), row.source);
        crate::snapshot::highest(rows, count, key)
    }

    /// Packets that a source which is not there sent at most; 0 if there is no such source.
    pub fn missed(&self) -> u64 {
        self.0.missed()
    }

    /// What gave way.
    pub fn forgotten(&self) -> Forgotten {
        self.0.forgotten()
    }
}

impl<A: Address> Counter<A> {
    fn row(&self) -> TopSource {
        let Self {
            counts,
            missed,
            address,
        } = *self;
        TopSource {
            source: address.ip(),
            counts,
            missed,
        }
    }
}

impl<A: Address> Slot for Counter<A> {
    type Key = A;

    #[inline]
    fn key(&self) -> Option<A> {
        (self.counts.packets > 0).then_some(self.address)
    }

    #[inline]
    fn of(address: A) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }

    #[inline]
    fn hash(address: A, seed: &Seed) -> u64 {
        seed.key(address)
    }
}

impl<A: Address> Entry for Counter<A> {
    #[inline]
    fn packets(&self) -> u64 {
        self.counts.packets
    }

    fn missed(&self) -> u64 {
        self.missed
    }

    fn set_missed(&mut self, missed: u64) {
        self.missed = missed;
    }

    fn add(&mut self, other: &Self, _: &Seed) {
        self.counts += other.counts;
    }
}

impl<A: Address> SourceEntry for Counter<A> {
    #[inline]
    fn count(&mut self, observation: &Observation, _: &Seed) {
        self.counts.add(observation.packet.bytes);
    }

    #[inline]
    fn touch(&self) -> u8 {
        self.counts.packets as u8
    }
}

impl Aggregate for TopSources {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        self.0.observe_batch(batch);
    }

    fn merge(&mut self, other: &mut Self) {
        self.0.merge(&mut other.0);
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests;
