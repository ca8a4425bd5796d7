//! The telescope on the wire, end to end: `darknet run` in a world of the lab. Needs root.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use darknet_tests::{
    documents::{assert_adds_up, number, timeless},
    live::{DARKNET, Run, Signal, darknet, has_program, plan, run, send, syns, until, world},
    privileged,
    truth::assert_document,
};
use serde_json::Value;
use tempfile::TempDir;
use xtask::lab::{Generator, Limits, Mode, Namespace, Options, PlanFrames, Sent, Sink, World};

/// The dark prefixes of the scenarios.
const DARK: [&str; 4] = ["--dark", "203.0.113.0/24", "--dark", "2001:db8:da2c::/48"];
const ALL_ROWS: [&str; 3] = ["--json", "--top", "0"];
const NOTHING: &[&str] = &[];

#[test]
fn what_was_sent_is_what_is_printed_and_what_its_capture_gives() {
    if !privileged("what_was_sent_is_what_is_printed_and_what_its_capture_gives") {
        return;
    }
    let world = world();
    let folder = TempDir::new().expect("a folder");
    let capture = folder.path().join("sent.pcap");
    let wide = ["--dark", "203.0.113.0/24,198.18.0.0/16"];
    for (name, count, dark) in [
        ("first-light.toml", 150_000, &DARK[..]),
        ("bench.toml", 100_000, &wide),
    ] {
        let plan = plan(name, count);
        let file = fs::File::create(&capture).expect("a file");
        plan.write_pcap(file).expect("a capture");
        for dark in [dark, &["--any"]] {
            let arguments = [&ALL_ROWS[..], &["--packets", "headers"], dark].concat();
            let watching = Run::watching(&world, &arguments);
            // What a worker takes that is not optimized, on a processor that it shares.
            let (sent, truth) = send(&world, &plan, Some(300_000));
            let live = watching.document();
            assert_eq!(number(&live["ledger"]["received"]), sent.sent, "{name}");
            assert_adds_up(&live);
            assert_eq!(live["schema"], "darknet.snapshot/1");
            assert_eq!(live["coverage"], 1.0, "{name} {}", live["ledger"]);
            assert_eq!(live["epochs"][0], 0, "{name}");
            assert_document(&truth, &live);

            // Header records carry no payloads.
            let capture = capture.to_str().expect("UTF-8");
            let mut arguments = vec!["replay", capture, "--payloads=false"];
            arguments.extend(ALL_ROWS);
            if dark != ["--any"] {
                arguments.extend(dark);
            }
            let replayed = darknet(world.telescope(), &arguments);
            let replayed = replayed.documents().pop().expect("a document");
            let (live, replayed) = (timeless(live), timeless(replayed));
            let keys = |document: &Value| -> Vec<String> {
                document.as_object().expect("one").keys().cloned().collect()
            };
            assert_eq!(keys(&live), keys(&replayed), "{name}");
            for key in keys(&live) {
                assert!(live[&key] == replayed[&key], "{name}, {dark:?}: {key}");
            }
        }
    }
    assert!(!has_program(world.telescope(), world.interface()));
}

/// The samples of a spread, in which half are at most what nearly all are at most.
fn samples(document: &Value, name: &str) -> u64 {
    let spread = &document["timings"][name];
    let [p50, p99, max] = ["p50", "p99", "max"].map(|key| number(&spread[key]));
    assert!(p50 <= p99 && p99 <= max, "{name}: {spread}");
    number(&spread["samples"])
}

#[test]
fn how_quick_it_was_is_printed_and_shown() {
    if !privileged("how_quick_it_was_is_printed_and_shown") {
        return;
    }
    let world = world();
    let plan = plan("first-light.toml", 50_000);
    for packets in ["headers", "frames", "none"] {
        let arguments = ["--packets", packets, "--window", "1s"];
        let watching = Run::watching(&world, &[&DARK[..], &ALL_ROWS, &arguments].concat());
        send(&world, &plan, Some(50_000));
        let status = || darknet(world.telescope(), &["status", world.interface()]).printed;
        until("a window has closed", || status().contains("window close"));
        assert_eq!(status().contains("receive to observe"), packets != "none");
        let document = watching.document();
        assert!(samples(&document, "close") >= 2, "{packets}");
        assert!(
            number(&document["timings"]["close"]["p50"]) > 1000,
            "{packets}: nanoseconds"
        );
        if packets == "none" {
            let timings = document["timings"].as_object().expect("an object");
            assert_eq!(timings.len(), 1, "{timings:?}");
            continue;
        }
        assert_eq!(
            samples(&document, "drain"),
            samples(&document, "close"),
            "{packets}"
        );
        let batches = samples(&document, "batch");
        assert_eq!(samples(&document, "latency"), batches, "{packets}");
        assert!((10..=50_000).contains(&batches), "{packets}: {batches}");
        // Of 1,024 at most, to one in a hundred.
        let largest = number(&document["timings"]["batch"]["max"]);
        assert!(largest <= 1035, "{packets}: {largest}");
        // A packet waits for a worker that sleeps for milliseconds at most; the machine may be busy.
        let latency = number(&document["timings"]["latency"]["p50"]);
        assert!(
            (1000..1_000_000_000).contains(&latency),
            "{packets}: {latency} ns"
        );
    }
}

