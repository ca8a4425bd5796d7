//! The registers of an UltraLogLog: how many distinct hashes there were, in a byte for each of
//! 2^precision registers.
//!
//! Otmar Ertl, "UltraLogLog: A Practical and More Space-Efficient Alternative to HyperLogLog for
//! Approximate Distinct Counting", PVLDB 17(7), 2024. The registers are the paper's; the estimate
//! is the maximum of the likelihood that follows from them, found by Newton's method.

/// Each register keeps the highest bit that one of its hashes has set, and whether the two bits
/// below it are set too.
///
/// The first `precision` bits of a hash choose the register. The number of zeros that follow
/// chooses the bit: `precision - 1` where there is none, one more for each zero. So a register
/// doesn't change its value when the precision is halved, and what is kept is a function of the
/// set of hashes alone: order, repetition and merging don't matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers(Box<[u8]>);

impl Registers {
    /// Registers for a precision from 4 to 26; memory is 2^precision bytes.
    pub(super) fn new(precision: u8) -> Self {
        debug_assert!((4..=26).contains(&precision));
        Self(vec![0; 1 << precision].into())
    }

    /// One standard error of an estimate, relative: section 3 of the paper, at 8 bits a register
    /// a variance of 4.63 / 8 / registers.
    pub(super) fn error(precision: u8) -> f64 {
        (4.63 / 8.0 / f64::from(1_u32 << precision)).sqrt()
    }

    /// The register of a hash, to fetch its memory early.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u8 {
        self.0[(hash >> (64 - self.0.len().ilog2())) as usize]
    }

    #[inline]
    pub(super) fn insert(&mut self, hash: u64) {
        insert(&mut self.0, hash);
    }

    /// Adds the hashes of another of the same precision.
    pub(super) fn merge(&mut self, other: &Self) {
        merge(&mut self.0, &other.0);
    }

    /// Halves the registers: what they would be if they had been half as many from the start.
    pub(super) fn fold(&mut self) {
        // The last bit of the register's number is now the first after it: if it is set, no zero
        // follows, whatever came then.
        let no_zero = 1 << (self.0.len().ilog2() - 2);
        let halves = self.0.chunks_exact(2).map(|pair| {
            let odd = if pair[1] == 0 { 0 } else { no_zero };
            pack(unpack(pair[0]) | odd)
        });
        self.0 = halves.collect();
    }

    /// How many distinct hashes there were, most likely.
    pub(super) fn estimate(&self) -> f64 {
        estimate(&self.0)
    }
}

/// Adds a hash to registers, a power of two of them.
#[inline]
pub(super) fn insert(registers: &mut [u8], hash: u64) {
    let precision = registers.len().ilog2();
    let register = &mut registers[(hash >> (64 - precision)) as usize];
    // Ones after the end, so that there are 64 - precision zeros at most.
    let zeros = (hash << precision | ((1 << precision) - 1)).leading_zeros();
    let bit = zeros + precision - 1;
    // What `both` says, of one register, where that would become branches: whether a hash changes anything is
    // not to be foreseen.
    let (mine, own) = (u32::from(*register >> 2), u32::from(*register & 3 | 4));
    let highest = mine.max(bit);
    let seen = u64::from(own) >> (highest - mine) | 4 >> (highest - bit);
    *register = (highest << 2) as u8 | (seen & 3) as u8;
}

/// Adds the hashes of as many other registers.
pub(super) fn merge(mine: &mut [u8], theirs: &[u8]) {
    debug_assert_eq!(mine.len(), theirs.len());
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = both(*mine, *theirs);
    }
}

