//! What was sent to each port, against a count that shares no code with it.

use std::{collections::BTreeMap, fs, io::Cursor, num::NonZeroUsize};

use darknet_core::{
    Captures, Snapshot, Telescope,
    aggregate::{Aggregate, Observation, Seed},
    rules::Payload,
    source::Source,
};
use darknet_tests::{
    naive::{Verdict, classify},
    testdata,
};
use jiff::Timestamp;
use xtask::{cargo::root, scenario::Scenario};

/// A scenario as a capture, with payloads of any length in it.
fn generate(count: u64) -> Vec<u8> {
    let scenario = Scenario::read(root().join("xtask/scenarios/first-light.toml"));
    let mut scenario = scenario.expect("a scenario");
    scenario.count = count;
    for (flow, payload) in scenario
        .flows
        .iter_mut()
        .zip([300, 0, 1_400, 5, 256].iter().cycle())
    {
        flow.payload = flow.payload.map(|_| *payload);
    }
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect("a plan");
    plan.write_pcap(&mut bytes).expect("memory");
    bytes
}

fn captures(bytes: &[u8]) -> Captures {
    Captures::from_reader("capture", Cursor::new(bytes.to_vec())).expect("a capture")
}

/// Class, port, length and the first bytes.
type Key = (String, u16, usize, Vec<u8>);
type Counts = BTreeMap<Key, (u64, Timestamp, Timestamp)>;

fn add(counts: &mut Counts, key: Key, packets: u64, first: Timestamp, last: Timestamp) {
    let sum = counts.entry(key).or_insert((0, first, last));
    *sum = (sum.0 + packets, sum.1.min(first), sum.2.max(last));
}

/// What the definitions say of a capture.
fn expected(captures: &mut Captures) -> Counts {
    let mut counts = Counts::new();
    let mut time = 0;
    while let Some(record) = captures.next().expect("a record") {
        time = record.time.unwrap_or(time);
        let Some(link) = record.link else { continue };
        if let Verdict::Counted(packet) = classify(record.data, link)
            && let (Some(port), Some((mut bytes, length))) = (packet.port, packet.payload)
        {
            bytes.truncate(256);
            let time = Timestamp::from_nanosecond(time.into()).expect("a time");
            let key = (packet.class.name().to_owned(), port, length, bytes);
            add(&mut counts, key, 1, time, time);
        }
    }
    counts
}

fn said(snapshot: &Snapshot) -> Counts {
    let mut counts = Counts::new();
    for row in snapshot.payloads.as_ref().expect("they are sampled") {
        assert_eq!(row.missed, 0);
        let class = row.class.to_string();
        let key = (class, row.port, row.length as usize, row.sample.clone());
        add(&mut counts, key, row.packets, row.first, row.last);
    }
    counts
}

fn telescope(workers: usize) -> Telescope {
    let workers = NonZeroUsize::new(workers).expect("not 0");
    let telescope = Telescope::new().with_seed(Seed::fixed(9));
    telescope.with_workers(workers).expect("not too many")
}

/// Compares, with 1, 2 and 8 workers, and says how many payloads there were.
fn compare(name: &str, bytes: &[u8]) -> usize {
    let expected = expected(&mut captures(bytes));
    let mut documents = [1, 2, 8].map(|workers| {
        let telescope = telescope(workers);
        let window = telescope.run(&mut captures(bytes)).expect("figures");
        let snapshot = window.snapshot(telescope.dark(), 0);
        assert_eq!(snapshot.overflow.payloads, 0, "{name}");
        assert!(said(&snapshot) == expected, "{name}, {workers} workers");
        serde_json::to_string(&snapshot).expect("JSON")
    });
    let first = std::mem::take(&mut documents[0]);
    assert!(documents[1..].iter().all(|other| *other == first), "{name}");
    expected.len()
}

/// Where the records of a pcap file are, with their headers of 16 bytes.
fn records(pcap: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut records = Vec::new();
    let mut at = 24;
    while let Some(length) = pcap.get(at + 8..at + 12) {
        let length = u32::from_ne_bytes(length.try_into().expect("four")) as usize;
        records.push(at..at + 16 + length);
        at += 16 + length;
    }
    records
}

#[test]
fn payloads_are_what_the_definitions_say_whole_and_cut() {
    let whole = generate(20_000);
    assert!(compare("whole", &whole) > 1_000);
    for most in [34, 43, 60, 100, 1_000] {
        let mut cut = whole[..24].to_vec();
        for record in records(&whole) {
            let captured = most.min(record.len() - 16);
            let at = cut.len();
            cut.extend(&whole[record.start..][..16 + captured]);
            cut[at + 8..][..4].copy_from_slice(&(captured as u32).to_ne_bytes());
        }
        compare(&format!("cut to {most}"), &cut);
    }
}

