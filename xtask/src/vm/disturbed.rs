use std::{fs, path::Path, thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use xtask::lab::{Generator, World};

use super::{
    datagrams::Datagrams,
    guest::PINS,
    zero_copy::{EACH, FRAMES, RATE, adds_up, every_length, limits, nothing_lost, start, text},
};
use crate::show;

/// Frames that wait for a telescope: those of its RX ring, as its configuration says.
const RING: u64 = 2_048;
/// Frames for a telescope that is stopped: more than wait for it, and fewer than the 10,000 that QEMU
/// keeps for a card (`net/queue.c`), as it forgets more without telling the guest.
const STALLED: u64 = 6_000;
/// How long it goes on being stopped, so that windows and timers pass.
const STALL: Duration = Duration::from_secs(4);

/// A telescope that is killed while frames come: the next one finds the queue free, and counts.
pub(super) fn killed(
    darknet: &Path,
    world: &World,
    generator: &mut Generator<'_>,
) -> Result<(), String> {
    let watching = start(darknet, world, &FRAMES)?;
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

/// A telescope that ends and leaves the kernel counting: what comes before the next one finds no
/// socket, and is counted.
pub(super) fn restarted(
    darknet: &Path,
    world: &World,
    generator: &mut Generator<'_>,
) -> Result<(), String> {
    const PART: u64 = 1_000;
    let pins = format!("{PINS}/dark");
    let arguments = [&FRAMES[..], &["--pins", &pins]].concat();
    let mut send = || {
        let mut frames = Datagrams::new(EACH);
        let sent = generator.send(&mut frames, &limits(PART)).map_err(text)?;
        Ok::<_, String>(sent.sent)
    };
    let watching = start(darknet, world, &arguments)?;
    let first = send()?;
    let document = watching.stop()?;
    show::compare(first, None, &document)?;
    nothing_lost(&document)?;
    let between = send()?;
    let watching = start(darknet, world, &arguments)?;
    let second = send()?;
    let document = watching.stop()?;
    println!("sent {between} to no telescope and {second} without a copy to the next");
    show::compare(between + second, None, &document)?;
    adds_up(&document)?;
    let ledger = &document["ledger"];
    if ledger["lost"]["no_socket"] != between || ledger["delivered"] != second {
        return Err(format!("{between} found no socket: {ledger}"));
    }
    let mut detach = world.telescope().command(darknet);
    let status = detach.args(["detach", "--pins", &pins]).status();
    match status.map_err(text)? {
        status if status.success() => Ok(()),
        status => Err(format!("darknet detach: {status}")),
    }
}

/// A telescope that is stopped while frames come, and goes on: what it missed is there, or it says
/// where it was lost.
pub(super) fn stalled(
    darknet: &Path,
    world: &World,
    generator: &mut Generator<'_>,
) -> Result<(), String> {
    let file = std::env::temp_dir().join("stalled.toml");
    fs::write(
        &file,
        format!("[frames]\nring = {RING}\nframes = {}\n", 2 * RING),
    )
    .map_err(|error| format!("{}: {error}", file.display()))?;
    let file = file.to_string_lossy();
    let watching = start(
        darknet,
        world,
        &[&FRAMES[..], &["--config", &file]].concat(),
    )?;
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
    if received + missed != sent
        || delivered + lost != received
        || !(1..=STALLED - RING).contains(&lost)
    {
        return Err(format!("sent {sent}: {ledger}"));
    }
    adds_up(&document)
}
