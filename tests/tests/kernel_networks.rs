//! Source networks in the kernel, by class and port, and more of them than there is room for.
//! Needs root.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_core::{
    aggregate::Counts,
    kernel::{Kernel, Settings},
    rules::{Link, Outer, PortTable, outer},
};
use darknet_tests::{
    craft::{self, Carried, Random, SYN, SYN_ACK},
    privileged,
    program::{assert_whole, load, smallest},
};
use ipnet::IpNet;

fn network_of(source: IpAddr) -> IpNet {
    let length = if source.is_ipv4() { 24 } else { 48 };
    IpNet::new(source, length).expect("a length").trunc()
}

/// A packet of one of many kinds, from one of `networks` of either version.
fn mixed(random: &mut Random, networks: u64) -> (IpAddr, Vec<u8>) {
    let (network, host) = (random.below(networks), random.below(200) as u32 + 1);
    let (source, to): (IpAddr, IpAddr) = match random.below(3) {
        0 => {
            let source = u128::from(network) << 80 | 0x2a00 << 112 | u128::from(host);
            let to = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
            (Ipv6Addr::from_bits(source).into(), to.into())
        }
        _ => {
            let source = (network as u32) << 8 | 0x0b00_0000 | host;
            (
                Ipv4Addr::from_bits(source).into(),
                Ipv4Addr::new(203, 0, 113, 9).into(),
            )
        }
    };
    // Few ports, so that keys come again, and both ends.
    let mut port = || [0, 1, 23, 443, u16::MAX][random.below(5) as usize];
    let (from, to_port) = (port(), port());
    let tcp = |flags| Carried::Tcp {
        from,
        to: to_port,
        flags,
    };
    let carried = match random.below(6) {
        0 => tcp(SYN),
        1 => tcp(SYN_ACK),
        2 => tcp(0x10),
        3 | 4 => Carried::Udp { from, to: to_port },
        _ => Carried::Icmp { kind: 128, code: 0 },
    };
    let frame = craft::frame(source, to, carried);
    let bytes = 60 + random.below(1400) as usize;
    (source, craft::claiming(frame, bytes))
}

/// The tables that networks are told apart by: the source port of TCP backscatter is the service
/// that was attacked.
type Key = (PortTable, u16, IpNet);

#[test]
fn networks_by_class_and_port_are_what_a_map_of_them_says() {
    if !privileged("networks_by_class_and_port_are_what_a_map_of_them_says") {
        return;
    }
    let load = |networks_by_port| {
        load(&Settings {
            networks_by_port,
            ..Settings::default()
        })
    };
    let mut apart = load(true);
    let mut together = load(false);
    let mut random = Random(19);
    for turn in 0..3 {
        let mut expected: HashMap<Key, Counts> = HashMap::new();
        let mut of_networks: HashMap<IpNet, Counts> = HashMap::new();
        for _ in 0..60_000 {
            let (source, frame) = mixed(&mut random, 8_000);
            for kernel in [&apart, &together] {
                kernel.test_run(&frame, 1).expect("ran");
            }
            let Outer::Ip(ip) = outer(&frame[..], Link::Ethernet) else {
                panic!("IP: {frame:02x?}");
            };
            let packet = ip.packet(&frame[..]).expect("whole");
            let counts = Counts {
                packets: 1,
                bytes: craft::bytes(&frame),
            };
            *of_networks.entry(network_of(source)).or_default() += counts;
            if let [Some((table, port)), _] = PortTable::of(&packet) {
                *expected
                    .entry((table, port, network_of(source)))
                    .or_default() += counts;
            }
        }
        let by_port = apart.flip_and_drain().expect("drained");
        let plain = together.flip_and_drain().expect("drained");
        for figures in [&by_port, &plain] {
            assert_whole(figures, &format!("turn {turn}"));
            assert!(figures.networks.is_complete(), "turn {turn}");
            let networks: HashMap<_, _> = figures.networks.iter().collect();
            assert!(networks == of_networks, "turn {turn}: networks");
        }
        let keys = by_port.networks.ports();
        let keys: Vec<_> = keys
            .map(|(table, port, net, counts)| ((table, port, net), counts))
            .collect();
        assert_eq!(keys.len(), expected.len(), "turn {turn}: each key once");
        assert!(
            keys.into_iter().collect::<HashMap<_, _>>() == expected,
            "turn {turn}: keys"
        );
        assert!(expected.len() > 20_000, "{} keys", expected.len());
        assert_eq!(plain.networks.ports().count(), 0);
    }
}

/// A packet from one of the networks that an attack makes up.
fn forged(kernel: &Kernel, network: u32) {
    let source = Ipv4Addr::from_bits(network << 8 | 1);
    let udp = Carried::Udp { from: 1, to: 2 };
    let frame = craft::frame(source.into(), Ipv4Addr::new(203, 0, 113, 9).into(), udp);
    kernel.test_run(&frame, 1).expect("ran");
}

#[test]
fn a_flood_of_networks_is_counted_in_all_and_over_with_its_turn() {
    if !privileged("a_flood_of_networks_is_counted_in_all_and_over_with_its_turn") {
        return;
    }
    // Ten times what the smallest table has room for.
    const FORGED: u32 = 400_000;
    let mut kernel = load(&smallest(Settings::default()));
    for turn in 0..4 {
        let name = format!("turn {turn}");
        let flooded = turn % 2 == 0;
        let networks = if flooded { FORGED } else { 20_000 };
        (0..networks).for_each(|network| forged(&kernel, network));
        let figures = kernel.flip_and_drain().expect("drained");
        assert_eq!(
            assert_whole(&figures, &name).packets,
            u64::from(networks),
            "{name}"
        );
        let kept: HashMap<_, _> = figures.networks.iter().collect();
        let one = Counts {
            packets: 1,
            bytes: 28,
        };
        assert!(
            kept.values().all(|counts| *counts == one),
            "{name}: each has one packet"
        );
        let overflow = figures.networks.overflow();
        assert_eq!(
            kept.len() as u64 + overflow.packets,
            u64::from(networks),
            "{name}"
        );
        assert_eq!(overflow.bytes, 28 * overflow.packets, "{name}");
        assert_eq!(overflow.packets > 300_000, flooded, "{name}: {overflow:?}");
        assert_eq!(figures.networks.is_complete(), !flooded, "{name}");
    }
}