#[test]
fn without_packets_the_counts_are_the_same_and_hosts_are_not_known() {
    if !privileged("without_packets_the_counts_are_the_same_and_hosts_are_not_known") {
        return;
    }
    let world = world();
    let plan = plan("first-light.toml", 100_000);
    let document = |how: &str| {
        let arguments = [&DARK[..], &ALL_ROWS, &["--packets", how]].concat();
        let watching = Run::watching(&world, &arguments);
        send(&world, &plan, None);
        watching.document()
    };
    let (with, without) = (document("auto"), document("none"));
    assert_adds_up(&without);
    for table in ["classes", "icmp", "networks"] {
        assert!(with[table] == without[table], "{table}");
    }
    let strip = |document: &Value, table: &str| -> Vec<Value> {
        let value = &document[table];
        let rows = match value.as_object() {
            Some(rows) => rows.values().cloned().collect(),
            None => value.as_array().expect("rows").clone(),
        };
        let stripped = rows.into_iter().map(|mut row| {
            row.as_object_mut().expect("a row").remove("hosts");
            row
        });
        stripped.collect()
    };
    for table in ["ports", "tools"] {
        assert!(strip(&with, table) == strip(&without, table), "{table}");
    }
    let ledger = &without["ledger"];
    assert_eq!(ledger["counted"], with["ledger"]["counted"]);
    assert_eq!(ledger["not_requested"], ledger["counted"]);
    assert_eq!(ledger["delivered"], 0);
    assert_eq!(without["coverage"], 0.0);
    assert!(without["sources"].is_null());
    // The keys stay, their values are not known.
    for table in ["hosts", "tools"] {
        for (key, value) in without[table].as_object().expect("keys") {
            let hosts = value.get("hosts").unwrap_or(value);
            assert!(hosts.is_null(), "{table} {key}: {value}");
        }
    }
    assert!(without["ports"][0]["hosts"].is_null());
}

#[test]
fn windows_are_a_line_each_and_add_up_and_a_duration_ends_them() {
    if !privileged("windows_are_a_line_each_and_add_up_and_a_duration_ends_them") {
        return;
    }
    let world = world();
    let plan = plan("first-light.toml", 100_000);
    let windows = ["--windows", "--window", "1s", "--duration", "5s"];
    let arguments = [&DARK[..], &ALL_ROWS, &windows].concat();
    let begun = Instant::now();
    let watching = Run::watching(&world, &arguments);
    // Two seconds, across the edges of windows.
    let (_, truth) = send(&world, &plan, Some(50_000));
    let ended = watching.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(begun.elapsed() >= Duration::from_secs(5));

    let documents = ended.documents();
    let mut seconds = 0;
    let received = |document: &Value| number(&document["ledger"]["received"]);
    for document in &documents {
        assert_adds_up(document);
        match received(document) {
            0 => assert!(document["coverage"].is_null()),
            _ => assert_eq!(document["coverage"], 1.0),
        }
        let edges = ["start", "end"].map(|edge| document[edge].as_str().expect("a time"));
        let [start, end] = edges.map(|edge| edge.parse::<jiff::Timestamp>().expect("a time"));
        // A machine that had no time for it for longer than a window gets two of them in one.
        let length = end.as_nanosecond() - start.as_nanosecond();
        assert!(length > 0 && length % 1_000_000_000 == 0, "{length}");
        assert_eq!(start.subsec_nanosecond(), 0);
        seconds += length / 1_000_000_000;
    }
    assert!((5..=7).contains(&seconds), "{seconds}");
    for pair in documents.windows(2) {
        assert_eq!(pair[0]["end"], pair[1]["start"], "one after the other");
    }
    let with_packets = documents.iter().filter(|document| received(document) > 0);
    assert!(with_packets.count() >= 2);
    let last = documents.last().expect("some");
    assert_eq!(received(last), 0, "empty windows are printed");
    assert_eq!(last["ports"], serde_json::json!([]));
    assert_eq!(last["hosts"]["all"], 0);

    assert_eq!(documents.iter().map(received).sum::<u64>(), truth.received);
    for (class, figure) in &truth.classes {
        let of = |unit: &str| -> u64 {
            let values = documents.iter();
            values
                .map(|document| number(&document["classes"][class][unit]))
                .sum()
        };
        assert_eq!(
            (of("packets"), of("bytes")),
            (figure.packets, figure.bytes),
            "{class}"
        );
    }
    let rows = |table: &str| -> Vec<Value> {
        let tables = documents.iter();
        let tables = tables.map(|document| document[table].as_array().expect("rows").clone());
        tables.flatten().collect()
    };
    for (class, ports) in &truth.ports {
        let mut sum = std::collections::BTreeMap::<u16, u64>::new();
        for row in rows("ports").iter().filter(|row| row["class"] == **class) {
            let port = u16::try_from(number(&row["port"])).expect("a port");
            *sum.entry(port).or_default() += number(&row["packets"]);
        }
        assert!(sum == *ports, "ports of {class}");
    }
    let mut sources = std::collections::BTreeMap::<String, u64>::new();
    for row in rows("sources") {
        let source = row["source"].as_str().expect("an address").to_owned();
        *sources.entry(source).or_default() += number(&row["packets"]);
    }
    assert_eq!(Some(&(sources.len() as u64)), truth.hosts.get("all"));
    for (source, packets) in &truth.sources {
        assert_eq!(sources.get(&source.to_string()), Some(packets), "{source}");
    }
}

