use std::{path::Path, thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use xtask::{
    cargo::root,
    lab::{Generator, Limits, Options, PlanFrames, World},
    scenario::Scenario,
};

use super::datagrams::{Datagrams, ETHERNET, LENGTHS};
use crate::show::{self, Output, SCENARIO, Watching};

/// What is watched; the scenario's frames are for it.
const DARK: [&str; 2] = ["203.0.113.0/24", "2001:db8:da2c::/48"];
/// What the telescope says of the only queue, if its frames are not copied.
const DIRECT: &str = "queue 0 of dark0 in zero-copy mode";

/// Frames of the lab's scenario.
const VARIED: u64 = 10_000;
/// Frames a second: an emulated card has 256 places, and an emulated processor is slow.
const RATE: u64 = 4_000;
/// Each length of an Ethernet frame, from the shortest to the longest without a tag, so often.
const EACH: u64 = 4;
/// Frames that wait for a telescope: those of its RX ring.
const RING: u64 = 2_048;
/// Frames for a telescope that is stopped: more than wait for it, and fewer than the 10,000 that QEMU
/// keeps for a card (`net/queue.c`), as it forgets more without telling the guest.
const STALLED: u64 = 8_000;
/// How long it goes on being stopped, so that windows and timers pass.
const STALL: Duration = Duration::from_secs(4);

/// Takes the frames of a network card without a copy: of all kinds and lengths, through a stall and
/// a kill, with each of them accounted for.
///
/// # Errors
///
/// What was not as it should be.
pub(super) fn check(darknet: &Path, [telescope, sender]: [String; 2]) -> Result<(), String> {
    let world = World::of_cards([&telescope, &sender]).map_err(text)?;
    let mut generator = Generator::new(&world, &Options::default()).map_err(text)?;

    every_kind(darknet, &world, &mut generator)?;
    every_length(darknet, &world, &mut generator)?;
    killed(darknet, &world, &mut generator)?;
    stalled(darknet, &world, &mut generator)
}

/// Frames of the lab's scenario; that they come without a copy is found out by the telescope.
fn every_kind(darknet: &Path, world: &World, generator: &mut Generator<'_>) -> Result<(), String> {
    let plan = Scenario::read(root().join(SCENARIO)).and_then(|scenario| scenario.compile());
    let plan = plan.map_err(|error| error.to_string())?;
    let watching = start(darknet, world, "auto")?;
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
fn every_length(
    darknet: &Path,
    world: &World,
    generator: &mut Generator<'_>,
) -> Result<(), String> {
    let watching = start(darknet, world, "frames")?;
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

/// A telescope that is killed while frames come: the next one finds the queue free, and counts.
fn killed(darknet: &Path, world: &World, generator: &mut Generator<'_>) -> Result<(), String> {
    let watching = start(darknet, world, "frames")?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| generator.send(&mut Datagrams::new(EACH), &limits(RATE)));
        thread::sleep(Duration::from_millis(500));
        let killed = watching.signal(Signal::KILL).map_err(text);
        drop(watching);
        let sent = sending.join().expect("no panic");
        sent.map_err(text).map(drop).and(killed)
    })?;
    every_length(darknet, world, generator)
}

/// A telescope that is stopped while frames come, and goes on: what it missed is there, or it says
/// where it was lost.
fn stalled(darknet: &Path, world: &World, generator: &mut Generator<'_>) -> Result<(), String> {
    let watching = start(darknet, world, "frames")?;
    let mut send = |count| {
        let mut frames = Datagrams::new(u64::MAX);
        let sent = generator.send(&mut frames, &limits(count)).map_err(text)?;
        Ok::<_, String>(sent.sent)
    };
    let mut sent = send(1_000)?;
    watching.signal(Signal::STOP).map_err(text)?;
    let during = send(STALLED);
    thread::sleep(STALL);
    watching.signal(Signal::CONT).map_err(text)?;
    sent += during?;
    sent += send(1_000)?;
    let document = watching.stop()?;
    println!("sent {sent} without a copy, {STALLED} of them to a telescope that was stopped");
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    let ledger = &document["ledger"];
    let [received, missed, delivered, full, empty] = [
        &ledger["received"],
        &ledger["missed"]["nic"],
        &ledger["delivered"],
        &ledger["lost"]["ring_full"],
        &ledger["lost"]["fill_empty"],
    ]
    .map(number);
    println!(
        "received {received}, missed by the card {missed}, {full} found the ring full, {empty} no chunk"
    );
    let lost = full + empty;
    // Of frames that came while it was stopped, the first are in the ring when it goes on.
    if received + missed != sent || delivered + lost != received || lost > STALLED - RING {
        return Err(format!("sent {sent}: {ledger}"));
    }
    adds_up(&document)
}

fn start(darknet: &Path, world: &World, packets: &str) -> Result<Watching, String> {
    // Windows close meanwhile, and what is in several is in one document at the end.
    let rest = ["--packets", packets, "--top", "0", "--window", "2s"].map(str::to_owned);
    let watching = Watching::start(darknet, world, &DARK, &rest, Output::Kept)?;
    // It says so just after it has attached.
    for _ in 0..100 {
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

fn limits(count: u64) -> Limits {
    Limits {
        count: Some(count),
        rate: Some(RATE),
        ..Limits::default()
    }
}

/// All that was counted was delivered, whole.
fn nothing_lost(document: &Value) -> Result<(), String> {
    adds_up(document)?;
    let ledger = &document["ledger"];
    if ledger["observed"] != ledger["counted"] || ledger["cut"] != 0 || ledger["missed"]["nic"] != 0
    {
        return Err(format!("something was lost: {ledger}"));
    }
    Ok(())
}

/// The telescope's own equations hold.
fn adds_up(document: &Value) -> Result<(), String> {
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
