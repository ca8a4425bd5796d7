use darknet_ebpf::Payload;

use super::{Aggregate, Icmp, Observation, Ports, Seed, Survey, Totals, joint::joint};

/// Everything that a snapshot prints.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Sources, networks, hosts, times to live, sizes and payloads.
    pub survey: Survey,
}

impl Figures {
    /// Empty figures whose tables of sources take at most `memory` bytes; see [`Survey::new`].
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            totals: Totals::default(),
            ports: Ports::default(),
            icmp: Icmp::default(),
            survey: Survey::new(memory, seed),
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

joint!(Figures, {
    totals,
    ports,
    icmp,
    survey
});
