//! Configurations that a telescope does not take, and telescopes that cannot be told which to take:
//! the reason is said, and all goes on as before. Needs root.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, thread};

use darknet_tests::{
    documents::{Life, port},
    host::{Host, PINS},
    live::{DARKNET, Run, Signal, syns, until},
    privileged,
    reload::{Configuration, lines, reloaded, watching},
    traffic::Traffic,
};
use rustix::process::{Pid, kill_process};
use serde_json::json;

const RATE: u64 = 400_000;

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    if !privileged("a_reload_that_is_refused_changes_nothing") {
        return;
    }
    let host = Host::new();
    let world = host.world();
    let address = ["address", "add", "192.0.2.1/24", "dev", world.interface()];
    world.telescope().ip(&address).expect("an address");
    let text = "dark = [\"203.0.113.0/24\"]\nwindow = \"1h\"\npackets = \"none\"\n";
    let file = Configuration::new(text);
    let plan = syns(20_000, &[(1, "203.0.113.0/24"), (2, "192.0.2.0/24")]);
    let mut life = Life::new();
    let sent = thread::scope(|scope| {
        let run = watching(&host, &file, &["--pins", PINS]);
        let traffic = Traffic::begin(scope, world, &plan, RATE);
        let refused = |name: &str, hints: &[&str]| {
            let hints = [hints, &["; the old configuration stays"]].concat();
            host.darknet(&["reload", "dark0"])
                .assert_refused(name, 1, &hints);
            let status = host.darknet(&["status"]);
            assert_eq!(status.code, Some(0), "{name}");
            assert_eq!(status.said.lines().count(), 1, "{name}: {}", status.said);
            let warning = "warning: the last reload was refused: ";
            assert!(status.said.starts_with(warning), "{name}: {}", status.said);
            assert!(status.said.contains(hints[0]), "{name}: {}", status.said);
        };
        for (name, text, hints) in [
            (
                "syntax",
                "dark = [\"203.0.113.0/24\"]\nwindow = = 1\n",
                &[":2: "][..],
            ),
            ("half written", &text[..20], &[":1: "]),
            (
                "nothing dark",
                &text[text.find("window").expect("a key")..],
                &["no dark prefix"],
            ),
            (
                "no prefix",
                "dark = [\"203.0.113.0\"]\nwindow = \"1h\"\nexclude = [\"x\"]\n",
                &[":3: "],
            ),
            (
                "host bits",
                "dark = [\"203.0.113.1/24\"]\n",
                &[":1: ", "203.0.113.0/24"],
            ),
            (
                "a restart",
                "dark = [\"203.0.113.0/24\"]\nwindow = \"2h\"\n",
                &["window, packets", "restart"],
            ),
            (
                "an address of this host",
                &text.replace("203.0.113.0/24", "192.0.2.0/24"),
                &["192.0.2.1 of dark0", "--exclude 192.0.2.1"],
            ),
        ] {
            file.write(text);
            refused(name, hints);
        }
        fs::remove_file(file.path()).expect("it was there");
        refused("no file", &["telescope.toml", "a file that can be read"]);
        fs::create_dir(file.path()).expect("a folder");
        refused("a folder", &["telescope.toml", "a file that can be read"]);
        fs::remove_dir(file.path()).expect("it was there");
        file.write(text);
        reloaded(&host);
        let status = host.darknet(&["status"]);
        assert_eq!((status.code, status.said.as_str()), (Some(0), ""));
        let sent = traffic.end().sent;
        let ended = run.end(Signal::TERM);
        assert_eq!(
            lines(&ended.said, "error: not reloaded: "),
            9,
            "{}",
            ended.said
        );
        life.add(&ended.printed);
        sent
    });
    assert_eq!(life.documents().len(), 2, "one reload was taken");
    assert_eq!(life.sum("received"), sent);
    for document in life.documents() {
        assert_eq!(document["dark"]["prefixes"], json!(["203.0.113.0/24"]));
        assert!(port(document, 1) > 0);
        assert_eq!(port(document, 2), 0);
    }
}

#[test]
fn a_reload_needs_one_telescope_and_a_file() {
    if !privileged("a_reload_needs_one_telescope_and_a_file") {
        return;
    }
    let (host, other) = (Host::new(), Host::new());
    let reload = |arguments: &[&str]| host.darknet(&[&["reload"], arguments].concat());
    reload(&[]).assert_refused("none", 1, &["no telescope runs here"]);
    let dark = ["--dark", "203.0.113.0/24"];
    let run = host.watching(&dark);
    until("its page", || host.darknet(&["status"]).code == Some(0));
    reload(&[]).assert_refused("no file", 1, &["no configuration file", "--config FILE"]);
    reload(&["nope0"]).assert_refused("another", 1, &["no telescope runs on nope0"]);

    // A second one, on an interface of another name, on the same host but for its network.
    let rename = |to: &[&str]| other.world().telescope().ip(to).expect("a link");
    rename(&["link", "set", "dark0", "down"]);
    rename(&["link", "set", "dark0", "name", "dark1"]);
    rename(&["link", "set", "dark1", "up"]);
    let file = Configuration::new("interface = \"dark1\"\ndark = [\"203.0.113.0/24\"]\n");
    let mut second = host.command(Path::new("ip"));
    second.args(["netns", "exec", other.world().telescope().name()]);
    second
        .arg(&*DARKNET)
        .args(["run", "--json", "--config", file.name()]);
    let second = Run::of(&mut second);
    until("its page", || {
        host.darknet(&["status", "dark1"]).code == Some(0)
    });
    reload(&[]).assert_refused(
        "two",
        1,
        &["several telescopes run; name one of dark0, dark1"],
    );
    let ended = reload(&["dark1"]);
    assert_eq!(
        (ended.code, ended.said.as_str()),
        (Some(0), "reloaded the telescope on dark1\n")
    );
    // A signal does the same, as often as it comes.
    let process = Pid::from_raw(second.id().cast_signed()).expect("a process");
    kill_process(process, Signal::HUP).expect("it runs");
    let page = host.path(&format!("/run/darknet/dark1@{}.reload", second.id()));
    until("the second reload", || {
        fs::read_to_string(&page).is_ok_and(|text| text == "2\n")
    });
    let ended = second.end(Signal::TERM);
    assert_eq!(lines(&ended.said, "reloaded"), 2, "{}", ended.said);
    assert_eq!(ended.documents().remove(0)["epochs"], json!([0, 2]));
    assert_eq!(run.end(Signal::TERM).code, Some(0));
    let left = fs::read_dir(host.path("/run/darknet")).expect("pages");
    assert_eq!(left.count(), 0, "no page stays");
}
