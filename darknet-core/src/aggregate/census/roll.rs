//! The sources of one IP version, in one logical shard.

use std::net::IpAddr;

use darknet_ebpf::{Packet, PortTable};

use super::{
    super::{
        Counts, Forgotten, Observation, Seed,
        few::Taken,
        profiles::{Profile, SCANNER_PACKETS, SCANNER_PORTS, destination},
        source::{Address, Pair, Place},
        table::Table,
    },
    index::{Found, Index},
    line::{Line, Ports, Rest, scanned},
    pool::Pool,
};

/// Every source has a [`Line`], most have a [`Rest`], those at many ports have [`Ports`].
#[derive(Clone, Debug)]
pub(super) struct Roll<A: Address> {
    pub(super) index: Index,
    pub(super) lines: Pool<Line<A>>,
    pub(super) rests: Pool<Rest>,
    pub(super) ports: Pool<Ports>,
    /// Places that had no room with their source.
    pub(super) pairs: Table<Pair<A>>,
    /// Bytes that all of it but the pairs takes at most.
    pub(super) memory: usize,
    /// Packets that a source which is not there may have had, at most.
    pub(super) missed: u64,
    pub(super) forgotten: Forgotten,
}

/// What a roll has no room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Spill<A> {
    /// Pairs that have no room with their source. There may be one in [`Roll::pairs`].
    pub(super) pairs: Vec<Spilled<A>>,
    /// Places of sources that are forgotten, with the hash of the source.
    pub(super) lost: Vec<(Place, u64)>,
}

/// A pair of source and place, with its shard and its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spilled<A> {
    pub(super) pair: Pair<A>,
    pub(super) shard: usize,
    pub(super) hash: u32,
}

impl<A: Address> Spill<A> {
    pub(super) fn pair(&mut self, address: A, place: Place, shard: usize, seed: &Seed) {
        let pair = Pair { address, place };
        let hash = pair.hash(seed);
        self.pairs.push(Spilled { pair, shard, hash });
    }
}

/// A source as figures have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) source: IpAddr,
    pub(super) counts: Counts,
    pub(super) missed: u64,
    pub(super) classes: u16,
    pub(super) tools: u8,
}

/// The most that one packet may need: a line, a rest, ports.
const WANTED: usize = 64 + 128 + 64;
/// Enough for some sources with all of it.
const LEAST: usize = 16 * WANTED;

impl<A: Address> Roll<A> {
    /// An empty roll that takes at most so many bytes, and as many again for pairs.
    pub(super) fn new(memory: usize, pairs: usize) -> Self {
        Self {
            index: Index::new(),
            lines: Pool::new(),
            rests: Pool::new(),
            ports: Pool::new(),
            pairs: Table::new(pairs),
            memory: memory.max(LEAST),
            missed: 0,
            forgotten: Forgotten::default(),
        }
    }

    /// Whether every source and every packet that was counted is still there.
    pub(super) fn is_complete(&self) -> bool {
        self.forgotten == Forgotten::default()
    }

    /// Bytes that it takes, without pairs.
    pub(super) fn used(&self) -> usize {
        let pools = self.lines.bytes() + self.rests.bytes() + self.ports.bytes();
        pools + self.index.bytes()
    }

    /// Whether there is room for whatever one packet may need.
    pub(super) fn has_room(&self) -> bool {
        let growth = match self.index.is_tight(self.lines.len()) {
            true => self.index.growth(),
            false => 0,
        };
        self.used() + growth + WANTED <= self.memory && !Index::is_full(self.lines.len())
    }

    /// The number of a source.
    pub(super) fn find(&self, address: A, hash: u64) -> Option<u32> {
        let is = |number| {
            let line = self.lines.get(number);
            line.is_some_and(|line| line.address == address)
        };
        match self.index.find(hash, is) {
            Found::Number(number) => Some(number),
            Found::Free(_) | Found::Full => None,
        }
    }

    /// Counts a packet of a source that most likely has this number. `shard` is of what it spills.
    #[inline]
    pub(super) fn count(
        &mut self,
        observation: &Observation,
        (number, shard): (u32, usize),
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let packet = &observation.packet;
        if let Some(line) = self.lines.get_mut(number)
            && line.address == A::of(packet)
            && let Some(rest) = self.rests.get_mut(line.rest)
        {
            let mut places = PortTable::of(packet).into_iter().flatten();
            if places.all(|place| line.knows(Some(rest), Place::new(place))) {
                line.count(observation);
                rest.count(packet, seed);
                return;
            }
        }
        self.count_new(observation, shard, seed, spill);
    }