#[test]
fn payloads_of_packets_that_lie_are_what_the_definitions_say() {
    let mut bytes = generate(20_000);
    // Of each packet one byte of its headers, mostly lengths and offsets, and protocol.
    let places = [16, 17, 23, 14, 46, 38, 39, 18, 19, 20, 56, 57, 66];
    let mut payloads = 0;
    for round in 0..3 {
        for (number, record) in records(&bytes).into_iter().enumerate() {
            let frame = &mut bytes[record][16..];
            let place = places[(number + round) % places.len()];
            if let Some(byte) = frame.get_mut(place) {
                *byte = byte.wrapping_mul(31).wrapping_add(number as u8);
            }
        }
        payloads += compare(&format!("round {round}"), &bytes);
    }
    assert!(payloads > 1_000, "{payloads}");
}

#[test]
fn payloads_of_real_captures_are_what_the_definitions_say() {
    let Some(folder) = testdata("payloads_of_real_captures_are_what_the_definitions_say") else {
        return;
    };
    let mut payloads = 0;
    for file in fs::read_dir(folder.join("captures")).expect("captures") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("a file");
        if Captures::from_reader("capture", Cursor::new(bytes.clone())).is_ok() {
            payloads += compare(&path.display().to_string(), &bytes);
        }
    }
    assert!(payloads > 500, "{payloads}");
}

#[test]
fn more_payloads_than_there_is_room_for_are_in_the_overflow_whatever_the_workers() {
    let bytes = generate(60_000);
    let all = expected(&mut captures(&bytes));
    let all: u64 = all.values().map(|(packets, ..)| packets).sum();
    let documents = [1, 2, 8].map(|workers| {
        let telescope = telescope(workers).with_memory(4 << 20).expect("enough");
        let window = telescope.run(&mut captures(&bytes)).expect("figures");
        let snapshot = window.snapshot(telescope.dark(), 0);
        let rows = snapshot.payloads.as_ref().expect("they are sampled");
        let counted: u64 = rows.iter().map(|row| row.packets).sum();
        assert!(snapshot.overflow.payloads > 0);
        assert_eq!(counted + snapshot.overflow.payloads, all);
        serde_json::to_string(&snapshot.payloads).expect("JSON")
    });
    assert!(documents.iter().all(|other| *other == documents[0]));
}

#[test]
fn payloads_that_are_not_sampled_are_not_known() {
    let telescope = telescope(2).with_payloads(false);
    let window = telescope.run(&mut captures(&generate(1_000)));
    let snapshot = window.expect("figures").snapshot(telescope.dark(), 10);
    assert!(snapshot.payloads.is_none());
    assert_eq!(telescope.figures().payload_wanted(), 0);
}

/// The payloads that an embedder's aggregate sees, of which it wants three bytes.
#[derive(Default)]
struct Beginnings(BTreeMap<(Vec<u8>, u32), u64>);

impl Aggregate for Beginnings {
    fn observe(&mut self, _: &Observation) {}

    fn payload_wanted(&self) -> usize {
        3
    }

    fn observe_payload(&mut self, _: &Observation, payload: &Payload<'_>) {
        let Payload { bytes, length } = *payload;
        *self.0.entry((bytes.to_vec(), length)).or_default() += 1;
    }

    fn merge(&mut self, other: &mut Self) {
        for (key, packets) in std::mem::take(&mut other.0) {
            *self.0.entry(key).or_default() += packets;
        }
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

#[test]
fn aggregates_of_embedders_see_as_much_of_payloads_as_they_want_also_of_icmp() {
    let bytes = generate(20_000);
    let mut expected = BTreeMap::new();
    let mut source = captures(&bytes);
    while let Some(record) = source.next().expect("a record") {
        let link = record.link.expect("Ethernet");
        if let Verdict::Counted(packet) = classify(record.data, link)
            && let Some((mut bytes, length)) = packet.payload
        {
            bytes.truncate(3);
            *expected.entry((bytes, length as u32)).or_default() += 1;
        }
    }
    for workers in [1, 3] {
        let mut seen = Beginnings::default();
        let telescope = telescope(workers);
        let run =
            telescope.run_windows_with(&mut captures(&bytes), Beginnings::default, |window| {
                seen.merge(&mut window.aggregate);
                std::ops::ControlFlow::Continue(())
            });
        run.expect("figures");
        assert_eq!(seen.0, expected, "{workers} workers");
    }
}
