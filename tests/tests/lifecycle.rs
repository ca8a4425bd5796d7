//! A pinned telescope whose processes end, however they do, while packets come all the time: the
//! kernel counts on, and each packet is in one document of one process. Needs root.
#![cfg(target_os = "linux")]

use std::{fs, mem::offset_of, thread, thread::sleep, time::Duration};

use aya::maps::{Array, Map, MapData};
use darknet_ebpf::abi::{Part, Processor, State, Tally, bank};
use darknet_tests::{
    documents::{Life, number},
    host::{Host, PINS},
    live::{Run, Signal, has_program, plan, until},
    privileged,
    traffic::Traffic,
};
use jiff::{SignedDuration, Timestamp};

/// The dark prefixes of the scenarios.
const DARK: &str = "203.0.113.0/24,2001:db8:da2c::/48";
const RATE: u64 = 400_000;

/// Starts a process that takes up what the one before has left.
fn started(host: &Host, packets: &str, window: &str) -> Run {
    host.pinned(&["--dark", DARK, "--packets", packets, "--window", window])
}

/// Ends a process in one way or another, and adds what it has printed.
fn ended(run: Run, signal: Signal, life: &mut Life) {
    let ended = run.end(signal);
    let code = (signal != Signal::KILL).then_some(0);
    assert_eq!(ended.code, code, "{}", ended.said);
    assert!(!ended.said.contains("ERROR"), "{}", ended.said);
    if signal != Signal::KILL {
        assert!(
            ended.said.contains("the kernel counts on"),
            "{}",
            ended.said
        );
    }
    life.add(&ended.printed);
}

/// Between 0.1 and 0.9 s, never twice the same.
fn a_moment() -> Duration {
    let now = Timestamp::now().as_nanosecond().rem_euclid(800_000_000);
    Duration::from_nanos(100_000_000 + u64::try_from(now).expect("it is small"))
}

/// What was sent while processes came and went, and what they have printed. What each process
/// takes up is shown to be something.
fn outlived(packets: &str, window: &str, signals: &[Signal]) -> (u64, Life) {
    let host = Host::new();
    let mut life = Life::new();
    let plan = plan("first-light.toml", 50_000);
    let world = host.world();
    let sent = thread::scope(|scope| {
        let mut run = started(&host, packets, window);
        let traffic = Traffic::begin(scope, world, &plan, RATE);
        for &signal in signals {
            sleep(a_moment());
            let page = format!("/run/darknet/{}@{}.json", world.interface(), run.id());
            let page = host.path(&page);
            until("a page", || page.exists());
            ended(run, signal, &mut life);
            assert_eq!(page.exists(), signal == Signal::KILL);
            assert!(has_program(world.telescope(), world.interface()));
            // Nobody is there, and it counts.
            sleep(Duration::from_millis(100));
            run = started(&host, packets, window);
            until("its page", || host.darknet(&["status"]).code == Some(0));
            assert!(!page.exists(), "the page of one that was killed");
        }
        sleep(a_moment());
        let sent = traffic.end().sent;
        ended(run, Signal::TERM, &mut life);
        sent
    });
    let detached = host.darknet(&["detach", "--pins", PINS]);
    assert_eq!(detached.code, Some(0), "{}", detached.said);
    assert!(!has_program(world.telescope(), world.interface()));
    println!(
        "{packets}: {sent} sent, {} processes, {} documents, {} printed again, {} lost, {} of them with a process",
        signals.len() + 1,
        life.documents().len(),
        life.replaced(),
        life.lost(),
        life.abandoned(),
    );
    (sent, life)
}

#[test]
fn what_comes_while_nobody_watches_is_in_the_first_window_of_the_next_process() {
    if !privileged("what_comes_while_nobody_watches_is_in_the_first_window_of_the_next_process") {
        return;
    }
    for (packets, window) in [
        ("none", "1h"),
        ("none", "300ms"),
        ("headers", "300ms"),
        ("frames", "300ms"),
    ] {
        let (sent, life) = outlived(packets, window, &[Signal::TERM, Signal::INT, Signal::TERM]);
        assert_eq!(life.sum("received"), sent, "{packets}, {window}");
        assert_eq!(life.replaced(), 0, "all was handed over in order");
        match packets {
            "none" => {
                assert_eq!(life.lost(), 0);
                assert_eq!(life.sum("not_requested"), life.sum("counted"));
            }
            "frames" => {
                // Nobody is there to take them; the next process binds its sockets again.
                assert!(life.lost_at("no_socket") > 0);
                // The last window may have begun after the last packet.
                let last = life.documents().iter().rev().take(2);
                let taken: u64 = last.map(|last| number(&last["ledger"]["observed"])).sum();
                assert!(taken > 0, "{:?}", life.documents().last());
            }
            _ => {}
        }
        if window == "1h" {
            // The end of each process, the beginning of each but the first.
            assert_eq!(life.documents().len(), 7);
            for document in life.documents() {
                assert!(number(&document["ledger"]["received"]) > 0);
            }
        }
    }
}

