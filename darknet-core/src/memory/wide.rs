use std::{
    fmt,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use super::blocks::{self, CHUNK};

/// A boxed slice, on huge pages where the kernel has them and it is not small: tables of many megabytes
/// then need few places in the processor's cache of page addresses (the TLB).
pub(crate) struct Wide<T, L: Length = usize> {
    first: NonNull<T>,
    length: L,
}

/// 16 KiB of entries. As their number is in the type, a list of chunks is half as long, and a place that is
/// the remainder of a division by it is in bounds, without a comparison.
pub(crate) type Chunk<T> = Wide<T, Full>;

/// How many entries a slice has.
///
/// # Safety
///
/// It says the same each time.
pub(crate) unsafe trait Length: Copy {
    fn of<T>(self) -> usize;
}

// SAFETY: a number is the same each time.
unsafe impl Length for usize {
    #[inline]
    fn of<T>(self) -> usize {
        self
    }
}

/// As many as a chunk has room for.
#[derive(Clone, Copy)]
pub(crate) struct Full;

// SAFETY: it is a constant.
unsafe impl Length for Full {
    #[inline]
    fn of<T>(self) -> usize {
        Chunk::<T>::LENGTH
    }
}

// SAFETY: it owns its entries, as a box does; a length is a number or none.
unsafe impl<T: Send, L: Length> Send for Wide<T, L> {}
// SAFETY: as above.
unsafe impl<T: Sync, L: Length> Sync for Wide<T, L> {}

impl<T> Chunk<T> {
    /// How many entries there are.
    pub(crate) const LENGTH: usize = {
        assert!(CHUNK.is_multiple_of(size_of::<T>()));
        CHUNK / size_of::<T>()
    };
}

impl<T: Copy + Default> Chunk<T> {
    /// As many defaults.
    pub(crate) fn full() -> Self {
        Self::with(Full)
    }
}

impl<T: Copy + Default> Wide<T> {
    /// So many defaults.
    ///
    /// # Panics
    ///
    /// If they take more bytes than there are addresses.
    pub(crate) fn new(length: usize) -> Self {
        Self::with(length)
    }
}

impl<T: Copy + Default, L: Length> Wide<T, L> {
    fn with(length: L) -> Self {
        let bytes = length.of::<T>().checked_mul(size_of::<T>()).expect("bytes");
        let first = blocks::take(bytes).cast::<T>();
        const { assert!(align_of::<T>() <= blocks::ALIGNED) }
        let places = first.cast::<MaybeUninit<T>>().as_ptr();
        // SAFETY: there is room for so many entries, aligned for any, and nobody else has it; that
        // nothing is there yet is what the type says.
        let places = unsafe { slice::from_raw_parts_mut(places, length.of::<T>()) };
        places.fill(MaybeUninit::new(T::default()));
        Self { first, length }
    }
}

impl<T, L: Length> Deref for Wide<T, L> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `with` wrote so many entries; they are ours until drop, and borrowed as `self` is.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.length.of::<T>()) }
    }
}

impl<T, L: Length> DerefMut for Wide<T, L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.length.of::<T>()) }
    }
}

impl<T: Copy + Default> Default for Wide<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T: Copy + Default, L: Length> Clone for Wide<T, L> {
    fn clone(&self) -> Self {
        let mut clone = Self::with(self.length);
        clone.copy_from_slice(self);
        clone
    }
}

impl<T: fmt::Debug, L: Length> fmt::Debug for Wide<T, L> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl<T, L: Length> Drop for Wide<T, L> {
    fn drop(&mut self) {
        let Self { first, length } = self;
        // SAFETY: `with` took so many bytes there. Entries are `Copy`: there is nothing to drop.
        unsafe { blocks::give_back(first.cast(), length.of::<T>() * size_of::<T>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn slices_are_apart_and_keep_what_is_written() {
        let threads = (0..4_usize).map(|thread| {
            thread::spawn(move || {
                let mut slices: Vec<Wide<[u32; 4]>> = Vec::new();
                let rounds = if cfg!(miri) { 30 } else { 400 };
                for round in 0..rounds {
                    let lengths = [0, 1, 100, 1 << 10, 1 << 12, 5_000, 1 << 17];
                    let length = lengths[round % if cfg!(miri) { 4 } else { 7 }];
                    let mut slice = Wide::new(length);
                    assert!(slice.iter().all(|entry| *entry == [0; 4]), "new is empty");
                    slice.fill([(thread << 16 | round) as u32; 4]);
                    slices.push(slice.clone());
                    if round > 20 {
                        slices.swap_remove(round * 7 % slices.len());
                    }
                    for slice in &slices {
                        assert!(
                            slice.iter().all(|entry| *entry == slice[0]),
                            "nobody wrote there"
                        );
                        assert!(
                            slice
                                .first()
                                .is_none_or(|entry| entry[0] >> 16 == thread as u32)
                        );
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }

    #[test]
    fn it_may_be_read_by_many_and_dropped_by_another_thread() {
        let mut slice = Wide::<u64>::new(1 << 12);
        slice[7] = 7;
        let slice = Arc::new(slice);
        let threads: Vec<_> = (0..4)
            .map(|_| Arc::clone(&slice))
            .map(|slice| thread::spawn(move || assert_eq!(slice[7], 7)))
            .collect();
        drop(slice);
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }

    #[test]
    fn a_chunk_is_full_of_defaults_and_a_clone_is_apart() {
        let mut chunk = Chunk::<[u64; 8]>::full();
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
