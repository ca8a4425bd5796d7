//! A host on which something else fails: a disk that is full, a process that is held up, no descriptors,
//! nobody who reads the log. No count is lost, and none is in the wrong window. Needs root.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use darknet_tests::{
    documents::{Life, cell},
    host::{Host, PINS},
    live::{DARKNET, Run, Signal, has_program, plan, run, send, until},
    privileged,
    reload::{Configuration, reloaded, watching},
};
use jiff::Timestamp;
use rustix::process::{Pid, Resource, Rlimit, kill_process, prlimit};

const DARK: [&str; 2] = ["--dark", "203.0.113.0/24,2001:db8:da2c::/48"];

/// Packets that are counted, and how many they are.
fn sent(host: &Host) -> u64 {
    let plan = plan("first-light.toml", 20_000);
    send(host.world(), &plan, None).0.sent
}

/// Programs whose tables are pinned.
fn generations(host: &Host) -> usize {
    let entries = fs::read_dir(host.path(PINS)).expect("pins");
    entries.count() - 1
}

/// `darknet run` on the host's interface, by a shell: `script` runs `"$@"`.
fn by_shell(host: &Host, script: &str, arguments: &[&str]) -> Command {
    let mut command = host.command(Path::new("/bin/sh"));
    command.args(["-c", script, "sh"]).arg(&*DARKNET);
    command.args(["run", "--interface", host.world().interface()]);
    command.args(DARK).args(arguments);
    command
}

/// Processes in a row whose reader is gone.
const GONE: usize = 12;

#[test]
fn processes_that_can_print_nothing_leave_a_few_tables_at_most() {
    if !privileged("processes_that_can_print_nothing_leave_a_few_tables_at_most") {
        return;
    }
    let host = Host::new();
    let options = ["--pins", PINS, "--packets", "none", "--window", "1s"];
    let arguments = [&options[..], &["--json", "--windows"]].concat();
    let mut most = 0;
    for _ in 0..GONE {
        let ended = run(&mut by_shell(&host, "\"$@\" | true", &arguments));
        assert!(ended.said.contains("watching"), "{}", ended.said);
        most = most.max(generations(&host));
    }
    assert_eq!(most, 8, "of {GONE}");
    let all = sent(&host);
    let run = host.pinned(&[&DARK[..], &options[2..]].concat());
    let documents = run.end(Signal::TERM).documents();
    let received = documents.iter().map(|document| cell(document, "received"));
    assert_eq!(received.sum::<u64>(), all);
    assert_eq!(generations(&host), 1);
}

