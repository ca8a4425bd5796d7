use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    class::Class,
    frame::{Frame, words},
    link::{Link, Network},
    tool::{Probe, Tools},
};

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// IPv4, RFC 791.
    V4 = 4,
    /// IPv6, RFC 8200.
    V6 = 6,
}

/// An IPv4 or IPv6 address: 32-bit words, the highest first. IPv4 is the first word, the others 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Address([u32; 4]);

impl Address {
    /// The address that these words are, the highest first.
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The number that an IPv4 address is.
    #[inline(always)]
    pub const fn v4(self) -> u32 {
        self.0[0]
    }

    /// The number that an IPv6 address is.
    #[inline(always)]
    pub const fn v6(self) -> u128 {
        let [a, b, c, d] = self.0;
        (a as u128) << 96 | (b as u128) << 64 | (c as u128) << 32 | d as u128
    }

    /// The address, of the version that the packet has.
    pub const fn ip(self, version: Version) -> IpAddr {
        match version {
            Version::V4 => IpAddr::V4(Ipv4Addr::from_bits(self.v4())),
            Version::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.v6())),
        }
    }
}

/// What the link header and the fixed part of the IP header say.
#[derive(Clone, Copy, Debug)]
pub enum Outer {
    /// Not IP as far as the link header tells: ARP, a third VLAN tag, an unknown EtherType.
    NotIp,
    /// Declared to be IP, but the version nibble says otherwise or the fixed header (20 or 40
    /// bytes) is cut short: no destination to read. Malformed where every destination is dark,
    /// not dark where there are prefixes.
    Unreadable,
    /// An IP header with a source and a destination. [`Ip::packet`] walks on.
    Ip(Ip),
}

/// The outermost IP header of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// The source address.
    pub source: Address,
    /// The destination address.
    pub destination: Address,
    /// Which IP it is.
    pub version: Version,
    /// Where in the frame this header begins.
    pub network: usize,
    /// IPv4 time to live, IPv6 hop limit.
    ttl: u8,
    /// Protocol or next header.
    next: u8,
    /// Where in the frame what follows the fixed header of IPv6, or the whole header of IPv4,
    /// begins.
    at: usize,
    /// Where in the frame the packet ends by its own length.
    end: usize,
    /// IPv4 total length, or IPv6 payload length + 40.
    bytes: u32,
    /// IPv4 identification; 0 for IPv6.
    identification: u16,
    /// IPv4 fragment offset in units of 8 bytes; 0 for IPv6.
    fragment: u16,
}

/// One packet, walked: what every table is made from.
///
/// Fields that the packet's class doesn't have are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// The source address.
    pub source: Address,
    /// The destination address.
    pub destination: Address,
    /// IPv4 total length, or IPv6 payload length + 40.
    pub bytes: u32,
    /// TCP or UDP source port.
    pub source_port: u16,
    /// TCP or UDP destination port.
    pub destination_port: u16,
    /// Which IP it is.
    pub version: Version,
    /// What it is.
    pub class: Class,
    /// Which tools' marks it carries.
    pub tools: Tools,
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub icmp_code: u8,
    /// IPv4 time to live, IPv6 hop limit.
    pub ttl: u8,
    /// TCP flags as in the header, FIN the lowest bit.
    pub tcp_flags: u8,
    /// The protocol number of what follows the headers that were stepped over.
    pub protocol: u8,
}

