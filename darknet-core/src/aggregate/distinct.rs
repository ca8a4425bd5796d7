use super::registers::Registers;

/// How many distinct hosts there were in a set that is not kept as such.
///
/// Exact while they are few (their 64-bit hashes are kept, so two hosts are taken for one with odds
/// of less than 10^-11), estimated beyond that. The estimate is unbiased, of the relative standard
/// error that [`Estimate::error`] states. What is kept is a function of the set alone: neither
/// order nor repetition nor merging changes it.
///
/// | precision | bytes at most | exact to | standard error |
/// |---|---|---|---|
/// | 6 | 64 | 6 hosts | 9.5% |
/// | 8 | 256 | 24 | 4.8% |
/// | 10 | 1,024 | 96 | 2.4% |
/// | 12 | 4,096 | 384 | 1.2% |
/// | 14 | 16,384 | 1,536 | 0.6% |
///
/// # Examples
///
/// ```
/// use darknet_core::aggregate::{Distinct, Seed};
///
/// let seed = Seed::random();
/// let mut hosts = Distinct::new(14);
/// for host in 0..1000_u32 {
///     hosts.insert(seed.hash(host % 500));
/// }
/// assert_eq!(hosts.estimate().count, 500);
/// assert!(hosts.estimate().is_exact());
///
/// (0..100_000_u32).for_each(|host| hosts.insert(seed.hash(host)));
/// let estimate = hosts.estimate();
/// assert!((97_000..103_000).contains(&estimate.count), "five standard errors");
/// ```
#[derive(Clone, Debug)]
pub struct Distinct {
    kept: Kept,
    precision: u8,
}

/// How many distinct things there were: hosts, ports or destinations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many.
    pub count: u64,
    /// One relative standard error; 0 where it is exact.
    pub error: f64,
}

impl Estimate {
    /// Whether it is no estimate but the number.
    pub fn is_exact(&self) -> bool {
        self.error == 0.0
    }
}

impl Distinct {
    /// Precisions that there are.
    pub const PRECISIONS: std::ops::RangeInclusive<u8> = 6..=16;

    /// No host yet. Takes at most 2^`precision` bytes, and starts with none.
    ///
    /// # Panics
    ///
    /// If the precision is not one of [`PRECISIONS`](Self::PRECISIONS).
    pub fn new(precision: u8) -> Self {
        assert!(
            Self::PRECISIONS.contains(&precision),
            "a precision of {precision}"
        );
        Self {
            kept: Kept::default(),
            precision,
        }
    }

    /// Adds a host by its hash: [`Observation::hash`](super::Observation::hash), or
    /// [`Seed::hash`](super::Seed::hash) of what is counted. All hashes must be of one seed.
    #[inline]
    pub fn insert(&mut self, hash: u64) {
        self.kept.insert(hash, self.precision);
    }

    /// Adds all hosts of another, of the same seed. The result has the lower precision of both.
    pub fn merge(&mut self, other: &Self) {
        self.fold(other.precision);
        if other.precision == self.precision {
            self.kept.merge(&other.kept, self.precision);
        } else {
            let mut other = other.clone();
            other.fold(self.precision);
            self.kept.merge(&other.kept, self.precision);
        }
    }

    /// How many distinct hosts there were.
    pub fn estimate(&self) -> Estimate {
        self.kept.estimate(self.precision)
    }

    /// Lowers the precision: it is then what it would have been from the start.
    pub fn fold(&mut self, precision: u8) {
        while self.precision > precision.max(*Self::PRECISIONS.start()) {
            self.precision -= 1;
            self.kept.fold(self.precision);
        }
    }
}

/// Hosts without their precision, which many may have in common.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// The hashes themselves, in an open-addressed table; 0 is a free slot.
    Hashes {
        slots: Box<[u64]>,
        taken: u32,
    },
    Registers(Registers),
}

const _: () = assert!(size_of::<Kept>() == 24);

impl Default for Kept {
    fn default() -> Self {
        Self::Hashes {
            slots: Box::default(),
            taken: 0,
        }
    }
}

