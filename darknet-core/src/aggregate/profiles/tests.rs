use std::collections::{BTreeMap, BTreeSet};

use darknet_ebpf::{Address as Words, Tools};
use proptest::prelude::*;

use super::{super::frequent::Frequent, *};

/// What a profile says, by hand.
#[derive(Default)]
struct Truth {
    packets: u64,
    first: Option<i64>,
    last: Option<i64>,
    scans: u32,
    ports: BTreeSet<u16>,
    destinations: BTreeSet<u32>,
    probes: u32,
    zmap: u32,
}

fn packet(v6: bool, host: u32, class: Class, port: u16, destination: u32, zmap: bool) -> Packet {
    Packet {
        class,
        version: if v6 { Version::V6 } else { Version::V4 },
        source: Words::from_words([host, 0, 0, 0]),
        destination: Words::from_words([destination, 0, 0, 0]),
        destination_port: port,
        tools: Tools::from_bits(u8::from(zmap && !v6 && class == Class::TcpSyn) << 1)
            .expect("ZMap's"),
        ..Packet::MALFORMED
    }
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let host = prop_oneof![4 => 0..6_u32, 1 => any::<u32>()];
    let port = prop_oneof![0..20_u16, 0..90_u16];
    let parts = (
        prop::bool::weighted(0.3),
        host,
        0..9_usize,
        port,
        0..40_u32,
        any::<bool>(),
    );
    let packet = parts.prop_map(|(v6, host, class, port, destination, zmap)| {
        packet(v6, host, Class::ALL[class], port, destination, zmap)
    });
    prop::collection::vec(packet, 0..1_500)
}

fn near(estimate: Estimate, truth: usize, exact_to: usize) -> bool {
    let off = (estimate.count as f64 - truth as f64).abs();
    estimate.is_exact() == (truth <= exact_to) && off <= truth as f64 * 6.0 * estimate.error
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn profiles_say_what_the_sources_did_and_workers_and_windows_dont_matter(
        packets in packets(), workers in 1..5_usize, windows in 1..4_usize, turn in 0..4_usize,
    ) {
        let seed = Seed::random();
        let new = || Profiles::new(1 << 24, &seed);
        let mut whole = new();
        let mut parts: Vec<Profiles> = (0..workers * windows).map(|_| new()).collect();
        let mut truth: BTreeMap<IpAddr, Truth> = BTreeMap::new();
        for (n, packet) in packets.iter().enumerate() {
            // Times that go back too.
            let time = (n as i64 * 7) % 1_000 - 500;
            let observation = Observation::new(*packet, time, &seed);
            whole.observe(&observation);
            parts[observation.shard() % workers * windows + n % windows].observe(&observation);
            if packet.class == Class::Malformed {
                continue;
            }
            let truth = truth.entry(packet.source.ip(packet.version)).or_default();
            truth.packets += 1;
            truth.first = Some(truth.first.unwrap_or(time).min(time));
            truth.last = truth.last.max(Some(time));
            truth.destinations.insert(packet.destination.v4());
            if matches!(packet.class, Class::TcpSyn | Class::Udp) {
                truth.scans += 1;
                truth.ports.insert(packet.destination_port);
            }
            if packet.class == Class::TcpSyn && packet.version == Version::V4 {
                truth.probes += 1;
                truth.zmap += u32::from(packet.tools.has(Tool::Zmap));
            }
        }
        let rows = whole.top(0);
        prop_assert_eq!(rows.len(), truth.len());
        for row in &rows {
            let truth = &truth[&row.source];
            prop_assert_eq!((row.packets, row.missed), (truth.packets, 0));
            prop_assert_eq!((Some(row.first), Some(row.last)), (truth.first, truth.last));
            prop_assert_eq!((row.scans, row.probes, row.tool(Tool::Zmap)), (truth.scans, truth.probes, truth.zmap));
            prop_assert_eq!(row.tool(Tool::Mirai) + row.tool(Tool::Masscan), 0);
            prop_assert_eq!(row.has_many_ports, truth.ports.len() >= 30);
            prop_assert!(near(row.ports, truth.ports.len(), 30), "{row:?}");
            prop_assert!(near(row.destinations, truth.destinations.len(), 15), "{row:?}");
        }
        parts.rotate_left(turn % (workers * windows));
        let mut merged = new();
        parts.iter_mut().for_each(|part| merged.merge(part));
        prop_assert_eq!(merged.top(0), rows);
        prop_assert_eq!(merged.forgotten(), Forgotten::default());
    }
}

