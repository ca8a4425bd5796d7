//! Telescopes whose packets come as frames, through AF_XDP: `darknet run --packets frames` in a
//! world of the lab. Every packet is in its ledger, also when there are more than anybody can take.
//! Needs root.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
    thread::sleep,
    time::{Duration, Instant},
};

use darknet_tests::{
    documents::{assert_adds_up, cell, lost, number, timeless},
    frames::{alone, datagrams, lost_at, patient, sum},
    host::Host,
    live::{Run, Signal, darknet, plan, send, syns, until, world},
    reload::{Configuration, reloaded},
    traffic::Traffic,
    truth::assert_document,
};
use serde_json::Value;
use tempfile::TempDir;
use xtask::{
    lab::{Generator, Limits, Options, PlanFrames, Preloaded, Sent, World},
    scenario::Plan,
};

const DARK: [&str; 2] = ["--dark", "203.0.113.0/24,2001:db8:da2c::/48"];
const ALL_ROWS: [&str; 3] = ["--json", "--top", "0"];
const WINDOWS: [&str; 3] = ["--windows", "--window", "500ms"];
const FRAMES: [&str; 2] = ["--packets", "frames"];
/// Frames a second that any machine takes.
const RATE: u64 = 100_000;

/// Starts a telescope that takes frames.
fn watching(world: &World, file: &Configuration, rest: &[&str]) -> Run {
    let config = ["--config", file.name()];
    Run::watching(world, &[&config, &FRAMES, &ALL_ROWS[..], rest].concat())
}

/// Ends it as an operator does, and gives what it has printed.
fn ended(run: Run) -> Vec<Value> {
    let ended = run.end(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("ERROR"), "{}", ended.said);
    ended.documents()
}

#[test]
fn frames_headers_and_a_capture_give_the_same_document() {
    let Some(_guard) = alone("frames_headers_and_a_capture_give_the_same_document") else {
        return;
    };
    let world = world();
    let folder = TempDir::new().expect("a folder");
    let capture = folder.path().join("sent.pcap");
    let plan = plan("first-light.toml", 150_000);
    plan.write_pcap(fs::File::create(&capture).expect("a file"))
        .expect("a capture");
    // So that each payload has room: they are all different, and half of them from a few sources.
    let room = ["--memory", "262144"];
    for dark in [&DARK[..], &["--any"]] {
        let file = patient("");
        let run = watching(&world, &file, &[&room, dark].concat());
        let (sent, truth) = send(&world, &plan, Some(RATE));
        let frames = ended(run).pop().expect("a document");
        assert_eq!(cell(&frames, "received"), sent.sent);
        assert_adds_up(&frames);
        assert_eq!(frames["coverage"], 1.0);
        assert_document(&truth, &frames);

        let arguments = [&ALL_ROWS[..], &["--packets", "headers"], &room, dark].concat();
        let run = Run::watching(&world, &arguments);
        send(&world, &plan, Some(RATE));
        let headers = run.document();

        let replay = ["replay", capture.to_str().expect("UTF-8")];
        let dark = if dark == ["--any"] { &[] } else { dark };
        let replayed = darknet(
            world.telescope(),
            &[&replay, &ALL_ROWS[..], &room, dark].concat(),
        );
        let replayed = replayed.documents().pop().expect("a document");
        let mut frames = timeless(frames);
        assert!(frames["payloads"].as_array().expect("rows").len() > 1_000);
        assert!(frames["payloads"] == timeless(replayed.clone())["payloads"]);
        // A record has no room for them.
        assert!(headers["payloads"].is_null());
        frames
            .as_object_mut()
            .expect("an object")
            .remove("payloads");
        for (name, other) in [("headers", headers), ("replay", replayed)] {
            let other = timeless(other);
            for (key, value) in frames.as_object().expect("an object") {
                assert!(*value == other[key], "{name}, {dark:?}: {key}");
            }
        }
    }
}

