use std::net::IpAddr;

use serde::Deserialize;

/// Classes of packets, in the order of Darknet's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "defined where Darknet defines its classes")]
pub enum Class {
    TcpSyn,
    TcpBackscatter,
    TcpOther,
    Udp,
    Icmp,
    IcmpBackscatter,
    Fragment,
    Malformed,
    Other,
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Self; 9] = [
        Self::TcpSyn,
        Self::TcpBackscatter,
        Self::TcpOther,
        Self::Udp,
        Self::Icmp,
        Self::IcmpBackscatter,
        Self::Fragment,
        Self::Malformed,
        Self::Other,
    ];

    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpSyn => "tcp_syn",
            Self::TcpBackscatter => "tcp_backscatter",
            Self::TcpOther => "tcp_other",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::IcmpBackscatter => "icmp_backscatter",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }

    /// The class of an ICMP (version 4) or ICMPv6 (version 6) message: answers and errors are what
    /// spoofed packets bring back (message types: IANA, icmp-parameters and icmpv6-parameters).
    pub(super) const fn of_icmp(version: u8, icmp_type: u8) -> Self {
        match (version, icmp_type) {
            (4, 0 | 3 | 4 | 5 | 11 | 12 | 14 | 16 | 18) | (6, 1..=4 | 129) => Self::IcmpBackscatter,
            _ => Self::Icmp,
        }
    }
}

/// A tool that leaves a mark in the SYNs it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Sequence number = destination address; source port above 1024.
    Mirai,
    /// Identification = 54321.
    Zmap,
    /// Identification = low 16 bits of destination address ⊕ destination port ⊕ sequence number.
    Masscan,
}

impl Tool {
    /// Every tool, in order.
    pub const ALL: [Self; 3] = [Self::Mirai, Self::Zmap, Self::Masscan];

    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mirai => "mirai",
            Self::Zmap => "zmap",
            Self::Masscan => "masscan",
        }
    }
}

/// A set of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tools(u8);

impl Tools {
    /// The set of `tools`.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self(
            tools
                .into_iter()
                .fold(0, |bits, tool| bits | 1 << tool as u8),
        )
    }

    /// Whether `tool` is in the set.
    pub const fn contains(self, tool: Tool) -> bool {
        self.0 & 1 << tool as u8 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the generator means by a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// Time, nanoseconds since the Unix epoch, cut to the capture's resolution.
    pub time: u64,
    /// Which flow of the scenario, from 0.
    pub flow: u32,
    /// `None`: not IP, the telescope lets it pass.
    pub class: Option<Class>,
    /// IPv4 total length, or IPv6 payload length + 40; 0 if malformed or not IP.
    pub bytes: u32,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Source and destination port, if it has a whole TCP or UDP header.
    pub ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Marks it carries.
    pub tools: Tools,
}
