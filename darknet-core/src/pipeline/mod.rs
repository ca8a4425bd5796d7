//! From packets to closed windows: dispatcher → workers → collector.
//!
//! The dispatcher is the caller's thread. It takes records from a [`Source`], decides the cell of
//! the ledger that each ends in, and hands the counted ones to the worker that owns the source's
//! logical shard. A worker observes them in its own aggregates and nobody else's. When a window
//! closes, every worker sends what it has of it to the collector, which merges, checks the ledger
//! and calls back.

mod batch;
mod collector;
mod dispatcher;
mod worker;

use std::{ops::ControlFlow, thread};

use crossbeam::{channel, queue::ArrayQueue};

use crate::{
    Error, Telescope,
    aggregate::Aggregate,
    ledger::Ledger,
    part::Part,
    source::Source,
    time::{Nanoseconds, WindowNumber},
    window::Window,
};
use batch::Batch;
use collector::Collector;
use dispatcher::Dispatcher;

/// Batches that wait for a worker, before the dispatcher does.
const BATCHES_WAITING: usize = 32;

/// How a run is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// One window after the other.
    Windows,
    /// All windows as one.
    Whole,
}

/// A bank of counts: the number of a window, or 0 where all are one.
type Bank = WindowNumber;

/// What a worker is told.
enum Order {
    /// Observe a batch.
    Observe { bank: Bank, batch: Batch },
    /// Observe the last batch of a bank, and report what is in it.
    Close { bank: Bank, batch: Batch },
}

/// What the collector is told.
enum Report<A> {
    /// By a worker: what it has of a bank that closes.
    Part { bank: Bank, part: Part<A> },
    /// By the dispatcher: the ledger of a bank that closes, and its edges, `None` if no packet
    /// came.
    Closing {
        bank: Bank,
        ledger: Ledger,
        edges: Option<(Nanoseconds, Nanoseconds)>,
        complete: bool,
    },
}

/// Runs a source to its end. `make` makes the aggregates; `closed` has each closed window, and
/// gives back the aggregate if it is to be used again.
pub(crate) fn run<S: Source, A: Aggregate>(
    telescope: &Telescope,
    source: &mut S,
    cut: Cut,
    make: impl Fn() -> A + Sync,
    closed: impl FnMut(Window<A>) -> ControlFlow<(), Option<A>> + Send,
) -> Result<(), Error> {
    let workers = telescope.workers.get();
    // A clean aggregate for each window that can be open, at each worker.
    let clean = ArrayQueue::new(workers * 2);
    let first = make();
    let wanted = first.payload_wanted();
    // It is the first that a worker takes.
    clean.push(first).ok();
    let (reports, inbox) = channel::bounded(workers * 2);
    let (returns, returned) = channel::bounded(workers * (BATCHES_WAITING + 2));
    thread::scope(|scope| {
        let orders = (0..workers)
            .map(|number| {
                let (orders, inbox) = channel::bounded(BATCHES_WAITING);
                let (reports, returns) = (reports.clone(), returns.clone());
                let (clean, make) = (&clean, &make);
                let work = move || worker::work(&inbox, &reports, &returns, clean, make);
                let named = thread::Builder::new().name(format!("worker {number}"));
                named.spawn_scoped(scope, work).map_err(Error::Thread)?;
                Ok::<_, Error>(orders)
            })
            .collect::<Result<_, _>>()?;
        let collector = Collector::new(workers, &clean, &make, closed);
        let named = thread::Builder::new().name("collector".into());
        let collector = named.spawn_scoped(scope, move || collector.collect(&inbox));
        let collector = collector.map_err(Error::Thread)?;
        let mut dispatcher = Dispatcher::new(telescope, cut, wanted, orders, returned, reports);
        let outcome = dispatcher.run(source);
        dispatcher.finish(source.is_complete());
        match collector.join() {
            Ok(ledgers) => outcome.and(ledgers),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
