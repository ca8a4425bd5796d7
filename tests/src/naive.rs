//! The definitions of what a packet is, written down again as simply as possible.
//!
//! Slow, and sharing nothing with `darknet-ebpf` but the names of the answers: where the walk
//! carries offsets through one frame and checks each read, this cuts the frame to the packet first
//! and then hands what is left from header to header.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{
    Address, Class, Frame, IcmpKey, Ip, Link, Malformed, Outer, Packet, PortTable, Tool, Version,
    outer,
};

/// Every link layer.
pub const LINKS: [Link; 8] = [
    Link::Ethernet,
    Link::Raw,
    Link::Ipv4,
    Link::Ipv6,
    Link::Null,
    Link::Loop,
    Link::LinuxSll,
    Link::LinuxSll2,
];

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not IP: passes.
    Passes,
    /// IP without a readable destination: malformed with `any`, passes where there are prefixes.
    Unreadable,
    /// An IP packet whose headers contradict themselves or are cut short.
    Malformed {
        /// The source address.
        source: IpAddr,
        /// The destination address.
        destination: IpAddr,
    },
    /// An IP packet of one of the other classes.
    Counted(Counted),
}

/// All that the tables want of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What it is.
    pub class: Class,
    /// Which IP it is.
    pub version: Version,
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// IPv4 total length, or IPv6 payload length + 40.
    pub bytes: u32,
    /// Source and destination port, where the packet was found to be TCP or UDP.
    pub ports: Option<(u16, u16)>,
    /// The port by which its class counts it.
    pub port: Option<u16>,
    /// The destination port of TCP backscatter.
    pub backscatter_destination: Option<u16>,
    /// Type and code, where the packet was found to be ICMP or ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// The marks that it carries, in the order of the tables.
    pub tools: Vec<Tool>,
    /// What of its payload was captured, and how long it is by the IP header; [`walked`], whose
    /// frames may be of any kind, leaves it out.
    pub payload: Option<(Vec<u8>, usize)>,
}

/// What section 4 of the definitions says of a frame.
pub fn classify(bytes: &[u8], link: Link) -> Verdict {
    match network_layer(bytes, link) {
        None => Verdict::Passes,
        Some((Version::V4, packet)) => ipv4(packet),
        Some((Version::V6, packet)) => ipv6(packet),
    }
}

/// Takes the first `count` bytes off, if there are that many.
fn take(bytes: &[u8], count: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    (bytes.len() >= count).then(|| (bytes[..count].to_vec(), bytes[count..].to_vec()))
}

/// Two bytes in network order.
fn number(high: u8, low: u8) -> u16 {
    u16::from(high) * 256 + u16::from(low)
}

fn network_layer(bytes: &[u8], link: Link) -> Option<(Version, Vec<u8>)> {
    match link {
        Link::Ethernet => {
            let (header, rest) = take(bytes, 14)?;
            after_ethertype(&header[12..14], rest, 0)
        }
        Link::LinuxSll => {
            let (header, rest) = take(bytes, 16)?;
            after_ethertype(&header[14..16], rest, 0)
        }
        Link::LinuxSll2 => {
            let (header, rest) = take(bytes, 20)?;
            after_ethertype(&header[0..2], rest, 0)
        }
        Link::Raw | Link::Ipv4 | Link::Ipv6 => {
            let nibble = format!("{:02x}", bytes.first()?).remove(0);
            match (nibble, link) {
                ('4' | '6', Link::Ipv4) | ('4', Link::Raw) => Some((Version::V4, bytes.to_vec())),
                ('4' | '6', Link::Ipv6) | ('6', Link::Raw) => Some((Version::V6, bytes.to_vec())),
                _ => None,
            }
        }
        Link::Null | Link::Loop => {
            let (mut family, rest) = take(bytes, 4)?;
            if link == Link::Null && family[0] != 0 {
                family.reverse();
            }
            match family[..] {
                [0, 0, 0, 2] => Some((Version::V4, rest)),
                [0, 0, 0, 10 | 24 | 28 | 30] => Some((Version::V6, rest)),
                _ => None,
            }
        }
    }
}

fn after_ethertype(ethertype: &[u8], rest: Vec<u8>, tags: usize) -> Option<(Version, Vec<u8>)> {
    match format!("{:02x}{:02x}", ethertype[0], ethertype[1]).as_str() {
        "0800" => Some((Version::V4, rest)),
        "86dd" => Some((Version::V6, rest)),
        "8100" | "88a8" | "9100" if tags < 2 => {
            let (tag, rest) = take(&rest, 4)?;
            after_ethertype(&tag[2..4], rest, tags + 1)
        }
        _ => None,
    }
}

