//! Counting packets in a roll.

use std::mem;

use super::{
    super::{
        Observation, Seed,
        few::Taken,
        profiles::destination,
        source::{Address, Place, Visits},
    },
    LOOK_AHEAD,
    line::{Line, Ports, scanned},
    roll::Roll,
    spill::{Spill, Spilled},
};
use crate::memory::prefetch;

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its source is known to have been at its places, and has sent to many destinations.
    Many,
    /// To few.
    Few,
    /// Its source has more than one packet, but this place is not kept with it.
    More,
    /// Its source may be new, or have one packet.
    New,
}

/// A packet, and its places.
type Placed<'a> = (&'a Observation, [Place; 2]);

/// What is known of a packet before it is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Its source is there and has a rest.
    pub(super) source: bool,
    /// And it is known to have been at the packet's places.
    pub(super) places: bool,
    /// And it has sent to many destinations.
    pub(super) many: bool,
}

impl<A: Address> Roll<A> {
    /// What is known of a packet of a source that most likely has this number. Nearly without branches, as
    /// these packets come in no order.
    #[inline]
    pub(super) fn known(&self, (observation, [first, second]): Placed<'_>, number: u32) -> Known {
        let Some(line) = self.lines.get(number) else {
            return Known::default();
        };
        let Some(rest) = self.rests.get(line.rest) else {
            return Known::default();
        };
        let source = (line.address == A::of(&observation.packet)) & (line.rest != 0);
        let mut places = source & (rest.knows(first) | !first.is_some());
        if second.is_some() {
            places &= rest.knows(second);
        }
        let many = places & rest.has_many_destinations();
        Known {
            source,
            places,
            many,
        }
    }

    /// Counts a packet of a source that has a rest and is known to have been at its places.
    #[inline(always)]
    pub(super) fn count_known(
        &mut self,
        (observation, [first, second]): Placed<'_>,
        number: u32,
        seed: &Seed,
    ) {
        let packet = &observation.packet;
        if let Some(line) = self.lines.get_mut(number)
            && let Some(rest) = self.rests.get_mut(line.rest)
        {
            line.count(observation);
            line.mark(packet);
            rest.count(packet, seed);
            let packets = first.is_some().into();
            if rest.visit(first, packets).is_round(packets) {
                self.keep_round(A::of(packet), first, 1, seed);
            }
        }
        if second.is_some() {
            self.keep(number, second, 1, seed);
        }
    }

    /// Counts a packet of a source that has a rest, at a place that is not kept with the source.
    #[inline]
    pub(super) fn count_more(
        &mut self,
        placed: Placed<'_>,
        (number, shard): (u32, usize),
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let address = A::of(&placed.0.packet);
        let line = self.lines.get(number);
        let rest = line.and_then(|line| self.rests.get(line.rest));
        let (Some(line), Some(rest)) = (line, rest) else {
            return self.count_new(placed, shard, seed, spill);
        };
        if line.address != address || rest.ports == 0 && !line.has_room(2) {
            return self.count_new(placed, shard, seed, spill);
        }
        self.count_places(placed, (number, shard), seed, spill);
    }

    /// Counts a packet at a new place, of a source that has what it takes.
    fn count_places(
        &mut self,
        (observation, places): Placed<'_>,
        (number, shard): (u32, usize),
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let packet = &observation.packet;
        let line = self.lines.get_mut(number).expect("a source");
        line.count(observation);
        match (line.rest, self.rests.get_mut(line.rest)) {
            (0, _) | (_, None) => line.destination = destination(packet, seed),
            (_, Some(rest)) => {
                line.mark(packet);
                rest.count(packet, seed);
            }
        }
        for place in places {
            if place.is_some() && !self.keep(number, place, 1, seed) {
                let hash = spill.pair((A::of(packet), place), 1, (number, shard), seed);
                self.fetch_pair(number, hash);
            }
        }
    }

    /// Counts a packet of a source that may be new, or need memory.
    #[inline(never)]
    pub(super) fn count_new(
        &mut self,
        placed: Placed<'_>,
        shard: usize,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let (observation, places) = placed;
        let packet = &observation.packet;
        let (address, hash) = (A::of(packet), observation.hash());
        let count = places.into_iter().filter(|place| place.is_some()).count();
        let mut found = self.find(address, hash);
        if !self.has_room(LOOK_AHEAD) {
            spill.is_tight = true;
            if !self.has_room(1) && self.wants_room(found, count) {
                while !self.has_room(1)
                    && self.give_way(seed, spill, |roll, line| !roll.stays(line))
                {}
                // Numbers have changed, and it may have given way itself.
                found = self.find(address, hash);
                if !self.has_room(1) && self.wants_room(found, count) {
                    return self.refuse(placed, found, shard, seed, spill);
                }
            }
        }
        let Some(number) = found.or_else(|| self.enroll(address, hash, seed, spill)) else {
            return self.refuse(placed, None, shard, seed, spill);
        };
        let line = self.lines.get_mut(number).expect("found or enrolled");
        if line.counts.packets > 0 || !line.has_room(count) {
            line.extend(&mut self.rests);
        }
        self.count_places(placed, (number, shard), seed, spill);
    }

    /// Whether a packet at so many places needs memory that may not be there. It may say yes where no is true.
    fn wants_room(&self, found: Option<u32>, places: usize) -> bool {
        let Some(line) = found.and_then(|number| self.lines.get(number)) else {
            return true;
        };
        let rest = self.rest_of(line);
        rest.is_none_or(|rest| rest.ports == 0 && !line.has_room(places))
    }

