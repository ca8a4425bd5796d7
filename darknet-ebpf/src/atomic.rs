//! What Rust has no stable name for on this target: additions that several processors may make to
//! one word. Since version 5.12 the kernel has instructions for them.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

/// A word that all processors write.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut u64);

impl Shared {
    /// What is there.
    #[inline(always)]
    pub(crate) fn load(self) -> u64 {
        // SAFETY: the caller's word is in a map; an aligned load of eight bytes is one access.
        unsafe { self.0.read_volatile() }
    }

    /// Writes what others read only after they have seen it published.
    #[inline(always)]
    pub(crate) fn store(self, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.write_volatile(value) }
    }

    /// Adds, and says what was there. Ordered with all that is read and written before and after.
    #[inline(always)]
    pub(crate) fn add(self, value: u64) -> u64 {
        // SAFETY: the word is in a map and aligned; the instruction takes nothing else.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(self.0, value) }
    }

    /// Writes `new` if `old` is there; says whether it was. Ordered as [`add`](Self::add).
    #[inline(always)]
    pub(crate) fn replace(self, old: u64, new: u64) -> bool {
        const ALL: AtomicOrdering = AtomicOrdering::SeqCst;
        // SAFETY: as above.
        unsafe { atomic_cxchg::<u64, ALL, ALL>(self.0, old, new).1 }
    }
}
