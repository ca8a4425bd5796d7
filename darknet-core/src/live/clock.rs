use nix::time::{ClockId, clock_gettime};

use crate::time::Nanoseconds;

/// The time of day beside the clock that the kernel program stamps packets with, which counts from
/// the start of the host (`bpf_ktime_get_ns`: `CLOCK_MONOTONIC`).
///
/// They are read together, once for a batch of packets: so packets have the time of day that the
/// host had when they were taken, also when it was set anew since.
pub(super) struct Clock {
    now: Nanoseconds,
    /// When the host started.
    start: Nanoseconds,
}

impl Clock {
    pub(super) fn read() -> Self {
        Self::at(time_of_day(), read(ClockId::CLOCK_MONOTONIC))
    }

    /// The time of day, and that of the monotonic clock.
    fn at(now: Nanoseconds, monotonic: Nanoseconds) -> Self {
        Self {
            now,
            start: now.saturating_sub(monotonic),
        }
    }

    /// When this was read.
    pub(super) fn now(&self) -> Nanoseconds {
        self.now
    }

    /// The time of day of a packet.
    #[inline]
    pub(super) fn of(&self, stamp: u64) -> Nanoseconds {
        self.start.saturating_add(stamp.cast_signed())
    }
}

/// Whether the window that begins at `open` is over, when the one of the time of day begins at `now`.
///
/// A clock that was set back a little leaves it open until it has caught up, so that no two windows
/// overlap. If it was set back by more than a window, waiting could take years.
pub(super) fn is_over(open: Nanoseconds, now: Nanoseconds, length: Nanoseconds) -> bool {
    now > open || open.saturating_sub(now) > length
}

/// Nanoseconds since 1970.
pub(super) fn time_of_day() -> Nanoseconds {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> Nanoseconds {
    // Both clocks are always there.
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec()
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_time_of_day_that_the_host_had_when_it_was_taken() {
        const SECOND: Nanoseconds = 1_000_000_000;
        const DAY: Nanoseconds = 86_400 * SECOND;
        let noon = 20_000 * DAY + DAY / 2;
        // The packet was stamped when the host was up for a day, a second before it was taken.
        let taken = DAY + SECOND;
        for (name, time_of_day, expected) in [
            ("the clock is right", noon, noon - SECOND),
            (
                "set back by an hour",
                noon - DAY / 24,
                noon - DAY / 24 - SECOND,
            ),
            ("set ahead to 2106", 49_710 * DAY, 49_710 * DAY - SECOND),
            ("a host that thinks it is 1970", 0, -SECOND),
            ("before all time", Nanoseconds::MIN, Nanoseconds::MIN + DAY),
        ] {
            let clock = Clock::at(time_of_day, taken);
            assert_eq!(clock.of(DAY.cast_unsigned()), expected, "{name}");
            assert_eq!(clock.now(), time_of_day, "{name}");
        }
        let last = Clock::at(Nanoseconds::MAX, 0).of(i64::MAX.cast_unsigned());
        assert_eq!(last, Nanoseconds::MAX, "cut to the end of time");
    }

    #[test]
    fn a_clock_that_was_set_back_far_ends_the_window() {
        const MINUTE: Nanoseconds = 60_000_000_000;
        const YEAR: Nanoseconds = 365 * 24 * 60 * MINUTE;
        for (name, now, expected) in [
            ("within the window", 100, false),
            ("the next", 101, true),
            ("far ahead", 1_000_000, true),
            ("set back over the edge", 99, false),
            ("set back by two windows", 98, true),
            ("set back to 1970", 0, true),
        ] {
            let over = is_over(100 * MINUTE, now * MINUTE, MINUTE);
            assert_eq!(over, expected, "{name}");
        }
        assert!(
            !is_over(YEAR, 0, YEAR),
            "the year before, in windows of a year"
        );
        assert!(is_over(Nanoseconds::MAX, Nanoseconds::MIN, MINUTE));
    }

    #[test]
    fn a_stamp_of_now_is_the_time_of_day() {
        let clock = Clock::read();
        let stamp = read(ClockId::CLOCK_MONOTONIC).cast_unsigned();
        // Another thread may have had the processor in between.
        let late = clock.of(stamp) - clock.now();
        assert!((0..1_000_000_000).contains(&late), "{late} ns");
        assert!((time_of_day() - clock.now()) < 1_000_000_000);
    }
}