#[test]
fn a_disk_that_is_full_is_waited_for() {
    if !privileged("a_disk_that_is_full_is_waited_for") {
        return;
    }
    let host = Host::new();
    let mount = "mount -t tmpfs -o size=16m tmpfs /mnt";
    let mounted = run(host.command(Path::new("/bin/sh")).args(["-c", mount]));
    assert_eq!(mounted.code, Some(0), "{}", mounted.said);
    let options = ["--packets", "none", "--window", "200ms", "--top", "0"];
    let arguments = [&options[..], &["--json", "--windows"]].concat();
    let mut filling = by_shell(&host, "exec \"$@\" > /mnt/out", &arguments);
    let filling = Run::of(&mut filling);
    let mut all = sent(&host);
    let filler = host.path("/mnt/filler");
    // To the last byte, so that a line ends anywhere.
    fs::write(&filler, vec![0; 32 << 20]).expect_err("it is full");
    sleep(Duration::from_secs(1));
    all += sent(&host);
    fs::remove_file(filler).expect("it was there");
    sleep(Duration::from_secs(1));
    all += sent(&host);
    let ended = filling.end(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let waited = ended.said.matches("it waits for room").count();
    assert!(waited > 0, "{}", ended.said);
    let mut life = Life::new();
    life.add(&fs::read_to_string(host.path("/mnt/out")).expect("it was printed"));
    assert_eq!(life.sum("received"), all);
}

#[test]
fn a_window_that_cannot_be_printed_is_in_the_kernel_for_the_next_process() {
    if !privileged("a_window_that_cannot_be_printed_is_in_the_kernel_for_the_next_process") {
        return;
    }
    for packets in ["none", "headers"] {
        let host = Host::new();
        let options = ["--pins", PINS, "--packets", packets, "--window", "2s"];
        let arguments = [&options[..], &["--json", "--windows"]].concat();
        let mut full = by_shell(&host, "exec \"$@\" > /dev/full", &arguments);
        let full = Run::of(&mut full);
        let mut all = sent(&host);
        sleep(Duration::from_millis(2_500));
        let ended = full.end(Signal::TERM);
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        assert!(ended.said.contains("No space left"), "{}", ended.said);
        let world = host.world();
        assert!(has_program(world.telescope(), world.interface()));
        all += sent(&host);
        let mut life = Life::new();
        let next = host.pinned(&[&DARK[..], &options[2..4]].concat());
        all += sent(&host);
        life.add(&next.end(Signal::TERM).printed);
        assert_eq!(life.sum("received"), all, "{packets}");
    }
}

#[test]
fn a_window_that_is_cut_late_says_until_when_it_counted() {
    if !privileged("a_window_that_is_cut_late_says_until_when_it_counted") {
        return;
    }
    let host = Host::new();
    let run = host.pinned(&[&DARK[..], &["--packets", "none", "--window", "3s"]].concat());
    // It is held up when a window has just begun, until well in the next one.
    let into = Timestamp::now().as_millisecond().rem_euclid(3_000);
    sleep(Duration::from_millis(
        u64::try_from(3_300 - into).expect("positive"),
    ));
    run.signal(Signal::STOP);
    sleep(Duration::from_secs(5));
    let all = sent(&host);
    let last = Timestamp::now();
    run.signal(Signal::TERM);
    let ended = run.end(Signal::CONT);
    let mut life = Life::new();
    life.add(&ended.printed);
    assert_eq!(life.sum("received"), all);
    let mut with_packets = life.documents().iter();
    let with_packets = with_packets.find(|document| cell(document, "received") > 0);
    let end: Timestamp = with_packets.expect("they were counted")["end"]
        .as_str()
        .and_then(|end| end.parse().ok())
        .expect("an edge");
    assert!(last < end, "packets of {last} in a window until {end}");
}

#[test]
fn whoever_has_no_descriptors_leaves_what_is_pinned_as_it_is() {
    if !privileged("whoever_has_no_descriptors_leaves_what_is_pinned_as_it_is") {
        return;
    }
    let host = Host::new();
    let options = ["--pins", PINS, "--packets", "headers"];
    let mut life = Life::new();
    let mut all = 0;
    life.add(
        &host
            .pinned(&[&DARK[..], &options[2..]].concat())
            .end(Signal::TERM)
            .printed,
    );
    all += sent(&host);
    let mut refused = 0;
    loop {
        let script = format!("ulimit -n {} && exec \"$@\"", 6 + refused);
        let duration = ["--duration", "100ms", "--json", "--windows"];
        let ended = run(&mut by_shell(
            &host,
            &script,
            &[&options[..], &duration].concat(),
        ));
        life.add(&ended.printed);
        if ended.code == Some(0) {
            break;
        }
        assert!(ended.said.contains("error"), "{}", ended.said);
        assert_eq!(generations(&host), 1, "{refused}: {}", ended.said);
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
    all += sent(&host);

    // The same of a reload, of a telescope that goes on with what it has.
    let file = Configuration::new("dark = [\"203.0.113.0/24\", \"2001:db8:da2c::/48\"]\n");
    let run = watching(
        &host,
        &file,
        &[&options[..], &["--window", "500ms"]].concat(),
    );
    let process = Pid::from_raw(run.id().cast_signed()).expect("a process");
    let limit = |current| {
        let new = Rlimit {
            current: Some(current),
            maximum: Some(1024),
        };
        prlimit(Some(process), Resource::Nofile, new).expect("it is ours");
    };
    let open = fs::read_dir(format!("/proc/{}/fd", run.id())).expect("it runs");
    for most in (0..open.count() as u64 + 24).step_by(2) {
        limit(most);
        // Nothing may come of it, not even an answer.
        run.signal(Signal::HUP);
        all += sent(&host);
    }
    limit(1024);
    reloaded(&host);
    all += sent(&host);
    let ended = run.end(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    life.add(&ended.printed);
    assert_eq!(generations(&host), 1);
    life.add(&host.pinned(&DARK).end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), all);
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if !privileged("a_log_that_nobody_reads_stops_nothing") {
        return;
    }
    let host = Host::new();
    let good = "dark = [\"203.0.113.0/24\"]\n";
    let file = Configuration::new(good);
    let mut command = host.command(&DARKNET);
    command.args(["run", "--interface", host.world().interface(), "--json"]);
    command.args(["--config", file.name()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("darknet");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut first = String::new();
    said.read_line(&mut first).expect("text");
    assert!(first.starts_with("watching "), "{first}");
    drop(said);
    until("a page", || host.darknet(&["status"]).code == Some(0));
    file.write("dark = 7\n");
    let ended = host.darknet(&["reload"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("the old configuration stays"),
        "{}",
        ended.said
    );
    file.write(good);
    reloaded(&host);
    let process = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(process, Signal::TERM).expect("it runs");
    let ended = child.wait_with_output().expect("a child");
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.starts_with(b"{"));
}
