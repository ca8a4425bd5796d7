use super::{Aggregate, Census, Distributions, Observation, Seed};

/// What only the packets themselves say, where the kernel has counted the rest: sources and what each
/// did, times to live and sizes.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Sources, networks, hosts, and what each source did.
    pub sources: Census,
    /// Times to live and sizes.
    pub distributions: Distributions,
}

impl Survey {
    /// An empty survey whose sources take at most `memory` bytes; the rest takes 4.7 MB.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            sources: Census::new(memory, seed),
            distributions: Distributions::default(),
        }
    }
}

impl AsRef<Self> for Survey {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<A: AsRef<Survey>, B> AsRef<Survey> for (A, B) {
    fn as_ref(&self) -> &Survey {
        self.0.as_ref()
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
            sources,
            distributions,
        } = self;
        distributions.observe_batch(batch);
        sources.observe_batch(batch);
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let Self {
            sources,
            distributions,
        } = self;
        [sources.memory(), distributions.memory()].concat()
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            sources,
            distributions,
        } = self;
        sources.merge(&mut other.sources);
        distributions.merge(&mut other.distributions);
    }

    fn reset(&mut self) {
        let Self {
            sources,
            distributions,
        } = self;
        sources.reset();
        distributions.reset();
    }
}
