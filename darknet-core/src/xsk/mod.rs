//! Whole packets from an interface: AF_XDP sockets that only receive.
//!
//! [`Queue`] is the front door: one receive queue of an interface. A [`Batch`] of what it has
//! received borrows it, yields each packet as a slice of the memory that the kernel (or the device)
//! has written it to, and gives that memory back when it is dropped. An XDP program decides which
//! packets come here.
//!
//! # Minimum kernel version
//!
//! 5.11; 6.6 for packets of several frames.

/// Received packets.
#[expect(unsafe_code, reason = "reads what the kernel has written into chunks")]
mod batch;
/// Interrupts that wait while a queue is polled busily.
mod busy;
/// Chunks and packets exchanged with the kernel.
mod exchange;
/// What an interface has.
mod interface;
/// Memory shared with the kernel.
#[expect(unsafe_code, reason = "maps memory that the kernel writes")]
mod mmap;
/// How a queue receives.
mod options;
/// A bound socket with its memory.
mod queue;
/// The RX ring and the FILL ring.
mod ring;
/// Opening and binding.
mod socket;
/// What became of packets.
mod stats;
/// The leaf that calls the kernel.
#[expect(unsafe_code, reason = "AF_XDP and ethtool have no safe call")]
mod sys;
/// The memory of packets, in chunks.
mod umem;

/// The other half of the rings.
#[cfg(any(test, feature = "stages"))]
mod played;
#[cfg(any(test, feature = "stages"))]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "benches need a part of what tests do")
)]
#[expect(unsafe_code, reason = "plays the kernel, which writes into chunks")]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Frame, Packets};
pub use interface::Interface;
pub use options::{BusyPoll, Fragments, Options, ZeroCopy};
pub use queue::Queue;
pub use socket::{Mode, Outcome, Refusal};
pub use stats::Statistics;
