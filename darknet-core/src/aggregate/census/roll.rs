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
    LOOK_AHEAD,
    index::{Found, Index, NUMBERS},
    line::{Line, Ports, Rest, scanned},
    pool::Pool,
    recent::Recent,
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
    pub(super) fn pair(
        &mut self,
        (address, place): (A, Place),
        (number, shard): (u32, usize),
        seed: &Seed,
    ) {
        let pair = Pair { address, place };
        let hash = pair.hash(seed);
        self.pairs.push(Spilled {
            pair,
            number,
            shard,
            hash,
        });
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

impl Kind {
    const ALL: [Self; 4] = [Self::Many, Self::Few, Self::More, Self::New];
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

    /// Whether there is room for whatever so many packets may need.
    pub(super) fn has_room(&self, packets: usize) -> bool {
        let lines = self.lines.len() + packets;
        let growth = self.index.bytes_with(lines) - self.index.bytes();
        self.used() + growth + WANTED * packets <= self.memory && lines <= NUMBERS
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

    /// What is to be done with a packet of a source that most likely has this number. Nearly without
    /// branches, as these packets come in no order.
    #[inline]
    pub(super) fn kind(&self, packet: &Packet, number: u32) -> Kind {
        let Some(line) = self.lines.get(number) else {
            return Kind::New;
        };
        let Some(rest) = self.rests.get(line.rest) else {
            return Kind::New;
        };
        let here = (line.address == A::of(packet)) & (line.rest != 0);
        let [first, second] = Place::of(packet);
        let mut known = here & (line.knows(Some(rest), first) | !first.is_some());
        if second.is_some() {
            known &= line.knows(Some(rest), second);
        }
        let many = known & rest.has_many_destinations();
        Kind::ALL[3 - usize::from(here) - usize::from(known) - usize::from(many)]
    }

    /// Counts a packet of a source that has a rest and is known to have been at its places.
    #[inline(always)]
    pub(super) fn count_known(&mut self, observation: &Observation, number: u32, seed: &Seed) {
        if let Some(line) = self.lines.get_mut(number)
            && let Some(rest) = self.rests.get_mut(line.rest)
        {
            line.count(observation);
            rest.count(&observation.packet, seed);
        }
    }

    /// Counts a packet of a source that has a rest, at a place that is not kept with the source.
    #[inline]
    pub(super) fn count_more(
        &mut self,
        observation: &Observation,
        (number, shard): (u32, usize),
        seed: &Seed,
        (recent, spill): (&Recent, &mut Spill<A>),
    ) {
        let address = A::of(&observation.packet);
        let line = self.lines.get(number);
        let rest = line.and_then(|line| self.rests.get(line.rest));
        let (Some(line), Some(rest)) = (line, rest) else {
            return self.count_new(observation, shard, seed, spill);
        };
        if line.address != address || rest.ports == 0 && !line.has_room(2) {
            return self.count_new(observation, shard, seed, spill);
        }
        let known = |place: Place| {
            !place.is_some() || recent.has(A::key(address, place)) || line.knows(Some(rest), place)
        };
        if rest.ports != 0 && Place::of(&observation.packet).into_iter().all(known) {
            self.count_known(observation, number, seed);
        } else {
            self.count_places(observation, (number, shard), seed, spill);
        }
    }

    /// Counts a packet at a new place, of a source that has what it takes.
    fn count_places(
        &mut self,
        observation: &Observation,
        (number, shard): (u32, usize),
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let packet = &observation.packet;
        let line = self.lines.get_mut(number).expect("a source");
        line.count(observation);
        match (line.rest, self.rests.get_mut(line.rest)) {
            (0, _) | (_, None) => line.destination = destination(packet, seed),
            (_, Some(rest)) => rest.count(packet, seed),
        }
        for place in Place::of(packet) {
            if place.is_some() && !self.keep(number, place, seed) {
                spill.pair((A::of(packet), place), (number, shard), seed);
            }
        }
    }

    /// Counts a packet of a source that may be new, or need memory.
    #[inline(never)]
    pub(super) fn count_new(
        &mut self,
        observation: &Observation,
        shard: usize,
        seed: &Seed,
        spill: &mut Spill<A>,
    ) {
        let packet = &observation.packet;
        let (address, hash) = (A::of(packet), observation.hash());
        let mut found = self.find(address, hash);
        if !self.has_room(LOOK_AHEAD) {
            spill.is_tight = true;
            if !self.has_room(1) && self.wants_room(found, packet) {
                while !self.has_room(1)
                    && self.give_way(seed, spill, |roll, line| !roll.stays(line))
                {}
                // Numbers have changed, and it may have given way itself.
                found = self.find(address, hash);
                if !self.has_room(1) && self.wants_room(found, packet) {
                    return self.refuse(observation, found, shard, seed, spill);
                }
            }
        }
        let Some(number) = found.or_else(|| self.enroll(address, hash, seed, spill)) else {
            return self.refuse(observation, None, shard, seed, spill);
        };
        let line = self.lines.get_mut(number).expect("found or enrolled");
        let places = PortTable::of(packet).into_iter().flatten().count();
        if line.rest == 0 && (line.counts.packets > 0 || !line.has_room(places)) {
            line.rest = self.rests.push(line.first_rest());
        }
        self.count_places(observation, (number, shard), seed, spill);
    }

    /// Whether a packet needs memory that may not be there. It may say yes where no is true.
    fn wants_room(&self, found: Option<u32>, packet: &Packet) -> bool {
        let Some(line) = found.and_then(|number| self.lines.get(number)) else {
            return true;
        };
        let rest = self.rest_of(line);
        let places = PortTable::of(packet).into_iter().flatten().count();
        rest.is_none_or(|rest| rest.ports == 0 && !line.has_room(places))
    }

    /// Keeps a place with its source; `false` if there is no room, so that it is one for the pairs,
    /// and the source has its ports too.
    pub(super) fn keep(&mut self, number: u32, place: Place, seed: &Seed) -> bool {
        let line = self.lines.get_mut(number).expect("a source");
        let mut rest = match line.rest {
            0 => None,
            number => self.rests.get_mut(number),
        };
        if line.knows(rest.as_deref(), place) || line.keep(rest.as_deref_mut(), place) {
            // Where windows were merged there may be ports before its places are taken.
            if rest.is_some_and(|rest| rest.ports != 0) {
                self.keep_port(number, place, seed);
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
            let pair = (A::of(&observation.packet), Place::new(place));
            spill.pair(pair, (0, shard), seed);
        }
    }

    /// The rest of a line, if it has one.
    pub(super) fn rest_of(&self, line: &Line<A>) -> Option<&Rest> {
        self.rests.get(line.rest).filter(|_| line.rest != 0)
    }

    /// The ports with this number, if it is one.
    pub(super) fn ports_at(&self, number: u32) -> Option<&Ports> {
        self.ports.get(number).filter(|_| number != 0)
    }

    /// The rest of a line, made of the line where it has none.
    pub(super) fn rest(&self, line: &Line<A>) -> Rest {
        match self.rest_of(line) {
            Some(rest) => *rest,
            None => line.first_rest(),
        }
    }

    /// Whether a source must not give way: a large-scale scanner.
    pub(super) fn stays(&self, line: &Line<A>) -> bool {
        let rest = self.rest_of(line);
        rest.is_some_and(|rest| {
            rest.ports_taken.at_least(SCANNER_PORTS) && rest.scans >= SCANNER_PACKETS
        })
    }

    /// Whether a source was seen at a place.
    pub(super) fn was_at(&self, line: &Line<A>, place: Place, seed: &Seed) -> bool {
        let rest = self.rest_of(line);
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

    /// Reads where the search for a pair begins, and the ports of its source.
    #[inline]
    pub(super) fn touch_pair(&self, spilled: &Spilled<A>) -> u32 {
        let pair = self.pairs.first(spilled.hash);
        let line = self.lines.get(spilled.number);
        let rest = line.and_then(|line| self.rests.get(line.rest));
        let ports = rest.and_then(|rest| self.ports.get(rest.ports));
        pair.map_or(0, |slot| slot.place.0) | ports.map_or(0, |ports| ports.0.touch().into())
    }

    /// Keeps a pair; what finds no room is in what is lost, and the result is `false`.
    #[inline]
    pub(super) fn keep_pair(
        &mut self,
        spilled: Spilled<A>,
        seed: &Seed,
        lost: &mut Vec<(Place, u64)>,
    ) -> bool {
        let Pair { address, place } = spilled.pair;
        let before = self.pairs.len();
        let kept = self.pairs.entry((address, place), spilled.hash, seed);
        let kept = kept.is_some();
        if kept && self.pairs.len() == before {
            return true;
        }
        // A source that was forgotten since begins again, with other places.
        let line = self.lines.get(spilled.number);
        if let Some(line) = line.filter(|line| line.address == address && line.rest != 0)
            && self.rest_of(line).is_some_and(|rest| rest.ports != 0)
        {
            self.keep_port(spilled.number, place, seed);
        }
        if !kept {
            lost.push((place, seed.key(address)));
        }
        kept
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
            let ports = match self.ports_at(rest.ports) {
                Some(Ports(ports)) => *ports,
                None => {
                    let mut ports = Ports::default().0;
                    let kept = line.places(self.rest_of(line));
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
            let places = line.places(self.rest_of(line));
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
