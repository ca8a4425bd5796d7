use darknet_ebpf::{Class, Tool};

use super::{Aggregate, Counts, Observation};

/// Packets and bytes by class, and packets by the tool whose mark they carry.
///
/// Exact; some hundred bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    classes: [Counts; Class::ALL.len()],
    tools: [u64; Tool::ALL.len()],
}

impl Totals {
    /// Packets and bytes of a class.
    pub fn class(&self, class: Class) -> Counts {
        self.classes[class as usize]
    }

    /// Packets that carry the mark of a tool.
    pub fn tool(&self, tool: Tool) -> u64 {
        self.tools[tool as usize]
    }

    /// Adds packets of a class.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn add_class(&mut self, class: Class, counts: Counts) {
        self.classes[class as usize] += counts;
    }

    /// Adds packets that carry the mark of a tool.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn add_tool(&mut self, tool: Tool, packets: u64) {
        self.tools[tool as usize] += packets;
    }
}

impl Aggregate for Totals {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        let packet = &observation.packet;
        self.classes[packet.class as usize].add(packet.bytes);
        for tool in Tool::ALL {
            self.tools[tool as usize] += u64::from(packet.tools.has(tool));
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let Self { classes, tools } = self;
        for (mine, theirs) in classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
        for (mine, theirs) in tools.iter_mut().zip(other.tools) {
            *mine += theirs;
        }
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
