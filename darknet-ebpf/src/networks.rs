use crate::{
    abi::PortTable,
    packed::Packed,
    packet::{Packet, Version},
};

/// Sizes of the parts of the table of source networks.
pub mod rows {
    /// Networks that a processor keeps to itself: 128 KiB, which stay in its second cache, and those
    /// that come often in its first.
    pub const FRONT: usize = 8192;
    /// Networks that are handed on together, so that their cache misses overlap.
    pub const STAGE: usize = 64;
    /// Slots in a line of the shared table: 64 bytes, which are fetched together.
    pub const SLOTS: usize = 4;
    /// Pairs of lines that are looked through for a network before the table counts as full.
    pub const PAIRS: u32 = 16;
}

/// What is counted by source network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// The network alone.
    Network,
    /// The network, the class and the port.
    Port,
}

/// A place for one source network, and under [`Grain::Port`] one class and port of it.
///
/// It is empty while `value` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// `network << 16 | port`. An IPv4 network is its 24 bits, an IPv6 network its 48.
    pub key: u64,
    /// What was counted, and a code for IP version and class: [`NetworkKey::code`].
    pub value: Packed,
}

impl Slot {
    /// Adds one packet or more, of `other`, and returns what gives way to it: what was there before, if
    /// that is something else, or the sum, if it is not [below a portion](Packed::is_below_a_portion).
    #[inline(always)]
    pub fn add(&mut self, other: Self) -> Option<Self> {
        let there = *self;
        let code = Packed::empty(other.value.code());
        // One comparison for code and counts: what is left of two codes is above any count.
        let sum = Packed(there.value.0 ^ code.0).plus(other.value.uncoded());
        if there.key == other.key && sum.is_below_a_portion() {
            self.value = sum.plus(code);
            return None;
        }
        if there.key != other.key || there.value.code() != other.value.code() {
            *self = other;
            return (there.value != Packed::default()).then_some(there);
        }
        self.value = Packed::default();
        Some(Self {
            value: sum.plus(code),
            ..there
        })
    }

    /// The key, as if it were filled.
    #[inline(always)]
    pub const fn network(self) -> NetworkKey {
        NetworkKey {
            key: self.key,
            code: self.value.code(),
        }
    }
}

/// A line of the shared table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Line(pub [Slot; rows::SLOTS]);

/// The code of a slot that somebody is about to fill.
pub const CLAIMED: u8 = 15;

/// A source network, IPv4 /24 or IPv6 /48, and a class and port where these are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkKey {
    /// `network << 16 | port`.
    pub key: u64,
    /// 1 to 10: IP version and [`PortTable`], or none.
    pub code: u8,
}

impl NetworkKey {
    /// The network of a packet's source.
    #[inline(always)]
    pub const fn of(packet: &Packet, grain: Grain) -> Self {
        let (network, version) = match packet.version {
            Version::V4 => (((packet.source.v4() & 0xffff_ff00) as u64) << 8, 0),
            Version::V6 => ((packet.source.v6() >> 64) as u64 & !0xffff, 1),
        };
        let (kind, port) = match grain {
            Grain::Network => (0, 0),
            Grain::Port => match PortTable::of(packet)[0] {
                Some((table, port)) => (1 + table as u8, port),
                None => (0, 0),
            },
        };
        Self {
            key: network | port as u64,
            code: 1 + (kind << 1 | version),
        }
    }

    /// The key of a slot; `None` if it is empty, or somebody is about to fill it.
    pub fn in_slot(slot: Slot) -> Option<Self> {
        let code = slot.value.code();
        (code != 0 && code != CLAIMED).then_some(slot.network())
    }

    /// The version of the network, and its number: 24 or 48 bits.
    pub const fn network(self) -> (Version, u64) {
        let version = match (self.code - 1) & 1 {
            0 => Version::V4,
            _ => Version::V6,
        };
        (version, self.key >> 16)
    }

    /// The class and port, where they are told apart and the class has ports.
    pub fn port(self) -> Option<(PortTable, u16)> {
        let kind = usize::from((self.code - 1) >> 1);
        let table = *PortTable::ALL.get(kind.checked_sub(1)?)?;
        Some((table, self.key as u16))
    }

    /// A hash under a seed of two odd numbers: multiply, fold, multiply. Whoever does not know the
    /// seed cannot choose networks that meet.
    #[inline(always)]
    pub const fn hash(self, [first, second]: [u64; 2]) -> u64 {
        let mixed = self.key.wrapping_add(self.code as u64).wrapping_mul(first);
        (mixed ^ mixed >> 32).wrapping_mul(second)
    }
}

/// The place in a processor's front.
#[inline(always)]
pub const fn front_place(hash: u64) -> usize {
    (hash >> 20) as usize & (rows::FRONT - 1)
}

/// The line, of so many, to begin with.
#[inline(always)]
pub const fn first_line(hash: u64, lines: u32) -> u32 {
    (((hash >> 32) * lines as u64) >> 32) as u32
}

