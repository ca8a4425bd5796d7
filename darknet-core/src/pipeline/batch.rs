use darknet_ebpf::Payload;

use crate::aggregate::Observation;

/// Packets on their way to a worker, and what it wants of their payloads.
pub(super) struct Batch {
    pub(super) packets: Vec<Observation>,
    /// Of the packets that have one, in their order.
    payloads: Vec<Copied>,
    bytes: Vec<u8>,
}

/// A payload that was copied.
struct Copied {
    /// The number of its packet.
    packet: usize,
    length: u32,
    /// Where it ends in the bytes of all; it begins where the one before it ends.
    end: usize,
}

/// Packets of a batch at most: 32 KiB.
const PACKETS: usize = 512;
/// Bytes of payloads in it, before it is handed over.
const BYTES: usize = 64 << 10;

impl Batch {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            packets: Vec::with_capacity(PACKETS),
            payloads: Vec::new(),
            bytes: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= PACKETS || self.bytes.len() >= BYTES
    }

    /// Adds a packet with `wanted` bytes of its payload, if it has one.
    #[inline]
    pub(super) fn push(&mut self, packet: Observation, payload: Payload<'_>, wanted: usize) {
        if payload.length > 0 {
            self.copy(payload, wanted);
        }
        self.packets.push(packet);
    }

    #[inline(never)]
    fn copy(&mut self, payload: Payload<'_>, wanted: usize) {
        let Payload { bytes, length } = payload;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(wanted)]);
        self.payloads.push(Copied {
            packet: self.packets.len(),
            length,
            end: self.bytes.len(),
        });
    }

    /// The packets that have a payload, in their order.
    pub(super) fn payloads(&self) -> impl Iterator<Item = (&Observation, Payload<'_>)> {
        let mut begin = 0;
        self.payloads.iter().map(move |copied| {
            let &Copied {
                packet,
                length,
                end,
            } = copied;
            let bytes = &self.bytes[begin..end];
            begin = end;
            (&self.packets[packet], Payload { bytes, length })
        })
    }

    pub(super) fn clear(&mut self) {
        let Self {
            packets,
            payloads,
            bytes,
        } = self;
        packets.clear();
        payloads.clear();
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use darknet_ebpf::Packet;

    use super::*;
    use crate::aggregate::Seed;

    #[test]
    fn packets_and_their_payloads_stay_together_until_it_is_full_of_either() {
        let seed = Seed::fixed(0);
        let long = [7; 3_000];
        // How long payloads are, how many packets it takes, and how many of them have one.
        for (length, packets, with_payload) in [(0_usize, 512, 0), (100, 512, 341), (3_000, 50, 33)]
        {
            let mut batch = Batch::new();
            for time in 0.. {
                if batch.is_full() {
                    break;
                }
                let packet = Observation::new(Packet::MALFORMED, time, &seed);
                // Each third packet has none; of the last byte, nothing was captured.
                let length = if time % 3 == 0 { 0 } else { length };
                let bytes = &long[..length.saturating_sub(1)];
                let length = length as u32;
                batch.push(packet, Payload { bytes, length }, 2_000);
            }
            for (packet, payload) in batch.payloads() {
                assert_ne!(packet.time % 3, 0);
                assert_eq!(payload.length, length as u32);
                assert_eq!(payload.bytes, &long[..(length - 1).min(2_000)]);
            }
            assert_eq!(batch.packets.len(), packets, "{length}");
            assert_eq!(batch.payloads().count(), with_payload, "{length}");
            batch.clear();
            assert_eq!(batch.payloads().count(), 0);
            assert!(batch.packets.is_empty() && !batch.is_full());
        }
    }
}
