//! Frames that nobody thought of: whole ones by etherparse, and what happens to them on their way.

use darknet_ebpf::Link;
use darknet_tests::naive::LINKS;
use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, IpAuthHeader, IpFragOffset, IpNumber,
    Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, SingleVlanHeader,
    TcpHeader, UdpHeader, VlanId,
};
use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// A packet to be built: every field is what the headers will say, `mark` goes before the others.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) link: Link,
    pub(crate) little_endian: bool,
    pub(crate) tags: Vec<u16>,
    pub(crate) v6: bool,
    pub(crate) option_words: usize,
    pub(crate) identification: u16,
    /// IPv4 only; IPv6 has fragment headers.
    pub(crate) fragment: (u16, bool, bool),
    pub(crate) addresses: [[u8; 16]; 2],
    pub(crate) chain: Vec<Extension>,
    pub(crate) transport: Transport,
    pub(crate) mark: Mark,
    pub(crate) payload: Vec<u8>,
    pub(crate) padding: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Extension {
    Raw { number: u8, units: usize },
    Fragment { offset: u16, more: bool },
    Authentication { words: usize },
}

#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Tcp {
        ports: (u16, u16),
        sequence: u32,
        flags: u8,
        option_words: usize,
    },
    Udp {
        ports: (u16, u16),
    },
    Icmp {
        kind: u8,
        code: u8,
    },
    Icmpv6 {
        kind: u8,
        code: u8,
    },
    Nothing {
        protocol: u8,
    },
}

/// The tool whose mark TCP is bent to show; it is then a SYN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    None,
    Mirai,
    Zmap,
    Masscan,
}

/// What happens to a packet on its way.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Truncate(Index),
    Flip(Index, u8),
    Overwrite(Index, u8),
    /// The length field of the IP header, relative to the truth.
    IpLength(i16),
    /// The first byte of the IP header.
    VersionAndHeaderLength(u8),
    /// A byte of the first 48 behind the fixed IP header: lengths and offsets lie here.
    Behind(usize, u8),
}

fn extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        4 => (select(vec![0u8, 43, 60]), 0usize..4)
            .prop_map(|(number, units)| Extension::Raw { number, units }),
        1 => (prop_oneof![2 => Just(0u16), 1 => 0u16..0x2000], any::<bool>())
            .prop_map(|(offset, more)| Extension::Fragment { offset, more }),
        1 => (0usize..6).prop_map(|words| Extension::Authentication { words }),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![1 => select(vec![0u16, 23, 1023, 1024, 1025, 54321, 0xffff]), 1 => any::<u16>()]
}

fn transport() -> impl Strategy<Value = Transport> {
    let flags = prop_oneof![
        2 => select(vec![0x02u8, 0x12, 0x04, 0x14, 0x10, 0x00, 0x29, 0xc2]),
        1 => any::<u8>(),
    ];
    let kind = || prop_oneof![2 => select(vec![0u8, 3, 8, 11, 128, 129]), 1 => any::<u8>()];
    prop_oneof![
        4 => ((port(), port()), any::<u32>(), flags, 0usize..=10).prop_map(
            |(ports, sequence, flags, option_words)| Transport::Tcp {
                ports,
                sequence,
                flags,
                option_words,
            }
        ),
        2 => (port(), port()).prop_map(|ports| Transport::Udp { ports }),
        1 => (kind(), any::<u8>()).prop_map(|(kind, code)| Transport::Icmp { kind, code }),
        1 => (kind(), any::<u8>()).prop_map(|(kind, code)| Transport::Icmpv6 { kind, code }),
        1 => any::<u8>().prop_map(|protocol| Transport::Nothing { protocol }),
    ]
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let link = (
        prop_oneof![1 => Just(Link::Ethernet), 2 => select(LINKS.to_vec())],
        any::<bool>(),
        prop::collection::vec(select(vec![0x8100u16, 0x88a8, 0x9100]), 0..=3),
    );
    let ip = (
        any::<bool>(),
        prop_oneof![2 => Just(0usize), 1 => 0usize..=10],
        prop_oneof![1 => Just(54321u16), 3 => any::<u16>()],
        (
            prop_oneof![3 => Just(0u16), 1 => 0u16..0x2000],
            any::<bool>(),
            any::<bool>(),
        ),
        any::<[[u8; 16]; 2]>(),
        prop_oneof![
            1 => Just(Vec::new()),
            2 => prop::collection::vec(extension(), 0..=8),
        ],
    );
    let rest = (
        transport(),
        select(vec![Mark::None, Mark::Mirai, Mark::Zmap, Mark::Masscan]),
        prop::collection::vec(any::<u8>(), 0..24),
        prop::collection::vec(any::<u8>(), 0..48),
    );
    (link, ip, rest).prop_map(|(link, ip, rest)| {
        let (link, little_endian, tags) = link;
        let (v6, option_words, identification, fragment, addresses, chain) = ip;
        let (transport, mark, payload, padding) = rest;
        Shape {
            link,
            little_endian,
            tags,
            v6,
            option_words,
            identification,
            fragment,
            addresses,
            chain,
            transport,
            mark,
            payload,
            padding,
        }
    })
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => any::<Index>().prop_map(Damage::Truncate),
        2 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        3 => prop_oneof![-100i16..20, any::<i16>()].prop_map(Damage::IpLength),
        1 => (select(vec![4u8, 5, 6]), 0u8..16)
            .prop_map(|(version, low)| Damage::VersionAndHeaderLength(version << 4 | low)),
        3 => (0usize..48, prop_oneof![0u8..8, any::<u8>()])
            .prop_map(|(at, byte)| Damage::Behind(at, byte)),
    ]
}

