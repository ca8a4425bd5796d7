use std::{path::Path, thread, time::Duration};

use serde_json::Value;
use xtask::{
    cargo::root,
    lab::{Generator, Limits, Options, PlanFrames, World},
    scenario::Scenario,
};

use super::{
    datagrams::{Datagrams, ETHERNET, LENGTHS},
    disturbed,
};
use crate::show::{self, Output, SCENARIO, Watching};

/// What is watched; the scenario's frames are for it.
const DARK: [&str; 2] = ["203.0.113.0/24", "2001:db8:da2c::/48"];
/// What the telescope says of the only queue, if its frames are not copied.
const DIRECT: &str = "queue 0 of dark0 in zero-copy mode";

/// How it is asked for frames.
pub(super) const FRAMES: [&str; 2] = ["--packets", "frames"];

/// Frames of the lab's scenario.
const VARIED: u64 = 6_000;
/// Frames a second: an emulated card has 256 places, which a machine that was kept waiting fills in a
/// burst.
pub(super) const RATE: u64 = 3_000;
/// Each length of an Ethernet frame, from the shortest to the longest without a tag, so often.
pub(super) const EACH: u64 = 2;
/// Takes the frames of a network card without a copy: of all kinds and lengths, through a kill, a
/// restart and a stall, with each of them accounted for.
///
/// # Errors
///
/// What was not as it should be.
pub(super) fn check(darknet: &Path, [telescope, sender]: [String; 2]) -> Result<(), String> {
    let world = World::of_cards([&telescope, &sender]).map_err(text)?;
    let mut generator = Generator::new(&world, &Options::default()).map_err(text)?;

    every_kind(darknet, &world, &mut generator)?;
    every_length(darknet, &world, &mut generator)?;
    disturbed::killed(darknet, &world, &mut generator)?;
    disturbed::restarted(darknet, &world, &mut generator)?;
    disturbed::stalled(darknet, &world, &mut generator)
}

/// Frames of the lab's scenario; that they come without a copy is found out by the telescope.
fn every_kind(darknet: &Path, world: &World, generator: &mut Generator<'_>) -> Result<(), String> {
    let plan = Scenario::read(root().join(SCENARIO)).and_then(|scenario| scenario.compile());
    let plan = plan.map_err(|error| error.to_string())?;
    let watching = start(darknet, world, &["--packets", "auto"])?;
    let mut frames = PlanFrames::new(&plan).with_truth();
    let sent = generator.send(&mut frames, &limits(VARIED)).map_err(text)?;
    let document = watching.stop()?;
    println!("sent {} without a copy, of every kind", sent.sent);
    let written = sent.truth.clone().map(|tally| tally.finish());
    show::compare(
        sent.sent,
        written.as_ref().filter(|_| sent.is_exact()),
        &document,
    )?;
    nothing_lost(&document)
}

/// Frames of each length, each to a port of its own.
pub(super) fn every_length(
    darknet: &Path,
    world: &World,
    generator: &mut Generator<'_>,
) -> Result<(), String> {
    let watching = start(darknet, world, &FRAMES)?;
    let mut frames = Datagrams::new(EACH);
    let sent = generator
        .send(&mut frames, &limits(u64::MAX))
        .map_err(text)?;
    let document = watching.stop()?;
    println!("sent {} without a copy, of every length", sent.sent);
    show::compare(sent.sent, None, &document)?;
    nothing_lost(&document)?;
    if !sent.is_exact() {
        return Err(format!(
            "{} frames of some length were not sent",
            sent.errors
        ));
    }
    let rows = document["ports"].as_array().map_or(&[][..], Vec::as_slice);
    for length in LENGTHS {
        let row = rows.iter().find(|row| row["port"] == length);
        let row = row.ok_or_else(|| format!("no frame of {length} bytes was counted"))?;
        let bytes = EACH * u64::from(length - ETHERNET);
        if row["packets"] != EACH || row["bytes"] != bytes || row["hosts"] != 1 {
            return Err(format!("of {EACH} frames of {length} bytes: {row}"));
        }
    }
    Ok(())
}

pub(super) fn start(darknet: &Path, world: &World, rest: &[&str]) -> Result<Watching, String> {
    // Windows close meanwhile: that what they had is all there is seen in the document of the run.
    let more = ["--top", "0", "--window", "2s"];
    let rest: Vec<_> = rest
        .iter()
        .chain(&more)
        .map(|&word| word.to_owned())
        .collect();
    let watching = Watching::start(darknet, world, &DARK, &rest, Output::Kept)?;
    // It says so just after it has attached.
    for _ in 0..400 {
        if watching.said().contains(DIRECT) {
            return Ok(watching);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!(
        "it did not say {DIRECT:?} but: {}",
        watching.said()
    ))
}

pub(super) fn limits(count: u64) -> Limits {
    Limits {
        count: Some(count),
        rate: Some(RATE),
        ..Limits::default()
    }
}

/// All that was counted was delivered, whole.
pub(super) fn nothing_lost(document: &Value) -> Result<(), String> {
    adds_up(document)?;
    let ledger = &document["ledger"];
    if ledger["observed"] != ledger["counted"] || ledger["cut"] != 0 || ledger["missed"]["nic"] != 0
    {
        return Err(format!("something was lost: {ledger}"));
    }
    Ok(())
}

/// The telescope's own equations hold.
pub(super) fn adds_up(document: &Value) -> Result<(), String> {
    let ledger = &document["ledger"];
    let is_right = document["faults"].as_array().is_some_and(Vec::is_empty)
        && ledger["delivered"] == ledger["observed"];
    if is_right {
        return Ok(());
    }
    Err(format!(
        "it does not add up: {ledger}; {}",
        document["faults"]
    ))
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
