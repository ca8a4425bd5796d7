//! A telescope's world on one machine, without a network card: a link between two network
//! namespaces of its own, a generator that sends the frames of a scenario or a capture over it at
//! millions per second, and a receiver that counts or keeps what arrives.
//!
//! - **What was sent is known exactly**: the driver's own count of frames handed over, the tally
//!   of what was meant by each of them, and an error count that says when the two differ.
//! - **Nothing is left behind**: a [`World`](crate::lab::World) takes its namespaces with it when
//!   it is dropped, and the next one removes those of processes that were killed.
//! - **The sender's core does the receiving too**: the link's driver hands frames over on the CPU
//!   that sends them, so the generator, the telescope's program and its copying share one core,
//!   and the queue that receives is the sender's CPU modulo the number of queues.
//!
//! Needs root, `ip` (iproute2) and `ethtool`.
//!
//! ```no_run
//! use xtask::lab::{Generator, Limits, Mode, Options, PlanFrames, Sink, World};
//! use xtask::scenario::Scenario;
//!
//! let plan = Scenario::read("xtask/scenarios/bench.toml")?.compile()?;
//! let world = World::new(1)?;
//! let sink = Sink::counting(&world, Mode::Driver)?;
//! let mut generator = Generator::new(&world, &Options::default())?;
//! let mut frames = PlanFrames::new(&plan).with_truth();
//! let limits = Limits { count: Some(1_000_000), ..Limits::default() };
//! let sent = generator.send(&mut frames, &limits)?;
//! assert_eq!(sink.counts()?.packets, sent.sent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Frames of a capture file.
mod capture;
/// `ip` and `ethtool`, with one line about what went wrong.
mod command;
/// What can go wrong in the lab, in one line.
mod error;
/// Where frames come from.
mod frames;
/// Sending frames while the next ones are made.
mod generator;
/// When to send and when to stop.
mod limits;
/// The two ends, and what went through.
mod link;
/// A BPF array that userspace writes in place: the only unsafe code of the lab.
#[expect(unsafe_code, reason = "maps memory")]
mod memory;
/// Network namespaces, and running something in one.
mod namespace;
/// The compiled BPF objects.
mod object;
/// Frames made before the first is sent, then sent again and again.
mod preloaded;
/// A receiver that gives packets to AF_XDP sockets.
mod redirect;
/// The thread that runs the generator program.
mod sender;
/// A receiver that drops every frame and counts or keeps it.
mod sink;
/// Slots of the generator program's arrays.
mod slots;
/// Two namespaces and the link between them.
mod world;

pub use capture::CaptureFrames;
pub use error::Error;
pub use frames::{Frames, PlanFrames};
pub use generator::{Generator, Sent};
pub use limits::Limits;
pub use namespace::Namespace;
pub use preloaded::Preloaded;
pub use redirect::{Mark, Program, Redirect};
pub use sender::Options;
pub use sink::{Counts, Mode, Sink};
pub use slots::{LONGEST_FRAME, SHORTEST_FRAME};
pub use world::World;
