/// SplitMix64's increment, 2^64 divided by the golden ratio (Steele, Lea, Flood: Fast splittable
/// pseudorandom number generators, OOPSLA 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (Stafford's mix 13): a bijection of 64-bit words.
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Word number `counter` of the stream that `key` names.
pub(super) const fn word(key: u64, counter: u64) -> u64 {
    mix(key.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// `draw` scaled to 0..`bound` by multiplication (Lemire, 2019, without the rejection: the bias is
/// below `bound` / 2^64).
pub(super) const fn below(draw: u64, bound: u64) -> u64 {
    ((draw as u128 * bound as u128) >> 64) as u64
}

/// What a draw is for. The numbers are part of the format: changing one changes every capture.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(super) enum Field {
    Flow = 0,
    Source = 1,
    DestinationBlock = 2,
    Destination = 3,
    DestinationHigh = 4,
    Port = 5,
    PortInRange = 6,
    OtherPort = 7,
    Sequence = 8,
    Acknowledgement = 9,
    /// Identification, time to live, window, don't fragment: 16, 16, 16 and 1 bits.
    Header = 10,
    Variant = 11,
    VariantValue = 12,
    FragmentOffset = 13,
    Quote = 14,
    /// The first of many: payload word n is field 256 + n.
    Payload = 256,
}

/// The draws of one packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    key: u64,
}

impl Draws {
    /// Those of packet `index` under `seed`.
    pub(super) const fn new(seed: u64, index: u64) -> Self {
        Self {
            key: word(mix(seed), index),
        }
    }

    /// 64 bits for `field`.
    pub(super) const fn draw(self, field: Field) -> u64 {
        word(self.key, field as u64)
    }

    /// A number in 0..`bound` for `field`.
    pub(super) const fn below(self, field: Field, bound: u64) -> u64 {
        below(self.draw(field), bound)
    }

    /// Word number `number` of the payload.
    pub(super) const fn payload(self, number: u64) -> u64 {
        word(self.key, Field::Payload as u64 + number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The reference implementation's first outputs from seed 1234567
        // (https://prng.di.unimi.it/splitmix64.c).
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (counter, value) in (0..).zip(expected) {
            assert_eq!(word(1_234_567, counter), value, "word {counter}");
        }
    }

    #[test]
    fn a_bounded_draw_reaches_both_ends_and_stays_inside() {
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, 1), 0);
    }
}
