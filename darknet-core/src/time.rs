//! Times and windows.

use std::ops::Range;

use jiff::Timestamp;

/// Nanoseconds since 1970-01-01 UTC: from the year 1677 to 2262. Times beyond are cut to these.
pub type Nanoseconds = i64;

/// The time as text and arithmetic know it.
pub(crate) fn timestamp(time: Nanoseconds) -> Timestamp {
    Timestamp::from_nanosecond(time.into()).expect("64 bits of nanoseconds are within its range")
}

/// The number of a window: windows are aligned to 1970-01-01 UTC, where number 0 begins.
pub(crate) type WindowNumber = i64;

/// Says into which window each packet goes, and which windows are open.
///
/// A window closes when the newest time passes its end by the grace. At most two are open: that of
/// the newest packet, and the one before it. A packet of a closed window goes into the oldest open
/// one, and is late.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    length: Nanoseconds,
    grace: Nanoseconds,
    newest: Nanoseconds,
    /// The window of the newest packet, and its edges.
    current: WindowNumber,
    edges: Range<Nanoseconds>,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) window: WindowNumber,
    pub(crate) late: bool,
}

impl Clock {
    pub(crate) fn new(length: Nanoseconds, grace: Nanoseconds) -> Self {
        Self {
            length,
            grace,
            newest: Nanoseconds::MIN,
            current: WindowNumber::MIN,
            edges: 0..0,
        }
    }

    /// The window of a packet that was received at `time`.
    #[inline]
    pub(crate) fn place(&mut self, time: Nanoseconds) -> Place {
        if !self.edges.contains(&time) {
            return self.place_elsewhere(time);
        }
        self.newest = self.newest.max(time);
        Place {
            window: self.current,
            late: false,
        }
    }

    fn place_elsewhere(&mut self, time: Nanoseconds) -> Place {
        let window = time.div_euclid(self.length);
        if time > self.newest {
            self.newest = time;
            self.current = window;
            self.edges = self.start(window)..self.start(window.saturating_add(1));
        }
        let oldest = self.oldest_open();
        Place {
            window: window.max(oldest),
            late: window < oldest,
        }
    }

    /// The oldest window that a packet may still go into.
    #[inline]
    pub(crate) fn oldest_open(&self) -> WindowNumber {
        let grace = self.newest < self.edges.start.saturating_add(self.grace);
        self.current.saturating_sub(i64::from(grace))
    }

    /// When a window begins.
    pub(crate) fn start(&self, window: WindowNumber) -> Nanoseconds {
        window.saturating_mul(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanoseconds = 1_000_000_000;

    #[test]
    fn packets_go_where_the_rule_says() {
        let mut clock = Clock::new(60 * SECOND, 2 * SECOND);
        for (name, seconds, window, late) in [
            ("the first packet", 121, 2, false),
            ("the window before, within the grace", 119, 1, false),
            ("a window that closed before anything came", 50, 1, true),
            ("one nanosecond of grace left is enough", 121, 2, false),
            ("the grace is over", 122, 2, false),
            ("too late for the window before", 119, 2, true),
            ("the last second", 179, 2, false),
            ("the next window", 180, 3, false),
            ("back within the grace", 179, 2, false),
            ("far ahead", 6000, 100, false),
            ("the window before the one jumped to", 5999, 99, false),
            ("what was open before the jump", 180, 99, true),
            ("far back, the grace over", 6002, 100, false),
            ("before 1970", -1, 100, true),
        ] {
            let place = clock.place(seconds * SECOND);
            assert_eq!(place, Place { window, late }, "{name}");
        }
    }

    #[test]
    fn a_window_is_half_open() {
        let mut clock = Clock::new(60 * SECOND, 0);
        assert_eq!(clock.place(60 * SECOND - 1).window, 0);
        assert_eq!(clock.place(60 * SECOND).window, 1);
        let closed = Place {
            window: 1,
            late: true,
        };
        assert_eq!(clock.place(60 * SECOND - 1), closed, "no grace");
    }

    #[test]
    fn times_before_1970_and_at_the_ends_of_time_have_windows() {
        let mut clock = Clock::new(60 * SECOND, 2 * SECOND);
        assert_eq!(
            clock.place(Nanoseconds::MIN).window,
            Nanoseconds::MIN.div_euclid(60 * SECOND)
        );
        assert_eq!(clock.place(-1).window, -1);
        assert_eq!(clock.place(0).window, 0);
        let last = Nanoseconds::MAX / (60 * SECOND);
        assert_eq!(clock.place(Nanoseconds::MAX).window, last);
        assert_eq!(
            clock.start(last + 1),
            Nanoseconds::MAX,
            "cut to the end of time"
        );
    }
}
