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
mod tests;
