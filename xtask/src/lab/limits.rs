use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::error::Error;

/// When to send and when to stop; without any limit, all frames as fast as possible.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Frames at most.
    pub count: Option<u64>,
    /// Time at most, from the first frame on. With a rate it is a number of frames.
    pub duration: Option<Duration>,
    /// Frames per second at most, in steps of a millisecond.
    pub rate: Option<u64>,
    /// Stops when it becomes true.
    pub stop: Option<Arc<AtomicBool>>,
}

/// Limits on a run that has begun.
#[derive(Debug, Clone)]
pub(super) struct Pace<'a> {
    limits: &'a Limits,
    begin: Instant,
    most: u64,
}

/// How long the sender sleeps without looking at the stop flag.
const NAP: Duration = Duration::from_millis(20);

impl<'a> Pace<'a> {
    pub(super) fn begin(limits: &'a Limits) -> Result<Self, Error> {
        let Limits {
            count,
            duration,
            rate,
            stop: _,
        } = limits;
        if *rate == Some(0) {
            return Err(Error::Rate);
        }
        let in_time = rate.zip(*duration).map(|(rate, duration)| {
            let frames = u128::from(rate) * duration.as_nanos() / 1_000_000_000;
            u64::try_from(frames).unwrap_or(u64::MAX)
        });
        let most = count.unwrap_or(u64::MAX).min(in_time.unwrap_or(u64::MAX));
        Ok(Self {
            limits,
            begin: Instant::now(),
            most,
        })
    }

    /// How many frames the next chunk may have after `made`, `chunk` at most; 0 at the end.
    pub(super) fn chunk(&self, made: u64, chunk: u64) -> u64 {
        let late = self.limits.duration;
        if self.stopped() || late.is_some_and(|duration| self.begin.elapsed() >= duration) {
            return 0;
        }
        let step = self.limits.rate.map_or(chunk, |rate| (rate / 1000).max(1));
        chunk.min(step).min(self.most.saturating_sub(made))
    }

    /// Waits until it is time for the frame after `made`, or for the end.
    pub(super) fn wait(&self, made: u64) {
        let Some(rate) = self.limits.rate else { return };
        let due = u128::from(made) * 1_000_000_000 / u128::from(rate);
        let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
        while !self.stopped() {
            let Some(left) = due.checked_sub(self.begin.elapsed()) else {
                return;
            };
            thread::sleep(left.min(NAP));
        }
    }

    fn stopped(&self) -> bool {
        let stop = self.limits.stop.as_ref();
        stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_a_duration_are_a_count() {
        let limits = Limits {
            duration: Some(Duration::from_millis(1500)),
            rate: Some(1_000_000),
            ..Limits::default()
        };
        let pace = Pace::begin(&limits).expect("limits");
        assert_eq!(pace.chunk(0, 16_384), 1000, "a millisecond's");
        assert_eq!(pace.chunk(1_499_900, 16_384), 100);
        assert_eq!(pace.chunk(1_500_000, 16_384), 0);
    }

    #[test]
    fn the_stop_flag_ends_it_and_wakes_a_sleeper() {
        let stop = Arc::new(AtomicBool::new(false));
        let limits = Limits {
            rate: Some(1),
            stop: Some(Arc::clone(&stop)),
            ..Limits::default()
        };
        let pace = Pace::begin(&limits).expect("limits");
        assert_eq!(pace.chunk(7, 16_384), 1);
        let begin = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| pace.wait(3600));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(pace.chunk(7, 16_384), 0);
    }

    #[test]
    fn a_rate_of_zero_is_refused() {
        let limits = Limits {
            rate: Some(0),
            ..Limits::default()
        };
        assert!(matches!(Pace::begin(&limits), Err(Error::Rate)));
    }
}
