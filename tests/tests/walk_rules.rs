//! Every rule of the packet definitions and every boundary, as named packets.
//!
//! Each packet also goes to the naive reference, so that both are held to what is written here.

use std::net::IpAddr;

use darknet_ebpf::{
    Cell, Class, IcmpKey, Link, Malformed, Outer, Packet, PortTable, Tool, Version, outer,
};
use darknet_tests::naive::assert_agreement;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    Unreadable,
    Malformed,
    Is(Class),
}
use Fate::{Is, Passes, Unreadable};

/// [`Malformed`] is the name of the error.
const MALFORMED: Fate = Fate::Malformed;
const SYN: Fate = Is(Class::TcpSyn);
const UDP: Fate = Is(Class::Udp);
const ICMP: Fate = Is(Class::Icmp);
const FRAGMENT: Fate = Is(Class::Fragment);
const OTHER: Fate = Is(Class::Other);

type Bytes = Vec<u8>;

// Builders: each puts its header before what it is given. Lengths come out true; `with` bends them.

fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat()
}

/// `bytes` with what is at `at` replaced.
fn with(mut bytes: Bytes, at: usize, new: &[u8]) -> Bytes {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// `bytes` less the last `count`.
fn cut(mut bytes: Bytes, count: usize) -> Bytes {
    bytes.truncate(bytes.len() - count);
    bytes
}

/// `bytes` and 60 more, which look like a SYN and must not matter.
fn padded(bytes: Bytes) -> Bytes {
    join(&[&bytes, &tcp(0x02), &[0xff; 40]])
}

const SOURCE: [u8; 4] = [198, 51, 100, 7];
const DESTINATION: [u8; 4] = [203, 0, 113, 9];
const SOURCE_V6: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x11,
];
const DESTINATION_V6: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x22,
];

/// Where things lie in an IPv4 header.
mod v4 {
    pub(super) const LENGTH: usize = 2;
    pub(super) const IDENTIFICATION: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
}

/// Where the payload length lies in an IPv6 header.
const V6_LENGTH: usize = 4;

fn ipv4_with_options(words: u8, protocol: u8, rest: &[u8]) -> Bytes {
    let ihl = 5 + words;
    let length = u16::try_from(usize::from(ihl) * 4 + rest.len()).expect("a short packet");
    let [high, low] = length.to_be_bytes();
    let lengths = [0x40 | ihl, 0, high, low];
    let others = [0x12, 0x34, 0, 0, 64, protocol, 0xbe, 0xef];
    let options = vec![1; usize::from(words) * 4];
    join(&[&lengths, &others, &SOURCE, &DESTINATION, &options, rest])
}

fn ipv4(protocol: u8, rest: &[u8]) -> Bytes {
    ipv4_with_options(0, protocol, rest)
}

fn ipv6(next: u8, rest: &[u8]) -> Bytes {
    let length = u16::try_from(rest.len()).expect("a short packet");
    let [high, low] = length.to_be_bytes();
    let fixed = [0x60, 0, 0, 0, high, low, next, 64];
    join(&[&fixed, &SOURCE_V6, &DESTINATION_V6, rest])
}

/// Hop-by-hop, routing or destination options of `8 + 8 * units` bytes.
fn extension(next: u8, units: u8, rest: &[u8]) -> Bytes {
    let body = vec![0; 6 + 8 * usize::from(units)];
    join(&[&[next, units], &body, rest])
}

fn fragment(next: u8, offset: u16, more: bool, rest: &[u8]) -> Bytes {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    // The second byte is reserved: it is no length.
    join(&[&[next, 0xff, high, low, 0, 0, 0, 1], rest])
}

/// An authentication header of `8 + 4 * length` bytes.
fn authentication(next: u8, length: u8, rest: &[u8]) -> Bytes {
    let body = vec![0; 6 + 4 * usize::from(length)];
    join(&[&[next, length], &body, rest])
}

