use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use xtask::cargo;

/// The capture that comes with the project, made by its own generator.
pub(crate) const BUNDLED: &str = "xtask/scenarios/first-light.pcap";

/// Build darknet and run it: on the lab, on an interface, or on captures.
///
/// As root and without arguments it makes two network namespaces and a link between them, sends a
/// scenario of a million packets a second through a telescope for ten seconds, and says whether
/// every packet was counted. Without root it replays the capture that comes with the project.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Captures to replay.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "interface")]
    pcap: Vec<PathBuf>,

    /// An interface to watch.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,

    /// A dark prefix of the interface; repeat for more.
    #[arg(long, value_name = "PREFIX", requires = "interface")]
    dark: Vec<String>,

    /// Arguments for darknet, after --.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let Arguments {
        pcap,
        interface,
        dark,
        rest,
    } = arguments;
    eprintln!("building darknet");
    let darknet = cargo::darknet(true)?;
    let mut command = Command::new(&darknet);
    if let Some(interface) = interface {
        command.args(["run", "--interface", &interface]);
        for prefix in dark {
            command.args(["--dark", &prefix]);
        }
        command.args(rest);
    } else if !pcap.is_empty() {
        command.arg("replay").args(rest).arg("--").args(pcap);
    } else {
        #[cfg(target_os = "linux")]
        match crate::show::run(&darknet, &rest, None) {
            Err(crate::show::Failure::NotHere(why)) => eprintln!("no lab here: {why}"),
            Err(crate::show::Failure::Failed(why)) => return Err(why),
            Ok(code) => return Ok(code),
        }
        eprintln!("replaying {BUNDLED}; yours: cargo xtask run --pcap FILE…");
        let bundled = cargo::root().join(BUNDLED);
        command.arg("replay").args(rest).arg("--").arg(bundled);
    }
    let status = command.status();
    let status = status.map_err(|error| format!("{}: {error}", darknet.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
