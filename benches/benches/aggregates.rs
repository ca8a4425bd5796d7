//! What one packet costs each aggregate: with sources that are seen again (100,000 of them, Zipf)
//! and a table of the standard library beside our own; with 1,000,000 sources, Zipf; and with
//! sources that are all new.

use std::collections::{HashMap, HashSet};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::{
    aggregate::{
        Aggregate, Census, Counts, Distributions, Figures, Icmp, Observation, PortDistinct,
        PortSets, Ports, Profiles, Seed, TopSources, Totals,
    },
    rules::{Class, PortTable},
};

const PACKETS: u64 = 1_000_000;

/// What [`Census`] says of hosts, in collections of the standard library.
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

/// Twenty ports, most of which have many packets.
fn port_sets() -> PortSets {
    let ports = [
        23, 22, 445, 80, 8080, 443, 3389, 2323, 1433, 6379, 5555, 8443, 81, 5900, 9530, 2375,
        37215, 7547, 52869, 8545,
    ];
    PortSets::new(ports.map(|port| (PortTable::TcpSyn, port)), 10_000_000)
}

/// What packets cost where their sources don't fit the caches.
fn many(criterion: &mut Criterion, name: &str, observations: &[Observation], seed: &Seed) {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(observations.len() as u64))
        .sample_size(10);
    macro_rules! bench {
        ($name:literal, $new:expr) => {
            bench!($name, $new, |_: &mut _| {});
        };
        // Where all of it was seen before, so that no table grows.
        ($name:literal, $new:expr, again) => {
            bench!($name, $new, |aggregate: &mut _| {
                Aggregate::observe_batch(aggregate, observations);
            });
        };
        ($name:literal, $new:expr, $prepare:expr) => {
            group.bench_function($name, |bencher| {
                bencher.iter_batched(
                    || {
                        let mut aggregate = $new;
                        $prepare(&mut aggregate);
                        aggregate
                    },
                    |mut aggregate| {
                        for batch in observations.chunks(512) {
                            aggregate.observe_batch(batch);
                        }
                        aggregate
                    },
                    BatchSize::PerIteration,
                );
            });
        };
    }
    bench!("ports", Ports::default());
    bench!("figures", Figures::new(1 << 30, seed));
    bench!("distributions", Distributions::default());
    bench!("hosts by port", PortDistinct::new(256 << 20));
    bench!("sets of hosts", port_sets());
    bench!("top sources", TopSources::new(32 << 20, seed));
    bench!("top sources, 1 MiB", TopSources::new(1 << 20, seed));
    bench!("profiles", Profiles::new(1 << 30, seed));
    bench!("profiles, 64 MiB", Profiles::new(64 << 20, seed));
    bench!("figures, again", Figures::new(1 << 30, seed), again);
    bench!("hosts by port, again", PortDistinct::new(256 << 20), again);
    bench!("profiles, again", Profiles::new(1 << 30, seed), again);
    group.finish();
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
    bench!("census", Census::new(1 << 30, &seed));
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
    let (mut ours, mut naive) = (Census::new(1 << 30, &seed), Naive::default());
    ours.observe_batch(&observations);
    observations
        .iter()
        .for_each(|observation| naive.observe(observation));
    assert_eq!(
        ours.hosts().map(|hosts| hosts.all),
        Some(naive.sources.len() as u64)
    );
}

fn many_sources(criterion: &mut Criterion) {
    let seed = Seed::random();
    let capture = darknet_benches::capture("bench-million.toml", 4 * PACKETS);
    let observations = darknet_benches::observations(capture, &seed);
    many(criterion, "a million sources", &observations, &seed);
    many(
        criterion,
        "all sources new",
        &darknet_benches::new_sources(&observations, &seed),
        &seed,
    );

    // All of them have counted the same packets.
    let mut all = (
        (Figures::new(1 << 30, &seed), PortDistinct::new(256 << 20)),
        (
            port_sets(),
            (
                TopSources::new(32 << 20, &seed),
                Profiles::new(1 << 30, &seed),
            ),
        ),
    );
    all.observe_batch(&observations);
    let ((figures, hosts), (sets, (top, profiles))) = &all;
    let census = &figures.survey.sources;
    let distributions = &figures.survey.distributions;
    let counts = |class| figures.totals.class(class).packets;
    for class in Class::ALL
        .into_iter()
        .filter(|&class| class != Class::Malformed)
    {
        let sizes: u64 = distributions.sizes(class).map(|(_, packets)| packets).sum();
        assert_eq!(sizes, counts(class));
    }
    let sources: u64 = profiles.iter().map(|profile| profile.packets).sum();
    assert_eq!(
        sources,
        observations.len() as u64 - counts(Class::Malformed)
    );
    let first = census
        .iter()
        .expect("room")
        .max_by_key(|(_, counts)| counts.packets);
    assert_eq!(first.map(|(source, _)| source), Some(top.top(1)[0].source));
    let exact = census.port_hosts().expect("room");
    for (table, port, estimate) in hosts.iter() {
        let off = estimate.count as f64 / exact.get(table, port) as f64 - 1.0;
        assert!(off.abs() <= 6.0 * estimate.error, "{port}: {off}");
    }
    for (table, port) in sets.places() {
        assert_eq!(
            sets.hosts(&[(table, port)], &[]),
            Some(exact.get(table, port))
        );
    }
}

criterion_group!(benches, aggregates, many_sources);
criterion_main!(benches);
