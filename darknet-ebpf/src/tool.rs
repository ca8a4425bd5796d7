use crate::class::Class;

/// A scanning tool whose packets carry a mark that one packet shows.
///
/// A mark is evidence for one packet, not a verdict: an unmarked packet carries `zmap` or
/// `masscan` by chance once in 2^16, `mirai` once in 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tool {
    /// Sequence number = destination address, source port above 1024. NICTER's rule; the first
    /// half is in Mirai's published source (`scanner.c`: `tcph->seq = iph->daddr`).
    Mirai = 0,
    /// Identification = 54321. ZMap's default until 4.1.0 (March 2024).
    Zmap = 1,
    /// Identification = low 16 bits of destination address ⊕ destination port ⊕ sequence number
    /// (Masscan's `templ-pkt.c`).
    Masscan = 2,
}

impl Tool {
    /// Every tool, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Mirai, Self::Zmap, Self::Masscan];

    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mirai => "mirai",
            Self::Zmap => "zmap",
            Self::Masscan => "masscan",
        }
    }
}

/// The marks that one packet carries: any number of them, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Tools(u8);

/// The header fields of an IPv4 SYN that the marks are read from, in host order.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// IPv4 identification.
    pub identification: u16,
    /// IPv4 destination address.
    pub destination: u32,
    /// TCP source port.
    pub source_port: u16,
    /// TCP destination port.
    pub destination_port: u16,
    /// TCP sequence number.
    pub sequence: u32,
}

/// ZMap's default identification (`src/probe_modules/packet.c` before 4.1.0).
const ZMAP_IDENTIFICATION: u16 = 54321;
/// Mirai draws its source port from above this one.
const MIRAI_SOURCE_PORT_ABOVE: u16 = 1024;

// By arithmetic: the kernel's machine has no instructions for these but branches, and as packets come in
// no order, a processor would guess many of them wrong.

/// 1 if both numbers are the same, else 0.
#[inline(always)]
pub(crate) const fn is_same(left: u32, right: u32) -> u8 {
    (((left ^ right) as u64).wrapping_sub(1) >> 63) as u8
}

/// 1 if `number` is above `limit`, else 0.
#[inline(always)]
const fn is_above(number: u16, limit: u16) -> u8 {
    ((limit as u64).wrapping_sub(number as u64) >> 63) as u8
}

impl Tools {
    /// No mark.
    pub const NONE: Self = Self(0);

    /// The marks of a TCP SYN over IPv4; no other packet carries any.
    #[inline(always)]
    pub const fn of(probe: Probe) -> Self {
        let Probe {
            identification,
            destination,
            source_port,
            destination_port,
            sequence,
        } = probe;
        let mirai = is_same(sequence, destination) & is_above(source_port, MIRAI_SOURCE_PORT_ABOVE);
        let zmap = is_same(identification as u32, ZMAP_IDENTIFICATION as u32);
        let cookie = (destination ^ destination_port as u32 ^ sequence) as u16;
        let masscan = is_same(identification as u32, cookie as u32);
        Self(mirai << Tool::Mirai as u8 | zmap << Tool::Zmap as u8 | masscan << Tool::Masscan as u8)
    }

    /// These marks, or none where `class` is not that of a SYN.
    #[inline(always)]
    pub(crate) const fn of_syn(self, class: Class) -> Self {
        let is_syn = is_same(class as u32, Class::TcpSyn as u32);
        Self(self.0 & is_syn.wrapping_neg())
    }

    /// The marks with these bits; `None` if one of them is no tool's.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits >> Tool::ALL.len() == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// Whether the mark of `tool` is among them.
    #[inline(always)]
    pub const fn has(self, tool: Tool) -> bool {
        self.0 & 1 << tool as u8 != 0
    }

    /// One bit per tool, bit number = the tool's number.
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 203.0.113.9, port 23: masscan's cookie is (low 16 bits) 0x7109 ^ 23 ^ sequence.
    const PLAIN: Probe = Probe {
        identification: 1,
        destination: 0xcb00_7109,
        source_port: 40000,
        destination_port: 23,
        sequence: 0x1234_5678,
    };

    fn marks(probe: Probe) -> [bool; 3] {
        Tool::ALL.map(|tool| Tools::of(probe).has(tool))
    }

    #[test]
    fn each_mark_and_its_boundary() {
        let mirai = Probe {
            sequence: 0xcb00_7109,
            ..PLAIN
        };
        let cookie = (0x7109 ^ 23 ^ 0x5678) as u16;
        for (name, probe, expected) in [
            ("none", PLAIN, [false; 3]),
            ("mirai", mirai, [true, false, false]),
            (
                "mirai, source port 1025",
                Probe {
                    source_port: 1025,
                    ..mirai
                },
                [true, false, false],
            ),
            (
                "source port 1024 is not mirai",
                Probe {
                    source_port: 1024,
                    ..mirai
                },
                [false; 3],
            ),
            (
                "one bit off the address is not mirai",
                Probe {
                    sequence: 0xcb00_7108,
                    ..PLAIN
                },
                [false; 3],
            ),
            (
                "the address in the other byte order is not mirai",
                Probe {
                    sequence: 0x0971_00cb,
                    ..PLAIN
                },
                [false; 3],
            ),
            (
                "zmap",
                Probe {
                    identification: 54321,
                    ..PLAIN
                },
                [false, true, false],
            ),
            (
                "zmap one off",
                Probe {
                    identification: 54320,
                    ..PLAIN
                },
                [false; 3],
            ),
            (
                "masscan",
                Probe {
                    identification: cookie,
                    ..PLAIN
                },
                [false, false, true],
            ),
            (
                "masscan one bit off",
                Probe {
                    identification: cookie ^ 1,
                    ..PLAIN
                },
                [false; 3],
            ),
            (
                "masscan looks at the low 16 bits only",
                Probe {
                    identification: cookie,
                    sequence: 0xffff_5678,
                    ..PLAIN
                },
                [false, false, true],
            ),
            (
                "mirai and masscan: address and sequence cancel out",
                Probe {
                    identification: 23,
                    ..mirai
                },
                [true, false, true],
            ),
            (
                "all three",
                Probe {
                    identification: 54321,
                    destination_port: 54321,
                    ..mirai
                },
                [true, true, true],
            ),
        ] {
            assert_eq!(marks(probe), expected, "{name}");
        }
    }
}
