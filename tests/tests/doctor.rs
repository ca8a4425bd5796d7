//! What `darknet doctor` says of interfaces that are there, and of one that is not.

use std::process::Command;

use darknet_tests::{
    live::{DARKNET, Ended, Run, Signal, darknet, has_program, world},
    privileged,
};
use serde_json::Value;
use xtask::lab::World;

/// What the doctor says in the telescope's namespace.
fn doctor(world: &World, interface: &str) -> Ended {
    darknet(world.telescope(), &["doctor", interface])
}

/// The same as a document, and the exit status.
fn document(world: &World, interface: &str) -> (Value, Option<i32>) {
    let ended = darknet(world.telescope(), &["doctor", "--json", interface]);
    assert_eq!(ended.said, "", "{interface}");
    let mut documents = ended.documents();
    assert_eq!(documents.len(), 1, "{}", ended.printed);
    let document = documents.remove(0);
    assert_eq!(document["schema"], "darknet.doctor/1");
    assert_eq!(document["interface"], interface);
    assert_eq!(document["fit"], ended.code == Some(0), "{document}");
    (document, ended.code)
}

/// One finding of a document.
fn finding<'a>(document: &'a Value, what: &str) -> &'a Value {
    let findings = document["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("nothing of {what}: {document}"))
}

#[test]
fn of_a_pair_that_is_up_it_has_nothing_to_better() {
    if !privileged("of_a_pair_that_is_up_it_has_nothing_to_better") {
        return;
    }
    let world = world();
    let interface = world.interface();
    let ended = doctor(&world, interface);
    assert_eq!((ended.code, ended.said.as_str()), (Some(0), ""));
    let first = format!("A telescope can run on {interface}.\n");
    assert!(ended.printed.starts_with(&first), "{}", ended.printed);
    let (document, _) = document(&world, interface);
    for what in [
        "privilege",
        "kernel",
        "interface",
        "frames",
        "mode",
        "MTU",
        "queues",
    ] {
        let finding = finding(&document, what);
        assert_eq!(finding["severity"], "well", "{finding}");
        let line = finding["is"].as_str().expect("a text");
        assert!(ended.printed.contains(line), "{line}");
    }
    assert_eq!(
        finding(&document, "mode")["is"],
        "driver mode: veth supports it"
    );
    // It looked, and touched nothing.
    assert!(!has_program(world.telescope(), interface));
}

#[test]
fn what_it_says_of_the_mode_is_what_attaching_finds() {
    if !privileged("what_it_says_of_the_mode_is_what_attaching_finds") {
        return;
    }
    let world = world();
    for (interface, mode) in [(world.interface(), "driver mode"), ("lo", "generic mode")] {
        let (document, code) = document(&world, interface);
        assert_eq!(code, Some(0), "{document}");
        let said = finding(&document, "mode")["is"].as_str().expect("a text");
        assert!(said.starts_with(mode), "{said}");
        let mut command = world.telescope().command(&*DARKNET);
        let watching = ["run", "--interface", interface, "--dark", "203.0.113.0/24"];
        let ended = Run::of(command.args(watching)).end(Signal::TERM);
        let expected = format!("watching {interface} in {mode}");
        assert!(ended.said.starts_with(&expected), "{}", ended.said);
    }
}

#[test]
fn of_loopback_it_says_what_that_is_not() {
    if !privileged("of_loopback_it_says_what_that_is_not") {
        return;
    }
    let world = world();
    let ended = doctor(&world, "lo");
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    for text in [
        "hands a packet to the program and back to this host",
        "a telescope needs an interface that packets arrive on",
        "generic mode: loopback has no driver",
    ] {
        assert!(ended.printed.contains(text), "{text}: {}", ended.printed);
    }
    for text in ["queues", "ring", "MTU", "huge pages"] {
        assert!(!ended.printed.contains(text), "{text}: {}", ended.printed);
    }
}

#[test]
fn an_interface_that_nothing_arrives_on_is_in_the_way() {
    if !privileged("an_interface_that_nothing_arrives_on_is_in_the_way") {
        return;
    }
    let world = world();
    let interface = world.interface();
    for (side, downed, advice) in [
        (
            world.sender(),
            world.sender_interface(),
            "-> set the other interface of the pair up",
        ),
        (world.telescope(), interface, "-> ip link set dark0 up"),
    ] {
        side.ip(&["link", "set", downed, "down"]).expect("a link");
        let ended = doctor(&world, interface);
        assert_eq!(ended.code, Some(1));
        let first = format!("A telescope can't run on {interface} yet.\n\nIn the way\n");
        assert!(ended.printed.starts_with(&first), "{}", ended.printed);
        assert!(ended.printed.contains(advice), "{}", ended.printed);
    }
}

#[test]
fn a_program_that_is_there_is_named() {
    if !privileged("a_program_that_is_there_is_named") {
        return;
    }
    let world = world();
    let watching = Run::watching(&world, &["--dark", "203.0.113.0/24"]);
    let (document, code) = document(&world, world.interface());
    assert_eq!(code, Some(1));
    let finding = finding(&document, "XDP program");
    assert_eq!(finding["severity"], "stops");
    let said = finding["is"].as_str().expect("a text");
    assert!(
        said.contains("has one already: darknet_frags, number "),
        "{said}"
    );
    assert_eq!(finding["advice"][0], "darknet status lists those that run");
    watching.end(Signal::TERM);
    assert_eq!(doctor(&world, world.interface()).code, Some(0));
}

#[test]
fn a_tap_device_waits_for_the_program_behind_it() {
    if !privileged("a_tap_device_waits_for_the_program_behind_it") {
        return;
    }
    let world = world();
    let ip = |arguments: &[&str]| world.telescope().ip(arguments).expect("a TAP device");
    for (name, mode) in [("given0", "tap"), ("bare0", "tun")] {
        ip(&["tuntap", "add", name, "mode", mode]);
        ip(&["link", "set", name, "up"]);
    }
    let ended = doctor(&world, "given0");
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(ended.printed.contains("no program has this device open"));
    assert!(ended.printed.contains("driver mode"), "{}", ended.printed);
    let ended = doctor(&world, "bare0");
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(ended.printed.contains("without an Ethernet header"));
    assert!(ended.printed.contains("-> make it a TAP device"));
}

#[test]
fn without_privilege_it_still_tells_and_says_what_is_missing() {
    if !privileged("without_privilege_it_still_tells_and_says_what_is_missing") {
        return;
    }
    let world = world();
    let mut command = world.telescope().command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    command.arg(&*DARKNET).args(["doctor", world.interface()]);
    let output = command.output().expect("util-linux");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for text in [
        "without CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON",
        "driver mode: veth supports it",
        "1 of 1, for ",
    ] {
        assert!(printed.contains(text), "{text}: {printed}");
    }
}

#[test]
fn a_missing_interface_is_met_with_those_that_are_there() {
    let advice = |name: &str| {
        let output = Command::new(&*DARKNET).args(["doctor", name]).output();
        let output = output.expect("darknet");
        assert_eq!(output.status.code(), Some(1), "{name}");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert!(printed.contains("does not exist"), "{name}: {printed}");
        assert!(!printed.contains("queues"), "{name}: {printed}");
        assert!(!printed.contains('\u{1b}'), "{name}: {printed}");
        printed
    };
    for name in ["nope0", "../../../etc", "", "\u{1b}[2J"] {
        assert!(advice(name).contains("-> there are: "), "{name}");
    }
    assert!(advice("l0").contains("-> lo? There are: "));
}
