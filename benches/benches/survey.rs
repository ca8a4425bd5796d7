//! Everything on beside ports only, and beside one line of memory for each source, over the same
//! packets: a million sources with Zipf weights, as observations (`million`) and with reading and
//! walking (`loop`); and sources that are all new (`new`).

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

/// A floor: one cache line for each source, found by its hash alone, in which packets are counted; where
/// sources are more than lines, they share them.
struct Lines(Box<[[u64; 8]]>);

impl Lines {
    /// For each of a million sources; their memory is there before anything is measured.
    fn new() -> Self {
        Self(vec![[1; 8]; 1 << 20].into())
    }
}

impl Aggregate for Lines {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.0[observation.hash() as usize % (1 << 20)][0] += 1;
    }

    fn merge(&mut self, _: &mut Self) {}

    fn reset(&mut self) {}
}

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

/// Nanoseconds a packet: ports only, one line, all figures.
type Measured = [f64; 3];

fn row(name: &str, measured: &[Measured]) {
    let quartiles = |figure: fn(&Measured) -> f64| Quartiles::of(measured.iter().map(figure));
    println!(
        "| {name} | {} | {} | {} | {:.1} | {:.1} |",
        quartiles(|[ports, _, _]| *ports),
        quartiles(|[_, line, _]| *line),
        quartiles(|[_, _, figures]| *figures),
        quartiles(|[ports, _, figures]| figures / ports),
        quartiles(|[_, line, figures]| figures / line),
    );
}

fn main() {
    let rounds = Rounds::of_process();
    let packets = 4 * rounds.runs as usize;
    let seed = Seed::random();
    let capture = Bytes::from(capture("bench-million.toml", packets as u64));
    let million = observations(capture.to_vec(), &seed);
    let new = new_sources(&million, &seed);
    println!(
        "| {packets} packets | ports only, ns | line, ns | figures, ns | figures / ports only | figures / line |"
    );
    println!("|---|---|---|---|---|---|");
    let mut lines = Lines::new();
    let mut again = Vec::new();
    let mut all = |observations: &[Observation], again: &mut Vec<Measured>| {
        let (mut ports, mut figures) = (Ports::default(), Figures::new(1 << 30, &seed));
        let mut once = || {
            [
                time(packets, || observe(&mut ports, observations)),
                time(packets, || observe(&mut lines, observations)),
                time(packets, || observe(&mut figures, observations)),
            ]
        };
        let first = once();
        again.push(once());
        assert_eq!(figures.ports, ports);
        first
    };
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |case: &str| wanted.is_empty() || wanted.iter().any(|word| word == case);
    if is_wanted("million") {
        let measured = rounds.measure(|| all(&million, &mut again));
        row("a million sources, Zipf", &measured);
        row("the same once more", &again[1..]);
    }
    if is_wanted("new") {
        let measured = rounds.measure(|| all(&new, &mut Vec::new()));
        row("all sources new", &measured);
    }
    let mut with_reading = || {
        let (mut ports, mut figures) = (Ports::default(), Figures::new(1 << 30, &seed));
        let measured = [
            time(packets, || replay(&mut ports, &capture, &seed)),
            time(packets, || replay(&mut lines, &capture, &seed)),
            time(packets, || replay(&mut figures, &capture, &seed)),
        ];
        assert_eq!(figures.ports, ports);
        black_box(figures);
        measured
    };
    if is_wanted("loop") {
        let measured = rounds.measure(&mut with_reading);
        row(
            "a million sources, Zipf, with reading and walking",
            &measured,
        );
    }

    // Nothing was lost, and as many sources are there as were seen.
    for observations in [&million, &new] {
        let (mut lines, mut figures) = (Lines::new(), Figures::new(1 << 30, &seed));
        observe(&mut lines, observations);
        observe(&mut figures, observations);
        let counted: u64 = lines.0.iter().map(|line| line[0] - 1).sum();
        assert_eq!(counted, packets as u64);
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
