use super::timings::Clocked;
use crate::{
    Dark, Snapshot,
    aggregate::{Aggregate, Counts, Icmp, Networks, Ports, Survey, Totals},
    kernel::BankFigures,
    snapshot::Parts,
    window::{Contents, Window},
};

/// What a live window holds: the kernel's counts, and what the delivered packets say of sources.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveFigures<A = Survey> {
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
    /// What was observed of the delivered packets: sources and hosts, and what an embedder counts
    /// beside them. `None` where no packets are delivered, and while the window is open.
    pub observed: Option<A>,
    /// What aggregates [publish](Aggregate::publish) while the window is open. `None` after that, and
    /// where it was not asked for, or a worker has not answered.
    pub published: Option<A>,
    /// Whether packets came with their payloads, as frames.
    pub(super) has_payloads: bool,
    pub(super) clocked: Clocked,
}

impl<A: Aggregate> LiveFigures<A> {
    pub(super) fn new(counts: BankFigures, observed: Option<A>, clocked: Clocked) -> Self {
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
            observed,
            published: None,
            has_payloads: false,
            clocked,
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
            observed,
            published,
            has_payloads,
            clocked,
        } = self;
        *has_payloads &= other.has_payloads;
        clocked.merge(&other.clocked);
        // It is of one open window.
        *published = None;
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        networks.merge(&other.networks);
        *row_overflow += other.row_overflow;
        match (observed, &mut other.observed) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs.take(),
            (Some(_), None) => {}
        }
    }
}

impl<A: Aggregate> Contents for LiveFigures<A> {
    fn absorb(&mut self, other: &mut Self) {
        self.merge(other);
    }
}

impl<A: Aggregate + AsRef<Survey>> Window<LiveFigures<A>> {
    /// The tables of the window, each cut to its `top` rows (`ports` to that many per table);
    /// 0 keeps all of them. Aggregates beside [`Survey`], as `(Survey, Own)`, have no table. Networks are `None` if their table was full.
    pub fn snapshot(&self, dark: &Dark, top: usize) -> Snapshot {
        let LiveFigures {
            totals,
            ports,
            icmp,
            networks,
            row_overflow: _,
            observed,
            published: _,
            has_payloads,
            clocked,
        } = &self.aggregate;
        let networks_take = ("networks", networks.memory());
        let survey = observed.as_ref().map(AsRef::as_ref);
        let payloads = survey.and_then(|survey| survey.payloads.as_ref());
        let observed_takes = observed.as_ref().map(Aggregate::memory);
        let memory = [ports.memory(), icmp.memory(), vec![networks_take]];
        let memory = memory.into_iter().chain(observed_takes);
        let parts = Parts {
            totals,
            ports,
            icmp,
            networks: networks.is_complete().then(|| networks.iter().collect()),
            port_networks: networks.port_rows(),
            survey,
            payloads: payloads.filter(|_| *has_payloads),
            memory: memory.flatten().collect(),
            timings: Some(clocked.timings()),
        };
        Snapshot::new(self, parts, dark, top)
    }
}
