use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use darknet_core::{Error, doctor};

use crate::options::printed;

/// Say what this host and an interface give to a telescope, before anything is attached.
///
/// The exit status is 1 if something keeps a telescope from running.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The interface.
    interface: String,
    /// JSON (schema darknet.doctor/1) instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let Arguments { interface, json } = arguments;
    let report = doctor::examine(interface);
    let text = match json {
        true => serde_json::to_string(&report).map(|json| json + "\n"),
        false => Ok(report.to_string()),
    };
    let text = text.map_err(io::Error::from);
    printed(text.and_then(|text| io::stdout().lock().write_all(text.as_bytes())))?;
    Ok(match report.fit {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
