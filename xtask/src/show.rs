//! The lab that `cargo xtask run` shows: a telescope, and a scenario sent to it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xtask::{
    cargo::root,
    lab::{Generator, Limits, Options, PlanFrames, World},
    scenario::{Scenario, Written},
};

/// What is sent, and the prefixes that it is sent to.
pub(crate) const SCENARIO: &str = "xtask/scenarios/lab.toml";
const DARK: [&str; 2] = ["203.0.113.0/24", "2001:db8:da2c::/48"];
/// How long the telescope may take to attach.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no lab.
pub(crate) enum Failure {
    /// This machine, or this user, cannot have one.
    NotHere(String),
    /// It was there, and something went wrong.
    Failed(String),
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// Makes a lab, watches it with `darknet run` and `rest`, sends the scenario or its first `count`
/// frames, compares.
pub(crate) fn run(
    darknet: &Path,
    rest: &[String],
    count: Option<u64>,
) -> Result<ExitCode, Failure> {
    let scenario = Scenario::read(root().join(SCENARIO)).and_then(|scenario| {
        let limits = Limits {
            count,
            rate: Some(scenario.rate),
            ..Limits::default()
        };
        Ok((limits, scenario.compile()?))
    });
    let (limits, plan) = scenario.map_err(|error| Failure::Failed(error.to_string()))?;
    let world = World::new(1).map_err(|error| Failure::NotHere(error.to_string()))?;
    let watching = Watching::start(darknet, &world, &DARK, rest, Output::Shown)?;
    let mut frames = PlanFrames::new(&plan).with_later_truth();
    let sent = Generator::new(&world, &Options::default())
        .and_then(|mut generator| generator.send(&mut frames, &limits));
    let document = watching.stop()?;
    let sent = sent.map_err(|error| error.to_string())?;
    let written = sent.truth.clone().map(|tally| tally.finish());
    println!(
        "\nsent {} in {:.1} s ({:.2} million a second)",
        sent.sent,
        sent.duration.as_secs_f64(),
        sent.rate() / 1e6
    );
    compare(
        sent.sent,
        written.as_ref().filter(|_| sent.is_exact()),
        &document,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Whether what a telescope prints is seen.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Output {
    Shown,
    Hidden,
    /// Not its tables; and what it says is kept.
    Kept,
}

/// A telescope that watches a world. It ends when this is dropped.
pub(crate) struct Watching {
    telescope: Child,
    document: PathBuf,
    said: PathBuf,
}

impl Watching {
    /// Starts `darknet run` with `rest`, and waits until it is attached.
    pub(crate) fn start(
        darknet: &Path,
        world: &World,
        dark: &[&str],
        rest: &[String],
        output: Output,
    ) -> Result<Self, String> {
        let name = format!("darknet-lab-{}.json", std::process::id());
        let document = std::env::temp_dir().join(name);
        let said = document.with_extension("said");
        let mut command = world.telescope().command(darknet);
        command
            .args(["run", "--interface", world.interface()])
            .args(rest);
        command.arg("--save").arg(&document);
        for prefix in dark {
            command.args(["--dark", prefix]);
        }
        match output {
            Output::Shown => {}
            Output::Hidden => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            Output::Kept => {
                let file = File::create(&said);
                let file = file.map_err(|error| format!("{}: {error}", said.display()))?;
                command.stdout(Stdio::null()).stderr(file);
            }
        }
        let telescope = command.spawn();
        let telescope = telescope.map_err(|error| format!("{}: {error}", darknet.display()))?;
        let mut watching = Self {
            telescope,
            document,
            said,
        };
        watching.wait_until_attached(world)?;
        Ok(watching)
    }

    fn wait_until_attached(&mut self, world: &World) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let link = world
                .telescope()
                .ip(&["-d", "link", "show", world.interface()]);
            if link
                .map_err(|error| error.to_string())?
                .contains("prog/xdp")
            {
                return Ok(());
            }
            if matches!(self.telescope.try_wait(), Ok(Some(_))) {
                return Err(format!(
                    "the telescope did not start: {}",
                    self.said().trim()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("the telescope did not attach within {PATIENCE:?}"))
    }

    /// Ends the telescope, and returns the JSON document of its whole run.
    pub(crate) fn stop(mut self) -> Result<Value, String> {
        let status = self.end().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("the telescope failed: {status}"));
        }
        let text = fs::read_to_string(&self.document);
        let text = text.map_err(|error| format!("{}: {error}", self.document.display()))?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// What it has said so far on standard error, if that is [`Output::Kept`].
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match Pid::from_raw(self.telescope.id().cast_signed()) {
            Some(process) => Ok(kill_process(process, signal)?),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Ok(Some(status)) = self.telescope.try_wait() {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.telescope.wait()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It has ended, or there is nothing more to do about it.
        let _ = self.end();
        let _ = fs::remove_file(&self.document);
        let _ = fs::remove_file(&self.said);
    }
}

/// Says whether what was counted is what was sent, table by table as far as that is known.
pub(crate) fn compare(
    sent: u64,
    written: Option<&Written>,
    document: &Value,
) -> Result<(), String> {
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    let ledger = &document["ledger"];
    let received = number(&ledger["received"]);
    let mut wrong = Vec::new();
    if received != sent {
        wrong.push(format!("sent {sent}, received {received}"));
    }
    if let Some(written) = written {
        for (class, figure) in &written.classes {
            let packets = number(&document["classes"][class]["packets"]);
            if packets != figure.packets {
                wrong.push(format!(
                    "{class}: sent {}, counted {packets}",
                    figure.packets
                ));
            }
        }
        for (tool, figure) in &written.tools {
            let packets = number(&document["tools"][tool]["packets"]);
            if packets != figure.packets {
                wrong.push(format!(
                    "{tool}: sent {}, counted {packets}",
                    figure.packets
                ));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    println!(
        "received {received} = passed {} + counted {}; every class and tool as sent; the ledger adds up",
        ledger["passed"], ledger["counted"]
    );
    Ok(())
}