/// Every packet a new network, until the table is full: what the program says in its log arrives.
#[test]
fn a_table_that_is_full_is_told_and_the_sums_stand() {
    if !privileged("a_table_that_is_full_is_told_and_the_sums_stand") {
        return;
    }
    let world = world();
    let run_with = |memory: &str| {
        let mut command = world.telescope().command(&*DARKNET);
        command.args(["run", "--interface", world.interface(), "--any", "--json"]);
        command.args(["--packets", "none", "--kernel-memory", memory]);
        command
    };
    let refused = run(&mut run_with("1"));
    refused.assert_refused("1 MiB", 1, &["too little", "MiB"]);
    let least = refused.said.trim_end().strip_suffix(" MiB");
    let least = least
        .and_then(|said| said.rsplit(' ').next())
        .expect("a number");
    let watching = Run::of(&mut run_with(least));
    let plan = plan("bench-networks.toml", 300_000);
    let (sent, _) = send(&world, &plan, None);
    let ended = watching.end(Signal::TERM);
    let document = ended.documents().pop().expect("a document");
    assert_adds_up(&document);
    assert_eq!(number(&document["ledger"]["received"]), sent.sent);
    assert!(document["networks"].is_null(), "they are not complete");
    assert_eq!(document["faults"], serde_json::json!([]));
    let said = ended.said.lines();
    let said = said.filter(|line| line.contains("no room for more source networks"));
    // Once in each turn on each processor.
    assert!((1..=8).contains(&said.count()), "{}", ended.said);
}

#[test]
fn a_signal_ends_it_with_the_last_window_and_nothing_stays() {
    if !privileged("a_signal_ends_it_with_the_last_window_and_nothing_stays") {
        return;
    }
    let world = world();
    let plan = plan("first-light.toml", 20_000);
    for signal in [Signal::INT, Signal::TERM] {
        for windows in [&["--windows", "--window", "1h"], NOTHING] {
            let arguments = [&DARK[..], &ALL_ROWS, windows].concat();
            let watching = Run::watching(&world, &arguments);
            assert!(has_program(world.telescope(), world.interface()));
            let page = format!("/run/darknet/{}@{}.json", world.interface(), watching.id());
            until("a page", || Path::new(&page).exists());
            let (sent, _) = send(&world, &plan, None);
            let ended = watching.end(signal);
            assert_eq!(ended.code, Some(0), "{signal:?}: {}", ended.said);
            let documents = ended.documents();
            assert_eq!(documents.len(), 1, "{signal:?}");
            assert_eq!(number(&documents[0]["ledger"]["received"]), sent.sent);
            assert!(!has_program(world.telescope(), world.interface()));
            for extension in ["json", "txt", "part"] {
                let page = Path::new(&page).with_extension(extension);
                assert!(!page.exists(), "{signal:?}: {}", page.display());
            }
        }
    }
}

/// What a telescope is told that prints its windows, for a minute at most.
fn printing(window: &str) -> [&str; 7] {
    [
        "--any",
        "--json",
        "--windows",
        "--window",
        window,
        "--duration",
        "60s",
    ]
}