/// The headers contradict themselves or are cut short: [`Class::Malformed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Protocol numbers: <https://www.iana.org/assignments/protocol-numbers>.
mod protocol {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ICMP: u8 = 1;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// Extension headers that the walk steps over; a longer chain is [`Class::Other`].
const EXTENSIONS_AT_MOST: usize = 6;

/// Reads the link header and the fixed part of the outermost IP header.
#[inline(always)]
pub fn outer<F: Frame + ?Sized>(frame: &F, link: Link) -> Outer {
    let ip = match link.network(frame) {
        Network::Other => return Outer::NotIp,
        Network::Ip {
            version: Version::V4,
            at,
        } => Ip::v4(frame, at),
        Network::Ip {
            version: Version::V6,
            at,
        } => Ip::v6(frame, at),
    };
    match ip {
        Some(ip) => Outer::Ip(ip),
        None => Outer::Unreadable,
    }
}

impl Ip {
    /// RFC 791 section 3.1.
    #[inline(always)]
    fn v4<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let header: [u32; 5] = words(frame.read::<20>(at)?);
        if header[0] >> 28 != 4 {
            return None;
        }
        let header_length = (header[0] >> 24 & 0x0f) as usize * 4;
        let total_length = header[0] & 0xffff;
        Some(Self {
            source: Address([header[3], 0, 0, 0]),
            destination: Address([header[4], 0, 0, 0]),
            version: Version::V4,
            network: at,
            ttl: (header[2] >> 24) as u8,
            next: (header[2] >> 16) as u8,
            at: at + header_length,
            end: at + total_length as usize,
            bytes: total_length,
            identification: (header[1] >> 16) as u16,
            fragment: header[1] as u16 & 0x1fff,
        })
    }

