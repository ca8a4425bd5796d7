//! What one SYN costs in the kernel program by how many networks SYNs come from, with
//! `BPF_PROG_TEST_RUN`: needs root.
//!
//! Beside it: the floor, which counts nothing; one line of the cache for each network; and the
//! kernel's own hash table. A program before each of them gives every run another source.

use darknet_benches::{
    rounds::{Quartiles, Rounds},
    sources::Sources,
    varied::{Callee, Varied},
};
use darknet_core::{
    Dark, Error,
    kernel::{Kernel, Settings},
    parse_prefix,
};
use etherparse::PacketBuilder;

const CASES: [Sources; 5] = [
    Sources::Hot,
    Sources::Zipf(100_000),
    Sources::Uniform(65_536),
    Sources::Uniform(100_000),
    Sources::Uniform(1 << 20),
];

fn load() -> Result<Kernel, Error> {
    let prefix = parse_prefix("203.0.113.0/24").expect("a prefix");
    Kernel::load(&Settings {
        dark: Dark::new(&[prefix], &[]).expect("prefixes"),
        ..Settings::default()
    })
}

fn main() {
    let rounds = Rounds::of_process();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([198, 51, 100, 7], [203, 0, 113, 9], 64)
        .tcp(40_000, 23, 1, 1024)
        .syn()
        .write(&mut frame, &[])
        .expect("memory");
    frame.resize(60, 0);
    println!(
        "| networks | empty, ns | line, ns | per-CPU hash, ns | telescope, ns | telescope over empty, ns | telescope / line |"
    );
    println!("|---|---|---|---|---|---|---|");
    for sources in CASES {
        let mut kernel = match load() {
            Ok(kernel) => kernel,
            Err(error) => {
                eprintln!("kernel program: NOT RUN, {error}");
                return;
            }
        };
        let list = sources.list();
        let used = list.len().min(rounds.runs as usize);
        let mut varied = Varied::new(&kernel, &list[..used], sources.networks());
        let measured = rounds.measure(|| {
            let run = |callee| varied.run(callee, &frame, rounds.runs);
            Callee::ALL.map(run)
        });
        let quartiles = |figure: fn(&[f64; 4]) -> f64| Quartiles::of(measured.iter().map(figure));
        println!(
            "| {sources} | {} | {} | {} | {} | {} | {:.2} |",
            quartiles(|[empty, ..]| *empty),
            quartiles(|[_, line, ..]| *line),
            quartiles(|[_, _, hash, _]| *hash),
            quartiles(|[.., telescope]| *telescope),
            quartiles(|[empty, .., telescope]| telescope - empty),
            quartiles(|[_, line, _, telescope]| telescope / line),
        );
        let figures = kernel.flip_and_drain().expect("counts");
        assert_eq!(figures.ledger.received, rounds.total(), "{sources}");
        assert_eq!(figures.ledger.counted, rounds.total(), "{sources}");
        assert_eq!(
            figures.networks.total().packets,
            rounds.total(),
            "{sources}"
        );
        let no_room = figures.networks.overflow().packets;
        if no_room > 0 {
            println!("the networks of {no_room} packets found no room in the telescope");
        }
    }
}
