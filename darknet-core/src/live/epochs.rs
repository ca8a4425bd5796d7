use std::sync::Arc;

use darknet_ebpf::{Cell, Payload};

use super::{clock::time_of_day, pool::Pool, timings::Waiting};
use crate::{
    aggregate::{Aggregate, Observation, Seed},
    part::Part,
    xsk::Statistics,
};

/// Packets observed at a time.
pub(super) const BATCH: usize = 1024;

/// What the packets of an epoch said.
pub(super) struct Observed<A> {
    pub(super) part: Part<A>,
    /// Of its packets, frames that are shorter than their IP header says.
    pub(super) cut: u64,
    /// Of these, frames that came without metadata: their epoch is the one that was open.
    pub(super) unmarked: u64,
    /// What its queues have lost since they were asked last.
    pub(super) losses: Losses,
    pub(super) waiting: Waiting,
}

/// Frames that the kernel's program delivered and no worker got, by what AF_XDP says of them. It
/// does not say in which epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub(super) ring_full: u64,
    pub(super) fill_empty: u64,
    pub(super) truncated: u64,
    pub(super) bad_descriptor: u64,
}

impl Losses {
    /// What a queue has lost between two readings.
    ///
    /// A packet that finds the FILL ring empty raises two counters of the kernel, and one that is
    /// too long for a frame the first of them only (`xsk_rcv_check` and `__xsk_rcv`,
    /// net/xdp/xsk.c).
    pub(super) fn between(earlier: &Statistics, later: &Statistics) -> Self {
        let new = |counter: fn(&Statistics) -> u64| counter(later).saturating_sub(counter(earlier));
        let dropped = new(|said| said.rx_dropped);
        let fill_empty = dropped.min(new(|said| said.rx_fill_ring_empty_descs));
        Self {
            ring_full: new(|said| said.rx_ring_full),
            fill_empty,
            truncated: dropped - fill_empty,
            bad_descriptor: new(|said| said.bad_descriptors),
        }
    }

    /// By the cell of the ledger.
    pub(super) const fn by_cell(&mut self) -> [(Cell, &mut u64); 4] {
        let Self {
            ring_full,
            fill_empty,
            truncated,
            bad_descriptor,
        } = self;
        [
            (Cell::RingFull, ring_full),
            (Cell::FillEmpty, fill_empty),
            (Cell::Truncated, truncated),
            (Cell::BadDescriptor, bad_descriptor),
        ]
    }

    pub(super) fn merge(&mut self, other: Self) {
        let mut other = other;
        for ((_, mine), (_, theirs)) in self.by_cell().into_iter().zip(other.by_cell()) {
            *mine += *theirs;
        }
    }
}

impl<A: Aggregate> Observed<A> {
    /// Nothing yet.
    pub(super) fn new(clean: A) -> Self {
        Self {
            part: Part::new(clean),
            cut: 0,
            unmarked: 0,
            losses: Losses::default(),
            waiting: Waiting::new(),
        }
    }

    /// Packets that were taken.
    pub(super) fn packets(&self) -> u64 {
        self.part.observed + self.part.abandoned
    }

    /// Adds another, and gives back the aggregate that is used no more.
    pub(super) fn merge(&mut self, other: Self) -> Option<A> {
        let Self {
            part,
            cut,
            unmarked,
            losses,
            waiting,
        } = self;
        waiting.merge(&other.waiting);
        *cut += other.cut;
        *unmarked += other.unmarked;
        losses.merge(other.losses);
        part.merge(other.part)
    }
}

/// What a worker observes, by the epoch that packets were counted in: records and metadata carry
/// it, so that both planes cut the same packets.
pub(super) struct Epochs<A> {
    seed: Seed,
    pool: Arc<Pool<A>>,
    payload_wanted: usize,
    open: Vec<(u32, Observed<A>)>,
    /// Packets of `epoch` that wait to be observed together.
    batch: Vec<Observation>,
    epoch: u32,
}

impl<A: Aggregate> Epochs<A> {
    /// Nothing yet.
    pub(super) fn new(seed: Seed, pool: Arc<Pool<A>>) -> Self {
        Self {
            seed,
            payload_wanted: pool.payload_wanted(),
            pool,
            open: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            epoch: 0,
        }
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Bytes of each payload that the aggregate wants.
    #[inline]
    pub(super) fn payload_wanted(&self) -> usize {
        self.payload_wanted
    }

    /// Observes the payload of a packet that is pushed next.
    #[inline(never)]
    pub(super) fn observe_payload(
        &mut self,
        epoch: u32,
        observation: &Observation,
        payload: Payload<'_>,
    ) {
        let Payload { bytes, length } = payload;
        let bytes = &bytes[..bytes.len().min(self.payload_wanted)];
        let part = &mut self.at(epoch).part;
        part.observe_payload(observation, &Payload { bytes, length });
    }

    /// Observes a packet of an epoch, soon.
    #[inline]
    pub(super) fn push(&mut self, epoch: u32, observation: Observation) {
        if epoch != self.epoch || self.batch.len() == BATCH {
            self.flush();
            self.epoch = epoch;
        }
        self.batch.push(observation);
    }

    /// Observes what waits.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let observed = self.at(self.epoch);
        observed.part.observe(&batch);
        // Frames without metadata have no time of their own.
        let is_timed = observed.unmarked == 0;
        let waited = batch.first().filter(|_| is_timed);
        let waited = waited.map(|first| time_of_day().saturating_sub(first.time));
        observed.waiting.record(batch.len(), waited);
        batch.clear();
        self.batch = batch;
    }

    /// All that was observed up to an epoch, together.
    pub(super) fn finish(&mut self, epoch: u32) -> Observed<A> {
        self.flush();
        self.at(epoch);
        // Epochs count on; of two, the one from which the other is reached in fewer steps is first.
        let is_due = |other: u32| epoch.wrapping_sub(other) < 1 << 31;
        let mut due = self.open.extract_if(.., |open| is_due(open.0));
        let (_, mut all) = due.next().expect("the epoch itself at least");
        for (_, observed) in due {
            if let Some(used) = all.merge(observed) {
                self.pool.return_part(used);
            }
        }
        all
    }

    /// What may be read of an epoch so far.
    pub(super) fn publish(&mut self, epoch: u32) -> Option<A> {
        self.flush();
        let live = self.pool.small();
        self.at(epoch).part.publish(live)
    }

    pub(super) fn at(&mut self, epoch: u32) -> &mut Observed<A> {
        let found = self.open.iter().position(|open| open.0 == epoch);
        let at = found.unwrap_or_else(|| {
            self.open.push((epoch, Observed::new(self.pool.part())));
            self.open.len() - 1
        });
        &mut self.open[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_named_once_though_drivers_look_at_an_empty_ring_without_a_packet() {
        let said = |rx_dropped, rx_fill_ring_empty_descs| Statistics {
            rx_dropped,
            rx_fill_ring_empty_descs,
            ..Statistics::default()
        };
        let readings = [said(0, 0), said(5, 0), said(5, 5), said(8, 7)];
        let named = readings.windows(2).map(|pair| {
            let new = Losses::between(&pair[0], &pair[1]);
            (new.fill_empty, new.truncated)
        });
        assert_eq!(named.collect::<Vec<_>>(), [(0, 5), (0, 0), (2, 1)]);
    }
}
