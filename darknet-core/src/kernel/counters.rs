use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use darknet_ebpf::{
    Cell, Class, Tool,
    abi::{ICMP_ROWS, Part, ROWS, State, Tally, bank},
    networks::{
        NetworkKey, Slot, WideKey,
        rows::{FRONT, STAGE},
    },
    packed::Packed,
};

use super::sys::{self, Table, Words};
use crate::{
    Dark, Error, Ledger, Nanoseconds,
    aggregate::{Aggregate as _, Counts, Icmp, Networks, Ports, Totals},
};

/// What was counted between two cuts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BankFigures {
    /// The number of the turn: 0, 1, 2, … Of several together, the last one.
    pub epoch: u64,
    /// Of several turns together, the first one.
    pub first_epoch: u64,
    /// Where every packet ended. `observed` is 0: that is for workers to say.
    pub ledger: Ledger,
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Source networks.
    pub networks: Networks,
    /// What outgrew its row of a port or an ICMP message, and found no room for that: it is in its
    /// class, and in no row. More than 10^11 packets have to come before.
    pub row_overflow: Counts,
}

/// The tables of one kernel program, two banks of each.
#[derive(Debug)]
pub(super) struct Counters {
    state: Words,
    parts: Words,
    rows: Words,
    networks: Words,
    wide: Table,
}