/// How many distinct hashes there were, most likely.
pub(super) fn estimate(registers: &[u8]) -> f64 {
    // Were there x hashes for each register, a register had seen so many zeros (first is 1)
    // with probability 1 - exp(-x / 2^zeros), each independently of the others.
    let (mut missing, mut seen) = (0.0, [0_u32; 65]);
    let mut values = [0_u32; 256];
    registers
        .iter()
        .for_each(|&value| values[usize::from(value)] += 1);
    let precision = registers.len().ilog2() as usize;
    // The last two have the same chance: nothing but zeros, and a one at the end.
    let last = 64 - precision;
    for (value, &count) in values.iter().enumerate().filter(|(_, count)| **count > 0) {
        if value == 0 {
            missing += f64::from(count);
            continue;
        }
        let highest = (value >> 2) + 2 - precision;
        seen[highest.min(last)] += count;
        if highest <= last {
            missing += f64::from(count) * half_to(highest);
        }
        for below in [1, 2] {
            if highest <= below {
                continue;
            }
            let rank = highest - below;
            if value >> (2 - below) & 1 == 1 {
                seen[rank] += count;
            } else {
                missing += f64::from(count) * half_to(rank);
            }
        }
    }
    (registers.len() as f64 * likeliest(missing, &seen)).min(u64::MAX as f64)
}

/// The x for which the sum over ranks of `seen[rank] / 2^rank / (exp(x / 2^rank) - 1)` is `missing`:
/// there the likelihood is greatest.
fn likeliest(missing: f64, seen: &[u32; 65]) -> f64 {
    if missing == 0.0 {
        return f64::INFINITY;
    }
    let all: f64 = seen.iter().copied().map(f64::from).sum();
    let weighed = seen.iter().zip(0..);
    let weighed: f64 = weighed
        .map(|(&seen, rank)| f64::from(seen) * half_to(rank))
        .sum();
    if all == 0.0 {
        return 0.0;
    }
    // y / (exp(y) - 1) >= 1 - y / 2, so this is not above the solution. The sum falls ever more
    // slowly, so Newton's steps grow towards the solution and never pass it.
    let mut x = all / (missing + weighed / 2.0);
    for _ in 0..64 {
        let (mut sum, mut slope) = (-missing, 0.0);
        // exp(x / 2^rank) - 1, from the last rank to the first by squaring.
        let mut power = (x * half_to(64)).exp_m1();
        for rank in (1..65).rev() {
            if seen[rank] > 0 {
                let term = f64::from(seen[rank]) * half_to(rank) / power;
                sum += term;
                slope -= term * half_to(rank) * (1.0 + 1.0 / power);
            }
            power *= power + 2.0;
        }
        let step = -sum / slope;
        x += step;
        if step < x * 1e-9 {
            break;
        }
    }
    x
}

/// 2^-exponent.
fn half_to(exponent: usize) -> f64 {
    1.0 / (1_u128 << exponent) as f64
}

#[inline]
fn unpack(register: u8) -> u64 {
    let bits = u64::from(register & 3 | 4);
    // Bit `precision - 1` is the lowest.
    match register {
        0 => 0,
        _ => bits << ((register >> 2) - 2),
    }
}

#[inline]
fn pack(bits: u64) -> u8 {
    if bits == 0 {
        return 0;
    }
    let highest = 63 - bits.leading_zeros();
    (highest << 2) as u8 | (bits >> (highest - 2) & 3) as u8
}

