//! What is counted. Nothing here knows where packets come from.
//!
//! An [`Aggregate`] is one count, or a set of counts. Each worker owns one of its own and is its
//! only writer; when a window closes, those of all workers are merged. [`Figures`] is the set that
//! [`Snapshot`](crate::Snapshot) prints; an embedder's own runs in its place, or beside it as
//! `(Figures, Own)`.

/// ICMP by version, type and code.
pub mod icmp;
/// Packets and bytes by source network, as the kernel counts them.
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod networks;
/// Packets and bytes by port.
pub mod ports;
/// Sources: their packets, their networks, and how many hosts each figure has.
pub mod sources;
/// Packets and bytes by class, packets by tool.
pub mod totals;

mod family;
mod hash;
mod table;
#[cfg(test)]
mod tests;

use darknet_ebpf::Packet;

pub use hash::Seed;
pub use icmp::Icmp;
#[cfg(all(feature = "live", target_os = "linux"))]
pub use networks::Networks;
pub use ports::Ports;
pub use sources::Sources;
pub use totals::Totals;

use crate::time::Nanoseconds;

/// Logical shards that work is divided into by a hash of the source.
///
/// Fixed whatever the number of workers, so that figures don't depend on it: an aggregate whose
/// result depends on the order of packets keeps one part per shard, as all packets of a shard
/// reach the same worker in the order in which they arrived.
pub const SHARDS: usize = 64;

/// Packets whose memory is read before the first of them is counted: the processor overlaps that
/// many cache misses, where one after the other would wait for each.
const LOOK_AHEAD: usize = 32;

/// A counted packet on its way to the aggregates. 64 bytes: one cache line.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// What the walk found.
    pub packet: Packet,
    /// When it was received.
    pub time: Nanoseconds,
    /// The seeded hash of the source, its low half.
    pub(crate) hash: u32,
    pub(crate) shard: u8,
}

const _: () = assert!(size_of::<Observation>() == 64);

impl Observation {
    /// A packet that was received at `time`.
    #[inline]
    pub fn new(packet: Packet, time: Nanoseconds, seed: &Seed) -> Self {
        let hash = seed.source(&packet);
        Self {
            packet,
            time,
            hash: hash as u32,
            shard: (hash >> (64 - SHARDS.trailing_zeros())) as u8,
        }
    }

    /// The logical shard of the source, below [`SHARDS`].
    #[inline]
    pub fn shard(&self) -> usize {
        usize::from(self.shard)
    }
}

/// A count that workers keep, each its own, and that is merged when a window closes.
///
/// Merging is associative and commutative: whatever the order, the result is the same.
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

    /// Adds what `other` has counted. `other` may be left with anything: it is reset next.
    fn merge(&mut self, other: &mut Self);

    /// Forgets everything, to be used again.
    fn reset(&mut self);
}

impl<A: Aggregate, B: Aggregate> Aggregate for (A, B) {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.0.observe(observation);
        self.1.observe(observation);
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        self.0.observe_batch(batch);
        self.1.observe_batch(batch);
    }

    fn merge(&mut self, other: &mut Self) {
        self.0.merge(&mut other.0);
        self.1.merge(&mut other.1);
    }

    fn reset(&mut self) {
        self.0.reset();
        self.1.reset();
    }
}

/// Packets, and their bytes by the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// How many packets.
    pub packets: u64,
    /// IPv4 total lengths, IPv6 payload lengths + 40, added up.
    pub bytes: u64,
}

impl Counts {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }
}

#[cfg(all(feature = "live", target_os = "linux"))]
impl From<darknet_ebpf::abi::Counts> for Counts {
    fn from(counts: darknet_ebpf::abi::Counts) -> Self {
        let darknet_ebpf::abi::Counts { packets, bytes } = counts;
        Self { packets, bytes }
    }
}

impl std::ops::AddAssign for Counts {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        let Self { packets, bytes } = other;
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// Everything that a snapshot prints.
#[derive(Debug)]
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