/// Slots for the first hashes.
const SLOTS_AT_FIRST: usize = 4;

impl Kept {
    /// Bytes that are taken, a function of the set of hashes and the precision alone.
    pub(super) fn bytes(&self, precision: u8) -> usize {
        match self {
            Self::Hashes { slots, .. } => size_of_val(&slots[..]),
            Self::Registers(_) => 1 << precision,
        }
    }

    /// Reads the memory that adding a hash begins with.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        match self {
            Self::Hashes { slots, .. } => slots
                .get(hash as usize & slots.len().wrapping_sub(1))
                .map_or(0, |slot| *slot),
            Self::Registers(registers) => registers.touch(hash).into(),
        }
    }

    /// Adds a hash, and returns by how many bytes it grew.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, precision: u8) -> usize {
        let hash = hash.max(1);
        match self {
            Self::Registers(registers) => {
                registers.insert(hash);
                0
            }
            Self::Hashes { slots, taken } => {
                let mask = slots.len().wrapping_sub(1);
                let mut at = hash as usize & mask;
                while let Some(slot) = slots.get_mut(at) {
                    if *slot == hash {
                        return 0;
                    }
                    if *slot == 0 {
                        if (*taken as usize + 1) * 4 > (mask + 1) * 3 {
                            break;
                        }
                        *slot = hash;
                        *taken += 1;
                        return 0;
                    }
                    at = (at + 1) & mask;
                }
                self.grow(hash, precision)
            }
        }
    }

    /// Twice the slots, or registers where these take no more.
    #[inline(never)]
    fn grow(&mut self, hash: u64, precision: u8) -> usize {
        let Self::Hashes { slots, .. } = self else {
            return 0;
        };
        let before = size_of_val(&slots[..]);
        let old = std::mem::take(slots);
        let doubled = (old.len() * 2).max(SLOTS_AT_FIRST);
        *self = if doubled * size_of::<u64>() > 1 << precision {
            Self::Registers(Registers::new(precision))
        } else {
            Self::Hashes {
                slots: vec![0; doubled].into(),
                taken: 0,
            }
        };
        for hash in old.into_iter().filter(|&hash| hash != 0).chain([hash]) {
            self.insert(hash, precision);
        }
        self.bytes(precision) - before
    }

    /// Adds the hashes of another of the same precision, and returns by how many bytes it grew.
    pub(super) fn merge(&mut self, other: &Self, precision: u8) -> usize {
        let before = self.bytes(precision);
        match (&mut *self, other) {
            (_, Self::Hashes { slots, .. }) => {
                for &hash in slots.iter().filter(|hash| **hash != 0) {
                    self.insert(hash, precision);
                }
            }
            (Self::Registers(mine), Self::Registers(theirs)) => mine.merge(theirs),
            (Self::Hashes { .. }, Self::Registers(theirs)) => {
                let mine = std::mem::replace(self, Self::Registers(theirs.clone()));
                self.merge(&mine, precision);
            }
        }
        self.bytes(precision) - before
    }

    /// Halves the registers, or turns hashes into registers, where they would take more than
    /// 2^`precision` bytes: one less than the precision so far.
    pub(super) fn fold(&mut self, precision: u8) {
        match self {
            Self::Registers(registers) => registers.fold(),
            Self::Hashes { slots, .. } if size_of_val(&slots[..]) > 1 << precision => {
                let mut registers = Registers::new(precision);
                for &hash in slots.iter().filter(|hash| **hash != 0) {
                    registers.insert(hash);
                }
                *self = Self::Registers(registers);
            }
            Self::Hashes { .. } => {}
        }
    }

    pub(super) fn estimate(&self, precision: u8) -> Estimate {
        match self {
            Self::Hashes { taken, .. } => Estimate {
                count: u64::from(*taken),
                error: 0.0,
            },
            Self::Registers(registers) => Estimate {
                count: registers.estimate().round() as u64,
                error: Registers::error(precision),
            },
        }
    }
}

#[cfg(test)]
mod tests;
