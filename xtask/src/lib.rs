//! The parts of the project's own commands that tests and benches use as a library.

#![forbid(unsafe_code)]

/// Cargo, run from within.
pub mod cargo;
/// Telescope traffic from a small text file: which packets, and what was meant by them.
pub mod scenario;
/// `cargo xtask scenario`: a scenario as a capture.
pub mod scenario_command;
