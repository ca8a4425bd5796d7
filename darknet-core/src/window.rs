mod channel;
mod rollup;

use jiff::Timestamp;

use crate::{
    Dark,
    aggregate::{Aggregate, Figures},
    ledger::Ledger,
    snapshot::{Parts, Snapshot},
};

pub use channel::{Sink, WhenFull, Windows, channel};
pub use rollup::{Length, Rolled, Rollup, parse_zone};

/// A closed window, or several as one: what was counted in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Window<A> {
    /// The half-open interval from the start of the first window to the end of the last; `None`
    /// when nothing was seen.
    pub edges: Option<(Timestamp, Timestamp)>,
    /// Live: the first and the last of the kernel's turns that are in it. Each turn is in one
    /// window; a window that holds a turn that was told of before replaces that.
    pub epochs: Option<(u64, u64)>,
    /// Where every packet ended.
    pub ledger: Ledger,
    /// Whether the source could read everything that it was given, up to when this was closed.
    pub complete: bool,
    /// What does not add up, or is missing as an aggregate panicked or a worker died; empty unless
    /// there is a bug in Darknet, or in an aggregate.
    pub faults: Vec<String>,
    /// Whether what is dark now was dark for all of its packets; a process that took over may have
    /// been told otherwise than the one before it.
    pub dark_is_known: bool,
    /// What was counted.
    pub aggregate: A,
}

/// What windows hold: an [`Aggregate`], or `LiveFigures`.
pub trait Contents {
    /// Adds those of another window, which may be left with anything.
    fn absorb(&mut self, other: &mut Self);
}

impl<A: Aggregate> Contents for A {
    fn absorb(&mut self, other: &mut Self) {
        Aggregate::merge(self, other);
    }
}

impl<A: Contents> Window<A> {
    /// Adds another window: the edges are those of both. What `other` holds may be left with anything.
    pub fn merge(&mut self, other: &mut Self) {
        let Self {
            edges,
            epochs,
            ledger,
            complete,
            faults,
            dark_is_known,
            aggregate,
        } = self;
        *epochs = match (*epochs, other.epochs) {
            (Some(mine), Some(theirs)) => Some((mine.0.min(theirs.0), mine.1.max(theirs.1))),
            (mine, theirs) => mine.or(theirs),
        };
        *dark_is_known &= other.dark_is_known;
        faults.extend(other.faults.iter().cloned());
        *edges = match (*edges, other.edges) {
            (Some(mine), Some(theirs)) => Some((mine.0.min(theirs.0), mine.1.max(theirs.1))),
            (mine, theirs) => mine.or(theirs),
        };
        ledger.merge(&other.ledger);
        *complete &= other.complete;
        aggregate.absorb(&mut other.aggregate);
    }
}

impl<A: Aggregate + AsRef<Figures>> Window<A> {
    /// The tables of the window, each cut to its `top` rows (`ports` to that many per table);
    /// 0 keeps all of them. Aggregates beside [`Figures`], as `(Figures, Own)`, have no table.
    pub fn snapshot(&self, dark: &Dark, top: usize) -> Snapshot {
        let Figures {
            totals,
            ports,
            icmp,
            survey,
        } = self.aggregate.as_ref();
        let parts = Parts {
            totals,
            ports,
            icmp,
            networks: survey
                .sources
                .networks()
                .map(|networks| networks.into_iter().collect()),
            port_networks: None,
            survey: Some(survey),
            payloads: survey.payloads.as_ref(),
            memory: self.aggregate.memory(),
            timings: None,
        };
        Snapshot::new(self, parts, dark, top)
    }
}