/// What the IP header says of the packet, whatever follows.
struct Header {
    version: Version,
    source: IpAddr,
    destination: IpAddr,
    bytes: u32,
    identification: [u8; 2],
    /// Bytes of the packet that were captured, up to its end by the IP header.
    captured: usize,
}

fn ipv4(captured: Vec<u8>) -> Verdict {
    if captured.len() < 20 || captured[0] / 16 != 4 {
        return Verdict::Unreadable;
    }
    let address = |at: usize| {
        Ipv4Addr::new(
            captured[at],
            captured[at + 1],
            captured[at + 2],
            captured[at + 3],
        )
    };
    let total_length = number(captured[2], captured[3]);
    let header = Header {
        version: Version::V4,
        source: address(12).into(),
        destination: address(16).into(),
        bytes: total_length.into(),
        identification: [captured[4], captured[5]],
        captured: captured.len().min(total_length.into()),
    };
    let header_length = usize::from(captured[0] % 16) * 4;
    let fragment_offset = number(captured[6] % 32, captured[7]);
    let protocol = captured[9];

    let mut packet = captured;
    packet.truncate(total_length.into());
    if header_length < 20 {
        return header.malformed();
    }
    let Some((_, payload)) = take(&packet, header_length) else {
        return header.malformed();
    };
    if fragment_offset > 0 {
        return header.counted(Class::Fragment);
    }
    header.walk(protocol, payload, 0)
}

fn ipv6(captured: Vec<u8>) -> Verdict {
    let Some((fixed, mut payload)) = take(&captured, 40) else {
        return Verdict::Unreadable;
    };
    if fixed[0] / 16 != 6 {
        return Verdict::Unreadable;
    }
    let address = |at: usize| {
        let group = |index: usize| number(fixed[at + 2 * index], fixed[at + 2 * index + 1]);
        Ipv6Addr::new(
            group(0),
            group(1),
            group(2),
            group(3),
            group(4),
            group(5),
            group(6),
            group(7),
        )
    };
    let payload_length = number(fixed[4], fixed[5]);
    let header = Header {
        version: Version::V6,
        source: address(8).into(),
        destination: address(24).into(),
        bytes: 40 + u32::from(payload_length),
        identification: [0, 0],
        captured: 40 + payload.len().min(payload_length.into()),
    };
    payload.truncate(payload_length.into());
    header.walk(fixed[6], payload, 0)
}

/// What a protocol number means in one version of IP.
fn protocol_name(version: Version, number: u8) -> &'static str {
    match (version, number) {
        (Version::V4, 1) => "icmp",
        (_, 6) => "tcp",
        (_, 17) => "udp",
        (_, 51) => "authentication header",
        (Version::V6, 0) => "hop-by-hop options",
        (Version::V6, 43) => "routing header",
        (Version::V6, 44) => "fragment header",
        (Version::V6, 58) => "icmpv6",
        (Version::V6, 60) => "destination options",
        _ => "other",
    }
}

impl Header {
    fn malformed(&self) -> Verdict {
        Verdict::Malformed {
            source: self.source,
            destination: self.destination,
        }
    }

    fn plain(&self, class: Class) -> Counted {
        Counted {
            class,
            version: self.version,
            source: self.source,
            destination: self.destination,
            bytes: self.bytes,
            ports: None,
            port: None,
            backscatter_destination: None,
            icmp: None,
            tools: Vec::new(),
            payload: None,
        }
    }

    /// What follows so many bytes of what is left of the packet, if the packet is that long.
    fn payload(&self, rest: &[u8], header: usize) -> Option<(Vec<u8>, usize)> {
        let before = self.captured - rest.len() + header;
        let length = (self.bytes as usize).checked_sub(before)?;
        let captured = rest.iter().skip(header).copied().collect();
        (length > 0).then_some((captured, length))
    }

    fn counted(&self, class: Class) -> Verdict {
        Verdict::Counted(self.plain(class))
    }