#[test]
fn a_reader_that_leaves_ends_it_with_an_error() {
    if !privileged("a_reader_that_leaves_ends_it_with_an_error") {
        return;
    }
    let world = world();
    let ended = Run::left_by_reader(&world, &printing("200ms"), 1).wait();
    assert_eq!(ended.documents().len(), 1);
    let said = ended.said;
    assert_eq!(ended.code, Some(1), "{said}");
    assert!(said.contains("standard output: Broken pipe"), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(!has_program(world.telescope(), world.interface()));
}

#[test]
fn a_stop_that_was_asked_for_is_no_failure_whoever_reads() {
    if !privileged("a_stop_that_was_asked_for_is_no_failure_whoever_reads") {
        return;
    }
    let world = world();
    // As Ctrl-C does to `darknet run | jq`: the reader is gone when the last window is printed.
    let ended = Run::left_by_reader(&world, &printing("24h"), 0).end(Signal::INT);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn other_destinations_and_excluded_ones_pass() {
    if !privileged("other_destinations_and_excluded_ones_pass") {
        return;
    }
    let world = world();
    let plan = syns(
        60_000,
        &[
            (1, "203.0.113.0/25"),
            (2, "203.0.113.128/25"),
            (3, "192.0.2.0/24"),
            (4, "2001:db8:da2c::/64"),
            (5, "2001:db8:da2c:1::/64"),
            (6, "2001:db8:da2d::/48"),
        ],
    );
    let exclude = ["--exclude", "203.0.113.128/25,2001:db8:da2c:1::/64"];
    let arguments = [&DARK[..], &exclude, &ALL_ROWS].concat();
    let watching = Run::watching(&world, &arguments);
    let (sent, truth) = send(&world, &plan, None);
    let document = watching.document();
    assert_adds_up(&document);
    let of = |port: u16| truth.ports["tcp_syn"][&port];
    let ledger = &document["ledger"];
    assert_eq!(number(&ledger["received"]), sent.sent);
    assert_eq!(number(&ledger["counted"]), of(1) + of(4));
    assert_eq!(number(&ledger["passed"]), of(2) + of(3) + of(5) + of(6));
    let mut rows: Vec<_> = document["ports"].as_array().expect("rows").iter().collect();
    rows.sort_by_key(|row| number(&row["port"]));
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (number(&row["port"]), number(&row["packets"])))
        .collect();
    assert_eq!(rows, [(1, of(1)), (4, of(4))]);
}

/// A TCP session over the link that has to live: one side writes numbered blocks, the other sends
/// all back, and the first compares.
struct Session {
    back: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: [JoinHandle<u64>; 3],
}

/// The telescope's address on the link, and the sender's.
const HERE: &str = "203.0.113.200";
const THERE: &str = "203.0.113.1";
const BLOCK: usize = 8192;

fn block(number: u64) -> [u8; BLOCK] {
    let mut block = [number as u8; BLOCK];
    block[..8].copy_from_slice(&number.to_be_bytes());
    block
}

impl Session {
    fn begin(world: &World) -> Self {
        for (side, interface, mine, theirs, hardware) in [
            (
                world.telescope(),
                world.interface(),
                HERE,
                THERE,
                "02:00:00:00:00:01",
            ),
            (
                world.sender(),
                world.sender_interface(),
                THERE,
                HERE,
                "02:00:00:00:00:02",
            ),
        ] {
            let mine = format!("{mine}/24");
            let address = ["address", "add", &mine, "dev", interface];
            side.ip(&address).expect("an address");
            let neighbour = [
                "neighbour",
                "replace",
                theirs,
                "lladdr",
                hardware,
                "dev",
                interface,
            ];
            side.ip(&[&neighbour[..], &["nud", "permanent"]].concat())
                .expect("a neighbour");
        }
        let address: SocketAddr = format!("{HERE}:4711").parse().expect("an address");
        let listener = world.telescope().enter(|| TcpListener::bind(address));
        let listener = listener.expect("a namespace").expect("a listener");
        let stream = world
            .sender()
            .enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)));
        let stream = stream.expect("a namespace").expect("a stream");
        let (mut echo, _) = listener.accept().expect("a stream");
        for stream in [&stream, &echo] {
            // Silence that long is a broken connection.
            let patience = Some(Duration::from_secs(15));
            stream.set_read_timeout(patience).expect("a timeout");
            stream.set_write_timeout(patience).expect("a timeout");
        }

        let stop = Arc::new(AtomicBool::new(false));
        let back = Arc::new(AtomicU64::new(0));
        let writer = thread::spawn({
            let (mut stream, stop) = (stream.try_clone().expect("a handle"), Arc::clone(&stop));
            move || {
                let mut blocks = 0;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&block(blocks)).expect("it takes all");
                    blocks += 1;
                    sleep(Duration::from_millis(1));
                }
                stream.shutdown(Shutdown::Write).expect("it is open");
                blocks
            }
        });
        let echo = thread::spawn(move || {
            let bytes = std::io::copy(&mut echo.try_clone().expect("a handle"), &mut echo);
            bytes.expect("the session lives") / BLOCK as u64
        });
        let reader = thread::spawn({
            let (mut stream, back) = (stream, Arc::clone(&back));
            move || {
                let mut blocks = 0;
                let mut bytes = [0; BLOCK];
                loop {
                    // The end comes between two blocks.
                    let first = stream.read(&mut bytes).expect("the session lives");
                    if first == 0 {
                        return blocks;
                    }
                    stream
                        .read_exact(&mut bytes[first..])
                        .expect("whole blocks");
                    assert!(bytes == block(blocks), "block {blocks}");
                    blocks += 1;
                    back.store(blocks, Ordering::Relaxed);
                }
            }
        });
        Self {
            back,
            stop,
            threads: [writer, echo, reader],
        }
    }

    /// That the session goes on.
    fn lives(&self, when: &str) {
        let before = self.back.load(Ordering::Relaxed);
        until(when, || self.back.load(Ordering::Relaxed) > before + 5);
    }

    /// Ends it, and says how many blocks went there and back: all.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let [written, echoed, back] = self.threads.map(|thread| thread.join().expect("no error"));
        assert_eq!((written, written), (echoed, back));
        back
    }
}