#[test]
fn what_a_killed_process_had_told_nobody_is_told_by_the_next() {
    if !privileged("what_a_killed_process_had_told_nobody_is_told_by_the_next") {
        return;
    }
    for packets in ["none", "headers", "frames"] {
        let (sent, life) = outlived(packets, "200ms", &[Signal::KILL; 6]);
        assert_eq!(life.sum("received"), sent, "{packets}");
        if packets == "none" {
            assert_eq!(life.lost(), 0);
        } else {
            // What it had taken from the ring is gone with it, and the ledger says so.
            assert!(life.abandoned() > 0);
            assert!(life.sum("delivered") > 0);
            assert_eq!(life.lost_at("no_socket") > 0, packets == "frames");
        }
    }
}

#[test]
fn processes_that_are_killed_at_once_lose_nothing() {
    if !privileged("processes_that_are_killed_at_once_lose_nothing") {
        return;
    }
    let host = Host::new();
    let mut life = Life::new();
    let plan = plan("first-light.toml", 50_000);
    let begun = Timestamp::now() - SignedDuration::from_secs(1);
    let sent = thread::scope(|scope| {
        // Attached, and it has told of nothing yet.
        ended(started(&host, "none", "1s"), Signal::KILL, &mut life);
        let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
        for _ in 0..8 {
            ended(started(&host, "none", "1s"), Signal::KILL, &mut life);
        }
        let sent = traffic.end().sent;
        ended(started(&host, "none", "1s"), Signal::TERM, &mut life);
        sent
    });
    assert_eq!((life.sum("received"), life.lost()), (sent, 0));
    for document in life.documents() {
        let start = document["start"].as_str().expect("an edge");
        let start: Timestamp = start.parse().expect("a time");
        assert!(start >= begun, "{start}, before there was a telescope");
    }
    // Generations of the killed are gone: one telescope needs one.
    let generations = fs::read_dir(host.path(PINS)).expect("pins");
    assert_eq!(generations.count(), 2, "the link and a generation");
}

/// A map that is pinned, as an array of words.
fn pinned<const WORDS: usize>(
    host: &Host,
    generation: u64,
    name: &str,
) -> Array<MapData, [u64; WORDS]> {
    let path = host.path(&format!("{PINS}/{generation}/{name}"));
    let map = MapData::from_pin(path).expect("a map");
    Array::try_from(Map::Array(map)).expect("an array of such values")
}

#[test]
fn a_figure_that_does_not_add_up_is_told_and_the_next_window_is_clean() {
    if !privileged("a_figure_that_does_not_add_up_is_told_and_the_next_window_is_clean") {
        return;
    }
    const STATE: usize = size_of::<State>() / 8;
    const PART: usize = size_of::<Processor>() / 8;
    const TALLY: usize = offset_of!(Processor, part) + offset_of!(Part, tally);
    const RECEIVED: usize = (TALLY + offset_of!(Tally, received)) / 8;
    let host = Host::new();
    let plan = plan("first-light.toml", 50_000);
    let sent = thread::scope(|scope| {
        let run = started(&host, "none", "1s");
        let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
        let state = pinned::<STATE>(&host, 1, "STATE");
        let mut parts = pinned::<PART>(&host, 1, "PARTS");
        let epoch = || state.get(&0, 0).expect("a state")[0];
        let begun = epoch();
        until("a window that has just begun", || epoch() > begun);
        let faulty = epoch();
        // Of the last processor, which gets none of the packets: nobody writes to it meanwhile.
        let processors = parts.len() / 2;
        assert!(processors > 1, "the first one counts all the time");
        let index = bank(faulty) * processors + processors - 1;
        let mut part = parts.get(&index, 0).expect("a part");
        part[RECEIVED] += 1;
        parts.set(index, part, 0).expect("it is ours");
        until("the window is over", || epoch() > faulty + 1);
        let status = || host.darknet(&["status"]).printed;
        until("the page", || status().contains("FAULT: "));
        assert!(status().contains("received = passed + filtered + counted"));
        let sent = traffic.end().sent;
        let ended = run.end(Signal::TERM);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let errors = ended.said.lines().filter(|line| line.contains("ERROR"));
        let errors: Vec<&str> = errors.collect();
        assert_eq!(errors.len(), 1, "{}", ended.said);
        assert!(errors[0].contains("received = passed + filtered + counted"));
        let mut received = 0;
        for document in ended.documents() {
            received += number(&document["ledger"]["received"]);
            let faults = document["faults"].as_array().expect("a list");
            match number(&document["epochs"][0]) == faulty {
                true => {
                    assert_eq!(faults.len(), 1, "{faults:?}");
                    let fault = faults[0].as_str().expect("a text");
                    assert!(fault.starts_with("received = passed"), "{fault}");
                }
                false => assert!(faults.is_empty(), "{faults:?}"),
            }
        }
        assert_eq!(received, sent + 1);
        sent
    });
    assert!(sent > 0);
}
