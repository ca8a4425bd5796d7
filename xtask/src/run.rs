use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use xtask::cargo;

/// The capture that comes with the project, made by its own generator.
const BUNDLED: &str = "xtask/scenarios/first-light.pcap";

/// Build darknet and run it: on captures, or on the one that comes with the project.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Captures to replay.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pcap: Vec<PathBuf>,

    /// Arguments for darknet replay, after --.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let Arguments { mut pcap, rest } = arguments;
    eprintln!("building darknet");
    let darknet = cargo::darknet(true)?;
    if pcap.is_empty() {
        eprintln!("replaying {BUNDLED}; yours: cargo xtask run --pcap FILE…");
        pcap.push(cargo::root().join(BUNDLED));
    }
    let status = Command::new(&darknet)
        .arg("replay")
        .args(rest)
        .arg("--")
        .args(pcap)
        .status()
        .map_err(|error| format!("{}: {error}", darknet.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
