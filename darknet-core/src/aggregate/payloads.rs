use std::{cmp::Reverse, collections::HashMap};

use darknet_ebpf::{Payload, PortTable};

use super::{Aggregate, Observation, SHARDS, Seed, frequent::Frequent};
use crate::{snapshot::highest, time::Nanoseconds};

mod kept;
#[cfg(test)]
mod tests;

use kept::{Credit, Kept, LOOKED_AT, Row};

/// What was sent to each port, in a fixed budget: each payload with its packets, the times of the
/// first and the last, and its first 256 bytes.
///
/// Payloads of TCP and UDP, by the table and the port that [`Ports`](super::Ports) count the packet
/// by: the destination port, of backscatter the source port. Two of a port are the same if length
/// and the first 2,048 bytes are, as far as they were captured; two different ones are taken for one
/// with odds of 2^-64. ICMP is left out: it carries what a pinging program fills it up with, or the
/// beginning of another packet.
///
/// A payload takes 355 bytes for each of the 64 shards of sources that it came from. While all fit,
/// everything is exact, but for digests. Where they don't, half of a shard's give way, into
/// [`forgotten`](Self::forgotten), those with the fewest packets first; one that comes back says
/// what it may have [missed](PayloadSample::missed). So two kinds of payloads are safe from whoever
/// sends others, new ones in each packet:
///
/// - Those with many packets: [`missed`](Self::missed) is at most 3 × packets with payload /
///   payloads that there is room for, of each shard.
/// - The most frequent of each port, while a shard has payloads of fewer ports than a quarter of what
///   it has room for: a quarter is kept for the most frequent ones of each port, the most frequent
///   of all ports first.
///
/// Digests of payloads that are not kept whole are made when these are seen: in each window 1,024 for each shard,
/// and one for each 16 packets with payload. One that found none left gets its own when it comes again and there
/// is one.
///
/// Kept for each shard, so that samples don't depend on the number of workers where a shard is one worker's, as
/// over files. Windows that follow each other may be merged; where payloads gave way the result depends on which
/// were merged first.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Observation, Payloads, Seed},
///     rules::{Class, Packet, Payload},
/// };
///
/// let seed = Seed::random();
/// let mut payloads = Payloads::new(32 << 20, &seed);
/// let packet = Packet { class: Class::Udp, destination_port: 5060, ..Packet::MALFORMED };
/// for time in 0..3 {
///     let observation = Observation::new(packet, time, &seed);
///     let bytes = b"OPTIONS sip:100@203.0.113.9 SIP/2.0\r\n";
///     payloads.observe_payload(&observation, &Payload { bytes, length: 37 });
/// }
/// let sample = &payloads.top(10)[0];
/// assert_eq!((sample.port, sample.packets, sample.length), (5060, 3, 37));
/// assert_eq!((sample.first, sample.last), (0, 2));
/// assert!(sample.bytes.starts_with(b"OPTIONS"));
/// ```
#[derive(Clone, Debug)]
pub struct Payloads {
    shards: Vec<Frequent<Kept>>,
    credits: [Credit; SHARDS],
    seed: Seed,
}

/// A payload, and how often it was sent to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadSample {
    /// The table of its port.
    pub table: PortTable,
    /// The port.
    pub port: u16,
    /// Packets that carried it.
    pub packets: u64,
    /// Packets that may have carried it beside these, at most: 0 unless there was no room for all
    /// payloads.
    pub missed: u64,
    /// The time of the first of them.
    pub first: Nanoseconds,
    /// The time of the last of them.
    pub last: Nanoseconds,
    /// How many bytes it has by the packet's own length.
    pub length: u32,
    /// The first 256 of them, as far as they were captured.
    pub bytes: Vec<u8>,
    /// Its SHA-256; `None` if it has more than 2,048 bytes, or not all were captured, or it has more than
    /// 256 and came in a flood of others that were new too ([`Payloads`]).
    pub sha256: Option<[u8; 32]>,
}

