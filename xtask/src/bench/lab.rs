use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use xtask::{
    cargo::{self, root},
    lab::{Limits, Mode, Options, PlanFrames, Preloaded, Sink, World},
    scenario::Scenario,
};

use super::quartiles;
use crate::show::{Output, Watching};

/// Measure the lab's rate with darknet run counting, beside a program that only drops.
///
/// The frames are made before, so that no core but the sender's is busy with them; it runs the
/// receiving program too, so that its rate is what the program costs. Prints a table for
/// benches/README.md.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A scenario that is sent, instead of bench-hot, bench-zipf, bench-65536 and bench-networks.
    #[arg(long = "scenario", value_name = "FILE")]
    scenarios: Vec<PathBuf>,

    /// Frames of each that are made, and sent round and round. Default: 1,000,000, or four for
    /// each source if that is more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,

    /// Rounds of runs; each has one for each figure.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// How long each run sends.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Measure this only, beside dropping.
    #[arg(long, value_name = "WHAT")]
    only: Option<Counting>,

    /// What darknet run is told besides.
    #[arg(last = true, value_name = "ARGUMENTS")]
    rest: Vec<String>,
}

/// What darknet run is measured at.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Counting {
    /// Counting alone.
    Counting,
    /// Counting, and a header record of each packet.
    Records,
}

impl Counting {
    const fn name(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Records => "counting and header records",
        }
    }

    /// What `--packets` is.
    const fn packets(self) -> &'static str {
        match self {
            Self::Counting => "none",
            Self::Records => "headers",
        }
    }
}

/// What is sent unless something else is asked for.
const SCENARIOS: [&str; 4] = [
    "xtask/scenarios/bench-hot.toml",
    "xtask/scenarios/bench-zipf.toml",
    "xtask/scenarios/bench-65536.toml",
    "xtask/scenarios/bench-networks.toml",
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let darknet = cargo::darknet(true)?;
    let world = World::new(1).map_err(|error| error.to_string())?;
    println!("| frames | program | rate | of dropping only | over dropping, a packet | pairs |");
    println!("|---|---|---|---|---|---|");
    if arguments.scenarios.is_empty() {
        for scenario in SCENARIOS {
            measure(arguments, Path::new(scenario), &darknet, &world)?;
        }
    }
    for scenario in &arguments.scenarios {
        measure(arguments, scenario, &darknet, &world)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures one scenario, and prints its rows.
fn measure(
    arguments: &Arguments,
    scenario: &Path,
    darknet: &Path,
    world: &World,
) -> Result<(), String> {
    let Arguments {
        scenarios: _,
        frames,
        pairs,
        seconds,
        only,
        rest,
    } = arguments;
    let text = |error: xtask::lab::Error| error.to_string();
    let figures: Vec<Counting> = match only {
        Some(only) => vec![*only],
        None => vec![Counting::Counting, Counting::Records],
    };
    let compiled = Scenario::read(root().join(scenario))
        .and_then(|scenario| Ok((enough(&scenario), scenario.compile()?)));
    let (enough, plan) = compiled.map_err(|error| error.to_string())?;
    let frames = frames.map_or(enough, |frames| frames as usize);
    let mut made = PlanFrames::new(&plan);
    let mut sender = Preloaded::new(world, &Options::default(), &mut made, frames).map_err(text)?;
    let limits = Limits {
        duration: Some(Duration::from_secs(*seconds)),
        ..Limits::default()
    };
    let mut dropping = Vec::new();
    let mut counting = vec![Vec::new(); figures.len()];
    // The first round warms up.
    for round in 0..=*pairs {
        let sink = Sink::counting(world, Mode::Driver).map_err(text)?;
        let bare = sender.send(&limits).map_err(text)?;
        let received = sink.counts().map_err(text)?.packets;
        if received != bare.sent {
            return Err(format!("sent {}, dropped {received}", bare.sent));
        }
        drop(sink);
        if round > 0 {
            dropping.push(bare.rate() / 1e6);
        }
        for (figure, rates) in figures.iter().zip(&mut counting) {
            let mut told = ["--packets", figure.packets(), "--any"]
                .map(String::from)
                .to_vec();
            told.extend_from_slice(rest);
            let watching = Watching::start(darknet, world, &[], &told, Output::Hidden);
            let watching =
                watching.map_err(|error| format!("darknet run {}: {error}", told.join(" ")))?;
            let sent = sender.send(&limits).map_err(text)?;
            let document = watching.stop()?;
            if document["ledger"]["received"] != sent.sent {
                return Err(format!("sent {}, {}", sent.sent, document["ledger"]));
            }
            if round > 0 {
                rates.push(sent.rate() / 1e6);
            }
        }
    }
    let name = scenario.file_name().unwrap_or_default().to_string_lossy();
    let [_, bare, _] = quartiles(&mut dropping.clone());
    println!("| `{name}` | drops only | {bare:.2} Mpps | | | {pairs} |");
    for (figure, rates) in figures.iter().zip(&mut counting) {
        println!("{}", row(figure.name(), rates, &dropping));
    }
    Ok(())
}

/// Frames that visit nearly every source if all are equally likely: 98 of 100.
fn enough(scenario: &Scenario) -> usize {
    let sources = scenario.flows.iter().map(|flow| flow.sources.count);
    let sources = sources.max().unwrap_or(0);
    1_000_000.max(sources.saturating_mul(4) as usize)
}

/// One row of the table: rates beside those of the same rounds that only drop, millions a second.
fn row(name: &str, rates: &mut [f64], dropping: &[f64]) -> String {
    let of_rounds = |figure: fn(f64, f64) -> f64| {
        let rounds = rates.iter().zip(dropping);
        let mut figures: Vec<f64> = rounds.map(|(&rate, &bare)| figure(rate, bare)).collect();
        quartiles(&mut figures)
    };
    let [low, ratio, high] = of_rounds(|rate, bare| rate / bare);
    let [least, cost, most] = of_rounds(|rate, bare| 1e3 / rate - 1e3 / bare);
    let pairs = rates.len();
    let [_, rate, _] = quartiles(rates);
    format!(
        "| | {name} | {rate:.2} Mpps | {ratio:.2} ({low:.2} to {high:.2}) | \
         {cost:.0} ns ({least:.0} to {most:.0}) | {pairs} |"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_of_the_rounds() {
        let row = row("counting", &mut [5.0, 4.0, 10.0], &[10.0, 10.0, 20.0]);
        assert_eq!(
            row,
            "| | counting | 5.00 Mpps | 0.50 (0.40 to 0.50) | 100 ns (50 to 100) | 3 |"
        );
    }

    #[test]
    fn many_sources_get_more_frames() {
        let mut frames = Vec::new();
        for name in SCENARIOS {
            let scenario = Scenario::read(root().join(name)).expect("a scenario");
            frames.push(enough(&scenario));
        }
        assert_eq!(frames, [1_000_000, 1_000_000, 1_000_000, 4_000_000]);
    }
}