    /// Keeps packets, fewer than a round, of a place with its source; `false` if there is no room, so that it
    /// is one for the pairs, and the source has its ports too.
    pub(super) fn keep(&mut self, number: u32, place: Place, packets: u32, seed: &Seed) -> bool {
        let line = self.lines.get_mut(number).expect("a source");
        let mut rest = match line.rest {
            0 => None,
            number => self.rests.get_mut(number),
        };
        let address = line.address;
        let visits = line.visit(rest.as_deref_mut(), place, packets);
        let is_known = visits != Visits::default();
        if is_known || line.keep(rest.as_deref_mut(), place, packets) {
            // Where windows were merged there may be ports before its places are taken.
            if rest.is_some_and(|rest| rest.ports != 0) {
                self.keep_port(number, place, seed);
            }
            if is_known && visits.is_round(packets) {
                self.keep_round(address, place, 1, seed);
            }
            return true;
        }
        if rest.is_some() {
            self.ports_of(number, seed);
        }
        false
    }

    /// Keeps the port of a place with a source that has its ports.
    #[inline]
    fn keep_port(&mut self, number: u32, place: Place, seed: &Seed) {
        if let Some(port) = scanned(place) {
            let (ports, taken) = self.ports_of(number, seed);
            ports.0.insert(taken, port, |port| seed.key(port));
        }
    }

    /// The ports of a source that has a rest, made of its places where there are none.
    pub(super) fn ports_of(&mut self, number: u32, seed: &Seed) -> (&mut Ports, &mut Taken) {
        let line = self.lines.get(number).expect("a source");
        let rest = self.rests.get_mut(line.rest).expect("a rest");
        if rest.ports == 0 {
            let mut ports = Ports::default();
            for port in line.places(Some(rest)).filter_map(scanned) {
                let hash = |port| seed.key(port);
                ports.0.insert(&mut rest.ports_taken, port, hash);
            }
            rest.ports = self.ports.push(ports);
        }
        let ports = self.ports.get_mut(rest.ports).expect("just made");
        (ports, &mut rest.ports_taken)
    }

    /// Leaves a packet out, but for its places.
    fn refuse(
        &mut self,
        (observation, places): Placed<'_>,
        found: Option<u32>,
        shard: usize,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        self.forgotten.packets += 1;
        self.missed += 1;
        if let Some(line) = found.and_then(|number| self.lines.get_mut(number)) {
            line.set_missed(line.missed() + 1);
        }
        let address = A::of(&observation.packet);
        for place in places.into_iter().filter(|place| place.is_some()) {
            spill.pair((address, place), 1, (0, shard), seed);
        }
    }

    /// Asks for where the search for a source begins.
    #[inline]
    pub(super) fn fetch_index(&self, hash: u64) {
        self.index.fetch(hash);
    }

    /// The number that a source most likely has; asks for its line.
    #[inline]
    pub(super) fn fetch_line(&self, hash: u64) -> u32 {
        let number = self.index.guess(hash);
        if let Some(line) = self.lines.get(number) {
            prefetch(line);
        }
        number
    }

    /// Asks for the rest of a line.
    #[inline]
    pub(super) fn fetch_rest(&self, number: u32) {
        if let Some(line) = self.lines.get(number)
            && let Some(rest) = self.rests.get(line.rest)
        {
            prefetch(&rest.destinations);
            prefetch(&rest.scans);
        }
    }

    /// Asks for where the search for a pair begins, and the ports of its source.
    #[inline]
    fn fetch_pair(&self, number: u32, hash: u32) {
        if let Some(slot) = self.pairs.first(hash) {
            prefetch(slot);
        }
        if let Some(line) = self.lines.get(number)
            && let Some(rest) = self.rests.get(line.rest)
            && let Some(ports) = self.ports.get(rest.ports)
        {
            prefetch(ports);
        }
    }

    /// Keeps a pair: 0. If it finds no room it is in what is lost, and this is how many packets it has had: one
    /// at least, where its rounds had no room before.
    #[inline]
    pub(super) fn keep_pair(
        &mut self,
        spilled: Spilled<A>,
        seed: &Seed,
        lost: &mut Vec<(Place, u64)>,
    ) -> u64 {
        let Spilled {
            address,
            place,
            packets,
            ..
        } = spilled;
        let before = self.pairs.len();
        let kept = self.pairs.entry((address, place), spilled.hash, seed);
        let visits = kept.map(|pair| {
            pair.visits.add(packets);
            pair.visits
        });
        if visits.is_some_and(|visits| visits.is_round(packets)) {
            self.keep_round(address, place, 1, seed);
        }
        let kept = visits.is_some();
        // Its source has the port already, unless it gave way meanwhile, which pairs outlive.
        if kept && self.pairs.len() == before && self.is_complete() {
            return 0;
        }
        // Merging may have given it another number.
        let is_it = |line: &Line<A>| line.address == address;
        let number = match self.lines.get(spilled.number).is_some_and(is_it) {
            true => Some(spilled.number),
            false => self.find(address, seed.key(address)),
        };
        if let Some(number) = number
            && let Some(line) = self.lines.get(number)
            && self.rest_of(line).is_some_and(|rest| rest.ports != 0)
        {
            self.keep_port(number, place, seed);
        }
        if kept {
            return 0;
        }
        lost.push((place, seed.key(address)));
        let noted = self.rounds.get_mut((address, place), seed);
        let rounds = noted.map_or(0, |noted| mem::take(&mut noted.rounds));
        (rounds * u64::from(Visits::ROUND) + u64::from(packets)).max(1)
    }

    /// Keeps full rounds of visits.
    #[cold]
    pub(super) fn keep_round(&mut self, address: A, place: Place, rounds: u64, seed: &Seed) {
        let key = (address, place);
        match self.rounds.entry(key, seed.key(key) as u32, seed) {
            Some(kept) => kept.rounds += rounds,
            None => self.rounds_lost += rounds,
        }
    }
}
