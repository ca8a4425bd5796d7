//! What is kept of a payload, and how it is told.

use std::cmp::Reverse;

use darknet_ebpf::{Payload, PortTable};
use sha2::{Digest, Sha256};

use super::{
    super::{Seed, frequent::Entry, table::Slot},
    PayloadSample,
};
use crate::time::Nanoseconds;

/// Bytes of a payload that are looked at: more than a packet has on Ethernet.
pub(super) const LOOKED_AT: usize = 2048;
/// Bytes of it that are kept.
const KEPT: usize = 256;

/// What a shard has for digests. That of 1,400 bytes takes some six times as long as all else about a new
/// payload, so that whoever sends long ones, all of them new, would leave a worker time for nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit(u32);

impl Credit {
    /// Packets that pay for a digest.
    pub(super) const PRICE: u32 = 16;
    /// Digests that a shard has at first, and saves up at most.
    pub(super) const SAVED: u32 = 1024;

    pub(super) const FULL: Self = Self(Self::SAVED * Self::PRICE);

    fn earn(&mut self) {
        self.0 = Self::FULL.0.min(self.0 + 1);
    }

    fn pay(&mut self) -> bool {
        let left = self.0.checked_sub(Self::PRICE);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// What is kept of a payload at a port. A free one has no packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The seeded hash of port and payload.
    pub(super) key: u64,
    pub(super) packets: u64,
    pub(super) missed: u64,
    pub(super) first: Nanoseconds,
    pub(super) last: Nanoseconds,
    pub(super) length: u32,
    /// Bytes that were looked at.
    pub(super) captured: u16,
    pub(super) port: u16,
    pub(super) table: PortTable,
    pub(super) stays: bool,
    /// Of a payload that is not kept whole, though it was seen whole.
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) bytes: [u8; KEPT],
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
            sha256: None,
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
        self.sha256 = self.sha256.or(other.sha256);
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

    /// Whether all of its bytes were looked at.
    fn is_whole(&self) -> bool {
        u32::from(self.captured) == self.length
    }

    #[inline]
    pub(super) fn count(
        &mut self,
        (table, port): (PortTable, u16),
        payload: &Payload<'_>,
        time: Nanoseconds,
        credit: &mut Credit,
    ) {
        credit.earn();
        if self.packets == 0 {
            (self.table, self.port, self.length) = (table, port, payload.length);
            self.captured = payload.bytes.len() as u16;
            let kept = payload.bytes.len().min(KEPT);
            self.bytes[..kept].copy_from_slice(&payload.bytes[..kept]);
            (self.first, self.last) = (time, time);
        }
        if self.captured as usize > KEPT && self.is_whole() && self.sha256.is_none() && credit.pay()
        {
            self.sha256 = Some(Sha256::digest(payload.bytes).into());
        }
        self.packets += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// A payload over all shards.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) packets: u64,
    pub(super) missed: u64,
    pub(super) first: Nanoseconds,
    pub(super) last: Nanoseconds,
    pub(super) sha256: Option<[u8; 32]>,
    /// What it is.
    pub(super) kept: &'a Kept,
}

impl<'a> Row<'a> {
    /// Most packets first, then by what doesn't depend on the seed.
    pub(super) fn order(&self) -> impl Ord + use<'a> {
        let Kept {
            table,
            port,
            length,
            captured,
            bytes,
            ..
        } = self.kept;
        let packets = Reverse(self.packets);
        let times = (self.first, self.last);
        (
            packets,
            table,
            port,
            length,
            bytes,
            captured,
            self.sha256,
            times,
        )
    }

    pub(super) fn sample(&self) -> PayloadSample {
        let &Kept {
            table,
            port,
            length,
            captured,
            ref bytes,
            ..
        } = self.kept;
        let bytes = &bytes[..KEPT.min(captured.into())];
        PayloadSample {
            table,
            port,
            packets: self.packets,
            missed: self.missed,
            first: self.first,
            last: self.last,
            length,
            bytes: bytes.to_vec(),
            sha256: match usize::from(captured) {
                ..=KEPT if self.kept.is_whole() => Some(Sha256::digest(bytes).into()),
                _ => self.sha256,
            },
        }
    }
}
