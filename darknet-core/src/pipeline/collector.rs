use std::{collections::BTreeMap, ops::ControlFlow};

use crossbeam::{channel::Receiver, queue::ArrayQueue};
use darknet_ebpf::Cell;

use super::{Bank, Report};
use crate::{
    Error,
    aggregate::Aggregate,
    ledger::Ledger,
    part::{Part, cleaned},
    time::{Nanoseconds, timestamp},
    window::Window,
};

/// Merges what workers have of each window.
pub(super) struct Collector<'a, A, M, F> {
    workers: usize,
    closing: BTreeMap<Bank, Closing<A>>,
    clean: &'a ArrayQueue<A>,
    make: &'a M,
    closed: F,
    /// The first aggregate that panicked, and what it said.
    panic: Option<String>,
}

/// A window of which some reports are in.
struct Closing<A> {
    parts: usize,
    /// Of the workers that have reported.
    merged: Option<Part<A>>,
    /// The ledger, the edges, and whether the source has lost nothing so far.
    totals: Option<Totals>,
}

struct Totals {
    ledger: Ledger,
    edges: Option<(Nanoseconds, Nanoseconds)>,
    complete: bool,
}

impl<'a, A, M, F> Collector<'a, A, M, F>
where
    A: Aggregate,
    M: Fn() -> A,
    F: FnMut(Window<A>) -> ControlFlow<(), Option<A>>,
{
    pub(super) fn new(workers: usize, clean: &'a ArrayQueue<A>, make: &'a M, closed: F) -> Self {
        Self {
            workers,
            closing: BTreeMap::new(),
            clean,
            make,
            closed,
            panic: None,
        }
    }

    /// Collects until every worker and the dispatcher have gone, or until told to stop. What an
    /// aggregate lost in a panic is said at the end: the windows are handed over before.
    pub(super) fn collect(mut self, reports: &Receiver<Report<A>>) -> Result<(), Error> {
        for report in reports {
            let (Report::Part { bank, .. } | Report::Closing { bank, .. }) = report;
            let closing = self.closing.entry(bank).or_insert(Closing {
                parts: 0,
                merged: None,
                totals: None,
            });
            match report {
                Report::Part { part, .. } => {
                    closing.parts += 1;
                    match &mut closing.merged {
                        Some(merged) => recycle(self.clean, merged.merge(part)),
                        none => *none = Some(part),
                    }
                }
                Report::Closing {
                    ledger,
                    edges,
                    complete,
                    ..
                } => {
                    closing.totals = Some(Totals {
                        ledger,
                        edges,
                        complete,
                    });
                }
            }
            if closing.parts == self.workers
                && closing.totals.is_some()
                && let Some(closing) = self.closing.remove(&bank)
                && self.close(closing)?.is_break()
            {
                break;
            }
        }
        match self.panic {
            Some(panic) => Err(Error::Panicked { panic }),
            None => Ok(()),
        }
    }

    fn close(&mut self, closing: Closing<A>) -> Result<ControlFlow<()>, Error> {
        let Closing {
            parts: _,
            merged,
            totals,
        } = closing;
        let (Some(merged), Some(totals)) = (merged, totals) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Totals {
            mut ledger,
            edges,
            complete,
        } = totals;
        let Part {
            aggregate,
            observed,
            abandoned,
            panics,
        } = merged;
        ledger.observed = observed;
        ledger.lose(Cell::Abandoned, abandoned);
        ledger.check()?;
        self.panic = self.panic.take().or_else(|| panics.first().cloned());
        let aggregate = aggregate.or_else(|| self.clean.pop());
        let window = Window {
            epochs: None,
            faults: panics,
            dark_is_known: true,
            edges: edges.map(|(start, end)| (timestamp(start), timestamp(end))),
            ledger,
            complete,
            aggregate: aggregate.unwrap_or_else(self.make),
        };
        match (self.closed)(window) {
            ControlFlow::Continue(used) => {
                recycle(self.clean, used);
                Ok(ControlFlow::Continue(()))
            }
            ControlFlow::Break(()) => Ok(ControlFlow::Break(())),
        }
    }
}

fn recycle<A: Aggregate>(clean: &ArrayQueue<A>, used: Option<A>) {
    // When there are enough of them, it is freed.
    used.and_then(cleaned)
        .and_then(|aggregate| clean.push(aggregate).err());
}
