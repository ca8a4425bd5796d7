use proptest::prelude::*;

use super::*;
use crate::aggregate::Seed;

fn of(precision: u8, hosts: impl IntoIterator<Item = u32>, seed: &Seed) -> Distinct {
    let mut distinct = Distinct::new(precision);
    hosts
        .into_iter()
        .for_each(|host| distinct.insert(seed.hash(host)));
    distinct
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers in each run.
fn mix(number: u64) -> u64 {
    let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[test]
fn estimates_are_within_two_percent_from_10_to_10_million_hosts() {
    for (series, largest) in [(1_u64, 7), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)] {
        let mut distinct = Distinct::new(14);
        let mut hosts = 0;
        for upto in (1..=largest).flat_map(|power| [1, 3].map(|n| n * 10_u64.pow(power))) {
            (hosts..upto).for_each(|host| distinct.insert(mix(series << 40 | host)));
            hosts = upto;
            let estimate = distinct.estimate();
            let off = estimate.count as f64 / hosts as f64 - 1.0;
            assert_eq!(estimate.is_exact(), hosts <= 1_536, "{hosts}");
            assert!(off.abs() < 0.02, "series {series}, {hosts} hosts: {off}");
            assert!(off == 0.0 || !estimate.is_exact(), "{hosts}: {off}");
        }
    }
}

#[test]
fn estimates_are_within_two_percent_after_merging_the_windows_of_a_day() {
    for (series, new) in [(7_u64, 1), (8, 70), (9, 7_000)] {
        let insert = |into: &mut Distinct, hosts: std::ops::Range<u64>| {
            hosts.for_each(|host| into.insert(mix(series << 40 | host)));
        };
        let [mut day, mut whole] = [14; 2].map(Distinct::new);
        for minute in 0..1_440 {
            // As many again were there the minute before.
            let mut window = Distinct::new(14);
            insert(&mut window, minute * new..(minute + 2) * new);
            day.merge(&window);
            insert(&mut whole, (minute + 1) * new..(minute + 2) * new);
        }
        insert(&mut whole, 0..new);
        let estimate = day.estimate();
        assert_eq!(estimate, whole.estimate(), "{new} new in each");
        let off = estimate.count as f64 / (1_441 * new) as f64 - 1.0;
        assert!(off.abs() < 0.02, "{new} new in each: {off}");
        assert_eq!(estimate.is_exact(), new == 1);
        assert!(off == 0.0 || !estimate.is_exact(), "{off}");
    }
}

proptest! {
    #[test]
    fn few_hosts_are_counted_as_a_set_does(hosts in prop::collection::vec(0..300_u32, 0..500)) {
        let distinct = of(12, hosts.iter().copied(), &Seed::random());
        let set: std::collections::HashSet<_> = hosts.into_iter().collect();
        prop_assert_eq!(distinct.estimate(), Estimate { count: set.len() as u64, error: 0.0 });
    }

    #[test]
    fn memory_is_bounded_by_the_precision(hosts in 0..2_000_u32, precision in Distinct::PRECISIONS) {
        let distinct = of(precision, 0..hosts, &Seed::random());
        prop_assert!(distinct.kept.bytes(precision) <= 1 << precision);
    }

    #[test]
    fn precisions_meet_at_the_lower_one(
        hosts in prop::collection::vec(any::<u32>(), 0..800), at in 0..800_usize, swap: bool,
    ) {
        let seed = Seed::random();
        let (first, second) = hosts.split_at(at.min(hosts.len()));
        let (mut fine, mut coarse) =
            (of(13, first.iter().copied(), &seed), of(8, second.iter().copied(), &seed));
        if swap {
            std::mem::swap(&mut fine, &mut coarse);
        }
        fine.merge(&coarse);
        prop_assert_eq!(fine.estimate(), of(8, hosts, &seed).estimate());
    }
}
