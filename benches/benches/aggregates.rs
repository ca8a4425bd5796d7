//! What one packet costs each aggregate, with sources that are seen again (100,000 of them, Zipf)
//! and with a table of the standard library beside our own.

use std::collections::{HashMap, HashSet};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::{
    aggregate::{Aggregate, Counts, Figures, Icmp, Observation, Ports, Seed, Sources, Totals},
    rules::{Class, PortTable},
};

const PACKETS: u64 = 1_000_000;

/// What [`Sources`] counts, in collections of the standard library.
#[derive(Default)]
struct Naive {
    sources:
        HashMap<(darknet_core::rules::Version, darknet_core::rules::Address), (Counts, u16, u8)>,
    pairs: HashSet<(darknet_core::rules::Address, PortTable, u16)>,
}

impl Naive {
    fn observe(&mut self, observation: &Observation) {
        let packet = &observation.packet;
        if packet.class == Class::Malformed {
            return;
        }
        let source = self
            .sources
            .entry((packet.version, packet.source))
            .or_default();
        source.0 += Counts {
            packets: 1,
            bytes: packet.bytes.into(),
        };
        source.1 |= 1 << packet.class as u16;
        source.2 |= packet.tools.bits();
        for (table, port) in PortTable::of(packet).into_iter().flatten() {
            self.pairs.insert((packet.source, table, port));
        }
    }
}

fn aggregates(criterion: &mut Criterion) {
    let seed = Seed::random();
    let observations =
        darknet_benches::observations(darknet_benches::capture("bench.toml", PACKETS), &seed);
    let mut group = criterion.benchmark_group("aggregate");
    group
        .throughput(Throughput::Elements(observations.len() as u64))
        .sample_size(10);
    macro_rules! bench {
        ($name:literal, $new:expr) => {
            group.bench_function($name, |bencher| {
                bencher.iter_batched(
                    || $new,
                    |mut aggregate| {
                        for batch in observations.chunks(512) {
                            aggregate.observe_batch(batch);
                        }
                        aggregate
                    },
                    BatchSize::LargeInput,
                );
            });
        };
    }
    bench!("totals", Totals::default());
    bench!("ports", Ports::default());
    bench!("icmp", Icmp::default());
    bench!("sources", Sources::new(1 << 30, &seed));
    bench!("all figures", Figures::new(1 << 30, &seed));
    group.bench_function("sources in std collections", |bencher| {
        bencher.iter_batched(
            Naive::default,
            |mut naive| {
                observations
                    .iter()
                    .for_each(|observation| naive.observe(observation));
                naive
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();

    // Both count the same.
    let (mut ours, mut naive) = (Sources::new(1 << 30, &seed), Naive::default());
    ours.observe_batch(&observations);
    observations
        .iter()
        .for_each(|observation| naive.observe(observation));
    assert_eq!(
        ours.hosts().map(|hosts| hosts.all),
        Some(naive.sources.len() as u64)
    );
}

criterion_group!(benches, aggregates);
criterion_main!(benches);
