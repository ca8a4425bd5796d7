//! Pins that a telescope cannot make, or must not take up; and how one goes on all the same.
//! Needs root.
#![cfg(target_os = "linux")]

use std::fs;

use aya::maps::{Array, Map, MapData};
use darknet_ebpf::abi::State;
use darknet_tests::{
    documents::{Life, number},
    host::{Host, PINS},
    live::{Run, Signal, has_program, plan, send, until},
    privileged,
};

const DARK: [&str; 2] = ["--dark", "203.0.113.0/24,2001:db8:da2c::/48"];

/// That `darknet run` refuses.
fn refused(host: &Host, name: &str, interface: &str, pins: &str, hints: &[&str]) {
    let arguments = ["run", "--interface", interface, "--pins", pins];
    let ended = host.darknet(&[&arguments[..], &DARK].concat());
    ended.assert_refused(name, 1, hints);
}

/// What is counted of so many packets, over all that a life has printed since.
fn send_counted(host: &Host, sent: &mut u64) {
    *sent += send(host.world(), &plan("first-light.toml", 20_000), None)
        .0
        .sent;
}

#[test]
fn only_a_folder_of_ones_own_on_a_bpffs_is_taken() {
    if !privileged("only_a_folder_of_ones_own_on_a_bpffs_is_taken") {
        return;
    }
    let host = Host::new();
    let (telescope, interface) = (host.world().telescope(), host.world().interface());
    for (name, pins, hints) in [
        (
            "another file system",
            "/run/darknet/telescope",
            &["not on a BPF file system"][..],
        ),
        ("a dot", "/sys/fs/bpf/dark0.1", &["has no dot"]),
        ("no name", "", &["pins"]),
    ] {
        let arguments = ["run", "--interface", interface, "--pins", pins];
        let ended = host.darknet(&[&arguments[..], &DARK].concat());
        let code = if pins.is_empty() { 2 } else { 1 };
        ended.assert_refused(name, code, hints);
        assert!(!has_program(telescope, interface), "{name}");
    }

    let (mut life, mut sent) = (Life::new(), 0);
    let run = host.pinned(&DARK);
    send_counted(&host, &mut sent);
    let in_use = [PINS, "another telescope runs with these pins"];
    refused(&host, "in use", interface, PINS, &in_use);
    let detached = host.darknet(&["detach", "--pins", PINS]);
    detached.assert_refused("detached while it runs", 1, &in_use);
    refused(
        &host,
        "in another folder",
        interface,
        "/sys/fs/bpf/other",
        &[interface, "darknet"],
    );
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::TERM).printed);

    // It counts on, and only its own interface and folder will do.
    refused(
        &host,
        "unpinned, in its place",
        interface,
        "/sys/fs/bpf/third",
        &[interface, "darknet"],
    );
    let other = [
        "link", "add", "other0", "type", "veth", "peer", "name", "other1",
    ];
    telescope.ip(&other).expect("a link");
    let elsewhere = [
        "other0",
        "the pinned telescope is not on it",
        "darknet detach",
    ];
    refused(&host, "another interface", "other0", PINS, &elsewhere);
    assert!(!has_program(telescope, "other0"));
    let left: Vec<_> = fs::read_dir(host.path(PINS)).expect("pins").collect();
    assert_eq!(left.len(), 2, "a link and a generation: {left:?}");
    send_counted(&host, &mut sent);
    life.add(&host.pinned(&DARK).end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), sent);
}

#[test]
fn pins_of_another_version_are_left_alone_until_they_are_detached() {
    if !privileged("pins_of_another_version_are_left_alone_until_they_are_detached") {
        return;
    }
    let host = Host::new();
    let (telescope, interface) = (host.world().telescope(), host.world().interface());
    let (mut life, mut sent) = (Life::new(), 0);
    life.add(&host.pinned(&DARK).end(Signal::TERM).printed);
    let map = MapData::from_pin(host.path(&format!("{PINS}/1/STATE"))).expect("a map");
    let map = Array::<_, [u64; size_of::<State>() / 8]>::try_from(Map::Array(map));
    let mut state = map.expect("a state");
    let mut set = |layout| {
        let mut words = state.get(&0, 0).expect("a state");
        words[1] = layout;
        state.set(0, words, 0).expect("it is ours");
    };
    set(State::LAYOUT + 1);
    let found = format!("layout {}, not {}", State::LAYOUT + 1, State::LAYOUT);
    let hints = ["of another version", &found, "darknet detach --pins"];
    refused(&host, "another layout", interface, PINS, &hints);
    assert!(has_program(telescope, interface), "it counts on");
    send_counted(&host, &mut sent);
    // The version that made it takes it up as if nothing had been.
    set(State::LAYOUT);
    life.add(&host.pinned(&DARK).end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), sent);

    let map = host.path(&format!("{PINS}/2/ROWS"));
    fs::remove_file(map).expect("it was there");
    let hints = ["of another version", "no map ROWS", "darknet detach --pins"];
    refused(&host, "a map is missing", interface, PINS, &hints);
    let detached = host.darknet(&["detach", "--pins", PINS]);
    let said = format!("ended the telescope on {interface} that was pinned in {PINS}\n");
    assert_eq!((detached.code, detached.said), (Some(0), said));
    assert!(!has_program(telescope, interface));
    assert!(!host.path(PINS).exists());

    // Anew, from the first turn.
    let mut life = Life::new();
    let run = host.pinned(&DARK);
    let mut sent = 0;
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), sent);
}

