//! What a roll has no room for.

use super::super::{
    Seed,
    source::{Address, Place},
};

/// Empty between two calls of a census.
#[derive(Clone, Debug, Default)]
pub(super) struct Spill<A> {
    /// Pairs that have no room with their source. There may be one in [`Roll::pairs`].
    pub(super) pairs: Vec<Spilled<A>>,
    /// Places of sources that are forgotten, with the hash of the source.
    pub(super) lost: Vec<(Place, u64)>,
    /// Whether a roll has no room for another batch, whatever is in it.
    pub(super) is_tight: bool,
    /// The place in its batch of the packet that is being counted.
    pub(super) turn: u8,
}

/// Packets of a pair of source and place, with its shard and its hash, and the number that the source had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spilled<A> {
    pub(super) address: A,
    pub(super) place: Place,
    /// Fewer than a round.
    pub(super) packets: u32,
    pub(super) number: u32,
    pub(super) shard: usize,
    pub(super) hash: u32,
    pub(super) turn: u8,
}

impl<A: Address> Spill<A> {
    /// Adds packets of a pair, and returns its hash.
    pub(super) fn pair(
        &mut self,
        (address, place): (A, Place),
        packets: u32,
        (number, shard): (u32, usize),
        seed: &Seed,
    ) -> u32 {
        let hash = seed.key((address, place)) as u32;
        self.pairs.push(Spilled {
            address,
            place,
            packets,
            number,
            shard,
            hash,
            turn: self.turn,
        });
        hash
    }

    /// Puts pairs in the order in which their packets came, as there may not be room for all.
    pub(super) fn sort(&mut self) {
        // Hardly ever are they not.
        if !self.pairs.is_sorted_by_key(|spilled| spilled.turn) {
            self.pairs.sort_by_key(|spilled| spilled.turn);
        }
    }
}
