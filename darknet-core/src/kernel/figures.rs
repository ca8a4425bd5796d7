use std::{
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
};

use darknet_ebpf::{
    Cell, Class, Tool, Tools,
    abi::{FRONT_ROWS, ICMP_ROWS, Part, Tally},
    networks::{
        NetworkKey, Slot, WideKey,
        rows::{FRONT, STAGE},
    },
    packed::Packed,
};

use crate::{
    Ledger,
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

    /// Lifts ports and ICMP messages to what was `shown` of the same turn before, and that to them. What is
    /// on its way from a front to its row when that is read is in neither, and there would be less again.
    pub(crate) fn lift(&mut self, shown: &mut Self) {
        if shown.epoch != self.epoch {
            *shown = Self {
                epoch: self.epoch,
                ..Self::default()
            };
        }
        let lift = |rows: &mut [Counts], shown: &mut [Counts]| {
            for (row, shown) in rows.iter_mut().zip(shown) {
                row.packets = row.packets.max(shown.packets);
                row.bytes = row.bytes.max(shown.bytes);
                *shown = *row;
            }
        };
        lift(self.ports.rows_mut(), shown.ports.rows_mut());
        lift(self.icmp.rows_mut(), shown.icmp.rows_mut());
    }

    /// Whether each packet that has a port is in a network of its class and port, as far as it is in one.
    pub(crate) fn tells_ports_apart(&self) -> bool {
        let with_ports = [
            Class::TcpSyn,
            Class::TcpBackscatter,
            Class::TcpOther,
            Class::Udp,
        ];
        let packets = with_ports.map(|class| self.totals.class(class).packets);
        let told = self.networks.ports();
        let told: u64 = told.map(|(_, _, _, counts)| counts.packets).sum();
        told + self.networks.overflow().packets >= packets.iter().sum()
    }

    /// Adds the words of a [`Part`].
    pub(super) fn add_part(&mut self, words: &[AtomicU64]) {
        let field = |offset: usize, length: usize| &words[offset / 8..][..length];
        self.add_tally(&words[offset_of!(Part, tally) / 8..][..words_of::<Tally>()]);
        let slots = words_of::<Slot>();
        self.add_slots(field(offset_of!(Part, front), FRONT * slots));
        let staged = |at: usize| (word(&words[at / 8]) as usize).min(STAGE) * slots;
        let networks = staged(offset_of!(Part, tally) + offset_of!(Tally, staged));
        self.add_slots(field(offset_of!(Part, stage), networks));
        self.add_row_slots(field(offset_of!(Part, front_rows), FRONT_ROWS * slots));
        let rows = staged(offset_of!(Part, staged_rows));
        self.add_row_slots(field(offset_of!(Part, row_stage), rows));
    }

    fn add_row_slots(&mut self, words: &[AtomicU64]) {
        for_each_slot(words, |slot| {
            self.add_to_row(slot.key, slot.value.counts().into());
        });
    }

    fn add_to_row(&mut self, row: u64, counts: Counts) {
        let row = row as usize;
        let rows = match row.checked_sub(ICMP_ROWS as usize) {
            None => self.ports.rows_mut().get_mut(row),
            Some(row) => self.icmp.rows_mut().get_mut(row),
        };
        if let Some(row) = rows {
            *row += counts;
        }
    }

    pub(super) fn add_rows(&mut self, rows: &[AtomicU64]) {
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
        for (bits, at) in (0..1 << Tool::ALL.len()).zip((offset_of!(Tally, marks)..).step_by(8)) {
            let marks = Tools::from_bits(bits).expect("the bits of all tools");
            for tool in Tool::ALL.into_iter().filter(|&tool| marks.has(tool)) {
                totals.add_tool(tool, one(at));
            }
        }
        networks.add_overflow(counts(offset_of!(Tally, network_overflow)));
        *row_overflow += counts(offset_of!(Tally, row_overflow));
    }

    pub(super) fn add_slots(&mut self, words: &[AtomicU64]) {
        for_each_slot(words, |slot| {
            if let Some(key) = NetworkKey::in_slot(slot) {
                self.networks.add(key, slot.value.counts().into());
            }
        });
    }

    pub(super) fn add_wide(&mut self, key: &[u8; size_of::<WideKey>()], counts: Counts) {
        let code = number(key, offset_of!(WideKey, code));
        let (whole, _) = key.as_chunks();
        let key = u64::from_ne_bytes(whole[offset_of!(WideKey, key) / 8]);
        match u8::try_from(code) {
            Ok(code @ 1..) => self.networks.add(NetworkKey { key, code }, counts),
            _ => self.add_to_row(key, counts),
        }
    }
}

/// Calls `there` with each slot that is filled.
fn for_each_slot(words: &[AtomicU64], mut there: impl FnMut(Slot)) {
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
        there(slot);
    }
}

pub(super) const fn words_of<T>() -> usize {
    size_of::<T>() / size_of::<AtomicU64>()
}

/// Relaxed is enough: one processor writes the word, and in a quiet bank nobody does.
fn word(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

pub(super) fn number(key: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(*key[offset..].first_chunk().expect("a field of WideKey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_not_less_again() {
        let row = |packets: u64| Counts {
            packets,
            bytes: 40 * packets,
        };
        let rows = |packets: [u64; 3]| {
            let mut figures = BankFigures::default();
            figures.ports.rows_mut()[..3].copy_from_slice(&packets.map(row));
            figures.icmp.rows_mut()[..3].copy_from_slice(&packets.map(row));
            figures
        };
        let (mut now, mut shown) = (rows([5, 0, 9]), rows([7, 3, 8]));
        now.lift(&mut shown);
        let expected = [7, 3, 9].map(row);
        for figures in [&mut now, &mut shown] {
            assert_eq!(figures.ports.rows_mut()[..3], expected);
            assert_eq!(figures.icmp.rows_mut()[..3], expected);
        }
        let mut next = rows([1, 0, 2]);
        next.epoch = 1;
        next.lift(&mut shown);
        assert_eq!(
            next.ports.rows_mut()[..3],
            [1, 0, 2].map(row),
            "another turn"
        );
    }
}
