//! From the hash of a source to its number.

use crate::memory::{Wide, prefetch};

/// Numbers by hash, four bytes each: open addressing, linear probing, at most half full. Beside each
/// number are 8 bits of the hash, so that what is looked at is hardly ever another source's.
///
/// A search ends after [`PROBES`] places, whoever chose the hashes.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The number, then 8 bits of the hash; 0 is free. A power of two of them, or none.
    places: Wide<u32>,
}

/// Places that are looked at for a source. Half full, one of 100,000 sources is as far from its
/// first place as this by chance; then the index grows early.
const PROBES: usize = 64;
/// Places of an index that has its first number.
const PLACES_AT_FIRST: usize = 16;
/// Numbers at most.
pub(super) const NUMBERS: usize = (1 << 24) - 1;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Number(u32),
    /// It is not there, and this place is free for it.
    Free(usize),
    /// It is not there, and no place is free for it.
    Full,
}

#[inline]
fn mark(hash: u64) -> u8 {
    (hash >> 32) as u8
}

/// Places for so many numbers.
fn places(numbers: usize) -> usize {
    (numbers * 2).next_power_of_two().max(PLACES_AT_FIRST)
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            places: Wide::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.places[..])
    }

    /// Whether another number makes it more than half full, so that it should grow first.
    pub(super) fn is_tight(&self, numbers: usize) -> bool {
        (numbers + 1) * 2 > self.places.len()
    }

    /// Whether it is so empty that growing would be no help against what fills one place.
    pub(super) fn is_empty_enough(&self, numbers: usize) -> bool {
        (numbers + 1) * 4 <= self.places.len()
    }

    /// An empty one with room for so many numbers.
    pub(super) fn with_room(numbers: usize) -> Self {
        Self {
            places: Wide::new(places(numbers)),
        }
    }

    /// Bytes that it takes with so many numbers.
    pub(super) fn bytes_with(&self, numbers: usize) -> usize {
        self.bytes().max(places(numbers) * size_of::<u32>())
    }

    /// An empty one with twice the places.
    pub(super) fn grown(&self) -> Self {
        let places = (self.places.len() * 2).max(PLACES_AT_FIRST);
        Self {
            places: Wide::new(places),
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(0);
    }

    /// Asks for the memory at which a search begins.
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        let mask = self.places.len().wrapping_sub(1);
        if let Some(place) = self.places.get(hash as usize & mask) {
            prefetch(place);
        }
    }

    /// The number that it most likely is, or 0, without a look at what it stands for.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> u32 {
        let mask = self.places.len().wrapping_sub(1);
        let first = hash as usize;
        for step in 0..PROBES {
            let Some(&place) = self.places.get(first.wrapping_add(step) & mask) else {
                break;
            };
            if place as u8 == mark(hash) || place == 0 {
                return place >> 8;
            }
        }
        0
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Found {
        let mask = self.places.len().wrapping_sub(1);
        let first = hash as usize;
        for step in 0..PROBES {
            let at = first.wrapping_add(step) & mask;
            match self.places.get(at) {
                Some(0) => return Found::Free(at),
                Some(&place) if place as u8 == mark(hash) && is(place >> 8) => {
                    return Found::Number(place >> 8);
                }
                Some(_) => {}
                None => break,
            }
        }
        Found::Full
    }

    /// Takes a place that was found free.
    #[inline]
    pub(super) fn put(&mut self, at: usize, hash: u64, number: u32) {
        debug_assert!(number as usize <= NUMBERS && self.places[at] == 0);
        self.places[at] = number << 8 | u32::from(mark(hash));
    }

    /// Adds a number that is not there; `false` if no place is free for it.
    pub(super) fn insert(&mut self, hash: u64, number: u32) -> bool {
        let Found::Free(at) = self.find(hash, |_| false) else {
            return false;
        };
        self.put(at, hash, number);
        true
    }
}
