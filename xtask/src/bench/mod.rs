//! Whole-process figures beside peers and floors, in interleaved pairs.

#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod packets;
mod replay;
#[cfg(target_os = "linux")]
pub(crate) mod stages;

use std::process::ExitCode;

/// Measure, beside peers and floors.
#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    Replay(replay::Arguments),
    #[cfg(target_os = "linux")]
    Lab(lab::Arguments),
    #[cfg(target_os = "linux")]
    Packets(packets::Arguments),
    #[cfg(target_os = "linux")]
    Stages(stages::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match arguments {
        Arguments::Replay(arguments) => replay::run(arguments),
        #[cfg(target_os = "linux")]
        Arguments::Lab(arguments) => lab::run(arguments),
        #[cfg(target_os = "linux")]
        Arguments::Packets(arguments) => packets::run(arguments),
        #[cfg(target_os = "linux")]
        Arguments::Stages(arguments) => stages::run(arguments),
    }
}

/// The quartiles of some figures; the second is the median.
fn quartiles(figures: &mut [f64]) -> [f64; 3] {
    figures.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4])
}
