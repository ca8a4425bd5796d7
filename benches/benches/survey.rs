//! Everything on beside ports only, over the same packets: a million sources with Zipf weights, as
//! observations (`million`) and with reading and walking (`loop`); and sources that are all new
//! (`new`).

use std::{collections::HashSet, hint::black_box, io::Cursor, time::Instant};

use bytes::Bytes;
use darknet_benches::{
    capture, new_sources, observations,
    rounds::{Quartiles, Rounds},
};
use darknet_core::{
    Captures,
    aggregate::{Aggregate, Figures, Observation, Ports, Seed},
    rules::{Outer, Packet, outer},
    source::Source,
};

/// Observations in a batch.
const BATCH: usize = 512;

/// Nanoseconds a packet.
fn time(packets: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / packets as f64
}

fn observe(aggregate: &mut impl Aggregate, observations: &[Observation]) {
    for batch in observations.chunks(BATCH) {
        aggregate.observe_batch(batch);
    }
}

/// One worker's whole loop over a capture: read, walk, count.
fn replay(aggregate: &mut impl Aggregate, capture: &Bytes, seed: &Seed) {
    let reader = Cursor::new(capture.clone());
    let mut captures = Captures::from_reader("bench", reader).expect("a capture");
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(record) = captures.next().expect("a packet") {
        let Some(Outer::Ip(ip)) = record.link.map(|link| outer(record.data, link)) else {
            continue;
        };
        let packet = ip.packet(record.data).unwrap_or(Packet::MALFORMED);
        let time = record.time.unwrap_or_default();
        batch.push(Observation::new(packet, time, seed));
        if batch.len() == BATCH {
            aggregate.observe_batch(&batch);
            batch.clear();
        }
    }
    aggregate.observe_batch(&batch);
}

fn row(name: &str, measured: &[[f64; 2]]) {
    let quartiles = |figure: fn(&[f64; 2]) -> f64| Quartiles::of(measured.iter().map(figure));
    println!(
        "| {name} | {} | {} | {:.1} |",
        quartiles(|[ports, _]| *ports),
        quartiles(|[_, figures]| *figures),
        quartiles(|[ports, figures]| figures / ports),
    );
}

fn main() {
    let rounds = Rounds::of_process();
    let packets = 4 * rounds.runs as usize;
    let seed = Seed::random();
    let capture = Bytes::from(capture("bench-million.toml", packets as u64));
    let million = observations(capture.to_vec(), &seed);
    let new = new_sources(&million, &seed);
    println!("| {packets} packets | ports only, ns | figures, ns | figures / ports only |");
    println!("|---|---|---|---|");
    let mut again = Vec::new();
    let both = |observations: &[Observation], again: &mut Vec<[f64; 2]>| {
        let (mut ports, mut figures) = (Ports::default(), Figures::new(1 << 30, &seed));
        let pair = [
            time(packets, || observe(&mut ports, observations)),
            time(packets, || observe(&mut figures, observations)),
        ];
        assert_eq!(figures.ports, ports);
        again.push([
            time(packets, || observe(&mut ports, observations)),
            time(packets, || observe(&mut figures, observations)),
        ]);
        pair
    };
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |case: &str| wanted.is_empty() || wanted.iter().any(|word| word == case);
    if is_wanted("million") {
        let measured = rounds.measure(|| both(&million, &mut again));
        row("a million sources, Zipf", &measured);
        row("the same once more", &again[1..]);
    }
    if is_wanted("new") {
        let measured = rounds.measure(|| both(&new, &mut Vec::new()));
        row("all sources new", &measured);
    }
    let with_reading = || {
        let (mut ports, mut figures) = (Ports::default(), Figures::new(1 << 30, &seed));
        let pair = [
            time(packets, || replay(&mut ports, &capture, &seed)),
            time(packets, || replay(&mut figures, &capture, &seed)),
        ];
        assert_eq!(figures.ports, ports);
        black_box(figures);
        pair
    };
    if is_wanted("loop") {
        let measured = rounds.measure(with_reading);
        row(
            "a million sources, Zipf, with reading and walking",
            &measured,
        );
    }

    // Nothing was lost, and as many sources are there as were seen.
    for observations in [&million, &new] {
        let mut figures = Figures::new(1 << 30, &seed);
        observe(&mut figures, observations);
        let sources: HashSet<_> = observations
            .iter()
            .filter(|observation| observation.packet.class != Packet::MALFORMED.class)
            .map(|observation| observation.packet.source)
            .collect();
        let census = &figures.survey.sources;
        assert_eq!(census.hosts().expect("room").all, sources.len() as u64);
        println!(
            "{} sources take {} MiB",
            sources.len(),
            census.memory_used() >> 20
        );
    }
}