/// A frame, and where in it the IP header begins and the packet ends by its own length.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ip: usize,
    pub(crate) end: usize,
}

impl Shape {
    pub(crate) fn build(&self) -> Built {
        let network = self.network();
        let mut bytes = self.link_header();
        let ip = bytes.len();
        let end = ip + network.len();
        bytes.extend(network);
        bytes.extend(&self.padding);
        Built { bytes, ip, end }
    }

    fn link_header(&self) -> Vec<u8> {
        let ethertype = if self.v6 { 0x86dd } else { 0x0800 };
        let outermost = EtherType(*self.tags.first().unwrap_or(&ethertype));
        let inner = self.tags.iter().skip(1).chain([&ethertype]);
        let tags = inner.take(self.tags.len()).flat_map(|&ethertype| {
            let tag = SingleVlanHeader {
                vlan_id: VlanId::try_new(100).expect("12 bits"),
                ether_type: EtherType(ethertype),
                ..SingleVlanHeader::default()
            };
            tag.to_bytes()
        });
        let family = if self.v6 { 30u32 } else { 2 };
        let mut header = match self.link {
            Link::Raw | Link::Ipv4 | Link::Ipv6 => return Vec::new(),
            Link::Null if self.little_endian => return family.to_le_bytes().to_vec(),
            Link::Null | Link::Loop => return family.to_be_bytes().to_vec(),
            Link::Ethernet => {
                let ethernet = Ethernet2Header {
                    ether_type: outermost,
                    ..Ethernet2Header::default()
                };
                ethernet.to_bytes().to_vec()
            }
            Link::LinuxSll => [&[0; 14][..], &outermost.0.to_be_bytes()].concat(),
            Link::LinuxSll2 => [&outermost.0.to_be_bytes()[..], &[0; 18]].concat(),
        };
        header.extend(tags);
        header
    }

    fn network(&self) -> Vec<u8> {
        let (last, mut bytes) = self.transport_header();
        bytes.extend(&self.payload);
        let mut next = last;
        for extension in self.chain.iter().rev() {
            let (number, mut header) = extension.header(next);
            header.extend(bytes);
            (next, bytes) = (number, header);
        }
        let [source, destination] = self.addresses;
        let header = if self.v6 {
            let header = Ipv6Header {
                payload_length: u16::try_from(bytes.len()).expect("a short packet"),
                next_header: next,
                source,
                destination,
                ..Ipv6Header::default()
            };
            header.to_bytes().to_vec()
        } else {
            let (offset, more_fragments, dont_fragment) = self.fragment;
            let options = vec![1; self.option_words * 4];
            let mut header = Ipv4Header {
                identification: self.identification(),
                fragment_offset: IpFragOffset::try_new(offset).expect("13 bits"),
                more_fragments,
                dont_fragment,
                protocol: next,
                options: Ipv4Options::try_from(&options[..]).expect("at most 40 bytes"),
                source: *source.first_chunk().expect("16 bytes"),
                destination: *destination.first_chunk().expect("16 bytes"),
                ..Ipv4Header::default()
            };
            header.set_payload_len(bytes.len()).expect("a short packet");
            header.to_bytes().to_vec()
        };
        [header, bytes].concat()
    }