impl Payloads {
    /// No payloads yet; they take at most `memory` bytes, or 270 KB where that is more (twelve payloads of
    /// each shard), and start with none.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            shards: vec![Frequent::new(memory / SHARDS); SHARDS],
            credits: [Credit::FULL; SHARDS],
            seed: seed.clone(),
        }
    }

    /// Of each table the `count` ports with the most packets that are counted here, and of each of
    /// these the `count` payloads with the most packets; most first, then by table, port, and
    /// what they are. 0 is all of them.
    pub fn top(&self, count: usize) -> Vec<PayloadSample> {
        let mut tables = PortTable::ALL.map(|_| HashMap::new());
        for row in self.rows() {
            let ports: &mut HashMap<u16, (u64, Vec<Row<'_>>)> =
                &mut tables[row.kept.table as usize];
            let (packets, payloads) = ports.entry(row.kept.port).or_default();
            *packets += row.packets;
            payloads.push(row);
        }
        let ports = tables.into_iter().flat_map(|ports| {
            highest(ports, count, |&(port, (packets, _))| {
                (Reverse(packets), port)
            })
        });
        let rows = ports.flat_map(|(_, (_, payloads))| highest(payloads, count, Row::order));
        let rows = highest(rows, 0, Row::order);
        rows.iter().map(Row::sample).collect()
    }

    /// Each payload once.
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let missed = self.missed();
        let mut rows: HashMap<u64, Row<'_>> = HashMap::new();
        for shard in &self.shards {
            for kept in shard.iter() {
                let row = rows.entry(kept.key).or_insert(Row {
                    packets: 0,
                    missed,
                    first: kept.first,
                    last: kept.last,
                    sha256: None,
                    kept,
                });
                row.packets += kept.packets;
                row.first = row.first.min(kept.first);
                row.last = row.last.max(kept.last);
                row.sha256 = row.sha256.or(kept.sha256);
                // Where it is not there, it may have been missed altogether.
                row.missed = row.missed - shard.missed() + kept.missed;
            }
        }
        rows.into_values()
    }

    /// Packets that a payload which is not there may have had, at most; 0 if all fit.
    pub fn missed(&self) -> u64 {
        self.shards.iter().map(Frequent::missed).sum()
    }

    /// Packets of payloads that gave way, and of those that found none that could.
    pub fn forgotten(&self) -> u64 {
        let forgotten = self.shards.iter().map(Frequent::forgotten);
        forgotten.map(|forgotten| forgotten.packets).sum()
    }
}

impl Aggregate for Payloads {
    #[inline]
    fn observe(&mut self, _: &Observation) {}

    #[inline]
    fn observe_batch(&mut self, _: &[Observation]) {}

    fn payload_wanted(&self) -> usize {
        LOOKED_AT
    }

    fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
        let [Some(place), _] = PortTable::of(&observation.packet) else {
            return;
        };
        let Self {
            shards,
            credits,
            seed,
        } = self;
        let payload = Payload {
            bytes: &payload.bytes[..payload.bytes.len().min(LOOKED_AT)],
            ..*payload
        };
        let key = seed.key((place.0 as u8, place.1, payload.length, payload.bytes));
        let shard = observation.shard();
        let credit = &mut credits[shard];
        shards[shard].count(key, key as u32, seed, |kept| {
            kept.count(place, &payload, observation.time, credit);
        });
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let used = self.shards.iter().map(Frequent::memory_used);
        vec![("payloads", used.sum())]
    }

    fn merge(&mut self, other: &mut Self) {
        let Self { shards, seed, .. } = self;
        for (mine, theirs) in shards.iter_mut().zip(&mut other.shards) {
            mine.merge(theirs, seed);
        }
    }

    fn reset(&mut self) {
        self.shards.iter_mut().for_each(Frequent::reset);
        self.credits.fill(Credit::FULL);
    }
}
