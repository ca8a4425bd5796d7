use crate::{frame::Frame, packet::Version};

/// The link layer that a frame begins with.
///
/// The kernel program sees [`Link::Ethernet`] only; captures bring the others. The numbers that
/// captures name them by are at <https://www.tcpdump.org/linktypes.html>; see
/// [`Link::from_link_type`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Ethernet II, with up to two VLAN tags.
    Ethernet,
    /// No link header: the version nibble says which IP it is.
    Raw,
    /// No link header, declared to be IPv4.
    Ipv4,
    /// No link header, declared to be IPv6.
    Ipv6,
    /// BSD loopback: a 4-byte address family in the byte order of the host that captured.
    Null,
    /// OpenBSD loopback: a 4-byte address family in network order.
    Loop,
    /// Linux "cooked" capture, version 1: 16 bytes, the protocol last.
    LinuxSll,
    /// Linux "cooked" capture, version 2: 20 bytes, the protocol first.
    LinuxSll2,
}

/// Where a link header leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// The link header says that IP of this version lies at the offset.
    Ip { version: Version, at: usize },
    /// Something else, or a link header that is cut short.
    Other,
}

/// EtherTypes: <https://www.iana.org/assignments/ieee-802-numbers>.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the number that QinQ used before 802.1ad.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// VLAN tags that the walk steps over; a frame with more passes.
const TAGS_AT_MOST: usize = 2;

impl Link {
    /// The link layer of a capture's LINKTYPE or DLT number, or `None` where it is not one that
    /// Darknet reads.
    ///
    /// Raw IP is 101 in files, and 12 or 14 in files written by systems that put their own DLT
    /// there. Source: <https://www.tcpdump.org/linktypes.html>.
    pub const fn from_link_type(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 => Some(Self::Raw),
            108 => Some(Self::Loop),
            113 => Some(Self::LinuxSll),
            228 => Some(Self::Ipv4),
            229 => Some(Self::Ipv6),
            276 => Some(Self::LinuxSll2),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn network<F: Frame + ?Sized>(self, frame: &F) -> Network {
        match self {
            Self::Ethernet => ethertype(frame, 12, 14),
            Self::LinuxSll => ethertype(frame, 14, 16),
            // The protocol comes first, so that it can be there and the rest of the header not.
            Self::LinuxSll2 => match frame.read::<20>(0) {
                Some(_) => ethertype(frame, 0, 20),
                None => Network::Other,
            },
            Self::Raw => nibble(frame, |version| version),
            Self::Ipv4 => nibble(frame, |_| Version::V4),
            Self::Ipv6 => nibble(frame, |_| Version::V6),
            Self::Null => match frame.read(0) {
                Some(raw) => match family(u32::from_be_bytes(raw)) {
                    Network::Other => family(u32::from_le_bytes(raw)),
                    ip => ip,
                },
                None => Network::Other,
            },
            Self::Loop => match frame.read(0) {
                Some(raw) => family(u32::from_be_bytes(raw)),
                None => Network::Other,
            },
        }
    }
}

/// The EtherType at `at`, followed by its payload at `payload`; VLAN tags in between.
#[inline(always)]
fn ethertype<F: Frame + ?Sized>(frame: &F, at: usize, payload: usize) -> Network {
    let Some(raw) = frame.read(at) else {
        return Network::Other;
    };
    let mut ethertype = u16::from_be_bytes(raw);
    let mut payload = payload;
    for _ in 0..TAGS_AT_MOST {
        if !ETHERTYPES_VLAN.contains(&ethertype) {
            break;
        }
        // 802.1Q: two bytes of priority and VLAN number, then the EtherType of what follows.
        let Some(tag) = frame.read::<4>(payload) else {
            return Network::Other;
        };
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        payload += 4;
    }
    let version = match ethertype {
        ETHERTYPE_IPV4 => Version::V4,
        ETHERTYPE_IPV6 => Version::V6,
        _ => return Network::Other,
    };
    Network::Ip {
        version,
        at: payload,
    }
}

/// A packet without a link header: IP if the version nibble is 4 or 6, of the version that
/// `declared` makes of it.
#[inline(always)]
fn nibble<F: Frame + ?Sized>(frame: &F, declared: impl Fn(Version) -> Version) -> Network {
    let version = match frame.read::<1>(0) {
        Some([first]) if first >> 4 == 4 => declared(Version::V4),
        Some([first]) if first >> 4 == 6 => declared(Version::V6),
        _ => return Network::Other,
    };
    Network::Ip { version, at: 0 }
}

/// BSD address families: `AF_INET` is 2 everywhere, `AF_INET6` is 24 (NetBSD, OpenBSD), 28
/// (FreeBSD), 30 (macOS), 10 (Linux). Source: <https://www.tcpdump.org/linktypes.html>.
#[inline(always)]
fn family(number: u32) -> Network {
    let version = match number {
        2 => Version::V4,
        10 | 24 | 28 | 30 => Version::V6,
        _ => return Network::Other,
    };
    Network::Ip { version, at: 4 }
}