#[test]
fn networks_by_port_are_not_told_of_what_was_counted_without_them() {
    if !privileged("networks_by_port_are_not_told_of_what_was_counted_without_them") {
        return;
    }
    let host = Host::new();
    let (mut life, mut sent) = (Life::new(), 0);
    let hour = [&DARK[..], &["--packets", "none", "--window", "1h"]].concat();
    let run = host.pinned(&hour);
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::KILL).printed);
    let run = host.pinned(&[&hour[..], &["--networks-by-port"]].concat());
    until("a page", || host.darknet(&["status"]).code == Some(0));
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), sent);
    let [without, with] = life.documents() else {
        panic!("{} documents", life.documents().len());
    };
    assert!(without.get("port_networks").is_none());
    assert!(!with["port_networks"].as_array().expect("rows").is_empty());
}

#[test]
fn rings_of_the_process_before_are_read_and_given_back() {
    if !privileged("rings_of_the_process_before_are_read_and_given_back") {
        return;
    }
    let host = Host::new();
    let (mut life, mut sent) = (Life::new(), 0);
    let started = |packets| {
        let run = host.pinned(&[&DARK[..], &["--packets", packets]].concat());
        until("a page", || host.darknet(&["status"]).code == Some(0));
        run
    };
    let tables = |run: &Run| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", run.id())).expect("it runs");
        maps.lines().filter(|line| line.contains("bpf-map")).count()
    };
    let run = started("frames");
    let alone = tables(&run);
    life.add(&run.end(Signal::TERM).printed);
    let run = started("headers");
    assert!(tables(&run) > alone, "rings");
    run.signal(Signal::STOP);
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::KILL).printed);
    let run = started("frames");
    assert_eq!(tables(&run), alone);
    life.add(&run.end(Signal::TERM).printed);
    assert_eq!(life.sum("received"), sent);
    assert!(life.sum("observed") > 0, "what waited in the rings");
}

#[test]
fn an_interface_that_is_made_anew_is_watched_anew_and_what_was_counted_is_told() {
    if !privileged("an_interface_that_is_made_anew_is_watched_anew_and_what_was_counted_is_told") {
        return;
    }
    let host = Host::new();
    let (telescope, interface) = (host.world().telescope(), host.world().interface());
    let (mut life, mut sent) = (Life::new(), 0);
    let run = host.pinned(&[&DARK[..], &["--packets", "none"]].concat());
    send_counted(&host, &mut sent);
    life.add(&run.end(Signal::KILL).printed);
    send_counted(&host, &mut sent);
    telescope
        .ip(&["link", "delete", interface])
        .expect("it was there");
    refused(
        &host,
        "no interface",
        interface,
        PINS,
        &[interface, "no such interface"],
    );
    let anew = [
        "link", "add", interface, "type", "veth", "peer", "name", "peer0",
    ];
    telescope.ip(&anew).expect("a link");
    let run = host.pinned(&[&DARK[..], &["--packets", "none"]].concat());
    assert!(has_program(telescope, interface));
    life.add(&run.end(Signal::TERM).printed);
    assert!(has_program(telescope, interface));
    assert_eq!(life.sum("received"), sent);
    let detached = host.darknet(&["detach", "--pins", PINS]);
    assert_eq!(detached.code, Some(0), "{}", detached.said);

    // One that goes while it is watched ends the telescope, and what is pinned.
    let run = host.pinned(&DARK);
    until("a page", || host.darknet(&["status"]).code == Some(0));
    telescope
        .ip(&["link", "delete", interface])
        .expect("it was there");
    let ended = run.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("disappeared"), "{}", ended.said);
    assert_eq!(
        number(&ended.documents().remove(0)["ledger"]["received"]),
        0
    );
    assert!(!host.path(PINS).exists());
}
