//! What a roll has no room for.

use super::super::{
    Seed,
    source::{Address, Pair, Place},
};

/// What a roll has no room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Spill<A> {
    /// Pairs that have no room with their source. There may be one in [`Roll::pairs`].
    pub(super) pairs: Vec<Spilled<A>>,
    /// Places of sources that are forgotten, with the hash of the source.
    pub(super) lost: Vec<(Place, u64)>,
    /// Whether sources were forgotten, so that [`Recent`] has pairs of sources that begin again.
    pub(super) has_forgotten: bool,
    /// Whether a roll has no room for another batch, whatever is in it.
    pub(super) is_tight: bool,
}

/// A pair of source and place, with its shard and its hash, and the number that the source had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spilled<A> {
    pub(super) pair: Pair<A>,
    pub(super) number: u32,
    pub(super) shard: usize,
    pub(super) hash: u32,
}

impl<A: Address> Spill<A> {
    /// Whether another batch must not begin before this is empty.
    pub(super) fn is_urgent(&self) -> bool {
        self.has_forgotten || self.is_tight
    }

    /// Adds a pair, and returns its hash.
    pub(super) fn pair(
        &mut self,
        (address, place): (A, Place),
        (number, shard): (u32, usize),
        seed: &Seed,
    ) -> u32 {
        let pair = Pair { address, place };
        let hash = pair.hash(seed);
        self.pairs.push(Spilled {
            pair,
            number,
            shard,
            hash,
        });
        hash
    }
}
