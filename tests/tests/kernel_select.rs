//! What is filtered and what is delivered, in the kernel: neither changes what is counted of the
//! rest. Needs root.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use darknet_core::{
    Dark, Filter, FilterAction, Sample, SampleOf,
    kernel::{Action, BankFigures, Delivery, Kernel, Settings},
    rules::Cell,
};
use darknet_tests::{
    craft::{self, Carried, Random, SYN, claiming},
    privileged,
    program::{assert_whole, load, smallest},
};

fn syn(source: IpAddr, destination: &str) -> Vec<u8> {
    let tcp = Carried::Tcp {
        from: 1,
        to: 23,
        flags: SYN,
    };
    craft::frame(source, destination.parse().expect(destination), tcp)
}

#[test]
fn packets_of_filtered_sources_are_filtered_and_in_no_table() {
    if !privileged("packets_of_filtered_sources_are_filtered_and_in_no_table") {
        return;
    }
    let nets =
        |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| text.parse().expect(text)).collect() };
    let dark = Dark::new(&nets(&["203.0.113.0/24", "2001:db8::/32"]), &[]).expect("valid");
    // One in another, an address, and both ends of the address space.
    let v4 = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "192.0.2.7/32",
        "255.255.255.255/32",
        "0.0.0.0/32",
    ];
    let v6 = ["2001:db8:5::/48", "2001:db8:5:1::/64", "ffff::/16"];
    let cases = [
        ("10.0.0.0", true, false),
        ("10.1.2.3", true, false),
        ("10.255.255.255", true, false),
        ("9.255.255.255", false, false),
        ("11.0.0.0", false, false),
        ("192.0.2.6", false, false),
        ("192.0.2.7", true, false),
        ("192.0.2.8", false, false),
        ("0.0.0.0", true, false),
        ("255.255.255.255", true, false),
        ("2001:db8:5::", false, true),
        ("2001:db8:5:1::9", false, true),
        ("2001:db8:4:ffff:ffff:ffff:ffff:ffff", false, false),
        ("2001:db8:6::", false, false),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, true),
        // The bits of 10.0.0.0 at the start of an IPv6 address.
        ("a00::1", false, false),
    ];
    for (action, expected) in [
        (FilterAction::Drop, Action::Drop),
        (FilterAction::Pass, Action::Pass),
    ] {
        for (lists, with_v4, with_v6) in [
            (&[&v4[..], &v6[..]].concat(), true, true),
            (&v4.to_vec(), true, false),
            (&v6.to_vec(), false, true),
        ] {
            let mut kernel = load(&Settings {
                dark: dark.clone(),
                filter: Filter::new(&nets(lists), action).expect("a filter"),
                delivery: Delivery::Headers,
                ..Settings::default()
            });
            let mut records = kernel.take_records().expect("asked for");
            for (source, in_v4, in_v6) in cases {
                let name = format!("{action:?} {lists:?}: {source}");
                let source: IpAddr = source.parse().expect(source);
                let is_filtered = in_v4 && with_v4 || in_v6 && with_v6;
                let (dark, light) = match source {
                    IpAddr::V4(_) => ("203.0.113.9", "203.0.114.9"),
                    IpAddr::V6(_) => ("2001:db8::9", "2001:db9::9"),
                };
                let elsewhere = kernel.test_run(&syn(source, light), 1).expect(&name);
                assert_eq!(elsewhere.0, Action::Pass, "{name}");
                // Also one whose headers contradict each other: its source is known.
                let whole = syn(source, dark);
                for frame in [claiming(whole.clone(), 50), whole] {
                    let action = kernel.test_run(&frame, 1).expect(&name).0;
                    let expected = if is_filtered { expected } else { Action::Drop };
                    assert_eq!(action, expected, "{name}");
                    assert_eq!(records.poll().is_none(), is_filtered, "{name}");
                }
                let figures = kernel.flip_and_drain().expect("drained");
                let ledger = &figures.ledger;
                assert_eq!(ledger.received, 3, "{name}");
                assert_eq!(ledger.cell(Cell::Passed), 1, "{name}");
                let filtered = if is_filtered { 2 } else { 0 };
                assert_eq!(ledger.cell(Cell::Filtered), filtered, "{name}");
                assert_eq!(ledger.cell(Cell::Delivered), 2 - filtered, "{name}");
                assert_eq!(
                    assert_whole(&figures, &name).packets,
                    2 - filtered,
                    "{name}"
                );
            }
        }
    }
}

/// One kernel program that delivers one in some of `of`, with a ring for each processor that has
/// room for 262,144 records.
fn sampling(one_in: u32, of: SampleOf) -> Kernel {
    load(&smallest(Settings {
        sample: Sample::new(one_in, of).expect("a sample"),
        delivery: Delivery::Headers,
        record_bytes: 16 << 20,
        ..Settings::default()
    }))
}

