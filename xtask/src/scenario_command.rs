use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::scenario::{Error, Scenario};

/// Write the packets of a scenario as a capture.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Scenario file.
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Capture to write (pcap); `-` is standard output.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Also write what the capture holds, as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write this many packets instead of the file's `count`.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Use this seed instead of the file's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Reads the scenario, writes the capture, and the truth if asked for.
///
/// # Errors
///
/// If the scenario is wrong, or a file cannot be read or written.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    let Arguments {
        scenario,
        output,
        truth,
        count,
        seed,
    } = arguments;
    if is_standard(&output) && truth.as_deref().is_some_and(is_standard) {
        return Err(Error::Usage(
            "--output and --truth are both standard output; write a file name for one of them",
        ));
    }
    let mut scenario = Scenario::read(scenario)?;
    scenario.count = count.unwrap_or(scenario.count);
    scenario.seed = seed.unwrap_or(scenario.seed);
    let plan = scenario.compile()?;
    let Some(truth) = truth else {
        return write(&output, |writer| plan.write_pcap(writer));
    };
    let mut written = write(&output, |writer| plan.write_pcap_with_truth(writer))?;
    if let Some(name) = output.file_name() {
        written.file = name.to_string_lossy().into_owned();
    }
    write(&truth, |mut writer| {
        let mut line = serde_json::to_vec(&written)?;
        line.push(b'\n');
        writer.write_all(&line)
    })
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens `path` and writes with `action`; errors name the file.
fn write<T>(path: &Path, action: impl FnOnce(Box<dyn Write>) -> io::Result<T>) -> Result<T, Error> {
    let open = || -> io::Result<Box<dyn Write>> {
        Ok(if is_standard(path) {
            Box::new(io::stdout().lock())
        } else {
            Box::new(File::create(path)?)
        })
    };
    open().and_then(action).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}
