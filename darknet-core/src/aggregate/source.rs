//! One source, and what is kept of it.

use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{Class, Packet, PortTable, Version};

use super::{Seed, table::Slot};

/// An address as a number.
pub(super) trait Address: Copy + Default + Eq + Hash + fmt::Debug {
    /// As many ports as fill up the cache line of a source.
    type First: Copy + Default + fmt::Debug + Send + Sync + AsRef<[Place]> + AsMut<[Place]>;

    const VERSION: Version;

    fn of(packet: &Packet) -> Self;

    /// The address and a place as one number, where they fit; 0 where they don't.
    fn key(self, place: Place) -> u64;

    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    type First = [Place; 3];

    const VERSION: Version = Version::V4;

    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source.v4()
    }

    #[inline]
    fn key(self, place: Place) -> u64 {
        u64::from(self) << 32 | u64::from(place.0)
    }

    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
}

impl Address for u128 {
    type First = [Place; 0];

    const VERSION: Version = Version::V6;

    #[inline]
    fn of(packet: &Packet) -> Self {
        packet.source.v6()
    }

    #[inline]
    fn key(self, _: Place) -> u64 {
        0
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

    /// Where a packet's source is seen by it: the places of [`PortTable::of`], and none for those that
    /// there are not. Without a branch, as classes come in no order.
    #[inline]
    pub(super) fn of(packet: &Packet) -> [Self; 2] {
        let rules = &RULES[packet.class as usize];
        rules.map(|rule| {
            let port =
                packet.source_port & rule.source | packet.destination_port & rule.destination;
            Self(rule.table | u32::from(port))
        })
    }

    /// Whether it is one.
    #[inline]
    pub(super) fn is_some(self) -> bool {
        self.0 != 0
    }

    /// The row of a table of all ports, as [`ports::index`](super::ports::index) has it; if it is none,
    /// no row.
    #[inline]
    pub(super) fn row(self) -> usize {
        (self.0 as usize).wrapping_sub(1 << 16)
    }

    /// The table and the port, if it is one.
    pub(super) fn get(self) -> Option<(PortTable, u16)> {
        let table = (self.0 >> 16).checked_sub(1)?;
        Some((PortTable::ALL[table as usize], self.0 as u16))
    }
}

/// How a place follows from a packet: the table as [`Place`] has it, and which of the ports.
#[derive(Clone, Copy)]
struct Rule {
    table: u32,
    source: u16,
    destination: u16,
}

/// The rules of each class, made by asking [`PortTable::of`].
const RULES: [[Rule; 2]; Class::ALL.len()] = {
    const NONE: Rule = Rule {
        table: 0,
        source: 0,
        destination: 0,
    };
    let mut rules = [[NONE; 2]; Class::ALL.len()];
    let mut class = 0;
    while class < rules.len() {
        let packet = Packet {
            class: Class::ALL[class],
            source_port: 1,
            destination_port: 2,
            ..Packet::MALFORMED
        };
        let places = PortTable::of(&packet);
        let mut at = 0;
        while at < places.len() {
            if let Some((table, port)) = places[at] {
                rules[class][at] = Rule {
                    table: (table as u32 + 1) << 16,
                    source: if port == 1 { u16::MAX } else { 0 },
                    destination: if port == 2 { u16::MAX } else { 0 },
                };
            }
            at += 1;
        }
        class += 1;
    }
    rules
};

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