/// Sends as fast as it can, for so long.
fn flood(world: &World, plan: &Plan, time: Duration) -> Sent {
    let count = usize::try_from(plan.count()).expect("frames fit into memory");
    let preloaded = Preloaded::new(
        world,
        &Options::default(),
        &mut PlanFrames::new(plan),
        count,
    );
    let limits = Limits {
        duration: Some(time),
        ..Limits::default()
    };
    let sent = preloaded.expect("a generator").send(&limits);
    let sent = sent.expect("frames");
    assert_eq!(sent.in_flight, 0);
    sent
}

#[test]
fn what_is_lost_when_too_many_come_is_named_to_the_packet_in_every_window() {
    let name = "what_is_lost_when_too_many_come_is_named_to_the_packet_in_every_window";
    let Some(_guard) = alone(name) else { return };
    let world = world();
    let plan = plan("bench.toml", 100_000);
    for (rings, expected) in [
        // Half of the chunks are in the FILL ring, and nobody waits for them.
        ("ring = 512\nframes = 1024", "ring_full"),
        // All chunks wait to be read.
        ("ring = 512\nframes = 512", "fill_empty"),
        ("ring = 2048\nframes = 4096", "ring_full"),
    ] {
        let file = Configuration::new(&format!("any = true\n[frames]\n{rings}\n"));
        let run = watching(&world, &file, &WINDOWS);
        let sent = flood(&world, &plan, Duration::from_secs(3));
        let documents = ended(run);
        assert!(documents.len() >= 3, "{rings}");
        let [received, delivered] = ["received", "delivered"].map(|cell| sum(&documents, cell));
        let lost: u64 = documents.iter().map(lost).sum();
        let named = lost_at(&documents, expected);
        println!(
            "{rings:?}: {} sent, {:.0} a second, {delivered} observed, {lost} lost, {named} as {expected}",
            sent.sent,
            sent.rate(),
        );
        assert_eq!(received, sent.sent, "{rings}");
        assert_eq!(delivered + lost, received, "{rings}");
        assert!(named > 0, "{rings}");
        let unnamed = ["redirect_failed", "abandoned", "truncated", "no_socket"];
        assert_eq!(
            unnamed.map(|stage| lost_at(&documents, stage)),
            [0; 4],
            "{rings}"
        );
    }
}

#[test]
fn a_process_that_stands_still_for_seconds_knows_what_it_missed() {
    let Some(_guard) = alone("a_process_that_stands_still_for_seconds_knows_what_it_missed") else {
        return;
    };
    let world = world();
    let plan = plan("first-light.toml", 50_000);
    let file = Configuration::new("");
    let run = watching(&world, &file, &[&DARK[..], &WINDOWS].concat());
    let sent = thread::scope(|scope| {
        let traffic = Traffic::begin(scope, &world, &plan, RATE);
        for _ in 0..2 {
            sleep(Duration::from_millis(700));
            run.signal(Signal::STOP);
            sleep(Duration::from_secs(2));
            run.signal(Signal::CONT);
        }
        sleep(Duration::from_millis(700));
        traffic.end().sent
    });
    let documents = ended(run);
    assert_eq!(sum(&documents, "received"), sent);
    // Two seconds of them each time, less what a ring holds and a busy machine sends later.
    let missed = lost_at(&documents, "ring_full") + lost_at(&documents, "fill_empty");
    assert!(missed > RATE, "{missed}");
    assert_eq!(missed, documents.iter().map(lost).sum::<u64>());
    // It has taken what came before, between and after.
    assert!(sum(&documents, "observed") > RATE);
}

