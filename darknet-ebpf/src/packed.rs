use crate::abi::Counts;

/// Packets and bytes in one word, so that one addition counts a packet, and four bits more.
///
/// ```text
/// 63  60 59          34 33           0
/// [ code |   packets   |    bytes     ]
/// ```
///
/// A word that is half full is taken elsewhere before it can run over into its neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Packed(pub u64);

const PACKETS: u32 = 34;
const CODE: u32 = 60;
/// The upper half of either number: 2^25 packets (33 million), 2^33 bytes (8.6 GB).
const HALF: u64 = 1 << (CODE - 1) | 1 << (PACKETS - 1);
/// 2^15 packets, 2^23 bytes: what a processor hands on at most at a time. A thousand processors
/// that all add that much to a word just before it is half full don't fill it.
const PORTION: u64 = 1 << (PACKETS + 15) | 1 << 23;

impl Packed {
    /// One packet. `bytes` are below 2^23.
    #[inline(always)]
    pub const fn one(bytes: u32) -> Self {
        Self(1 << PACKETS | bytes as u64)
    }

    /// Nothing yet, under a code below 16.
    #[inline(always)]
    pub const fn empty(code: u8) -> Self {
        Self((code as u64) << CODE)
    }

    /// The four bits.
    #[inline(always)]
    pub const fn code(self) -> u8 {
        (self.0 >> CODE) as u8
    }

    /// Packets and bytes alone, with code 0.
    #[inline(always)]
    pub const fn uncoded(self) -> Self {
        Self(self.0 & ((1 << CODE) - 1))
    }

    /// Packets and bytes.
    #[inline(always)]
    pub const fn counts(self) -> Counts {
        Counts {
            packets: self.uncoded().0 >> PACKETS,
            bytes: self.0 & ((1 << PACKETS) - 1),
        }
    }

    /// Adds packets and bytes; `other` has code 0, and neither is half full.
    #[inline(always)]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Whether it is time to count elsewhere.
    #[inline(always)]
    pub const fn is_half_full(self) -> bool {
        self.0 & HALF != 0
    }

    /// Whether its code is 0, and it is not yet time to hand on what one processor has counted.
    #[inline(always)]
    pub const fn is_below_a_portion(self) -> bool {
        self.0 & (PORTION | 15 << CODE) == 0
    }
}

const _: () = assert!(size_of::<Packed>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that a packet adds: an IPv6 payload of 65,535 and its header.
    const MOST: u32 = 65_575;

    #[test]
    fn packets_and_bytes_are_added_without_touching_each_other_or_the_code() {
        for bytes in [0, 40, 1500, MOST] {
            let mut word = Packed::empty(15);
            let mut packets = 0;
            while !word.is_half_full() {
                let sum = word.counts();
                assert_eq!(
                    (sum.packets, sum.bytes),
                    (packets, packets * u64::from(bytes))
                );
                // By the thousand: the loop would be long.
                let step = if packets < 5000 { 1 } else { 1000 };
                for _ in 0..step {
                    word = word.plus(Packed::one(bytes));
                    packets += 1;
                    if word.is_half_full() {
                        break;
                    }
                }
            }
            assert_eq!(word.code(), 15, "{bytes}");
            let sum = word.counts();
            assert_eq!(
                (sum.packets, sum.bytes),
                (packets, packets * u64::from(bytes))
            );
        }
    }

    #[test]
    fn a_thousand_processors_cannot_overrun_a_word() {
        // The largest portion: one packet more than what is none.
        for (packets, bytes) in [((1u64 << 15) - 1, 0), (1, (1u64 << 23) - 1)] {
            let below = Packed(packets << PACKETS | bytes);
            assert!(below.is_below_a_portion());
            assert!(!below.plus(Packed::empty(14)).is_below_a_portion());
            let portion = below.plus(Packed::one(MOST));
            let almost = Packed(((1 << 25) - 1) << PACKETS | ((1 << 33) - 1)).0 | 14 << CODE;
            assert!(!Packed(almost).is_half_full());
            let word = (0..1000).fold(Packed(almost), |word, _| word.plus(portion));
            assert_eq!(word.code(), 14);
            let (sum, of) = (word.counts(), portion.counts());
            assert_eq!(sum.packets, (1 << 25) - 1 + 1000 * of.packets);
            assert_eq!(sum.bytes, (1 << 33) - 1 + 1000 * of.bytes);
        }
    }
}
