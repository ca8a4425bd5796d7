use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use darknet_ebpf::{
    abi::{Processor, ROWS, State, bank},
    networks::WideKey,
};

use super::{
    BankFigures,
    figures::{number, words_of},
    sys::{self, Table, Words},
};
use crate::{Dark, Error, Nanoseconds, aggregate::Counts};

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
        // Where counts are handed on to before where they come from: in a bank in use, what is on its way
        // is in neither, and not in both.
        self.for_each_wide(bank, |key, counts| figures.add_wide(key, counts))?;
        for rows in Self::half(&self.rows, bank).chunks_exact(ROWS as usize) {
            figures.add_rows(rows);
        }
        figures.add_slots(Self::half(&self.networks, bank));
        for own in Self::half(&self.parts, bank).chunks_exact(words_of::<Processor>()) {
            figures.add_part(&own[offset_of!(Processor, part) / 8..]);
        }
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

fn clean(words: &[AtomicU64]) {
    // Most are 0, and only read: a page that is not written stays out of the cache.
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}
