//! What becomes of a batch: while its packets are counted, the memory of those that follow is asked for,
//! and packets of one kind are counted together.
//!
//! Packets of a batch may be counted in any order, as all that is counted is sums, sets and extremes. Where
//! sources may give way order does matter, and a batch is one packet. Pairs, which may find no room either,
//! are kept in the order of packets. Which rounds find room may depend on it, but where one finds none,
//! nothing is said of packets by port.

use std::iter;

use darknet_ebpf::{Class, Version};

use super::{
    super::{Observation, PortDistinct, source::Place},
    Census,
    counting::Kind,
};

/// Packets of a batch. More than these three batches, of which one is counted, the next one's lines and
/// rests are on their way, and places of the index for the one after, would not stay in the first-level
/// cache.
pub(super) const LOOK_AHEAD: usize = 32;

/// The numbers that the sources of a batch most likely have.
type Numbers = [u32; LOOK_AHEAD];

/// The places of each packet of a batch.
type Places = [[Place; 2]; LOOK_AHEAD];

/// The packets of each kind: a bit for each place in the batch.
#[derive(Clone, Copy)]
struct Kinds([u32; 4]);

const _: () = assert!(LOOK_AHEAD == u32::BITS as usize);

impl Kinds {
    #[inline]
    fn of(self, kind: Kind) -> impl Iterator<Item = usize> {
        let mut left = self.0[kind as usize];
        iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (place < LOOK_AHEAD).then_some(place)
        })
    }
}

/// Does something with the roll of a packet's source, whichever version it is of.
macro_rules! with_roll {
    ($shards:expr, $observation:expr, |$roll:ident| $does:expr) => {{
        let (v4, v6) = &$shards[$observation.shard()];
        match $observation.packet.version {
            Version::V4 => {
                let $roll = v4;
                $does
            }
            Version::V6 => {
                let $roll = v6;
                $does
            }
        }
    }};
}

impl Census {
    #[inline]
    pub(super) fn count_all(&mut self, packets: &[Observation]) {
        let mut batches = packets.chunks(LOOK_AHEAD);
        let mut batch = || batches.next().unwrap_or_default();
        let (mut now, mut next) = (batch(), batch());
        self.fetch_index(now);
        self.fetch_index(next);
        let mut numbers = self.fetch_lines(now);
        self.fetch_rests(now, &numbers);
        while !now.is_empty() {
            let after = batch();
            if self.is_tight {
                // Who gives way depends on what came before.
                for one in now.chunks(1) {
                    let number = self.fetch_lines(one);
                    self.count((one, &number), &[], &[]);
                }
                self.fetch_index(after);
                numbers = self.fetch_lines(next);
            } else {
                numbers = self.count((now, &numbers), next, after);
            }
            (now, next) = (next, after);
        }
        self.keep_spilled();
    }

    /// Counts a batch, and asks for what the next one needs and for the index of the one after. Returns
    /// the numbers of the next.
    #[inline]
    fn count(
        &mut self,
        (batch, numbers): (&[Observation], &Numbers),
        next: &[Observation],
        after: &[Observation],
    ) -> Numbers {
        let (kinds, places, next_numbers) = self.kinds(batch, numbers, next);
        // Of the batch before: their memory has been asked for.
        self.keep_spilled();
        let Self {
            shards,
            seed,
            spill: (v4_spill, v6_spill),
            ..
        } = self;
        let mut ahead = next.iter().zip(&next_numbers);
        let mut after = after.iter();
        macro_rules! each {
            ($kind:expr, |$roll:ident, $placed:ident, $number:ident, $shard:ident, $spill:ident| $count:expr) => {
                for at in kinds.of($kind) {
                    if let Some((observation, &number)) = ahead.next() {
                        with_roll!(shards, observation, |roll| roll.fetch_rest(number));
                    }
                    if let Some(observation) = after.next() {
                        with_roll!(shards, observation, |roll| roll
                            .fetch_index(observation.hash()));
                    }
                    let ($placed, $number) = ((&batch[at], places[at]), numbers[at]);
                    let $shard = batch[at].shard();
                    let (v4, v6) = &mut shards[$shard];
                    match batch[at].packet.version {
                        Version::V4 => {
                            let ($roll, $spill) = (v4, &mut *v4_spill);
                            $spill.turn = at as u8;
                            $count
                        }
                        Version::V6 => {
                            let ($roll, $spill) = (v6, &mut *v6_spill);
                            $spill.turn = at as u8;
                            $count
                        }
                    }
                }
            };
        }
        each!(Kind::Many, |roll, placed, number, _shard, spill| roll
            .count_known(placed, number, seed));
        each!(Kind::Few, |roll, placed, number, _shard, spill| roll
            .count_known(placed, number, seed));
        each!(Kind::More, |roll, placed, number, shard, spill| roll
            .count_more(placed, (number, shard), seed, spill));
        each!(Kind::New, |roll, placed, _number, shard, spill| roll
            .count_new(placed, shard, seed, spill));
        // Malformed packets are of no kind.
        for (observation, &number) in ahead {
            with_roll!(shards, observation, |roll| roll.fetch_rest(number));
        }
        for observation in after {
            with_roll!(shards, observation, |roll| roll
                .fetch_index(observation.hash()));
        }
        if v4_spill.is_tight || v6_spill.is_tight {
            self.keep_spilled();
        }
        next_numbers
    }

