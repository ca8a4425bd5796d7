use std::mem;

use super::{Seed, table::Slot};

/// A hash table with a fixed bound whose entries lie side by side, in the order in which they came,
/// behind an index of four bytes a place that is between three eighths and three quarters full.
///
/// For entries of several cache lines: free places take no memory, and growing moves no entry.
#[derive(Clone, Debug)]
pub(super) struct Dense<S> {
    /// One more than the number of an entry, under eight bits of its hash, so that most entries of
    /// other keys are passed by without a look at them; or 0. Open addressing, linear probing from a
    /// seeded hash. A power of two.
    index: Vec<u32>,
    /// Each as large as the others.
    chunks: Vec<Vec<S>>,
    taken: usize,
    capacity: usize,
}

/// Entries in a chunk.
const CHUNK: usize = 128;
/// What an entry takes in the index at most: four bytes for each of 8/3 places, when it has just
/// grown.
const INDEX_BYTES: usize = 11;
/// Places of an index that has its first entry.
const PLACES_AT_FIRST: usize = 16;
/// The bits of the number.
const NUMBER: u32 = (1 << 24) - 1;

impl<S: Slot> Dense<S> {
    /// An empty table that takes at most `bytes`, or twelve entries; no more than 2^24 of them.
    pub(super) fn new(bytes: usize) -> Self {
        let entries = bytes / (size_of::<S>() + INDEX_BYTES);
        Self {
            index: Vec::new(),
            chunks: Vec::new(),
            taken: 0,
            capacity: entries.clamp(PLACES_AT_FIRST / 4 * 3, NUMBER as usize),
        }
    }

