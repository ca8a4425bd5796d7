//! What the kernel program costs: memory, code, and time at the end of a window. Needs root.

use std::{
    collections::HashMap,
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use darknet_core::{
    Dark, Error, Filter, FilterAction, Sample, SampleOf,
    kernel::{Delivery, Kernel, Settings},
};
use darknet_tests::{
    craft::{self, Carried},
    privileged,
    program::{least, load},
};
use ipnet::IpNet;

const MIB: u64 = 1 << 20;

#[test]
fn tables_take_the_memory_that_was_given_and_say_how_much_they_need() {
    if !privileged("tables_take_the_memory_that_was_given_and_say_how_much_they_need") {
        return;
    }
    let prefix = |number: u32| -> IpNet {
        let net = Ipv4Addr::from_bits(number << 9);
        ipnet::Ipv4Net::new(net, 24).expect("a length").into()
    };
    let many: Vec<_> = (0..10_000).map(prefix).collect();
    let plain = Settings::default();
    let records = Settings {
        delivery: Delivery::Headers,
        ..plain.clone()
    };
    let prefixes = Settings {
        dark: Dark::new(&many, &[]).expect("valid"),
        filter: Filter::new(&many, FilterAction::Drop).expect("a filter"),
        ..plain.clone()
    };
    for (name, settings) in [
        ("plain", plain),
        ("records", records),
        ("prefixes", prefixes),
    ] {
        let least = least(&settings);
        let with = |memory| {
            Kernel::load(&Settings {
                memory: Some(memory << 20),
                ..settings.clone()
            })
        };
        match with(least - 1) {
            Err(Error::KernelMemory {
                given,
                least: again,
                ..
            }) => {
                assert_eq!((given, again), (least - 1, least), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        for given in [least, least + 10, 200] {
            let memory = with(given).expect(name).memory();
            eprintln!(
                "{name}: {given} MiB given, {:.2} taken",
                memory as f64 / MIB as f64
            );
            // What outgrows its word, and prefixes, are reckoned generously.
            let given = given as u64 * MIB;
            assert!(
                (given - 4 * MIB..=given).contains(&memory),
                "{name}: {memory} of {given}"
            );
        }
    }
}

#[test]
fn default_tables_take_64_mib_on_a_small_host() {
    if !privileged("default_tables_take_64_mib_on_a_small_host") {
        return;
    }
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    let last = possible.trim().rsplit(['-', ',']).next();
    let last: u64 = last.and_then(|last| last.parse().ok()).expect("a number");
    // 16 MiB for networks, 7.3 for each processor, 2 for all else; the rings, if there are any.
    let many = |ring: u64| (16 + 2 + ring) * MIB + (last + 1) * 73 * MIB / 10;
    let ring = (last + 1) * 4;
    for (delivery, ring) in [(Delivery::None, 0), (Delivery::Headers, ring)] {
        let memory = load(&Settings {
            delivery,
            ..Settings::default()
        })
        .memory();
        eprintln!("{} processors, {delivery:?}: {memory} bytes", last + 1);
        let most = many(ring).max(64 * MIB);
        assert!(memory <= most, "{memory} bytes, not {most}");
    }
}

#[test]
fn what_is_off_is_not_in_the_code() {
    if !privileged("what_is_off_is_not_in_the_code") {
        return;
    }
    let nets = |texts: &[&str]| -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    };
    let code = |settings: &Settings| load(settings).footprint().expect("loaded").machine_code;
    let plain = Settings::default();
    let records = Settings {
        delivery: Delivery::Headers,
        ..plain.clone()
    };
    let one = Settings {
        dark: Dark::new(&nets(&["203.0.113.0/24"]), &[]).expect("valid"),
        ..plain.clone()
    };
    let many = (0..17).map(|number| format!("10.{}.0.0/16", 2 * number));
    let many: Vec<_> = many.map(|text| text.parse().expect("a prefix")).collect();
    let filter = |texts| Filter::new(&nets(texts), FilterAction::Drop).expect("a filter");
    let sample = |of| Sample::new(10, of).expect("a sample");
    for (name, less, more) in [
        ("records", &plain, records.clone()),
        (
            "frames",
            &plain,
            Settings {
                delivery: Delivery::Frames,
                ..plain.clone()
            },
        ),
        (
            "a filter of IPv4",
            &plain,
            Settings {
                filter: filter(&["10.0.0.0/8"]),
                ..plain.clone()
            },
        ),
        (
            "a filter of IPv6",
            &plain,
            Settings {
                filter: filter(&["2001:db8::/32"]),
                ..plain.clone()
            },
        ),
        (
            "a sample of packets",
            &records,
            Settings {
                sample: sample(SampleOf::Packets),
                ..records.clone()
            },
        ),
        (
            "a sample of networks",
            &records,
            Settings {
                sample: sample(SampleOf::Networks),
                ..records.clone()
            },
        ),
        (
            "networks by port",
            &plain,
            Settings {
                networks_by_port: true,
                ..plain.clone()
            },
        ),
        (
            "idling",
            &plain,
            Settings {
                idle: 1,
                ..plain.clone()
            },
        ),
        (
            "a trie",
            &one,
            Settings {
                dark: Dark::new(&many, &[]).expect("valid"),
                ..plain.clone()
            },
        ),
    ] {
        let [less, more] = [code(less), code(&more)];
        eprintln!("{name}: {more} bytes of code, {less} without");
        assert!(more > less, "{name}: {more} bytes of code, {less} without");
    }
    // Nobody asks for records: how they would be sampled is nobody's business.
    let unread = Settings {
        sample: sample(SampleOf::Networks),
        ..plain.clone()
    };
    assert_eq!(code(&unread), code(&plain));
}

/// The time that `flip_and_drain` takes, all of it: changing the bank, waiting for the programs,
/// reading 131,072 networks into a map and cleaning the bank.
#[test]
fn many_networks_are_drained_in_a_moment() {
    if !privileged("many_networks_are_drained_in_a_moment") {
        return;
    }
    const NETWORKS: u32 = 131_072;
    let mut kernel = load(&Settings::default());
    let udp = Carried::Udp { from: 1, to: 2 };
    let to = Ipv4Addr::new(203, 0, 113, 9).into();
    let mut took: Vec<Duration> = Vec::new();
    for turn in 0..5 {
        for network in 0..NETWORKS {
            let source = Ipv4Addr::from_bits(network << 8 | 1);
            let frame = craft::frame(source.into(), to, udp);
            kernel.test_run(&frame, 1).expect("ran");
        }
        let begun = Instant::now();
        let figures = kernel.flip_and_drain().expect("drained");
        took.push(begun.elapsed());
        let networks: HashMap<_, _> = figures.networks.iter().collect();
        assert_eq!(networks.len(), NETWORKS as usize, "turn {turn}");
        assert!(figures.networks.is_complete(), "turn {turn}");
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    eprintln!("{NETWORKS} networks drained in {took:?}");
    // A build for tests is not what windows are cut with.
    if !cfg!(debug_assertions) {
        assert!(median < Duration::from_millis(150), "{took:?}");
    }
}
