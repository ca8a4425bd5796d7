//! A telescope's life in short: windows, reloads, restarts and kills under load for as long as one
//! likes, and not a packet is missing. Needs root.
//!
//! `DARKNET_SOAK_SECONDS` says for how long; 600 is the acceptance.
#![cfg(target_os = "linux")]

use std::{
    env, fs, thread,
    thread::sleep,
    time::{Duration, Instant},
};

use darknet_tests::{
    documents::Life,
    host::{Host, PINS},
    live::{Run, Signal, plan, until},
    privileged,
    traffic::Traffic,
};
use tempfile::TempDir;

/// Packets a second.
const RATE: u64 = 1_000_000;
/// What happens between the tenths of the run, beside a reload.
const ENDS: [Option<Signal>; 9] = [
    None,
    None,
    Some(Signal::TERM),
    None,
    Some(Signal::KILL),
    None,
    Some(Signal::TERM),
    None,
    None,
];

/// What the configuration says in turn.
const DARK: [&str; 2] = [
    "dark = [\"203.0.113.0/24\", \"2001:db8:da2c::/48\"]\n",
    "dark = [\"203.0.113.0/24\", \"2001:db8:da2c::/48\"]\nexclude = [\"203.0.113.128/25\"]\n",
];

/// A telescope's life so far.
#[derive(Default)]
struct Soak {
    life: Life,
    reloads: u64,
    restarts: u64,
    kills: u64,
}

impl Soak {
    fn end(&mut self, run: Run, signal: Signal) {
        let ended = run.end(signal);
        assert!(!ended.said.contains("ERROR"), "{}", ended.said);
        if signal != Signal::KILL {
            assert_eq!(ended.code, Some(0), "{}", ended.said);
        }
        self.life.add(&ended.printed);
    }

    /// Lives so long under load, and says how many packets were sent.
    fn live(&mut self, host: &Host, packets: &str, time: Duration) -> u64 {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("telescope.toml");
        let write = |turn: u32| {
            let dark = DARK[turn as usize % 2];
            let text = format!("{dark}packets = \"{packets}\"\nwindow = \"1s\"\n");
            fs::write(&file, text).expect("a file");
        };
        write(0);
        let start = || {
            let run = host.pinned(&["--config", file.to_str().expect("UTF-8")]);
            until("its page", || host.darknet(&["status"]).code == Some(0));
            run
        };
        let plan = plan("first-light.toml", 100_000);
        thread::scope(|scope| {
            let mut run = start();
            let begun = Instant::now();
            let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
            for (tenth, signal) in (1..).zip(ENDS) {
                sleep((time * tenth / 10).saturating_sub(begun.elapsed()));
                write(tenth);
                let ended = host.darknet(&["reload"]);
                assert_eq!(ended.code, Some(0), "{}", ended.said);
                self.reloads += 1;
                if let Some(signal) = signal {
                    self.end(run, signal);
                    run = start();
                    match signal {
                        Signal::KILL => self.kills += 1,
                        _ => self.restarts += 1,
                    }
                }
            }
            sleep(time.saturating_sub(begun.elapsed()));
            let sent = traffic.end().sent;
            self.end(run, Signal::TERM);
            sent
        })
    }
}

/// Lives through it all, and says in a line what came of it.
fn soaked(packets: &str) -> Soak {
    let seconds = env::var("DARKNET_SOAK_SECONDS").map_or(20, |seconds| {
        seconds.parse().expect("DARKNET_SOAK_SECONDS is a number")
    });
    let host = Host::new();
    let mut soak = Soak::default();
    let sent = soak.live(&host, packets, Duration::from_secs(seconds));
    let Soak {
        life,
        reloads,
        restarts,
        kills,
    } = &soak;
    let [counted, passed] = ["counted", "passed"].map(|cell| life.sum(cell));
    println!(
        "{packets}: {seconds} s, sent {sent} = counted {counted} + passed {passed}, lost {}, {} of them with a process; {} documents, {} printed again, {reloads} reloads, {restarts} restarts, {kills} kills",
        life.lost(),
        life.abandoned(),
        life.documents().len(),
        life.replaced(),
    );
    // Each document adds up by itself: that was looked at when it was added.
    assert_eq!(sent, counted + passed);
    assert_eq!(sent, life.sum("received"));
    assert!(counted > 0 && passed > 0);
    // One for most seconds, and one for each cut within them; a busy machine is late for some.
    let documents = life.documents().len() as u64;
    assert!(documents >= seconds / 2 + reloads, "{documents} documents");
    assert_eq!((*reloads, *restarts, *kills), (9, 2, 1));
    let detached = host.darknet(&["detach", "--pins", PINS]);
    assert_eq!(detached.code, Some(0), "{}", detached.said);
    soak
}

#[test]
fn a_life_of_windows_reloads_restarts_and_kills_misses_no_packet() {
    if !privileged("a_life_of_windows_reloads_restarts_and_kills_misses_no_packet") {
        return;
    }
    let soak = soaked("none");
    assert_eq!(soak.life.lost(), 0);
}

#[test]
fn with_headers_what_was_lost_with_a_process_is_in_the_ledger() {
    if !privileged("with_headers_what_was_lost_with_a_process_is_in_the_ledger") {
        return;
    }
    let soak = soaked("headers");
    assert!(soak.life.abandoned() > 0, "one was killed");
    assert!(soak.life.sum("delivered") > soak.life.lost());
}

#[test]
fn with_frames_what_nobody_took_is_in_the_ledger() {
    if !privileged("with_frames_what_nobody_took_is_in_the_ledger") {
        return;
    }
    let soak = soaked("frames");
    assert!(soak.life.lost_at("no_socket") > 0, "nobody was there twice");
    assert!(soak.life.sum("delivered") > 0);
}
