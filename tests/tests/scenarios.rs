//! Scenarios give exactly what the generator says it wrote, whatever the workers and the windows.

use std::{io::Cursor, num::NonZeroUsize, ops::ControlFlow, path::PathBuf, time::Duration};

use darknet_core::{Captures, Dark, Telescope, aggregate::Seed, parse_prefix};
use darknet_tests::truth::assert_truth;
use proptest::prelude::*;
use xtask::{
    cargo::root,
    scenario::{Scenario, Written},
};

fn scenarios() -> PathBuf {
    root().join("xtask/scenarios")
}

fn generate(name: &str, count: u64, seed: Option<u64>) -> (Vec<u8>, Written) {
    let mut scenario = Scenario::read(scenarios().join(name)).expect("a scenario");
    scenario.count = scenario.count.min(count);
    scenario.seed = seed.unwrap_or(scenario.seed);
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect("a plan");
    let written = plan.write_pcap_with_truth(&mut bytes).expect("memory");
    (bytes, written)
}

fn captures(bytes: &[u8]) -> Captures {
    Captures::from_reader("scenario", Cursor::new(bytes.to_vec())).expect("a capture")
}

#[test]
fn every_scenario_gives_what_was_written() {
    for name in [
        "first-light.toml",
        "surge.toml",
        "bench.toml",
        "bench-million.toml",
        "attack.toml",
    ] {
        let (bytes, mut written) = generate(name, 100_000, None);
        written.file = name.into();
        let telescope = Telescope::new();
        let window = telescope.run(&mut captures(&bytes)).expect("figures");
        assert_truth(&written, &window.snapshot(telescope.dark(), 0));
        // The edges are those of whole minutes.
        let (start, end) = window.edges.expect("packets");
        let [first, last] = [&written.first, &written.last].map(|time| {
            let time = time.as_deref().and_then(|time| time.split('.').next());
            time.and_then(|time| time.parse::<i64>().ok())
                .expect("a time")
        });
        assert_eq!(start.as_second(), first.div_euclid(60) * 60, "{name}");
        assert_eq!(end.as_second(), last.div_euclid(60) * 60 + 60, "{name}");
    }
}

#[test]
fn the_bundled_capture_gives_what_its_truth_says_also_with_dark_prefixes() {
    let text = std::fs::read_to_string(scenarios().join("first-light.json")).expect("the truth");
    let written: Written = serde_json::from_str(&text).expect("the truth");
    let prefixes = ["203.0.113.0/24", "2001:db8:da2c::/48"]
        .map(|prefix| parse_prefix(prefix).expect("a prefix"));
    for dark in [Dark::any(), Dark::new(&prefixes, &[]).expect("prefixes")] {
        let telescope = Telescope::new().with_dark(dark);
        let mut captures = Captures::open([scenarios().join("first-light.pcap")]).expect("bundled");
        let window = telescope.run(&mut captures).expect("figures");
        assert_truth(&written, &window.snapshot(telescope.dark(), 0));
    }
}

#[test]
fn windows_add_up_to_the_whole() {
    let (bytes, written) = generate("first-light.toml", u64::MAX, None);
    let telescope = Telescope::new()
        .with_window(Duration::from_secs(7))
        .expect("a length");
    let (mut received, mut counted, mut ends) = (0, 0, Vec::new());
    let mut source = captures(&bytes);
    let closed = telescope.run_windows(&mut source, |window| {
        received += window.ledger.received;
        counted += window.ledger.counted;
        let (start, end) = window.edges.expect("no window without packets");
        assert_eq!(start.as_second() % 7, 0);
        assert_eq!(end.duration_since(start).as_secs(), 7);
        ends.push(end);
        ControlFlow::Continue(())
    });
    closed.expect("figures");
    assert_eq!((received, counted), (written.received, written.counted));
    assert!(ends.len() > 15 && ends.is_sorted(), "{ends:?}");
}

#[test]
fn a_run_can_be_broken_off() {
    let (bytes, _) = generate("bench.toml", 100_000, None);
    let telescope = Telescope::new()
        .with_window(Duration::from_millis(1))
        .expect("a length");
    let mut windows = 0;
    let closed = telescope.run_windows(&mut captures(&bytes), |_| {
        windows += 1;
        ControlFlow::Break(())
    });
    closed.expect("broken off, not failed");
    assert_eq!(windows, 1);
}

/// The documents of a replay: that of the whole, or those of the windows.
fn documents(bytes: &[u8], workers: usize, windows: bool, memory: usize) -> String {
    // Estimates depend on the seed.
    let telescope = Telescope::new()
        .with_seed(Seed::fixed(7))
        .with_workers(NonZeroUsize::new(workers).expect("not 0"))
        .and_then(|telescope| telescope.with_window(Duration::from_secs(10)))
        .and_then(|telescope| telescope.with_memory(memory))
        .expect("settings");
    let json = |window: &darknet_core::Window<darknet_core::aggregate::Figures>| {
        let snapshot = window.snapshot(telescope.dark(), 0);
        serde_json::to_string(&snapshot).expect("JSON") + "\n"
    };
    let mut source = captures(bytes);
    if !windows {
        return json(&telescope.run(&mut source).expect("figures"));
    }
    let mut text = String::new();
    let closed = telescope.run_windows(&mut source, |window| {
        text += &json(window);
        ControlFlow::Continue(())
    });
    closed.expect("figures");
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_figures_don_t_depend_on_the_workers(
        seed: u64,
        name in prop::sample::select(vec!["first-light.toml", "surge.toml"]),
        windows: bool,
    ) {
        let (bytes, _) = generate(name, 20_000, Some(seed));
        let one = documents(&bytes, 1, windows, 1 << 30);
        prop_assert!(one.len() > 1000);
        for workers in [2, 8] {
            prop_assert_eq!(&documents(&bytes, workers, windows, 1 << 30), &one, "{} workers", workers);
        }
    }
}

#[test]
fn full_tables_are_said_and_nothing_wrong_is_printed() {
    let (bytes, written) = generate("bench-million.toml", 300_000, None);
    let json = documents(&bytes, 2, false, 4 << 20);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        json["overflow"]["sources"].as_u64() > Some(0),
        "{}",
        json["overflow"]
    );
    for table in ["sources", "networks"] {
        assert!(json[table].is_null(), "{table}");
    }
    assert!(json["hosts"]["all"].is_null() && json["hosts"]["tcp_syn"].is_null());
    assert!(json["tools"]["mirai"]["hosts"].is_null());
    // What does not depend on the tables is as exact as ever.
    let tcp_syn = written.classes["tcp_syn"];
    assert_eq!(json["classes"]["tcp_syn"]["packets"], tcp_syn.packets);
    assert_eq!(
        json["tools"]["mirai"]["packets"],
        written.tools["mirai"].packets
    );
    assert_eq!(json["ledger"]["observed"], written.counted);
}