    /// `rest` is what is left of the packet, `walked` the number of extension headers before it.
    fn walk(&self, protocol: u8, rest: Vec<u8>, walked: usize) -> Verdict {
        match protocol_name(self.version, protocol) {
            "tcp" => self.tcp(&rest),
            "udp" => self.udp(&rest),
            name @ ("icmp" | "icmpv6") => self.icmp(name, &rest),
            "other" => self.counted(Class::Other),
            _ if walked == 6 => self.counted(Class::Other),
            name => {
                let Some((start, _)) = take(&rest, 8) else {
                    return self.malformed();
                };
                let length = usize::from(start[1]);
                let length = match name {
                    "fragment header" => {
                        if number(start[2], start[3]) >= 8 {
                            return self.counted(Class::Fragment);
                        }
                        8
                    }
                    "authentication header" => length * 4 + 8,
                    _ => length * 8 + 8,
                };
                match take(&rest, length) {
                    Some((_, rest)) => self.walk(start[0], rest, walked + 1),
                    None => self.malformed(),
                }
            }
        }
    }

    fn tcp(&self, segment: &[u8]) -> Verdict {
        let Some((tcp, _)) = take(segment, 20) else {
            return self.malformed();
        };
        if tcp[12] / 16 < 5 {
            return self.malformed();
        }
        let mut flags = String::new();
        for (letter, place) in [('S', 1), ('A', 4), ('R', 2), ('F', 0)] {
            if (tcp[13] >> place) % 2 == 1 {
                flags.push(letter);
            }
        }
        let (from, to) = (number(tcp[0], tcp[1]), number(tcp[2], tcp[3]));
        let mut packet = match flags.as_str() {
            "S" => self.plain(Class::TcpSyn),
            "SA" | "R" | "AR" => self.plain(Class::TcpBackscatter),
            _ => self.plain(Class::TcpOther),
        };
        packet.payload = self.payload(segment, usize::from(tcp[12] / 16) * 4);
        packet.ports = Some((from, to));
        if packet.class == Class::TcpBackscatter {
            packet.port = Some(from);
            packet.backscatter_destination = Some(to);
        } else {
            packet.port = Some(to);
        }
        if let (IpAddr::V4(destination), "S") = (self.destination, flags.as_str()) {
            let address = destination.octets();
            if tcp[4..8] == address && from >= 1025 {
                packet.tools.push(Tool::Mirai);
            }
            // 54321 is 0xd431.
            if self.identification == [0xd4, 0x31] {
                packet.tools.push(Tool::Zmap);
            }
            let cookie = [address[2] ^ tcp[2] ^ tcp[6], address[3] ^ tcp[3] ^ tcp[7]];
            if self.identification == cookie {
                packet.tools.push(Tool::Masscan);
            }
        }
        Verdict::Counted(packet)
    }

    fn udp(&self, datagram: &[u8]) -> Verdict {
        let Some((udp, _)) = take(datagram, 8) else {
            return self.malformed();
        };
        let (from, to) = (number(udp[0], udp[1]), number(udp[2], udp[3]));
        let mut packet = self.plain(Class::Udp);
        packet.payload = self.payload(datagram, 8);
        packet.ports = Some((from, to));
        packet.port = Some(to);
        Verdict::Counted(packet)
    }

    fn icmp(&self, name: &str, message: &[u8]) -> Verdict {
        let Some((icmp, _)) = take(message, 8) else {
            return self.malformed();
        };
        let answers: &[u8] = match name {
            "icmp" => &[0, 3, 4, 5, 11, 12, 14, 16, 18],
            _ => &[1, 2, 3, 4, 129],
        };
        let mut packet = if answers.contains(&icmp[0]) {
            self.plain(Class::IcmpBackscatter)
        } else {
            self.plain(Class::Icmp)
        };
        packet.icmp = Some((icmp[0], icmp[1]));
        packet.payload = self.payload(message, 8);
        Verdict::Counted(packet)
    }
}

/// What `darknet-ebpf` makes of a frame, in the terms of [`Verdict`].
///
/// # Panics
///
/// If a field is set that the packet's class doesn't have, or two ways to read one disagree.
pub fn walked<F: Frame + ?Sized>(frame: &F, link: Link) -> Verdict {
    let ip = match outer(frame, link) {
        Outer::NotIp => return Verdict::Passes,
        Outer::Unreadable => return Verdict::Unreadable,
        Outer::Ip(ip) => ip,
    };
    let source = address(ip.version, ip.source);
    let destination = address(ip.version, ip.destination);
    if let Some(plain) = ip.plain() {
        let walk = |ip: &Ip| {
            let mut packet = Packet::MALFORMED;
            ip.walk(frame, &mut packet).map(|at| (packet, at))
        };
        assert_eq!(walk(&plain), walk(&ip), "it is the same header");
    }
    match ip.packet(frame) {
        Err(Malformed) => Verdict::Malformed {
            source,
            destination,
        },
        Ok(packet) => {
            assert_eq!(
                (ip.version, ip.source, ip.destination),
                (packet.version, packet.source, packet.destination),
                "the packet keeps the addresses of its IP header"
            );
            Verdict::Counted(counted(&packet))
        }
    }
}

