//! Entries that have numbers and never move.

use crate::memory::Chunk;

/// Entries side by side, numbered from 1 in the order in which they came. Number 0 is no entry: where
/// there are any, what is read there is the default, which saves a branch.
#[derive(Clone, Debug)]
pub(super) struct Pool<T: Copy + Default> {
    chunks: Vec<Chunk<T>>,
    taken: u32,
}

impl<T: Copy + Default> Pool<T> {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.taken as usize
    }

    /// Bytes of the entries, without what is empty in the last chunk.
    pub(super) fn bytes(&self) -> usize {
        self.len() * size_of::<T>()
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let at = number as usize;
        let chunk = self.chunks.get(at / Chunk::<T>::LENGTH)?;
        Some(&chunk[at % Chunk::<T>::LENGTH])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let at = number as usize;
        let chunk = self.chunks.get_mut(at / Chunk::<T>::LENGTH)?;
        Some(&mut chunk[at % Chunk::<T>::LENGTH])
    }

    /// Adds an entry, and returns its number.
    pub(super) fn push(&mut self, entry: T) -> u32 {
        let at = self.len() + 1;
        if at / Chunk::<T>::LENGTH == self.chunks.len() {
            self.chunks.push(Chunk::full());
        }
        self.taken += 1;
        *self.get_mut(self.taken).expect("just made") = entry;
        self.taken
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .take(self.len() + 1)
            .skip(1)
    }
}