#[test]
fn large_scale_scanners_stay_through_a_flood_and_the_rest_is_counted() {
    let seed = Seed::random();
    let mut profiles = Profiles::new(2 << 20, &seed);
    let observe = |profiles: &mut Profiles, host, port| {
        let packet = packet(false, host, Class::Udp, port, 1, false);
        profiles.observe(&Observation::new(packet, 0, &seed));
    };
    // One by the rule, and two that lack a port or a packet.
    for n in 0..300_000 {
        observe(&mut profiles, 1, (n % 30) as u16);
        observe(&mut profiles, 2, (n % 29) as u16);
        if n > 0 {
            observe(&mut profiles, 3, (n % 40) as u16);
        }
    }
    let scanners = |profiles: &Profiles| -> Vec<IpAddr> {
        let scanners = profiles.iter().filter(Profile::is_large_scale_scanner);
        scanners.map(|profile| profile.source).collect()
    };
    let one = [IpAddr::from([0, 0, 0, 1])];
    assert_eq!(scanners(&profiles), one);
    // Sources with 300,001 packets each, at one port: all of them have more than the scanner.
    let shard = |host: u32| {
        Observation::new(packet(false, host, Class::Udp, 0, 0, false), 0, &seed).shard()
    };
    let heavy: Vec<u32> = (10..)
        .filter(|&host| shard(host) == shard(1))
        .take(200)
        .collect();
    for round in 0..300_001_u32 {
        // Few rounds for most, so that the test is quick: half of the table is enough.
        let upto = if round < 2_000 { 200 } else { 40 };
        heavy[..upto]
            .iter()
            .for_each(|&host| observe(&mut profiles, host, 1));
    }
    (1_000_000..1_500_000).for_each(|host| observe(&mut profiles, host, 1));
    assert_eq!(scanners(&profiles), one);
    let kept = profiles.top(0);
    let scanner = kept
        .iter()
        .find(|profile| profile.source == one[0])
        .expect("it stayed");
    assert_eq!((scanner.packets, scanner.missed), (300_000, 0));
    let forgotten = profiles.forgotten();
    let counted: u64 = kept.iter().map(|profile| profile.packets).sum();
    let sent = 899_999 + 2_000 * 200 + 298_001 * 40 + 500_000;
    assert_eq!(counted + forgotten.packets, sent);
    assert!(
        forgotten.sources > 400_000 && kept.len() < 6_144,
        "{}",
        kept.len()
    );
}

#[test]
fn where_all_have_to_stay_the_others_are_counted_as_forgotten() {
    let seed = Seed::random();
    let mut table: Frequent<Kept<u32>> = Frequent::new(0);
    let count = |table: &mut Frequent<Kept<u32>>, host: u32, scans| {
        table.count(host, seed.key(host) as u32, &seed, |kept| {
            for port in 0..30 {
                let packet = packet(false, host, Class::Udp, port, 1, false);
                kept.count(&Observation::new(packet, 0, &seed), &seed);
            }
            kept.scans += scans;
        });
    };
    (0..12).for_each(|host| count(&mut table, host, 300_000));
    (12..15).for_each(|host| count(&mut table, host, 0));
    assert_eq!(table.iter().count(), 12, "three quarters of 16");
    assert_eq!(
        table.forgotten(),
        Forgotten {
            sources: 0,
            packets: 3
        }
    );
    assert_eq!(table.missed(), 3);
}