    /// Counts a packet that has something new, or much of it.
    #[inline(never)]
    fn count_new(
        &mut self,
        observation: &Observation,
        shard: usize,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let packet = &observation.packet;
        let (address, hash) = (A::of(packet), observation.hash());
        let mut found = self.find(address, hash);
        if self.wants_room(found, packet) {
            while !self.has_room() && self.give_way(seed, spill, |roll, line| !roll.stays(line)) {
                found = None;
            }
            found = found.or_else(|| self.find(address, hash));
            if !self.has_room() && self.wants_room(found, packet) {
                return self.refuse(observation, found, shard, seed, spill);
            }
        }
        let Some(number) = found.or_else(|| self.enroll(address, hash, seed, spill)) else {
            return self.refuse(observation, None, shard, seed, spill);
        };
        let line = self.lines.get_mut(number).expect("found or enrolled");
        let places = PortTable::of(packet).into_iter().flatten();
        if line.rest == 0 && (line.counts.packets > 0 || !line.has_room(places.clone().count())) {
            line.rest = self.rests.push(line.first_rest());
        }
        line.count(observation);
        match self.rests.get_mut(line.rest) {
            Some(rest) => rest.count(packet, seed),
            None => line.destination = destination(packet, seed),
        }
        for place in places {
            if !self.keep(number, Place::new(place), seed) {
                spill.pair(address, Place::new(place), shard, seed);
            }
        }
    }

    /// Whether a packet needs memory that may not be there. It may say yes where no is true.
    fn wants_room(&self, found: Option<u32>, packet: &Packet) -> bool {
        let Some(line) = found.and_then(|number| self.lines.get(number)) else {
            return true;
        };
        let rest = self.rests.get(line.rest);
        let places = PortTable::of(packet).into_iter().flatten().count();
        rest.is_none_or(|rest| rest.ports == 0 && !line.has_room(places))
    }

    /// Keeps a place with its source; `false` if there is no room, so that it is one for the pairs.
    /// From then on the source has its ports too.
    pub(super) fn keep(&mut self, number: u32, place: Place, seed: &Seed) -> bool {
        let line = self.lines.get_mut(number).expect("a source");
        let Some(rest) = self.rests.get_mut(line.rest) else {
            return line.knows(None, place) || line.keep(None, place);
        };
        if line.knows(Some(rest), place) {
            return true;
        }
        let kept = line.keep(Some(rest), place);
        if !kept || rest.ports != 0 {
            let (ports, taken) = self.ports_of(number, seed);
            if let Some(port) = scanned(place) {
                ports.0.insert(taken, port, |port| seed.key(port));
            }
        }
        kept
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

    /// A new line; `None` if no place of the index is free for it.
    pub(super) fn enroll(
        &mut self,
        address: A,
        hash: u64,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) -> Option<u32> {
        let at = self.free(hash, seed, spill)?;
        let number = self.lines.push(Line::of(address, self.missed));
        self.index.put(at, hash, number);
        Some(number)
    }

    /// Where in the index a source goes that is not there.
    pub(super) fn free(&mut self, hash: u64, seed: &Seed, spill: &mut Spill<A>) -> Option<usize> {
        if self.index.is_tight(self.lines.len()) {
            self.grow(seed, spill);
        }
        loop {
            match self.index.find(hash, |_| false) {
                Found::Free(at) => return Some(at),
                _ if self.index.is_empty_enough(self.lines.len()) => return None,
                _ => self.grow(seed, spill),
            }
        }
    }

    /// Twice the places in the index.
    #[inline(never)]
    fn grow(&mut self, seed: &Seed, spill: &mut Spill<A>) {
        let empty = self.index.grown();
        let mut index = empty.clone();
        let hashes = self.lines.iter().map(|line| seed.key(line.address));
        let all = hashes
            .zip(1..)
            .all(|(hash, number)| index.insert(hash, number));
        if all {
            self.index = index;
        } else {
            // Somebody chose the hashes. What finds no place gives way.
            self.retain(empty, seed, spill, |_, _| true);
        }
    }

    /// Leaves a packet out, but for its places.
    fn refuse(
        &mut self,
        observation: &Observation,
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
        let places = PortTable::of(&observation.packet).into_iter().flatten();
        for place in places {
            spill.pair(A::of(&observation.packet), Place::new(place), shard, seed);
        }
    }

    /// The rest of a line, made of the line where it has none.
    pub(super) fn rest(&self, line: &Line<A>) -> Rest {
        match self.rests.get(line.rest) {
            Some(rest) => *rest,
            None => line.first_rest(),
        }
    }

    /// Whether a source must not give way: a large-scale scanner.
    pub(super) fn stays(&self, line: &Line<A>) -> bool {
        let rest = self.rests.get(line.rest);
        rest.is_some_and(|rest| {
            rest.ports_taken.at_least(SCANNER_PORTS) && rest.scans >= SCANNER_PACKETS
        })
    }

    /// Whether a source was seen at a place.
    pub(super) fn was_at(&self, line: &Line<A>, place: Place, seed: &Seed) -> bool {
        let rest = self.rests.get(line.rest);
        line.knows(rest, place)
            || rest.is_some_and(|rest| rest.ports != 0)
                && self.pairs.contains((line.address, place), seed)
    }

    /// The hosts that were seen at all of some places and at none of others.
    pub(super) fn at<'a>(
        &'a self,
        all: &'a [(PortTable, u16)],
        none: &'a [(PortTable, u16)],
        seed: &'a Seed,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let at = move |line: &Line<A>, place| self.was_at(line, Place::new(place), seed);
        let lines = self.lines.iter().filter(move |line| {
            all.iter().all(|&place| at(line, place)) && !none.iter().any(|&place| at(line, place))
        });
        lines.map(|line| line.address.ip())
    }

