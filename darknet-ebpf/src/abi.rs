use crate::{
    class::Class,
    ledger::Cell,
    packet::{Address, Packet, Version},
    tool::{Tool, Tools},
};

/// A table of packets by port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PortTable {
    /// SYNs by destination port.
    TcpSyn = 0,
    /// TCP backscatter by source port: the service under attack.
    TcpBackscatter = 1,
    /// TCP backscatter by destination port, so that all TCP by destination port can be added up.
    TcpBackscatterDestination = 2,
    /// Other TCP by destination port.
    TcpOther = 3,
    /// UDP by destination port.
    Udp = 4,
}

impl PortTable {
    /// Every table, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::TcpSyn,
        Self::TcpBackscatter,
        Self::TcpBackscatterDestination,
        Self::TcpOther,
        Self::Udp,
    ];

    /// The name in tables and JSON: the class, or `tcp_backscatter_destination`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpSyn => Class::TcpSyn.name(),
            Self::TcpBackscatter => Class::TcpBackscatter.name(),
            Self::TcpBackscatterDestination => "tcp_backscatter_destination",
            Self::TcpOther => Class::TcpOther.name(),
            Self::Udp => Class::Udp.name(),
        }
    }

    /// The table of a packet and its port there; a packet of TCP backscatter is in a second one.
    #[inline(always)]
    pub const fn of(packet: &Packet) -> [Option<(Self, u16)>; 2] {
        let Packet {
            source_port: from,
            destination_port: to,
            ..
        } = *packet;
        match packet.class {
            Class::TcpSyn => [Some((Self::TcpSyn, to)), None],
            Class::TcpBackscatter => [
                Some((Self::TcpBackscatter, from)),
                Some((Self::TcpBackscatterDestination, to)),
            ],
            Class::TcpOther => [Some((Self::TcpOther, to)), None],
            Class::Udp => [Some((Self::Udp, to)), None],
            Class::Icmp
            | Class::IcmpBackscatter
            | Class::Fragment
            | Class::Malformed
            | Class::Other => [None; 2],
        }
    }
}

/// What ICMP and ICMPv6 are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct IcmpKey {
    /// Which IP it came in.
    pub version: Version,
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: u8,
}

impl IcmpKey {
    /// The key of a packet, if it is ICMP.
    #[inline(always)]
    pub const fn of(packet: &Packet) -> Option<Self> {
        match packet.class {
            Class::Icmp | Class::IcmpBackscatter => Some(Self {
                version: packet.version,
                kind: packet.icmp_type,
                code: packet.icmp_code,
            }),
            _ => None,
        }
    }
}

/// Packets, and their bytes by the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// How many packets.
    pub packets: u64,
    /// IPv4 total lengths, IPv6 payload lengths + 40, added up.
    pub bytes: u64,
}

impl Counts {
    /// One packet more.
    #[inline(always)]
    pub const fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// Rows of a kernel table that is read in place: one processor's part of one bank.
///
/// The arrays are indexed `(bank * processors + processor) * ROWS + row`.
pub mod rows {
    use super::PortTable;

    /// The ports of every [`PortTable`]: `table << 16 | port`.
    pub const PORTS: u32 = (PortTable::ALL.len() as u32) << 16;
    /// ICMP, then ICMPv6: `type << 8 | code`.
    pub const ICMP: u32 = 2 << 16;
    /// One [`Tally`](super::Tally).
    pub const TALLY: u32 = 1;
}

/// Which bank an epoch counts in: there are two, and they take turns.
#[inline(always)]
pub const fn bank(epoch: u64) -> u32 {
    (epoch & 1) as u32
}

/// The row of a port.
#[inline(always)]
pub const fn port_row(table: PortTable, port: u16) -> u32 {
    (table as u32) << 16 | port as u32
}

/// The row of an ICMP message.
#[inline(always)]
pub const fn icmp_row(key: IcmpKey) -> u32 {
    let table = matches!(key.version, Version::V6) as u32;
    table << 16 | (key.kind as u32) << 8 | key.code as u32
}

/// The figures that every packet changes, of one processor in one bank: eight cache lines, found
/// with one look-up.
///
/// The arrays have room for more than there is, a power of two, so that an index is bounded by a
/// mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Packets that entered the program.
    pub received: u64,
    /// Packets for a dark destination.
    pub counted: u64,
    /// By [`Cell`], where packets ended.
    pub cells: [u64; 16],
    /// By [`Tool`], packets that carry its mark.
    pub tools: [u64; 8],
    /// By [`Class`].
    pub classes: [Counts; 16],
    /// Packets whose source network found no room in the table of networks.
    pub network_overflow: Counts,
    /// The program's own: says nothing.
    pub scratch: u64,
    /// 0; fills up the last cache line.
    pub spare: [u64; 3],
}

