//! The sources of one IP version, in one logical shard.

use super::{
    super::{
        Forgotten, Seed,
        profiles::{SCANNER_PACKETS, SCANNER_PORTS},
        source::{Address, Pair, Rounds},
        table::Table,
    },
    index::{Found, Index, NUMBERS},
    line::{Line, Ports, Rest},
    pool::Pool,
    spill::Spill,
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
    /// Rounds of visits, of places with their source and of pairs.
    pub(super) rounds: Table<Rounds<A>>,
    /// Those that had no room.
    pub(super) rounds_lost: u64,
    /// Bytes that all of it but pairs and rounds takes at most.
    pub(super) memory: usize,
    /// Packets that a source which is not there may have had, at most.
    pub(super) missed: u64,
    pub(super) forgotten: Forgotten,
}

/// The most that one packet may need: a line, a rest, ports.
const WANTED: usize = 64 + 128 + 64;
/// Enough for some sources with all of it.
const LEAST: usize = 16 * WANTED;

impl<A: Address> Roll<A> {
    /// An empty roll that takes at most so many bytes, and beside these so many for pairs and for rounds.
    pub(super) fn new(memory: usize, pairs: usize, rounds: usize) -> Self {
        Self {
            index: Index::new(),
            lines: Pool::new(),
            rests: Pool::new(),
            ports: Pool::new(),
            pairs: Table::new(pairs),
            rounds: Table::new(rounds),
            rounds_lost: 0,
            memory: memory.max(LEAST),
            missed: 0,
            forgotten: Forgotten::default(),
        }
    }

    /// Whether every source and every packet that was counted is still there.
    pub(super) fn is_complete(&self) -> bool {
        self.forgotten == Forgotten::default()
    }

    /// Bytes that it takes, without pairs and rounds.
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
        let mut index = self.index.grown();
        let hashes = self.lines.iter().map(|line| seed.key(line.address));
        let all = hashes
            .zip(1..)
            .all(|(hash, number)| index.insert(hash, number));
        if all {
            self.index = index;
        } else {
            // Somebody chose the hashes. What finds no place gives way.
            index.clear();
            self.retain(index, seed, spill, |_, _| true);
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

    pub(super) fn reset(&mut self) {
        let Self {
            index,
            lines,
            rests,
            ports,
            pairs,
            rounds,
            rounds_lost,
            memory: _,
            missed,
            forgotten,
        } = self;
        *index = Index::new();
        *lines = Pool::new();
        *rests = Pool::new();
        *ports = Pool::new();
        pairs.reset();
        rounds.reset();
        *rounds_lost = 0;
        *missed = 0;
        *forgotten = Forgotten::default();
    }
}
