//! Counts of the most frequent keys, in a table that is full, with what each may have missed.
//!
//! After Misra and Gries (1982), as Anderson et al. make it fast ("A High-Performance Algorithm for
//! Identifying Frequent Items in Data Streams", IMC 2017): where there is no room for a new key,
//! the lower half of the counts gives way at once. A count is not lowered; what a key may have had
//! before it was counted is kept beside it, so that keys which were never forgotten stay exact.

use super::{Seed, dense::Dense, table::Slot};

/// What is kept of a key.
pub(super) trait Entry: Slot {
    /// Packets that were counted since the key came, or came back.
    fn packets(&self) -> u64;

    /// Packets that it may have had before, at most.
    fn missed(&self) -> u64;

    fn set_missed(&mut self, missed: u64);

    /// Whether it must not give way.
    fn stays(&self) -> bool {
        false
    }

    /// Decides anew which must not give way, before some do: a part of them at most.
    fn choose(entries: &mut [&mut Self]) {
        let _ = entries;
    }

    /// Adds what another entry has of the same key, but for what that missed.
    fn add(&mut self, other: &Self, seed: &Seed);
}

/// The most frequent keys.
///
/// A key with more packets than [`missed`](Self::missed) is there, with all but
/// [`Entry::missed`] of them. Where no entry has to stay, `missed` is at most
/// 2 × packets / capacity.
#[derive(Clone, Debug)]
pub(super) struct Frequent<S> {
    table: Dense<S>,
    /// Packets that a key which is not there may have had, at most.
    missed: u64,
    forgotten: Forgotten,
}

/// What gave way, as the table was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    /// How often a source was forgotten; one that comes back may be so again.
    pub sources: u64,
    /// The packets that had been counted of them, and those that found no source that could give
    /// way.
    pub packets: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Self) {
        let Self { sources, packets } = other;
        self.sources += sources;
        self.packets += packets;
    }
}

impl Forgotten {
    /// Whether an entry has more than the `most` of those that give way; else it is forgotten.
    fn keeps(&mut self, entry: &impl Entry, most: u64) -> bool {
        let keeps = entry.packets() + entry.missed() > most;
        if !keeps {
            *self += Self {
                sources: 1,
                packets: entry.packets(),
            };
        }
        keeps
    }
}

/// The most packets that one of the lower half may have had, of the entries that may give way; `None` if
/// none may.
fn most_of_lower_half<S: Entry>(mut entries: Vec<&mut S>, may: impl Fn(&S) -> bool) -> Option<u64> {
    S::choose(&mut entries);
    let entries = entries.into_iter().filter(|entry| may(entry));
    let mut counts: Vec<u64> = entries
        .map(|entry| entry.packets() + entry.missed())
        .collect();
    let half = counts.len() / 2;
    (!counts.is_empty()).then(|| *counts.select_nth_unstable(half).1)
}

impl<S: Entry> Frequent<S> {
    /// An empty table that takes at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            table: Dense::new(bytes),
            missed: 0,
            forgotten: Forgotten::default(),
        }
    }

    /// See [`Dense::first`].
    #[inline]
    pub(super) fn first(&self, hash: u32) -> u32 {
        self.table.first(hash)
    }

    /// See [`Dense::numbered`].
    #[inline]
    pub(super) fn numbered(&self, number: u32) -> Option<&S> {
        self.table.numbered(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.table.iter()
    }

    /// Bytes that it takes.
    pub(super) fn memory_used(&self) -> usize {
        self.table.memory_used()
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    pub(super) fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// Counts a packet of a key, by `count`.
    #[inline]
    pub(super) fn count(
        &mut self,
        key: S::Key,
        hash: u32,
        seed: &Seed,
        count: impl FnOnce(&mut S),
    ) {
        let missed = self.missed;
        if let Some(entry) = self.table.entry(key, hash, seed) {
            if entry.packets() == 0 {
                entry.set_missed(missed);
            }
            count(entry);
        } else {
            self.count_in_full(key, hash, seed, count);
        }
    }

    #[inline(never)]
    fn count_in_full(&mut self, key: S::Key, hash: u32, seed: &Seed, count: impl FnOnce(&mut S)) {
        let entries = self.table.iter_mut().collect();
        if let Some(most) = most_of_lower_half(entries, |entry| !entry.stays()) {
            self.missed = self.missed.max(most);
            let forgotten = &mut self.forgotten;
            let stays = |entry: &S| entry.stays() || forgotten.keeps(entry, most);
            self.table.retain(stays, seed);
        }
        if let Some(entry) = self.table.entry(key, hash, seed) {
            entry.set_missed(self.missed);
            count(entry);
        } else {
            self.forgotten.packets += 1;
            self.missed += 1;
        }
    }

    /// Forgets the lower half of the entries that may give way, if there are any.
    fn give_way(&mut self, entries: &mut Vec<S>, may: impl Fn(&S) -> bool) {
        let all = entries.iter_mut().collect();
        if let Some(most) = most_of_lower_half(all, &may) {
            self.missed = self.missed.max(most);
            let forgotten = &mut self.forgotten;
            entries.retain(|entry| !may(entry) || forgotten.keeps(entry, most));
        }
    }

    /// Adds what another has counted.
    pub(super) fn merge(&mut self, other: &mut Self, seed: &Seed) {
        if self.table.is_empty() && self.missed == 0 && self.table.swap(&mut other.table) {
            std::mem::swap(&mut self.missed, &mut other.missed);
            std::mem::swap(&mut self.forgotten, &mut other.forgotten);
            return;
        }
        if other.table.is_empty() && other.missed == 0 {
            // Its memory stays as it is, whichever of the two is empty.
            self.forgotten += other.forgotten;
            return;
        }
        // A key that one of them doesn't have may have been missed there altogether.
        for mine in self.table.iter_mut() {
            mine.set_missed(mine.missed() + other.missed);
        }
        let mut rest = Vec::new();
        for theirs in other.table.iter() {
            let key = theirs.key().expect("an entry");
            if let Some(mine) = self.table.get(key, seed) {
                mine.set_missed(mine.missed() - other.missed + theirs.missed());
                mine.add(theirs, seed);
            } else {
                let mut new = *theirs;
                new.set_missed(theirs.missed() + self.missed);
                rest.push(new);
            }
        }
        self.missed += other.missed;
        self.forgotten += other.forgotten;
        rest.extend(self.table.iter().copied());
        while rest.len() > self.table.capacity() {
            let before = rest.len();
            self.give_way(&mut rest, |entry| !entry.stays());
            if rest.len() == before {
                // More that should stay than there is room for.
                self.give_way(&mut rest, |_| true);
            }
        }
        self.table.replace(rest, seed);
    }

    pub(super) fn reset(&mut self) {
        let Self {
            table,
            missed,
            forgotten,
        } = self;
        table.reset();
        *missed = 0;
        *forgotten = Forgotten::default();
    }
}