/// A source network: IPv4 /24 or IPv6 /48, in one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct NetworkKey {
    /// The bank that it was counted in.
    pub bank: u8,
    /// 4 or 6.
    pub version: u8,
    /// The first three bytes of an IPv4 address and zeros, or the first six of an IPv6 address.
    pub prefix: [u8; 6],
}

impl NetworkKey {
    /// The network of a packet's source.
    #[inline(always)]
    pub const fn of(packet: &Packet, bank: u32) -> Self {
        let source = match packet.version {
            Version::V4 => ((packet.source.v4() & 0xffff_ff00) as u64) << 32,
            Version::V6 => (packet.source.v6() >> 64) as u64,
        };
        let [a, b, c, d, e, f, ..] = source.to_be_bytes();
        Self {
            bank: bank as u8,
            version: packet.version as u8,
            prefix: [a, b, c, d, e, f],
        }
    }
}

/// What the kernel program hands over of a packet: 64 bytes, one cache line, no padding.
///
/// Plain numbers only: whatever bytes come out of a ring are one. [`packet`](Self::packet) says
/// whether they mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    source: Address,
    destination: Address,
    bytes: u32,
    source_port: u16,
    destination_port: u16,
    version: u8,
    class: u8,
    tools: u8,
    icmp_type: u8,
    icmp_code: u8,
    spare: [u8; 2],
    /// [`Header::LAYOUT`].
    layout: u8,
    /// The low half of the epoch that the packet was counted in.
    pub epoch: u32,
    /// 0: so that no byte is padding.
    unused: u32,
    /// Nanoseconds of the monotonic clock: when the program saw the packet.
    pub time: u64,
}

impl Header {
    /// The number of this layout, in every record.
    pub const LAYOUT: u8 = 1;

    /// The record of a packet that was counted in `epoch` and seen at `time`.
    #[inline(always)]
    pub const fn new(packet: &Packet, epoch: u64, time: u64) -> Self {
        let Packet {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version,
            class,
            tools,
            icmp_type,
            icmp_code,
        } = *packet;
        Self {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version: version as u8,
            class: class as u8,
            tools: tools.bits(),
            icmp_type,
            icmp_code,
            spare: [0; 2],
            layout: Self::LAYOUT,
            epoch: epoch as u32,
            unused: 0,
            time,
        }
    }

    /// The record in the bytes of a ring, in the byte order of this machine.
    #[inline]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_ne_bytes(words[at]);
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let address = |at: usize| Address::from_words(core::array::from_fn(|n| word(at + n)));
        let (longs, _) = bytes.as_chunks::<8>();
        Self {
            source: address(0),
            destination: address(4),
            bytes: word(8),
            source_port: half(36),
            destination_port: half(38),
            version: bytes[40],
            class: bytes[41],
            tools: bytes[42],
            icmp_type: bytes[43],
            icmp_code: bytes[44],
            spare: [bytes[45], bytes[46]],
            layout: bytes[47],
            epoch: word(12),
            unused: word(13),
            time: u64::from_ne_bytes(longs[7]),
        }
    }

    /// The packet, or `None` if the record has another layout or holds what no packet can.
    #[inline]
    pub fn packet(&self) -> Option<Packet> {
        let Self {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version,
            class,
            tools,
            icmp_type,
            icmp_code,
            spare: _,
            layout,
            epoch: _,
            unused: _,
            time: _,
        } = *self;
        if layout != Self::LAYOUT {
            return None;
        }
        Some(Packet {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version: match version {
                4 => Version::V4,
                6 => Version::V6,
                _ => return None,
            },
            class: *Class::ALL.get(usize::from(class))?,
            tools: Tools::from_bits(tools)?,
            icmp_type,
            icmp_code,
        })
    }
}

