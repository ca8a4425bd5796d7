mod channel;

use jiff::Timestamp;

use crate::{
    Dark,
    aggregate::Figures,
    ledger::Ledger,
    snapshot::{Parts, Snapshot},
};

pub use channel::{Sink, WhenFull, Windows, channel};

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

impl<A: AsRef<Figures>> Window<A> {
    /// The tables of the window, each cut to its `top` rows (`ports` to that many per table);
    /// 0 keeps all of them. Aggregates beside [`Figures`], as `(Figures, Own)`, have no table.
    pub fn snapshot(&self, dark: &Dark, top: usize) -> Snapshot {
        let Figures {
            totals,
            ports,
            icmp,
            sources,
        } = self.aggregate.as_ref();
        let parts = Parts {
            totals,
            ports,
            icmp,
            networks: sources
                .networks()
                .map(|networks| networks.into_iter().collect()),
            port_networks: None,
            sources: Some(sources),
            timings: None,
        };
        Snapshot::new(self, parts, dark, top)
    }
}
