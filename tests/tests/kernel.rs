//! The kernel program against the byte-slice path, frame by frame, by `BPF_PROG_TEST_RUN`; and on
//! an interface, in a network namespace of the test's own. Needs root.

mod generated;

use std::{
    collections::HashMap,
    fs,
    net::UdpSocket,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use darknet_core::{
    Captures, Dark, Error,
    aggregate::{Aggregate, Census, Icmp, Observation, Ports, Seed, Totals},
    kernel::{Action, BankFigures, Delivery, Kernel, Mode, Records, Settings},
    rules::{Cell, Class, Link, Outer, Packet, PortTable, outer},
    source::Source,
};
use darknet_tests::{
    craft::syn,
    netns::{in_namespace, ip},
    privileged,
    program::{processors, stay_on},
    testdata,
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use generated::{Damage, Shape, damage, shape};

/// What `BPF_PROG_TEST_RUN` takes: an Ethernet header at least.
const FRAME_AT_LEAST: usize = 14;

/// The kernel program and the byte-slice path side by side: every destination is dark, and every
/// record is read at once.
struct Twins {
    kernel: Kernel,
    records: Records,
    seed: Seed,
    passed: u64,
    counted: u64,
    totals: Totals,
    ports: Ports,
    icmp: Icmp,
    sources: Census,
}

impl Twins {
    fn new() -> Self {
        let settings = Settings {
            delivery: Delivery::Headers,
            record_bytes: 1 << 16,
            ..Settings::default()
        };
        let mut kernel = Kernel::load(&settings).expect("the kernel takes the program");
        let seed = Seed::random();
        Self {
            records: kernel.take_records().expect("records were asked for"),
            kernel,
            passed: 0,
            counted: 0,
            totals: Totals::default(),
            ports: Ports::default(),
            icmp: Icmp::default(),
            sources: Census::new(64 << 20, &seed),
            seed,
        }
    }

    /// Both on one frame: the same action, and the same record in every field.
    fn run(&mut self, name: &str, frame: &[u8]) {
        let expected = match outer(frame, Link::Ethernet) {
            Outer::NotIp => None,
            Outer::Unreadable => Some(Packet::MALFORMED),
            Outer::Ip(ip) => Some(ip.packet(frame).unwrap_or(Packet::MALFORMED)),
        };
        let (action, _) = self.kernel.test_run(frame, 1).expect(name);
        let header = self.records.poll();
        let packet = header.map(|header| header.packet().expect("a record of this layout"));
        assert_eq!(packet, expected, "{name}: {frame:02x?}");
        assert!(self.records.poll().is_none(), "{name}: one record");
        match expected {
            None => {
                assert_eq!(action, Action::Pass, "{name}");
                self.passed += 1;
            }
            Some(packet) => {
                assert_eq!(action, Action::Drop, "{name}");
                assert!(header.is_some_and(|header| header.time > 0), "{name}");
                self.counted += 1;
                let observation = Observation::new(packet, 0, &self.seed);
                self.totals.observe(&observation);
                self.ports.observe(&observation);
                self.icmp.observe(&observation);
                if packet.class != Class::Malformed {
                    self.sources.observe(&observation);
                }
            }
        }
    }

    /// The tables of both since the last time, whole.
    fn compare(&mut self, name: &str) {
        let figures = self.kernel.flip_and_drain().expect("drained");
        let BankFigures {
            ledger,
            totals,
            ports,
            icmp,
            networks,
            row_overflow,
            ..
        } = &figures;
        assert_eq!(ledger.received, self.passed + self.counted, "{name}");
        assert_eq!(ledger.counted, self.counted, "{name}");
        for cell in Cell::ALL {
            let expected = match cell {
                Cell::Passed => self.passed,
                Cell::Delivered => self.counted,
                _ => 0,
            };
            assert_eq!(ledger.cell(cell), expected, "{name}: {}", cell.name());
        }
        assert_eq!(*totals, self.totals, "{name}");
        assert!(*ports == self.ports, "{name}: ports");
        assert!(*icmp == self.icmp, "{name}: icmp");
        assert_eq!(row_overflow.packets, 0, "{name}");
        assert!(networks.is_complete(), "{name}");
        let expected = self.sources.networks().expect("room for all sources");
        let networks: HashMap<_, _> = networks.iter().collect();
        assert_eq!(networks, expected, "{name}");
        self.passed = 0;
        self.counted = 0;
        self.totals.reset();
        self.ports.reset();
        self.icmp.reset();
        self.sources.reset();
        let empty = self.kernel.live().expect("read");
        assert_eq!(empty.epoch, figures.epoch + 1);
        assert_eq!(
            empty.ledger,
            darknet_core::Ledger::default(),
            "{name}: a clean bank"
        );
    }

    fn capture(&mut self, path: &Path) -> u64 {
        let name = path.display().to_string();
        let Ok(mut captures) = Captures::open([path]) else {
            return 0;
        };
        let mut frames = 0;
        while let Ok(Some(record)) = captures.next() {
            if record.link == Some(Link::Ethernet) && record.data.len() >= FRAME_AT_LEAST {
                let frame = record.data.to_vec();
                self.run(&format!("{name} {frames}"), &frame);
                frames += 1;
            }
        }
        self.compare(&name);
        frames
    }
}

#[test]
fn captures_are_what_the_byte_slice_path_says() {
    if !privileged("captures_are_what_the_byte_slice_path_says") {
        return;
    }
    let mut twins = Twins::new();
    let scenario = xtask::cargo::root().join("xtask/scenarios/first-light.pcap");
    assert!(twins.capture(&scenario) > 0);
    let Some(folder) = testdata("captures_are_what_the_byte_slice_path_says") else {
        return;
    };
    let mut frames = 0;
    for entry in fs::read_dir(folder.join("captures")).expect("a folder of captures") {
        frames += twins.capture(&entry.expect("an entry").path());
    }
    assert!(frames > 1000, "{frames} frames");
}

#[test]
fn generated_frames_are_what_the_byte_slice_path_says() {
    if !privileged("generated_frames_are_what_the_byte_slice_path_says") {
        return;
    }
    let mut twins = Twins::new();
    let mut runner = TestRunner::deterministic();
    let strategy = (shape(), proptest::collection::vec(damage(), 0..4));
    for number in 0..40_000 {
        let tree = strategy.new_tree(&mut runner).expect("a frame");
        let (shape, damage) = tree.current();
        let shape = Shape {
            link: Link::Ethernet,
            ..shape
        };
        let mut frame = shape.build();
        for damage in &damage {
            Damage::apply(damage, &mut frame, shape.v6);
        }
        if frame.bytes.len() >= FRAME_AT_LEAST {
            twins.run(&format!("generated {number}"), &frame.bytes);
        }
    }
    twins.compare("generated");
}

/// Headers behind the first buffer, which pointers don't reach: the longest walk there is, cut
/// short at every length where something changes.
#[test]
fn headers_in_further_buffers_are_read() {
    if !privileged("headers_in_further_buffers_are_read") {
        return;
    }
    let mut twins = Twins::new();
    for extensions in 1..=7usize {
        let mut frame = vec![0u8; 12];
        frame.extend([0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x86, 0xdd]);
        let payload = extensions * 2048 + 20;
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((payload as u16).to_be_bytes());
        frame.extend([60, 64]);
        frame.extend([0x20; 32]);
        for extension in 1..=extensions {
            let next = if extension == extensions { 6 } else { 60 };
            frame.extend([next, 255]);
            frame.extend([0; 2046]);
        }
        frame.extend([
            0, 1, 0, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
        ]);
        for cut in [0, 1, 19, 20, 21, 2000, 2067, 2068, 2069] {
            let name = format!("{extensions} extension headers, {cut} bytes less");
            twins.run(&name, &frame[..frame.len() - cut]);
        }
    }
    twins.compare("long frames");
}

fn with(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[at] = byte;
    frame
}

#[test]
fn each_frame_ends_in_its_cell() {
    if !privileged("each_frame_ends_in_its_cell") {
        return;
    }
    // Each processor has a ring of records of its own.
    stay_on(processors()[0]);
    let prefixes = ["203.0.113.0/24", "2001:db8::/32"].map(|text| text.parse().expect("a prefix"));
    let excluded = ["203.0.113.5/32".parse().expect("a prefix")];
    let some = Dark::new(&prefixes, &excluded).expect("valid");
    let dark = syn([203, 0, 113, 9]);
    let v6 = |first: u8| {
        let mut frame = vec![0u8; 14];
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
        frame.extend([0x20; 16]);
        frame.extend([0x20, first, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.extend([0; 8]);
        frame
    };
    use Action::{Drop, Pass};
    use Cell::{Delivered, HeadersFull, NotRequested, Passed};
    for (name, dark_space, records, frame, action, cell) in [
        (
            "SYN to a dark address",
            &some,
            false,
            dark.clone(),
            Drop,
            NotRequested,
        ),
        (
            "SYN elsewhere",
            &some,
            false,
            syn([203, 0, 114, 9]),
            Pass,
            Passed,
        ),
        (
            "SYN just below",
            &some,
            false,
            syn([203, 0, 112, 255]),
            Pass,
            Passed,
        ),
        (
            "SYN to the excluded address",
            &some,
            false,
            syn([203, 0, 113, 5]),
            Pass,
            Passed,
        ),
        ("ARP", &some, false, with(dark.clone(), 13, 6), Pass, Passed),
        (
            "no IP header there",
            &some,
            false,
            dark[..33].to_vec(),
            Pass,
            Passed,
        ),
        (
            "the wrong version",
            &some,
            false,
            with(dark.clone(), 14, 0x65),
            Pass,
            Passed,
        ),
        (
            "no TCP header there",
            &some,
            false,
            dark[..53].to_vec(),
            Drop,
            NotRequested,
        ),
        (
            "IPv6 to a dark address",
            &some,
            false,
            v6(0x01),
            Drop,
            NotRequested,
        ),
        ("IPv6 elsewhere", &some, false, v6(0x02), Pass, Passed),
        ("with records", &some, true, dark.clone(), Drop, Delivered),
        (
            "with records, elsewhere",
            &some,
            true,
            syn([192, 0, 2, 1]),
            Pass,
            Passed,
        ),
        (
            "any",
            &Dark::any(),
            false,
            syn([192, 0, 2, 1]),
            Drop,
            NotRequested,
        ),
        (
            "any, no IP header there",
            &Dark::any(),
            true,
            dark[..33].to_vec(),
            Drop,
            Delivered,
        ),
        (
            "any, ARP",
            &Dark::any(),
            true,
            with(dark.clone(), 13, 6),
            Pass,
            Passed,
        ),
    ] {
        let mut kernel = Kernel::load(&Settings {
            dark: dark_space.clone(),
            delivery: delivery(records),
            record_bytes: 4096,
            ..Settings::default()
        })
        .expect("the kernel takes the program");
        assert_eq!(kernel.test_run(&frame, 1).expect(name).0, action, "{name}");
        let figures = kernel.flip_and_drain().expect("drained");
        assert_eq!(figures.ledger.received, 1, "{name}");
        assert_eq!(figures.ledger.cell(cell), 1, "{name}");
        assert_eq!(figures.ledger.counted, u64::from(cell != Passed), "{name}");
        if cell == Delivered {
            // 4,096 bytes hold 64 records, and one is there.
            kernel.test_run(&frame, 100).expect(name);
            let full = kernel.flip_and_drain().expect("drained").ledger;
            assert_eq!((full.received, full.counted), (100, 100), "{name}");
            let ended = (full.cell(Delivered), full.cell(HeadersFull));
            assert_eq!(ended, (63, 37), "{name}");
        }
    }
}

#[test]
fn networks_that_find_no_room_are_in_the_overflow() {
    if !privileged("networks_that_find_no_room_are_in_the_overflow") {
        return;
    }
    // The least memory that it takes leaves room for 32,768 networks in each bank, or some more.
    let least = match Kernel::load(&Settings {
        memory: Some(1 << 20),
        ..Settings::default()
    }) {
        Err(Error::KernelMemory { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    let mut kernel = Kernel::load(&Settings {
        memory: Some(least << 20),
        ..Settings::default()
    })
    .expect("the kernel takes the program");
    const SENT: u32 = 80_000;
    for turn in 1..=2 {
        for network in 0..SENT {
            let mut frame = syn([203, 0, 113, 9]);
            frame[26..30].copy_from_slice(&(network << 8).to_be_bytes());
            kernel.test_run(&frame, 1).expect("ran");
        }
        let figures = kernel.flip_and_drain().expect("drained");
        let overflow = figures.networks.overflow();
        let kept = figures.networks.iter().count();
        assert_eq!(
            kept as u64 + overflow.packets,
            u64::from(SENT),
            "turn {turn}"
        );
        assert!((32_768..=70_000).contains(&kept), "turn {turn}: {kept}");
        assert_eq!(overflow.bytes, overflow.packets * 40, "turn {turn}");
        assert!(!figures.networks.is_complete(), "turn {turn}");
        assert_eq!(
            figures.networks.total().packets,
            u64::from(SENT),
            "turn {turn}"
        );
    }
}

/// The limits are the kernel's 1,000,000 with room to grow, and what fits the instruction cache.
#[test]
fn the_verifier_takes_it_with_room_to_spare() {
    if !privileged("the_verifier_takes_it_with_room_to_spare") {
        return;
    }
    let many: Vec<_> = (0..16u8)
        .flat_map(|n| {
            [
                format!("10.{}.0.0/16", 2 * n),
                format!("2001:db8:{:x}::/48", 2 * n),
            ]
        })
        .map(|text| text.parse().expect("a prefix"))
        .collect();
    let many = Dark::new(&many, &[]).expect("valid");
    for (name, dark, delivery) in [
        ("any", Dark::any(), Delivery::None),
        ("any, records", Dark::any(), Delivery::Headers),
        ("any, frames", Dark::any(), Delivery::Frames),
        (
            "as many prefixes as fit, records",
            many.clone(),
            Delivery::Headers,
        ),
        ("as many prefixes as fit, frames", many, Delivery::Frames),
    ] {
        let kernel = Kernel::load(&Settings {
            dark,
            delivery,
            ..Settings::default()
        })
        .expect("the kernel takes the program");
        let footprint = kernel.footprint().expect("loaded");
        eprintln!("{name}: {footprint:?}");
        assert!(
            footprint.verified.is_none_or(|count| count < 300_000),
            "{name}: {footprint:?}"
        );
        assert!(footprint.machine_code < 32 << 10, "{name}: {footprint:?}");
    }
}

fn delivery(records: bool) -> Delivery {
    match records {
        true => Delivery::Headers,
        false => Delivery::None,
    }
}

fn telescope(records: bool) -> Kernel {
    Kernel::load(&Settings {
        dark: Dark::new(&["203.0.113.0/24".parse().expect("a prefix")], &[]).expect("valid"),
        delivery: delivery(records),
        ..Settings::default()
    })
    .expect("the kernel takes the program")
}

/// Waits until so many packets are counted: veth delivers from a softirq, a moment later.
fn await_counted(kernel: &Kernel, packets: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while kernel.live().expect("read").ledger.counted < packets {
        assert!(Instant::now() < deadline, "{packets} packets");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_sent_over_an_interface_is_counted_to_the_packet() {
    in_namespace("counts", || {
        let mut kernel = telescope(true);
        let mut records = kernel.take_records().expect("asked for");
        let attachment = kernel.attach("watched0").expect("attached");
        assert_eq!(
            (attachment.mode, attachment.fragments),
            (Mode::Driver, true)
        );
        assert_eq!(attachment.to_string(), "watched0 in driver mode");
        let socket = UdpSocket::bind("198.51.100.7:4000").expect("bound");
        for turn in 0..3 {
            for number in 0..1000u16 {
                let dark = ("203.0.113.9", 7000 + number % 10);
                socket.send_to(b"payload", dark).expect("sent");
                socket
                    .send_to(b"payload", ("192.0.2.1", 7000))
                    .expect("sent");
                // The queue between the two holds 256 frames.
                if number % 100 == 99 {
                    await_counted(&kernel, u64::from(number) + 1);
                }
            }
            kernel.check().expect("still there");
            let figures = kernel.flip_and_drain().expect("drained");
            assert_eq!(figures.epoch, turn);
            assert_eq!(figures.ledger.counted, 1000);
            assert_eq!(figures.ledger.cell(Cell::Delivered), 1000);
            assert!(figures.ledger.cell(Cell::Passed) >= 1000);
            let received = figures.ledger.cell(Cell::Passed) + figures.ledger.counted;
            assert_eq!(figures.ledger.received, received);
            assert_eq!(figures.ports.get(PortTable::Udp, 7003).packets, 100);
            assert_eq!(figures.ports.get(PortTable::Udp, 7003).bytes, 100 * 35);
            let network = "198.51.100.0/24".parse().expect("a network");
            let networks: Vec<_> = figures.networks.iter().collect();
            assert_eq!(networks.len(), 1);
            assert_eq!((networks[0].0, networks[0].1.packets), (network, 1000));
        }
        // Those of several processors are mixed.
        let mut delivered = [0; 3];
        while let Some(header) = records.poll() {
            let packet = header.packet().expect("a packet");
            assert_eq!((packet.source_port, packet.class), (4000, Class::Udp));
            delivered[header.epoch as usize] += 1;
        }
        assert_eq!(delivered, [1000; 3]);
        kernel.detach().expect("detached");
        assert!(!ip(&["link", "show", "watched0"]).contains("xdp"));
        socket
            .send_to(b"payload", ("203.0.113.9", 7000))
            .expect("sent");
        thread::sleep(Duration::from_millis(50));
        // Neighbour discovery may have come before, and passed.
        assert_eq!(kernel.live().expect("read").ledger.counted, 0);
    });
}

/// Packets that the sender's side dropped, as the receiver's queue was full.
fn dropped() -> u64 {
    let said = ip(&["-json", "-statistics", "link", "show", "sender0"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    said[0]["stats64"]["tx"]["dropped"]
        .as_u64()
        .expect("a number")
}

/// Two processors count while banks are flipped: no packet is lost between the two, and each is in
/// all tables of the same turn.
#[test]
fn flipping_under_load_loses_nothing() {
    in_namespace("flips", || {
        const AT_LEAST: u64 = 120_000;
        let mut kernel = telescope(false);
        kernel.attach("watched0").expect("attached");
        let enough = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..2u16)
            .map(|number| {
                let enough = Arc::clone(&enough);
                thread::spawn(move || {
                    let socket = UdpSocket::bind(("198.51.100.7", 4000 + number)).expect("bound");
                    let mut sent = 0u64;
                    while !enough.load(Ordering::Relaxed) {
                        let dark = ("203.0.113.9", 1 + (sent % 1000) as u16);
                        socket.send_to(b"payload", dark).expect("sent");
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let (mut counted, mut turns, mut over) = (0, 0, false);
        while !over {
            enough.store(counted >= AT_LEAST && turns >= 10, Ordering::Relaxed);
            over = senders.iter().all(thread::JoinHandle::is_finished);
            if over {
                thread::sleep(Duration::from_millis(50));
            }
            let figures = kernel.flip_and_drain().expect("drained");
            let udp = figures.totals.class(Class::Udp);
            let ports = figures.ports.iter().map(|(_, _, counts)| counts.packets);
            assert_eq!(figures.ledger.counted, udp.packets, "turn {turns}");
            assert_eq!(ports.sum::<u64>(), udp.packets, "turn {turns}");
            assert_eq!(
                figures.networks.total().packets,
                udp.packets,
                "turn {turns}"
            );
            assert_eq!(
                figures.ledger.cell(Cell::NotRequested),
                udp.packets,
                "turn {turns}"
            );
            counted += udp.packets;
            turns += 1;
        }
        let sent = senders.into_iter().map(|sender| sender.join());
        let sent: u64 = sent.map(|sent| sent.expect("sent all")).sum();
        assert_eq!(counted + dropped(), sent, "in {turns} turns");
    });
}

#[test]
fn what_is_in_the_way_is_named() {
    in_namespace("refusals", || {
        let mut first = telescope(false);
        let error = first
            .attach("other")
            .expect_err("there is none")
            .to_string();
        assert!(error.starts_with("other: no such interface"), "{error}");
        let id = first.attach("watched0").expect("attached").program;
        let mut second = telescope(false);
        let error = second.attach("watched0").expect_err("taken").to_string();
        assert!(
            error.contains(&format!("darknet_frags (id {id})")),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        second.attach("sender0").expect("the other is free");
        drop(first);
        assert!(
            !ip(&["link", "show", "watched0"]).contains("xdp"),
            "dropped is detached"
        );
        let mut third = telescope(false);
        third.attach("watched0").expect("free again");
    });
}

#[test]
fn an_interface_that_disappears_is_noticed_and_its_counts_stand() {
    in_namespace("gone", || {
        let mut kernel = telescope(false);
        kernel.attach("watched0").expect("attached");
        let socket = UdpSocket::bind("198.51.100.7:4000").expect("bound");
        socket
            .send_to(b"payload", ("203.0.113.9", 7000))
            .expect("sent");
        await_counted(&kernel, 1);
        assert_eq!(kernel.missed().expect("asked"), 0, "veth has room");
        ip(&["link", "delete", "watched0"]);
        for error in [
            kernel.check().expect_err("gone"),
            kernel.missed().expect_err("gone"),
        ] {
            let expected = "watched0: the interface has disappeared";
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        assert_eq!(kernel.flip_and_drain().expect("drained").ledger.counted, 1);
        kernel.detach().expect("detached");
    });
}