#[test]
fn a_session_of_the_host_loses_nothing_whatever_happens_to_the_telescope() {
    if !privileged("a_session_of_the_host_loses_nothing_whatever_happens_to_the_telescope") {
        return;
    }
    let world = world();
    let session = Session::begin(&world);
    session.lives("before");
    let dark = ["--dark", "203.0.113.0/24"];

    // The host's own address is dark.
    let refused = [&["run", "--interface", world.interface()], &dark[..]].concat();
    let ended = darknet(world.telescope(), &refused);
    let exclude = format!("--exclude {HERE}");
    ended.assert_refused("the host's own address", 1, &[HERE, &exclude]);
    assert!(!has_program(world.telescope(), world.interface()));
    session.lives("refused");

    let arguments = [&dark[..], &["--exclude", HERE], &ALL_ROWS].concat();
    let plan = syns(50_000, &[(23, "203.0.113.0/25")]);
    let send = || -> Sent {
        let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
        let limits = Limits {
            rate: Some(200_000),
            ..Limits::default()
        };
        let sent = generator.send(&mut PlanFrames::new(&plan), &limits);
        // The session's own frames hide from the generator whether all of its have arrived.
        sleep(Duration::from_millis(100));
        sent.expect("frames")
    };
    for signal in [
        Signal::TERM,
        Signal::KILL,
        Signal::INT,
        Signal::KILL,
        Signal::TERM,
    ] {
        let watching = Run::watching(&world, &arguments);
        session.lives("watching");
        let sent = send();
        session.lives("after dark traffic");
        let ended = watching.end(signal);
        if signal == Signal::KILL {
            assert_eq!(ended.code, None);
            until("detached", || {
                !has_program(world.telescope(), world.interface())
            });
        } else {
            let document = ended.documents().pop().expect("a document");
            assert_adds_up(&document);
            assert_eq!(number(&document["ledger"]["counted"]), sent.sent);
            assert!(number(&document["ledger"]["passed"]) > 5, "the session's");
        }
        assert!(!has_program(world.telescope(), world.interface()));
        session.lives("after the end");
        send();
        session.lives("without a telescope");
    }
    assert!(session.end() > 100);
    // Takes the pages of the killed ones away.
    darknet(world.telescope(), &["status"]);
}

