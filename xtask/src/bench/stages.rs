use std::{
    path::Path,
    process::{Command, ExitCode},
};

use xtask::cargo;

use super::quartiles;

/// Measure what a worker does with a frame of a full ring, by stages, in instructions and in time.
///
/// Instructions are counted by valgrind, and are the same in every run: more than a stage may take
/// is an error. Prints a table for benches/README.md.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Count instructions only: time says nothing on a busy machine.
    #[arg(long)]
    instructions: bool,

    /// Runs that are timed; each drains 500 rings of 2,048.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What is done of it, up to which stage, and how many instructions that may take of a packet.
const STAGES: [(&str, &str, u64); 4] = [
    ("ring", "taken and given back", 145),
    ("metadata", "and what the program found is read", 290),
    ("walk", "or the frame is walked", 400),
    ("aggregates", "metadata, and it is observed", 950),
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments { instructions, runs } = arguments;
    let build = [
        "build",
        "--release",
        "--package",
        "darknet-benches",
        "--bin",
        "stages",
    ];
    let program = cargo::executable(&build, "stages")?;
    let mut too_many = Vec::new();
    println!("| frames are | instructions | at most | ns, median and quartiles |");
    println!("|---|---|---|---|");
    for (stage, what, most) in STAGES {
        let counted = counted(&program, stage)?;
        let time = match instructions {
            true => "".into(),
            false => {
                let timed = (0..*runs).map(|_| timed(&program, stage));
                let mut timed = timed.collect::<Result<Vec<_>, _>>()?;
                let [low, median, high] = quartiles(&mut timed);
                format!("{median:.1} ({low:.1} to {high:.1})")
            }
        };
        println!("| {what} | {counted} | {most} | {time} |");
        if counted > most {
            too_many.push(format!(
                "{stage} takes {counted} instructions, {most} at most"
            ));
        }
    }
    match too_many.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        too_many => Err(too_many.join("; ")),
    }
}

/// Instructions of a stage for each packet.
fn counted(program: &Path, stage: &str) -> Result<u64, String> {
    let function = match stage {
        "metadata" | "walk" => "stage_packets",
        "ring" => "stage_ring",
        _ => "stage_aggregates",
    };
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--toggle-collect=*{function}*"));
    let output = valgrind.arg(program).args([stage, "4"]).output();
    let output = output.map_err(|error| format!("valgrind (apt-get install valgrind): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let packets = figures(&output.stdout)?.0;
    let collected = said
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    let collected: Option<u64> = collected.and_then(|number| number.trim().parse().ok());
    match collected {
        Some(collected @ 1..) => Ok(collected.div_ceil(packets)),
        _ => Err(format!("valgrind counted nothing: {said}")),
    }
}

/// Nanoseconds of a stage for each packet.
fn timed(program: &Path, stage: &str) -> Result<f64, String> {
    let output = Command::new(program).args([stage, "500"]).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let (packets, nanoseconds) = figures(&output.stdout)?;
    Ok(nanoseconds as f64 / packets as f64)
}

/// Packets, and the nanoseconds that they took.
fn figures(said: &[u8]) -> Result<(u64, u64), String> {
    let said = String::from_utf8_lossy(said);
    let figures = said.trim().split_once(' ').and_then(|(packets, time)| {
        let packets = packets.parse().ok().filter(|&packets| packets > 0)?;
        Some((packets, time.parse().ok()?))
    });
    figures.ok_or_else(|| format!("the stages said {said:?}"))
}
