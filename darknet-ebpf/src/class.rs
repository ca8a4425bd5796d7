/// What a packet is. Each packet has exactly one class, the first whose rule fits.
///
/// The numbers are part of the layout that kernel and userspace share; the order is that of every
/// table that lists classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A connection attempt: SYN set; ACK, RST and FIN clear.
    TcpSyn = 0,
    /// An answer to a spoofed packet: SYN and ACK without RST, or RST without SYN; FIN clear.
    TcpBackscatter = 1,
    /// Every other combination of TCP flags.
    TcpOther = 2,
    /// UDP.
    Udp = 3,
    /// ICMP or ICMPv6 that asks.
    Icmp = 4,
    /// ICMP or ICMPv6 that answers or reports an error.
    IcmpBackscatter = 5,
    /// A fragment other than the first: no transport header to read.
    Fragment = 6,
    /// An IP packet whose headers contradict themselves or are cut short.
    Malformed = 7,
    /// Every other IP protocol.
    Other = 8,
}

/// TCP flags, RFC 9293 section 3.1.
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const ACK: u8 = 0x10;
}

impl Class {
    /// Every class, in the order of the tables.
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

    /// The name in tables and JSON.
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

    /// The class of a TCP segment by its flags. ECE, CWR, PSH and URG don't matter.
    #[inline(always)]
    pub const fn tcp(flags: u8) -> Self {
        // Looked up, as branches would be guessed wrong: two bits for each combination of flags.
        const CLASSES: u64 = {
            let mut classes = 0;
            let mut flags = 0;
            while flags < 32 {
                classes |= (Class::by_flags(flags) as u64) << (2 * flags);
                flags += 1;
            }
            classes
        };
        use flag::{ACK, FIN, RST, SYN};
        match CLASSES >> (2 * (flags & (SYN | ACK | RST | FIN))) & 3 {
            0 => Self::TcpSyn,
            1 => Self::TcpBackscatter,
            2 => Self::TcpOther,
            // 3 is not in the table. It is this class's number, so that the compiler sees none to translate.
            _ => Self::Udp,
        }
    }

    const fn by_flags(flags: u8) -> Self {
        use flag::{ACK, FIN, RST, SYN};
        match flags & (SYN | ACK | RST | FIN) {
            SYN => Self::TcpSyn,
            RST => Self::TcpBackscatter,
            bits if bits == SYN | ACK || bits == RST | ACK => Self::TcpBackscatter,
            _ => Self::TcpOther,
        }
    }

    /// The class of an ICMP message in IPv4 by its type.
    ///
    /// Types: <https://www.iana.org/assignments/icmp-parameters>. Backscatter are echo reply (0),
    /// destination unreachable (3), source quench (4), redirect (5), time exceeded (11), parameter
    /// problem (12), and the replies to timestamp (14), information (16) and address mask (18).
    #[inline(always)]
    pub const fn icmp(kind: u8) -> Self {
        match kind {
            0 | 3 | 4 | 5 | 11 | 12 | 14 | 16 | 18 => Self::IcmpBackscatter,
            _ => Self::Icmp,
        }
    }

    /// The class of an ICMPv6 message by its type.
    ///
    /// RFC 4443: destination unreachable (1), packet too big (2), time exceeded (3), parameter
    /// problem (4) and echo reply (129) are backscatter.
    #[inline(always)]
    pub const fn icmpv6(kind: u8) -> Self {
        match kind {
            1 | 2 | 3 | 4 | 129 => Self::IcmpBackscatter,
            _ => Self::Icmp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_that_of_the_numbers() {
        for (number, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, number, "{}", class.name());
        }
    }

    #[test]
    fn every_combination_of_tcp_flags_has_the_class_of_the_definition() {
        for flags in 0..=255u8 {
            let [syn, ack, rst, fin] = [0x02, 0x10, 0x04, 0x01].map(|bit| flags & bit != 0);
            let expected = if syn && !ack && !rst && !fin {
                Class::TcpSyn
            } else if !fin && ((syn && ack && !rst) || (rst && !syn)) {
                Class::TcpBackscatter
            } else {
                Class::TcpOther
            };
            assert_eq!(Class::tcp(flags), expected, "flags {flags:#04x}");
        }
    }

    #[test]
    fn tcp_flags_by_name() {
        for (name, flags, class) in [
            ("SYN", 0x02, Class::TcpSyn),
            ("SYN with ECE and CWR", 0xc2, Class::TcpSyn),
            ("SYN with PSH and URG", 0x2a, Class::TcpSyn),
            ("SYN ACK", 0x12, Class::TcpBackscatter),
            ("RST", 0x04, Class::TcpBackscatter),
            ("RST ACK", 0x14, Class::TcpBackscatter),
            ("SYN RST", 0x06, Class::TcpOther),
            ("SYN ACK RST", 0x16, Class::TcpOther),
            ("SYN FIN", 0x03, Class::TcpOther),
            ("SYN ACK FIN", 0x13, Class::TcpOther),
            ("RST FIN", 0x05, Class::TcpOther),
            ("ACK", 0x10, Class::TcpOther),
            ("FIN", 0x01, Class::TcpOther),
            ("FIN ACK", 0x11, Class::TcpOther),
            ("NULL", 0x00, Class::TcpOther),
            ("Xmas", 0x29, Class::TcpOther),
            ("PSH ACK", 0x18, Class::TcpOther),
        ] {
            assert_eq!(Class::tcp(flags), class, "{name}");
        }
    }

    #[test]
    fn exactly_the_listed_icmp_types_are_backscatter() {
        let listed = |class: fn(u8) -> Class| -> ([u8; 16], usize) {
            let mut found = ([0; 16], 0);
            for kind in 0..=255u8 {
                match class(kind) {
                    Class::IcmpBackscatter => {
                        found.0[found.1] = kind;
                        found.1 += 1;
                    }
                    other => assert_eq!(other, Class::Icmp, "type {kind}"),
                }
            }
            found
        };
        let (kinds, count) = listed(Class::icmp);
        assert_eq!(kinds[..count], [0, 3, 4, 5, 11, 12, 14, 16, 18]);
        let (kinds, count) = listed(Class::icmpv6);
        assert_eq!(kinds[..count], [1, 2, 3, 4, 129]);
    }
}
