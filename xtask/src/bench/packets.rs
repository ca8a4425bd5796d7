use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use xtask::{
    cargo::{self, root},
    lab::{Limits, Options, PlanFrames, Preloaded, Sent, World},
    scenario::Scenario,
};

use super::quartiles;
use crate::show::{Output, Watching};

/// Measure what the packet plane takes in the lab, beside a reader that only walks its ring, and
/// tcpdump.
///
/// One queue, which a sender on the first processor floods; whoever takes the packets runs on the
/// last. Prints a table for benches/README.md: packets taken a second, with what was lost on the
/// way, over what the minimal reader took in the same round.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The scenario that is sent.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "xtask/scenarios/bench-hot.toml"
    )]
    scenario: PathBuf,

    /// Rounds of runs; each has one for each figure.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// How long each run sends.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// So many packets a second instead of as many as go.
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

    /// Measure these only; repeat for more.
    #[arg(long, value_name = "WHAT")]
    only: Vec<Taker>,

    /// What darknet run is told besides.
    #[arg(last = true, value_name = "ARGUMENTS")]
    rest: Vec<String>,
}

/// Who takes the packets.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Taker {
    /// Nobody: they are counted in the kernel.
    Counting,
    /// `darknet run --packets headers`.
    Headers,
    /// `darknet run --packets frames`.
    Frames,
    /// A reader of AF_XDP that only walks its ring, of as many frames as `darknet run` has.
    Minimal,
    /// The same with a ring of 2,048 frames, which stays in a processor's cache and is full in half
    /// a millisecond.
    Shallow,
    /// `tcpdump -w /dev/null`.
    Tcpdump,
}

const ALL: [Taker; 6] = [
    Taker::Minimal,
    Taker::Shallow,
    Taker::Counting,
    Taker::Headers,
    Taker::Frames,
    Taker::Tcpdump,
];

/// Frames that are made, and sent round and round.
const FRAMES: usize = 1_000_000;
/// Frames in the ring of `darknet run`, by default.
const RING: u32 = 8192;
/// How long a peer may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// One run: millions of packets a second that were sent and taken.
#[derive(Clone, Copy)]
struct Run {
    sent: f64,
    taken: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments {
        scenario,
        pairs,
        seconds,
        rate,
        only,
        rest,
    } = arguments;
    let text = |error: xtask::lab::Error| error.to_string();
    let takers = match only.as_slice() {
        [] => &ALL[..],
        only => only,
    };
    let darknet = cargo::darknet(true)?;
    let minimal = [
        "build",
        "--release",
        "--package",
        "darknet-benches",
        "--bin",
        "minimal-reader",
    ];
    let minimal = cargo::executable(&minimal, "minimal-reader")?;
    let plan = Scenario::read(root().join(scenario)).and_then(|scenario| scenario.compile());
    let plan = plan.map_err(|error| error.to_string())?;
    let world = World::new(1).map_err(text)?;
    let mut made = PlanFrames::new(&plan);
    let mut sender = Preloaded::new(&world, &Options::default(), &mut made, FRAMES);
    let sender = sender.as_mut().map_err(|error| error.to_string())?;
    let limits = Limits {
        duration: Some(Duration::from_secs(*seconds)),
        rate: *rate,
        ..Limits::default()
    };
    let mut runs = vec![Vec::new(); takers.len()];
    // The first round warms up.
    for round in 0..=*pairs {
        for (taker, runs) in takers.iter().zip(&mut runs) {
            let mut send = || sender.send(&limits).map_err(text);
            let (sent, taken) = match taker {
                Taker::Counting => telescope(&darknet, &world, "none", rest, &mut send)?,
                Taker::Headers => telescope(&darknet, &world, "headers", rest, &mut send)?,
                Taker::Frames => telescope(&darknet, &world, "frames", rest, &mut send)?,
                Taker::Minimal => minimally(&minimal, RING, &world, &mut send)?,
                Taker::Shallow => minimally(&minimal, 2048, &world, &mut send)?,
                Taker::Tcpdump => tcpdump(&world, &mut send)?,
            };
            let seconds = sent.duration.as_secs_f64() * 1e6;
            if round > 0 {
                runs.push(Run {
                    sent: sent.sent as f64 / seconds,
                    taken: taken as f64 / seconds,
                });
            }
        }
    }
    println!(
        "| who takes | taken | of what was sent | over the first, in the same round | pairs |"
    );
    println!("|---|---|---|---|---|");
    let first = runs[0].clone();
    for (taker, runs) in takers.iter().zip(&runs) {
        println!("{}", row(*taker, runs, &first));
    }
    Ok(ExitCode::SUCCESS)
}

type Send<'a> = dyn FnMut() -> Result<Sent, String> + 'a;

