//! Merging: whatever is counted where, and merged in whatever order, the figures are the same.

use std::{collections::BTreeMap, net::IpAddr};

use darknet_ebpf::{Class, Link, Outer, Packet, PortTable, Tool, outer};
use proptest::prelude::*;

use super::{Aggregate, Counts, Figures, Observation, Seed, Survey};

/// A packet over IPv4 or IPv6: few sources and ports, so that they meet again, and many ports for
/// some, so that they spill.
fn packet() -> impl Strategy<Value = Packet> {
    let transport = prop_oneof![
        (Just(6u8), 0..=255u8),
        (Just(17u8), Just(0u8)),
        (Just(1u8), Just(0u8)),
        (Just(47u8), Just(0u8)),
    ];
    let port = prop_oneof![0..4u16, any::<u16>()];
    let parts = (any::<bool>(), 0..6u8, transport, port.clone(), port, 0..3u8);
    parts.prop_map(|(v6, host, (protocol, flags), from, to, kind)| {
        let mut transport = vec![0; 20];
        transport[..2].copy_from_slice(&from.to_be_bytes());
        transport[2..4].copy_from_slice(&to.to_be_bytes());
        transport[12] = 0x50;
        transport[13] = flags;
        let protocol = if v6 && protocol == 1 { 58 } else { protocol };
        if matches!(protocol, 1 | 58) {
            transport[0] = kind;
        }
        let mut bytes = vec![0; if v6 { 40 } else { 20 }];
        if v6 {
            (bytes[0], bytes[5], bytes[6]) = (0x60, 20, protocol);
            bytes[23] = host;
        } else {
            (bytes[0], bytes[3], bytes[9]) = (0x45, 40, protocol);
            // ZMap's identification, on some.
            bytes[4..6].copy_from_slice(&(54321 + u16::from(kind)).to_be_bytes());
            bytes[15] = host;
        }
        bytes.extend(transport);
        match outer(&bytes[..], Link::Raw) {
            Outer::Ip(ip) => ip.packet(&bytes[..]).expect("well-formed"),
            _ => panic!("IP"),
        }
    })
}

/// Everything that figures say.
#[derive(Debug, PartialEq)]
struct Said {
    classes: Vec<Counts>,
    tools: Vec<u64>,
    ports: Vec<(PortTable, u16, Counts, u64)>,
    icmp: Vec<(darknet_ebpf::IcmpKey, Counts)>,
    sources: BTreeMap<IpAddr, Counts>,
    hosts: super::hosts::Hosts,
}

fn say(figures: &Figures) -> Said {
    let Figures {
        totals,
        ports,
        icmp,
        survey: Survey { sources, .. },
    } = figures;
    let hosts = sources.port_hosts().expect("room");
    let ports = ports.iter().map(|(table, port, counts)| {
        let hosts = hosts.get(table, port);
        (table, port, counts, hosts)
    });
    Said {
        classes: Class::ALL.map(|class| totals.class(class)).to_vec(),
        tools: Tool::ALL.map(|tool| totals.tool(tool)).to_vec(),
        ports: ports.collect(),
        icmp: icmp.iter().collect(),
        sources: sources.iter().expect("room").collect(),
        hosts: sources.hosts().expect("room"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_associative_and_commutative(
        packets in prop::collection::vec((packet(), 0..4usize), 0..600),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        pairwise: bool,
    ) {
        let seed = Seed::random();
        let new = || Figures::new(1 << 26, &seed);
        let mut whole = new();
        let mut parts = [new(), new(), new(), new()];
        for (packet, part) in &packets {
            let observation = Observation::new(*packet, 0, &seed);
            whole.observe(&observation);
            parts[*part].observe(&observation);
        }
        let mut parts: Vec<Figures> = {
            let mut taken = parts.map(Some);
            order.iter().filter_map(|&at: &usize| taken[at].take()).collect()
        };
        let (mut second, mut first) = (parts.split_off(2), parts);
        if pairwise {
            // (a + b) + (c + d), against ((a + b) + c) + d.
            let mut last = second.pop().expect("four");
            second[0].merge(&mut last);
        }
        let mut rest = first.split_off(1);
        rest.append(&mut second);
        let mut merged = first.pop().expect("four");
        for mut part in rest {
            merged.merge(&mut part);
        }
        prop_assert_eq!(say(&merged), say(&whole));

        // By hand, with collections of the standard library.
        let mut sources: BTreeMap<IpAddr, Counts> = BTreeMap::new();
        let mut places = std::collections::BTreeSet::new();
        for (packet, _) in &packets {
            let source = packet.source.ip(packet.version);
            sources.entry(source).or_default().add(packet.bytes);
            places.extend(PortTable::of(packet).into_iter().flatten().map(|place| (place, source)));
        }
        let said = say(&whole);
        prop_assert_eq!(said.sources, sources);
        prop_assert_eq!(said.ports.iter().map(|row| row.3).sum::<u64>(), places.len() as u64);

        merged.reset();
        prop_assert_eq!(say(&merged), say(&new()));
    }
}

#[test]
fn hosts_of_a_port_are_exact_beyond_what_a_source_keeps_itself() {
    let seed = Seed::random();
    let mut figures = Figures::new(1 << 26, &seed);
    let mut packet = Packet {
        class: Class::TcpSyn,
        ..Packet::MALFORMED
    };
    for _ in 0..2 {
        for port in 0..1000 {
            packet.destination_port = port;
            figures.observe(&Observation::new(packet, 0, &seed));
        }
    }
    let hosts = figures.survey.sources.port_hosts().expect("room");
    assert!((0..1000).all(|port| hosts.get(PortTable::TcpSyn, port) == 1));
    assert_eq!(hosts.get(PortTable::TcpSyn, 1000), 0);
}
