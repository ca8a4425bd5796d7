use darknet_ebpf::Cell;

use super::{epochs::Losses, workers::Told};
use crate::{Ledger, aggregate::Aggregate};

/// What of the delivered packets is still to be told where it was lost.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Whether frames are delivered, which may be lost behind the program's back.
    frames: bool,
    /// Losses that AF_XDP has counted, and that no window's packets have been missed for yet:
    /// those of the window that is open now.
    losses: Losses,
    /// Frames without metadata that were observed in the window before theirs.
    early: u64,
}

impl Account {
    pub(super) fn new(frames: bool) -> Self {
        Self {
            frames,
            ..Self::default()
        }
    }

    /// Says in the ledger of a closed window what became of the packets that the program delivered.
    ///
    /// How many of a window's packets are missing is known to the packet, as they carry their
    /// epoch; which stage lost them is what its counter says. What no counter knows of was lost in
    /// the redirect, or with a worker that has died. Frames without metadata are counted in the
    /// window that was open when they were taken; so of them, what is missing is what the counters
    /// say.
    pub(super) fn settle<A: Aggregate>(&mut self, ledger: &mut Ledger, told: &Told<A>) {
        let Told {
            observed,
            is_partial,
            took: _,
        } = told;
        self.losses.merge(observed.losses);
        ledger.cut = observed.cut;
        ledger.walked = observed.unmarked;
        let delivered = ledger.cell(Cell::Delivered);
        let seen = observed.packets() + self.early;
        let carries_epoch = observed.unmarked + self.early == 0;
        let mut missing = match carries_epoch {
            true => delivered.saturating_sub(seen),
            false => delivered,
        };
        for (cell, known) in self.losses.by_cell() {
            let lost = missing.min(*known);
            ledger.lose(cell, lost);
            *known -= lost;
            missing -= lost;
        }
        if !carries_epoch {
            self.early = seen.saturating_sub(missing);
            missing = missing.saturating_sub(seen);
        }
        if *is_partial {
            ledger.lose(Cell::Abandoned, missing);
        } else if self.frames {
            ledger.lose(Cell::RedirectFailed, missing);
        }
        ledger.observed = match carries_epoch {
            true => observed.packets(),
            false => ledger.cell(Cell::Delivered),
        };
        // Taken, and lost with an aggregate that panicked.
        let abandoned = observed.part.abandoned.min(ledger.observed);
        ledger.lose(Cell::Abandoned, abandoned);
        ledger.observed -= abandoned;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        aggregate::Totals,
        live::{
            epochs::{Losses, Observed},
            timings::Waiting,
        },
        part::Part,
    };

    fn ledger(delivered: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.received = delivered;
        ledger.counted = delivered;
        ledger.add(Cell::Delivered, delivered);
        ledger
    }

    fn told(packets: u64, unmarked: u64, ring_full: u64, fill_empty: u64) -> Told<Totals> {
        let losses = Losses {
            ring_full,
            fill_empty,
            ..Losses::default()
        };
        Told {
            observed: Observed {
                part: Part {
                    observed: packets,
                    ..Part::new(Totals::default())
                },
                cut: 0,
                unmarked,
                losses,
                waiting: Waiting::new(),
            },
            is_partial: false,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn what_is_missing_is_named_once_and_the_equations_hold() {
        let mut account = Account::new(true);
        // (delivered, observed, ring full, fill empty) and (ring full, fill empty, redirect).
        for (name, [delivered, observed, full, empty], expected) in [
            ("nothing lost", [100, 100, 0, 0], [0, 0, 0]),
            (
                "some of the next window's too",
                [100, 90, 12, 0],
                [10, 0, 0],
            ),
            ("the rest of those, and others", [100, 95, 0, 3], [2, 3, 0]),
            ("what no counter knows", [100, 99, 0, 0], [0, 0, 1]),
        ] {
            let mut ledger = ledger(delivered);
            account.settle(&mut ledger, &told(observed, 0, full, empty));
            assert_eq!(ledger.check(), Ok(()), "{name}");
            let cells = [Cell::RingFull, Cell::FillEmpty, Cell::RedirectFailed];
            assert_eq!(cells.map(|cell| ledger.cell(cell)), expected, "{name}");
        }
    }

    #[test]
    fn frames_without_metadata_may_be_early_but_none_is_counted_twice() {
        let mut account = Account::new(true);
        for (name, [delivered, observed, full], expected) in [
            ("five of the next window too", [100, 105, 0], [0, 0]),
            ("those are not missing here", [100, 95, 0], [0, 0]),
            ("a loss, and two early ones", [100, 92, 10], [10, 0]),
            ("one that nobody knows of", [100, 97, 0], [0, 1]),
            ("all", [0, 0, 0], [0, 0]),
        ] {
            let mut ledger = ledger(delivered);
            account.settle(&mut ledger, &told(observed, observed, full, 0));
            assert_eq!(ledger.check(), Ok(()), "{name}");
            let cells = [Cell::RingFull, Cell::RedirectFailed];
            assert_eq!(cells.map(|cell| ledger.cell(cell)), expected, "{name}");
        }
    }

    #[test]
    fn what_a_dead_worker_had_is_abandoned() {
        let mut ledger = ledger(100);
        let told = Told {
            is_partial: true,
            ..told(40, 0, 0, 0)
        };
        Account::new(false).settle(&mut ledger, &told);
        assert_eq!(ledger.cell(Cell::Abandoned), 60);
        assert_eq!(ledger.check(), Ok(()));
    }

    #[test]
    fn what_an_aggregate_had_that_panicked_is_abandoned() {
        for (name, unmarked) in [("with metadata", 0), ("without", 100)] {
            let mut ledger = ledger(100);
            let mut told = told(30, unmarked, 0, 0);
            told.observed.part.abandoned = 70;
            Account::new(true).settle(&mut ledger, &told);
            assert_eq!(ledger.cell(Cell::Abandoned), 70, "{name}");
            assert_eq!(ledger.observed, 30, "{name}");
            assert_eq!(ledger.check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_record_that_is_none_is_a_fault() {
        let mut ledger = ledger(100);
        Account::new(false).settle(&mut ledger, &told(99, 0, 0, 0));
        assert!(ledger.check().is_err());
    }
}
