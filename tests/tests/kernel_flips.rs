//! Banks that change hands while every processor counts: nothing is lost, nothing is in two turns
//! or in half of one. Needs root.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use darknet_core::{
    aggregate::Counts,
    kernel::Settings,
    rules::{Cell, networks::rows},
};
use darknet_tests::{
    craft::{self, Carried, Random, SYN},
    privileged,
    program::{self, assert_whole, processors, smallest},
};
use ipnet::IpNet;
use xtask::lab::{Frames, Limits, Options, Preloaded, Sent, World};

/// What a program counts while its banks are flipped.
struct Load {
    turns: u64,
    /// Rounds that the program idles between reading the epoch and counting.
    idle: u32,
    /// Frames that are handed over at once: nobody else runs on a processor meanwhile.
    batch: u32,
    /// Different frames, which every sender sends in the same order.
    frames: usize,
    /// Packets that are counted in each turn at least.
    at_least: u64,
}

/// Source networks: many more than stay in the front of a processor, so that all processors write
/// the same slots of the shared table.
const NETWORKS: u64 = 2 * rows::FRONT as u64;

/// Frames that are there already.
struct Made<'a>(std::slice::Iter<'a, Vec<u8>>);

impl Frames for Made<'_> {
    fn next(&mut self) -> Option<&[u8]> {
        self.0.next().map(Vec::as_slice)
    }
}

/// Stops the senders when it is dropped.
struct Stopping(Arc<AtomicBool>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A frame, and where it belongs.
struct Sample {
    frame: Vec<u8>,
    network: IpNet,
}

fn samples(count: usize) -> Vec<Sample> {
    let mut random = Random(7);
    let make = |_| {
        let number = random.below(NETWORKS) as u32;
        let source = IpAddr::V4(Ipv4Addr::from_bits(0xc000_0000 | number << 8 | 7));
        let (from, to) = (40_000, random.below(50) as u16);
        let carried = match random.below(3) {
            0 => Carried::Tcp {
                from,
                to,
                flags: SYN,
            },
            1 => Carried::Udp { from, to },
            _ => Carried::Icmp { kind: 8, code: 0 },
        };
        let frame = craft::frame(source, Ipv4Addr::new(203, 0, 113, 9).into(), carried);
        let bytes = 40 + random.below(1000) as usize;
        Sample {
            frame: craft::claiming(frame, bytes),
            network: IpNet::new(source, 24).expect("a length").trunc(),
        }
    };
    (0..count).map(make).collect()
}

#[test]
fn thousands_of_flips_lose_no_packet_and_tear_none() {
    flip(
        "thousands_of_flips_lose_no_packet_and_tear_none",
        &Load {
            turns: 2_000,
            idle: 0,
            batch: 64,
            frames: 32_768,
            at_least: 1_000,
        },
    );
}

/// Longer than it takes to begin to read a bank: some milliseconds, as the figures are made first.
/// Without the wait for programs, one of the first turns has fewer packets than were sent.
#[test]
fn a_program_that_has_read_the_old_epoch_is_waited_for() {
    flip(
        "a_program_that_has_read_the_old_epoch_is_waited_for",
        &Load {
            turns: 200,
            idle: 4_000_000,
            batch: 2,
            frames: 32,
            at_least: 1,
        },
    );
}

/// Flips the banks of a program that counts on every processor, and holds what each bank has
/// against itself, and all of them against what was sent.
fn flip(test: &str, load: &Load) {
    // Both want all processors.
    static ONE: Mutex<()> = Mutex::new(());
    if !privileged(test) {
        return;
    }
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Load {
        turns,
        idle,
        batch,
        frames: count,
        at_least,
    } = *load;
    let processors = processors();
    let last = processors.last().expect("one, as this runs");
    let world = World::new(*last as u32 + 1).expect("a world");
    let mut kernel = program::load(&smallest(Settings {
        idle,
        ..Settings::default()
    }));
    let attached = world
        .telescope()
        .enter(|| kernel.attach(world.interface()).map(drop));
    attached.expect("a namespace").expect("attached");

    let samples = samples(count);
    let frames: Vec<_> = samples.iter().map(|sample| sample.frame.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut all: HashMap<IpNet, Counts> = HashMap::new();
    let mut drain = |turn| {
        let figures = kernel.flip_and_drain().expect("drained");
        assert_eq!(figures.epoch, turn);
        let whole = assert_whole(&figures, &format!("turn {turn}"));
        let ended = figures.ledger.cell(Cell::NotRequested);
        assert_eq!(ended, whole.packets, "turn {turn}: where they ended");
        for (network, counts) in figures.networks.iter() {
            *all.entry(network).or_default() += counts;
        }
    };
    let begun = Instant::now();
    let sent: Vec<_> = thread::scope(|scope| {
        // Or a failure would wait for senders that nobody stops.
        let stopping = Stopping(Arc::clone(&stop));
        let senders: Vec<_> = processors
            .iter()
            .map(|&cpu| {
                let limits = Limits {
                    stop: Some(Arc::clone(&stop)),
                    ..Limits::default()
                };
                let options = Options { cpu, batch };
                let mut made = Made(frames.iter());
                let preloaded = Preloaded::new(&world, &options, &mut made, count);
                let mut preloaded = preloaded.expect("a generator");
                scope.spawn(move || preloaded.send(&limits).expect("sent"))
            })
            .collect();
        for turn in 0..turns {
            drain(turn);
        }
        drop(stopping);
        let join = |sender: thread::ScopedJoinHandle<'_, _>| sender.join().expect("no panic");
        senders.into_iter().map(join).collect()
    });
    let took = begun.elapsed();
    drain(turns);

    // Each sender has sent its frames in order, again and again.
    let mut expected: HashMap<IpNet, Counts> = HashMap::new();
    for Sent {
        sent,
        errors,
        in_flight,
        ..
    } in &sent
    {
        assert_eq!((*errors, *in_flight), (0, 0), "{sent} were sent");
        for (number, Sample { frame, network }) in (0..).zip(&samples) {
            let rounds = sent / count as u64 + u64::from(number < sent % count as u64);
            *expected.entry(*network).or_default() += Counts {
                packets: rounds,
                bytes: rounds * craft::bytes(frame),
            };
        }
    }
    assert!(
        all == expected,
        "some network has other figures than was sent"
    );
    let total: u64 = sent.iter().map(|sent| sent.sent).sum();
    eprintln!(
        "{total} packets on {} processors in {turns} turns, {took:?}",
        sent.len()
    );
    assert!(total > at_least * turns, "{total} packets are no load");
}
