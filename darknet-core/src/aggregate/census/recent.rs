//! Pairs of source and place that were spilled a short time ago.

/// Pairs that need not be looked for again, as long as their source is not forgotten. A source at many
/// ports comes back to some of them.
#[derive(Clone, Debug)]
pub(super) struct Recent(Box<[u64]>);

/// 128 KiB: within a second-level cache.
const PLACES: usize = 1 << 14;

#[inline]
fn place(key: u64) -> usize {
    // Fibonacci hashing: who makes them collide makes them be looked for.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.ilog2())) as usize
}

impl Recent {
    pub(super) fn new() -> Self {
        Self(vec![0; PLACES].into())
    }

    /// Whether a pair was added, and none since that takes its place. 0 is no pair.
    #[inline]
    pub(super) fn has(&self, key: u64) -> bool {
        self.0[place(key)] == key && key != 0
    }

    #[inline]
    pub(super) fn add(&mut self, key: u64) {
        self.0[place(key)] = key;
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}
