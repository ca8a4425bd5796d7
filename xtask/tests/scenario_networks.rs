//! The scenarios of `cargo xtask bench lab`: they come from as many networks as they say, and but
//! for the one with few they differ in nothing else.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use xtask::{
    cargo::root,
    scenario::{FrameBuffer, Scenario},
};

fn text(name: &str) -> String {
    let path = root().join("xtask/scenarios").join(name);
    std::fs::read_to_string(path).expect("a scenario")
}

/// Packets by source network of the first `count` packets, and the number of sources.
fn networks(name: &str, count: u64) -> (HashMap<u32, u64>, usize) {
    let scenario = Scenario::from_toml(&text(name)).expect("a scenario");
    assert!(count <= scenario.count, "{name}");
    let plan = scenario.compile().expect("a plan");
    let mut frame = FrameBuffer::new();
    let mut networks = HashMap::new();
    let mut sources = HashSet::new();
    for index in 0..count {
        let IpAddr::V4(source) = plan.packet(index, &mut frame).source else {
            panic!("{name}: packet {index} is not IPv4");
        };
        *networks.entry(source.to_bits() >> 8).or_default() += 1;
        sources.insert(source);
    }
    (networks, sources.len())
}

#[test]
fn each_has_as_many_networks_as_it_says_and_one_source_in_each() {
    // Of m networks, equally likely, n packets leave out m · exp(-n / m).
    for (name, count, expected, most) in [
        ("bench-hot.toml", 10_000, 16..=16, 500..=760),
        // Rank 1 of 100,000 has 1 / 12.09 of the packets, rank 100,000 expects 3.3.
        (
            "bench-zipf.toml",
            4_000_000,
            98_000..=100_000,
            328_000..=334_000,
        ),
        ("bench-65536.toml", 2_000_000, 65_536..=65_536, 45..=80),
        ("bench-networks.toml", 4_000_000, 981_000..=982_500, 12..=30),
    ] {
        let (networks, sources) = networks(name, count);
        assert!(
            expected.contains(&networks.len()),
            "{name}: {} networks",
            networks.len()
        );
        assert_eq!(networks.len(), sources, "{name}: sources");
        let largest = networks.values().max().copied().unwrap_or(0);
        assert!(most.contains(&largest), "{name}: {largest} from one");
    }
}

#[test]
fn without_one_per_network_sources_crowd() {
    let (networks, sources) = networks("bench.toml", 1_000_000);
    // A /10 has 16,384 networks.
    assert!((16_000..=16_384).contains(&networks.len()));
    assert!(sources > 60_000, "{sources}");
}

#[test]
fn only_the_sources_differ_from_those_of_bench() {
    let rest = |name| -> Vec<String> {
        let text = text(name);
        let lines = text.lines();
        let lines = lines.filter(|line| !line.starts_with('#') && !line.starts_with("sources"));
        lines.map(str::to_owned).collect()
    };
    for name in [
        "bench-zipf.toml",
        "bench-65536.toml",
        "bench-networks.toml",
        "bench-million.toml",
    ] {
        assert_eq!(rest(name), rest("bench.toml"), "{name}");
    }
}