/// `pack(unpack(mine) | unpack(theirs))`, in a form that becomes vector instructions.
#[inline]
fn both(mine: u8, theirs: u8) -> u8 {
    let (high, low) = (mine.max(theirs), mine.min(theirs));
    // The bits of the lower one as seen from the highest bit of the higher. An empty register is 0
    // and the lowest highest bit 3, so that it is never seen.
    let seen = match (high >> 2) - (low >> 2) {
        0 => low & 3,
        1 => 2 | low >> 1 & 1,
        2 => 1,
        _ => 0,
    };
    high | seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::Seed;

    fn of(precision: u8, hashes: &[u64]) -> Registers {
        let mut registers = Registers::new(precision);
        hashes.iter().for_each(|&hash| registers.insert(hash));
        registers
    }

    #[test]
    fn a_register_keeps_its_highest_bit_and_two_below() {
        for bits in [0, 4, 0b1011 << 3, 1 << 63, 0b1_1000 << 20, u64::MAX] {
            let kept = unpack(pack(bits));
            let highest = 64 - bits.leading_zeros();
            let mask = if bits == 0 { 0 } else { 7 << (highest - 3) };
            assert_eq!(kept, bits & mask, "{bits:b}");
        }
    }

    /// An empty one, and all that there are of `precision`.
    fn possible(precision: u8) -> impl Iterator<Item = u8> {
        [0].into_iter().chain((precision - 1) << 2..=255)
    }

    #[test]
    fn inserting_into_a_register_is_adding_a_bit() {
        for (precision, zeros) in (4..=9).flat_map(|of| (0..=64 - of).map(move |zeros| (of, zeros)))
        {
            // Of the first register, with so many zeros after its number.
            let hash = (1_u64 << 63).unbounded_shr(u32::from(precision + zeros));
            for register in possible(precision) {
                let mut registers = vec![register; 1 << precision];
                insert(&mut registers, hash);
                let bit = 1 << (zeros + precision - 1);
                let expected = pack(unpack(register) | bit);
                assert_eq!(
                    registers[0], expected,
                    "{register:#x} {zeros} of {precision}"
                );
                assert!(registers[1..].iter().all(|other| *other == register));
            }
        }
    }

    #[test]
    fn merging_two_registers_is_merging_their_bits() {
        let possible = || possible(4);
        for (mine, theirs) in possible().flat_map(|mine| possible().map(move |other| (mine, other)))
        {
            let expected = pack(unpack(mine) | unpack(theirs));
            assert_eq!(both(mine, theirs), expected, "{mine:#x} {theirs:#x}");
        }
    }

    proptest! {
        #[test]
        fn folded_registers_are_those_of_half_the_precision(
            hashes in prop::collection::vec(prop_oneof![any::<u64>(), (0..64u32).prop_map(|zeros| u64::MAX >> zeros), Just(0)], 0..300),
        ) {
            let mut folded = of(8, &hashes);
            for precision in (4..8).rev() {
                folded.fold();
                prop_assert_eq!(&folded, &of(precision, &hashes));
            }
        }

        #[test]
        fn merged_registers_are_those_of_the_union(
            hashes in prop::collection::vec(any::<u64>(), 0..300), at in 0..300usize,
        ) {
            let (first, second) = hashes.split_at(at.min(hashes.len()));
            let mut merged = of(4, second);
            merged.merge(&of(4, first));
            prop_assert_eq!(merged, of(4, &hashes));
        }
    }

    #[test]
    fn the_estimate_has_the_error_that_is_stated() {
        for (precision, hosts) in [(6, 40), (10, 10), (10, 1_000), (10, 30_000), (12, 100_000)] {
            let rounds = 60;
            let (mut squares, mut sum) = (0.0, 0.0);
            for _ in 0..rounds {
                let seed = Seed::random();
                let mut registers = Registers::new(precision);
                (0..hosts).for_each(|host: u32| registers.insert(seed.key(host)));
                let error = registers.estimate() / f64::from(hosts) - 1.0;
                squares += error * error;
                sum += error;
            }
            let (stated, rounds) = (Registers::error(precision), f64::from(rounds));
            let (error, bias) = ((squares / rounds).sqrt(), sum / rounds);
            // Five times the standard error of either figure; few hosts have a smaller one.
            let at_most = stated * (1.0 + 5.0 / (2.0 * rounds).sqrt());
            assert!(error < at_most, "{hosts} at {precision}: {error}");
            assert!(
                bias.abs() < stated * 5.0 / rounds.sqrt() + 0.01 * f64::from(precision == 6),
                "{hosts} at {precision}: {bias}"
            );
        }
    }

    #[test]
    fn nothing_is_nothing_and_everything_is_not_infinite() {
        assert_eq!(Registers::new(5).estimate(), 0.0);
        let full = Registers(vec![255; 32].into());
        assert!(full.estimate() > 1e18);
        assert!(full.estimate().is_finite());
    }
}