    /// RFC 8200 section 3.
    #[inline(always)]
    fn v6<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let header: [u32; 10] = words(frame.read::<40>(at)?);
        if header[0] >> 28 != 6 {
            return None;
        }
        let payload_length = header[1] >> 16;
        Some(Self {
            source: Address([header[2], header[3], header[4], header[5]]),
            destination: Address([header[6], header[7], header[8], header[9]]),
            version: Version::V6,
            network: at,
            ttl: header[1] as u8,
            next: (header[1] >> 8) as u8,
            at: at + 40,
            end: at + 40 + payload_length as usize,
            bytes: payload_length + 40,
            identification: 0,
            fragment: 0,
        })
    }

    /// The same header, of which the compiler knows where it is and what it leads to, if that is as in most
    /// packets: Ethernet without a tag, IPv4 without options, and nothing to step over.
    #[inline(always)]
    pub fn plain(&self) -> Option<Self> {
        const NETWORK: usize = 14;
        const AT: usize = NETWORK + 20;
        let is_plain = self.version == Version::V4
            && self.network == NETWORK
            && self.at == AT
            && self.fragment == 0
            && self.next != protocol::AUTHENTICATION;
        is_plain.then_some(Self {
            network: NETWORK,
            at: AT,
            version: Version::V4,
            fragment: 0,
            ..*self
        })
    }

    /// Walks the rest of the packet: options, extension headers, transport.
    ///
    /// `frame` is the one that this header was read from. What must be there must be there both
    /// by the packet's own length and in the frame; payloads need not be.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the IPv4 header is shorter than 20 bytes or longer than the total length,
    /// the TCP data offset is below 5, or the IPv4 header, an extension header or the fixed
    /// transport header (TCP 20, UDP 8, ICMP 8 bytes) is cut short.
    #[inline(always)]
    pub fn packet<F: Frame + ?Sized>(&self, frame: &F) -> Result<Packet, Malformed> {
        let mut packet = Packet::MALFORMED;
        self.walk(frame, &mut packet)?;
        Ok(packet)
    }

    /// As [`packet`](Self::packet), into memory of the caller's, which holds anything after an error.
    /// Returns where in the frame the transport header begins, or what the walk ended at.
    ///
    /// # Errors
    ///
    /// As [`packet`](Self::packet).
    #[inline(always)]
    pub fn walk<F: Frame + ?Sized>(
        &self,
        frame: &F,
        packet: &mut Packet,
    ) -> Result<usize, Malformed> {
        if self.version == Version::V4 {
            let options_at = self.network + 20;
            let has_options = self.at > options_at;
            if self.at < options_at
                || self.end < self.at
                || (has_options && frame.read::<1>(self.at - 1).is_none())
            {
                return Err(Malformed);
            }
        }
        *packet = Packet {
            source: self.source,
            destination: self.destination,
            bytes: self.bytes,
            version: self.version,
            class: Class::Other,
            ttl: self.ttl,
            ..Packet::MALFORMED
        };
        if self.fragment != 0 {
            packet.class = Class::Fragment;
            packet.protocol = self.next;
            return Ok(self.at);
        }
        let mut next = self.next;
        let mut at = self.at;
        for step in 0..=EXTENSIONS_AT_MOST {
            let unit = match (self.version, next) {
                (_, protocol::AUTHENTICATION) => 4,
                (
                    Version::V6,
                    protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::FRAGMENT
                    | protocol::DESTINATION_OPTIONS,
                ) => 8,
                _ => {
                    packet.protocol = next;
                    self.transport(frame, next, at, packet)?;
                    return Ok(at);
                }
            };
            if step == EXTENSIONS_AT_MOST {
                break;
            }
            let header: [u8; 8] = self.read(frame, at)?;
            let offset = u16::from_be_bytes([header[2], header[3]]) >> 3;
            let length = match next {
                // RFC 8200 section 4.5: always 8 bytes, the length field is reserved.
                protocol::FRAGMENT if offset != 0 => {
                    packet.class = Class::Fragment;
                    packet.protocol = header[0];
                    return Ok(at + 8);
                }
                protocol::FRAGMENT => 8,
                // RFC 4302 section 2.2: in 4-byte words, less 2.
                protocol::AUTHENTICATION => (usize::from(header[1]) + 2) * unit,
                // RFC 8200 section 4.3: in 8-byte units, the first not counted.
                _ => (usize::from(header[1]) + 1) * unit,
            };
            next = header[0];
            at = frame.forget(at + length);
            self.read::<F, 1>(frame, at - 1)?;
        }
        packet.protocol = next;
        Ok(at)
    }

    #[inline(always)]
    fn transport<F: Frame + ?Sized>(
        &self,
        frame: &F,
        protocol: u8,
        at: usize,
        packet: &mut Packet,
    ) -> Result<(), Malformed> {
        match (self.version, protocol) {
            (_, protocol::TCP) => self.tcp(words(self.read::<F, 20>(frame, at)?), packet)?,
            (_, protocol::UDP) => {
                let [ports, _] = words(self.read::<F, 8>(frame, at)?);
                packet.class = Class::Udp;
                packet.source_port = (ports >> 16) as u16;
                packet.destination_port = ports as u16;
            }
            (Version::V4, protocol::ICMP) => {
                let [kind, code, ..] = self.read::<F, 8>(frame, at)?;
                packet.class = Class::icmp(kind);
                (packet.icmp_type, packet.icmp_code) = (kind, code);
            }
            (Version::V6, protocol::ICMPV6) => {
                let [kind, code, ..] = self.read::<F, 8>(frame, at)?;
                packet.class = Class::icmpv6(kind);
                (packet.icmp_type, packet.icmp_code) = (kind, code);
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9293 section 3.1.
    #[inline(always)]
    fn tcp(&self, header: [u32; 5], packet: &mut Packet) -> Result<(), Malformed> {
        let [ports, sequence, _, flags, _] = header;
        if flags >> 28 < 5 {
            return Err(Malformed);
        }
        let class = Class::tcp((flags >> 16) as u8);
        let source_port = (ports >> 16) as u16;
        let destination_port = ports as u16;
        if self.version == Version::V4 {
            let marks = Tools::of(Probe {
                identification: self.identification,
                destination: self.destination.v4(),
                source_port,
                destination_port,
                sequence,
            });
            packet.tools = marks.of_syn(class);
        }
        packet.class = class;
        packet.source_port = source_port;
        packet.destination_port = destination_port;
        packet.tcp_flags = (flags >> 16) as u8;
        Ok(())
    }

    /// `N` bytes of the packet, which must lie within its own length and within the frame.
    #[inline(always)]
    fn read<F: Frame + ?Sized, const N: usize>(
        &self,
        frame: &F,
        at: usize,
    ) -> Result<[u8; N], Malformed> {
        if at + N > self.end {
            return Err(Malformed);
        }
        frame.read(at).ok_or(Malformed)
    }
}

impl Packet {
    /// The record of a malformed packet: no address, no bytes, in the ledger and its class only.
    pub const MALFORMED: Self = Self {
        source: Address([0; 4]),
        destination: Address([0; 4]),
        bytes: 0,
        source_port: 0,
        destination_port: 0,
        version: Version::V4,
        class: Class::Malformed,
        tools: Tools::NONE,
        icmp_type: 0,
        icmp_code: 0,
        ttl: 0,
        tcp_flags: 0,
        protocol: 0,
    };
}
