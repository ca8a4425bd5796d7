//! The parts of the project's own commands that tests and benches use as a library.

#![deny(unsafe_code)]

/// Cargo, run from within.
pub mod cargo;
/// A telescope's world without a network card, traffic for it, and a receiver.
#[cfg(target_os = "linux")]
pub mod lab;
/// Telescope traffic from a small text file: which packets, and what was meant by them.
pub mod scenario;
/// `cargo xtask scenario`: a scenario as a capture.
pub mod scenario_command;
