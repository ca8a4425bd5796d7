use darknet_ebpf::Payload;

use super::{Aggregate, Census, Distributions, Observation, Payloads, Seed, joint::joint};

/// What only the packets themselves say, where the kernel has counted the rest: sources and what each
/// did, times to live and sizes, payloads.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Sources, networks, hosts, and what each source did.
    pub sources: Census,
    /// Times to live and sizes.
    pub distributions: Distributions,
    /// What was sent to each port; `None` where nobody looks for payloads.
    pub payloads: Option<Payloads>,
}

impl Survey {
    /// An empty survey whose sources take at most `memory` bytes (what that means says
    /// [`Census::new`]), and payloads a sixty-fourth of that beside them, or 270 KB where that is more;
    /// the rest takes 4.7 MB.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        Self {
            sources: Census::new(memory, seed),
            distributions: Distributions::default(),
            payloads: Some(Payloads::new(memory / 64, seed)),
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

joint!(Survey, {
    distributions,
    sources,
    payloads
});
