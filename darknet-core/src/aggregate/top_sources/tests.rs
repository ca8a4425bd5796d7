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
