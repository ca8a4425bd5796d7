use std::time::Duration;

use hdrhistogram::Histogram;

use super::epochs::BATCH;
use crate::{
    snapshot::{Spread, Timings},
    time::Nanoseconds,
};

/// What histograms tell apart: an hour, to one in a hundred, in 36 KiB; the packets of a batch
/// exactly, in 16.
const LONGEST: Duration = Duration::from_secs(3600);
const DIGITS: u8 = 2;
const BATCH_DIGITS: u8 = 3;

/// How long packets waited, and how many were taken at a time. Recorded once for each batch.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    latency: Histogram<u64>,
    batch: Histogram<u64>,
}

/// That, and how long windows took to close.
#[derive(Clone, Debug)]
pub(super) struct Clocked {
    waiting: Waiting,
    drain: Histogram<u64>,
    close: Histogram<u64>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            latency: durations(),
            batch: histogram(BATCH as u64, BATCH_DIGITS),
        }
    }

    /// A batch was observed. Its first packet was received that long ago, where that is known: the
    /// clock may have been set back since.
    #[inline]
    pub(super) fn record(&mut self, packets: usize, waited: Option<Nanoseconds>) {
        self.batch.saturating_record(packets as u64);
        if let Some(waited) = waited.and_then(|waited| u64::try_from(waited).ok()) {
            self.latency.saturating_record(waited);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { latency, batch } = self;
        add(latency, &other.latency);
        add(batch, &other.batch);
    }
}

impl Clocked {
    pub(super) fn new() -> Self {
        Self {
            waiting: Waiting::new(),
            drain: durations(),
            close: durations(),
        }
    }

    /// What workers had of a window, and how long it took them to hand it over.
    pub(super) fn drained(&mut self, waiting: &Waiting, took: Duration) {
        self.waiting.merge(waiting);
        self.drain.saturating_record(nanoseconds(took));
    }

    /// The window was ready, so long after it was cut.
    pub(super) fn closed(&mut self, took: Duration) {
        self.close.saturating_record(nanoseconds(took));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self {
            waiting,
            drain,
            close,
        } = self;
        waiting.merge(&other.waiting);
        add(drain, &other.drain);
        add(close, &other.close);
    }

    /// As it is printed.
    pub(super) fn timings(&self) -> Timings {
        let Self {
            waiting: Waiting { latency, batch },
            drain,
            close,
        } = self;
        Timings {
            latency: spread(latency),
            batch: spread(batch),
            drain: spread(drain),
            close: spread(close),
        }
    }
}

fn durations() -> Histogram<u64> {
    histogram(nanoseconds(LONGEST), DIGITS)
}

fn histogram(most: u64, digits: u8) -> Histogram<u64> {
    Histogram::new_with_max(most, digits).expect("within what it can be made for")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn add(mine: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    mine.add(theirs).expect("both have the same bounds");
}

fn spread(histogram: &Histogram<u64>) -> Option<Spread> {
    (!histogram.is_empty()).then(|| Spread {
        samples: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_told_exactly() {
        for packets in [1, 2, 1000, BATCH] {
            let mut waiting = Waiting::new();
            waiting.record(packets, None);
            let Some(Spread { p50, max, .. }) = spread(&waiting.batch) else {
                panic!("{packets}: nothing");
            };
            assert_eq!((p50, max), (packets as u64, packets as u64));
        }
    }

    #[test]
    fn what_was_recorded_comes_out_to_one_in_a_hundred() {
        let mut waiting = Waiting::new();
        for batch in 1..=1000 {
            // One of ten thousand waited for a day, which is more than is told apart.
            let waited = if batch == 1000 {
                86_400_000_000_000
            } else {
                batch * 1000
            };
            waiting.record(batch as usize, Some(waited));
        }
        // A clock that was set back, and a packet without a time.
        waiting.record(1000, Some(-5));
        waiting.record(1000, None);
        let mut clocked = Clocked::new();
        clocked.drained(&waiting, Duration::from_millis(3));
        clocked.closed(Duration::from_millis(4));
        let mut all = Clocked::new();
        assert_eq!(all.timings(), Timings::default(), "nothing yet");
        all.merge(&clocked);
        all.merge(&clocked);
        let Timings {
            latency: Some(latency),
            batch: Some(batch),
            drain: Some(drain),
            close: Some(close),
        } = all.timings()
        else {
            panic!("{all:?}");
        };
        for (name, found, expected) in [
            ("latency, samples", latency.samples, 2000),
            ("latency, p50", latency.p50, 500_000),
            ("latency, p99", latency.p99, 990_000),
            ("latency, max", latency.max, 3_600_000_000_000),
            ("batch, samples", batch.samples, 2004),
            ("batch, p50", batch.p50, 501),
            ("batch, max", batch.max, 1000),
            ("drain, max", drain.max, 3_000_000),
            ("close, samples", close.samples, 2),
            ("close, p50", close.p50, 4_000_000),
        ] {
            let off = found.abs_diff(expected);
            assert!(off * 100 <= expected, "{name}: {found}, not {expected}");
        }
    }
}