    /// Which packets are of which kind; malformed ones are of none. And their places. Beside that, the numbers of
    /// the next batch: asking for all of their lines at once would be waiting for most of them.
    #[inline]
    fn kinds(
        &self,
        batch: &[Observation],
        numbers: &Numbers,
        next: &[Observation],
    ) -> (Kinds, Places, Numbers) {
        let [mut counted, mut source, mut places, mut many] = [0_u32; 4];
        let mut all_places = [[Place::default(); 2]; LOOK_AHEAD];
        let mut next_numbers = [0; LOOK_AHEAD];
        for (at, (observation, &number)) in batch.iter().zip(numbers).enumerate() {
            if let Some(next) = next.get(at) {
                next_numbers[at] =
                    with_roll!(self.shards, next, |roll| roll.fetch_line(next.hash()));
            }
            let packet = &observation.packet;
            all_places[at] = Place::of(packet);
            let placed = (observation, all_places[at]);
            let known = with_roll!(self.shards, observation, |roll| roll.known(placed, number));
            counted |= u32::from(packet.class != Class::Malformed) << at;
            source |= u32::from(known.source) << at;
            places |= u32::from(known.places) << at;
            many |= u32::from(known.many) << at;
        }
        let kinds = [many, places & !many, source & !places, !source];
        let kinds = Kinds(kinds.map(|kind| kind & counted));
        (kinds, all_places, next_numbers)
    }

    /// Whether a roll may have to give way within a batch.
    pub(super) fn finds_tight(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|(v4, v6)| !v4.has_room(LOOK_AHEAD) || !v6.has_room(LOOK_AHEAD))
    }

    /// Asks for the places of the index at which the search for these sources begins.
    #[inline]
    fn fetch_index(&self, batch: &[Observation]) {
        for observation in batch {
            with_roll!(self.shards, observation, |roll| roll
                .fetch_index(observation.hash()));
        }
    }

    /// The numbers that these sources most likely have; asks for their lines.
    #[inline]
    fn fetch_lines(&self, batch: &[Observation]) -> Numbers {
        let mut numbers = [0; LOOK_AHEAD];
        for (number, observation) in numbers.iter_mut().zip(batch) {
            *number = with_roll!(self.shards, observation, |roll| roll
                .fetch_line(observation.hash()));
        }
        numbers
    }

    /// Asks for the rests of these lines.
    #[inline]
    fn fetch_rests(&self, batch: &[Observation], numbers: &Numbers) {
        for (observation, &number) in batch.iter().zip(numbers) {
            with_roll!(self.shards, observation, |roll| roll.fetch_rest(number));
        }
    }

    /// Keeps the pairs that had no room with their sources, and counts what was lost.
    pub(super) fn keep_spilled(&mut self) {
        let Self {
            shards,
            seed,
            pairs_overflow,
            lost,
            lost_memory,
            pairs_memory,
            is_tight: _,
            spill: (v4, v6),
        } = self;
        v4.sort();
        v6.sort();
        let (mut of_v4, mut of_v6) = (v4.pairs.drain(..).peekable(), v6.pairs.drain(..).peekable());
        // In the order of packets, as both versions share the room.
        loop {
            let is_v4 = match (of_v4.peek(), of_v6.peek()) {
                (Some(v4), Some(v6)) => v4.turn <= v6.turn,
                (v4, _) => v4.is_some(),
            };
            if let Some(spilled) = of_v4.next_if(|_| is_v4) {
                let (mine, other) = &mut shards[spilled.shard];
                mine.pairs.make_room(&mut other.pairs, *pairs_memory);
                *pairs_overflow += mine.keep_pair(spilled, seed, &mut v4.lost);
            } else if let Some(spilled) = of_v6.next() {
                let (other, mine) = &mut shards[spilled.shard];
                mine.pairs.make_room(&mut other.pairs, *pairs_memory);
                *pairs_overflow += mine.keep_pair(spilled, seed, &mut v6.lost);
            } else {
                break;
            }
        }
        drop((of_v4, of_v6));
        for (place, hash) in v4.lost.drain(..).chain(v6.lost.drain(..)) {
            if let Some(place) = place.get() {
                let new = || Box::new(PortDistinct::new(*lost_memory));
                lost.get_or_insert_with(new).insert(place, hash);
            }
        }
        let is_tight = v4.is_tight | v6.is_tight;
        (v4.is_tight, v6.is_tight) = (false, false);
        if is_tight {
            self.is_tight = self.finds_tight();
        }
    }
}
