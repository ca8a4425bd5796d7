//! One source, and what is kept of it.

use std::{
    fmt,
    hash::Hash,
    hint::cold_path,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{Class, Packet, PortTable, Version};

use super::{Seed, table::Slot};

/// An address as a number.
pub(super) trait Address: Copy + Default + Eq + Hash + fmt::Debug {
    /// As many numbers as fill up the cache line of a source.
    type Left: Copy + Default + fmt::Debug + Send + Sync + AsRef<[u32]> + AsMut<[u32]>;

    const VERSION: Version;

    fn of(packet: &Packet) -> Self;

    fn ip(self) -> IpAddr;
}

impl Address for u32 {
    type Left = [u32; 3];

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
    type Left = [u32; 0];

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

    /// Where a packet's source is seen by it: the places of [`PortTable::of`], and none for those that
    /// there are not. The first without a branch, as classes come in no order.
    #[inline]
    pub(super) fn of(packet: &Packet) -> [Self; 2] {
        let at = |rule: &Rule| {
            let port =
                packet.source_port & rule.source | packet.destination_port & rule.destination;
            Self(rule.table | u32::from(port))
        };
        let [first, second] = &RULES[packet.class as usize];
        let second = match second.table {
            0 => Self::default(),
            _ => {
                // Backscatter alone has one.
                cold_path();
                at(second)
            }
        };
        [at(first), second]
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

/// A place, and how many packets a source sent there: modulo [`Visits::ROUND`]. The default is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Visits(u32);

impl Visits {
    /// Packets at which it begins again, so that what was there has to be kept elsewhere.
    pub(super) const ROUND: u32 = 1 << (32 - Self::PLACE_BITS);
    const PLACE_BITS: u32 = 20;

    /// Packets, fewer than a round.
    #[inline]
    pub(super) fn new(place: Place, packets: u32) -> Self {
        Self(place.0 | packets << Self::PLACE_BITS)
    }

    /// What [`bits`](Self::bits) were.
    #[inline]
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// All of it as a number.
    #[inline]
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    #[inline]
    pub(super) fn place(self) -> Place {
        Place(self.0 & ((1 << Self::PLACE_BITS) - 1))
    }

    #[inline]
    pub(super) fn packets(self) -> u32 {
        self.0 >> Self::PLACE_BITS
    }

    /// Adds packets, fewer than a round.
    #[inline]
    pub(super) fn add(&mut self, packets: u32) {
        self.0 = self.0.wrapping_add(packets << Self::PLACE_BITS);
    }

    /// Whether the packets that were added last, fewer than a round, made a round full.
    #[inline]
    pub(super) fn is_round(self, added: u32) -> bool {
        self.packets() < added
    }

    /// Adds packets if it is of this place, and returns the sum then; otherwise the default. Without a
    /// branch.
    #[inline]
    pub(super) fn add_at(&mut self, place: Place, packets: u32) -> Self {
        let here = 0_u32.wrapping_sub(u32::from(self.place() == place));
        self.add(packets & here);
        Self(self.0 & here)
    }

    /// The one of two that is not the default.
    #[inline]
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const _: () = assert!((PortTable::ALL.len() as u32 + 1) << 16 <= 1 << Visits::PLACE_BITS);

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
    pub(super) visits: Visits,
}

impl<A: Address> Slot for Pair<A> {
    type Key = (A, Place);

    #[inline]
    fn key(&self) -> Option<Self::Key> {
        let place = self.visits.place();
        place.is_some().then_some((self.address, place))
    }

    #[inline]
    fn of((address, place): Self::Key) -> Self {
        Self {
            address,
            visits: Visits::new(place, 0),
        }
    }

    #[inline]
    fn hash(key: Self::Key, seed: &Seed) -> u64 {
        seed.key(key)
    }
}

/// Rounds of [`Visits`] that a source made at a place: of one in 4,096 packets at most. A free slot has
/// none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds<A> {
    pub(super) address: A,
    pub(super) place: Place,
    pub(super) rounds: u64,
}

impl<A: Address> Slot for Rounds<A> {
    type Key = (A, Place);

    fn key(&self) -> Option<Self::Key> {
        let Self { address, place, .. } = *self;
        place.is_some().then_some((address, place))
    }

    fn of((address, place): Self::Key) -> Self {
        Self {
            address,
            place,
            rounds: 0,
        }
    }

    fn hash(key: Self::Key, seed: &Seed) -> u64 {
        seed.key(key)
    }
}
