use std::{collections::BTreeMap, ops::ControlFlow};

use crossbeam::{channel::Receiver, queue::ArrayQueue};

use super::{Bank, Report};
use crate::{
    Error,
    aggregate::Aggregate,
    ledger::Ledger,
    time::{Nanoseconds, timestamp},
    window::Window,
};

/// Merges what workers have of each window.
pub(super) struct Collector<'a, A, F> {
    workers: usize,
    closing: BTreeMap<Bank, Closing<A>>,
    clean: &'a ArrayQueue<A>,
    closed: F,
}

/// A window of which some reports are in.
struct Closing<A> {
    parts: usize,
    observed: u64,
    aggregate: Option<A>,
    /// The ledger, the edges, and whether the source has lost nothing so far.
    totals: Option<Totals>,
}

struct Totals {
    ledger: Ledger,
    edges: Option<(Nanoseconds, Nanoseconds)>,
    complete: bool,
}

impl<'a, A: Aggregate, F: FnMut(Window<A>) -> ControlFlow<(), Option<A>>> Collector<'a, A, F> {
    pub(super) fn new(workers: usize, clean: &'a ArrayQueue<A>, closed: F) -> Self {
        Self {
            workers,
            closing: BTreeMap::new(),
            clean,
            closed,
        }
    }

    /// Collects until every worker and the dispatcher have gone, or until told to stop.
    pub(super) fn collect(mut self, reports: &Receiver<Report<A>>) -> Result<(), Error> {
        for report in reports {
            let (Report::Part { bank, .. } | Report::Closing { bank, .. }) = report;
            let closing = self.closing.entry(bank).or_insert(Closing {
                parts: 0,
                observed: 0,
                aggregate: None,
                totals: None,
            });
            match report {
                Report::Part {
                    observed,
                    aggregate,
                    ..
                } => {
                    closing.parts += 1;
                    closing.observed += observed;
                    closing.aggregate = Some(match closing.aggregate.take() {
                        Some(mut merged) => {
                            let mut aggregate = aggregate;
                            merged.merge(&mut aggregate);
                            recycle(self.clean, aggregate);
                            merged
                        }
                        None => aggregate,
                    });
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
                return Ok(());
            }
        }
        Ok(())
    }

    fn close(&mut self, closing: Closing<A>) -> Result<ControlFlow<()>, Error> {
        let Closing {
            parts: _,
            observed,
            aggregate,
            totals,
        } = closing;
        let (Some(aggregate), Some(totals)) = (aggregate, totals) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Totals {
            mut ledger,
            edges,
            complete,
        } = totals;
        ledger.observed = observed;
        ledger.check()?;
        let window = Window {
            epochs: None,
            faults: Vec::new(),
            dark_is_known: true,
            edges: edges.map(|(start, end)| (timestamp(start), timestamp(end))),
            ledger,
            complete,
            aggregate,
        };
        match (self.closed)(window) {
            ControlFlow::Continue(used) => {
                if let Some(aggregate) = used {
                    recycle(self.clean, aggregate);
                }
                Ok(ControlFlow::Continue(()))
            }
            ControlFlow::Break(()) => Ok(ControlFlow::Break(())),
        }
    }
}

fn recycle<A: Aggregate>(clean: &ArrayQueue<A>, mut aggregate: A) {
    aggregate.reset();
    // When there are enough of them, it is freed.
    let _ = clean.push(aggregate);
}
