use std::{path::PathBuf, process::ExitCode, time::Duration};

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
/// receiving program too, so that its rate is what the program costs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The scenario that is sent.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "xtask/scenarios/bench.toml"
    )]
    scenario: PathBuf,

    /// Frames of it that are made, and sent round and round.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    frames: usize,

    /// Pairs of runs for each figure.
    #[arg(long, value_name = "N", default_value_t = 15)]
    pairs: usize,
}

/// How long each run sends.
const RUN: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments {
        scenario,
        frames,
        pairs,
    } = arguments;
    let text = |error: xtask::lab::Error| error.to_string();
    let darknet = cargo::darknet(true)?;
    let plan = Scenario::read(root().join(scenario)).and_then(|scenario| scenario.compile());
    let plan = plan.map_err(|error| error.to_string())?;
    let world = World::new(1).map_err(text)?;
    let mut made = PlanFrames::new(&plan);
    let mut sender =
        Preloaded::new(&world, &Options::default(), &mut made, *frames).map_err(text)?;
    let limits = Limits {
        duration: Some(RUN),
        ..Limits::default()
    };
    let names = ["dropping only", "counting", "counting and header records"];
    let mut rates: [Vec<f64>; 3] = Default::default();
    // The first round warms up.
    for round in 0..=*pairs {
        let sink = Sink::counting(&world, Mode::Driver).map_err(text)?;
        let bare = sender.send(&limits).map_err(text)?.rate();
        drop(sink);
        let mut watched = |packets: &str| {
            let rest = ["--packets", packets, "--any"].map(String::from);
            let watching = Watching::start(&darknet, &world, &[], &rest, Output::Hidden)?;
            let sent = sender.send(&limits).map_err(text)?;
            let document = watching.stop()?;
            if document["ledger"]["received"] != sent.sent {
                return Err(format!("sent {}, {}", sent.sent, document["ledger"]));
            }
            Ok(sent.rate())
        };
        let measured = [bare, watched("none")?, watched("headers")?];
        if round > 0 {
            for (rates, rate) in rates.iter_mut().zip(measured) {
                rates.push(rate / 1e6);
            }
        }
    }
    let bare = rates[0].clone();
    for (name, rates) in names.iter().zip(&mut rates) {
        let mut ratios: Vec<f64> = rates
            .iter()
            .zip(&bare)
            .map(|(rate, bare)| rate / bare)
            .collect();
        let [low, median, high] = quartiles(&mut ratios);
        let [_, rate, _] = quartiles(rates);
        println!(
            "{name}: {rate:.2} Mpps, {median:.2} ({low:.2} to {high:.2}) of dropping only, {pairs} pairs"
        );
    }
    Ok(ExitCode::SUCCESS)
}
