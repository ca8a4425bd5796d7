use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{Contents, Window};

/// Closed windows, rolled up into hours and days by merging.
///
/// Days are those of a time zone, so that some have 23 or 25 hours. Hours are counted from the start
/// of their day, so a day is always made of whole ones; where clocks change by half an hour, the last
/// one is shorter. A window belongs to the hour in which it begins. One that begins before the hour
/// that is open, as a clock was set back, belongs to that hour.
///
/// What is merged is bounded as each window is: see [`Aggregate`](crate::aggregate::Aggregate).
///
/// # Examples
///
/// The hosts of each hour and day of captures, in Japan:
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use darknet_core::{
///     Captures, Telescope,
///     aggregate::Figures,
///     window::{Rolled, Rollup},
/// };
/// use jiff::tz::{TimeZone, offset};
///
/// let telescope = Telescope::new();
/// let mut captures = Captures::open(["monday.pcap"])?;
/// let mut rollup = Rollup::new(TimeZone::fixed(offset(9)), |rolled: Rolled<'_, Figures>| {
///     let hosts = rolled.window.snapshot(telescope.dark(), 10).hosts;
///     println!("{:?} from {}: {hosts:?}", rolled.length, rolled.start);
/// });
/// telescope.run_windows(&mut captures, |window| {
///     rollup.add(window);
///     ControlFlow::Continue(())
/// })?;
/// rollup.finish();
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Rollup<A, F> {
    zone: TimeZone,
    hour: Option<Open<A>>,
    day: Option<Open<A>>,
    closed: F,
}

/// An hour or a day that is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rolled<'a, A> {
    /// Which of the two.
    pub length: Length,
    /// When it began.
    pub start: Timestamp,
    /// When it ended: not part of it.
    pub end: Timestamp,
    /// All windows that began in it, as one. Its edges are theirs.
    pub window: &'a Window<A>,
}

/// What windows are rolled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// An hour of a day.
    Hour,
    /// A day of the time zone.
    Day,
}

/// An hour or a day that windows are merged into.
#[derive(Debug)]
struct Open<A> {
    span: Span,
    window: Window<A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl<A: Contents + Clone, F: FnMut(Rolled<'_, A>)> Rollup<A, F> {
    /// No windows yet. `closed` has each hour and each day when it is over: when a window comes that
    /// begins after it.
    pub fn new(zone: TimeZone, closed: F) -> Self {
        Self {
            zone,
            hour: None,
            day: None,
            closed,
        }
    }

    /// Adds a closed window, in order of time. Its aggregate may be left with anything; one without
    /// edges has seen nothing.
    pub fn add(&mut self, window: &mut Window<A>) {
        let Some((start, _)) = window.edges else {
            return;
        };
        if self
            .hour
            .as_ref()
            .is_some_and(|hour| hour.span.end <= start)
        {
            self.close_hour();
        }
        if self.day.as_ref().is_some_and(|day| day.span.end <= start) {
            self.close_day();
        }
        match &mut self.hour {
            Some(hour) => hour.window.merge(window),
            none => {
                let span = self.day.as_ref().map(|day| day.span);
                let span = span.filter(|day| day.start <= start);
                let day = span.unwrap_or_else(|| Span::day(start, &self.zone));
                *none = Some(Open {
                    span: day.hour(start),
                    window: window.clone(),
                });
            }
        }
    }

    /// Closes what is open: nothing comes any more.
    pub fn finish(mut self) {
        self.close_hour();
        self.close_day();
    }

    fn close_hour(&mut self) {
        let Some(mut hour) = self.hour.take() else {
            return;
        };
        (self.closed)(hour.rolled(Length::Hour));
        match &mut self.day {
            Some(day) => day.window.merge(&mut hour.window),
            none => {
                *none = Some(Open {
                    span: Span::day(hour.span.start, &self.zone),
                    window: hour.window,
                });
            }
        }
    }

    fn close_day(&mut self) {
        if let Some(day) = self.day.take() {
            (self.closed)(day.rolled(Length::Day));
        }
    }
}

impl<A> Open<A> {
    fn rolled(&self, length: Length) -> Rolled<'_, A> {
        let Span { start, end } = self.span;
        Rolled {
            length,
            start,
            end,
            window: &self.window,
        }
    }
}

impl Span {
    /// The day of a time.
    fn day(time: Timestamp, zone: &TimeZone) -> Self {
        let day = time.to_zoned(zone.clone()).start_of_day();
        // At the ends of the calendar, which no packet reaches, a day is what there is of it.
        let start = day.as_ref().map_or(Timestamp::MIN, |day| day.timestamp());
        let next = day.and_then(|day| day.tomorrow()?.start_of_day());
        Self {
            start,
            end: next.map_or(Timestamp::MAX, |next| next.timestamp()),
        }
    }

    /// The hour of a time of this day.
    fn hour(&self, time: Timestamp) -> Self {
        let hours = SignedDuration::from_hours(time.duration_since(self.start).as_hours());
        let start = self.start + hours;
        let end = start + SignedDuration::from_hours(1);
        Self {
            start,
            end: end.min(self.end),
        }
    }
}

#[cfg(test)]
mod tests {
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
                vec![5 * HOUR, HOUR, 6 * HOUR],
                vec![(5, 2), (6, 1)],
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
            let mut days = 0;
            let mut rollup =
                Rollup::new(zone("UTC0"), |over: Rolled<'_, Times>| match over.length {
                    Length::Hour => {
                        let number = over.start.as_second() / HOUR;
                        rolled.push((number, over.window.ledger.received));
                    }
                    Length::Day => days += over.window.ledger.received,
                });
            for &start in &starts {
                rollup.add(&mut window(start, 600, &[start]));
            }
            let mut nothing = window(0, 600, &[]);
            nothing.edges = None;
            rollup.add(&mut nothing);
            rollup.finish();
            assert_eq!(rolled, expected, "{name}");
            assert_eq!(days, starts.len() as u64, "{name}");
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
            let mut rollup = Rollup::new(zone.clone(), |over: Rolled<'_, Times>| {
                let span = Span { start: over.start, end: over.end };
                let rolled = (span, over.window.aggregate.clone());
                match over.length {
                    Length::Hour => hours.push(rolled),
                    Length::Day => days.push(rolled),
                }
            });
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
                rollup.add(&mut window);
            }
            rollup.finish();
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
}
