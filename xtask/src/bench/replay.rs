use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use wait4::Wait4;
use xtask::{
    cargo::{self, root},
    scenario::Scenario,
};

use super::quartiles;

/// Time the replay of a generated capture as a whole process, beside its peers.
///
/// Pairs are interleaved; each figure is the median of the pairs' ratios, with the quartiles. Needs
/// tcpdump, nfdump and taskset.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The scenario that the capture is made of.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "xtask/scenarios/bench.toml"
    )]
    scenario: PathBuf,

    /// Pairs of runs for each figure.
    #[arg(long, value_name = "N", default_value_t = 15)]
    pairs: usize,
}

/// What a command took.
#[derive(Clone, Copy)]
struct Usage {
    wall: Duration,
    /// User and system time of all threads.
    cpu: Duration,
    /// The most memory that was resident, in bytes.
    peak: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments { scenario, pairs } = arguments;
    let darknet = cargo::darknet(true)?;
    let capture = capture_of(scenario, None)?;
    let tenth = capture_of(scenario, Some(2_000_000))?;
    let flows = root().join("target/bench/flows");
    let replay = |processors: Option<&str>, capture: &Path| {
        let mut command = match processors {
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", processors]).arg(&darknet);
                command
            }
            None => Command::new(&darknet),
        };
        command.args(["replay", "--json"]).arg(capture);
        command
    };
    let count = |processors| replay(processors, &capture);
    let tcpdump = || {
        let mut command = Command::new("tcpdump");
        command.args(["-n", "--count", "-r"]).arg(&capture);
        command
    };
    let nfdump = || {
        let script = "rm -rf \"$2\"; mkdir \"$2\" && nfpcapd -r \"$1\" -l \"$2\" && nfdump -R \"$2\" -s dstport";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&tenth).arg(&flows);
        command
    };
    println!("packets per CPU-second, darknet replay --json over tcpdump --count:");
    let peak = compare(*pairs, tcpdump, || count(None), |usage| usage.cpu)?;
    println!(
        "peak memory of darknet replay --json: {:.1} MB",
        peak as f64 / 1e6
    );
    println!("wall-clock rate of darknet replay --json, two processors over one:");
    compare(
        *pairs,
        || count(Some("0")),
        || count(Some("0,1")),
        |usage| usage.wall,
    )?;
    println!("the same over nfpcapd and nfdump -s dstport, 2,000,000 packets:");
    compare(*pairs, nfdump, || replay(None, &tenth), |usage| usage.wall)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the capture of a scenario, if it is not there; its first `count` packets only.
fn capture_of(scenario: &Path, count: Option<u64>) -> Result<PathBuf, String> {
    let folder = root().join("target/bench");
    let name = scenario.file_stem().ok_or("the scenario has no name")?;
    let mut name = name.to_owned();
    name.push(count.map_or(String::new(), |count| format!("-{count}")));
    let capture = folder.join(name).with_extension("pcap");
    if !capture.exists() {
        println!("writing {}", capture.display());
        let plan = Scenario::read(root().join(scenario)).and_then(|mut scenario| {
            scenario.count = count.unwrap_or(scenario.count);
            scenario.compile()
        });
        let plan = plan.map_err(|error| error.to_string())?;
        let unfinished = capture.with_extension("part");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::File::create(&unfinished))
            .and_then(|file| plan.write_pcap(file))
            .and_then(|()| std::fs::rename(&unfinished, &capture))
            .map_err(|error| format!("{}: {error}", capture.display()))?;
    }
    // In the page cache for all alike.
    std::io::copy(
        &mut std::fs::File::open(&capture).map_err(|error| error.to_string())?,
        &mut std::io::sink(),
    )
    .map_err(|error| error.to_string())?;
    Ok(capture)
}

/// Runs peer and ours in turn, prints how many times less ours takes, returns the peak of ours.
fn compare(
    pairs: usize,
    peer: impl Fn() -> Command,
    ours: impl Fn() -> Command,
    cost: impl Fn(&Usage) -> Duration,
) -> Result<u64, String> {
    let mut ratios = Vec::new();
    let mut costs = [Vec::new(), Vec::new()];
    let mut peak = 0;
    // The first pair warms up.
    for pair in 0..=pairs {
        let [peer, ours] = [usage(peer())?, usage(ours())?];
        if pair == 0 {
            continue;
        }
        let [theirs, mine] = [cost(&peer).as_secs_f64(), cost(&ours).as_secs_f64()];
        ratios.push(theirs / mine);
        costs[0].push(theirs);
        costs[1].push(mine);
        peak = peak.max(ours.peak);
    }
    let [low, median, high] = quartiles(&mut ratios);
    let [_, theirs, _] = quartiles(&mut costs[0]);
    let [_, mine, _] = quartiles(&mut costs[1]);
    println!(
        "  {median:.2} ({low:.2} to {high:.2}), {pairs} pairs; medians {theirs:.2} s and {mine:.2} s"
    );
    Ok(peak)
}

fn usage(mut command: Command) -> Result<Usage, String> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let used = command.spawn().and_then(|mut child| child.wait4());
    let used = used.map_err(|error| format!("{command:?}: {error}"))?;
    if !used.status.success() {
        return Err(format!("{command:?}: {}", used.status));
    }
    Ok(Usage {
        wall: begun.elapsed(),
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
    })
}
