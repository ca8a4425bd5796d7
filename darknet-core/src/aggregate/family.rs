//! The tables of sources of one IP version, in one logical shard.

use std::{
    fmt,
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
pub(super) trait Address: Copy + Default + Eq + Hash + fmt::Debug {
    /// As many ports as fill up a cache line.
    type Places: Copy + Default + fmt::Debug + AsRef<[Place]> + AsMut<[Place]>;

    fn of(packet: &Packet) -> Self;

    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    type Places = [Place; 10];

    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source.v4()
    }

    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
}

impl Address for u128 {
    type Places = [Place; 7];

    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source.v6()
    }

    fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }
}

/// A port of a table, where a source was seen. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

impl Place {
    #[inline]
    fn new((table, port): (PortTable, u16)) -> Self {
        Self((table as u32 + 1) << 16 | u32::from(port))
    }

    /// The table and the port, if it is one.
    pub(super) fn get(self) -> Option<(PortTable, u16)> {
        let table = (self.0 >> 16).checked_sub(1)?;
        Some((PortTable::ALL[table as usize], self.0 as u16))
    }
}

/// One source, in one cache line.
///
/// Most sources are seen at few ports. These are kept here, so that counting a packet costs one
/// cache miss; the pairs of source and port that find no room have a table of their own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Source<A: Address> {
    /// A free slot has no packets.
    pub(super) counts: Counts,
    pub(super) address: A,
    places: A::Places,
    /// A bit for each class.
    pub(super) classes: u16,
    /// A bit for each tool.
    pub(super) tools: u8,
    /// How many of the places are taken.
    taken: u8,
}

const _: () = assert!(size_of::<Source<u32>>() == 64 && size_of::<Source<u128>>() == 64);

impl<A: Address> Source<A> {
    /// The ports at which it was seen first.
    fn places(&self) -> &[Place] {
        &self.places.as_ref()[..usize::from(self.taken)]
    }

    /// Keeps a place here if it is not here yet; `false` if there is no room.
    #[inline]
    fn keep(&mut self, place: Place) -> bool {
        // All of them, whatever is taken: no branch, and free ones are none.
        let places = self.places.as_mut();
        let known = places
            .iter()
            .fold(false, |known, &kept| known | (kept == place));
        if !known {
            let Some(free) = places.get_mut(usize::from(self.taken)) else {
                return false;
            };
            *free = place;
            self.taken += 1;
        }
        true
    }
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

/// A source seen at a port that had no room with the source. A free slot has no place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair<A> {
    address: A,
    place: Place,
}

impl<A: Address> Slot for Pair<A> {
    type Key = (A, Place);

    #[inline]
    fn key(&self) -> Option<Self::Key> {
        (self.place != Place::default()).then_some((self.address, self.place))
    }

    #[inline]
    fn of((address, place): Self::Key) -> Self {
        Self { address, place }
    }

    #[inline]
    fn hash(key: Self::Key, seed: &Seed) -> u64 {
        seed.key(key)
    }
}

impl<A: Address> Pair<A> {
    #[inline]
    pub(super) fn hash(&self, seed: &Seed) -> u32 {
        <Self as Slot>::hash((self.address, self.place), seed) as u32
    }
}

/// The sources of one IP version, and the ports that each was seen at.
#[derive(Clone, Debug)]
pub(super) struct Family<A: Address> {
    pub(super) sources: Table<Source<A>>,
    pub(super) pairs: Table<Pair<A>>,
}

impl<A: Address> Family<A> {
    /// Empty tables that take at most so many bytes.
    pub(super) fn new(sources: usize, pairs: usize) -> Self {
        Self {
            sources: Table::new(sources),
            pairs: Table::new(pairs),
        }
    }

    /// Reads the memory that counting a packet begins with. Something must be done with the
    /// result, so that the reading is not left out.
    #[inline]
    pub(super) fn touch(&self, hash: u32) -> u16 {
        self.sources.first(hash).map_or(0, |slot| slot.classes)
    }

    /// Counts a packet but for the places that have no room with its source: these are `left`,
    /// to be kept by [`keep_pair`](Self::keep_pair). `hash` is that of the source.
    #[inline]
    pub(super) fn count(
        &mut self,
        packet: &Packet,
        hash: u32,
        seed: &Seed,
        mut left: impl FnMut(Pair<A>),
    ) -> Overflow {
        let address = A::of(packet);
        let mut source = self.sources.entry(address, hash, seed);
        let mut overflow = Overflow::default();
        match &mut source {
            Some(source) => {
                source.counts.add(packet.bytes);
                source.classes |= 1 << packet.class as u16;
                source.tools |= packet.tools.bits();
            }
            None => overflow.sources += 1,
        }
        for place in PortTable::of(packet).into_iter().flatten() {
            let place = Place::new(place);
            if !source.as_mut().is_some_and(|source| source.keep(place)) {
                left(Pair { address, place });
            }
        }
        overflow
    }

    /// The slot where the search for a pair with this hash begins, to fetch its memory early.
    #[inline]
    pub(super) fn touch_pair(&self, hash: u32) -> u32 {
        self.pairs.first(hash).map_or(0, |slot| slot.place.0)
    }

    /// Keeps a pair that has no room with its source.
    #[inline]
    pub(super) fn keep_pair(&mut self, pair: Pair<A>, hash: u32, seed: &Seed) -> Overflow {
        let kept = self.pairs.entry((pair.address, pair.place), hash, seed);
        Overflow {
            sources: 0,
            port_hosts: u64::from(kept.is_none()),
        }
    }

    /// Every port at which a source was seen, once for each source.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let kept = self.sources.iter().flat_map(|source| source.places());
        kept.copied()
            .chain(self.pairs.iter().map(|pair| pair.place))
    }

    /// Adds what `other` has counted, as far as there is room.
    pub(super) fn merge(&mut self, other: &mut Self, seed: &Seed) -> Overflow {
        if self.sources.is_empty() && self.pairs.is_empty() {
            std::mem::swap(self, other);
            return Overflow::default();
        }
        let mut overflow = Overflow::default();
        for theirs in other.sources.iter() {
            let Source {
                counts,
                address,
                places: _,
                classes,
                tools,
                taken: _,
            } = *theirs;
            match self
                .sources
                .entry(address, Source::<A>::hash(address, seed) as u32, seed)
            {
                Some(mine) => {
                    mine.counts += counts;
                    mine.classes |= classes;
                    mine.tools |= tools;
                }
                None => overflow.sources += counts.packets,
            }
            for &place in theirs.places() {
                overflow.port_hosts += u64::from(!self.keep(address, place, seed));
            }
        }
        for &Pair { address, place } in other.pairs.iter() {
            overflow.port_hosts += u64::from(!self.keep(address, place, seed));
        }
        overflow
    }

    /// Keeps a place with its source or, where that has no room, as a pair; `false` if there is
    /// no room at all.
    fn keep(&mut self, address: A, place: Place, seed: &Seed) -> bool {
        let source = self.sources.get(address, seed);
        source.is_some_and(|source| source.keep(place)) || self.pairs.insert((address, place), seed)
    }

    pub(super) fn reset(&mut self) {
        let Self { sources, pairs } = self;
        sources.reset();
        pairs.reset();
    }
}
