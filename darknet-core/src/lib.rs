//! A network telescope engine: packets in, exact tables out.
//!
//! A network telescope watches address space that hosts nobody. Every packet that arrives there
//! is a scan, a worm, a misconfiguration or the echo of an attack. This crate says what each of
//! them is and adds them up: by class, port, network, source, tool and host, in windows of time,
//! with a ledger in which every packet ends in exactly one cell.
//!
//! Data flows one way: [`source`] → pipeline → [`aggregate`] → [`Snapshot`].
//!
//! # Examples
//!
//! The figures of a capture:
//!
//! ```no_run
//! use darknet_core::{Captures, Telescope};
//!
//! let telescope = Telescope::new();
//! let mut captures = Captures::open(["monday.pcap"])?;
//! let snapshot = telescope.run(&mut captures)?.snapshot(telescope.dark(), 10);
//! for row in &snapshot.ports {
//!     println!("{} {}: {} packets", row.class, row.port, row.packets);
//! }
//! # Ok::<(), darknet_core::Error>(())
//! ```
//!
//! # Embedding
//!
//! - Packets from elsewhere: [`source::Source`].
//! - Counts of one's own, on all cores and beside ours: [`aggregate::Aggregate`], over files with
//!   [`Telescope::run_windows_with`], on an interface with `Telescope::watch_with`.
//! - Closed windows on another thread: [`window::channel`](fn@window::channel). Hours and days of
//!   them: [`window::Rollup`].
//! - The open window, read by any thread: `live::Control::live`.
//! - Figures that are the same in each run: [`Telescope::with_seed`].
#![deny(unsafe_code)]

pub mod aggregate;
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod doctor;
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod kernel;
/// Where every packet ended.
pub mod ledger;
/// Watching an interface.
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod live;
#[cfg(feature = "metrics")]
pub mod metrics;
/// The tables, as they are printed.
pub mod snapshot;
pub mod source;
/// Closed windows, and a channel that carries them to other threads.
pub mod window;
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod xsk;

#[cfg(all(feature = "live", target_os = "linux"))]
mod config;
mod dark;
mod error;
#[expect(unsafe_code, reason = "owns memory by itself, and prefetches")]
mod memory;
mod nest;
/// What a worker has of a window.
mod part;
mod pipeline;
#[cfg(all(feature = "live", target_os = "linux"))]
mod select;
/// What threads share, and how.
#[cfg(all(feature = "live", target_os = "linux"))]
mod sync;
mod telescope;
mod time;

pub use darknet_ebpf as rules;

#[cfg(all(feature = "live", target_os = "linux"))]
pub use config::{Config, FrameConfig};
pub use dark::{DARK_AT_MOST, Dark, parse_prefix};
pub use error::Error;
pub use ledger::Ledger;
#[cfg(all(feature = "live", target_os = "linux"))]
pub use select::{FILTER_AT_MOST, Filter, FilterAction, Sample, SampleOf};
pub use snapshot::Snapshot;
#[cfg(feature = "replay")]
pub use source::replay::{Captures, Damage};
pub use telescope::Telescope;
pub use time::Nanoseconds;
pub use window::Window;