#[test]
fn every_wrong_input_is_one_line_and_attaches_nothing() {
    if !privileged("every_wrong_input_is_one_line_and_attaches_nothing") {
        return;
    }
    let world = world();
    let interface = world.interface();
    let on = |interface, rest: &[&'static str]| -> Vec<&str> {
        [&["run", "--interface", interface], rest].concat()
    };
    let dark = "--dark";
    let cases: Vec<(&str, Vec<&str>, i32, &[&str])> = vec![
        (
            "no interface",
            vec!["run", dark, "203.0.113.0/24"],
            2,
            &["--interface"],
        ),
        (
            "an unknown interface",
            on("nope0", &DARK),
            1,
            &["nope0", "ip link"],
        ),
        (
            "an unknown interface, all dark",
            on("nope0", &["--any"]),
            1,
            &["nope0"],
        ),
        (
            "an empty name",
            on("", &["--any"]),
            1,
            &["no such interface"],
        ),
        (
            "a long name",
            on("an-interface-of-many-letters", &["--any"]),
            1,
            &["no such interface"],
        ),
        (
            "a path",
            on("../dark0", &["--any"]),
            1,
            &["no such interface"],
        ),
        (
            "no dark prefix",
            on(interface, &[]),
            2,
            &["--dark PREFIX", "--any"],
        ),
        (
            "all of IPv4",
            on(interface, &[dark, "0.0.0.0/0"]),
            2,
            &["0.0.0.0/0", "--any"],
        ),
        ("all of IPv6", on(interface, &[dark, "::/0"]), 2, &["::/0"]),
        (
            "all, among others",
            on(interface, &[dark, "203.0.113.0/24,::/0"]),
            2,
            &["::/0"],
        ),
        (
            "host bits",
            on(interface, &[dark, "203.0.113.1/24"]),
            2,
            &["write 203.0.113.0/24"],
        ),
        (
            "no prefix",
            on(interface, &[dark, "dark"]),
            2,
            &["203.0.113.0/24"],
        ),
        (
            "excludes nothing",
            on(
                interface,
                &[dark, "203.0.113.0/24", "--exclude", "192.0.2.1"],
            ),
            2,
            &["192.0.2.1"],
        ),
        (
            "dark and all",
            on(interface, &[dark, "203.0.113.0/24", "--any"]),
            2,
            &["--any"],
        ),
        (
            "packets of what",
            on(interface, &["--any", "--packets", "some"]),
            2,
            &["'some' for '--packets <HOW>' [possible values: frames, headers, none, auto]; "],
        ),
        (
            "a duration that is none",
            on(interface, &["--any", "--duration", "soon"]),
            2,
            &["duration"],
        ),
        (
            "no duration",
            on(interface, &["--any", "--duration", "0s"]),
            2,
            &["more than 0"],
        ),
        (
            "a negative one",
            on(interface, &["--any", "--duration=-5s"]),
            2,
            &["more than 0"],
        ),
        (
            "a window of zero",
            on(interface, &["--any", "--window", "0s"]),
            2,
            &["more than 0"],
        ),
    ];
    for (name, arguments, code, hints) in cases {
        let ended = darknet(world.telescope(), &arguments);
        ended.assert_refused(name, code, hints);
        assert!(!has_program(world.telescope(), interface), "{name}");
    }
}

#[test]
fn a_file_says_what_to_watch_and_what_adds_nothing_is_told_after_the_start() {
    if !privileged("a_file_says_what_to_watch_and_what_adds_nothing_is_told_after_the_start") {
        return;
    }
    let world = world();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("telescope.toml");
    let text = format!(
        "interface = \"{}\"\ndark = [\"10.0.0.0/8\", \"10.1.0.0/16\"]\npackets = \"none\"\n",
        world.interface()
    );
    fs::write(&file, text).expect("a file");
    let run = |rest: &[&str]| {
        let mut command = world.telescope().command(&*DARKNET);
        command.args(["run", "--json", "--config"]).arg(&file);
        Run::of(command.args(rest)).end(Signal::TERM)
    };
    let ended = run(&[]);
    let said: Vec<&str> = ended.said.lines().skip(2).collect();
    let warning = "warning: 10.1.0.0/16 lies in 10.0.0.0/8 and adds nothing";
    assert_eq!(said, [warning], "{}", ended.said);
    let document = ended.documents().remove(0);
    let dark = &document["dark"]["prefixes"];
    assert_eq!(*dark, serde_json::json!(["10.0.0.0/8", "10.1.0.0/16"]));
    assert!(document["hosts"]["all"].is_null(), "no packets: no hosts");

    let ended = run(&["--dark", "203.0.113.0/24", "--packets", "auto"]);
    assert_eq!(ended.said.lines().count(), 3, "{}", ended.said);
    let document = ended.documents().remove(0);
    let dark = &document["dark"]["prefixes"];
    assert_eq!(*dark, serde_json::json!(["203.0.113.0/24"]));
    assert_eq!(document["hosts"]["all"], 0);
}

