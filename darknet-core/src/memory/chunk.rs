use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use super::{CHUNK, Wide};

/// [`CHUNK`] bytes of entries. As their number is in the type, a list of chunks is half as long, and a place
/// that is the remainder of a division by it is in bounds, without a comparison.
pub(crate) struct Chunk<T> {
    first: NonNull<T>,
}

// SAFETY: it owns its entries, as a box does.
unsafe impl<T: Send> Send for Chunk<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Chunk<T> {}

impl<T> Chunk<T> {
    /// How many there are.
    pub(crate) const LENGTH: usize = {
        assert!(CHUNK.is_multiple_of(size_of::<T>()));
        CHUNK / size_of::<T>()
    };
}

impl<T: Copy + Default> Chunk<T> {
    /// As many defaults.
    pub(crate) fn new() -> Self {
        let first = Wide::new(Self::LENGTH).into_first();
        Self { first }
    }
}

impl<T> Deref for Chunk<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` made so many entries; they are ours until drop, and borrowed as `self` is.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), Self::LENGTH) }
    }
}

impl<T> DerefMut for Chunk<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), Self::LENGTH) }
    }
}

impl<T: Copy + Default> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::new();
        clone.copy_from_slice(self);
        clone
    }
}

impl<T: fmt::Debug> fmt::Debug for Chunk<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        // SAFETY: `new` took them from a slice of this length, and nobody uses them any more.
        drop(unsafe { Wide::from_first(self.first, Self::LENGTH) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_full_of_defaults_and_a_clone_is_apart() {
        let mut chunk = Chunk::<[u64; 8]>::new();
        assert_eq!(chunk.len(), CHUNK / 64);
        assert!(chunk.iter().all(|entry| *entry == [0; 8]));
        chunk[7] = [7; 8];
        let mut clone = chunk.clone();
        clone[7][0] = 8;
        assert_eq!((chunk[7][0], clone[7][0], clone[7][1]), (7, 8, 7));
        drop(chunk);
        clone.fill([9; 8]);
        assert!(clone.iter().all(|entry| *entry == [9; 8]));
    }
}
