//! Scenarios through their public API: the same bytes for the same seed, honest truth, checksums,
//! marks, and one clear line for every mistake in a file.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use xtask::scenario::{Class, FrameBuffer, Meaning, Plan, Scenario, Tool, Written};

/// A scenario file of this repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(name)
}

fn scenario(name: &str) -> Scenario {
    Scenario::read(path(name)).expect("a scenario")
}

fn plan(text: &str) -> Plan {
    let scenario = Scenario::from_toml(text).expect("a scenario");
    scenario.compile().expect("a plan")
}

/// The first packets of a scenario file, as a capture.
fn capture(name: &str, count: u64, seed: Option<u64>) -> Vec<u8> {
    let mut scenario = scenario(name);
    scenario.count = count;
    scenario.seed = seed.unwrap_or(scenario.seed);
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect("a plan");
    plan.write_pcap(&mut bytes).expect("a vector takes all");
    bytes
}

/// A scenario whose last table is its only flow, so that keys can be added at its end.
const BASE: &str = "\
seed = 1
count = 100
rate = 10
start = '2021-05-01T00:00:00Z'
[[flow]]
name = 'f'
share = 3
kind = 'syn'
sources = { prefix = '198.51.100.0/24', count = 9 }
destinations = ['203.0.113.0/24']
ports = [{ port = 23 }]
";

/// Calls `check` for every packet.
fn for_each(plan: &Plan, mut check: impl FnMut(u64, &Meaning, &[u8])) {
    let mut frame = FrameBuffer::new();
    for index in 0..plan.count() {
        let meaning = plan.packet(index, &mut frame);
        check(index, &meaning, frame.as_slice());
    }
}

/// FNV-1a: short enough to write here.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn double_word(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

/// What follows the EtherType, and the EtherType.
fn network_layer(frame: &[u8]) -> (u16, &[u8]) {
    let mut at = 12;
    while matches!(word(frame, at), 0x8100 | 0x88a8) {
        at += 4;
    }
    (word(frame, at), &frame[at + 2..])
}

/// The one's complement sum of 16-bit words.
fn one_complement_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for name in ["first-light.toml", "bench.toml", "surge.toml"] {
        let first = capture(name, 2000, None);
        assert_eq!(first, capture(name, 2000, None), "{name}");
        let other = capture(name, 2000, Some(77));
        assert_ne!(first, other, "{name}");
        assert_ne!(first[24..5000], other[24..5000], "{name}");
    }
}

#[test]
fn bytes_are_those_of_every_earlier_version() {
    for (name, expected) in [
        ("first-light.toml", 0xbdaf_daee_5841_a943),
        ("bench.toml", 0x4fe7_ee39_c9b3_909e),
        ("bench-million.toml", 0x9695_a117_38ef_12fb),
        ("bench-hot.toml", 0x5afa_b82e_c085_7a95),
        ("bench-zipf.toml", 0x1ed7_e5f1_7631_5b2a),
        ("bench-65536.toml", 0xcb97_01f4_17a7_16c1),
        ("bench-networks.toml", 0x71a3_acac_eb71_1c64),
        ("surge.toml", 0xc463_90ee_f05c_387b),
    ] {
        let found = fingerprint(&capture(name, 60_000, None));
        assert_eq!(
            found, expected,
            "{name}: {found:#018x}; never change what a seed means"
        );
    }
}

#[test]
fn the_committed_first_light_is_what_the_generator_writes() {
    let plan = scenario("first-light.toml").compile().expect("a plan");
    let mut bytes = Vec::new();
    let mut written = plan
        .write_pcap_with_truth(&mut bytes)
        .expect("a vector takes all");
    written.file = "first-light.pcap".to_owned();
    let pcap = std::fs::read(path("first-light.pcap")).expect("the capture");
    assert!(
        bytes == pcap,
        "run cargo xtask scenario, if this is on purpose"
    );
    let json = std::fs::read_to_string(path("first-light.json")).expect("the truth");
    let committed: Written = serde_json::from_str(&json).expect("truth");
    assert_eq!(written, committed);
    let rewritten = serde_json::to_string(&written).expect("JSON");
    assert_eq!(rewritten + "\n", json, "one line of truth.jsonl");
}

