//! Entries that have numbers and never move.

/// Entries side by side, numbered from 1 in the order in which they came. Number 0 is no entry: where
/// there are any, what is read there is the default, which saves a branch.
#[derive(Clone, Debug)]
pub(super) struct Pool<T> {
    chunks: Vec<Box<[T; CHUNK]>>,
    taken: u32,
}

/// Entries in a chunk: some pages, so that little is empty and the list of chunks is short.
const CHUNK: usize = 128;

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
        Some(&self.chunks.get(at / CHUNK)?[at % CHUNK])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let at = number as usize;
        Some(&mut self.chunks.get_mut(at / CHUNK)?[at % CHUNK])
    }

    /// Adds an entry, and returns its number.
    pub(super) fn push(&mut self, entry: T) -> u32 {
        let at = self.len() + 1;
        if at / CHUNK == self.chunks.len() {
            let chunk = vec![T::default(); CHUNK].into_boxed_slice().try_into();
            self.chunks.push(chunk.ok().expect("as many as it has"));
        }
        self.chunks[at / CHUNK][at % CHUNK] = entry;
        self.taken += 1;
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