#[test]
fn a_reload_loses_no_frame_and_the_sockets_go_on() {
    let Some(_guard) = alone("a_reload_loses_no_frame_and_the_sockets_go_on") else {
        return;
    };
    let host = Host::new();
    let plan = syns(50_000, &[(1, "203.0.113.0/24"), (2, "192.0.2.0/24")]);
    let dark = |prefixes: &str| format!("dark = [{prefixes}]\npackets = \"frames\"\n");
    let both = dark("\"203.0.113.0/24\", \"192.0.2.0/24\"");
    let settings = [&both, &dark("\"203.0.113.0/24\"")];
    let file = patient(settings[0]);
    let config = ["--config", file.name(), "--window", "1s"];
    let run = host.watching(&[&config[..], &["--windows"], &ALL_ROWS].concat());
    until("its page", || host.darknet(&["status"]).code == Some(0));
    let sent = thread::scope(|scope| {
        let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
        for turn in 1..=5 {
            sleep(Duration::from_millis(400));
            let text = format!("{}{}", settings[turn % 2], darknet_tests::frames::PATIENT);
            file.write(&text);
            reloaded(&host);
        }
        sleep(Duration::from_millis(400));
        traffic.end().sent
    });
    let documents = ended(run);
    assert_eq!(sum(&documents, "received"), sent);
    assert_eq!(documents.iter().map(lost).sum::<u64>(), 0);
    assert!(sum(&documents, "passed") > 0);
    // Whatever was dark, it was observed: the sources of a window are those of its packets.
    for document in &documents {
        let sources = document["sources"].as_array().expect("rows").iter();
        let packets: u64 = sources.map(|row| number(&row["packets"])).sum();
        assert_eq!(packets, cell(document, "counted"));
    }
    // Another ring takes another process.
    file.write(settings[0]);
    let begun = host.watching(&[&config[..], &ALL_ROWS].concat());
    until("its page", || host.darknet(&["status"]).code == Some(0));
    file.write(&format!("{both}[frames]\nring = 64\n"));
    let refused = host.darknet(&["reload"]);
    refused.assert_refused("another ring", 1, &["frames", "restart"]);
    ended(begun);
}

/// Sends frames of a plan from a processor, so many a second.
fn send_from(world: &World, cpu: usize, plan: &Plan) -> u64 {
    let options = Options {
        cpu,
        ..Options::default()
    };
    let mut generator = Generator::new(world, &options).expect("a generator");
    let limits = Limits {
        rate: Some(RATE / 2),
        ..Limits::default()
    };
    let sent = generator.send(&mut PlanFrames::new(plan), &limits);
    let sent = sent.expect("frames");
    assert_eq!((sent.errors, sent.in_flight), (0, 0));
    sent.sent
}

#[test]
fn each_queue_has_a_socket_and_all_frames_are_observed() {
    let Some(_guard) = alone("each_queue_has_a_socket_and_all_frames_are_observed") else {
        return;
    };
    let plan = plan("first-light.toml", 50_000);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for queues in [2, 4] {
        let world = World::new(queues).expect("a world");
        let run = watching(&world, &patient(""), &DARK);
        let mut sent: u64 = thread::scope(|scope| {
            let senders = (0..processors.min(queues as usize)).map(|cpu| {
                scope.spawn({
                    let (world, plan) = (&world, &plan);
                    move || send_from(world, cpu, plan)
                })
            });
            let senders: Vec<_> = senders.collect();
            let sent = senders
                .into_iter()
                .map(|sender| sender.join().expect("sent"));
            sent.sum()
        });
        // Flows of the network stack go to any queue.
        for socket in &datagrams(&world, 64) {
            for _ in 0..10 {
                socket.send(&[7; 30]).expect("sent");
                sent += 1;
            }
        }
        let ended = run.end(Signal::TERM);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        for queue in 0..queues {
            let said = format!("queue {queue} of dark0 in copy mode, several buffers\n");
            assert!(ended.said.contains(&said), "{}", ended.said);
        }
        let documents = ended.documents();
        assert_eq!(sum(&documents, "received"), sent);
        assert_eq!(sum(&documents, "observed"), sum(&documents, "counted"));
        let used = world.telescope().enter(|| {
            let out = std::process::Command::new("ethtool")
                .args(["-S", "dark0"])
                .output();
            let out = String::from_utf8(out.expect("ethtool").stdout).expect("text");
            let used = (0..queues).filter(|queue| {
                let idle = format!("rx_queue_{queue}_xdp_packets: 0\n");
                !out.contains(&idle)
            });
            used.count()
        });
        assert!(used.expect("the namespace") > 1, "{queues} queues");
    }
}

