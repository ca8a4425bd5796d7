use std::collections::BTreeMap;

use darknet_ebpf::Packet;
use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;
use crate::{
    aggregate::{Aggregate, Observation, Seed},
    ledger::Ledger,
};

/// Every packet, by its time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Times(BTreeMap<i64, u64>);

impl Aggregate for Times {
    fn observe(&mut self, observation: &Observation) {
        *self.0.entry(observation.time).or_default() += 1;
    }

    fn merge(&mut self, other: &mut Self) {
        for (time, packets) in std::mem::take(&mut other.0) {
            *self.0.entry(time).or_default() += packets;
        }
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

/// A window of these seconds, with a packet at each of the given ones.
fn window(start: i64, length: i64, packets: &[i64]) -> Window<Times> {
    let second = |second| Timestamp::from_second(second).expect("a time");
    let mut aggregate = Times::default();
    let seed = Seed::fixed(0);
    for &second in packets {
        let time = second * 1_000_000_000;
        aggregate.observe(&Observation::new(Packet::MALFORMED, time, &seed));
    }
    let mut ledger = Ledger::default();
    ledger.received = packets.len() as u64;
    Window {
        edges: Some((second(start), second(start + length))),
        epochs: None,
        ledger,
        complete: true,
        faults: Vec::new(),
        dark_is_known: true,
        aggregate,
    }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::posix(name).expect("a zone")
}

const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";

/// Hours of a day, and minutes of its first and last hour.
fn hours(zone: &TimeZone, noon: &str) -> (usize, i64, i64) {
    let noon: DateTime = noon.parse().expect("a time");
    let noon = noon.to_zoned(zone.clone()).expect("a time").timestamp();
    let day = Span::day(noon, zone);
    let mut hours = Vec::new();
    let mut time = day.start;
    while time < day.end {
        let hour = day.hour(time);
        assert_eq!(hour.start, time, "they have no gap");
        hours.push(hour.end.duration_since(hour.start).as_mins());
        time = hour.end;
    }
    let ends = (hours.first(), hours.last());
    (hours.len(), *ends.0.expect("one"), *ends.1.expect("one"))
}

#[test]
fn days_have_the_hours_of_their_zone() {
    for (name, zone_is, noon, expected) in [
        ("any", BERLIN, "2026-06-01T12:00", (24, 60, 60)),
        (
            "clocks go forward",
            BERLIN,
            "2026-03-29T12:00",
            (23, 60, 60),
        ),
        ("clocks go back", BERLIN, "2026-10-25T12:00", (25, 60, 60)),
        (
            "half an hour forward",
            LORD_HOWE,
            "2026-10-04T12:00",
            (24, 60, 30),
        ),
        (
            "half an hour back",
            LORD_HOWE,
            "2026-04-05T12:00",
            (25, 60, 30),
        ),
        ("of no zone", "UTC0", "1970-01-01T12:00", (24, 60, 60)),
        ("far ahead", "JST-9", "2106-02-07T06:28", (24, 60, 60)),
    ] {
        assert_eq!(hours(&zone(zone_is), noon), expected, "{name}");
    }
}

#[test]
fn a_window_goes_into_the_hour_in_which_it_begins() {
    const HOUR: i64 = 3600;
    // Where windows of ten minutes begin, then which hours come, by their number and packets.
    for (name, starts, expected) in [
        ("none", vec![], vec![]),
        (
            "one that goes beyond its hour",
            vec![HOUR - 1],
            vec![(0, 1)],
        ),
        (
            "the last second, and the next",
            vec![HOUR - 1, HOUR],
            vec![(0, 1), (1, 1)],
        ),
        (
            "the clock was set back",
            vec![5 * HOUR, 4 * HOUR, 6 * HOUR],
            vec![(5, 2), (6, 1)],
        ),
        (
            "for more than an hour",
            vec![5 * HOUR, 4 * HOUR - 1, 6 * HOUR],
            vec![(5, 1), (3, 1), (6, 1)],
        ),
        (
            "from 2106 to 1970",
            vec![4_294_965_600, 0, 0],
            vec![(1_193_046, 1), (0, 2)],
        ),
        (
            "days without windows",
            vec![0, 100 * HOUR],
            vec![(0, 1), (100, 1)],
        ),
        (
            "1970 and 2106",
            vec![0, 4_294_965_600],
            vec![(0, 1), (1_193_046, 1)],
        ),
    ] {
        let mut rolled = Vec::new();
        let mut days = Vec::new();
        let mut rollup = Rollup::new(Length::ALL, zone("UTC0"));
        let mut closed = |over: Rolled<'_, Times>| match over.length {
            Length::Hour => {
                let number = over.start.as_second() / HOUR;
                rolled.push((number, over.window.ledger.received));
            }
            Length::Day => days.push(over.window.ledger.received),
        };
        for &start in &starts {
            rollup.add(&mut window(start, 600, &[start]), &mut closed);
        }
        let mut nothing = window(0, 600, &[]);
        nothing.edges = None;
        rollup.add(&mut nothing, &mut closed);
        rollup.finish(&mut closed);
        assert_eq!(rolled, expected, "{name}");
        assert_eq!(days.iter().sum::<u64>(), starts.len() as u64, "{name}");
        let is_set_far = name.contains("2106") || name.contains("days");
        assert_eq!(
            days.len(),
            starts.len().min(1 + usize::from(is_set_far)),
            "{name}"
        );
    }
}

#[test]
fn only_what_was_asked_for_comes_and_what_was_open_says_so() {
    const HOUR: i64 = 3600;
    let [hour, day] = [Length::Hour, Length::Day];
    // A window each two hours, for 26: then which lengths come, with their packets, and are over.
    for (name, lengths, expected) in [
        ("none", vec![], vec![]),
        (
            "hours",
            vec![hour],
            [vec![(hour, 1, true); 13], vec![(hour, 1, false)]].concat(),
        ),
        ("days", vec![day], vec![(day, 12, true), (day, 2, false)]),
        (
            "both, however they are named",
            vec![day, hour, day],
            [
                vec![(hour, 1, true); 12],
                vec![(day, 12, true), (hour, 1, true)],
                vec![(hour, 1, false), (day, 2, false)],
            ]
            .concat(),
        ),
    ] {
        let mut rolled = Vec::new();
        let mut closed = |over: Rolled<'_, Times>| {
            rolled.push((over.length, over.window.ledger.received, over.is_over));
        };
        let mut rollup = Rollup::new(lengths, zone("UTC0"));
        for number in 0..14 {
            let start = 2 * HOUR * number;
            rollup.add(&mut window(start, 600, &[start]), &mut closed);
        }
        rollup.finish(&mut closed);
        assert_eq!(rolled, expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_merged_is_the_whole(
        zone_is in prop::sample::select(vec![BERLIN, LORD_HOWE, "UTC0", "<+0545>-5:45"]),
        begun in 0..4_000_000_000_i64,
        length in 1..20_000_i64,
        packets in prop::collection::btree_set(0..400_000_i64, 0..200),
    ) {
        let zone = zone(zone_is);
        let [mut hours, mut days] = [const { Vec::new() }; 2];
        let mut rollup = Rollup::new(Length::ALL, zone.clone());
        let mut closed = |over: Rolled<'_, Times>| {
            let span = Span { start: over.start, end: over.end };
            let rolled = (span, over.window.aggregate.clone());
            match over.length {
                Length::Hour => hours.push(rolled),
                Length::Day => days.push(rolled),
            }
        };
        // The same, told apart by the definition.
        let mut whole: BTreeMap<Timestamp, Times> = BTreeMap::new();
        let mut by_window: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for packet in packets {
            let time = begun + packet;
            by_window.entry(time.div_euclid(length) * length).or_default().push(time);
        }
        for (start, times) in by_window {
            let mut window = window(start, length, &times);
            let day = window.edges.expect("edges").0.to_zoned(zone.clone());
            let day = day.start_of_day().expect("a day").timestamp();
            whole.entry(day).or_default().merge(&mut window.aggregate.clone());
            rollup.add(&mut window, &mut closed);
        }
        rollup.finish(&mut closed);
        prop_assert!(hours.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start));
        let found: BTreeMap<_, _> = days.iter().map(|(day, all)| (day.start, all.clone())).collect();
        prop_assert_eq!(&found, &whole);
        for (day, all) in days {
            let mut merged = Times::default();
            for (hour, part) in &hours {
                if (day.start..day.end).contains(&hour.start) {
                    prop_assert!(hour.end <= day.end);
                    merged.merge(&mut part.clone());
                }
            }
            prop_assert_eq!(merged, all);
        }
    }
}
