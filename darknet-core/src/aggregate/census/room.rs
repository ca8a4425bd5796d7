//! Giving way where there is no room, and merging.

use std::cell::Cell;

use super::{
    super::{
        Forgotten, Seed,
        source::{Address, Pair, Rounds},
        table::Table,
    },
    index::Index,
    line::{Line, Ports},
    roll::Roll,
    spill::Spill,
};

/// Packets that a source had at most.
fn all<A: Address>(line: &Line<A>) -> u64 {
    line.counts.packets + line.missed()
}

impl<A: Address> Roll<A> {
    /// Forgets the half with the fewest packets of the sources that may give way; `false` if these
    /// are less than an eighth, so that a source which finds no room costs little. After Misra and Gries,
    /// as in `frequent.rs`.
    #[inline(never)]
    pub(super) fn give_way(
        &mut self,
        seed: &Seed,
        spill: &mut Spill<A>,
        may: impl Fn(&Self, &Line<A>) -> bool,
    ) -> bool {
        let sources = self.lines.iter().filter(|line| may(self, line));
        let mut packets: Vec<u64> = sources.map(all).collect();
        if packets.is_empty() || packets.len() * 8 < self.lines.len() {
            return false;
        }
        let half = packets.len() / 2;
        let (_, &mut median, more) = packets.select_nth_unstable(half);
        let ties = Cell::new(0);
        let index = if self.used() > self.memory {
            // Merged: half is kept, though many may have as few packets, and even the index may be too large.
            ties.set(more.iter().filter(|&&packets| packets == median).count());
            Index::with_room(more.len() + self.lines.len() - packets.len())
        } else {
            // All that have as few give way, so that it is seldom. As large as it is, but empty.
            let mut index = std::mem::replace(&mut self.index, Index::new());
            index.clear();
            index
        };
        self.retain(index, seed, spill, |roll, line| {
            let is_tie = || all(line) == median && ties.replace(ties.get().saturating_sub(1)) > 0;
            !may(roll, line) || all(line) > median || is_tie()
        });
        true
    }

    /// Forgets some sources. The index is an empty one for those that are kept; what finds no place
    /// in it is forgotten too.
    pub(super) fn retain(
        &mut self,
        index: Index,
        seed: &Seed,
        spill: &mut Spill<A>,
        keep: impl Fn(&Self, &Line<A>) -> bool,
    ) {
        let empty = Self {
            index,
            pairs: std::mem::replace(&mut self.pairs, Table::new(0)),
            rounds: std::mem::replace(&mut self.rounds, Table::new(0)),
            rounds_lost: self.rounds_lost,
            missed: self.missed,
            forgotten: self.forgotten,
            ..Self::new(self.memory, 0, 0)
        };
        let old = std::mem::replace(self, empty);
        for line in old.lines.iter() {
            let hash = seed.key(line.address);
            if !keep(&old, line) || self.take(line, &old, hash).is_none() {
                self.forget(line, &old, hash, spill);
            }
        }
    }

    /// Takes a line of another with all that belongs to it; `None` if no place of the index is free
    /// for it.
    fn take(&mut self, line: &Line<A>, other: &Self, hash: u64) -> Option<&mut Line<A>> {
        let mut line = *line;
        let number = self.lines.len() as u32 + 1;
        if !self.index.insert(hash, number) {
            return None;
        }
        if let Some(mut rest) = other.rest_of(&line).copied() {
            if let Some(ports) = other.ports_at(rest.ports) {
                rest.ports = self.ports.push(*ports);
            }
            line.rest = self.rests.push(rest);
        }
        self.lines.push(line);
        self.lines.get_mut(number)
    }

    /// Counts a line of another as forgotten.
    fn forget(&mut self, line: &Line<A>, other: &Self, hash: u64, spill: &mut Spill<A>) {
        self.missed = self.missed.max(all(line));
        self.forgotten += Forgotten {
            sources: 1,
            packets: line.counts.packets,
        };
        let places = line.places(other.rest_of(line));
        spill.lost.extend(places.map(|place| (place, hash)));
    }