#[test]
fn zero_copy_is_required_or_left_alone_also_where_packets_are_left_to_the_host() {
    if !privileged("zero_copy_is_required_or_left_alone_also_where_packets_are_left_to_the_host") {
        return;
    }
    let world = world();
    let told = |zero_copy| {
        [
            &DARK[..],
            &["--json", "--packets", "auto", "--zero-copy", zero_copy],
        ]
        .concat()
    };
    // veth has none.
    let arguments = [
        &["run", "--interface", world.interface()][..],
        &told("require"),
    ]
    .concat();
    darknet(world.telescope(), &arguments).assert_refused("require", 1, &["zero-copy"]);
    assert!(!has_program(world.telescope(), world.interface()));
    for (zero_copy, is_tried) in [("prefer", true), ("never", false)] {
        let ended = Run::watching(&world, &told(zero_copy)).end(Signal::TERM);
        assert_eq!(ended.said.contains("zero-copy"), is_tried, "{}", ended.said);
        assert!(!ended.said.contains("in copy mode"), "{}", ended.said);
        assert!(
            ended.documents()[0]["hosts"]["all"].is_number(),
            "{zero_copy}"
        );
    }
}

#[test]
fn a_user_without_privilege_is_told_what_is_missing() {
    if !privileged("a_user_without_privilege_is_told_what_is_missing") {
        return;
    }
    let world = world();
    // Where anyone may run it.
    let folder = TempDir::new().expect("a folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("a folder of ours");
    let program = folder.path().join("darknet");
    fs::copy(&*DARKNET, &program).expect("a copy");
    for (name, privileges, missing) in [
        (
            "nobody",
            "--reuid=65534 --clear-groups",
            &["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"][..],
        ),
        (
            "without networks",
            "--bounding-set=-net_admin,-sys_admin",
            &["needs CAP_NET_ADMIN;"],
        ),
        (
            "without BPF",
            "--bounding-set=-bpf,-sys_admin",
            &["needs CAP_BPF;"],
        ),
        (
            "without a look at pointers",
            "--bounding-set=-perfmon,-sys_admin",
            &["needs CAP_PERFMON;"],
        ),
    ] {
        let mut command = world.telescope().command("setpriv");
        command.args(privileges.split(' ')).arg(&program);
        command.args(["run", "--interface", world.interface()]);
        run(command.args(DARK)).assert_refused(name, 1, missing);
        assert!(!has_program(world.telescope(), world.interface()), "{name}");
    }
}

#[test]
fn an_interface_with_a_program_of_somebody_else_is_left_alone() {
    if !privileged("an_interface_with_a_program_of_somebody_else_is_left_alone") {
        return;
    }
    for mode in [Mode::Driver, Mode::Generic] {
        let world = world();
        let sink = Sink::counting(&world, mode).expect("a sink");
        let link = world
            .telescope()
            .ip(&["-d", "link", "show", world.interface()]);
        let link = link.expect("a link");
        let (_, id) = link.split_once("prog/xdp id ").expect("a program");
        let id = format!("(id {})", id.split(' ').next().expect("a number"));
        let arguments = ["run", "--interface", world.interface()];
        let ended = darknet(world.telescope(), &[&arguments[..], &DARK].concat());
        ended.assert_refused("another program", 1, &["count", &id]);
        let (sent, _) = send(&world, &plan("first-light.toml", 5_000), None);
        assert_eq!(sink.counts().expect("counts").packets, sent.sent);
    }
}

#[test]
fn a_second_telescope_is_refused_and_the_first_counts_on() {
    if !privileged("a_second_telescope_is_refused_and_the_first_counts_on") {
        return;
    }
    let world = world();
    let plan = plan("first-light.toml", 50_000);
    let watching = Run::watching(&world, &[&DARK[..], &ALL_ROWS].concat());
    let second = ["run", "--interface", world.interface()];
    let second = [&second[..], &DARK].concat();
    let truth = thread::scope(|scope| {
        // One comes in the middle of traffic.
        let sending = scope.spawn(|| send(&world, &plan, None).1);
        for _ in 0..2 {
            let ended = darknet(world.telescope(), &second);
            ended.assert_refused("a second", 1, &[world.interface(), "darknet", "id"]);
        }
        sending.join().expect("sent")
    });
    assert_document(&truth, &watching.document());
    // And now it can.
    Run::watching(&world, &DARK).end(Signal::TERM);
}

#[test]
fn an_interface_that_disappears_leaves_the_figures() {
    if !privileged("an_interface_that_disappears_leaves_the_figures") {
        return;
    }
    let plan = plan("first-light.toml", 50_000);
    for windows in [&["--windows"], NOTHING] {
        let world = world();
        let arguments = [&DARK[..], &ALL_ROWS, windows].concat();
        let watching = Run::watching(&world, &arguments);
        let (_, truth) = send(&world, &plan, None);
        let page = format!("/run/darknet/{}@{}.json", world.interface(), watching.id());
        let delete = ["link", "delete", world.interface()];
        world.telescope().ip(&delete).expect("it was there");
        let begun = Instant::now();
        let ended = watching.wait();
        assert!(begun.elapsed() < Duration::from_secs(5), "no hang");
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        let errors = ended.said.lines().filter(|line| line.starts_with("error"));
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.len(), 1, "{}", ended.said);
        assert!(
            errors[0].starts_with("error: dark0: ") && errors[0].contains("disappeared"),
            "{}",
            ended.said
        );
        // A run may have crossed the edge of a minute.
        let documents = ended.documents();
        if let [document] = &documents[..] {
            assert_document(&truth, document);
        }
        let received = documents
            .iter()
            .map(|document| number(&document["ledger"]["received"]));
        assert_eq!(received.sum::<u64>(), truth.received);
        assert!(!Path::new(&page).exists());
    }
}

