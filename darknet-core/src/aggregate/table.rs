use super::Seed;
use crate::memory::Wide;

/// One place of a [`Table`]; [`Default`] is a free one.
pub(super) trait Slot: Copy + Default {
    type Key: Copy + PartialEq;

    /// What is kept here, or `None` if the place is free.
    fn key(&self) -> Option<Self::Key>;

    /// A place taken by `key`.
    fn of(key: Self::Key) -> Self;

    fn hash(key: Self::Key, seed: &Seed) -> u64;
}

/// An open-addressed hash table with a fixed bound: no allocation per entry, entries in place,
/// linear probing from a seeded hash, at most three quarters full. A search looks at [`PROBES`]
/// slots, so that whoever chose the hashes fills the table early but makes no search long.
#[derive(Clone, Debug)]
pub(super) struct Table<S: Slot> {
    slots: Wide<S>,
    taken: usize,
    /// Slots at most: a power of two.
    bound: usize,
    /// Whether keys found no place in a larger one.
    is_stuck: bool,
}

/// Slots that are looked at for a key. By chance, one of 10,000 runs is as long as this in a table that
/// is as full as it can be.
const PROBES: usize = 256;
/// Slots of a table that has its first entry.
const SLOTS_AT_FIRST: usize = 16;

impl<S: Slot> Table<S> {
    /// An empty table that takes at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let slots = (bytes / size_of::<S>()).max(SLOTS_AT_FIRST);
        Self {
            slots: Wide::default(),
            taken: 0,
            bound: 1 << slots.ilog2(),
            is_stuck: false,
        }
    }

    /// The slot where a search for a key with this hash begins, to fetch its memory early.
    #[inline]
    pub(super) fn first(&self, hash: u32) -> Option<&S> {
        self.slots
            .get(hash as usize & self.slots.len().wrapping_sub(1))
    }

    /// The slot of a key, taken now if it was not there; `None` if the table is full.
    #[inline]
    pub(super) fn entry(&mut self, key: S::Key, hash: u32, seed: &Seed) -> Option<&mut S> {
        match self.find(key, hash) {
            Ok(at) => Some(&mut self.slots[at]),
            Err(free) => self.take(key, hash, free, seed),
        }
    }

    /// Where the key is, or else where it would go, if there is such a place.
    #[inline]
    fn find(&self, key: S::Key, hash: u32) -> Result<usize, Option<usize>> {
        find(&self.slots, key, hash)
    }

    #[inline(never)]
    fn take(
        &mut self,
        key: S::Key,
        hash: u32,
        mut free: Option<usize>,
        seed: &Seed,
    ) -> Option<&mut S> {
        while free.is_none() || (self.taken + 1) * 4 > self.slots.len() * 3 {
            // No place in a table that is nearly empty: larger ones would be no help.
            let is_chosen = (self.taken + 1) * 4 <= self.slots.len();
            if self.slots.len() == self.bound || is_chosen || self.is_stuck || !self.grow(seed) {
                return None;
            }
            free = self.find(key, hash).err()?;
        }
        let slot = &mut self.slots[free?];
        self.taken += 1;
        *slot = S::of(key);
        Some(slot)
    }

    /// Twice the slots; `false` if not all keys find a place there, so that it stays as it is.
    fn grow(&mut self, seed: &Seed) -> bool {
        let doubled = (self.slots.len() * 2).clamp(SLOTS_AT_FIRST, self.bound);
        let mut slots = Wide::new(doubled);
        for (key, slot) in self
            .slots
            .iter()
            .filter_map(|slot| Some((slot.key()?, slot)))
        {
            let Err(Some(free)) = find(&slots, key, S::hash(key, seed) as u32) else {
                self.is_stuck = true;
                return false;
            };
            slots[free] = *slot;
        }
        self.slots = slots;
        true
    }

    /// Swaps entries, but not what there is room for; `false` if there is none for those of the other.
    pub(super) fn swap(&mut self, other: &mut Self) -> bool {
        if other.slots.len() > self.bound || self.slots.len() > other.bound {
            return false;
        }
        std::mem::swap(self, other);
        std::mem::swap(&mut self.bound, &mut other.bound);
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().filter(|slot| slot.key().is_some())
    }

    /// The slot of a key, if it is there.
    pub(super) fn get(&self, key: S::Key, seed: &Seed) -> Option<&S> {
        let at = self.find(key, S::hash(key, seed) as u32).ok()?;
        self.slots.get(at)
    }

    /// As [`get`](Self::get), to be changed.
    pub(super) fn get_mut(&mut self, key: S::Key, seed: &Seed) -> Option<&mut S> {
        let at = self.find(key, S::hash(key, seed) as u32).ok()?;
        self.slots.get_mut(at)
    }

    /// Keys that are there.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// Sees to it that there is room for one more, if another can do without: both have so many bytes
    /// together.
    #[inline]
    pub(super) fn make_room<T: Slot>(&mut self, other: &mut Table<T>, both: usize) {
        if (self.taken + 1) * 4 > self.bound * 3 {
            self.widen(other, both);
        }
    }

    /// Takes room for twice its own from another, if that has nothing there.
    #[cold]
    fn widen<T: Slot>(&mut self, other: &mut Table<T>, both: usize) {
        let slots = self.bound * 2;
        let left = both.saturating_sub(slots * size_of::<S>()) / size_of::<T>();
        if left >= other.slots.len().max(SLOTS_AT_FIRST) {
            self.bound = slots;
            other.bound = other.bound.min(1 << left.ilog2());
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.slots[..])
    }

    /// Forgets everything. The memory is given back, so that one flood does not hold it for ever.
    pub(super) fn reset(&mut self) {
        self.slots = Wide::default();
        self.taken = 0;
        self.is_stuck = false;
    }
}

/// See [`Table::find`].
#[inline]
fn find<S: Slot>(slots: &[S], key: S::Key, hash: u32) -> Result<usize, Option<usize>> {
    let mask = slots.len().wrapping_sub(1);
    let mut at = hash as usize & mask;
    for _ in 0..PROBES {
        match slots.get(at).map(S::key) {
            Some(Some(found)) if found == key => return Ok(at),
            Some(Some(_)) => at = (at + 1) & mask,
            Some(None) => return Err(Some(at)),
            None => break,
        }
    }
    Err(None)
}

#[cfg(test)]
mod tests;
