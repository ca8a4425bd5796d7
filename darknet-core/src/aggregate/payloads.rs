use std::{cmp::Reverse, collections::HashMap};

use darknet_ebpf::{Payload, PortTable};
use sha2::{Digest, Sha256};

use super::{
    Aggregate, Observation, SHARDS, Seed,
    frequent::{Entry, Frequent},
    table::Slot,
};
use crate::{snapshot::highest, time::Nanoseconds};

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
/// everything is exact. Where they don't, half of a shard's give way, into
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
/// Kept for each shard, so that samples don't depend on the number of workers. Windows that follow
/// each other may be merged; where payloads gave way the result depends on which were merged first.
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
    /// Its SHA-256; `None` if it has more than 2,048 bytes, or not all were captured.
    pub sha256: Option<[u8; 32]>,
}

/// Bytes of a payload that are looked at: more than a packet has on Ethernet.
const LOOKED_AT: usize = 2048;
/// Bytes of it that are kept.
const KEPT: usize = 256;

/// What is kept of a payload at a port. A free one has no packets.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The seeded hash of port and payload.
    key: u64,
    packets: u64,
    missed: u64,
    first: Nanoseconds,
    last: Nanoseconds,
    length: u32,
    /// Bytes that were looked at.
    captured: u16,
    port: u16,
    table: PortTable,
    stays: bool,
    /// Of a payload that is not kept whole.
    sha256: [u8; 32],
    bytes: [u8; KEPT],
}

const _: () = assert!(size_of::<Kept>() == 344);

impl Default for Kept {
    fn default() -> Self {
        Self {
            key: 0,
            packets: 0,
            missed: 0,
            first: 0,
            last: 0,
            length: 0,
            captured: 0,
            port: 0,
            table: PortTable::TcpSyn,
            stays: false,
            sha256: [0; 32],
            bytes: [0; KEPT],
        }
    }
}

impl Slot for Kept {
    type Key = u64;

    #[inline]
    fn key(&self) -> Option<u64> {
        (self.packets > 0).then_some(self.key)
    }

    #[inline]
    fn of(key: u64) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    #[inline]
    fn hash(key: u64, _: &Seed) -> u64 {
        key
    }
}

impl Entry for Kept {
    #[inline]
    fn packets(&self) -> u64 {
        self.packets
    }

    fn missed(&self) -> u64 {
        self.missed
    }

    fn set_missed(&mut self, missed: u64) {
        self.missed = missed;
    }

    fn stays(&self) -> bool {
        self.stays
    }

    /// Of each port the most frequent, then of each the second, and so on: a quarter of all.
    fn choose(entries: &mut [&mut Self]) {
        let numbered = entries.iter().zip(0..);
        let mut by_port: Vec<u128> = numbered
            .map(|(kept, at)| kept.rank((kept.table as u32) << 16 | u32::from(kept.port), at))
            .collect();
        by_port.sort_unstable();
        let mut by_rank = Vec::with_capacity(entries.len());
        for ranks in by_port.chunk_by(|one, other| one >> 104 == other >> 104) {
            let ranks = ranks.iter().map(|rank| *rank as u32 & NUMBER);
            by_rank.extend(
                ranks
                    .zip(0..)
                    .map(|(at, rank)| entries[at as usize].rank(rank, at)),
            );
        }
        let stay = entries.len() / 4;
        if stay > 0 {
            by_rank.select_nth_unstable(stay - 1);
        }
        for (number, rank) in by_rank.into_iter().enumerate() {
            entries[(rank as u32 & NUMBER) as usize].stays = number < stay;
        }
    }

    fn add(&mut self, other: &Self, _: &Seed) {
        self.packets += other.packets;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// The bits of the number of an entry: a table has no more.
const NUMBER: u32 = (1 << 24) - 1;

impl Kept {
    /// A number that sorts entries by `first`, below 2^24, then by packets, most first, then by hash;
    /// the lowest 24 bits say where the entry is.
    fn rank(&self, first: u32, at: u32) -> u128 {
        const MOST: u64 = (1 << 40) - 1;
        let packets = MOST - self.packets.min(MOST);
        let [first, at] = [first, at].map(|number| u128::from(number & NUMBER));
        first << 104 | u128::from(packets) << 64 | u128::from(self.key >> 24) << 24 | at
    }

    #[inline]
    fn count(&mut self, (table, port): (PortTable, u16), payload: &Payload<'_>, time: Nanoseconds) {
        if self.packets == 0 {
            (self.table, self.port, self.length) = (table, port, payload.length);
            self.captured = payload.bytes.len() as u16;
            let kept = payload.bytes.len().min(KEPT);
            self.bytes[..kept].copy_from_slice(&payload.bytes[..kept]);
            if payload.bytes.len() > KEPT {
                self.sha256 = Sha256::digest(payload.bytes).into();
            }
            (self.first, self.last) = (time, time);
        }
        self.packets += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// A payload over all shards.
#[derive(Clone, Copy)]
struct Row<'a> {
    packets: u64,
    missed: u64,
    first: Nanoseconds,
    last: Nanoseconds,
    /// What it is.
    kept: &'a Kept,
}

impl<'a> Row<'a> {
    /// Most packets first, then by what doesn't depend on the seed.
    fn order(&self) -> impl Ord + use<'a> {
        let Kept {
            table,
            port,
            length,
            captured,
            sha256,
            bytes,
            ..
        } = self.kept;
        let packets = Reverse(self.packets);
        (packets, table, port, length, bytes, captured, sha256)
    }

    fn sample(&self) -> PayloadSample {
        let &Kept {
            table,
            port,
            length,
            captured,
            sha256,
            ref bytes,
            ..
        } = self.kept;
        let bytes = &bytes[..KEPT.min(captured.into())];
        let is_whole = u32::from(captured) == length;
        PayloadSample {
            table,
            port,
            packets: self.packets,
            missed: self.missed,
            first: self.first,
            last: self.last,
            length,
            bytes: bytes.to_vec(),
            sha256: is_whole.then(|| match usize::from(captured) {
                ..=KEPT => Sha256::digest(bytes).into(),
                _ => sha256,
            }),
        }
    }
}

impl Payloads {
    /// No payloads yet; they take at most `memory` bytes, and start with none.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            shards: vec![Frequent::new(memory / SHARDS); SHARDS],
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
                    kept,
                });
                row.packets += kept.packets;
                row.first = row.first.min(kept.first);
                row.last = row.last.max(kept.last);
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
        let Self { shards, seed } = self;
        let payload = Payload {
            bytes: &payload.bytes[..payload.bytes.len().min(LOOKED_AT)],
            ..*payload
        };
        let key = seed.key((place.0 as u8, place.1, payload.length, payload.bytes));
        let shard = &mut shards[observation.shard()];
        shard.count(key, key as u32, seed, |kept| {
            kept.count(place, &payload, observation.time);
        });
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let used = self.shards.iter().map(Frequent::memory_used);
        vec![("payloads", used.sum())]
    }

    fn merge(&mut self, other: &mut Self) {
        let Self { shards, seed } = self;
        for (mine, theirs) in shards.iter_mut().zip(&mut other.shards) {
            mine.merge(theirs, seed);
        }
    }

    fn reset(&mut self) {
        self.shards.iter_mut().for_each(Frequent::reset);
    }
}

#[cfg(test)]
mod tests;
