//! Aggregates of embedders beside ours, over files and live. The live ones need root.

#[cfg(target_os = "linux")]
#[path = "embedding/live.rs"]
mod live;

use std::{
    fs,
    io::Cursor,
    num::NonZeroUsize,
    ops::ControlFlow,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use darknet_core::{
    Captures, Error, Telescope, Window,
    aggregate::{Aggregate, Figures, Observation, PortDistinct, Profiles, Seed, TopSources},
    rules::{Cell, Class},
    window::{Length, Rolled, Rollup},
};
use jiff::tz::TimeZone;
use xtask::{
    cargo::root,
    scenario::{Scenario, Written},
};

/// A scenario as a capture.
fn generate(name: &str, count: u64) -> (Vec<u8>, Written) {
    let scenario = Scenario::read(root().join("xtask/scenarios").join(name));
    let mut scenario = scenario.expect(name);
    scenario.count = count;
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect(name);
    let written = plan.write_pcap_with_truth(&mut bytes).expect("memory");
    (bytes, written)
}

fn captures(bytes: &[u8]) -> Captures {
    Captures::from_reader("scenario", Cursor::new(bytes.to_vec())).expect("a capture")
}

fn telescope(workers: usize, window: Duration) -> Telescope {
    Telescope::new()
        .with_seed(Seed::fixed(6))
        .with_workers(NonZeroUsize::new(workers).expect("not 0"))
        .and_then(|telescope| telescope.with_window(window))
        .expect("settings")
}

/// Counts packets, and panics at one of them, over all workers.
struct Counting {
    packets: u64,
    times: Option<(i64, i64)>,
    all: Arc<AtomicU64>,
    panic_at: u64,
}

impl Counting {
    fn new(all: &Arc<AtomicU64>, panic_at: u64) -> Self {
        Self {
            packets: 0,
            times: None,
            all: Arc::clone(all),
            panic_at,
        }
    }
}

impl Aggregate for Counting {
    fn observe(&mut self, observation: &Observation) {
        self.packets += 1;
        let (first, last) = self.times.unwrap_or((i64::MAX, i64::MIN));
        self.times = Some((first.min(observation.time), last.max(observation.time)));
        let number = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(number, self.panic_at, "the packet to panic at");
    }

    fn merge(&mut self, other: &mut Self) {
        self.packets += other.packets;
        let times = [self.times, other.times].into_iter().flatten();
        self.times = times.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }

    fn reset(&mut self) {
        (self.packets, self.times) = (0, None);
    }

    fn publish(&self, live: &mut Self) {
        (live.packets, live.times) = (self.packets, self.times);
    }
}

/// The documents of windows with bounded figures beside them, as text.
fn documents(bytes: &[u8], workers: usize) -> String {
    let telescope = telescope(workers, Duration::from_secs(20));
    // So little memory that sources give way, and hosts by port are estimates.
    let make = || {
        let seed = telescope.seed();
        let bounded = (TopSources::new(1 << 17, seed), Profiles::new(1 << 18, seed));
        (telescope.figures(), (bounded, PortDistinct::new(4 << 20)))
    };
    let mut text = String::new();
    let mut forgotten = 0;
    let run = telescope.run_windows_with(&mut captures(bytes), make, |window| {
        let snapshot = window.snapshot(telescope.dark(), 0);
        text += &serde_json::to_string(&snapshot).expect("JSON");
        let (_, ((top, profiles), ports)) = &window.aggregate;
        forgotten += top.forgotten().sources;
        text += &format!("{:?}\n{:?}\n", top.top(0), profiles.top(0));
        text += &format!("{:?}\n", ports.iter().collect::<Vec<_>>());
        ControlFlow::Continue(())
    });
    run.expect("figures");
    assert!(forgotten > 0, "the memory is to be too little");
    text
}

#[test]
fn under_a_fixed_seed_bounded_figures_don_t_depend_on_workers_or_runs() {
    let (bytes, _) = generate("bench-million.toml", 60_000);
    let one = documents(&bytes, 1);
    assert!(one.len() > 100_000);
    for workers in [1, 2, 8] {
        assert!(documents(&bytes, workers) == one, "{workers} workers");
    }
}

/// An example of the library, built.
fn example(name: &str) -> Command {
    let build = ["build", "--package", "darknet-core", "--example", name];
    Command::new(xtask::cargo::executable(&build, name).expect("it compiles"))
}

#[test]
fn the_example_of_an_own_aggregate_counts_over_captures() {
    let scenarios = root().join("xtask/scenarios");
    let mut command = example("own_aggregate");
    let output = command.arg(scenarios.join("first-light.pcap")).output();
    let output = output.expect("it starts");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("text");
    let numbers = |pattern: &str| -> (u64, u64) {
        let lines = printed
            .lines()
            .filter_map(|line| line.trim().strip_prefix(pattern));
        let numbers = lines.map(|line| {
            let words: Vec<u64> = line
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            (words[0], words[1])
        });
        numbers.fold((0, 0), |sum, line| (sum.0 + line.0, sum.1 + line.1))
    };
    let text = fs::read_to_string(scenarios.join("first-light.json")).expect("the truth");
    let written: Written = serde_json::from_str(&text).expect("the truth");
    for port in [23, 2323] {
        let (syns, marked) = numbers(&format!("tcp {port}: "));
        assert_eq!(
            Some(&syns),
            written.ports["tcp_syn"].get(&port),
            "{printed}"
        );
        assert!(0 < marked && marked <= syns, "{printed}");
    }
}

#[test]
fn windows_rolled_up_to_a_day_are_the_whole() {
    let (bytes, written) = generate("first-light.toml", 30_000);
    for (workers, zone) in [(1, "UTC0"), (2, "JST-9"), (8, "CET-1CEST,M3.5.0,M10.5.0/3")] {
        let telescope = telescope(workers, Duration::from_secs(10));
        let whole = telescope.run(&mut captures(&bytes)).expect("figures");
        let json = |window: &Window<Figures>| {
            let snapshot = window.snapshot(telescope.dark(), 0);
            serde_json::to_string(&snapshot).expect("JSON")
        };
        let mut rolled = Vec::new();
        let zone_is = TimeZone::posix(zone).expect("a zone");
        let mut rollup = Rollup::new(Length::ALL, zone_is);
        let mut closed = |over: Rolled<'_, Figures>| {
            rolled.push((over.length, json(over.window)));
        };
        let run = telescope.run_windows(&mut captures(&bytes), |window| {
            rollup.add(window, &mut closed);
            ControlFlow::Continue(())
        });
        run.expect("figures");
        rollup.finish(&mut closed);
        assert!(whole.ledger.counted == written.counted);
        // Its two minutes are in one hour of one day, wherever.
        for (found, length) in rolled.iter().zip([Length::Hour, Length::Day]) {
            assert_eq!(found.0, length, "{zone}");
            assert!(found.1 == json(&whole), "{zone}, {length:?}");
        }
        assert_eq!(rolled.len(), 2, "{zone}");
    }
}

