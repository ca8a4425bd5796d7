//! Whoever sends the packets cannot make the figures take more memory than they were given, in one
//! window or in fifty. A binary of its own, as it counts all bytes that are allocated.

use std::ops::RangeInclusive;

use darknet_core::{
    aggregate::{Aggregate, Figures, Observation, Seed},
    rules::{Address, Class, Packet, Version},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What the sources may take.
const MEMORY: usize = 4 << 20;
/// What they may take beyond, by their documentation: last chunks, huge pages and estimates.
const CENSUS: usize = 12_000_000;
/// Sizes and times to live, and ports.
const TABLES: usize = 4_700_000 + 5_300_000;
/// Workers: each has figures of its own, and as large.
const WORKERS: usize = 2;
const WINDOWS: u32 = 50;
/// Packets of a window.
const PACKETS: u32 = 150_000;
/// Packets that are observed at a time.
const BATCH: usize = 512;

fn syn(version: Version, source: [u32; 4], port: u32, seed: &Seed) -> Observation {
    let packet = Packet {
        class: Class::TcpSyn,
        version,
        source: Address::from_words(source),
        destination_port: port as u16,
        bytes: 40,
        ..Packet::MALFORMED
    };
    Observation::new(packet, 0, seed)
}

/// Who attacks: a packet by its number in the whole run.
type Attack<'a> = Box<dyn Fn(u32) -> Observation + 'a>;

/// One after the other, a window each.
fn attacks(seed: &Seed) -> [(&'static str, Attack<'_>); 5] {
    let v4 = |source, port| syn(Version::V4, [source, 0, 0, 0], port, seed);
    // Who knows the seed has sources of one shard that agree in the last bits.
    let collides =
        |source: &u32| seed.hash(*source) >> 58 == 7 && seed.hash(*source) & 0xff == 0x5a;
    let colliding: Vec<u32> = (0..).filter(collides).take(2_000).collect();
    [
        (
            "new sources",
            Box::new(move |n| v4(n.wrapping_mul(0x9e37_79b9), n)),
        ),
        (
            "new sources of IPv6",
            Box::new(|n| syn(Version::V6, [0x2001_0db8, n, n ^ 0xffff, 1], n, seed)),
        ),
        (
            "all ports of all sources",
            Box::new(move |n| v4(n % 61, n.wrapping_mul(0x9e37_79b9) >> 16)),
        ),
        (
            "new sources at many ports each",
            Box::new(move |n| v4(n >> 6, n & 0x3f)),
        ),
        (
            "sources that collide",
            Box::new(move |n| v4(colliding[n as usize % colliding.len()], n >> 4)),
        ),
    ]
}

/// Windows as workers and who merges have them, and the most bytes that were allocated in each.
fn peaks(seed: &Seed) -> Vec<usize> {
    let attacks = attacks(seed);
    let before = ALLOCATOR.current_usage();
    let mut workers: Vec<_> = (0..WORKERS).map(|_| Figures::new(MEMORY, seed)).collect();
    let mut batches = [const { Vec::new() }; WORKERS];
    let peak = |window: u32| {
        ALLOCATOR.reset_peak_usage();
        let (name, attack) = &attacks[window as usize % attacks.len()];
        for number in window * PACKETS..(window + 1) * PACKETS {
            let observation = attack(number);
            let worker = observation.shard() % WORKERS;
            batches[worker].push(observation);
            if batches[worker].len() == BATCH {
                workers[worker].observe_batch(&batches[worker]);
                batches[worker].clear();
            }
        }
        for (worker, batch) in workers.iter_mut().zip(&mut batches) {
            worker.observe_batch(batch);
            batch.clear();
        }
        let [all, rest @ ..] = &mut workers[..] else {
            panic!("workers");
        };
        rest.iter_mut().for_each(|other| all.merge(other));
        let counted = all.totals.class(Class::TcpSyn).packets;
        assert_eq!(counted, PACKETS.into(), "{name}");
        let sources = &all.survey.sources;
        let overflow = sources.overflow();
        assert!(
            overflow.sources + overflow.port_hosts > 0,
            "{name}: it is to be too much"
        );
        let kept: u64 = sources.profiles().map(|profile| profile.packets).sum();
        assert_eq!(kept + sources.forgotten().packets, counted, "{name}");
        workers.iter_mut().for_each(Aggregate::reset);
        ALLOCATOR.peak_usage() - before
    };
    (0..WINDOWS).map(peak).collect()
}

#[test]
fn under_attack_memory_is_bounded_and_does_not_grow_from_window_to_window() {
    let seed = Seed::fixed(11);
    let peaks = peaks(&seed);
    let most = |windows: RangeInclusive<usize>| peaks[windows].iter().max().copied();
    let bound = WORKERS * (MEMORY + CENSUS + TABLES);
    println!("{peaks:?} of {bound}");
    assert!(most(0..=49) <= Some(bound), "{peaks:?}");
    // One of each attack.
    let [early, late] = [most(5..=9), most(45..=49)].map(|most| most.expect("windows"));
    assert!(late <= early + early / 100, "{peaks:?}");
}
