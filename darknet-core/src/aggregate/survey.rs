use super::{Aggregate, Census, Distributions, Icmp, Observation, Ports, Seed, Totals};

/// Everything that there is to count: [`Figures`](super::Figures), and distributions, profiles, top
/// sources, hosts by port and sets of hosts.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Times to live and sizes.
    pub distributions: Distributions,
    /// Sources, and what each did.
    pub census: Census,
}

impl Survey {
    /// An empty survey whose sources take at most `memory` bytes; the rest takes 12.1 MB.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            totals: Totals::default(),
            ports: Ports::default(),
            icmp: Icmp::default(),
            distributions: Distributions::default(),
            census: Census::new(memory, seed),
        }
    }
}

impl Aggregate for Survey {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        let Self {
            totals,
            ports,
            icmp,
            distributions,
            census,
        } = self;
        // Few at a time, so that the later ones find them in the first-level cache.
        for batch in batch.chunks(64) {
            totals.observe_batch(batch);
            ports.observe_batch(batch);
            icmp.observe_batch(batch);
            distributions.observe_batch(batch);
            census.observe_batch(batch);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            totals,
            ports,
            icmp,
            distributions,
            census,
        } = self;
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        distributions.merge(&mut other.distributions);
        census.merge(&mut other.census);
    }

    fn reset(&mut self) {
        let Self {
            totals,
            ports,
            icmp,
            distributions,
            census,
        } = self;
        totals.reset();
        ports.reset();
        icmp.reset();
        distributions.reset();
        census.reset();
    }
}