#[test]
fn an_interface_that_is_deleted_leaves_what_was_observed() {
    let Some(_guard) = alone("an_interface_that_is_deleted_leaves_what_was_observed") else {
        return;
    };
    let plan = plan("first-light.toml", 50_000);
    for wait in [Duration::ZERO, Duration::from_millis(300)] {
        let world = world();
        let run = watching(&world, &patient(""), &DARK);
        let (_, truth) = send(&world, &plan, Some(RATE));
        sleep(wait);
        let delete = ["link", "delete", world.interface()];
        world.telescope().ip(&delete).expect("it was there");
        let begun = Instant::now();
        let ended = run.wait();
        assert!(begun.elapsed() < Duration::from_secs(5), "no hang");
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        assert!(ended.said.contains("disappeared"), "{}", ended.said);
        assert!(!ended.said.contains("ERROR"), "{}", ended.said);
        let documents = ended.documents();
        assert_eq!(sum(&documents, "received"), truth.received);
        assert_eq!(sum(&documents, "observed"), truth.counted);
    }
}

#[test]
fn an_interface_may_go_down_and_up_and_change_its_name_and_mtu() {
    let Some(_guard) = alone("an_interface_may_go_down_and_up_and_change_its_name_and_mtu") else {
        return;
    };
    let world = world();
    let run = watching(&world, &patient(""), &[&DARK[..], &WINDOWS].concat());
    let socket = &datagrams(&world, 1)[0];
    let plan = plan("first-light.toml", 20_000);
    let mut sent = 0;
    let mut name = world.interface();
    for change in [
        "",
        "down",
        "up",
        "name other0",
        "mtu 1400",
        "name dark0",
        "mtu 1500",
    ] {
        let words = change.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        if !words.is_empty() {
            let ip = [&["link", "set", name], &words[..]].concat();
            world.telescope().ip(&ip).expect(change);
        }
        match words[..] {
            ["down"] => {
                sleep(Duration::from_millis(600));
                continue;
            }
            ["up"] => sleep(Duration::from_millis(100)),
            ["name", other] => name = if other == "dark0" { "dark0" } else { "other0" },
            _ => {}
        }
        for _ in 0..100 {
            socket.send(b"still here").expect("sent");
            sent += 1;
        }
        if name == world.interface() {
            sent += send(&world, &plan, Some(RATE)).0.sent;
        }
    }
    let documents = ended(run);
    assert_eq!(sum(&documents, "received"), sent);
    assert_eq!(documents.iter().map(lost).sum::<u64>(), 0);
}

/// Where the other end has more queues than this one, veth refuses driver mode.
#[test]
fn in_generic_mode_frames_say_the_same() {
    let Some(_guard) = alone("in_generic_mode_frames_say_the_same") else {
        return;
    };
    let world = World::new(2).expect("a world");
    let fewer = world
        .telescope()
        .command("ethtool")
        .args(["-L", "dark0", "rx", "1"])
        .status();
    assert!(fewer.expect("ethtool").success());
    let run = watching(&world, &patient(""), &DARK);
    let (sent, truth) = send(&world, &plan("first-light.toml", 50_000), Some(RATE / 2));
    let ended = run.end(Signal::TERM);
    assert!(ended.said.contains("in generic mode"), "{}", ended.said);
    let document = ended.documents().pop().expect("a document");
    assert_adds_up(&document);
    assert_eq!(cell(&document, "received"), sent.sent);
    assert_eq!(document["coverage"], 1.0);
    assert_document(&truth, &document);
}

fn set_mtu(world: &World, mtu: &str) {
    for (side, interface) in [
        (world.telescope(), world.interface()),
        (world.sender(), world.sender_interface()),
    ] {
        side.ip(&["link", "set", interface, "mtu", mtu])
            .expect("an MTU");
    }
}

/// Payloads from none to what an MTU of 9,000 holds: in one chunk, in two, in five.
const PAYLOADS: [usize; 9] = [0, 18, 1472, 1726, 1727, 3452, 4096, 7700, 8972];

