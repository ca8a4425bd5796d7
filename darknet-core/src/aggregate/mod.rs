//! What is counted. Nothing here knows where packets come from.
//!
//! An [`Aggregate`] is one count, or a set of counts. Each worker owns one of its own and is its
//! only writer; when a window closes, those of all workers are merged. [`Figures`] is the set that
//! [`Snapshot`](crate::Snapshot) prints; an embedder's own runs in its place, or beside it as
//! `(Figures, Own)`. Live, the kernel counts most of that, and workers have a [`Survey`] in its place.

/// Every source, in one record each.
pub mod census;
/// How many distinct hosts there were: exact while few, then estimated.
pub mod distinct;
/// The time to live and the size of packets.
pub mod distributions;
/// How many distinct sources there were.
pub mod hosts;
/// ICMP by version, type and code.
pub mod icmp;
/// Packets and bytes by source network, as the kernel counts them.
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod networks;
/// Distinct hosts by how many packets each sent.
pub mod packet_bins;
/// What was sent to each port, in a fixed budget.
pub mod payloads;
/// Distinct hosts by port, in a fixed budget.
pub mod port_distinct;
/// Which hosts were seen at the ports of a watch list, exactly.
pub mod port_sets;
/// Packets and bytes by port.
pub mod ports;
/// What each source did, in a fixed budget.
pub mod profiles;
/// Everything that there is to count.
pub mod survey;
/// The sources with the most packets, in a fixed budget.
pub mod top_sources;
/// Packets and bytes by class, packets by tool.
pub mod totals;

mod counts;
mod dense;
mod few;
mod figures;
mod frequent;
mod frequent_sources;
mod hash;
mod joint;
mod observation;
mod registers;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use census::Census;
pub use counts::Counts;
pub use distinct::{Distinct, Estimate};
pub use distributions::Distributions;
pub use figures::Figures;
pub use frequent::Forgotten;
pub use hash::{Seed, parse_seed};
pub use icmp::Icmp;
#[cfg(all(feature = "live", target_os = "linux"))]
pub use networks::Networks;
pub use observation::Observation;
pub use packet_bins::{PacketBin, PacketBins};
pub use payloads::{PayloadSample, Payloads};
pub use port_distinct::PortDistinct;
pub use port_sets::PortSets;
pub use ports::Ports;
pub use profiles::{Profile, Profiles};
pub use survey::Survey;
pub use top_sources::{TopSource, TopSources};
pub use totals::Totals;

use darknet_ebpf::Payload;

/// Logical shards that work is divided into by a hash of the source.
///
/// Fixed whatever the number of workers, so that figures don't depend on it: an aggregate whose
/// result depends on the order of packets keeps one part per shard, as all packets of a shard
/// reach the same worker in the order in which they arrived.
pub const SHARDS: usize = 64;

/// Packets whose memory is read before the first of them is counted: the processor overlaps that
/// many cache misses, where one after the other would wait for each.
const LOOK_AHEAD: usize = 32;

/// A count that workers keep, each its own, and that is merged when a window closes.
///
/// Merging is associative and commutative: whatever the order, the result is the same.
///
/// One that panics is never seen again. What it had of its window is counted as abandoned, and the
/// window says so; other workers and later windows are as if nothing had happened.
///
/// The address of a packet's source is `packet.source.ip(packet.version)`.
///
/// # Examples
///
/// The bytes of the largest packet:
///
/// ```
/// use darknet_core::aggregate::{Aggregate, Observation};
///
/// #[derive(Default)]
/// struct Largest(u32);
///
/// impl Aggregate for Largest {
///     fn observe(&mut self, observation: &Observation) {
///         self.0 = self.0.max(observation.packet.bytes);
///     }
///     fn merge(&mut self, other: &mut Self) {
///         self.0 = self.0.max(other.0);
///     }
///     fn reset(&mut self) {
///         self.0 = 0;
///     }
/// }
/// ```
pub trait Aggregate: Send {
    /// Counts one packet. Called for every packet: no lock, no system call, and no allocation
    /// but the growth of bounded tables.
    fn observe(&mut self, observation: &Observation);

    /// Counts several packets, in their order. Worth overriding where the memory that packets
    /// need can be fetched for several at a time.
    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        for observation in batch {
            self.observe(observation);
        }
    }

    /// How many bytes of each packet's payload [`observe_payload`](Self::observe_payload) is to see:
    /// asked once, of a new one. Default: 0, and nobody looks for payloads.
    fn payload_wanted(&self) -> usize {
        0
    }

    /// Counts the payload of a packet, if it has one. `payload.bytes` are what was captured, as many
    /// as are [wanted](Self::payload_wanted), or more where another aggregate wants them.
    ///
    /// Called before the packet itself is observed, for the packets of a shard in their order. Over
    /// files and live frames; header records have no payload. Default: nothing.
    fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
        let _ = (observation, payload);
    }

    /// Adds what `other` has counted. `other` may be left with anything: it is reset next.
    fn merge(&mut self, other: &mut Self);

    /// Forgets everything, to be used again.
    fn reset(&mut self);

    /// The parts that it is made of, by names of its own, and the bytes that each takes: for
    /// [`Snapshot::memory`](crate::Snapshot::memory), when a window has closed. Default: none.
    fn memory(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    /// Adds to `live`, which is empty, what may be read of this while the window is open. Live,
    /// once a second at each worker, where `Watch::publish` asks for
    /// it. Packets wait meanwhile: a copy of a few numbers is what is meant, not of large tables.
    /// Default: nothing.
    fn publish(&self, live: &mut Self) {
        let _ = live;
    }
}
