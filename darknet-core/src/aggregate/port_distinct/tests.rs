use darknet_ebpf::{Address, Class, Packet};
use proptest::prelude::*;

use super::*;
use crate::aggregate::Seed;

fn at(port: u16, host: u32, seed: &Seed) -> Observation {
    let packet = Packet {
        class: Class::TcpSyn,
        source: Address::from_words([host, 0, 0, 0]),
        destination_port: port,
        ..Packet::MALFORMED
    };
    Observation::new(packet, 0, seed)
}

fn say(ports: &PortDistinct) -> (u8, usize, Vec<(PortTable, u16, Estimate)>) {
    (ports.precision, ports.used, ports.iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_and_any_order_of_merging_gives_the_same(
        packets in prop::collection::vec((0..12_u16, 0..40_000_u32, 0..3_usize), 0..4_000),
        memory in 0..30_000_usize,
        order in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let seed = Seed::random();
        let new = || PortDistinct::new(memory);
        let (mut whole, mut parts) = (new(), [new(), new(), new()]);
        for &(port, host, part) in &packets {
            // Most at one port.
            let port = port.saturating_sub(6);
            whole.observe(&at(port, host, &seed));
            parts[part].observe(&at(port, host, &seed));
        }
        prop_assert!(whole.used <= memory || whole.precision == 6);
        let used: usize = whole.ports.iter().map(|kept| kept.bytes(whole.precision)).sum();
        prop_assert_eq!(used, whole.used);
        let mut merged = new();
        for part in order {
            merged.merge(&mut parts[part]);
        }
        prop_assert_eq!(say(&merged), say(&whole));
        merged.reset();
        prop_assert_eq!(say(&merged), say(&new()));
    }
}

#[test]
fn without_room_there_is_less_precision_and_no_port_is_missing() {
    let seed = Seed::random();
    let mut ports = PortDistinct::new(1 << 20);
    let observations: Vec<_> = (0..1_000_u16)
        .flat_map(|port| (0..2_000_u32).map(move |host| (port, host)))
        .map(|(port, host)| at(port, host, &seed))
        .collect();
    ports.observe_batch(&observations);
    assert_eq!(ports.precision(), 10, "1,024 bytes for each of 1,000");
    assert!(ports.memory_used() <= 1 << 20);
    assert_eq!(ports.iter().count(), 1_000);
    for (_, port, estimate) in ports.iter() {
        let off = estimate.count as f64 / 2_000.0 - 1.0;
        assert!(off.abs() < 5.0 * estimate.error, "{port}: {off}");
    }
}
