use crate::{
    Dark, Snapshot,
    aggregate::{Aggregate, Counts, Icmp, Networks, Ports, Sources, Totals},
    kernel::BankFigures,
    snapshot::Parts,
    window::Window,
};

/// What a live window holds: the kernel's counts, and what the delivered packets say of sources.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveFigures {
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Source networks, as far as the table had room.
    pub networks: Networks,
    /// What is in its class, and in no row of a port or an ICMP message.
    pub row_overflow: Counts,
    /// Sources and hosts; `None` where no packets are delivered.
    pub sources: Option<Sources>,
}

impl LiveFigures {
    pub(super) fn new(counts: BankFigures, sources: Option<Sources>) -> Self {
        let BankFigures {
            epoch: _,
            first_epoch: _,
            ledger: _,
            totals,
            ports,
            icmp,
            networks,
            row_overflow,
        } = counts;
        Self {
            totals,
            ports,
            icmp,
            networks,
            row_overflow,
            sources,
        }
    }

    /// Adds the figures of another window.
    pub fn merge(&mut self, other: &mut Self) {
        let Self {
            totals,
            ports,
            icmp,
            networks,
            row_overflow,
            sources,
        } = self;
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        networks.merge(&other.networks);
        *row_overflow += other.row_overflow;
        match (sources, &mut other.sources) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs.take(),
            (Some(_), None) => {}
        }
    }
}

impl Window<LiveFigures> {
    /// Adds another window: the edges are those of both.
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
        aggregate.merge(&mut other.aggregate);
    }

    /// The tables of the window, each cut to its `top` rows (`ports` to that many per table);
    /// 0 keeps all of them. Networks are `None` if their table was full.
    pub fn snapshot(&self, dark: &Dark, top: usize) -> Snapshot {
        let LiveFigures {
            totals,
            ports,
            icmp,
            networks,
            row_overflow: _,
            sources,
        } = &self.aggregate;
        let parts = Parts {
            totals,
            ports,
            icmp,
            networks: networks.is_complete().then(|| networks.iter().collect()),
            port_networks: networks.port_rows(),
            sources: sources.as_ref(),
        };
        Snapshot::new(self, parts, dark, top)
    }
}