#[test]
fn frames_of_several_buffers_are_whole_or_named() {
    let Some(_guard) = alone("frames_of_several_buffers_are_whole_or_named") else {
        return;
    };
    for fragments in ["assemble", "truncate", "refuse"] {
        let world = world();
        let file = Configuration::new(&format!("[frames]\nfragments = \"{fragments}\"\n"));
        let refuse = fragments == "refuse";
        // Chunks are small as the MTU was when it began: of one, 280 bytes stay free before the
        // frame, and Ethernet takes 14.
        let fits = 2048 - 280 - 42;
        let long = PAYLOADS.iter().filter(|&&payload| payload > fits).count() as u64 * 20;
        if refuse {
            set_mtu(&world, "9000");
            let start = ["run", "--interface", "dark0", "--config", file.name()];
            let refused = darknet(world.telescope(), &[&start, &DARK[..], &FRAMES].concat());
            refused.assert_refused("longer than a chunk", 1, &["9000", "4096"]);
            set_mtu(&world, "1500");
        }
        let run = watching(&world, &file, &DARK);
        // While it runs.
        set_mtu(&world, "9000");
        let socket = &datagrams(&world, 1)[0];
        let mut bytes = 0;
        for payload in PAYLOADS {
            for _ in 0..20 {
                socket.send(&vec![7; payload]).expect("sent");
                bytes += payload as u64 + 28;
            }
        }
        let document = ended(run).pop().expect("a document");
        assert_adds_up(&document);
        let sent = 20 * PAYLOADS.len() as u64;
        let udp = &document["classes"]["udp"];
        let found = (number(&udp["packets"]), number(&udp["bytes"]));
        assert_eq!(found, (sent, bytes), "{fragments}");
        let truncated = if refuse { long } else { 0 };
        let cut = if fragments == "truncate" { long } else { 0 };
        assert_eq!(lost(&document), truncated, "{fragments}");
        assert_eq!(number(&document["ledger"]["lost"]["truncated"]), truncated);
        assert_eq!(cell(&document, "cut"), cut, "{fragments}");
        assert_eq!(cell(&document, "walked"), 0, "{fragments}");
        let samples = document["payloads"].as_array().expect("rows");
        for payload in PAYLOADS {
            let of_it = samples.iter().filter(|row| row["length"] == payload);
            let of_it: Vec<_> = of_it.collect();
            let is_long = payload > fits;
            let rows = usize::from(payload > 0 && !(is_long && refuse));
            assert_eq!(of_it.len(), rows, "{fragments}: {payload}");
            for row in of_it {
                let place = (row["class"].as_str(), number(&row["port"]));
                assert_eq!(place, (Some("udp"), 9));
                assert_eq!((number(&row["packets"]), number(&row["missed"])), (20, 0));
                assert_eq!(row["sample"], "07".repeat(payload.min(256)));
                let is_whole = payload <= 2048 && !(is_long && fragments == "truncate");
                assert_eq!(
                    row["sha256"].is_string(),
                    is_whole,
                    "{fragments}: {payload}"
                );
            }
        }
        assert_eq!(cell(&document, "observed"), sent - truncated, "{fragments}");
    }
}

#[test]
fn the_example_of_the_library_takes_frames() {
    let Some(_guard) = alone("the_example_of_the_library_takes_frames") else {
        return;
    };
    let build = ["build", "--package", "darknet-core", "--example", "frames"];
    let example = xtask::cargo::executable(&build, "frames").expect("it compiles");
    let world = World::new(2).expect("a world");
    let mut command = world.telescope().command(example);
    command.args([world.interface(), "203.0.113.0/24"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    for queue in 0..2 {
        let line = next();
        assert!(
            line.starts_with(&format!("queue {queue} of dark0")),
            "{line}"
        );
    }
    assert_eq!(next(), "dark0 in driver mode");
    let (sent, _) = send(&world, &syns(1200, &[(23, "203.0.113.0/24")]), Some(RATE));
    assert_eq!(sent.sent, 1200);
    let said: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(child.wait().expect("it ends").success());
    assert!(
        said[0].starts_with("a SYN to port 23: b\"\\x02"),
        "{said:?}"
    );
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[3].ends_with(" packets counted"), "{said:?}");
}
