use std::collections::{BTreeMap, BTreeSet};

use darknet_ebpf::{Address, Class, Packet};
use proptest::prelude::*;

use super::*;
use crate::aggregate::Seed;

const PORTS: [Place; 3] = [
    (PortTable::TcpSyn, 0),
    (PortTable::TcpSyn, 1),
    (PortTable::Udp, 0),
];

fn at(v6: bool, host: u32, (table, port): Place, seed: &Seed) -> Observation {
    let packet = Packet {
        class: if table == PortTable::Udp {
            Class::Udp
        } else {
            Class::TcpSyn
        },
        version: if v6 { Version::V6 } else { Version::V4 },
        source: Address::from_words([host, 0, 0, 0]),
        destination_port: port,
        ..Packet::MALFORMED
    };
    Observation::new(packet, 0, seed)
}

type Said = (Vec<Option<BTreeSet<IpAddr>>>, Vec<Option<u64>>, u64);

fn say(sets: &PortSets) -> Said {
    let addresses = PORTS.map(|(table, port)| Some(sets.addresses(table, port)?.collect()));
    let [a, b, c] = PORTS;
    let questions = [
        sets.hosts(&[a], &[]),
        sets.hosts(&[a, b], &[]),
        sets.hosts(&[a], &[b]),
        sets.hosts(&[c, b], &[a]),
        sets.hosts(&[b], &[a, c]),
    ];
    (addresses.into(), questions.into(), sets.overflow())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_are_exact_or_given_up_wherever_they_were_counted(
        packets in prop::collection::vec((any::<bool>(), 0..60_u32, 0..4_usize, 0..3_usize), 0..400),
        at_most in prop_oneof![0..100_usize, Just(1_000)],
        order in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let seed = Seed::random();
        let new = || PortSets::new(PORTS, at_most);
        let (mut whole, mut parts) = (new(), [new(), new(), new()]);
        let mut truth: BTreeMap<usize, (u64, BTreeSet<IpAddr>)> = BTreeMap::new();
        for &(v6, host, place, part) in &packets {
            // The last one is not watched.
            let observation = at(v6, host << 10, *PORTS.get(place).unwrap_or(&(PortTable::Udp, 1)), &seed);
            whole.observe(&observation);
            parts[part].observe(&observation);
            let (packets, hosts) = truth.entry(place).or_default();
            *packets += 1;
            hosts.insert(observation.packet.source.ip(observation.packet.version));
        }
        let mut merged = new();
        order.iter().for_each(|&part: &usize| merged.merge(&mut parts[part]));
        prop_assert_eq!(say(&merged), say(&whole));

        let truth = [0, 1, 2].map(|place| truth.remove(&place).unwrap_or_default());
        let given_up = truth.iter().filter(|(_, hosts)| hosts.len() > at_most);
        let overflow: u64 = given_up.map(|(packets, _)| packets).sum();
        let [a, b, c] = truth.map(|(_, hosts)| (hosts.len() <= at_most).then_some(hosts));
        let count = |all: &[&Option<BTreeSet<IpAddr>>], none: &[&Option<BTreeSet<IpAddr>>]| {
            let all: Vec<_> = all.iter().map(|set| set.as_ref()).collect::<Option<_>>()?;
            let none: Vec<_> = none.iter().map(|set| set.as_ref()).collect::<Option<_>>()?;
            let is_in = |host: &&IpAddr| all.iter().all(|set| set.contains(host)) && !none.iter().any(|set| set.contains(host));
            Some(all[0].iter().filter(is_in).count() as u64)
        };
        let questions = vec![
            count(&[&a], &[]), count(&[&a, &b], &[]), count(&[&a], &[&b]), count(&[&c, &b], &[&a]), count(&[&b], &[&a, &c]),
        ];
        prop_assert_eq!(say(&whole), (vec![a, b, c], questions, overflow));
        merged.reset();
        prop_assert_eq!(say(&merged), say(&new()));
    }
}

#[test]
fn what_is_not_watched_has_no_figure() {
    let sets = PortSets::new([PORTS[0], PORTS[0]], 10);
    assert_eq!(sets.places().collect::<Vec<_>>(), [PORTS[0]]);
    assert_eq!(sets.hosts(&[PORTS[0]], &[]), Some(0));
    assert_eq!(sets.hosts(&[PORTS[0]], &[PORTS[1]]), None);
    assert_eq!(sets.hosts(&[], &[PORTS[0]]), None);
}

#[test]
fn hosts_that_lie_far_apart_take_the_memory_that_is_stated() {
    let seed = Seed::random();
    let mut sets = PortSets::new([PORTS[0]], 1 << 20);
    // Sixteen in each /16, spread over it.
    for host in 0..1_u32 << 20 {
        sets.observe(&at(false, host << 12, PORTS[0], &seed));
    }
    let statistics = sets.sets[0].1.v4.iter().map(RoaringBitmap::statistics);
    let (mut hosts, mut bytes, mut containers) = (0, 0, 0);
    for of in statistics {
        hosts += of.cardinality;
        bytes +=
            of.n_bytes_array_containers + of.n_bytes_bitset_containers + of.n_bytes_run_containers;
        containers += of.n_containers;
    }
    assert_eq!(hosts, 1 << 20);
    assert!(bytes <= 4 << 20, "{bytes} beside the containers themselves");
    assert!(containers <= 1 << 16);
}