#[test]
fn first_light_has_every_class_tool_and_version() {
    let plan = scenario("first-light.toml").compile().expect("a plan");
    let mut seen = HashSet::new();
    let mut minutes = HashSet::new();
    let mut tools = HashSet::new();
    for_each(&plan, |_, meaning, _| {
        seen.insert((meaning.class, meaning.source.is_ipv4()));
        minutes.insert(meaning.time / 60_000_000_000);
        tools.extend(Tool::ALL.map(|tool| (tool as u8, meaning.tools.contains(tool))));
    });
    for class in Class::ALL {
        assert!(seen.contains(&(Some(class), true)), "{class:?} over IPv4");
        let never_in_version_6 = class == Class::TcpOther;
        assert!(
            never_in_version_6 || seen.contains(&(Some(class), false)),
            "{class:?} over IPv6"
        );
    }
    assert!(seen.contains(&(None, true)), "ARP");
    assert_eq!(minutes.len(), 3, "windows");
    assert_eq!(tools.len(), 6, "{tools:?}");
}

#[test]
fn a_packet_does_not_depend_on_those_made_before_it() {
    let mut scenario = scenario("first-light.toml");
    scenario.count = 3000;
    let plan = scenario.compile().expect("a plan");
    let mut forward = Vec::new();
    for_each(&plan, |_, meaning, frame| {
        forward.push((*meaning, frame.to_vec()));
    });
    let mut frame = FrameBuffer::new();
    for index in (0..plan.count()).rev() {
        let meaning = plan.packet(index, &mut frame);
        let (expected, bytes) = &forward[index as usize];
        assert_eq!(meaning, *expected, "packet {index}");
        assert_eq!(frame.as_slice(), bytes, "packet {index}");
    }
    scenario.count = 100;
    let shorter = scenario.compile().expect("a plan");
    for_each(&shorter, |index, meaning, frame| {
        assert_eq!(
            (*meaning, frame.to_vec()),
            forward[index as usize],
            "count is no input of packet {index}"
        );
    });
}

#[test]
fn times_are_start_plus_index_over_rate() {
    for (resolution, third) in [("microseconds", 333_333_000), ("nanoseconds", 333_333_333)] {
        let plan = plan(&format!(
            "rate = 3\nresolution = {resolution:?}\n{}",
            BASE.replace("rate = 10\n", "")
        ));
        let start = 1_619_827_200_000_000_000;
        for_each(&plan, |index, meaning, _| {
            let expected = match index {
                0 => start,
                1 => start + third,
                3 => start + 1_000_000_000,
                _ => return,
            };
            assert_eq!(meaning.time, expected, "{resolution}, packet {index}");
        });
    }
}

#[test]
fn a_surge_lasts_from_its_first_to_before_its_last_offset() {
    let plan = scenario("surge.toml").compile().expect("a plan");
    let start = 1_619_827_200_000_000_000;
    let mut surge = Vec::new();
    for_each(&plan, |index, meaning, _| {
        if meaning.flow == 4 {
            surge.push(index);
            let offset = (meaning.time - start) / 1_000_000;
            assert!((40_000..60_000).contains(&offset), "packet {index}");
            assert_eq!(meaning.ports.map(|ports| ports.1), Some(9530));
        }
    });
    // 150 of 250 shares in 20,000 packets; four standard deviations are 277.
    assert!(surge.len().abs_diff(12_000) < 277, "{}", surge.len());
    // The first and the last of the surge are within a few packets of its edges.
    assert!(surge[0] < 40_020 && surge[surge.len() - 1] >= 59_980);
}

#[test]
fn every_bench_frame_has_sixty_bytes() {
    for name in [
        "bench.toml",
        "bench-million.toml",
        "bench-hot.toml",
        "bench-zipf.toml",
        "bench-65536.toml",
        "bench-networks.toml",
    ] {
        let mut scenario = scenario(name);
        assert_eq!(scenario.count, 20_000_000, "{name}");
        scenario.count = 100_000;
        let plan = scenario.compile().expect("a plan");
        for_each(&plan, |index, _, frame| {
            assert_eq!(frame.len(), 60, "{name}, packet {index}");
        });
    }
}