    /// Entries that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that it takes.
    pub(super) fn memory_used(&self) -> usize {
        let chunks = self.chunks.iter().map(Vec::capacity);
        self.index.capacity() * size_of::<u32>() + chunks.sum::<usize>() * size_of::<S>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The number of the entry at which a search for a key with this hash begins, to fetch the
    /// index's memory early.
    #[inline]
    pub(super) fn first(&self, hash: u32) -> u32 {
        let mask = self.index.len().wrapping_sub(1);
        let first = self.index.get(hash as usize & mask);
        first.map_or(0, |first| first & NUMBER)
    }

    /// The entry with that number, to fetch its memory early.
    #[inline]
    pub(super) fn numbered(&self, number: u32) -> Option<&S> {
        let at = (number as usize).checked_sub(1)?;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// The entry of a key, made now if it was not there; `None` if the table is full.
    #[inline]
    pub(super) fn entry(&mut self, key: S::Key, hash: u32, seed: &Seed) -> Option<&mut S> {
        let at = match self.find(key, hash) {
            Ok(at) => at,
            Err(free) => self.take(key, hash, free, seed)?,
        };
        Some(&mut self.chunks[at / CHUNK][at % CHUNK])
    }

    /// The entry of a key, if it is there.
    pub(super) fn get(&mut self, key: S::Key, seed: &Seed) -> Option<&mut S> {
        let at = self.find(key, S::hash(key, seed) as u32).ok()?;
        Some(&mut self.chunks[at / CHUNK][at % CHUNK])
    }

    /// Where the entry is, or else the place of the index where it would go.
    #[inline]
    fn find(&self, key: S::Key, hash: u32) -> Result<usize, usize> {
        let mask = self.index.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(&found) = self.index.get(place) {
            let Some(at) = ((found & NUMBER) as usize).checked_sub(1) else {
                break;
            };
            let is_likely = (found ^ hash) & !NUMBER == 0;
            if is_likely && self.chunks[at / CHUNK][at % CHUNK].key() == Some(key) {
                return Ok(at);
            }
            place = (place + 1) & mask;
        }
        Err(place)
    }

    #[inline(never)]
    fn take(&mut self, key: S::Key, hash: u32, mut free: usize, seed: &Seed) -> Option<usize> {
        if self.taken == self.capacity {
            return None;
        }
        if (self.taken + 1) * 4 > self.index.len() * 3 {
            self.grow(seed);
            free = self.find(key, hash).unwrap_or_else(|free| free);
        }
        let at = self.taken;
        if at / CHUNK == self.chunks.len() {
            self.chunks.push(Vec::new());
        }
        let chunk = &mut self.chunks[at / CHUNK];
        if chunk.len() == chunk.capacity() {
            // A new one, or a clone, which has no more than it needs.
            chunk.reserve_exact(CHUNK.min(self.capacity - (at - chunk.len())) - chunk.len());
        }
        chunk.push(S::of(key));
        self.taken += 1;
        self.index[free] = hash & !NUMBER | self.taken as u32;
        Some(at)
    }

    fn grow(&mut self, seed: &Seed) {
        let doubled = (self.index.len() * 2).max(PLACES_AT_FIRST);
        self.index = vec![0; doubled];
        self.fill_index(seed);
    }

    /// Notes where each entry is, in an index that is empty.
    fn fill_index(&mut self, seed: &Seed) {
        let mask = self.index.len().wrapping_sub(1);
        for (entry, number) in self.chunks.iter().flatten().zip(1..) {
            let key = entry.key().expect("an entry");
            let hash = S::hash(key, seed) as u32;
            let mut place = hash as usize & mask;
            while self.index[place] != 0 {
                place = (place + 1) & mask;
            }
            self.index[place] = hash & !NUMBER | number;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.chunks.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.chunks.iter_mut().flatten()
    }

    /// Swaps entries, but not what there is room for; `false` if there is none for those of the other.
    pub(super) fn swap(&mut self, other: &mut Self) -> bool {
        if other.taken > self.capacity || self.taken > other.capacity {
            return false;
        }
        mem::swap(self, other);
        mem::swap(&mut self.capacity, &mut other.capacity);
        true
    }

    /// Keeps the entries that are to be kept, in their order.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&S) -> bool, seed: &Seed) {
        let mut kept = 0;
        for at in 0..self.taken {
            if keeps(&self.chunks[at / CHUNK][at % CHUNK]) {
                self.chunks[kept / CHUNK][kept % CHUNK] = self.chunks[at / CHUNK][at % CHUNK];
                kept += 1;
            }
        }
        self.taken = kept;
        // Those that are empty are not freed: they are filled again at once.
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            chunk.truncate(kept.saturating_sub(number * CHUNK));
        }
        self.index.fill(0);
        self.fill_index(seed);
    }

    /// Makes these the entries, as far as there is room.
    pub(super) fn replace(&mut self, entries: Vec<S>, seed: &Seed) {
        self.index.fill(0);
        self.chunks.clear();
        self.taken = 0;
        for new in entries {
            let key = new.key().expect("an entry");
            if let Some(entry) = self.entry(key, S::hash(key, seed) as u32, seed) {
                *entry = new;
            }
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(super) fn reset(&mut self) {
        self.index = Vec::new();
        self.chunks = Vec::new();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Counter {
        key: u32,
        count: u32,
    }

    impl Slot for Counter {
        type Key = u32;

        fn key(&self) -> Option<u32> {
            (self.count > 0).then_some(self.key)
        }

        fn of(key: u32) -> Self {
            Self { key, count: 0 }
        }

        fn hash(key: u32, seed: &Seed) -> u64 {
            seed.key(key)
        }
    }

    fn add(table: &mut Dense<Counter>, key: u32, seed: &Seed) -> bool {
        let hash = Counter::hash(key, seed) as u32;
        let added = table.entry(key, hash, seed).map(|entry| entry.count += 1);
        if added.is_some() {
            assert!(
                table.numbered(table.first(hash)).is_some(),
                "a place to begin"
            );
        }
        added.is_some()
    }

    fn contents(table: &Dense<Counter>) -> HashMap<u32, u32> {
        table.iter().map(|entry| (entry.key, entry.count)).collect()
    }

    proptest! {
        #[test]
        fn counts_as_a_hash_map_does(keys in prop::collection::vec(0..900_u32, 0..2000)) {
            let seed = Seed::random();
            let mut table = Dense::new(1 << 20);
            let mut expected = HashMap::new();
            for key in keys {
                prop_assert!(add(&mut table, key, &seed));
                *expected.entry(key).or_insert(0) += 1;
            }
            prop_assert_eq!(contents(&table), expected.clone());
            table.retain(|entry| entry.key % 2 == 0, &seed);
            expected.retain(|key, _| key % 2 == 0);
            prop_assert_eq!(contents(&table), expected.clone());
            prop_assert!(table.get(1, &seed).is_none());
            for key in 0..500 {
                prop_assert!(add(&mut table, key, &seed));
                *expected.entry(key).or_insert(0) += 1;
            }
            prop_assert_eq!(contents(&table), expected.clone(), "what is free is used again");
            let entries: Vec<_> = table.iter().copied().filter(|entry| entry.key % 3 == 0).collect();
            table.replace(entries, &seed);
            expected.retain(|key, _| key % 3 == 0);
            prop_assert_eq!(contents(&table), expected);
        }
    }

    #[test]
    fn a_full_table_keeps_what_it_has_in_the_memory_that_is_stated() {
        let seed = Seed::random();
        for (bytes, least) in [(0, 12), (1_000, 50), (100_000, 5_000)] {
            let mut table = Dense::new(bytes);
            let taken = (0..10_000)
                .filter(|&key| add(&mut table, key, &seed))
                .count();
            assert_eq!(taken, table.capacity());
            assert!(taken >= least, "{taken} in {bytes}");
            let used = table.memory_used();
            assert!(used <= bytes.max(12 * 8 + 64), "{used} of {bytes}");
            assert!(
                add(&mut table, 0, &seed),
                "a key that is there is still counted"
            );
            assert_eq!(contents(&table)[&0], 2);
        }
    }
}
