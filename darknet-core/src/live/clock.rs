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
        let now = time_of_day();
        Self {
            now,
            start: now.saturating_sub(read(ClockId::CLOCK_MONOTONIC)),
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
    fn a_stamp_of_now_is_the_time_of_day() {
        let clock = Clock::read();
        let stamp = read(ClockId::CLOCK_MONOTONIC).cast_unsigned();
        // Another thread may have had the processor in between.
        let late = clock.of(stamp) - clock.now();
        assert!((0..1_000_000_000).contains(&late), "{late} ns");
        assert!((time_of_day() - clock.now()) < 1_000_000_000);
    }
}