/// How many lines further to look next: an even number from 2 to that of all lines, which is even.
#[inline(always)]
pub const fn next_line(hash: u64, lines: u32) -> u32 {
    let pairs = lines as u64 / 2;
    ((((hash & 0xffff_ffff) * (pairs - 1)) >> 32) as u32 + 1) << 1
}

/// What outgrew its word, in a table of wide counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WideKey {
    /// A row, or the key of a network.
    pub key: u64,
    /// 0 for a row, or the code of a network.
    pub code: u32,
    /// The bank that it was counted in.
    pub bank: u32,
}

const _: () = assert!(size_of::<Slot>() == 16);
const _: () = assert!(size_of::<Line>() == 64);
const _: () = assert!(size_of::<WideKey>() == 16);
const _: () = assert!(rows::FRONT.is_power_of_two() && rows::STAGE.is_power_of_two());
const _: () = assert!(1 + (PortTable::ALL.len() << 1 | 1) < CLAIMED as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi::Counts, class::Class, packet::Address};

    fn packet(version: Version, source: [u32; 4], class: Class, port: u16) -> Packet {
        Packet {
            version,
            class,
            source: Address::from_words(source),
            destination_port: port,
            source_port: port,
            ..Packet::MALFORMED
        }
    }

    #[test]
    fn networks_are_the_first_bits_of_the_address() {
        let v4 = packet(Version::V4, [0xc633_6407, 0, 0, 0], Class::TcpSyn, 23);
        let key = NetworkKey::of(&v4, Grain::Network);
        assert_eq!(key.network(), (Version::V4, 0x00c6_3364));
        assert_eq!(key.port(), None);
        let v6 = packet(
            Version::V6,
            [0x2001_0db8, 0x0102_0304, 5, 6],
            Class::Udp,
            53,
        );
        let key = NetworkKey::of(&v6, Grain::Network);
        assert_eq!(key.network(), (Version::V6, 0x2001_0db8_0102));
    }

    #[test]
    fn no_two_of_version_network_class_and_port_share_a_key() {
        let mut seen = std::collections::HashSet::new();
        let mut packets = 0;
        for version in [Version::V4, Version::V6] {
            for source in [
                [0; 4],
                [0xffff_ff00, 0xffff_0000, 0, 0],
                [1 << 8, 1 << 16, 0, 0],
            ] {
                for class in Class::ALL {
                    for port in [0, 1, u16::MAX] {
                        let packet = packet(version, source, class, port);
                        let key = NetworkKey::of(&packet, Grain::Port);
                        let table = PortTable::of(&packet)[0];
                        assert_eq!(key.port(), table);
                        let value = Packed::empty(key.code).plus(Packed::one(40));
                        let slot = Slot {
                            key: key.key,
                            value,
                        };
                        assert_eq!(NetworkKey::in_slot(slot), Some(key));
                        let new = seen.insert((key.key, key.code));
                        // Classes without ports share one.
                        packets += usize::from(table.is_some());
                        assert!(new || table.is_none(), "{packet:?}");
                    }
                }
            }
        }
        assert_eq!(seen.len(), packets + 2 * 3, "and one for what has no port");
        assert_eq!(NetworkKey::in_slot(Slot::default()), None);
        let claimed = Slot {
            key: 1,
            value: Packed::empty(CLAIMED),
        };
        assert_eq!(NetworkKey::in_slot(claimed), None);
    }

    #[test]
    fn a_place_keeps_one_key_and_hands_on_what_was_there_or_has_grown() {
        let one = |key: u64, code: u8| Slot {
            key,
            value: Packed::empty(code).plus(Packed::one(40)),
        };
        let mut place = Slot::default();
        assert_eq!(place.add(one(0, 0)), None, "key 0 in a place that is empty");
        assert_eq!(place.add(one(0, 0)), None);
        assert_eq!(
            place.value.counts(),
            Counts {
                packets: 2,
                bytes: 80
            }
        );
        let twice = place;
        assert_eq!(place.add(one(7, 0)), Some(twice), "another key");
        assert_eq!(place.add(one(7, 1)), Some(one(7, 0)), "another code");
        let mut packets = 1;
        let portion = loop {
            packets += 1;
            if let Some(portion) = place.add(one(7, 1)) {
                break portion;
            }
        };
        assert_eq!(packets, 1 << 15);
        assert_eq!(portion.network(), one(7, 1).network());
        assert_eq!(portion.value.counts().packets, packets);
        assert_eq!(place.add(one(7, 1)), None, "it was emptied");
        assert_eq!(place, one(7, 1));
    }

    #[test]
    fn places_are_spread_and_lie_in_their_tables() {
        let seed = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
        for lines in [2, 6, 1 << 10, u32::MAX - 1] {
            let mut front = [0u32; rows::FRONT];
            for number in 0..1 << 19 {
                let key = NetworkKey {
                    key: number << 16,
                    code: 1,
                };
                let hash = key.hash(seed);
                assert!(first_line(hash, lines) < lines);
                let further = next_line(hash, lines);
                assert!((2..=lines).contains(&further) && further.is_multiple_of(2));
                front[front_place(hash)] += 1;
            }
            // 64 on average.
            assert!(front.iter().all(|&there| (16..=160).contains(&there)));
        }
    }
}
