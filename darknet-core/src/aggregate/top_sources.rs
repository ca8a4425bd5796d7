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
mod tests {
    use std::collections::HashMap;

    use darknet_ebpf::{Address as Words, Class, Packet, Version};
    use proptest::prelude::*;

    use super::*;

    fn from(v6: bool, host: u32, seed: &Seed) -> Observation {
        let packet = Packet {
            class: Class::TcpSyn,
            version: if v6 { Version::V6 } else { Version::V4 },
            source: Words::from_words([host, 0, 0, 0]),
            bytes: 40,
            ..Packet::MALFORMED
        };
        Observation::new(packet, 0, seed)
    }

    /// Many sources once, some more often.
    fn packets() -> impl Strategy<Value = Vec<(bool, u32)>> {
        let host = prop_oneof![0..20_u32, 0..3_000_u32, any::<u32>()];
        prop::collection::vec((prop::bool::weighted(0.3), host), 0..6_000)
    }

    /// Every source lies within its bounds, and nothing is lost.
    fn check(sources: &TopSources, packets: &[(bool, u32)], seed: &Seed) {
        let mut truth: HashMap<IpAddr, u64> = HashMap::new();
        for &(v6, host) in packets {
            let packet = from(v6, host, seed).packet;
            *truth.entry(packet.source.ip(packet.version)).or_default() += 1;
        }
        let rows = sources.top(0);
        let counted: u64 = rows.iter().map(|row| row.counts.packets).sum();
        assert_eq!(counted + sources.forgotten().packets, packets.len() as u64);
        for row in &rows {
            let truth = truth.remove(&row.source).expect("it was there");
            let counted = row.counts.packets;
            assert_eq!(row.counts.bytes, 40 * counted);
            assert!(
                (counted..=counted + row.missed).contains(&truth),
                "{truth}: {row:?}"
            );
        }
        let most = truth.into_values().max().unwrap_or(0);
        assert!(most <= sources.missed(), "{most} of one that is not there");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_truth_lies_within_the_bounds_and_workers_dont_matter(
            packets in packets(), memory in prop_oneof![Just(0), Just(1 << 18), Just(1 << 22)],
            workers in 1..6_usize, order in any::<prop::sample::Index>(),
        ) {
            let seed = Seed::random();
            let new = || TopSources::new(memory, &seed);
            let mut whole = new();
            let mut parts: Vec<TopSources> = (0..workers).map(|_| new()).collect();
            let observations: Vec<_> = packets.iter().map(|&(v6, host)| from(v6, host, &seed)).collect();
            whole.observe_batch(&observations);
            for observation in &observations {
                parts[observation.shard() % workers].observe(observation);
            }
            check(&whole, &packets, &seed);
            parts.rotate_left(order.index(workers));
            let mut merged = new();
            parts.iter_mut().for_each(|part| merged.merge(part));
            prop_assert_eq!(merged.top(0), whole.top(0));
            prop_assert_eq!((merged.missed(), merged.forgotten()), (whole.missed(), whole.forgotten()));
            if memory == 1 << 22 {
                prop_assert_eq!(whole.missed(), 0, "they fit");
            }
        }

        #[test]
        fn windows_may_be_merged_and_the_bounds_hold(
            windows in prop::collection::vec(packets(), 1..4), memory in prop_oneof![Just(0), Just(1 << 18)],
        ) {
            let seed = Seed::random();
            let new = || TopSources::new(memory, &seed);
            let count = |packets: &[(bool, u32)]| {
                let mut sources = new();
                packets.iter().for_each(|&(v6, host)| sources.observe(&from(v6, host, &seed)));
                sources
            };
            let (mut one, mut other) = (new(), new());
            windows.iter().for_each(|packets| one.merge(&mut count(packets)));
            check(&one, &windows.concat(), &seed);
            // Two of them either way round.
            let (mut first, mut second) = (count(&windows[0]), count(&windows[windows.len() - 1]));
            other.merge(&mut second.clone());
            other.merge(&mut first.clone());
            first.merge(&mut second);
            prop_assert_eq!(first.top(0), other.top(0));
            prop_assert_eq!(first.missed(), other.missed());
            one.reset();
            prop_assert!(one.top(0).is_empty() && one.missed() == 0 && one.forgotten().packets == 0);
        }
    }

    #[test]
    fn a_flood_of_new_sources_misses_no_more_than_the_stated_share() {
        let seed = Seed::random();
        let mut sources = TopSources::new(1 << 20, &seed);
        let packets = 2_000_000_u32;
        (0..packets).for_each(|host| sources.observe(&from(false, host, &seed)));
        // Each shard has 8 KiB for 32 bytes a source and 11 of the index.
        let (capacity, shard) = (190, u64::from(packets) / SHARDS as u64 * 11 / 10);
        assert!(
            sources.missed() <= 2 * shard / capacity,
            "{}",
            sources.missed()
        );
        let kept = sources.top(0).len();
        assert!(kept <= capacity as usize * SHARDS, "{kept}");
    }
}