#[test]
fn checksums_verify() {
    let mut scenario = scenario("first-light.toml");
    scenario.count = 20_000;
    let plan = scenario.compile().expect("a plan");
    let mut checked = 0;
    for_each(&plan, |index, meaning, frame| {
        let (ether_type, ip) = network_layer(frame);
        let version_4 = ether_type == 0x0800;
        if meaning.class.is_none() {
            assert_eq!(ether_type, 0x0806, "packet {index}");
            return;
        }
        if version_4 {
            assert_eq!(
                one_complement_sum(&[&ip[..20]]),
                0xffff,
                "IPv4, packet {index}"
            );
        }
        if matches!(
            meaning.class,
            Some(Class::Fragment | Class::Other | Class::Malformed)
        ) {
            return;
        }
        let (protocol, addresses, header) = match version_4 {
            true => (ip[9], &ip[12..20], 20),
            false => (ip[6], &ip[8..40], 40),
        };
        let segment = &ip[header..meaning.bytes as usize];
        let pseudo_header = [0, protocol, 0, 0];
        let length = (segment.len() as u16).to_be_bytes();
        let sum = match protocol {
            1 => one_complement_sum(&[segment]),
            _ => one_complement_sum(&[addresses, &pseudo_header, &length, segment]),
        };
        assert_eq!(sum, 0xffff, "protocol {protocol}, packet {index}");
        checked += 1;
    });
    assert!(checked > 15_000, "{checked}");
}

#[test]
fn frames_carry_what_is_meant() {
    let mut scenario = scenario("first-light.toml");
    scenario.count = 20_000;
    let plan = scenario.compile().expect("a plan");
    for_each(&plan, |index, meaning, frame| {
        let (ether_type, ip) = network_layer(frame);
        let (source, destination, header, length): (IpAddr, IpAddr, usize, u32) = match ether_type {
            0x0800 => (
                double_word(ip, 12).to_be_bytes().into(),
                double_word(ip, 16).to_be_bytes().into(),
                20,
                word(ip, 2).into(),
            ),
            0x86dd => (
                <[u8; 16]>::try_from(&ip[8..24]).expect("16 bytes").into(),
                <[u8; 16]>::try_from(&ip[24..40]).expect("16 bytes").into(),
                40,
                u32::from(word(ip, 4)) + 40,
            ),
            _ => return,
        };
        assert_eq!(
            (source, destination),
            (meaning.source, meaning.destination),
            "packet {index}"
        );
        if meaning.class == Some(Class::Malformed) {
            return;
        }
        assert_eq!(length, meaning.bytes, "packet {index}");
        let transport = &ip[header..];
        if let Some(ports) = meaning.ports {
            assert_eq!(
                (word(transport, 0), word(transport, 2)),
                ports,
                "packet {index}"
            );
        }
        if let Some(icmp) = meaning.icmp {
            assert_eq!((transport[0], transport[1]), icmp, "packet {index}");
        }
    });
}

#[test]
fn a_syn_carries_the_marks_that_are_meant_and_no_other() {
    for tools in [
        "",
        "'mirai'",
        "'zmap'",
        "'masscan'",
        "'mirai', 'zmap'",
        "'mirai', 'masscan'",
        "'zmap', 'masscan'",
        "'mirai', 'zmap', 'masscan'",
    ] {
        let text = format!("{BASE}\ntools = [{tools}]").replace("count = 100\n", "count = 80000\n");
        // Ports where one mark brings another most often: 54321 alone allows all three.
        let ports = match tools {
            "'mirai', 'zmap', 'masscan'" => "{ port = 54321 }",
            "'mirai', 'zmap'" | "'mirai', 'masscan'" => "{ port = 54320 }, { from = 1, to = 9 }",
            _ => "{ port = 54321 }, { from = 0, to = 65535 }",
        };
        let plan = plan(&text.replace("{ port = 23 }", ports));
        for_each(&plan, |index, meaning, frame| {
            let ip = &frame[14..];
            let (identification, destination) = (word(ip, 4), double_word(ip, 16));
            let (source_port, port) = (word(ip, 20), word(ip, 22));
            let sequence = double_word(ip, 24);
            for (tool, name, found) in [
                (
                    Tool::Mirai,
                    "mirai",
                    sequence == destination && source_port > 1024,
                ),
                (Tool::Zmap, "zmap", identification == 54321),
                (
                    Tool::Masscan,
                    "masscan",
                    identification == (destination ^ u32::from(port) ^ sequence) as u16,
                ),
            ] {
                let meant = tools.contains(name);
                assert_eq!(found, meant, "[{tools}] packet {index}: {name}");
                assert_eq!(meaning.tools.contains(tool), meant, "[{tools}]: {name}");
            }
        });
    }
}