impl Counters {
    /// The tables of a program; `table` finds each by its name.
    pub(super) fn new(
        mut table: impl FnMut(&'static str) -> Result<MapData, Error>,
    ) -> Result<Self, Error> {
        let mut words = |name| {
            Words::map(table(name)?).map_err(|source| Error::System {
                doing: format!("mapping the kernel's table {name}"),
                source,
            })
        };
        let [state, parts] = [words("STATE")?, words("PARTS")?];
        let [rows, networks] = [words("ROWS")?, words("NETWORKS")?];
        Ok(Self {
            state,
            parts,
            rows,
            networks,
            wide: Table::new(table("WIDE")?).map_err(|source| Error::System {
                doing: "asking for the size of the kernel's table WIDE".into(),
                source,
            })?,
        })
    }

    fn state(&self, offset: usize) -> &AtomicU64 {
        &self.state.as_slice()[offset / 8]
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state(offset_of!(State, epoch)).load(Ordering::Relaxed)
    }

    /// Begins at a turn, before the program has run.
    pub(super) fn begin(&self, epoch: u64, dark: &Dark) {
        for (offset, value) in [
            (offset_of!(State, dark), fingerprint(dark)),
            (offset_of!(State, epoch), epoch),
            (offset_of!(State, layout), State::LAYOUT),
            (offset_of!(State, handed_over), epoch),
        ] {
            self.state(offset).store(value, Ordering::Release);
        }
    }

    /// The number of the layout of all tables.
    pub(super) fn layout(&self) -> u64 {
        self.state(offset_of!(State, layout))
            .load(Ordering::Relaxed)
    }

    /// Whether this is what was dark.
    pub(super) fn has_dark(&self, dark: &Dark) -> bool {
        self.state(offset_of!(State, dark)).load(Ordering::Relaxed) == fingerprint(dark)
    }

    /// Where the window began that holds what has not been handed over.
    pub(super) fn begun(&self) -> Nanoseconds {
        let begun = self.state(offset_of!(State, begun)).load(Ordering::Relaxed);
        begun.cast_signed()
    }

    /// Says where the window begins that holds what has not been handed over.
    pub(super) fn set_begun(&self, begun: Nanoseconds) {
        self.state(offset_of!(State, begun))
            .store(begun.cast_unsigned(), Ordering::Release);
    }

    /// Lets the program count in the other bank, and reads what it has counted in this one, which
    /// stays until [`handed_over`](Self::handed_over).
    ///
    /// `&mut`: two of these at once would take the bank from under each other.
    pub(super) fn cut(&mut self) -> Result<BankFigures, Error> {
        let epoch = self.epoch();
        // The program reads this word once for each packet, and what it reads is the address that
        // it counts at; Release, so that it finds the bank as it was cleaned.
        self.state(offset_of!(State, epoch))
            .store(epoch.wrapping_add(1), Ordering::Release);
        // A program that had read the old epoch may still be counting. Without this, two
        // processors under load lost 5 of 12 million packets.
        wait_for_programs()?;
        self.read(epoch)
    }

    /// What the bank in use has counted so far.
    pub(super) fn live(&self) -> Result<BankFigures, Error> {
        self.read(self.epoch())
    }

    /// What has not been handed over of a program that has ended.
    pub(super) fn remains(&self) -> Result<BankFigures, Error> {
        let last = self.epoch();
        let first = self
            .state(offset_of!(State, handed_over))
            .load(Ordering::Relaxed);
        let mut figures = self.read(last)?;
        if first < last {
            figures.merge(self.read(last - 1)?);
        }
        Ok(figures)
    }

    /// Says that every turn before the current one is in good hands, and where the window of the
    /// current one began; cleans the other bank.
    pub(super) fn handed_over(&mut self, begun: Nanoseconds) -> Result<(), Error> {
        let epoch = self.epoch();
        self.set_begun(begun);
        self.state(offset_of!(State, handed_over))
            .store(epoch, Ordering::Release);
        let quiet = bank(epoch.wrapping_add(1));
        for table in [&self.parts, &self.rows, &self.networks] {
            clean(Self::half(table, quiet));
        }
        let mut done = Vec::new();
        self.for_each_wide(quiet, |key, _| done.extend_from_slice(key))?;
        self.wide.delete(&done).map_err(wide_error)
    }

    /// The words of a bank in `table`, of which it has half.
    fn half(table: &Words, bank: u32) -> &[AtomicU64] {
        let (first, second) = table.as_slice().split_at(table.as_slice().len() / 2);
        if bank == 0 { first } else { second }
    }

    fn read(&self, epoch: u64) -> Result<BankFigures, Error> {
        let mut figures = BankFigures {
            epoch,
            first_epoch: epoch,
            ..BankFigures::default()
        };
        let bank = bank(epoch);
        for part in Self::half(&self.parts, bank).chunks_exact(words_of::<Part>()) {
            figures.add_part(part);
        }
        for rows in Self::half(&self.rows, bank).chunks_exact(ROWS as usize) {
            figures.add_rows(rows);
        }
        figures.add_slots(Self::half(&self.networks, bank));
        self.for_each_wide(bank, |key, counts| figures.add_wide(key, counts))?;
        Ok(figures)
    }

    /// Calls `entry` with each key of a bank, and its counts.
    fn for_each_wide(
        &self,
        bank: u32,
        mut entry: impl FnMut(&[u8; size_of::<WideKey>()], Counts),
    ) -> Result<(), Error> {
        let all = self.wide.for_each(|key, counts| {
            let key = key.first_chunk().expect("as wide as WideKey");
            if number(key, offset_of!(WideKey, bank)) == bank {
                let (words, _) = counts.as_chunks().0.split_at(2);
                let [packets, bytes] = [words[0], words[1]].map(u64::from_ne_bytes);
                entry(key, Counts { packets, bytes });
            }
        });
        all.map_err(wide_error)
    }
}

/// A number that tells one dark space from another.
fn fingerprint(dark: &Dark) -> u64 {
    let mut hasher = DefaultHasher::new();
    (dark.prefixes(), dark.excluded()).hash(&mut hasher);
    hasher.finish()
}

fn wide_error(source: std::io::Error) -> Error {
    Error::System {
        doing: "reading the kernel's table WIDE".into(),
        source,
    }
}

/// Returns when no program runs any more that began before.
pub(super) fn wait_for_programs() -> Result<(), Error> {
    sys::wait_for_programs().map_err(|source| Error::System {
        doing: "waiting until every processor has left the kernel program".into(),
        source,
    })
}

const fn words_of<T>() -> usize {
    size_of::<T>() / size_of::<AtomicU64>()
}

/// Relaxed is enough: one processor writes the word, and in a quiet bank nobody does.
fn word(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

fn clean(words: &[AtomicU64]) {
    // Most are 0, and only read: a page that is not written stays out of the cache.
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}

fn number(key: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(*key[offset..].first_chunk().expect("a field of WideKey"))
}

impl BankFigures {
    /// Adds another turn.
    pub fn merge(&mut self, mut other: Self) {
        let Self {
            epoch,
            first_epoch,
            ledger,
            totals,
            ports,
            icmp,
            networks,
            row_overflow,
        } = self;
        *epoch = (*epoch).max(other.epoch);
        *first_epoch = (*first_epoch).min(other.first_epoch);
        ledger.merge(&other.ledger);
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        networks.merge(&other.networks);
        *row_overflow += other.row_overflow;
    }

    /// Adds the words of a [`Part`].
    fn add_part(&mut self, words: &[AtomicU64]) {
        let field = |offset: usize, length: usize| &words[offset / 8..][..length];
        self.add_tally(&words[offset_of!(Part, tally) / 8..][..words_of::<Tally>()]);
        let slots = words_of::<Slot>();
        self.add_slots(field(offset_of!(Part, front), FRONT * slots));
        let staged = word(&words[(offset_of!(Part, tally) + offset_of!(Tally, staged)) / 8]);
        let staged = (staged as usize).min(STAGE);
        self.add_slots(field(offset_of!(Part, stage), staged * slots));
    }

    fn add_rows(&mut self, rows: &[AtomicU64]) {
        let sums = self.ports.rows_mut().iter_mut().chain(self.icmp.rows_mut());
        for (sum, row) in sums.zip(rows) {
            let row = word(row);
            if row != 0 {
                *sum += Packed(row).counts().into();
            }
        }
    }

    fn add_tally(&mut self, words: &[AtomicU64]) {
        let one = |offset: usize| word(&words[offset / 8]);
        let counts = |offset: usize| Counts {
            packets: one(offset),
            bytes: one(offset + 8),
        };
        let Self {
            epoch: _,
            first_epoch: _,
            ledger,
            totals,
            ports: _,
            icmp: _,
            networks,
            row_overflow,
        } = self;
        ledger.received += one(offset_of!(Tally, received));
        ledger.counted += one(offset_of!(Tally, counted));
        for cell in Cell::ALL {
            ledger.add(cell, one(offset_of!(Tally, cells) + 8 * cell as usize));
        }
        for class in Class::ALL {
            let at = offset_of!(Tally, classes) + 16 * class as usize;
            totals.add_class(class, counts(at));
        }
        for tool in Tool::ALL {
            totals.add_tool(tool, one(offset_of!(Tally, tools) + 8 * tool as usize));
        }
        networks.add_overflow(counts(offset_of!(Tally, network_overflow)));
        *row_overflow += counts(offset_of!(Tally, row_overflow));
    }

    fn add_slots(&mut self, words: &[AtomicU64]) {
        for [key, value] in words.as_chunks().0 {
            let mut packed = word(value);
            if packed == 0 {
                continue;
            }
            // In a bank in use, a slot may change hands between its two words.
            let mut slot = Slot::default();
            for _ in 0..4 {
                slot.key = word(key);
                let again = word(value);
                if again == packed {
                    break;
                }
                packed = again;
            }
            slot.value = Packed(packed);
            if let Some(key) = NetworkKey::in_slot(slot) {
                self.networks.add(key, slot.value.counts().into());
            }
        }
    }

    fn add_wide(&mut self, key: &[u8; size_of::<WideKey>()], counts: Counts) {
        let code = number(key, offset_of!(WideKey, code));
        let (whole, _) = key.as_chunks();
        let key = u64::from_ne_bytes(whole[offset_of!(WideKey, key) / 8]);
        match u8::try_from(code) {
            Ok(code @ 1..) => self.networks.add(NetworkKey { key, code }, counts),
            _ => {
                let row = key as usize;
                let rows = match row.checked_sub(ICMP_ROWS as usize) {
                    None => self.ports.rows_mut().get_mut(row),
                    Some(row) => self.icmp.rows_mut().get_mut(row),
                };
                if let Some(row) = rows {
                    *row += counts;
                }
            }
        }
    }
}