/// What `darknet run` takes of each packet. A ledger that does not add up is an error.
fn telescope(
    darknet: &Path,
    world: &World,
    packets: &str,
    rest: &[String],
    send: &mut Send<'_>,
) -> Result<(Sent, u64), String> {
    let mut told = ["--packets", packets, "--any"].map(String::from).to_vec();
    told.extend_from_slice(rest);
    let watching = Watching::start(darknet, world, &[], &told, Output::Hidden);
    let watching = watching.map_err(|error| format!("darknet run {}: {error}", told.join(" ")))?;
    let sent = send()?;
    let document = watching.stop()?;
    let ledger = &document["ledger"];
    if ledger["received"] != sent.sent
        || document["faults"]
            .as_array()
            .is_none_or(|all| !all.is_empty())
    {
        return Err(format!(
            "sent {}, {ledger}, {}",
            sent.sent, document["faults"]
        ));
    }
    if let Some(lost) = ledger["lost"].as_object() {
        let lost = lost.iter().filter(|(_, packets)| **packets != 0);
        for (stage, packets) in lost {
            eprintln!("{stage}: {packets} of {}", sent.sent);
        }
    }
    let taken = match packets {
        "none" => &ledger["counted"],
        _ => &ledger["observed"],
    };
    Ok((sent, taken.as_u64().unwrap_or(0)))
}

/// What the minimal reader takes.
fn minimally(
    minimal: &Path,
    ring: u32,
    world: &World,
    send: &mut Send<'_>,
) -> Result<(Sent, u64), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut command = on_the_last_processor(world)?;
    command.arg(minimal).arg(world.interface());
    command.arg(ring.to_string());
    let mut reader = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    wait_for(&mut reader, || {
        let link = world
            .telescope()
            .ip(&["-d", "link", "show", world.interface()]);
        link.is_ok_and(|said| said.contains("prog/xdp"))
    })?;
    let sent = send()?;
    if let Some(mut input) = reader.stdin.take() {
        writeln!(input).map_err(text)?;
    }
    let said = reader.wait_with_output().map_err(text)?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let taken = said.parse().map_err(|_| format!("it said {said:?}"))?;
    Ok((sent, taken))
}

/// What tcpdump captures.
fn tcpdump(world: &World, send: &mut Send<'_>) -> Result<(Sent, u64), String> {
    let text = |error: std::io::Error| error.to_string();
    // Without a program on it, the interface takes redirected frames only where GRO is on.
    let gro = ["-K", world.interface(), "gro", "on"];
    let set = world.telescope().command("ethtool").args(gro).status();
    set.map_err(|error| format!("ethtool: {error}"))?;
    let mut command = on_the_last_processor(world)?;
    command.args(["tcpdump", "--immediate-mode", "-n", "-i", world.interface()]);
    command.args(["-B", "16384", "-w", "/dev/null"]);
    let mut dump = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(text)?;
    thread::sleep(Duration::from_secs(1));
    let sent = send()?;
    thread::sleep(Duration::from_millis(200));
    if let Some(process) = Pid::from_raw(dump.id().cast_signed()) {
        kill_process(process, Signal::INT).map_err(|error| error.to_string())?;
    }
    let mut said = String::new();
    if let Some(out) = &mut dump.stderr {
        out.read_to_string(&mut said).map_err(text)?;
    }
    dump.wait().map_err(text)?;
    let captured = said.lines().find(|line| line.contains("packets captured"));
    let captured = captured.and_then(|line| line.split(' ').next()?.parse().ok());
    Ok((sent, captured.ok_or_else(|| format!("tcpdump: {said}"))?))
}

/// A command on the telescope's side, and on the processor that the sender is not on.
fn on_the_last_processor(world: &World) -> Result<std::process::Command, String> {
    let processors = thread::available_parallelism().map_err(|error| error.to_string())?;
    let mut command = world.telescope().command("taskset");
    command.args(["-c", &(processors.get() - 1).to_string()]);
    Ok(command)
}

fn wait_for(child: &mut Child, mut ready: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if ready() {
            return Ok(());
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Err("the reader did not start".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("the reader did not attach within {PATIENCE:?}"))
}

fn row(taker: Taker, runs: &[Run], first: &[Run]) -> String {
    let name = match taker {
        Taker::Counting => "nobody: counted in the kernel",
        Taker::Headers => "headers",
        Taker::Frames => "frames",
        Taker::Minimal => "minimal reader",
        Taker::Shallow => "minimal reader, 2,048 frames",
        Taker::Tcpdump => "tcpdump",
    };
    let of = |figure: fn(&Run, &Run) -> f64| {
        let rounds = runs.iter().zip(first);
        quartiles(
            &mut rounds
                .map(|(run, first)| figure(run, first))
                .collect::<Vec<_>>(),
        )
    };
    let [_, taken, _] = of(|run, _| run.taken);
    let [_, share, _] = of(|run, _| run.taken / run.sent);
    let [low, ratio, high] = of(|run, first| run.taken / first.taken);
    let pairs = runs.len();
    let share = match runs.iter().all(|run| run.taken >= run.sent) {
        true => "all, in each run".into(),
        false => format!("{:.1}%", share * 1e2),
    };
    format!("| {name} | {taken:.2} Mpps | {share} | {ratio:.2} ({low:.2} to {high:.2}) | {pairs} |")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_of_the_rounds() {
        let run = |taken| Run { sent: 10.0, taken };
        let runs = [run(2.0), run(4.0), run(5.0)];
        let first = [run(4.0), run(4.0), run(4.0)];
        assert_eq!(
            row(Taker::Frames, &runs, &first),
            "| frames | 4.00 Mpps | 40.0% | 1.00 (0.50 to 1.00) | 3 |"
        );
    }
}