#[test]
fn sources_are_as_many_as_asked_and_follow_their_ranks() {
    for (sources, zipf) in [
        ("prefix = '198.18.0.0/15', count = 1000, zipf = true", true),
        ("prefix = '198.18.0.0/15', count = 1000", false),
        ("prefix = '198.18.0.0/22', count = 1000", false),
    ] {
        let text = BASE
            .replace("prefix = '198.51.100.0/24', count = 9", sources)
            .replace("count = 100\n", "count = 50000\n");
        let written = plan(&text)
            .write_pcap_with_truth(std::io::sink())
            .expect("a sink takes all");
        let hosts = written.hosts["all"];
        let most = written.sources.values().max().copied().unwrap_or(0);
        // Rank 1 of 1000 has 1 / 7.485 of the packets; equal shares are 50.
        let expected = if zipf { 6300..7100 } else { 50..100 };
        assert!(expected.contains(&most), "{sources}: {most}");
        // Rank 1000 expects 6.7 packets, so nearly all appear.
        assert!((990..=1000).contains(&hosts), "{sources}: {hosts} hosts");
    }
}

#[test]
fn truth_adds_up() {
    for name in ["first-light.toml", "bench.toml", "surge.toml"] {
        let mut scenario = scenario(name);
        scenario.count = 20_000;
        let plan = scenario.compile().expect("a plan");
        let mut with_truth = Vec::new();
        let written = plan
            .write_pcap_with_truth(&mut with_truth)
            .expect("a vector takes all");
        assert!(
            with_truth == capture(name, 20_000, None),
            "{name}: tallying changes no byte"
        );
        assert_eq!(written.received, 20_000, "{name}");
        assert_eq!(
            written.received,
            written.passed + written.counted,
            "{name}: received"
        );
        let packets = |class: &str| written.classes[class].packets;
        let classes: u64 = written.classes.values().map(|figure| figure.packets).sum();
        assert_eq!(written.classes.len(), 9, "{name}");
        assert_eq!(written.counted, classes, "{name}: classes");
        let well_formed = written.counted - packets("malformed");
        assert_eq!(
            written.networks.values().sum::<u64>(),
            well_formed,
            "{name}: networks"
        );
        assert_eq!(
            written.sources.values().sum::<u64>(),
            well_formed,
            "{name}: sources"
        );
        assert_eq!(
            written.icmp.values().sum::<u64>(),
            packets("icmp") + packets("icmp_backscatter"),
            "{name}: icmp"
        );
        for (table, rows) in &written.ports {
            let class = table.trim_end_matches("_destination");
            assert_eq!(
                rows.values().sum::<u64>(),
                packets(class),
                "{name}: {table}"
            );
        }
        for (class, rows) in &written.port_hosts {
            let keys: Vec<&u16> = rows.keys().collect();
            assert_eq!(
                keys,
                written.ports[class].keys().collect::<Vec<_>>(),
                "{name}: {class}"
            );
            for (port, hosts) in rows {
                assert!(
                    *hosts <= written.ports[class][port],
                    "{name}: {class}/{port}"
                );
            }
        }
        assert_eq!(
            written.hosts["all"],
            written.sources.len() as u64,
            "{name}: hosts"
        );
        assert!(written.first < written.last, "{name}: times");
    }
}

#[test]
fn truth_reads_a_line_made_from_tshark() {
    // From truth.jsonl, the shape that the outside check writes.
    let line = r#"{"file": "a.pcap", "received": 2, "passed": 0, "counted": 2,
        "first": "1335958313.152630000", "last": null,
        "classes": {"icmp": {"packets": 2, "bytes": 168}},
        "ports": {"udp": {"53": 1}}, "port_hosts": {"udp": {"53": 1}}, "icmp": {"4/8/0": 2},
        "networks": {"192.168.177.0/24": 1, "2001:db8::/48": 1},
        "sources": {"192.168.177.160": 1, "2001:db8::1": 1},
        "tools": {"mirai": {"packets": 0, "hosts": 0}}, "hosts": {"all": 1, "icmp": 1},
        "tshark": ["tshark: cut short"]}"#;
    let written: Written = serde_json::from_str(line).expect("truth");
    assert_eq!(written.ports["udp"][&53], 1);
    assert_eq!(written.tshark, ["tshark: cut short"]);
    let again: Written =
        serde_json::from_str(&serde_json::to_string(&written).expect("JSON")).expect("truth");
    assert_eq!(written, again);
}

#[test]
fn raw_captures_start_with_the_ip_header_and_have_no_padding() {
    let text = format!("link = 'raw'\n{BASE}");
    let plan = plan(&text);
    let mut bytes = Vec::new();
    plan.write_pcap(&mut bytes).expect("a vector takes all");
    assert_eq!(bytes[20..24], 101_u32.to_le_bytes(), "link type");
    for_each(&plan, |index, meaning, frame| {
        assert_eq!(frame[0], 0x45, "packet {index}");
        assert_eq!(frame.len(), meaning.bytes as usize, "packet {index}");
    });
}
