use darknet_ebpf::PortTable;

use super::{Aggregate, Counts, Observation, source::Place};
use crate::memory::prefetch;

/// Ports in a table.
const PORTS: usize = 1 << 16;
/// Packets by which a row is asked for before it is counted in.
const LOOK_AHEAD: usize = 16;

/// Packets and bytes by port, a table for each [`PortTable`].
///
/// Exact; 5.2 MB whatever the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Box<[Counts]>);

impl Ports {
    /// Packets and bytes of a port.
    pub fn get(&self, table: PortTable, port: u16) -> Counts {
        self.0[index(table, port)]
    }

    /// Every port that packets came to, by table and number.
    pub fn iter(&self) -> impl Iterator<Item = (PortTable, u16, Counts)> + '_ {
        let tables = PortTable::ALL.into_iter().zip(self.0.chunks_exact(PORTS));
        let rows = tables.flat_map(|(table, counts)| {
            (0..=u16::MAX)
                .zip(counts)
                .map(move |(port, &counts)| (table, port, counts))
        });
        rows.filter(|(_, _, counts)| counts.packets > 0)
    }

    /// Every row, in the order of `darknet_ebpf::abi::port_row`.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn rows_mut(&mut self) -> &mut [Counts] {
        &mut self.0
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self(vec![Counts::default(); PORTS * PortTable::ALL.len()].into())
    }
}

#[inline]
pub(super) fn index(table: PortTable, port: u16) -> usize {
    table as usize * PORTS + usize::from(port)
}

impl Aggregate for Ports {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        for place in Place::of(&observation.packet) {
            if let Some(counts) = self.0.get_mut(place.row()) {
                counts.add(observation.packet.bytes);
            }
        }
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        for (at, observation) in batch.iter().enumerate() {
            if let Some(ahead) = batch.get(at + LOOK_AHEAD) {
                for place in Place::of(&ahead.packet) {
                    if let Some(counts) = self.0.get(place.row()) {
                        prefetch(counts);
                    }
                }
            }
            self.observe(observation);
        }
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        vec![("ports", size_of_val(&self.0[..]))]
    }

    fn merge(&mut self, other: &mut Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += *theirs;
        }
    }

    fn reset(&mut self) {
        self.0.fill(Counts::default());
    }
}
