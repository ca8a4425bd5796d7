use std::time::Duration;

use darknet_ebpf::{Link, Metadata, Outer, Packet, outer};

use super::epochs::{BATCH, Epochs, Losses};
use crate::{aggregate::Observation, kernel::Ring, xsk::Queue};

/// Where a worker takes packets from.
pub(super) enum Inlet {
    /// Header records of one processor.
    Headers(Ring),
    /// Frames of one queue.
    Frames(Frames),
}

/// A queue, and what it had lost when it was asked last.
pub(super) struct Frames {
    queue: Queue,
    lost: Losses,
}

impl From<Queue> for Inlet {
    fn from(queue: Queue) -> Self {
        Self::Frames(Frames {
            queue,
            lost: Losses::default(),
        })
    }
}

impl Inlet {
    /// Observes some of what waits, and says whether there was any. `open` is the epoch that
    /// packets are counted in now, of those that don't say theirs.
    pub(super) fn take(&mut self, epochs: &mut Epochs, open: u32) -> bool {
        match self {
            Self::Headers(ring) => headers(ring, epochs) > 0,
            Self::Frames(Frames { queue, .. }) => frames(queue, BATCH as u32, epochs, open) > 0,
        }
    }

    /// Observes all that waits now; what comes meanwhile may wait.
    pub(super) fn drain(&mut self, epochs: &mut Epochs, open: u32) {
        match self {
            Self::Headers(ring) => {
                let mut rest = ring.waiting();
                while rest > 0 {
                    rest = rest.saturating_sub(headers(ring, epochs).max(1));
                }
            }
            Self::Frames(Frames { queue, .. }) => {
                let mut rest = queue.pending();
                while rest > 0 {
                    rest -= frames(queue, rest.min(BATCH as u32), epochs, open).clamp(1, rest);
                }
            }
        }
    }

    /// Waits a while for packets, if it can be woken up by them.
    pub(super) fn wait(&mut self, time: Duration) -> bool {
        match self {
            Self::Headers(_) => false,
            // An interface that has disappeared is noticed elsewhere.
            Self::Frames(Frames { queue, .. }) => queue.wait(time).is_ok(),
        }
    }

    /// What was lost since this was asked last.
    pub(super) fn losses(&mut self) -> Losses {
        match self {
            Self::Headers(_) => Losses::default(),
            // An interface that has disappeared is noticed elsewhere.
            Self::Frames(Frames { queue, lost }) => {
                let all = queue.statistics().map_or(*lost, |said| Losses::of(&said));
                let new = all.since(lost);
                *lost = all;
                new
            }
        }
    }
}

fn headers(ring: &mut Ring, epochs: &mut Epochs) -> usize {
    ring.take(BATCH, |header| {
        // A record that is none is not observed, so that the ledger shows it.
        if let Some(packet) = header.packet() {
            let time = header.time.cast_signed();
            let observation = Observation::new(packet, time, epochs.seed());
            epochs.push(header.epoch, observation);
        }
    })
}

/// Says how many chunks were taken.
fn frames(queue: &mut Queue, most: u32, epochs: &mut Epochs, open: u32) -> u32 {
    let batch = queue.receive(most);
    for frame in &batch {
        let data = frame.data();
        let found = Metadata::before(frame.metadata());
        let known = found.and_then(|found| Some((found.packet(data)?, found)));
        let (packet, end, epoch, time) = match known {
            Some((packet, found)) => {
                let end = usize::from(found.network) + packet.bytes as usize;
                (packet, end, found.epoch, found.time.cast_signed())
            }
            None => {
                let (packet, end) = walk(data);
                epochs.at(open).unmarked += 1;
                (packet, end, open, 0)
            }
        };
        if end > data.len() {
            epochs.at(epoch).cut += 1;
        }
        let observation = Observation::new(packet, time, epochs.seed());
        epochs.push(epoch, observation);
    }
    batch.frames()
}

/// What the program found in a frame that it left no metadata with, and where the packet ends by
/// its own length. It counted the frame: what cannot be read was malformed.
fn walk(data: &[u8]) -> (Packet, usize) {
    let Outer::Ip(ip) = outer(data, Link::Ethernet) else {
        return (Packet::MALFORMED, 0);
    };
    let packet = ip.packet(data).unwrap_or(Packet::MALFORMED);
    (packet, ip.network + packet.bytes as usize)
}
