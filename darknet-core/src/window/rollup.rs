use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::{
    SignedDuration, Timestamp,
    tz::{self, TimeZone},
};
use serde::Serialize;

use super::{Contents, Window};
use crate::{
    Error,
    snapshot::{RollupMark, Snapshot},
};

/// Closed windows, rolled up into hours and days by merging.
///
/// Days are those of a time zone, so that some have 23 or 25 hours. Hours are counted from the start
/// of their day, so a day is always made of whole ones; where clocks change by half an hour, the last
/// one is shorter. A window belongs to the hour and the day in which it begins. One that begins before
/// the hour that is open, as a clock was set back, belongs to that hour; but one that begins more than
/// an hour before it ends it, and so it is with days.
///
/// What is merged is bounded as each window is: see [`Aggregate`](crate::aggregate::Aggregate). The
/// open hour takes that once, and the open day once more; a length that is not asked for takes
/// nothing.
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
///     window::{Length, Rolled, Rollup},
/// };
/// use jiff::tz::TimeZone;
///
/// let telescope = Telescope::new();
/// let mut captures = Captures::open(["monday.pcap"])?;
/// let zone = TimeZone::get("Asia/Tokyo").expect("it is on this host");
/// let mut rollup = Rollup::new(Length::ALL, zone);
/// let print = |rolled: Rolled<'_, Figures>| {
///     let hosts = rolled.window.snapshot(telescope.dark(), 10).hosts;
///     println!("{} from {}: {hosts:?}", rolled.length, rolled.start);
/// };
/// telescope.run_windows(&mut captures, |window| {
///     rollup.add(window, print);
///     ControlFlow::Continue(())
/// })?;
/// rollup.finish(print);
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Rollup<A> {
    zone: TimeZone,
    /// From short to long: what is over is merged into the next.
    lengths: Vec<(Length, Option<Open<A>>)>,
}

/// An hour or a day, with all windows of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rolled<'a, A> {
    /// Which of the two.
    pub length: Length,
    /// When it began.
    pub start: Timestamp,
    /// When it ends: not part of it.
    pub end: Timestamp,
    /// Whether a window came that begins after it. `false` of what was open when
    /// [`finish`](Rollup::finish) was called, or when the clock was set back for long.
    pub is_over: bool,
    /// Whose hours and days these are.
    pub zone: &'a TimeZone,
    /// All windows that began in it, as one. Its edges are theirs, which are within those of the hour
    /// or day where the telescope was started or stopped in it.
    pub window: &'a Window<A>,
}

/// What windows are rolled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// An hour of a day.
    Hour,
    /// A day of the time zone.
    Day,
}

impl Length {
    /// All of them, from short to long.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// How it is called in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Refuses windows that are longer: one that reaches beyond the hour or the day in which it
    /// begins belongs to that as a whole.
    ///
    /// # Errors
    ///
    /// Windows of more than an hour, or more than 24.
    pub fn check(self, window: Duration) -> Result<(), Error> {
        let (hours, rule) = match self {
            Self::Hour => (1, "an hour at most, to be rolled up to hours"),
            Self::Day => (24, "24 hours at most, to be rolled up to days"),
        };
        if window <= Duration::from_secs(hours * 60 * 60) {
            return Ok(());
        }
        Err(Error::Setting {
            name: "window",
            value: format!("{window:?}"),
            rule,
        })
    }
}

/// Reads the name of a time zone, as `Asia/Tokyo`; `UTC` is on every host.
///
/// # Errors
///
/// A name that the database of time zones on this host does not have; or there is none.
pub fn parse_zone(text: &str) -> Result<TimeZone, Error> {
    if text.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(text).map_err(|_| Error::Setting {
        name: "zone",
        value: format!("{text:?}"),
        rule: match tz::db().is_definitively_empty() {
            false => "a time zone of this host, as \"Asia/Tokyo\"",
            true => "\"UTC\", as this host has no time zones; its package is mostly tzdata",
        },
    })
}

impl fmt::Display for Length {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
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

impl<A: Contents + Clone> Rollup<A> {
    /// No windows yet, for hours, days or both.
    pub fn new(lengths: impl IntoIterator<Item = Length>, zone: TimeZone) -> Self {
        let lengths: BTreeSet<Length> = lengths.into_iter().collect();
        let lengths = lengths.into_iter().map(|length| (length, None));
        Self {
            zone,
            lengths: lengths.collect(),
        }
    }

    /// Adds a closed window, in order of time. `closed` has each hour and each day that is over, as
    /// the window begins after it. The window's aggregate may be left with anything; one without
    /// edges has seen nothing.
    pub fn add(&mut self, window: &mut Window<A>, mut closed: impl FnMut(Rolled<'_, A>)) {
        let Some((start, _)) = window.edges else {
            return;
        };
        for at in 0..self.lengths.len() {
            let Some(open) = &self.lengths[at].1 else {
                continue;
            };
            let is_over = open.span.end <= start;
            if is_over || open.span.is_long_after(start) {
                self.close(at, is_over, &mut closed);
            }
        }
        match self.lengths.first_mut() {
            Some((_, Some(open))) => open.window.merge(window),
            Some((length, none)) => {
                *none = Some(Open {
                    span: Span::new(*length, start, &self.zone),
                    window: window.clone(),
                });
            }
            None => {}
        }
    }

    /// Hands over what is open: nothing comes any more.
    pub fn finish(mut self, mut closed: impl FnMut(Rolled<'_, A>)) {
        for at in 0..self.lengths.len() {
            self.close(at, false, &mut closed);
        }
    }

    /// Hands over what is open of a length, and merges it into what is longer.
    fn close(&mut self, at: usize, is_over: bool, closed: &mut impl FnMut(Rolled<'_, A>)) {
        let (length, open) = &mut self.lengths[at];
        let Some(Open { span, mut window }) = open.take() else {
            return;
        };
        closed(Rolled {
            length: *length,
            start: span.start,
            end: span.end,
            is_over,
            zone: &self.zone,
            window: &window,
        });
        match self.lengths.get_mut(at + 1) {
            Some((_, Some(longer))) => longer.window.merge(&mut window),
            Some((length, none)) => {
                let span = Span::new(*length, span.start, &self.zone);
                *none = Some(Open { span, window });
            }
            None => {}
        }
    }
}

impl<A> Rolled<'_, A> {
    /// Says in the tables of its window what they are of.
    #[must_use]
    pub fn mark(&self, snapshot: Snapshot) -> Snapshot {
        Snapshot {
            rollup: Some(RollupMark {
                length: self.length,
                start: self.start,
                end: self.end,
                zone: self.zone.iana_name().map(str::to_owned),
                is_over: self.is_over,
            }),
            ..snapshot
        }
    }
}

impl Span {
    /// Whether a time is earlier than its start by more than its length.
    fn is_long_after(&self, time: Timestamp) -> bool {
        self.start.duration_since(time) > self.end.duration_since(self.start)
    }

    /// The hour or the day of a time.
    fn new(length: Length, time: Timestamp, zone: &TimeZone) -> Self {
        let day = Self::day(time, zone);
        match length {
            Length::Hour => day.hour(time),
            Length::Day => day,
        }
    }

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
mod tests;
