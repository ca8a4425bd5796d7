use std::collections::BTreeMap;

use darknet_ebpf::{Address, Class, Packet, Version};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

/// A packet of this class from one of many sources.
fn from(class: Class, source: u32, port: u16, time: Nanoseconds, seed: &Seed) -> Observation {
    let packet = Packet {
        class,
        version: Version::V4,
        source: Address::from_words([source, 0, 0, 0]),
        source_port: 7,
        destination_port: port,
        ..Packet::MALFORMED
    };
    Observation::new(packet, time, seed)
}

fn send(payloads: &mut Payloads, packet: &Observation, bytes: &[u8]) {
    let length = bytes.len() as u32;
    payloads.observe_payload(packet, &Payload { bytes, length });
}

/// A port and a payload of a few that come often, of many, or of one that is new.
fn packets() -> impl Strategy<Value = Vec<(u32, u16, u32)>> {
    let packet = (
        0..200_u32,
        0..40_u16,
        prop_oneof![0..3_u32, 0..400_u32, any::<u32>()],
    );
    prop::collection::vec(packet, 0..6_000)
}

fn count(payloads: &mut Payloads, packets: &[(u32, u16, u32)], seed: &Seed) {
    for (time, &(source, port, payload)) in packets.iter().enumerate() {
        let packet = from(Class::Udp, source, port, time as Nanoseconds, seed);
        send(payloads, &packet, &payload.to_be_bytes());
    }
}

/// Every payload lies within its bounds, and nothing is lost.
fn check(payloads: &Payloads, packets: &[(u32, u16, u32)]) {
    let mut truth: BTreeMap<(u16, u32), Vec<Nanoseconds>> = BTreeMap::new();
    for (time, &(_, port, payload)) in packets.iter().enumerate() {
        let times = truth.entry((port, payload)).or_default();
        times.push(time as Nanoseconds);
    }
    let samples = payloads.top(0);
    let counted: u64 = samples.iter().map(|sample| sample.packets).sum();
    assert_eq!(counted + payloads.forgotten(), packets.len() as u64);
    let by_rank = |sample: &PayloadSample| (Reverse(sample.packets), sample.port);
    assert!(samples.is_sorted_by_key(by_rank));
    for sample in samples {
        let bytes = sample.bytes[..].try_into().expect("four bytes");
        let times = truth.remove(&(sample.port, u32::from_be_bytes(bytes)));
        let times = times.expect("one that was sent, once");
        let sent = times.len() as u64;
        assert!((sample.packets..=sample.packets + sample.missed).contains(&sent));
        assert!(times.contains(&sample.first) && times.contains(&sample.last));
        if sample.missed == 0 {
            assert_eq!(
                [sample.first, sample.last],
                [times[0], times[times.len() - 1]]
            );
        }
        assert_eq!((sample.table, sample.length), (PortTable::Udp, 4));
    }
    let most = truth.into_values().map(|times| times.len()).max();
    assert!(most.unwrap_or(0) as u64 <= payloads.missed());
}

