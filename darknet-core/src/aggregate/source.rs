//! One source, and what is kept of it.

use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{Packet, PortTable, Version};

use super::{Counts, Seed, table::Slot};

/// An address as a number.
pub(super) trait Address: Copy + Default + Eq + Hash + fmt::Debug {
    /// As many ports as fill up a cache line.
    type Places: Copy + Default + fmt::Debug + AsRef<[Place]> + AsMut<[Place]>;
    /// The same, where times are in that line too.
    type First: Copy + Default + fmt::Debug + Send + Sync + AsRef<[Place]> + AsMut<[Place]>;

    const VERSION: Version;

    fn of(packet: &Packet) -> Self;

    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    type Places = [Place; 10];
    type First = [Place; 3];

    const VERSION: Version = Version::V4;

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
    type First = [Place; 0];

    const VERSION: Version = Version::V6;

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
pub(super) struct Place(pub(super) u32);

impl Place {
    #[inline]
    pub(super) fn new((table, port): (PortTable, u16)) -> Self {
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
    pub(super) places: A::Places,
    /// A bit for each class.
    pub(super) classes: u16,
    /// A bit for each tool.
    pub(super) tools: u8,
    /// How many of the places are taken.
    pub(super) taken: u8,
}

const _: () = assert!(size_of::<Source<u32>>() == 64 && size_of::<Source<u128>>() == 64);

impl<A: Address> Source<A> {
    /// The ports at which it was seen first.
    pub(super) fn places(&self) -> &[Place] {
        &self.places.as_ref()[..usize::from(self.taken)]
    }

    /// Keeps a place here if it is not here yet; `false` if there is no room.
    #[inline]
    pub(super) fn keep(&mut self, place: Place) -> bool {
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
    pub(super) address: A,
    pub(super) place: Place,
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