    fn identification(&self) -> u16 {
        match (self.mark, &self.transport) {
            (Mark::Zmap, _) => 54321,
            (
                Mark::Masscan,
                &Transport::Tcp {
                    ports: (_, port),
                    sequence,
                    ..
                },
            ) => (self.destination() ^ u32::from(port) ^ sequence) as u16,
            _ => self.identification,
        }
    }

    fn destination(&self) -> u32 {
        u32::from_be_bytes(*self.addresses[1].first_chunk().expect("16 bytes"))
    }

    fn transport_header(&self) -> (IpNumber, Vec<u8>) {
        match self.transport {
            Transport::Tcp {
                ports: (source_port, destination_port),
                sequence,
                flags,
                option_words,
            } => {
                let flags = if self.mark == Mark::None { flags } else { 0x02 };
                let on = |bit: u8| flags & bit != 0;
                let mut header = TcpHeader {
                    source_port,
                    destination_port,
                    sequence_number: if self.mark == Mark::Mirai {
                        self.destination()
                    } else {
                        sequence
                    },
                    fin: on(0x01),
                    syn: on(0x02),
                    rst: on(0x04),
                    psh: on(0x08),
                    ack: on(0x10),
                    urg: on(0x20),
                    ece: on(0x40),
                    cwr: on(0x80),
                    ..TcpHeader::default()
                };
                header
                    .set_options_raw(&vec![1; option_words * 4])
                    .expect("at most 40 bytes");
                (IpNumber::TCP, header.to_bytes().to_vec())
            }
            Transport::Udp {
                ports: (source_port, destination_port),
            } => {
                let header = UdpHeader {
                    source_port,
                    destination_port,
                    ..UdpHeader::default()
                };
                (IpNumber::UDP, header.to_bytes().to_vec())
            }
            Transport::Icmp { kind, code } => (IpNumber::ICMP, message(kind, code)),
            Transport::Icmpv6 { kind, code } => (IpNumber::IPV6_ICMP, message(kind, code)),
            Transport::Nothing { protocol } => (IpNumber(protocol), Vec::new()),
        }
    }
}

/// The first eight bytes of ICMP and of ICMPv6, which look alike.
fn message(type_u8: u8, code_u8: u8) -> Vec<u8> {
    let unknown = Icmpv4Type::Unknown {
        type_u8,
        code_u8,
        bytes5to8: [0; 4],
    };
    Icmpv4Header::new(unknown).to_bytes().to_vec()
}

impl Extension {
    fn header(&self, next: IpNumber) -> (IpNumber, Vec<u8>) {
        match *self {
            Self::Raw { number, units } => {
                let header = Ipv6RawExtHeader::new_raw(next, &vec![0; 6 + 8 * units])
                    .expect("a length that fits");
                (IpNumber(number), header.to_bytes().to_vec())
            }
            Self::Fragment { offset, more } => {
                let offset = IpFragOffset::try_new(offset).expect("13 bits");
                let header = Ipv6FragmentHeader::new(next, offset, more, 1);
                (
                    IpNumber::IPV6_FRAGMENTATION_HEADER,
                    header.to_bytes().to_vec(),
                )
            }
            Self::Authentication { words } => {
                let header =
                    IpAuthHeader::new(next, 1, 2, &vec![0; 4 * words]).expect("a length that fits");
                (IpNumber::AUTHENTICATION_HEADER, header.to_bytes().to_vec())
            }
        }
    }
}

impl Damage {
    pub(crate) fn apply(&self, frame: &mut Built, v6: bool) {
        let Built { bytes, ip, end } = frame;
        let (length_at, fixed, before) = if v6 { (4, 40, 40) } else { (2, 20, 0) };
        match *self {
            Self::Truncate(_) | Self::Flip(..) | Self::Overwrite(..) if bytes.is_empty() => {}
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Self::Overwrite(at, byte) => *at.get_mut(bytes) = byte,
            Self::IpLength(change) => {
                let truth = u16::try_from(*end - *ip - before).expect("a short packet");
                let lie = truth.wrapping_add_signed(change).to_be_bytes();
                overwrite(bytes, *ip + length_at, &lie);
            }
            Self::VersionAndHeaderLength(byte) => overwrite(bytes, *ip, &[byte]),
            Self::Behind(at, byte) => overwrite(bytes, *ip + fixed + at, &[byte]),
        }
    }
}

/// Replaces what is at `at`, as far as it is there.
fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, &new) in bytes.iter_mut().skip(at).zip(new) {
        *old = new;
    }
}