    /// Adds what another has counted. Pairs are left in `spill`.
    pub(super) fn merge(
        &mut self,
        other: &mut Self,
        shard: usize,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let is_empty = self.lines.len() == 0 && self.missed == 0;
        if is_empty && other.used() <= self.memory && self.pairs.swap(&mut other.pairs) {
            std::mem::swap(self, other);
            // What each has room for stays with it.
            std::mem::swap(&mut self.memory, &mut other.memory);
            std::mem::swap(&mut self.pairs, &mut other.pairs);
            std::mem::swap(&mut self.rounds, &mut other.rounds);
            self.add_rounds(other, seed);
            return;
        }
        let (my_missed, their_missed) = (self.missed, other.missed);
        // A source that one of them doesn't have may have been missed there altogether.
        let mut missed_there = vec![true; self.lines.len()];
        let mut new = Vec::new();
        for theirs in other.lines.iter() {
            let hash = seed.key(theirs.address);
            if let Some(number) = self.find(theirs.address, hash) {
                missed_there[number as usize - 1] = false;
                self.add(number, theirs, other, (seed, shard), spill);
            } else {
                new.push((hash, theirs));
            }
        }
        for (number, _) in (1..).zip(missed_there).filter(|(_, missed)| *missed) {
            let line = self.lines.get_mut(number).expect("one of mine");
            line.set_missed(line.missed() + their_missed);
        }
        for (hash, theirs) in new {
            let mut line = *theirs;
            line.set_missed(theirs.missed() + my_missed);
            if self.free(hash, seed, spill).is_none() || self.take(&line, other, hash).is_none() {
                self.forget(&line, other, hash, spill);
            }
        }
        self.missed += their_missed;
        self.forgotten += other.forgotten;
        for &Pair { address, visits } in other.pairs.iter() {
            let (place, packets) = (visits.place(), visits.packets());
            let number = self.find(address, seed.key(address));
            if !number.is_some_and(|number| self.keep(number, place, packets, seed)) {
                let number = number.unwrap_or(0);
                spill.pair((address, place), packets, (number, shard), seed);
            }
        }
        self.rounds_lost += other.rounds_lost;
        self.add_rounds(other, seed);
        // Where more should stay than there is room for they give way too.
        while self.used() > self.memory
            && (self.give_way(seed, spill, |roll, line| !roll.stays(line))
                || self.give_way(seed, spill, |_, _| true))
        {}
    }

    /// Adds what another has of a source that is there.
    fn add(
        &mut self,
        number: u32,
        theirs: &Line<A>,
        other: &Self,
        (seed, shard): (&Seed, usize),
        spill: &mut Spill<A>,
    ) {
        let line = self.lines.get_mut(number).expect("a source");
        line.extend(&mut self.rests);
        line.add(theirs);
        line.add_marked(theirs);
        let rest = self.rests.get_mut(line.rest).expect("just made");
        let their_rest = other.rest(theirs);
        rest.add(&their_rest);
        if let Some(Ports(ports)) = other.ports_at(their_rest.ports) {
            let theirs = (ports, their_rest.ports_taken);
            let (mine, taken) = self.ports_of(number, seed);
            mine.0.merge(taken, theirs, |port| seed.key(port));
        }
        for visits in theirs.visits(other.rest_of(theirs)) {
            let (place, packets) = (visits.place(), visits.packets());
            if !self.keep(number, place, packets, seed) {
                spill.pair((theirs.address, place), packets, (number, shard), seed);
            }
        }
    }

    fn add_rounds(&mut self, other: &Self, seed: &Seed) {
        for &Rounds {
            address,
            place,
            rounds,
        } in other.rounds.iter()
        {
            self.keep_round(address, place, rounds, seed);
        }
    }
}