    /// The number of the rest of a line, to fetch its memory early.
    #[inline]
    pub(super) fn rest_number(&self, line: u32) -> u32 {
        self.lines.get(line).map_or(0, |line| line.rest)
    }

    /// Reads a rest.
    #[inline]
    pub(super) fn touch_rest(&self, rest: u32) -> u32 {
        let rest = self.rests.get(rest);
        rest.map_or(0, |rest| rest.scans | u32::from(rest.destinations.touch()))
    }

    /// The slot where the search for a pair with this hash begins, to fetch its memory early.
    #[inline]
    pub(super) fn touch_pair(&self, hash: u32) -> u32 {
        self.pairs.first(hash).map_or(0, |slot| slot.place.0)
    }

    /// Keeps a pair; what finds no room is 1 in the result, and in what is lost.
    #[inline]
    pub(super) fn keep_pair(
        &mut self,
        spilled: Spilled<A>,
        seed: &Seed,
        lost: &mut Vec<(Place, u64)>,
    ) -> u64 {
        let Pair { address, place } = spilled.pair;
        let kept = self.pairs.entry((address, place), spilled.hash, seed);
        if kept.is_some() {
            return 0;
        }
        lost.push((place, seed.key(address)));
        1
    }

    /// Bytes that it takes, with pairs.
    pub(super) fn all_used(&self) -> usize {
        self.used() + self.pairs.bytes()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.lines.iter().map(|line| Row {
            source: line.address.ip(),
            counts: line.counts,
            missed: line.missed(),
            classes: line.classes,
            tools: line.tools,
        })
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = Profile> + '_ {
        self.lines.iter().map(|line| {
            let mut rest = self.rest(line);
            let ports = match self.ports.get(rest.ports) {
                Some(Ports(ports)) => *ports,
                None => {
                    let mut ports = Ports::default().0;
                    let kept = line.places(self.rests.get(line.rest));
                    // No more than are exact.
                    kept.filter_map(scanned)
                        .for_each(|port| ports.insert(&mut rest.ports_taken, port, u64::from));
                    ports
                }
            };
            Profile {
                source: line.address.ip(),
                packets: line.counts.packets,
                missed: line.missed(),
                first: line.first,
                last: line.last,
                scans: rest.scans,
                ports: ports.estimate(rest.ports_taken),
                has_many_ports: rest.ports_taken.at_least(SCANNER_PORTS),
                destinations: rest.destinations.estimate(rest.destinations_taken),
                probes: rest.probes,
                tools: rest.tools,
            }
        })
    }

    /// Every place at which a source was seen, with the source; once for each, if nothing was
    /// forgotten.
    pub(super) fn places(&self) -> impl Iterator<Item = (A, Place)> + '_ {
        let kept = self.lines.iter().flat_map(|line| {
            let places = line.places(self.rests.get(line.rest));
            places.map(|place| (line.address, place))
        });
        kept.chain(self.pairs.iter().map(|pair| (pair.address, pair.place)))
    }

    pub(super) fn reset(&mut self) {
        let Self {
            index,
            lines,
            rests,
            ports,
            pairs,
            memory: _,
            missed,
            forgotten,
        } = self;
        *index = Index::new();
        *lines = Pool::new();
        *rests = Pool::new();
        *ports = Pool::new();
        pairs.reset();
        *missed = 0;
        *forgotten = Forgotten::default();
    }
}