/// From port 40000 to port 23, sequence number 0x01020304.
fn tcp(flags: u8) -> Bytes {
    let [from, to] = [40000u16, 23].map(u16::to_be_bytes);
    let rest = [1, 2, 3, 4, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
    join(&[&from, &to, &rest])
}

/// From port 50000 to port 53.
fn udp() -> Bytes {
    let [from, to] = [50000u16, 53].map(u16::to_be_bytes);
    join(&[&from, &to, &[0, 8, 0, 0]])
}

fn icmp(kind: u8, code: u8) -> Bytes {
    vec![kind, code, 0, 0, 0, 1, 0, 1]
}

fn syn_v4() -> Bytes {
    ipv4(6, &tcp(0x02))
}

fn syn_v6() -> Bytes {
    ipv6(6, &tcp(0x02))
}

fn ethernet(ethertype: u16, rest: &[u8]) -> Bytes {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    join(&[&addresses, &ethertype.to_be_bytes(), rest])
}

/// VLAN tags of the given EtherTypes, then `ethertype`.
fn tagged(tags: &[u16], ethertype: u16, rest: &[u8]) -> Bytes {
    let mut types = tags.to_vec();
    types.push(ethertype);
    let mut behind = Vec::new();
    for inner in &types[1..] {
        behind.extend([0x20, 0x64]);
        behind.extend(inner.to_be_bytes());
    }
    ethernet(types[0], &join(&[&behind, rest]))
}

fn sll(protocol: u16, rest: &[u8]) -> Bytes {
    let header = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    join(&[&header, &protocol.to_be_bytes(), rest])
}

fn sll2(protocol: u16, rest: &[u8]) -> Bytes {
    let header = [0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    join(&[&protocol.to_be_bytes(), &header, rest])
}

fn loopback(family: [u8; 4], rest: &[u8]) -> Bytes {
    join(&[&family, rest])
}

fn fate(bytes: &[u8], link: Link) -> Fate {
    match outer(bytes, link) {
        Outer::NotIp => Passes,
        Outer::Unreadable => Unreadable,
        Outer::Ip(ip) => match ip.packet(bytes) {
            Ok(packet) => Is(packet.class),
            Err(Malformed) => MALFORMED,
        },
    }
}

/// One line a case: a name (which may take in variables), the link, the frame, what becomes of it.
macro_rules! frames {
    ($($name:literal, $link:expr, $bytes:expr => $fate:expr;)*) => {
        $(check(&format!($name), $link, &$bytes, $fate);)*
    };
}

/// The same for packets that begin with an IP header.
macro_rules! packets {
    ($($name:literal, $bytes:expr => $fate:expr;)*) => {
        $(check_ip(&format!($name), &$bytes, $fate);)*
    };
}

/// Well-formed packets, and the `bytes` that they count.
macro_rules! sizes {
    ($($name:literal, $bytes:expr => $size:expr;)*) => {
        $(assert_eq!(packet(&$bytes).bytes, $size, $name);)*
    };
}

/// Well-formed packets, and the marks that they carry.
macro_rules! marks {
    ($($name:literal, $bytes:expr => $marks:expr;)*) => {
        $(assert_eq!(marks(&$bytes), $marks, $name);)*
    };
}

fn check(name: &str, link: Link, bytes: &[u8], expected: Fate) {
    assert_eq!(fate(bytes, link), expected, "{name} ({link:?})");
    assert_agreement(bytes, link);
}

/// Once by the version nibble, and once declared to be what the nibble says.
fn check_ip(name: &str, bytes: &[u8], expected: Fate) {
    let ethertype = if bytes[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    check(name, Link::Raw, bytes, expected);
    check(name, Link::Ethernet, &ethernet(ethertype, bytes), expected);
}

/// The record of a raw IP packet that is well-formed.
fn packet(bytes: &[u8]) -> Packet {
    assert_agreement(bytes, Link::Raw);
    let Outer::Ip(ip) = outer(bytes, Link::Raw) else {
        panic!("not IP: {bytes:02x?}");
    };
    ip.packet(bytes).expect("a well-formed packet")
}

fn marks(bytes: &[u8]) -> Vec<Tool> {
    let tools = packet(bytes).tools;
    Tool::ALL.into_iter().filter(|&t| tools.has(t)).collect()
}

#[test]
fn ethernet_leads_to_ip_by_its_ethertype() {
    let link = Link::Ethernet;
    frames! {
        "IPv4", link, ethernet(0x0800, &syn_v4()) => SYN;
        "IPv6", link, ethernet(0x86dd, &syn_v6()) => SYN;
        "ARP", link, ethernet(0x0806, &syn_v4()) => Passes;
        "MPLS", link, ethernet(0x8847, &syn_v4()) => Passes;
        "PPPoE", link, ethernet(0x8864, &syn_v4()) => Passes;
        "LLC", link, ethernet(0x0040, &syn_v4()) => Passes;
        "IPv4's other byte order", link, ethernet(0x0008, &syn_v4()) => Passes;
        "no frame at all", link, [] => Passes;
        "header cut by one byte", link, cut(ethernet(0x0800, &[]), 1) => Passes;
        "IPv4 header, nothing behind", link, ethernet(0x0800, &[]) => Unreadable;
        "IPv6 header, nothing behind", link, ethernet(0x86dd, &[]) => Unreadable;
        "IPv6 declared as IPv4", link, ethernet(0x0800, &syn_v6()) => Unreadable;
        "IPv4 declared as IPv6", link, ethernet(0x86dd, &syn_v4()) => Unreadable;
        "long IPv4 declared as IPv6", link, ethernet(0x86dd, &padded(syn_v4())) => Unreadable;
        "version 5", link, ethernet(0x0800, &with(syn_v4(), 0, &[0x55])) => Unreadable;
        "version 0", link, ethernet(0x86dd, &with(syn_v6(), 0, &[0x00])) => Unreadable;
    }
}

#[test]
fn up_to_two_vlan_tags_are_stepped_over() {
    const TYPES: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    let link = Link::Ethernet;
    for outermost in TYPES {
        frames! {
            "{outermost:#06x}, IPv4", link, tagged(&[outermost], 0x0800, &syn_v4()) => SYN;
            "{outermost:#06x}, IPv6", link, tagged(&[outermost], 0x86dd, &syn_v6()) => SYN;
            "{outermost:#06x}, ARP", link, tagged(&[outermost], 0x0806, &syn_v4()) => Passes;
            "{outermost:#06x}, cut by one byte", link, cut(tagged(&[outermost], 0x0800, &[]), 1) => Passes;
            "{outermost:#06x}, nothing behind", link, tagged(&[outermost], 0x0800, &[]) => Unreadable;
        }
        for inner in TYPES {
            frames! {
                "{outermost:#06x} and {inner:#06x}, IPv4", link, tagged(&[outermost, inner], 0x0800, &syn_v4()) => SYN;
                "{outermost:#06x} and {inner:#06x}, IPv6", link, tagged(&[outermost, inner], 0x86dd, &syn_v6()) => SYN;
                "{outermost:#06x} and {inner:#06x}, the second cut by one byte",
                    link, cut(tagged(&[outermost, inner], 0x0800, &[]), 1) => Passes;
                "{outermost:#06x} and {inner:#06x}, nothing behind",
                    link, tagged(&[outermost, inner], 0x86dd, &[]) => Unreadable;
            }
            for third in TYPES {
                let tags = [outermost, inner, third];
                frames! {
                    "{tags:x?}, IPv4", link, tagged(&tags, 0x0800, &syn_v4()) => Passes;
                    "{tags:x?}, IPv6", link, tagged(&tags, 0x86dd, &syn_v6()) => Passes;
                }
            }
        }
    }
    for no_tag in [0x8101, 0x88a9, 0x9101, 0x9200, 0x0081] {
        let frame = tagged(&[no_tag], 0x0800, &syn_v4());
        frames! {
            "{no_tag:#06x} is no tag", link, frame => Passes;
        }
    }
}

#[test]
fn raw_ip_goes_by_the_version_nibble() {
    use Link::{Ipv4, Ipv6, Raw};
    for link in [Raw, Ipv4, Ipv6] {
        frames! {
            "empty", link, [] => Passes;
        }
        for nibble in (0..16).filter(|nibble| ![4, 6].contains(nibble)) {
            let bytes = with(padded(syn_v4()), 0, &[nibble << 4 | 5]);
            frames! {
                "version {nibble}", link, bytes => Passes;
            }
        }
    }
    frames! {
        "IPv4", Raw, syn_v4() => SYN;
        "IPv6", Raw, syn_v6() => SYN;
        "one byte of IPv4", Raw, [0x45] => Unreadable;
        "one byte of IPv6", Raw, [0x60] => Unreadable;
        "IPv4", Ipv4, syn_v4() => SYN;
        "IPv6 in IPv4", Ipv4, syn_v6() => Unreadable;
        "one byte", Ipv4, [0x45] => Unreadable;
        "IPv6", Ipv6, syn_v6() => SYN;
        "IPv4 in IPv6", Ipv6, padded(syn_v4()) => Unreadable;
        "one byte", Ipv6, [0x60] => Unreadable;
    }
}

#[test]
fn bsd_loopback_goes_by_the_address_family() {
    use Link::{Loop, Null};
    for family in 0..=255 {
        let (big, little) = ([0, 0, 0, family], [family, 0, 0, 0]);
        let [on_v4, on_v6] = match family {
            2 => [SYN, Unreadable],
            10 | 24 | 28 | 30 => [Unreadable, SYN],
            _ => [Passes, Passes],
        };
        let long_v4 = padded(syn_v4());
        frames! {
            "family {family}, big-endian, IPv4", Null, loopback(big, &long_v4) => on_v4;
            "family {family}, big-endian, IPv6", Null, loopback(big, &syn_v6()) => on_v6;
            "family {family}, little-endian, IPv4", Null, loopback(little, &long_v4) => on_v4;
            "family {family}, little-endian, IPv6", Null, loopback(little, &syn_v6()) => on_v6;
            "family {family}, network order, IPv4", Loop, loopback(big, &long_v4) => on_v4;
            "family {family}, network order, IPv6", Loop, loopback(big, &syn_v6()) => on_v6;
        }
        if family != 0 {
            frames! {
                "family {family}, the other order, IPv4", Loop, loopback(little, &long_v4) => Passes;
                "family {family}, the other order, IPv6", Loop, loopback(little, &syn_v6()) => Passes;
            }
        }
    }
    for link in [Null, Loop] {
        frames! {
            "cut family", link, [0, 0, 0] => Passes;
            "IPv4, nothing behind", link, [0, 0, 0, 2] => Unreadable;
            "IPv6, nothing behind", link, [0, 0, 0, 30] => Unreadable;
            "family 2 in the upper half", link, loopback([0, 2, 0, 0], &syn_v4()) => Passes;
            "family 258", link, loopback([0, 0, 1, 2], &syn_v4()) => Passes;
        }
    }
    frames! {
        "nothing behind", Null, [2, 0, 0, 0] => Unreadable;
    }
}

#[test]
fn linux_cooked_captures_go_by_their_protocol() {
    type Build = fn(u16, &[u8]) -> Bytes;
    for (link, build) in [(Link::LinuxSll, sll as Build), (Link::LinuxSll2, sll2)] {
        let tag = |inner: u16| join(&[&[0x20, 0x64], &inner.to_be_bytes()]);
        let one_tag = join(&[&tag(0x0800), &syn_v4()]);
        let two_tags = join(&[&tag(0x8100), &tag(0x86dd), &syn_v6()]);
        let three_tags = join(&[&tag(0x8100), &tag(0x8100), &tag(0x0800), &syn_v4()]);
        frames! {
            "IPv4", link, build(0x0800, &syn_v4()) => SYN;
            "IPv6", link, build(0x86dd, &syn_v6()) => SYN;
            "ARP", link, build(0x0806, &syn_v4()) => Passes;
            "one tag", link, build(0x8100, &one_tag) => SYN;
            "two tags", link, build(0x88a8, &two_tags) => SYN;
            "three tags", link, build(0x88a8, &three_tags) => Passes;
            "IPv6 declared as IPv4", link, build(0x0800, &syn_v6()) => Unreadable;
            "nothing behind", link, build(0x0800, &[]) => Unreadable;
            "header cut by one byte", link, cut(build(0x0800, &[]), 1) => Passes;
            "empty", link, [] => Passes;
        }
    }
    let two_bytes = vec![0x08, 0x00];
    frames! {
        "only the protocol", Link::LinuxSll2, two_bytes => Passes;
    }
}

#[test]
fn link_type_numbers_have_their_links() {
    for number in 0..=u16::MAX {
        let expected = match number {
            0 => Some(Link::Null),
            1 => Some(Link::Ethernet),
            12 | 14 | 101 => Some(Link::Raw),
            108 => Some(Link::Loop),
            113 => Some(Link::LinuxSll),
            228 => Some(Link::Ipv4),
            229 => Some(Link::Ipv6),
            276 => Some(Link::LinuxSll2),
            _ => None,
        };
        assert_eq!(Link::from_link_type(number), expected, "link type {number}");
    }
}

#[test]
fn a_destination_is_readable_with_the_whole_fixed_header() {
    let no_transport = ipv4(6, &[]);
    packets! {
        "IPv4, 19 bytes", cut(no_transport.clone(), 1) => Unreadable;
        "IPv4, 20 bytes", no_transport => MALFORMED;
        "IPv6, 39 bytes", cut(ipv6(6, &[]), 1) => Unreadable;
        "IPv6, 40 bytes", ipv6(6, &[]) => MALFORMED;
    }
    // Malformed, but its destination decides whether it is dark at all.
    let bytes = with(syn_v4(), v4::LENGTH, &[0, 0]);
    let Outer::Ip(ip) = outer(&bytes[..], Link::Raw) else {
        panic!("the fixed header is there");
    };
    assert_eq!(ip.source.ip(ip.version), IpAddr::from(SOURCE));
    assert_eq!(ip.destination.ip(ip.version), IpAddr::from(DESTINATION));
    assert_eq!(ip.version, Version::V4);
    assert_eq!(ip.packet(&bytes[..]), Err(Malformed));
}

#[test]
fn ipv4_header_lengths() {
    for ihl in 0..5 {
        let bytes = with(padded(syn_v4()), 0, &[0x40 | ihl]);
        packets! {
            "IHL {ihl}", bytes => MALFORMED;
        }
    }
    for words in 0..=10 {
        let name = format!("IHL {}", words + 5);
        let bytes = ipv4_with_options(words, 6, &tcp(0x02));
        let header = ipv4_with_options(words, 253, &[]);
        let length = u8::try_from(header.len()).expect("at most 60");
        let claims = |length: u8| with(padded(header.clone()), v4::LENGTH, &[0, length]);
        packets! {
            "{name}, TCP", bytes => SYN;
            "{name}, header alone", header.clone() => OTHER;
            "{name}, total length = header", claims(length) => OTHER;
            "{name}, total length = header - 1", claims(length - 1) => MALFORMED;
            "{name}, total length 0", claims(0) => MALFORMED;
        }
        if words > 0 {
            packets! {
                "{name}, options cut by one byte", cut(header.clone(), 1) => MALFORMED;
                "{name}, options cut away", header[..20] => MALFORMED;
            }
        }
    }
    packets! {
        "total length 20 with IHL 15",
            with(ipv4_with_options(10, 6, &tcp(2)), v4::LENGTH, &[0, 20]) => MALFORMED;
    }
}

#[test]
fn a_fixed_transport_header_must_be_whole_by_ip_length_and_by_capture() {
    for (name, in_v4, in_v6, header, is) in [
        ("TCP", 6, 6, tcp(0x02), SYN),
        ("UDP", 17, 17, udp(), UDP),
        // In ICMPv6, type 8 asks as well as any.
        ("ICMP", 1, 58, icmp(8, 0), ICMP),
    ] {
        let length = u8::try_from(header.len()).expect("at most 20");
        let [four, six] = [ipv4(in_v4, &header), ipv6(in_v6, &header)];
        let four_says = |l: u8| with(four.clone(), v4::LENGTH, &[0, 20 + l]);
        let six_says = |l: u8| with(six.clone(), V6_LENGTH, &[0, l]);
        let long = join(&[&header, &[0; 100]]);
        packets! {
            "{name}/IPv4, exactly", four.clone() => is;
            "{name}/IPv4, exactly, padded", padded(four.clone()) => is;
            "{name}/IPv4, length short by 1", four_says(length - 1) => MALFORMED;
            "{name}/IPv4, length short by 1, padded", padded(four_says(length - 1)) => MALFORMED;
            "{name}/IPv4, no transport by length", padded(four_says(0)) => MALFORMED;
            "{name}/IPv4, capture short by 1", cut(four.clone(), 1) => MALFORMED;
            "{name}/IPv4, payload cut", cut(ipv4(in_v4, &long), 100) => is;
            "{name}/IPv4, payload and one byte cut", cut(ipv4(in_v4, &long), 101) => MALFORMED;
            "{name}/IPv6, exactly", six.clone() => is;
            "{name}/IPv6, exactly, padded", padded(six.clone()) => is;
            "{name}/IPv6, length short by 1", six_says(length - 1) => MALFORMED;
            "{name}/IPv6, length short by 1, padded", padded(six_says(length - 1)) => MALFORMED;
            "{name}/IPv6, jumbogram's length 0", padded(six_says(0)) => MALFORMED;
            "{name}/IPv6, capture short by 1", cut(six.clone(), 1) => MALFORMED;
            "{name}/IPv6, payload cut", cut(ipv6(in_v6, &long), 100) => is;
            "{name}/IPv6, payload and one byte cut", cut(ipv6(in_v6, &long), 101) => MALFORMED;
        }
        for words in [1, 10] {
            let options = ipv4_with_options(words, in_v4, &header);
            let says = 20 + words * 4 + length - 1;
            packets! {
                "{name} behind options", options.clone() => is;
                "{name} behind options, cut by 1", cut(options.clone(), 1) => MALFORMED;
                "{name} behind options, length short by 1",
                    with(padded(options), v4::LENGTH, &[0, says]) => MALFORMED;
            }
        }
    }
}

#[test]
fn a_tcp_data_offset_below_five_is_malformed_and_one_beyond_the_packet_is_not() {
    for offset in 0..=15u8 {
        let expected = if offset < 5 { MALFORMED } else { SYN };
        // The low nibble is reserved bits and must not matter.
        for reserved in [0x00, 0x0f] {
            let segment = with(tcp(0x02), 12, &[offset << 4 | reserved]);
            let name = format!("data offset {offset}, reserved {reserved:#x}");
            packets! {
                "{name}, IPv4", ipv4(6, &segment) => expected;
                "{name}, IPv6", ipv6(6, &segment) => expected;
            }
        }
    }
    // Seen from real Mirai: 40 bytes of IP, data offset 24 bytes.
    let mirai = with(with(tcp(0x02), 12, &[0x60]), 4, &DESTINATION);
    assert_eq!(marks(&ipv4(6, &mirai)), [Tool::Mirai]);
}

#[test]
fn every_combination_of_tcp_flags_is_classed_and_counted_by_its_port() {
    for flags in 0..=255u8 {
        let on = |bit: u8| flags & bit != 0;
        let (fin, syn, rst, ack) = (on(0x01), on(0x02), on(0x04), on(0x10));
        let (class, tables) = match (syn, ack, rst, fin) {
            (true, false, false, false) => (Class::TcpSyn, [Some((PortTable::TcpSyn, 23)), None]),
            (true, true, false, false) | (false, _, true, false) => (
                Class::TcpBackscatter,
                [
                    Some((PortTable::TcpBackscatter, 40000)),
                    Some((PortTable::TcpBackscatterDestination, 23)),
                ],
            ),
            _ => (Class::TcpOther, [Some((PortTable::TcpOther, 23)), None]),
        };
        for bytes in [ipv4(6, &tcp(flags)), ipv6(6, &tcp(flags))] {
            let packet = packet(&bytes);
            assert_eq!(packet.class, class, "flags {flags:#04x}");
            assert_eq!(PortTable::of(&packet), tables, "flags {flags:#04x}");
            assert_eq!(packet.source_port, 40000, "flags {flags:#04x}");
            assert_eq!(packet.destination_port, 23, "flags {flags:#04x}");
            assert_eq!(IcmpKey::of(&packet), None, "flags {flags:#04x}");
        }
    }
}

#[test]
fn an_ipv4_fragment_is_one_by_its_offset_alone() {
    let says = |word: u16, rest: &[u8]| with(ipv4(6, rest), v4::FRAGMENT, &word.to_be_bytes());
    let syn = tcp(0x02);
    packets! {
        "offset 0", says(0x0000, &syn) => SYN;
        "offset 0, more fragments", says(0x2000, &syn) => SYN;
        "offset 0, don't fragment", says(0x4000, &syn) => SYN;
        "offset 0, reserved bit", says(0x8000, &syn) => SYN;
        "offset 0, all three bits", says(0xe000, &syn) => SYN;
        "offset 0, more fragments, cut TCP", says(0x2000, &syn[..19]) => MALFORMED;
        "offset 1", says(0x0001, &syn) => FRAGMENT;
        "offset 1, more fragments", says(0x2001, &syn) => FRAGMENT;
        "offset 1, don't fragment", says(0x4001, &syn) => FRAGMENT;
        "offset 0x100", says(0x0100, &syn) => FRAGMENT;
        "offset 0x1000", says(0x1000, &syn) => FRAGMENT;
        "greatest offset", says(0x1fff, &syn) => FRAGMENT;
        "offset 1, nothing behind", says(0x0001, &[]) => FRAGMENT;
        "offset 1, IHL 4", with(says(0x0001, &syn), 0, &[0x44]) => MALFORMED;
        "offset 1, total length 19", with(says(0x0001, &syn), v4::LENGTH, &[0, 19]) => MALFORMED;
        "offset 1, options cut",
            cut(with(ipv4_with_options(1, 6, &[]), v4::FRAGMENT, &[0, 1]), 1) => MALFORMED;
    }
    let packet = packet(&says(0x0001, &syn));
    assert_eq!(PortTable::of(&packet), [None, None]);
    assert_eq!(
        (packet.bytes, packet.source_port, packet.destination_port),
        (40, 0, 0)
    );
}

#[test]
fn ipv6_extension_headers_of_each_type_are_stepped_over() {
    for (name, number) in [
        ("hop-by-hop", 0),
        ("routing", 43),
        ("destination options", 60),
    ] {
        for units in [0, 1, 2, 255] {
            let name = format!("{name} of {units} units");
            let length = 8 + 8 * usize::from(units);
            let bytes = ipv6(number, &extension(6, units, &tcp(0x02)));
            let says = |short: usize| {
                let length = u16::try_from(length - short).expect("at most 2048");
                with(bytes.clone(), V6_LENGTH, &length.to_be_bytes())
            };
            let closed = ipv6(number, &extension(59, units, &[]));
            packets! {
                "{name}", bytes.clone() => SYN;
                "{name}, nothing behind", closed.clone() => OTHER;
                "{name}, nothing behind, by length", with_next(says(0), 59) => OTHER;
                "{name}, cut by 1", cut(closed.clone(), 1) => MALFORMED;
                "{name}, length short by 1", with_next(says(1), 59) => MALFORMED;
                "{name}, TCP gone by length", says(0) => MALFORMED;
                "{name}, TCP cut by 1", cut(bytes.clone(), 1) => MALFORMED;
            }
        }
        for there in 0..8 {
            let start = extension(59, 0, &[])[..there].to_vec();
            packets! {
                "{name}: {there} bytes of 8", ipv6(number, &start) => MALFORMED;
                "{name}: {there} bytes of 8, padded", padded(ipv6(number, &start)) => MALFORMED;
            }
        }
        // In IPv4 these are protocols like any other.
        packets! {
            "{name} in IPv4", ipv4(number, &tcp(0x02)) => OTHER;
        }
    }
    packets! {
        "a fragment header in IPv4", ipv4(44, &fragment(6, 1, false, &tcp(2))) => OTHER;
    }
}

/// `bytes`, an IPv6 packet, with the first extension header's next header replaced.
fn with_next(bytes: Bytes, next: u8) -> Bytes {
    with(bytes, 40, &[next])
}

/// Extension headers of the given types, then `last` and `rest`.
fn chain(types: &[u8], last: u8, rest: &[u8]) -> Bytes {
    let mut bytes = rest.to_vec();
    let mut next = last;
    for &number in types.iter().rev() {
        bytes = match number {
            44 => fragment(next, 0, true, &bytes),
            51 => authentication(next, 1, &bytes),
            _ => extension(next, 1, &bytes),
        };
        next = number;
    }
    ipv6(next, &bytes)
}

#[test]
fn six_extension_headers_are_walked_and_a_seventh_makes_it_other() {
    let syn = tcp(2);
    for number in [0, 43, 44, 51, 60] {
        for count in 1..=9 {
            let types = vec![number; count];
            let name = format!("{count} of {number}");
            let [whole, short] = if count <= 6 {
                [SYN, MALFORMED]
            } else {
                [OTHER, OTHER]
            };
            packets! {
                "{name}", chain(&types, 6, &syn) => whole;
                "{name}, TCP cut", chain(&types, 6, &syn[..19]) => short;
                "{name}, the last cut by 1", cut(chain(&types, 6, &[]), 1) => short;
            }
        }
    }
    let each = [0, 60, 43, 44, 51, 60];
    packets! {
        "one of each", chain(&each, 6, &syn) => SYN;
        "one of each, then UDP", chain(&each, 17, &udp()) => UDP;
        "one of each, then ICMPv6", chain(&each, 58, &icmp(128, 0)) => ICMP;
        "one of each, then nothing", chain(&each, 59, &[]) => OTHER;
        "a fragment as the sixth", chain(&each[..5], 44, &fragment(6, 1, true, &syn)) => FRAGMENT;
        "a fragment as the seventh", chain(&each, 44, &fragment(6, 1, true, &syn)) => OTHER;
        "AH as the seventh", chain(&each, 51, &authentication(6, 4, &syn)) => OTHER;
    }
}

#[test]
fn an_ipv6_fragment_is_one_by_the_offset_of_its_fragment_header() {
    let syn = tcp(0x02);
    let behind = |rest: &[u8]| ipv6(0, &extension(44, 1, rest));
    let whole = fragment(6, 0, false, &syn);
    packets! {
        "offset 0", ipv6(44, &whole) => SYN;
        "offset 0, more", ipv6(44, &fragment(6, 0, true, &syn)) => SYN;
        "offset 0, reserved bits", ipv6(44, &with(whole.clone(), 3, &[0x07])) => SYN;
        "offset 0, more, cut TCP", ipv6(44, &fragment(6, 0, true, &syn[..19])) => MALFORMED;
        "offset 1", ipv6(44, &fragment(6, 1, false, &syn)) => FRAGMENT;
        "offset 1, more", ipv6(44, &fragment(6, 1, true, &syn)) => FRAGMENT;
        "offset 0x20", ipv6(44, &fragment(6, 0x20, true, &syn)) => FRAGMENT;
        "offset 0x1000", ipv6(44, &fragment(6, 0x1000, true, &syn)) => FRAGMENT;
        "greatest offset", ipv6(44, &fragment(6, 0x1fff, false, &syn)) => FRAGMENT;
        "offset 1, nothing behind", ipv6(44, &fragment(6, 1, false, &[])) => FRAGMENT;
        "offset 1, header cut by 1", ipv6(44, &fragment(6, 1, false, &[])[..7]) => MALFORMED;
        "offset 1, header cut by 1, padded",
            padded(ipv6(44, &fragment(6, 1, false, &[])[..7])) => MALFORMED;
        "offset 1, capture cut by 1", cut(ipv6(44, &fragment(6, 1, false, &[])), 1) => MALFORMED;
        "offset 0 behind another", behind(&whole) => SYN;
        "offset 1 behind another", behind(&fragment(6, 1, true, &syn)) => FRAGMENT;
        "offset 0 before another", ipv6(44, &fragment(60, 0, true, &extension(6, 1, &syn))) => SYN;
        "offset 1 before another that is cut", ipv6(44, &fragment(60, 1, true, &[6])) => FRAGMENT;
        "offset 0, then offset 1",
            ipv6(44, &fragment(44, 0, true, &fragment(6, 1, true, &syn))) => FRAGMENT;
    }
}

#[test]
fn no_next_header_and_unknown_protocols_are_other_whatever_follows() {
    packets! {
        "59, nothing", ipv6(59, &[]) => OTHER;
        "59, bytes behind", ipv6(59, &tcp(2)) => OTHER;
        "59, jumbogram's length 0", with(ipv6(59, &tcp(2)), V6_LENGTH, &[0, 0]) => OTHER;
        "jumbogram with its option",
            with(ipv6(0, &extension(6, 0, &tcp(2))), V6_LENGTH, &[0, 0]) => MALFORMED;
    }
    for (name, number) in [
        ("UDP-Lite", 136),
        ("SCTP", 132),
        ("GRE", 47),
        ("ESP", 50),
        ("IGMP", 2),
        ("DCCP", 33),
        ("IPv4 in IP", 4),
        ("IPv6 in IP", 41),
        ("mobility", 135),
        ("HIP", 139),
        ("shim6", 140),
        ("experiment", 253),
        ("reserved", 255),
    ] {
        for rest in [vec![], vec![1], syn_v4(), syn_v6()] {
            packets! {
                "{name} in IPv4", ipv4(number, &rest) => OTHER;
                "{name} in IPv6", ipv6(number, &rest) => OTHER;
            }
        }
    }
    // ICMP of type 8; an extension header longer than the packet; a fragment of offset 1.
    let rest = with(tcp(2), 0, &[8, 200, 0, 8]);
    for number in 0..=255 {
        let four = match number {
            6 => SYN,
            17 => UDP,
            1 => ICMP,
            51 => MALFORMED,
            _ => OTHER,
        };
        let six = match number {
            6 => SYN,
            17 => UDP,
            58 => ICMP,
            0 | 43 | 51 | 60 => MALFORMED,
            44 => FRAGMENT,
            _ => OTHER,
        };
        packets! {
            "protocol {number} in IPv4", ipv4(number, &rest) => four;
            "next header {number} in IPv6", ipv6(number, &rest) => six;
        }
    }
}

#[test]
fn the_authentication_header_is_walked_in_both_versions_in_units_of_four_bytes() {
    for length in [0u8, 1, 2, 3, 4, 5, 255] {
        let size = 8 + 4 * u16::from(length);
        let header = authentication(59, length, &[]);
        let syn = authentication(6, length, &tcp(2));
        let [four, six] = [ipv4(51, &header), ipv6(51, &header)];
        for (version, whole, alone, field, before) in [
            (4, ipv4(51, &syn), four, v4::LENGTH, 20),
            (6, ipv6(51, &syn), six, V6_LENGTH, 0),
        ] {
            let name = format!("AH of length {length} in IPv{version}");
            let says = |l: u16| with(padded(alone.clone()), field, &(before + l).to_be_bytes());
            packets! {
                "{name}", whole.clone() => SYN;
                "{name}, TCP cut by 1", cut(whole, 1) => MALFORMED;
                "{name}, nothing behind", alone.clone() => OTHER;
                "{name}, cut by 1", cut(alone.clone(), 1) => MALFORMED;
                "{name}, by length", says(size) => OTHER;
                "{name}, length short by 1", says(size - 1) => MALFORMED;
            }
        }
    }
    let one = authentication(17, 4, &udp());
    let six = (0..5).fold(one, |rest, _| authentication(51, 4, &rest));
    packets! {
        "six AH in IPv4", ipv4(51, &six) => UDP;
        "seven AH in IPv4", ipv4(51, &authentication(51, 4, &six)) => OTHER;
        "AH, then hop-by-hop, in IPv4",
            ipv4(51, &authentication(0, 4, &extension(6, 0, &tcp(2)))) => OTHER;
        "AH, then ICMP, in IPv4", ipv4(51, &authentication(1, 4, &icmp(8, 0))) => ICMP;
        "AH in an IPv4 fragment",
            with(ipv4(51, &authentication(6, 4, &tcp(2))), v4::FRAGMENT, &[0, 1]) => FRAGMENT;
    }
}

#[test]
fn icmp_is_keyed_by_version_type_and_code() {
    for kind in 0..=255u8 {
        let [four, six] = [
            [0, 3, 4, 5, 11, 12, 14, 16, 18].contains(&kind),
            [1, 2, 3, 4, 129].contains(&kind),
        ]
        .map(|answers| {
            if answers {
                Class::IcmpBackscatter
            } else {
                Class::Icmp
            }
        });
        for (version, class, bytes) in [
            (Version::V4, four, ipv4(1, &icmp(kind, 7))),
            (Version::V6, six, ipv6(58, &icmp(kind, 7))),
        ] {
            let packet = packet(&bytes);
            assert_eq!(packet.class, class, "{version:?} type {kind}");
            let key = IcmpKey {
                version,
                kind,
                code: 7,
            };
            assert_eq!(IcmpKey::of(&packet), Some(key));
            assert_eq!((packet.icmp_type, packet.icmp_code), (kind, 7));
            assert_eq!(
                PortTable::of(&packet),
                [None, None],
                "{version:?} type {kind}"
            );
        }
    }
    packets! {
        "ICMPv6 in IPv4", ipv4(58, &icmp(128, 0)) => OTHER;
        "ICMP in IPv6", ipv6(1, &icmp(8, 0)) => OTHER;
        "ICMPv6 in IPv4, cut", ipv4(58, &[128]) => OTHER;
        "ICMP in IPv6, cut", ipv6(1, &[8]) => OTHER;
    }
    let crossed = packet(&ipv4(58, &icmp(129, 1)));
    assert_eq!(IcmpKey::of(&crossed), None);
    assert_eq!((crossed.icmp_type, crossed.icmp_code), (0, 0));
}

#[test]
fn udp_is_counted_by_destination_port_whatever_its_length_and_checksum_say() {
    for length in [0u16, 7, 8, 9, 0xffff] {
        for checksum in [0u16, 1, 0xffff] {
            let name = format!("length {length}, checksum {checksum}");
            let lying = with(udp(), 4, &length.to_be_bytes());
            let lying = with(lying, 6, &checksum.to_be_bytes());
            for bytes in [ipv4(17, &lying), ipv6(17, &lying)] {
                let packet = packet(&bytes);
                assert_eq!(packet.class, Class::Udp, "{name}");
                assert_eq!((packet.source_port, packet.destination_port), (50000, 53));
                assert_eq!(PortTable::of(&packet), [Some((PortTable::Udp, 53)), None]);
            }
        }
    }
    let zero = packet(&ipv4(17, &with(udp(), 0, &[0, 0, 0, 0])));
    assert_eq!(
        PortTable::of(&zero),
        [Some((PortTable::Udp, 0)), None],
        "port 0 is a port"
    );
}

#[test]
fn checksums_are_not_verified() {
    let any = [[0, 0], [0xff, 0xff], [0x12, 0x34]];
    for checksum in any {
        packets! {
            "IPv4", with(syn_v4(), 10, &checksum) => SYN;
            "TCP", ipv4(6, &with(tcp(2), 16, &checksum)) => SYN;
            "ICMP", ipv4(1, &with(icmp(8, 0), 2, &checksum)) => ICMP;
            "ICMPv6", ipv6(58, &with(icmp(128, 0), 2, &checksum)) => ICMP;
        }
    }
}

#[test]
fn bytes_are_what_the_ip_header_says() {
    let lying = |bytes: Bytes, at: usize, length: u16| with(bytes, at, &length.to_be_bytes());
    sizes! {
        "IPv4", syn_v4() => 40;
        "IPv4 with padding", padded(syn_v4()) => 40;
        "IPv4 with options", ipv4_with_options(10, 6, &tcp(2)) => 80;
        "IPv4, payload not captured", lying(syn_v4(), v4::LENGTH, 1500) => 1500;
        "IPv4, greatest", lying(syn_v4(), v4::LENGTH, 0xffff) => 0xffff;
        "IPv6", syn_v6() => 60;
        "IPv6 with padding", padded(syn_v6()) => 60;
        "IPv6 with an extension", ipv6(0, &extension(6, 1, &tcp(2))) => 76;
        "IPv6, payload not captured", lying(syn_v6(), V6_LENGTH, 1460) => 1500;
        "IPv6, greatest", lying(syn_v6(), V6_LENGTH, 0xffff) => 0xffff + 40;
        "IPv6, payload length 0", ipv6(59, &[]) => 40;
    }
    assert_eq!(Packet::MALFORMED.bytes, 0);
    assert_eq!(Packet::MALFORMED.class, Class::Malformed);
    assert_eq!(PortTable::of(&Packet::MALFORMED), [None, None]);
    assert_eq!(IcmpKey::of(&Packet::MALFORMED), None);
}

#[test]
fn addresses_are_the_header_s_own() {
    let four = packet(&syn_v4());
    assert_eq!(four.version, Version::V4);
    assert_eq!(four.source.v4(), u32::from_be_bytes(SOURCE));
    assert_eq!(four.destination.v4(), u32::from_be_bytes(DESTINATION));
    assert_eq!(four.source.ip(Version::V4), IpAddr::from(SOURCE));
    let six = packet(&syn_v6());
    assert_eq!(six.version, Version::V6);
    assert_eq!(six.source.v6(), u128::from_be_bytes(SOURCE_V6));
    assert_eq!(six.destination.v6(), u128::from_be_bytes(DESTINATION_V6));
    assert_eq!(six.source.ip(Version::V6), IpAddr::from(SOURCE_V6));
    // A routing header (type 0, one segment left) does not change the destination.
    let mut routing = extension(6, 2, &tcp(2));
    routing[3] = 1;
    assert_eq!(packet(&ipv6(43, &routing)).destination, six.destination);
    // Nor does a strict source route in IPv4.
    let mut route = ipv4_with_options(2, 6, &tcp(2));
    route[20..28].copy_from_slice(&[137, 7, 4, 192, 0, 2, 1, 0]);
    assert_eq!(packet(&route).destination, four.destination);
    // And an IP header inside another is payload.
    let tunnel = packet(&ipv4(4, &syn_v6()));
    assert_eq!((tunnel.class, tunnel.source), (Class::Other, four.source));
}

/// A SYN over IPv4 with what the marks are read from.
fn probe(identification: u16, from: u16, to: u16, sequence: [u8; 4]) -> Bytes {
    let segment = with(tcp(0x02), 0, &from.to_be_bytes());
    let segment = with(with(segment, 2, &to.to_be_bytes()), 4, &sequence);
    let packet = ipv4(6, &segment);
    with(packet, v4::IDENTIFICATION, &identification.to_be_bytes())
}

#[test]
fn tools_are_marked_by_their_rules() {
    use Tool::{Masscan, Mirai, Zmap};
    let [a, b, c, d] = DESTINATION;
    let sequence = [1, 2, 3, 4];
    let cookie = u16::from_be_bytes([c ^ 3, d ^ 4]);
    let far = cookie ^ 0x1f90;
    marks! {
        "no mark", probe(1, 40000, 23, sequence) => [];
        "mirai", probe(1, 40000, 23, DESTINATION) => [Mirai];
        "mirai from port 1025", probe(1, 1025, 23, DESTINATION) => [Mirai];
        "mirai from port 1026", probe(1, 1026, 23, DESTINATION) => [Mirai];
        "mirai from port 65535", probe(1, 65535, 23, DESTINATION) => [Mirai];
        "not mirai from port 1024", probe(1, 1024, 23, DESTINATION) => [];
        "not mirai from port 1023", probe(1, 1023, 23, DESTINATION) => [];
        "not mirai from port 0", probe(1, 0, 23, DESTINATION) => [];
        "mirai, first byte off", probe(1, 40000, 23, [a ^ 1, b, c, d]) => [];
        "mirai, second byte off", probe(1, 40000, 23, [a, b ^ 1, c, d]) => [];
        "mirai, third byte off", probe(1, 40000, 23, [a, b, c ^ 1, d]) => [];
        "mirai, last byte off", probe(1, 40000, 23, [a, b, c, d ^ 1]) => [];
        "mirai, other byte order", probe(1, 40000, 23, [d, c, b, a]) => [];
        "the source as sequence number", probe(1, 40000, 23, SOURCE) => [];
        "zmap", probe(54321, 40000, 23, sequence) => [Zmap];
        "zmap, one less", probe(54320, 40000, 23, sequence) => [];
        "zmap, one more", probe(54322, 40000, 23, sequence) => [];
        "zmap, other byte order", probe(0x31d4, 40000, 23, sequence) => [];
        "masscan", probe(cookie ^ 23, 40000, 23, sequence) => [Masscan];
        "masscan to port 8080", probe(far, 40000, 8080, sequence) => [Masscan];
        "masscan from a low port", probe(cookie ^ 23, 1, 23, sequence) => [Masscan];
        "masscan by the low 16 bits", probe(cookie ^ 23, 40000, 23, [9, 9, 3, 4]) => [Masscan];
        "masscan, one bit off", probe(cookie ^ 22, 40000, 23, sequence) => [];
        "masscan, high bit off", probe(cookie ^ 0x8017, 40000, 23, sequence) => [];
        "masscan without the port", probe(cookie, 40000, 23, sequence) => [];
        "mirai and masscan", probe(23, 40000, 23, DESTINATION) => [Mirai, Masscan];
        "mirai and zmap", probe(54321, 40000, 23, DESTINATION) => [Mirai, Zmap];
        "zmap and masscan", probe(54321, 40000, cookie ^ 54321, sequence) => [Zmap, Masscan];
        "all", probe(54321, 40000, 54321, DESTINATION) => [Mirai, Zmap, Masscan];
    }
}

#[test]
fn only_syns_over_ipv4_carry_marks() {
    let all = probe(54321, 40000, 54321, DESTINATION);
    for flags in 0..=255 {
        let marked = if flags & 0x17 == 0x02 { 3 } else { 0 };
        let bytes = with(all.clone(), 33, &[flags]);
        assert_eq!(marks(&bytes).len(), marked, "flags {flags:#04x}");
    }
    let segment = all[20..].to_vec();
    // IPv6, where the first and the last four bytes of the destination are those of the mark.
    for at in [24, 36] {
        let six = with(ipv6(6, &segment), at, &DESTINATION);
        assert_eq!(marks(&six), [], "IPv6, address at {at}");
    }
    // An identification of 0 as IPv6 has none, and a sequence number that cancels out.
    let zero = with(
        ipv6(6, &with(segment.clone(), 2, &[0, 0])),
        24,
        &DESTINATION,
    );
    assert_eq!(marks(&zero), [], "IPv6, all zero");
    let first = with(all.clone(), v4::FRAGMENT, &[0x20, 0]);
    assert_eq!(
        marks(&first).len(),
        3,
        "the first fragment has a TCP header"
    );
    let later = with(all.clone(), v4::FRAGMENT, &[0x20, 1]);
    assert_eq!(marks(&later), [], "a later fragment");
    let authenticated = with(
        ipv4(51, &authentication(6, 4, &segment)),
        v4::IDENTIFICATION,
        &54321u16.to_be_bytes(),
    );
    assert_eq!(marks(&authenticated).len(), 3, "behind AH");
    let as_udp = with(all, 9, &[17]);
    assert_eq!(marks(&as_udp), [], "UDP");
}

#[test]
fn the_first_bytes_of_the_packet_decide_and_not_the_frame_s() {
    // 46 bytes of Ethernet payload hold a 28-byte UDP packet and 18 bytes of padding.
    let frame = join(&[&ethernet(0x0800, &ipv4(17, &udp())), &[0xff; 18]]);
    assert_eq!(fate(&frame, Link::Ethernet), UDP);
    // The same with the IP length one short: what completes the header is padding.
    let frame = with(frame, 14 + v4::LENGTH, &27u16.to_be_bytes());
    assert_eq!(fate(&frame, Link::Ethernet), MALFORMED);
}

#[test]
fn names_and_order_are_those_of_the_contract() {
    let classes = [
        "tcp_syn",
        "tcp_backscatter",
        "tcp_other",
        "udp",
        "icmp",
        "icmp_backscatter",
        "fragment",
        "malformed",
        "other",
    ];
    assert_eq!(Class::ALL.map(Class::name), classes);
    let tables = [
        "tcp_syn",
        "tcp_backscatter",
        "tcp_backscatter_destination",
        "tcp_other",
        "udp",
    ];
    assert_eq!(PortTable::ALL.map(PortTable::name), tables);
    assert_eq!(Tool::ALL.map(Tool::name), ["mirai", "zmap", "masscan"]);
    for (number, class) in Class::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, number, "{}", class.name());
    }
    for (number, table) in PortTable::ALL.into_iter().enumerate() {
        assert_eq!(table as usize, number, "{}", table.name());
    }
    for (number, tool) in Tool::ALL.into_iter().enumerate() {
        assert_eq!(tool as usize, number, "{}", tool.name());
    }
    let cells = [
        ("passed", false, false),
        ("filtered", false, false),
        ("delivered", true, false),
        ("sampled_out", true, false),
        ("not_requested", true, false),
        ("ring_full", true, true),
        ("fill_empty", true, true),
        ("no_socket", true, true),
        ("redirect_failed", true, true),
        ("headers_full", true, true),
        ("truncated", true, true),
        ("abandoned", true, true),
        ("bad_descriptor", true, true),
    ];
    let found = Cell::ALL.map(|cell| (cell.name(), cell.is_counted(), cell.is_lost()));
    assert_eq!(found, cells);
}