#[test]
fn one_that_is_empty_changes_no_memory_whichever_it_is() {
    let seed = Seed::random();
    let new = || Payloads::new(16 << 20, &seed);
    let mut payloads = new();
    // Once many have given way, not all of the room is in use.
    let packets: Vec<_> = (0..80_000).map(|n| (n, 53, n)).collect();
    count(&mut payloads, &packets, &seed);
    assert!(payloads.forgotten() > 0);
    let before = payloads.memory();
    payloads.merge(&mut new());
    assert_eq!(payloads.memory(), before);
    let mut merged = new();
    merged.merge(&mut payloads);
    assert_eq!(merged.memory(), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_truth_lies_within_the_bounds_and_workers_dont_matter(
        packets in packets(), memory in prop_oneof![Just(0), Just(1 << 19), Just(1 << 26)],
        workers in 1..6_usize, order in any::<prop::sample::Index>(),
    ) {
        let seed = Seed::random();
        let new = || Payloads::new(memory, &seed);
        let mut whole = new();
        count(&mut whole, &packets, &seed);
        check(&whole, &packets);
        let mut parts: Vec<Payloads> = (0..workers).map(|_| new()).collect();
        for (time, &(source, port, payload)) in packets.iter().enumerate() {
            let packet = from(Class::Udp, source, port, time as Nanoseconds, &seed);
            send(&mut parts[packet.shard() % workers], &packet, &payload.to_be_bytes());
        }
        parts.rotate_left(order.index(workers));
        let mut merged = new();
        parts.iter_mut().for_each(|part| merged.merge(part));
        prop_assert_eq!(merged.top(0), whole.top(0));
        prop_assert_eq!((merged.missed(), merged.forgotten()), (whole.missed(), whole.forgotten()));
        if memory == 1 << 26 {
            prop_assert_eq!((whole.missed(), whole.forgotten()), (0, 0), "they fit");
        }
    }

    #[test]
    fn windows_may_be_merged_and_the_bounds_hold(
        windows in prop::collection::vec(packets(), 2), memory in prop_oneof![Just(0), Just(1 << 19)],
    ) {
        let seed = Seed::random();
        let mut parts = [(); 2].map(|()| Payloads::new(memory, &seed));
        let mut time = 0;
        for (part, packets) in parts.iter_mut().zip(&windows) {
            for &(source, port, payload) in packets {
                let packet = from(Class::Udp, source, port, time, &seed);
                send(part, &packet, &payload.to_be_bytes());
                time += 1;
            }
        }
        let [mut one, mut other] = parts.clone();
        one.merge(&mut other);
        check(&one, &windows.concat());
        let [mut first, mut second] = parts;
        second.merge(&mut first);
        prop_assert_eq!(one.top(0), second.top(0), "either way round");
        one.reset();
        prop_assert!(one.top(0).is_empty() && one.missed() == 0 && one.forgotten() == 0);
    }
}

#[test]
fn a_flood_of_new_payloads_pushes_out_neither_frequent_ones_nor_those_of_other_ports() {
    let seed = Seed::random();
    let mut payloads = Payloads::new(4 << 20, &seed);
    let room = (4 << 20) / SHARDS / 355;
    let packets = 400_000_u32;
    // A tenth of them is one payload, and some ports have one in all.
    for number in 0..packets {
        let time = number.into();
        let packet = from(Class::Udp, number, 53, time, &seed);
        send(&mut payloads, &packet, &number.to_be_bytes());
        if number % 10 == 0 {
            send(&mut payloads, &packet, b"often");
        }
        if number % 10_000 == 0 {
            let port = 1_000 + (number / 10_000) as u16;
            send(
                &mut payloads,
                &from(Class::Udp, number, port, time, &seed),
                b"once",
            );
        }
    }
    let with_payload = u64::from(packets) * 11 / 10 / SHARDS as u64 * 11 / 10;
    let bound = 3 * with_payload / room as u64 * SHARDS as u64;
    assert!(
        (1..=bound).contains(&payloads.missed()),
        "{}",
        payloads.missed()
    );
    assert!(payloads.forgotten() > u64::from(packets / 2));
    let samples = payloads.top(1);
    let often = &samples[0];
    assert_eq!((often.port, &often.bytes[..]), (53, &b"often"[..]));
    assert!(often.packets + often.missed >= u64::from(packets / 10));
    let all = payloads.top(0);
    let once = all.iter().filter(|sample| sample.bytes == b"once");
    assert_eq!(once.count(), 40, "of each port the one that it has");
    assert!(all.len() <= room * SHARDS);
}

#[test]
fn a_flood_of_new_payloads_has_digests_as_far_as_packets_pay_for_them() {
    let seed = Seed::random();
    let mut payloads = Payloads::new(1 << 30, &seed);
    let packet = from(Class::Udp, 1, 53, 5, &seed);
    let new = |number: u32| -> Vec<u8> {
        let words = (0..75).map(|word| if word == 0 { number } else { word });
        words.flat_map(u32::to_be_bytes).collect()
    };
    let packets = 20_000;
    (0..packets).for_each(|number| send(&mut payloads, &packet, &new(number)));
    let paid = Credit::SAVED + packets / Credit::PRICE;
    let made = |payloads: &Payloads| {
        let samples = payloads.top(0);
        assert_eq!(samples.len(), packets as usize, "all of them are counted");
        let digests = samples.iter().filter_map(|sample| sample.sha256);
        digests.count() as u32
    };
    let before = made(&payloads);
    assert!((paid - 1..=paid).contains(&before), "{before} of {paid}");
    // Short ones pay, and one that comes again has its own.
    (0..Credit::PRICE).for_each(|_| send(&mut payloads, &packet, b"short"));
    send(&mut payloads, &packet, &new(packets - 1));
    let samples = payloads.top(0);
    let again = samples.iter().find(|sample| sample.packets == 2);
    let expected: [u8; 32] = Sha256::digest(new(packets - 1)).into();
    assert_eq!(again.expect("one came twice").sha256, Some(expected));
    payloads.reset();
    (0..packets).for_each(|number| send(&mut payloads, &packet, &new(number)));
    assert_eq!(made(&payloads), before, "each window begins anew");
    // What one worker has no digest of may have one of another.
    let mut other = Payloads::new(1 << 30, &seed);
    send(&mut other, &packet, &new(packets - 1));
    payloads.merge(&mut other);
    assert_eq!(made(&payloads), before + 1);
}

#[test]
fn a_payload_is_what_was_captured_of_it_with_a_digest_if_it_is_whole() {
    let seed = Seed::random();
    let long: Vec<u8> = (0..4_000_u32).map(|at| (at / 7) as u8).collect();
    for (name, bytes, length, is_whole) in [
        ("three bytes", &b"abc"[..], 3, true),
        ("as many as are kept", &long[..256], 256, true),
        ("one more", &long[..257], 257, true),
        ("as many as are looked at", &long[..2_048], 2_048, true),
        ("one more", &long[..2_049], 2_049, false),
        ("cut", &long[..100], 101, false),
        ("cut to nothing", &[], 9, false),
    ] {
        let mut payloads = Payloads::new(1 << 20, &seed);
        let packet = from(Class::TcpSyn, 1, 80, 5, &seed);
        payloads.observe_payload(&packet, &Payload { bytes, length });
        let [sample] = &payloads.top(0)[..] else {
            panic!("{name}: not one");
        };
        let expected: [u8; 32] = Sha256::digest(bytes).into();
        assert_eq!(sample.sha256, is_whole.then_some(expected), "{name}");
        assert_eq!(sample.bytes, bytes[..bytes.len().min(256)], "{name}");
        assert_eq!(sample.length, length, "{name}");
    }
}

#[test]
fn payloads_are_the_same_if_their_length_and_first_bytes_are() {
    let seed = Seed::random();
    let payload = |length: usize, changed: usize| {
        let mut bytes = vec![7; length];
        bytes[changed] = 8;
        bytes
    };
    for (name, one, other, samples) in [
        ("the same", payload(3_000, 0), payload(3_000, 0), 1),
        ("a longer one", payload(3_000, 0), payload(3_001, 0), 2),
        (
            "another behind what is kept",
            payload(3_000, 0),
            payload(3_000, 2_047),
            2,
        ),
        (
            "another behind what is looked at",
            payload(3_000, 2_048),
            payload(3_000, 2_049),
            1,
        ),
    ] {
        let mut payloads = Payloads::new(1 << 20, &seed);
        let packet = from(Class::Udp, 1, 80, 5, &seed);
        send(&mut payloads, &packet, &one);
        send(&mut payloads, &packet, &other);
        assert_eq!(payloads.top(0).len(), samples, "{name}");
    }
}

#[test]
fn each_class_has_its_port_and_other_packets_have_none() {
    let seed = Seed::random();
    let mut payloads = Payloads::new(1 << 20, &seed);
    for class in Class::ALL {
        send(&mut payloads, &from(class, 1, 80, 5, &seed), b"GET /");
    }
    let found: Vec<_> = payloads
        .top(0)
        .iter()
        .map(|sample| (sample.table, sample.port))
        .collect();
    let expected = [
        (PortTable::TcpSyn, 80),
        (PortTable::TcpBackscatter, 7),
        (PortTable::TcpOther, 80),
        (PortTable::Udp, 80),
    ];
    assert_eq!(found, expected);
}

#[test]
fn top_is_of_each_table_so_many_ports_and_of_these_so_many_payloads() {
    let seed = Seed::random();
    let mut payloads = Payloads::new(1 << 24, &seed);
    // Port p has p payloads in TCP and as many in UDP, and its payload n comes n times.
    for (class, port) in [Class::Udp, Class::TcpOther]
        .into_iter()
        .flat_map(|class| (1..6).map(move |port| (class, port)))
    {
        for payload in 1..=port {
            for source in 0..payload {
                send(
                    &mut payloads,
                    &from(class, source.into(), port, 0, &seed),
                    &payload.to_be_bytes(),
                );
            }
        }
    }
    let found = payloads.top(2);
    let found: Vec<_> = found
        .iter()
        .map(|sample| (sample.table, sample.port, sample.packets))
        .collect();
    let (tcp, udp) = (PortTable::TcpOther, PortTable::Udp);
    let expected = [
        (tcp, 5, 5),
        (udp, 5, 5),
        (tcp, 4, 4),
        (tcp, 5, 4),
        (udp, 4, 4),
        (udp, 5, 4),
        (tcp, 4, 3),
        (udp, 4, 3),
    ];
    assert_eq!(found, expected);
    assert_eq!(payloads.top(0).len(), 30);
}

/// Live, each worker has a share of the memory, and what they have goes into one with all of it.
#[test]
fn what_fits_into_shares_of_the_memory_fits_into_the_whole() {
    let seed = Seed::random();
    let mut whole = Payloads::new(4 << 20, &seed);
    for part in 0..4_u32 {
        let mut share = Payloads::new(1 << 20, &seed);
        for source in 0..1_600 {
            let packet = from(Class::Udp, source, 53, 0, &seed);
            send(
                &mut share,
                &packet,
                &[part, source].map(u32::to_be_bytes).concat(),
            );
        }
        assert_eq!(share.forgotten(), 0, "it fits");
        whole.merge(&mut share);
    }
    assert_eq!((whole.forgotten(), whole.missed()), (0, 0));
    assert_eq!(whole.top(0).len(), 4 * 1_600);
    let [(_, bytes)] = whole.memory()[..] else {
        panic!("not one part");
    };
    assert!(bytes <= 4 << 20, "{bytes}");
}

#[test]
fn with_the_least_memory_they_take_what_is_said() {
    let seed = Seed::random();
    let mut payloads = Payloads::new(0, &seed);
    for source in 0..10_000 {
        let packet = from(Class::Udp, source, 53, 0, &seed);
        send(&mut payloads, &packet, &source.to_be_bytes());
    }
    let [(_, bytes)] = payloads.memory()[..] else {
        panic!("not one part");
    };
    assert!((200_000..=270_000).contains(&bytes), "{bytes}");
}
