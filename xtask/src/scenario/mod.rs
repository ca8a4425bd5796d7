//! A deterministic traffic generator: a scenario (a TOML file) becomes the packets that a network
//! telescope would see, and the figures that a telescope must report for them.
//!
//! - **The same seed gives the same bytes**, on every machine and in every later version. Nothing
//!   but integers takes part: no floating point, no random number crate, no hash map order.
//! - **Packet `i` is a function of (scenario, `i`)** and of nothing before it, so that packets can
//!   be made in any order, by several threads, or by another implementation.
//! - **The truth is what the generator meant**, tallied from the drawn fields (`Meaning`) before
//!   they become bytes. It is never read back from a frame, and nothing of Darknet takes part.
//!
//! ```
//! use xtask::scenario::Scenario;
//!
//! let mut scenario = Scenario::from_toml(r#"
//!     seed = 1
//!     count = 1000
//!     rate = 100
//!     start = "2021-05-01T00:00:00Z"
//!
//!     [[flow]]
//!     name = "Telnet scans by Mirai"
//!     kind = "syn"
//!     tools = ["mirai"]
//!     sources = { prefix = "198.51.100.0/24", count = 50, zipf = true }
//!     destinations = ["203.0.113.0/24"]
//!     ports = [{ port = 23, share = 9 }, { port = 2323, share = 1 }]
//! "#)?;
//! scenario.count = 200;
//! let plan = scenario.compile()?;
//! let mut capture = Vec::new();
//! let written = plan.write_pcap_with_truth(&mut capture)?;
//! assert_eq!(written.tools["mirai"].packets, 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Blocks of addresses: sources spread over one by a permutation, destinations drawn from several.
mod address;
/// Weighted choice in constant time, in integers.
mod alias;
/// What a flow's keys may say.
mod check;
/// The scenario file: every key, its unit and default.
mod config;
/// What is wrong with a scenario, in one line.
mod error;
/// One flow, checked and ready to make packets.
mod flow;
/// Bytes: headers and checksums.
mod frame;
/// Headers, from the link to the transport.
mod header;
/// What the generator means by a packet.
mod meaning;
/// From drawn fields to a frame, one function per kind of flow.
mod packet;
/// A scenario checked and compiled: packets by index, captures.
mod plan;
/// Draws that depend on (seed, packet, field) and nothing else.
mod random;
/// Adding up meanings.
mod tally;
/// The truth as JSON.
mod written;

pub use alias::AliasTable;
pub use config::{Flow, Kind, Link, Port, Resolution, Scenario, Sources};
pub use error::Error;
pub use frame::FrameBuffer;
pub use meaning::{Class, Meaning, Tool, Tools};
pub use plan::Plan;
pub use tally::Tally;
pub use written::{Figure, ToolFigure, Written};
