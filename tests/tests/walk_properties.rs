//! The walk against the naive reference on packets that nobody thought of.

mod generated;

use std::{cell::Cell, collections::BTreeMap};

use darknet_ebpf::{Frame, Link};
use darknet_tests::naive::{LINKS, Verdict, assert_agreement, classify, reproduction, walked};
use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use generated::{Built, Damage, Shape, damage, shape};

/// A frame that takes down how far it was read, and where a read was tried.
struct Watched<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
    tried: Cell<usize>,
}

impl<'a> Watched<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            read: Cell::new(0),
            tried: Cell::new(0),
        }
    }
}

impl Frame for Watched<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N).expect("an offset near the frame");
        self.tried.set(self.tried.get().max(end));
        let bytes = self.bytes.get(offset..end)?;
        self.read.set(self.read.get().max(end));
        bytes.try_into().ok()
    }
}

/// Link header with two tags, IPv6, six of the longest extension headers, and TCP.
const FURTHEST: usize = 20 + 2 * 4 + 40 + 6 * 2048 + 20;

fn config(cases: u32) -> Config {
    Config {
        cases,
        // The shrunk packet is printed as a test; nothing is written beside the sources.
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config(40_000))]

    #[test]
    fn whole_packets_are_what_the_reference_says(shape in shape()) {
        assert_agreement(&shape.build().bytes, shape.link);
    }

    #[test]
    fn damaged_packets_are_what_the_reference_says(
        shape in shape(),
        damage in prop::collection::vec(damage(), 1..5),
    ) {
        let mut frame = shape.build();
        for damage in &damage {
            damage.apply(&mut frame, shape.v6);
        }
        assert_agreement(&frame.bytes, shape.link);
    }

    #[test]
    fn packets_taken_for_another_link_are_what_the_reference_says(
        shape in shape(),
        from in any::<Index>(),
    ) {
        let bytes = shape.build().bytes;
        let from = from.index(bytes.len().min(40));
        for link in LINKS {
            assert_agreement(&bytes, link);
            assert_agreement(&bytes[from..], link);
        }
    }

    #[test]
    fn arbitrary_bytes_are_what_the_reference_says(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        start in select(vec![&[][..], &[0x45], &[0x46, 0, 0, 60], &[0x60], &[0, 0, 0, 2], &[2, 0, 0, 0]]),
    ) {
        let bytes = [start, &bytes].concat();
        for link in LINKS {
            assert_agreement(&bytes, link);
        }
    }

    #[test]
    fn nothing_behind_the_packet_matters(
        shape in shape(),
        change in prop_oneof![Just(0), -100i16..48],
        other in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let v6 = match shape.link {
            Link::Ipv4 => false,
            Link::Ipv6 => true,
            _ => shape.v6,
        };
        let shape = Shape { v6, ..shape };
        let mut frame = shape.build();
        Damage::IpLength(change).apply(&mut frame, shape.v6);
        let Built { bytes, ip, .. } = frame;
        let says = |at: usize| usize::from(u16::from_be_bytes([bytes[ip + at], bytes[ip + at + 1]]));
        // The fixed header is read to know the destination, whatever the length says.
        let end = ip + if shape.v6 { 40 + says(4) } else { says(2).max(20) };
        let watched = Watched::new(&bytes);
        let expected = walked(&watched, shape.link);
        prop_assert!(watched.read.get() <= end, "{}", reproduction(&bytes, shape.link));
        if let Some(kept) = bytes.get(..end) {
            for bytes in [kept, &[kept, &other].concat()] {
                let found = walked(bytes, shape.link);
                prop_assert_eq!(&found, &expected, "{}", reproduction(bytes, shape.link));
            }
        }
    }

    #[test]
    fn reads_stay_inside_the_frame_and_are_tried_near_it(
        shape in shape(),
        damage in prop::collection::vec(damage(), 0..4),
    ) {
        let mut frame = shape.build();
        for damage in &damage {
            damage.apply(&mut frame, shape.v6);
        }
        let bytes = &frame.bytes[..];
        let watched = Watched::new(bytes);
        prop_assert_eq!(walked(&watched, shape.link), walked(bytes, shape.link));
        prop_assert!(watched.read.get() <= bytes.len());
        prop_assert!(watched.tried.get() <= FURTHEST, "{} tried", watched.tried.get());
    }
}

proptest! {
    // Each case is some hundred frames.
    #![proptest_config(config(1000))]

    #[test]
    fn every_prefix_and_every_ip_length_is_what_the_reference_says(shape in shape()) {
        let frame = shape.build();
        for length in 0..frame.bytes.len() {
            assert_agreement(&frame.bytes[..length], shape.link);
        }
        let truth = i16::try_from(frame.end - frame.ip).expect("a short packet");
        let header = if shape.v6 { 40 } else { 0 };
        for change in header - truth..=50 {
            let mut frame = frame.clone();
            Damage::IpLength(change).apply(&mut frame, shape.v6);
            assert_agreement(&frame.bytes, shape.link);
        }
    }
}

/// Properties of packets that are all alike would say nothing.
#[test]
fn the_generated_packets_have_every_fate() {
    let mut runner = TestRunner::deterministic();
    let (mut fates, mut marks) = (BTreeMap::<String, u32>::new(), 0);
    let [mut payloads, mut cut] = [0; 2];
    for _ in 0..2000 {
        let strategy = (shape(), prop::collection::vec(damage(), 0..3));
        let tree = strategy.new_tree(&mut runner).expect("a packet");
        let (shape, damage) = tree.current();
        let mut frame = shape.build();
        for damage in &damage {
            damage.apply(&mut frame, shape.v6);
        }
        let fate = match classify(&frame.bytes, shape.link) {
            Verdict::Passes => "passes".to_owned(),
            Verdict::Unreadable => "unreadable".to_owned(),
            Verdict::Malformed { .. } => "malformed".to_owned(),
            Verdict::Counted(packet) => {
                marks += packet.tools.len();
                if let Some((captured, length)) = &packet.payload {
                    payloads += 1;
                    cut += u32::from(captured.len() < *length);
                }
                format!("{} {:?}", packet.class.name(), packet.version)
            }
        };
        *fates.entry(fate).or_default() += 1;
    }
    for class in [
        "tcp_syn",
        "tcp_backscatter",
        "tcp_other",
        "udp",
        "icmp",
        "icmp_backscatter",
    ] {
        for version in ["V4", "V6"] {
            let seen = fates.get(&format!("{class} {version}")).copied();
            assert!(seen >= Some(5), "{class} {version}: {fates:#?}");
        }
    }
    for fate in [
        "passes",
        "unreadable",
        "malformed",
        "fragment V4",
        "fragment V6",
        "other V4",
    ] {
        assert!(fates.get(fate).copied() >= Some(20), "{fate}: {fates:#?}");
    }
    assert!(marks >= 50, "{marks} marks");
    assert!(
        payloads >= 200 && cut >= 20,
        "{payloads} payloads, {cut} cut"
    );
}
