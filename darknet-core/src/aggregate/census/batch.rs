//! What becomes of a batch: the memory of all of its packets is read before the first is counted, and
//! packets of one kind are counted together.
//!
//! Packets of a batch may be counted in any order, as all that is counted is sums, sets and extremes. Where
//! sources may give way order does matter, and a batch is one packet.

use std::hint::black_box;

use darknet_ebpf::{Class, Version};

use super::{
    super::{Observation, PortDistinct, source::Address as _},
    Census,
    counting::Kind,
};

/// Packets whose memory is read at a time. As much as the first-level cache has room for: seven lines for
/// each.
pub(super) const LOOK_AHEAD: usize = 64;

/// The packets of each kind, by their place in the batch.
struct Kinds {
    places: [[u8; LOOK_AHEAD]; 4],
    taken: [usize; 4],
}

impl Kinds {
    #[inline]
    fn add(&mut self, kind: Kind, place: usize) {
        let taken = &mut self.taken[kind as usize];
        self.places[kind as usize][*taken % LOOK_AHEAD] = place as u8;
        *taken += 1;
    }

    #[inline]
    fn of(&self, kind: Kind) -> impl Iterator<Item = usize> + '_ {
        let taken = self.taken[kind as usize].min(LOOK_AHEAD);
        self.places[kind as usize][..taken]
            .iter()
            .map(|&place| place.into())
    }
}

impl Census {
    /// Counts a batch of [`LOOK_AHEAD`] packets at most.
    #[inline]
    pub(super) fn count(&mut self, batch: &[Observation]) {
        let numbers = self.touch(batch);
        let kinds = self.kinds(batch, &numbers);
        let Self {
            shards,
            seed,
            recent,
            spill: (v4_spill, v6_spill),
            ..
        } = self;
        macro_rules! each {
            ($kind:expr, |$roll:ident, $observation:ident, $number:ident, $shard:ident, $spill:ident| $count:expr) => {
                for place in kinds.of($kind) {
                    let ($observation, $number) = (&batch[place], numbers[place]);
                    let $shard = $observation.shard();
                    let (v4, v6) = &mut shards[$shard];
                    match $observation.packet.version {
                        Version::V4 => {
                            let ($roll, $spill) = (v4, &mut *v4_spill);
                            $count
                        }
                        Version::V6 => {
                            let ($roll, $spill) = (v6, &mut *v6_spill);
                            $count
                        }
                    }
                }
            };
        }
        each!(Kind::Many, |roll, observation, number, _shard, _spill| roll
            .count_known(observation, number, seed));
        each!(Kind::Few, |roll, observation, number, _shard, _spill| roll
            .count_known(observation, number, seed));
        each!(Kind::More, |roll, observation, number, shard, spill| roll
            .count_more(
                observation,
                (number, shard),
                seed,
                (recent, spill)
            ));
        each!(Kind::New, |roll, observation, _number, shard, spill| roll
            .count_new(observation, shard, seed, spill));
        self.keep_spilled();
    }

    /// Which packets are of which kind; malformed ones are of none.
    #[inline]
    fn kinds(&self, batch: &[Observation], numbers: &[u32; LOOK_AHEAD]) -> Kinds {
        let mut kinds = Kinds {
            places: [[0; LOOK_AHEAD]; 4],
            taken: [0; 4],
        };
        for (place, (observation, &number)) in batch.iter().zip(numbers).enumerate() {
            let packet = &observation.packet;
            let (v4, v6) = &self.shards[observation.shard()];
            let kind = match (packet.class, packet.version) {
                (Class::Malformed, _) => continue,
                (_, Version::V4) => v4.kind(packet, number),
                (_, Version::V6) => v6.kind(packet, number),
            };
            kinds.add(kind, place);
        }
        kinds
    }

    /// Whether a roll may have to give way within a batch.
    pub(super) fn finds_tight(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|(v4, v6)| !v4.has_room(LOOK_AHEAD) || !v6.has_room(LOOK_AHEAD))
    }

    /// Reads the memory that counting these packets begins with: the index of all of them, then the
    /// line that it leads to, then the rest that the line leads to. Returns the numbers of the lines.
    #[inline]
    fn touch(&self, batch: &[Observation]) -> [u32; LOOK_AHEAD] {
        let (mut numbers, mut touched) = ([0; LOOK_AHEAD], 0);
        for observation in batch {
            let (v4, v6) = &self.shards[observation.shard()];
            touched |= match observation.packet.version {
                Version::V4 => v4.index.first(observation.hash()),
                Version::V6 => v6.index.first(observation.hash()),
            };
        }
        black_box(touched);
        for (number, observation) in numbers.iter_mut().zip(batch) {
            let (v4, v6) = &self.shards[observation.shard()];
            *number = match observation.packet.version {
                Version::V4 => v4.index.guess(observation.hash()),
                Version::V6 => v6.index.guess(observation.hash()),
            };
        }
        let (mut rests, mut touched) = ([0; LOOK_AHEAD], 0);
        for ((rest, &number), observation) in rests.iter_mut().zip(&numbers).zip(batch) {
            let (v4, v6) = &self.shards[observation.shard()];
            *rest = match observation.packet.version {
                Version::V4 => v4.rest_number(number),
                Version::V6 => v6.rest_number(number),
            };
        }
        for (&rest, observation) in rests.iter().zip(batch) {
            let (v4, v6) = &self.shards[observation.shard()];
            touched |= match observation.packet.version {
                Version::V4 => v4.touch_rest(rest),
                Version::V6 => v6.touch_rest(rest),
            };
        }
        black_box(touched);
        numbers
    }

    /// Keeps the pairs that had no room with their sources, after reading their memory, and counts
    /// what was lost.
    pub(super) fn keep_spilled(&mut self) {
        let Self {
            shards,
            seed,
            pairs_overflow,
            lost,
            lost_memory,
            recent,
            is_tight: _,
            spill: (v4, v6),
        } = self;
        let touched = v4.pairs.iter().fold(0, |touched, spilled| {
            touched | shards[spilled.shard].0.touch_pair(spilled)
        });
        black_box(touched);
        for spilled in v4.pairs.drain(..) {
            let roll = &mut shards[spilled.shard].0;
            if roll.keep_pair(spilled, seed, &mut v4.lost) {
                recent.add(spilled.pair.address.key(spilled.pair.place));
            } else {
                *pairs_overflow += 1;
            }
        }
        for spilled in v6.pairs.drain(..) {
            let roll = &mut shards[spilled.shard].1;
            *pairs_overflow += u64::from(!roll.keep_pair(spilled, seed, &mut v6.lost));
        }
        for (place, hash) in v4.lost.drain(..).chain(v6.lost.drain(..)) {
            if let Some(place) = place.get() {
                let new = || Box::new(PortDistinct::new(*lost_memory));
                lost.get_or_insert_with(new).insert(place, hash);
            }
        }
        let is_tight = v4.is_tight | v6.is_tight;
        (v4.is_tight, v6.is_tight) = (false, false);
        let has_forgotten = v4.has_forgotten | v6.has_forgotten;
        (v4.has_forgotten, v6.has_forgotten) = (false, false);
        if has_forgotten {
            recent.clear();
        }
        if is_tight || has_forgotten {
            self.is_tight = self.finds_tight();
        }
    }
}