fn address(version: Version, address: Address) -> IpAddr {
    if version == Version::V4 {
        let low = address.v6() & (u128::MAX >> 32);
        assert_eq!(low, 0, "an IPv4 address is zero behind its first word");
        assert_eq!(address.v6() >> 96, address.v4().into());
    }
    address.ip(version)
}

fn counted(packet: &Packet) -> Counted {
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
        ttl: _,
        tcp_flags,
        protocol: _,
    } = *packet;
    if !matches!(
        class,
        Class::TcpSyn | Class::TcpBackscatter | Class::TcpOther
    ) {
        assert_eq!(tcp_flags, 0, "{class:?} has no flags");
    }
    let source = address(version, source);
    let transport = (source_port, destination_port);
    let tables = PortTable::of(packet);
    let (port, backscatter_destination) = match (class, tables) {
        (Class::TcpSyn, [Some((PortTable::TcpSyn, port)), None])
        | (Class::TcpOther, [Some((PortTable::TcpOther, port)), None])
        | (Class::Udp, [Some((PortTable::Udp, port)), None]) => (Some(port), None),
        (
            Class::TcpBackscatter,
            [
                Some((PortTable::TcpBackscatter, port)),
                Some((PortTable::TcpBackscatterDestination, destination)),
            ],
        ) => (Some(port), Some(destination)),
        (_, [None, None]) => {
            assert_eq!(transport, (0, 0), "{class:?} has no ports");
            (None, None)
        }
        wrong => panic!("the port tables of {wrong:?}"),
    };
    let icmp = IcmpKey::of(packet).map(|key| {
        let IcmpKey {
            version: of,
            kind,
            code,
        } = key;
        assert_eq!(
            (of, kind, code),
            (version, icmp_type, icmp_code),
            "ICMP key"
        );
        (kind, code)
    });
    if icmp.is_none() {
        assert_eq!((icmp_type, icmp_code), (0, 0), "{class:?} has no type");
    }
    let marks: Vec<Tool> = Tool::ALL
        .into_iter()
        .filter(|&tool| tools.has(tool))
        .collect();
    let bits = marks.iter().map(|&tool| 1 << tool as u8).sum::<u8>();
    assert_eq!(tools.bits(), bits, "one bit per tool");
    Counted {
        class,
        version,
        source,
        destination: address(version, destination),
        bytes,
        ports: port.map(|_| transport),
        port,
        backscatter_destination,
        icmp,
        tools: marks,
        payload: None,
    }
}

/// As [`walked`], with the payload.
fn walked_with_payload(bytes: &[u8], link: Link) -> Verdict {
    let mut verdict = walked(bytes, link);
    if let (Verdict::Counted(counted), Outer::Ip(ip)) = (&mut verdict, outer(bytes, link)) {
        let mut packet = Packet::MALFORMED;
        let transport = ip.walk(bytes, &mut packet).expect("it was counted");
        let payload = packet.payload(bytes, ip.network, transport);
        let length = payload.length as usize;
        counted.payload = (length > 0).then(|| (payload.bytes.to_vec(), length));
        assert!(length > 0 || payload.bytes.is_empty(), "{payload:?}");
    }
    verdict
}

/// Fails unless the walk and this reference agree on a frame.
///
/// # Panics
///
/// If they don't, with a test that can be pasted and run.
pub fn assert_agreement(bytes: &[u8], link: Link) {
    let (expected, found) = (classify(bytes, link), walked_with_payload(bytes, link));
    assert!(
        found == expected,
        "darknet-ebpf: {found:?}\nnaive:        {expected:?}\n\n{}",
        reproduction(bytes, link)
    );
}

/// A test that shows what the walk and this reference make of a frame.
pub fn reproduction(bytes: &[u8], link: Link) -> String {
    let mut text = String::from("#[test]\nfn reproduction() {\n    let bytes: &[u8] = &[");
    for (index, byte) in bytes.iter().enumerate() {
        let gap = if index % 16 == 0 { "\n        " } else { " " };
        write!(text, "{gap}{byte:#04x},").expect("a String takes what is written");
    }
    text += "\n    ];\n";
    text += &format!(
        "    darknet_tests::naive::assert_agreement(bytes, darknet_ebpf::Link::{link:?});\n}}\n"
    );
    text
}