// The layout is shared with a program compiled by another compiler: a change shows here first.
const _: () = assert!(size_of::<Packet>() == 48 && align_of::<Packet>() == 4);
const _: () = assert!(size_of::<IcmpKey>() == 3);
const _: () = assert!(size_of::<PortTable>() == 1);
const _: () = assert!(size_of::<Counts>() == 16);
const _: () = assert!(size_of::<Tally>() == 512 && align_of::<Tally>() == 8);
const _: () = assert!(size_of::<NetworkKey>() == 8 && align_of::<NetworkKey>() == 8);
const _: () = assert!(size_of::<Header>() == 64 && align_of::<Header>() == 8);
const _: () = assert!(core::mem::offset_of!(Header, epoch) == 48);
const _: () = assert!(core::mem::offset_of!(Header, time) == 56);
const _: () = assert!(Class::ALL.len() <= 16 && Cell::ALL.len() <= 16 && Tool::ALL.len() <= 8);

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the ring holds it: IPv4, UDP, no marks, epoch 7, time 9.
    fn record() -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(&0xc633_6407u32.to_ne_bytes());
        bytes[16..20].copy_from_slice(&0xcb00_7109u32.to_ne_bytes());
        bytes[32..36].copy_from_slice(&40u32.to_ne_bytes());
        bytes[36..38].copy_from_slice(&4000u16.to_ne_bytes());
        bytes[38..40].copy_from_slice(&53u16.to_ne_bytes());
        bytes[40..48].copy_from_slice(&[4, 3, 0, 0, 0, 0, 0, Header::LAYOUT]);
        bytes[48..52].copy_from_slice(&7u32.to_ne_bytes());
        bytes[56..64].copy_from_slice(&9u64.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let header = Header::from_bytes(&record());
        let packet = header.packet().expect("a packet");
        assert_eq!(packet.source.v4(), 0xc633_6407);
        assert_eq!(packet.destination.v4(), 0xcb00_7109);
        assert_eq!((packet.source_port, packet.destination_port), (4000, 53));
        assert_eq!((packet.bytes, packet.class), (40, Class::Udp));
        assert_eq!((header.epoch, header.time), (7, 9));
        assert_eq!(Header::new(&packet, 7, 9), header);
    }

    #[test]
    fn what_no_packet_can_be_is_none() {
        for (name, at, byte) in [
            ("another layout", 47, Header::LAYOUT + 1),
            ("no version", 40, 5),
            ("no class", 41, Class::ALL.len() as u8),
            ("a mark of no tool", 42, 1 << Tool::ALL.len()),
        ] {
            let mut bytes = record();
            bytes[at] = byte;
            assert_eq!(Header::from_bytes(&bytes).packet(), None, "{name}");
        }
    }

    #[test]
    fn networks_are_the_first_bytes_of_the_address() {
        let packet = Packet {
            source: Address::from_words([0xc633_6407, 0, 0, 0]),
            ..Packet::MALFORMED
        };
        let key = NetworkKey::of(&packet, 1);
        assert_eq!((key.bank, key.version), (1, 4));
        assert_eq!(key.prefix, [198, 51, 100, 0, 0, 0]);
        let packet = Packet {
            source: Address::from_words([0x2001_0db8, 0x0102_0304, 5, 6]),
            version: Version::V6,
            ..packet
        };
        assert_eq!(
            NetworkKey::of(&packet, 0).prefix,
            [0x20, 1, 0x0d, 0xb8, 1, 2]
        );
    }

    #[test]
    fn rows_fill_their_tables() {
        let last = IcmpKey {
            version: Version::V6,
            kind: 255,
            code: 255,
        };
        assert_eq!(icmp_row(last), rows::ICMP - 1);
        assert_eq!(port_row(PortTable::Udp, u16::MAX), rows::PORTS - 1);
    }
}
