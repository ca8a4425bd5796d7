use super::{Aggregate, Icmp, LOOK_AHEAD, Observation, Ports, Seed, Sources, Totals};

/// Everything that a snapshot prints.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Sources, networks, hosts.
    pub sources: Sources,
}

impl Figures {
    /// Empty figures whose tables of sources take at most `memory` bytes.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            totals: Totals::default(),
            ports: Ports::default(),
            icmp: Icmp::default(),
            sources: Sources::new(memory, seed),
        }
    }
}

impl AsRef<Self> for Figures {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<A: AsRef<Figures>, B> AsRef<Figures> for (A, B) {
    fn as_ref(&self) -> &Figures {
        self.0.as_ref()
    }
}

impl Aggregate for Figures {
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
            sources,
        } = self;
        // Few at a time, so that the later ones find them in the first-level cache.
        for batch in batch.chunks(LOOK_AHEAD) {
            totals.observe_batch(batch);
            ports.observe_batch(batch);
            icmp.observe_batch(batch);
            sources.observe_batch(batch);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            totals,
            ports,
            icmp,
            sources,
        } = self;
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        sources.merge(&mut other.sources);
    }

    fn reset(&mut self) {
        let Self {
            totals,
            ports,
            icmp,
            sources,
        } = self;
        totals.reset();
        ports.reset();
        icmp.reset();
        sources.reset();
    }
}