#[test]
fn over_files_an_aggregate_that_panics_costs_its_part_of_a_window() {
    let (bytes, written) = generate("first-light.toml", 50_000);
    for workers in [1, 2, 8] {
        let telescope = telescope(workers, Duration::from_secs(10));
        let all = Arc::new(AtomicU64::new(0));
        let make = || (telescope.figures(), Counting::new(&all, 20_000));
        let (mut counted, mut abandoned, mut faulty) = (0, 0, Vec::new());
        let run = telescope.run_windows_with(&mut captures(&bytes), make, |window| {
            assert_eq!(window.ledger.check(), Ok(()));
            let (figures, own) = &window.aggregate;
            assert_eq!(own.packets, window.ledger.observed);
            let ours = Class::ALL.map(|class| figures.totals.class(class).packets);
            assert_eq!(ours.iter().sum::<u64>(), window.ledger.observed);
            let lost = window.ledger.cell(Cell::Abandoned);
            assert_eq!(lost > 0, !window.faults.is_empty());
            counted += window.ledger.counted;
            abandoned += lost;
            faulty.extend(window.faults.clone());
            ControlFlow::Continue(())
        });
        let error = run.expect_err("it panicked");
        assert!(matches!(error, Error::Panicked { .. }), "{error}");
        let said = "the packet to panic at";
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(counted, written.counted, "{workers} workers: all windows");
        assert_eq!(faulty.len(), 1, "{workers} workers: {faulty:?}");
        assert!(faulty[0].contains("\"worker ") && faulty[0].contains(said));
        assert!(0 < abandoned && abandoned < counted / 2, "{abandoned}");
    }
}

#[test]
fn an_aggregate_that_always_panics_leaves_empty_figures_and_a_ledger_that_adds_up() {
    let (bytes, written) = generate("first-light.toml", 20_000);
    struct Broken;
    impl Aggregate for Broken {
        fn observe(&mut self, _: &Observation) {
            panic!("always");
        }
        fn merge(&mut self, _: &mut Self) {}
        fn reset(&mut self) {}
    }
    let telescope = telescope(2, Duration::from_secs(10));
    let make = || (telescope.figures(), Broken);
    let mut abandoned = 0;
    let run = telescope.run_windows_with(&mut captures(&bytes), make, |window| {
        assert_eq!((window.ledger.check(), window.ledger.observed), (Ok(()), 0));
        assert_eq!(
            window
                .snapshot(telescope.dark(), 0)
                .sources
                .map_or(0, |rows| rows.len()),
            0
        );
        abandoned += window.ledger.cell(Cell::Abandoned);
        ControlFlow::Continue(())
    });
    assert!(run.is_err());
    assert_eq!(abandoned, written.counted);
}
