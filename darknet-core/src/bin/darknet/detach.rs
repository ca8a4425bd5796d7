use std::{path::PathBuf, process::ExitCode};

use darknet_core::{
    Error,
    kernel::{self, Ended},
};

/// End a telescope that was left pinned: take its program off the interface, remove its tables.
///
/// What it had counted since its last window is lost.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder on a BPF file system in which it is pinned.
    #[arg(long, value_name = "DIR")]
    pins: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let Arguments { pins } = arguments;
    let folder = pins.display();
    match kernel::detach(pins)? {
        Some(Ended {
            interface: Some(interface),
            ..
        }) => say!("ended the telescope on {interface} that was pinned in {folder}"),
        Some(_) => say!(
            "ended the telescope that was pinned in {folder}; it was on no interface of this network namespace"
        ),
        None => {
            say!("error: {folder}: no telescope is pinned there");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