fn delivered(figures: &BankFigures, sent: u64, name: &str) -> u64 {
    let ledger = &figures.ledger;
    assert_eq!(
        assert_whole(figures, name).packets,
        sent,
        "{name}: all are counted"
    );
    let [delivered, left_out] = [Cell::Delivered, Cell::SampledOut].map(|cell| ledger.cell(cell));
    assert_eq!(delivered + left_out, sent, "{name}: {ledger:?}");
    delivered
}

/// That `hits` of `tries` are what a probability of one in `one_in` gives: within five times the
/// standard deviation, which one run in two million is not.
fn assert_share(hits: u64, tries: u64, one_in: u32, name: &str) {
    let share = 1.0 / f64::from(one_in);
    let expected = tries as f64 * share;
    let deviation = (expected * (1.0 - share)).sqrt();
    let off = (hits as f64 - expected) / deviation;
    eprintln!("{name}: {hits} of {tries}, {off:+.1} standard deviations off");
    assert!(
        off.abs() < 5.0,
        "{name}: {hits} of {tries}, not one in {one_in}"
    );
}

#[test]
fn one_in_some_packets_is_delivered_and_every_one_counted() {
    if !privileged("one_in_some_packets_is_delivered_and_every_one_counted") {
        return;
    }
    const SENT: u32 = 1_000_000;
    let frame = syn(Ipv4Addr::new(198, 51, 100, 7).into(), "203.0.113.9");
    for one_in in [1, 7, 100, 65_536, u32::MAX] {
        let name = format!("one in {one_in}");
        let mut kernel = sampling(one_in, SampleOf::Packets);
        let mut records = kernel.take_records().expect("asked for");
        // All of them don't fit into the ring.
        let sent = if one_in == 1 { 200_000 } else { SENT };
        kernel.test_run(&frame, sent).expect("ran");
        let figures = kernel.flip_and_drain().expect("drained");
        let delivered = delivered(&figures, sent.into(), &name);
        let read = std::iter::from_fn(|| records.poll()).count() as u64;
        assert_eq!(read, delivered, "{name}: records");
        match one_in {
            1 => assert_eq!(delivered, u64::from(sent)),
            // Two are as rare as an error of five deviations.
            u32::MAX => assert!(delivered < 2, "{delivered}"),
            _ => assert_share(delivered, sent.into(), one_in, &name),
        }
    }
}

#[test]
fn of_a_sampled_network_every_packet_is_delivered() {
    if !privileged("of_a_sampled_network_every_packet_is_delivered") {
        return;
    }
    const KERNELS: usize = 12;
    const NETWORKS: u64 = 2_000;
    const EACH: u64 = 4;
    const ONE_IN: u32 = 10;
    let mut random = Random(17);
    let networks: HashSet<_> = (0..NETWORKS)
        .map(|_| random.below(1 << 24) as u32)
        .collect();
    let mut of_all = HashMap::new();
    for number in 0..KERNELS {
        let name = format!("kernel {number}");
        let mut kernel = sampling(ONE_IN, SampleOf::Networks);
        let mut records = kernel.take_records().expect("asked for");
        for packet in 0..EACH {
            for network in &networks {
                // From other addresses of the network, and to other ports.
                let source = Ipv4Addr::from_bits(network << 8 | (packet as u32 + 1));
                kernel
                    .test_run(&syn(source.into(), "203.0.113.9"), 1)
                    .expect("ran");
            }
        }
        let figures = kernel.flip_and_drain().expect("drained");
        let delivered = delivered(&figures, EACH * networks.len() as u64, &name);
        let mut chosen: HashMap<u32, u64> = HashMap::new();
        for header in std::iter::from_fn(|| records.poll()) {
            let packet = header.packet().expect("of this layout");
            *chosen.entry(packet.source.v4() >> 8).or_default() += 1;
        }
        assert!(
            chosen.values().all(|&packets| packets == EACH),
            "{name}: {chosen:?}"
        );
        assert_eq!(chosen.len() as u64 * EACH, delivered, "{name}");
        assert!(chosen.keys().all(|network| networks.contains(network)));
        for network in chosen.into_keys() {
            *of_all.entry(network).or_insert(0) += 1;
        }
    }
    let chosen: usize = of_all.values().sum();
    let tries = (KERNELS * networks.len()) as u64;
    assert_share(chosen as u64, tries, ONE_IN, "networks");
    // Were the seed the same, they would be chosen by all or by none.
    let by_all = of_all
        .values()
        .filter(|&&kernels| kernels == KERNELS)
        .count();
    let share = of_all.len() as f64 / networks.len() as f64;
    assert_eq!(by_all, 0);
    // 1 - 0.9^12
    assert!(
        (0.65..0.78).contains(&share),
        "{share} are chosen by some kernel"
    );
}
