use std::{
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use super::blocks;

/// A boxed slice, on huge pages where the kernel has them and it is not small: tables of many megabytes
/// then need few places in the processor's cache of page addresses (the TLB).
pub(crate) struct Wide<T> {
    first: NonNull<T>,
    length: usize,
}

// SAFETY: it owns its entries, as a box does.
unsafe impl<T: Send> Send for Wide<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Wide<T> {}

impl<T: Copy + Default> Wide<T> {
    /// So many defaults.
    ///
    /// # Panics
    ///
    /// If they take more bytes than there are addresses.
    pub(crate) fn new(length: usize) -> Self {
        let first = blocks::take(Self::bytes(length)).cast::<T>();
        const { assert!(align_of::<T>() <= blocks::ALIGNED) }
        let places = first.cast::<MaybeUninit<T>>().as_ptr();
        // SAFETY: there is room for so many entries, aligned for any, and nobody else has it; that
        // nothing is there yet is what the type says.
        let places = unsafe { slice::from_raw_parts_mut(places, length) };
        places.fill(MaybeUninit::new(T::default()));
        Self { first, length }
    }

    fn bytes(length: usize) -> usize {
        length.checked_mul(size_of::<T>()).expect("bytes")
    }
}

impl<T> Wide<T> {
    /// Its first entry, for [`from_first`](Self::from_first); nobody owns the entries meanwhile.
    pub(super) fn into_first(self) -> NonNull<T> {
        ManuallyDrop::new(self).first
    }

    /// What it was before [`into_first`](Self::into_first).
    ///
    /// # Safety
    ///
    /// `first` is from there, of a slice of this length, and this is called once for it.
    pub(super) unsafe fn from_first(first: NonNull<T>, length: usize) -> Self {
        Self { first, length }
    }
}

impl<T> Deref for Wide<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` wrote so many entries; they are ours until drop, and borrowed as `self` is.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for Wide<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

impl<T: Copy + Default> Default for Wide<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T: Copy + Default> Clone for Wide<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.len());
        clone.copy_from_slice(self);
        clone
    }
}

impl<T: fmt::Debug> fmt::Debug for Wide<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl<T> Drop for Wide<T> {
    fn drop(&mut self) {
        let Self { first, length } = self;
        // SAFETY: `new` took so many bytes there. Entries are `Copy`: there is nothing to drop.
        unsafe { blocks::give_back(first.cast(), *length * size_of::<T>()) };
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
}
