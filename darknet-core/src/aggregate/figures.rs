use super::{Aggregate, Icmp, Observation, Ports, Seed, Survey, Totals};

/// Everything that a snapshot prints.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Sources, networks, hosts, times to live and sizes.
    pub survey: Survey,
}

impl Figures {
    /// Empty figures whose tables of sources take at most `memory` bytes.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            totals: Totals::default(),
            ports: Ports::default(),
            icmp: Icmp::default(),
            survey: Survey::new(memory, seed),
        }
    }
}

/// Packets that a census fetches memory for at a time.
const AT_A_TIME: usize = 64;

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
            survey,
        } = self;
        // So that the later ones find them in the first-level cache.
        for batch in batch.chunks(AT_A_TIME) {
            totals.observe_batch(batch);
            ports.observe_batch(batch);
            icmp.observe_batch(batch);
            survey.observe_batch(batch);
        }
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let Self {
            totals,
            ports,
            icmp,
            survey,
        } = self;
        [
            totals.memory(),
            ports.memory(),
            icmp.memory(),
            survey.memory(),
        ]
        .concat()
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            totals,
            ports,
            icmp,
            survey,
        } = self;
        totals.merge(&mut other.totals);
        ports.merge(&mut other.ports);
        icmp.merge(&mut other.icmp);
        survey.merge(&mut other.survey);
    }

    fn reset(&mut self) {
        let Self {
            totals,
            ports,
            icmp,
            survey,
        } = self;
        totals.reset();
        ports.reset();
        icmp.reset();
        survey.reset();
    }
}