/// A program in a namespace with a `/run/darknet` of its own, so that other tests' telescopes are
/// not there.
fn alone(namespace: &Namespace) -> std::process::Command {
    let mut command = namespace.command("sh");
    let script = "mkdir -p /run/darknet && mount -t tmpfs tmpfs /run/darknet && exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(&*DARKNET);
    command
}

#[test]
fn status_tells_of_the_telescopes_that_run() {
    if !privileged("status_tells_of_the_telescopes_that_run") {
        return;
    }
    let world = world();
    let ended = run(alone(world.telescope()).arg("status"));
    ended.assert_refused("nothing runs", 1, &["no telescope runs here"]);

    for window in ["60s", "500ms"] {
        let mut command = alone(world.telescope());
        command.args(["run", "--interface", world.interface(), "--window", window]);
        let watching = Run::of(command.args(DARK));
        let status = |arguments: &[&str]| {
            let mut command = std::process::Command::new("nsenter");
            command.args(["--target", &watching.id().to_string(), "--mount", "--net"]);
            command.arg(&*DARKNET).arg("status").args(arguments);
            run(&mut command)
        };
        until("a page", || status(NOTHING).code == Some(0));
        let (sent, _) = send(&world, &plan("first-light.toml", 20_000), None);
        until("its figures", || {
            let ended = status(&["--json"]);
            let documents = ended.documents();
            assert_eq!(
                (ended.code, documents.len()),
                (Some(0), 1),
                "{}",
                ended.said
            );
            number(&documents[0]["ledger"]["received"]) == sent.sent
        });
        let text = status(&[world.interface()]);
        assert_eq!((text.code, text.said.as_str()), (Some(0), ""));
        let received = "received 20,000 = ";
        assert!(text.printed.contains(received), "{}", text.printed);
        let other = status(&["--json", "nope0"]);
        other.assert_refused("another interface", 1, &["no telescope runs on nope0"]);
        watching.end(Signal::TERM);
    }
}

#[test]
fn the_page_of_a_killed_telescope_is_gone() {
    if !privileged("the_page_of_a_killed_telescope_is_gone") {
        return;
    }
    let world = world();
    let watching = Run::watching(&world, &DARK);
    let page = format!("/run/darknet/{}@{}.json", world.interface(), watching.id());
    until("a page", || Path::new(&page).exists());
    watching.end(Signal::KILL);
    assert!(Path::new(&page).exists());
    darknet(world.telescope(), &["status"]);
    assert!(!Path::new(&page).exists());
}

#[test]
fn it_counts_within_a_second_of_its_start() {
    if !privileged("it_counts_within_a_second_of_its_start") {
        return;
    }
    let world = world();
    let plan = syns(1, &[(23, "203.0.113.0/24")]);
    let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
    let (mut started, mut counted) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let begun = Instant::now();
        let watching = Run::watching(&world, &[&DARK[..], &ALL_ROWS].concat());
        let sent = generator.send(&mut PlanFrames::new(&plan), &Limits::default());
        counted.push(begun.elapsed());
        started.push(watching.started());
        assert_eq!(sent.expect("a frame").sent, 1);
        assert_eq!(watching.document()["ledger"]["counted"], 1);
    }
    started.sort_unstable();
    counted.sort_unstable();
    println!("from start to attached: {started:?}, to the first packet counted: {counted:?}");
    // Not the speed of this machine, but that nothing waits for a second.
    assert!(counted[0] < Duration::from_secs(3), "{counted:?}");
}
