use crate::{
    class::Class,
    frame::{Frame, be16, be32},
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
    /// The source address; IPv4 in the first four bytes, the others zero.
    pub source: [u8; 16],
    /// The destination address; IPv4 in the first four bytes, the others zero.
    pub destination: [u8; 16],
    /// Which IP it is.
    pub version: Version,
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
    /// IPv4: the header's length contradicts itself or the total length.
    contradiction: bool,
}

/// One packet, walked: what every table is made from.
///
/// Addresses are as in [`Ip`]. Fields that the packet's class doesn't have are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// The source address.
    pub source: [u8; 16],
    /// The destination address.
    pub destination: [u8; 16],
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
        let header: [u8; 20] = frame.read(at)?;
        if header[0] >> 4 != 4 {
            return None;
        }
        let header_length = usize::from(header[0] & 0x0f) * 4;
        let total_length = be16(&header, 2);
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source[..4].copy_from_slice(&header[12..16]);
        destination[..4].copy_from_slice(&header[16..20]);
        Some(Self {
            source,
            destination,
            version: Version::V4,
            next: header[9],
            at: at + header_length,
            end: at + usize::from(total_length),
            bytes: u32::from(total_length),
            identification: be16(&header, 4),
            fragment: be16(&header, 6) & 0x1fff,
            contradiction: header_length < 20 || usize::from(total_length) < header_length,
        })
    }

    /// RFC 8200 section 3.
    #[inline(always)]
    fn v6<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let header: [u8; 40] = frame.read(at)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let payload_length = be16(&header, 4);
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source.copy_from_slice(&header[8..24]);
        destination.copy_from_slice(&header[24..40]);
        Some(Self {
            source,
            destination,
            version: Version::V6,
            next: header[6],
            at: at + 40,
            end: at + 40 + usize::from(payload_length),
            bytes: u32::from(payload_length) + 40,
            identification: 0,
            fragment: 0,
            contradiction: false,
        })
    }

    /// The destination as a number, if this is IPv4.
    #[inline(always)]
    pub fn destination_v4(&self) -> u32 {
        be32(&self.destination, 0)
    }

    /// The destination as a number, if this is IPv6.
    #[inline(always)]
    pub fn destination_v6(&self) -> u128 {
        u128::from_be_bytes(self.destination)
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
        if self.contradiction || frame.read::<1>(self.at - 1).is_none() {
            return Err(Malformed);
        }
        if self.fragment != 0 {
            return Ok(self.of(Class::Fragment));
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
                _ => return self.transport(frame, next, at),
            };
            if step == EXTENSIONS_AT_MOST {
                break;
            }
            let header: [u8; 8] = self.read(frame, at)?;
            let length = match next {
                // RFC 8200 section 4.5: always 8 bytes, the length field is reserved.
                protocol::FRAGMENT if be16(&header, 2) >> 3 != 0 => {
                    return Ok(self.of(Class::Fragment));
                }
                protocol::FRAGMENT => 8,
                // RFC 4302 section 2.2: in 4-byte words, less 2.
                protocol::AUTHENTICATION => (usize::from(header[1]) + 2) * unit,
                // RFC 8200 section 4.3: in 8-byte units, the first not counted.
                _ => (usize::from(header[1]) + 1) * unit,
            };
            next = header[0];
            at += length;
            self.read::<F, 1>(frame, at - 1)?;
        }
        Ok(self.of(Class::Other))
    }

    #[inline(always)]
    fn transport<F: Frame + ?Sized>(
        &self,
        frame: &F,
        protocol: u8,
        at: usize,
    ) -> Result<Packet, Malformed> {
        match (self.version, protocol) {
            (_, protocol::TCP) => self.tcp(self.read(frame, at)?),
            (_, protocol::UDP) => {
                let header: [u8; 8] = self.read(frame, at)?;
                Ok(Packet {
                    source_port: be16(&header, 0),
                    destination_port: be16(&header, 2),
                    ..self.of(Class::Udp)
                })
            }
            (Version::V4, protocol::ICMP) => {
                let header: [u8; 8] = self.read(frame, at)?;
                Ok(self.icmp(Class::icmp(header[0]), header))
            }
            (Version::V6, protocol::ICMPV6) => {
                let header: [u8; 8] = self.read(frame, at)?;
                Ok(self.icmp(Class::icmpv6(header[0]), header))
            }
            _ => Ok(self.of(Class::Other)),
        }
    }

    /// RFC 9293 section 3.1.
    #[inline(always)]
    fn tcp(&self, header: [u8; 20]) -> Result<Packet, Malformed> {
        if header[12] >> 4 < 5 {
            return Err(Malformed);
        }
        let class = Class::tcp(header[13]);
        let source_port = be16(&header, 0);
        let destination_port = be16(&header, 2);
        let tools = match (class, self.version) {
            (Class::TcpSyn, Version::V4) => Tools::of(Probe {
                identification: self.identification,
                destination: self.destination_v4(),
                source_port,
                destination_port,
                sequence: be32(&header, 4),
            }),
            _ => Tools::NONE,
        };
        Ok(Packet {
            source_port,
            destination_port,
            tools,
            ..self.of(class)
        })
    }

    #[inline(always)]
    fn icmp(&self, class: Class, header: [u8; 8]) -> Packet {
        Packet {
            icmp_type: header[0],
            icmp_code: header[1],
            ..self.of(class)
        }
    }

    #[inline(always)]
    fn of(&self, class: Class) -> Packet {
        Packet {
            source: self.source,
            destination: self.destination,
            bytes: self.bytes,
            source_port: 0,
            destination_port: 0,
            version: self.version,
            class,
            tools: Tools::NONE,
            icmp_type: 0,
            icmp_code: 0,
        }
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
        source: [0; 16],
        destination: [0; 16],
        bytes: 0,
        source_port: 0,
        destination_port: 0,
        version: Version::V4,
        class: Class::Malformed,
        tools: Tools::NONE,
        icmp_type: 0,
        icmp_code: 0,
    };

    /// The source as a number, if this is IPv4.
    #[inline(always)]
    pub fn source_v4(&self) -> u32 {
        be32(&self.source, 0)
    }

    /// The source as a number, if this is IPv6.
    #[inline(always)]
    pub fn source_v6(&self) -> u128 {
        u128::from_be_bytes(self.source)
    }
}
