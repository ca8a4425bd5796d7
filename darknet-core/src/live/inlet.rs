use std::{hint::black_box, time::Duration};

use darknet_ebpf::{Link, Metadata, Outer, Packet, abi::Walked, outer};

use super::{
    clock::Clock,
    epochs::{BATCH, Epochs, Losses},
};
use crate::{
    aggregate::{Aggregate, Observation},
    kernel::Ring,
    xsk::{Batch, Frame, Queue, Statistics},
};

/// Entries of a ring that holds what comes at 10 Gbit/s while a worker naps, twice.
const DEEP: u32 = 4096;

/// Where a worker takes packets from.
pub(super) enum Inlet {
    /// Header records of one processor.
    Headers(Ring),
    /// Frames of one queue.
    Frames(Box<Frames>),
}

/// A queue, and what it said when it was asked last.
pub(super) struct Frames {
    queue: Queue,
    said: Statistics,
}

impl From<Queue> for Inlet {
    fn from(queue: Queue) -> Self {
        Self::Frames(Box::new(Frames {
            queue,
            said: Statistics::default(),
        }))
    }
}

impl Inlet {
    /// Observes some of what waits, and says how many packets that were. `open` is the epoch that
    /// packets are counted in now, of those that don't say theirs.
    pub(super) fn take<A: Aggregate>(&mut self, epochs: &mut Epochs<A>, open: u32) -> usize {
        match self {
            Self::Headers(ring) => headers(ring, epochs),
            Self::Frames(from) => frames(&mut from.queue, BATCH as u32, epochs, open) as usize,
        }
    }

    /// Whether what comes in a fraction of a millisecond has room to wait.
    pub(super) fn is_deep(&self) -> bool {
        match self {
            Self::Headers(_) => true,
            Self::Frames(from) => from.queue.outcome().ring >= DEEP,
        }
    }

    /// Observes all that waits now; what comes meanwhile may wait.
    pub(super) fn drain<A: Aggregate>(&mut self, epochs: &mut Epochs<A>, open: u32) {
        match self {
            Self::Headers(ring) => {
                let mut rest = ring.waiting();
                while rest > 0 {
                    rest = rest.saturating_sub(headers(ring, epochs).max(1));
                }
            }
            Self::Frames(from) => {
                let mut rest = from.queue.pending();
                while rest > 0 {
                    rest -= frames(&mut from.queue, rest.min(BATCH as u32), epochs, open)
                        .clamp(1, rest);
                }
            }
        }
    }

    /// Waits a while for packets, if it can be woken up by them.
    pub(super) fn wait(&mut self, time: Duration) -> bool {
        match self {
            Self::Headers(_) => false,
            // An interface that has disappeared is noticed elsewhere.
            Self::Frames(from) => from.queue.wait(time).is_ok(),
        }
    }

    /// What was lost since this was asked last.
    pub(super) fn losses(&mut self) -> Losses {
        match self {
            Self::Headers(_) => Losses::default(),
            // An interface that has disappeared is noticed elsewhere.
            Self::Frames(from) => {
                let Frames { queue, said } = &mut **from;
                let earlier = *said;
                *said = queue.statistics().unwrap_or(earlier);
                Losses::between(&earlier, said)
            }
        }
    }
}

fn headers<A: Aggregate>(ring: &mut Ring, epochs: &mut Epochs<A>) -> usize {
    let clock = Clock::read();
    ring.take(BATCH, |header| {
        // A record that is none is not observed, so that the ledger shows it.
        if let Some(packet) = header.packet() {
            let time = clock.of(header.time);
            let observation = Observation::new(packet, time, epochs.seed());
            epochs.push(header.epoch, observation);
        }
    })
}

/// Says how many chunks were taken.
fn frames<A: Aggregate>(queue: &mut Queue, most: u32, epochs: &mut Epochs<A>, open: u32) -> u32 {
    let batch = queue.receive(most);
    observe(&batch, epochs, open);
    batch.frames()
}

/// Frames whose memory is read before the first of them is looked at: another processor wrote it,
/// and the misses overlap.
const LOOK_AHEAD: usize = 16;

/// Observes the packets of a batch.
pub(super) fn observe<A: Aggregate>(batch: &Batch<'_>, epochs: &mut Epochs<A>, open: u32) {
    let clock = Clock::read();
    let mut frames = batch.iter();
    loop {
        let mut ahead = [None; LOOK_AHEAD];
        let mut read = 0;
        for (place, frame) in ahead.iter_mut().zip(&mut frames) {
            let first = [frame.metadata(), frame.data()].map(|bytes| bytes.first().copied());
            read ^= first[0].unwrap_or(0) ^ first[1].unwrap_or(0);
            *place = Some(frame);
        }
        black_box(read);
        let Some(last) = ahead.iter().rposition(Option::is_some) else {
            return;
        };
        for frame in ahead[..=last].iter().flatten() {
            let data = frame.data();
            let Found {
                packet,
                network,
                transport,
                mark,
            } = found(frame);
            let (epoch, time) = match mark {
                Some((epoch, stamp)) => (epoch, clock.of(stamp)),
                None => {
                    epochs.at(open).unmarked += 1;
                    (open, clock.now())
                }
            };
            if network + packet.bytes as usize > data.len() {
                epochs.at(epoch).cut += 1;
            }
            let observation = Observation::new(packet, time, epochs.seed());
            if epochs.payload_wanted() > 0 {
                let payload = packet.payload(data, network, transport);
                if payload.length > 0 {
                    epochs.observe_payload(epoch, &observation, payload);
                }
            }
            epochs.push(epoch, observation);
        }
    }
}

/// What a frame is.
pub(super) struct Found {
    packet: Packet,
    /// Where its IP header begins.
    network: usize,
    /// Where its transport header begins.
    transport: usize,
    /// The epoch that it was counted in and the program's time, where the program could leave them with it.
    mark: Option<(u32, u64)>,
}

/// Says what a frame is: as the program found, or where it left no metadata by a walk.
#[inline(always)]
pub(super) fn found(frame: &Frame<'_>) -> Found {
    let data = frame.data();
    let Some(metadata) = Metadata::before(frame.metadata()) else {
        return walk(data, None);
    };
    let mark = Some((metadata.epoch, metadata.time));
    match metadata.packet(data) {
        Some(packet) => Found {
            packet,
            network: metadata.network.into(),
            transport: metadata.transport.into(),
            mark,
        },
        // Its headers go on in a buffer that nobody wanted.
        None => walk(data, mark),
    }
}

/// What the program found in a frame that it left no metadata with, or of which the rest of the headers is
/// missing. It counted the frame: what cannot be read is malformed.
#[cold]
fn walk(data: &[u8], mark: Option<(u32, u64)>) -> Found {
    let walked = match outer(data, Link::Ethernet) {
        Outer::Ip(ip) => Walked::of(&ip, data),
        Outer::NotIp | Outer::Unreadable => Walked::MALFORMED,
    };
    Found {
        packet: walked.packet,
        network: walked.network as usize,
        transport: walked.transport as usize,
        mark,
    }
}
