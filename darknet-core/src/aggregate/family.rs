//! The tables of sources of one IP version, in one logical shard.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{Packet, PortTable};

use super::{
    Counts, Seed,
    sources::Overflow,
    table::{Slot, Table},
};

/// An address as a number.
pub(super) trait Address: Copy + Default + Eq + Hash {
    fn of(packet: &Packet) -> Self;

    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source_v4()
    }

    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
}

impl Address for u128 {
    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source_v6()
    }

    fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }
}

/// One source. A free slot has no packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source<A> {
    pub(super) counts: Counts,
    pub(super) address: A,
    /// A bit for each class.
    pub(super) classes: u16,
    /// A bit for each tool.
    pub(super) tools: u8,
}

impl<A: Address> Slot for Source<A> {
    type Key = A;

    #[inline]
    fn key(&self) -> Option<A> {
        (self.counts.packets > 0).then_some(self.address)
    }

    #[inline]
    fn of(address: A) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }

    #[inline]
    fn hash(address: A, seed: &Seed) -> u64 {
        seed.key(address)
    }
}

/// A source seen at a port of a table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair<A> {
    address: A,
    pub(super) port: u16,
    /// The table's number + 1; 0 in a free slot.
    table: u8,
}

impl<A> Pair<A> {
    pub(super) fn table(&self) -> PortTable {
        PortTable::ALL[usize::from(self.table) - 1]
    }
}

impl<A: Address> Slot for Pair<A> {
    type Key = (A, u16, u8);

    #[inline]
    fn key(&self) -> Option<Self::Key> {
        (self.table > 0).then_some((self.address, self.port, self.table))
    }

    #[inline]
    fn of((address, port, table): Self::Key) -> Self {
        Self {
            address,
            port,
            table,
        }
    }

    #[inline]
    fn hash(key: Self::Key, seed: &Seed) -> u64 {
        seed.key(key)
    }
}

const _: () = assert!(size_of::<Source<u32>>() == 24 && size_of::<Pair<u32>>() == 8);
const _: () = assert!(size_of::<Source<u128>>() == 48 && size_of::<Pair<u128>>() == 32);

/// The sources of one IP version, and the ports that each was seen at.
#[derive(Clone, Debug)]
pub(super) struct Family<A> {
    pub(super) sources: Table<Source<A>>,
    pub(super) pairs: Table<Pair<A>>,
}

impl<A: Address> Family<A> {
    /// Empty tables that take at most `bytes` each.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            sources: Table::new(bytes),
            pairs: Table::new(bytes),
        }
    }

    /// Reads the memory that counting a packet begins with. Returns the hash of the source and
    /// its first port, and what was read, so that the reading is not left out.
    #[inline]
    pub(super) fn touch(&self, packet: &Packet, hash: u32, seed: &Seed) -> (u32, u16) {
        let read = self.sources.first(hash).map_or(0, |slot| slot.classes);
        let [Some(place), _] = PortTable::of(packet) else {
            return (0, read);
        };
        let pair = pair_hash(A::of(packet), place, seed);
        (
            pair,
            read | self.pairs.first(pair).map_or(0, |slot| slot.port),
        )
    }

    /// Counts a packet. `hash` is that of its source, `pair` what [`touch`](Self::touch) gave.
    #[inline]
    pub(super) fn count(&mut self, packet: &Packet, hash: u32, pair: u32, seed: &Seed) -> Overflow {
        let mut overflow = Overflow::default();
        let address = A::of(packet);
        match self.sources.entry(address, hash, seed) {
            Some(source) => {
                source.counts.add(packet.bytes);
                source.classes |= 1 << packet.class as u16;
                source.tools |= packet.tools.bits();
            }
            None => overflow.sources += 1,
        }
        let mut add = |(table, port): (PortTable, u16), hash| {
            let key = (address, port, table as u8 + 1);
            overflow.port_hosts += u64::from(self.pairs.entry(key, hash, seed).is_none());
        };
        let [first, second] = PortTable::of(packet);
        if let Some(place) = first {
            add(place, pair);
        }
        if let Some(place) = second {
            add(place, pair_hash(address, place, seed));
        }
        overflow
    }

    /// Adds what `other` has counted, as far as there is room.
    pub(super) fn merge(&mut self, other: &mut Self, seed: &Seed) -> Overflow {
        let mut overflow = Overflow::default();
        let Self { sources, pairs } = self;
        sources.merge(
            &mut other.sources,
            seed,
            |mine, theirs| {
                let Source {
                    counts,
                    address: _,
                    classes,
                    tools,
                } = theirs;
                mine.counts += *counts;
                mine.classes |= classes;
                mine.tools |= tools;
            },
            |left| overflow.sources += left.counts.packets,
        );
        pairs.merge(
            &mut other.pairs,
            seed,
            |_, _| (),
            |_| overflow.port_hosts += 1,
        );
        overflow
    }

    pub(super) fn reset(&mut self) {
        let Self { sources, pairs } = self;
        sources.reset();
        pairs.reset();
    }
}

#[inline]
fn pair_hash<A: Address>(address: A, (table, port): (PortTable, u16), seed: &Seed) -> u32 {
    Pair::hash((address, port, table as u8 + 1), seed) as u32
}
