use crate::{
    class::Class,
    packet::{Packet, Version},
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

// The layout is shared with a program compiled by another compiler: a change shows here first.
const _: () = assert!(size_of::<Packet>() == 48 && align_of::<Packet>() == 4);
const _: () = assert!(size_of::<IcmpKey>() == 3);
const _: () = assert!(size_of::<PortTable>() == 1);
