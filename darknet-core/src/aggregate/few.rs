//! Distinct numbers in 64 bytes: the numbers themselves while they are few, then registers.

use super::{
    distinct::Estimate,
    registers::{self, Registers},
};

/// Distinct numbers of `WIDTH` bytes: exact to 60 / `WIDTH`, estimated above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Few<const WIDTH: usize> {
    /// Arrays of no more than 32 have a default.
    bytes: [[u8; 32]; 2],
}

/// How many numbers there are, as far as they are kept; kept beside them, where there is room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken(u8);

/// There are registers.
const MANY: u8 = u8::MAX;
/// 64 registers.
const PRECISION: u8 = 6;

impl Taken {
    /// Whether there are registers.
    #[inline]
    pub(super) fn are_many(self) -> bool {
        self.0 == MANY
    }

    /// Whether there are so many numbers; no more than 60 / `WIDTH`.
    #[inline]
    pub(super) fn at_least(self, count: u8) -> bool {
        self.0 >= count
    }
}

impl<const WIDTH: usize> Few<WIDTH> {
    /// Numbers that are kept themselves.
    const EXACT: usize = 60 / WIDTH;

    /// Reads the memory that adding a number begins with.
    #[inline]
    pub(super) fn touch(&self) -> u8 {
        self.bytes[0][0]
    }

    /// Adds a number; `hash` is that of any number.
    #[inline]
    pub(super) fn insert(&mut self, taken: &mut Taken, number: u32, hash: impl Fn(u32) -> u64) {
        let bytes = self.bytes.as_flattened_mut();
        if taken.0 == MANY {
            registers::insert(bytes, hash(number));
            return;
        }
        let wanted = *number.to_le_bytes().first_chunk().expect("4 bytes at most");
        let length = usize::from(taken.0) * WIDTH;
        let among = |bytes: &[u8]| {
            let (kept, _) = bytes.as_chunks::<WIDTH>();
            kept.iter()
                .fold(false, |known, kept| known | (*kept == wanted))
        };
        // All of them, whatever is taken: no branch for each. Free ones are 0.
        let known = match wanted == [0; WIDTH] {
            true => among(&bytes[..length]),
            false => among(bytes),
        };
        if known {
            return;
        }
        if usize::from(taken.0) < Self::EXACT {
            bytes[length..length + WIDTH].copy_from_slice(&wanted);
            taken.0 += 1;
            return;
        }
        let registered = hash(number);
        self.make_registers(taken, hash);
        registers::insert(self.bytes.as_flattened_mut(), registered);
    }

    #[inline(never)]
    fn make_registers(&mut self, taken: &mut Taken, hash: impl Fn(u32) -> u64) {
        let numbers: Vec<u32> = self.numbers(*taken).collect();
        *self = Self::default();
        taken.0 = MANY;
        for number in numbers {
            registers::insert(self.bytes.as_flattened_mut(), hash(number));
        }
    }

    /// Adds the numbers of another.
    pub(super) fn merge(
        &mut self,
        taken: &mut Taken,
        other: (&Self, Taken),
        hash: impl Fn(u32) -> u64,
    ) {
        let (other, theirs) = other;
        if theirs.0 != MANY {
            other
                .numbers(theirs)
                .for_each(|number| self.insert(taken, number, &hash));
            return;
        }
        let mine = (*self, *taken);
        if taken.0 == MANY {
            registers::merge(self.bytes.as_flattened_mut(), other.bytes.as_flattened());
        } else {
            (*self, taken.0) = (*other, MANY);
            mine.0
                .numbers(mine.1)
                .for_each(|number| self.insert(taken, number, &hash));
        }
    }

    pub(super) fn estimate(&self, taken: Taken) -> Estimate {
        match taken.0 {
            MANY => Estimate {
                count: registers::estimate(self.bytes.as_flattened()).round() as u64,
                error: Registers::error(PRECISION),
            },
            count => Estimate {
                count: count.into(),
                error: 0.0,
            },
        }
    }

    /// The numbers that are kept; none where there are registers.
    pub(super) fn numbers(&self, taken: Taken) -> impl Iterator<Item = u32> + '_ {
        let count = if taken.0 == MANY { 0 } else { taken.0.into() };
        let kept = self.bytes.as_flattened().chunks_exact(WIDTH).take(count);
        kept.map(|kept| {
            let mut number = [0; 4];
            number[..WIDTH].copy_from_slice(kept);
            u32::from_le_bytes(number)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::Seed;

    fn of<const WIDTH: usize>(numbers: &[u32], seed: &Seed) -> (Few<WIDTH>, Taken) {
        let (mut few, mut taken) = (Few::default(), Taken::default());
        for &number in numbers {
            few.insert(&mut taken, number, |number| seed.hash(number));
        }
        (few, taken)
    }

    fn say<const WIDTH: usize>((few, taken): (Few<WIDTH>, Taken)) -> (Estimate, BTreeSet<u32>) {
        (few.estimate(taken), few.numbers(taken).collect())
    }

    proptest! {
        #[test]
        fn few_are_exact_many_are_near_and_merging_is_the_union(
            numbers in prop::collection::vec(0..200_u32, 0..120), at in 0..120_usize,
        ) {
            let seed = Seed::random();
            let (first, second) = numbers.split_at(at.min(numbers.len()));
            let whole = of::<2>(&numbers, &seed);
            let (mut merged, mut taken) = of::<2>(second, &seed);
            let (few, theirs) = of::<2>(first, &seed);
            merged.merge(&mut taken, (&few, theirs), |number| seed.hash(number));
            prop_assert_eq!(say((merged, taken)), say(whole));

            let set: BTreeSet<u32> = numbers.iter().copied().collect();
            let count = set.len();
            let (estimate, kept) = say(whole);
            if count <= 30 {
                prop_assert_eq!((estimate.count, estimate.error), (count as u64, 0.0));
                prop_assert_eq!(kept, set);
                let at_least = [0, 1, 15, 30].map(|n| whole.1.at_least(n));
                prop_assert_eq!(at_least, [0, 1, 15, 30].map(|n| count >= n));
            } else {
                prop_assert!(whole.1.at_least(30) && estimate.error > 0.09);
                let off = estimate.count as f64 / count as f64 - 1.0;
                prop_assert!(off.abs() < 6.0 * estimate.error, "{count}: {off}");
            }
        }

        #[test]
        fn wide_numbers_are_told_apart_by_all_their_bytes(numbers in prop::collection::btree_set(any::<u32>(), 0..15)) {
            let list: Vec<u32> = numbers.iter().copied().collect();
            prop_assert_eq!(say(of::<4>(&list, &Seed::random())).1, numbers);
        }
    }
}
