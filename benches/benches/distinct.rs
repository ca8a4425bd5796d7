//! Counting distinct hosts: what one costs, and how far estimates are off, beside two libraries
//! with registers of the same number.

use std::hint::black_box;

use cardinality_estimator::CardinalityEstimator;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::aggregate::{Distinct, Seed};
use datasketches::hll::{HllSketch, HllType, HllUnion};

const PRECISION: u8 = 14;

/// A counter of distinct hosts.
trait Counter: Sized {
    const NAME: &'static str;

    fn new() -> Self;

    fn insert(&mut self, host: u32, seed: &Seed);

    fn merge(&mut self, other: &Self);

    fn estimate(&self) -> f64;
}

impl Counter for Distinct {
    const NAME: &'static str = "ours";

    fn new() -> Self {
        Self::new(PRECISION)
    }

    #[inline]
    fn insert(&mut self, host: u32, seed: &Seed) {
        self.insert(seed.hash(host));
    }

    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }

    fn estimate(&self) -> f64 {
        self.estimate().count as f64
    }
}

/// 2^14 registers of 6 bits, with hashes of the same seed.
type Cloudflare = CardinalityEstimator<u64, std::hash::DefaultHasher, { PRECISION as usize }, 6>;

impl Counter for Cloudflare {
    const NAME: &'static str = "cardinality-estimator";

    fn new() -> Self {
        Self::new()
    }

    #[inline]
    fn insert(&mut self, host: u32, seed: &Seed) {
        self.insert_hash(seed.hash(host));
    }

    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }

    fn estimate(&self) -> f64 {
        self.estimate() as f64
    }
}

/// 2^14 registers of a byte; it hashes by itself.
struct Apache(HllSketch);

impl Counter for Apache {
    const NAME: &'static str = "datasketches";

    fn new() -> Self {
        Self(HllSketch::new(PRECISION, HllType::Hll8).expect("a precision that it has"))
    }

    #[inline]
    fn insert(&mut self, host: u32, seed: &Seed) {
        // Its hash has no seed: rounds differ by what is hashed.
        self.0.update(seed.hash(host));
    }

    fn merge(&mut self, other: &Self) {
        let mut union = HllUnion::new(PRECISION).expect("a precision that it has");
        union.update(&self.0);
        union.update(&other.0);
        self.0 = union.to_sketch(HllType::Hll8);
    }

    fn estimate(&self) -> f64 {
        self.0.estimate()
    }
}

fn cost<C: Counter>(criterion: &mut Criterion) {
    let seed = Seed::random();
    let mut group = criterion.benchmark_group("distinct");
    for hosts in [300_u32, 100_000, 10_000_000] {
        group.throughput(Throughput::Elements(hosts.into()));
        group.sample_size(10);
        group.bench_function(format!("{} inserts/{}", hosts, C::NAME), |bencher| {
            bencher.iter(|| {
                let mut counter = C::new();
                (0..hosts).for_each(|host| counter.insert(black_box(host), &seed));
                counter
            });
        });
    }
    let mut counters = [C::new(), C::new()];
    for host in 0..200_000 {
        counters[(host % 2) as usize].insert(host, &seed);
    }
    let [mut one, other] = counters;
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("merge/{}", C::NAME), |bencher| {
        bencher.iter(|| one.merge(&other));
    });
    group.bench_function(format!("estimate/{}", C::NAME), |bencher| {
        bencher.iter(|| one.estimate());
    });
    group.finish();
}

/// The root of the mean square of how far estimates are off, and the worst, in percent.
fn errors<C: Counter>() {
    let off = |rounds: u32, hosts: u32, count: &dyn Fn(&Seed) -> f64| {
        let errors = (0..rounds).map(|_| count(&Seed::random()) / f64::from(hosts) - 1.0);
        let errors: Vec<f64> = errors.collect();
        let squares: f64 = errors.iter().map(|error| error * error).sum();
        let worst = errors
            .iter()
            .fold(0.0_f64, |worst, error| worst.max(error.abs()));
        let root = (squares / f64::from(rounds)).sqrt();
        println!(
            "{:22} {hosts:>9} hosts, {rounds:>3} rounds: {:.2}% off, {:.2}% at most",
            C::NAME,
            root * 100.0,
            worst * 100.0
        );
        root
    };
    for (rounds, hosts) in [
        (200, 10),
        (200, 1_000),
        (200, 30_000),
        (100, 100_000),
        (20, 3_000_000),
    ] {
        let root = off(rounds, hosts, &|seed| {
            let mut counter = C::new();
            (0..hosts).for_each(|host| counter.insert(host, seed));
            counter.estimate()
        });
        assert!(root < 0.02, "{}", C::NAME);
    }
    println!("merged of 1,440 windows of 1,000 hosts, half of them those of the window before");
    let root = off(20, 1_441 * 500, &|seed| {
        let mut day = C::new();
        for window in 0..1_440 {
            let mut minute = C::new();
            (window * 500..window * 500 + 1_000).for_each(|host| minute.insert(host, seed));
            day.merge(&minute);
        }
        day.estimate()
    });
    assert!(root < 0.02, "{}", C::NAME);
}

fn distinct(criterion: &mut Criterion) {
    if std::env::args().any(|argument| argument == "--bench") {
        errors::<Distinct>();
        errors::<Cloudflare>();
        errors::<Apache>();
    }
    cost::<Distinct>(criterion);
    cost::<Cloudflare>(criterion);
    cost::<Apache>(criterion);
}

criterion_group!(benches, distinct);
criterion_main!(benches);
