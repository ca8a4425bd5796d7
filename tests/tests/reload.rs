//! A telescope that reads its configuration again while packets come: each of them is counted by
//! the old rules or the new ones. Needs root.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    thread::sleep,
    time::Duration,
};

use darknet_tests::{
    documents::{Life, number},
    host::{Host, PINS},
    live::{DARKNET, Run, Signal, syns, until},
    privileged,
    traffic::Traffic,
};
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const RATE: u64 = 400_000;
/// Long enough to be looked at.
const HALF: Duration = Duration::from_millis(400);

/// A configuration file that changes.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("telescope.toml");
        let file = Self {
            path,
            _folder: folder,
        };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("a file");
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }
}

fn watching(host: &Host, file: &File, rest: &[&str]) -> Run {
    let arguments = ["--config", file.name(), "--json", "--windows", "--top", "0"];
    let run = host.watching(&[&arguments, rest].concat());
    until("its page", || host.darknet(&["status"]).code == Some(0));
    run
}

/// Lines of what was said that begin so.
fn lines(said: &str, begin: &str) -> usize {
    said.lines().filter(|line| line.starts_with(begin)).count()
}

fn reloaded(host: &Host) {
    let ended = host.darknet(&["reload"]);
    let said = "reloaded the telescope on dark0\n";
    assert_eq!((ended.code, ended.said.as_str()), (Some(0), said));
    assert_eq!(ended.printed, "");
}

/// Packets of a port in a document.
fn port(document: &Value, port: u16) -> u64 {
    let rows = document["ports"].as_array().expect("rows").iter();
    let row = rows.filter(|row| row["port"] == port);
    row.map(|row| number(&row["packets"])).sum()
}

fn cell(document: &Value, name: &str) -> u64 {
    number(&document["ledger"][name])
}

#[test]
fn each_packet_is_counted_by_the_old_prefixes_or_the_new_ones() {
    if !privileged("each_packet_is_counted_by_the_old_prefixes_or_the_new_ones") {
        return;
    }
    let all = "dark = [\"203.0.113.0/24\"]\n";
    let half = "dark = [\"203.0.113.0/24\"]\nexclude = [\"203.0.113.128/25\"]\n";
    let plan = syns(20_000, &[(1, "203.0.113.0/25"), (2, "203.0.113.128/25")]);
    for (packets, pins) in [
        ("none", &["--pins", PINS][..]),
        ("headers", &["--pins", PINS]),
        ("none", &[]),
    ] {
        let host = Host::new();
        let file = File::new(all);
        let rest = [&["--packets", packets, "--window", "700ms"], pins].concat();
        let mut life = Life::new();
        let sent = thread::scope(|scope| {
            let run = watching(&host, &file, &rest);
            let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
            for text in [half, all, half, all, half] {
                sleep(HALF);
                file.write(text);
                reloaded(&host);
            }
            sleep(HALF);
            let sent = traffic.end().sent;
            let ended = run.end(Signal::TERM);
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            assert_eq!(lines(&ended.said, "reloaded"), 5, "{}", ended.said);
            life.add(&ended.printed);
            sent
        });
        assert_eq!(life.sum("received"), sent, "{packets}");
        assert_eq!(life.sum("passed") + life.sum("counted"), sent, "{packets}");
        let mut parts = [0; 2];
        for document in life.documents() {
            assert_eq!(document["dark"]["prefixes"], json!(["203.0.113.0/24"]));
            let [first, second] = [1, 2].map(|of| port(document, of));
            assert_eq!(first + second, cell(document, "counted"));
            let excludes = document["dark"]["excluded"] == json!(["203.0.113.128/25"]);
            if excludes {
                assert_eq!(second, 0, "by the new rules, all that is excluded passed");
                assert!(cell(document, "passed") > 0 || first == 0);
            } else {
                assert_eq!(document["dark"]["excluded"], json!([]));
                assert_eq!(cell(document, "passed"), 0, "by the old rules none passed");
            }
            parts[usize::from(excludes)] += first + second;
        }
        assert!(parts[0] > 0 && parts[1] > 0, "{parts:?}");
        println!(
            "{packets}: {sent} sent, 5 reloads, {} documents",
            life.documents().len()
        );
    }
}

#[test]
fn a_window_that_a_reload_cuts_has_two_parts_with_the_same_edges() {
    if !privileged("a_window_that_a_reload_cuts_has_two_parts_with_the_same_edges") {
        return;
    }
    let host = Host::new();
    let file = File::new("dark = [\"203.0.113.0/24\"]\n");
    let run = watching(&host, &file, &["--window", "24h"]);
    reloaded(&host);
    let documents = run.end(Signal::TERM).documents();
    assert_eq!(documents.len(), 2);
    let [first, second] = [&documents[0], &documents[1]];
    assert_eq!(first["epochs"], json!([0, 0]));
    assert_eq!(second["epochs"], json!([1, 1]));
    for edge in ["start", "end"] {
        assert_eq!(first[edge], second[edge]);
    }
    assert_ne!(first["start"], first["end"]);
}

#[test]
fn filter_and_sample_change_under_load() {
    if !privileged("filter_and_sample_change_under_load") {
        return;
    }
    let host = Host::new();
    let dark = "dark = [\"203.0.113.0/24\"]\npackets = \"headers\"\n";
    let file = File::new(dark);
    let plan = syns(20_000, &[(1, "203.0.113.0/24")]);
    let mut life = Life::new();
    let rest = ["--window", "1h", "--pins", PINS];
    let sent = thread::scope(|scope| {
        let run = watching(&host, &file, &rest);
        let traffic = Traffic::begin(scope, host.world(), &plan, RATE);
        for change in [
            "[sample]\none_in = 10\n",
            "[filter]\nsources = [\"198.18.0.0/15\"]\n",
            "[filter]\nsources = [\"198.18.0.0/15\"]\naction = \"pass\"\n",
            "[filter]\nsources = [\"198.51.100.0/24\"]\n",
        ] {
            sleep(HALF);
            file.write(&format!("{dark}{change}"));
            reloaded(&host);
        }
        sleep(HALF);
        let sent = traffic.end().sent;
        life.add(&run.end(Signal::TERM).printed);
        sent
    });
    assert_eq!(life.sum("received"), sent);
    let [all, sampled, filtered, passed, others] = life.documents() else {
        panic!("{} documents", life.documents().len());
    };
    for (name, document, counts, samples) in [
        ("all", all, true, false),
        ("sampled", sampled, true, true),
        ("filtered", filtered, false, false),
        ("filtered sources pass", passed, false, false),
        ("other sources are filtered", others, true, false),
    ] {
        let received = cell(document, "received");
        assert!(received > 0, "{name}");
        let (counted, filtered) = if counts { (received, 0) } else { (0, received) };
        assert_eq!(cell(document, "counted"), counted, "{name}");
        assert_eq!(cell(document, "filtered"), filtered, "{name}");
        let out = cell(document, "sampled_out");
        if samples {
            // One in ten, by chance: of 100,000 packets 10,000, give or take 100.
            let share = out as f64 / counted as f64;
            assert!((0.89..0.91).contains(&share), "{name}: {out} of {counted}");
        } else {
            assert_eq!(out, 0, "{name}");
        }
    }
}

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
    let file = File::new(text);
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
        fs::remove_file(&file.path).expect("it was there");
        refused("no file", &["telescope.toml", "a file that can be read"]);
        fs::create_dir(&file.path).expect("a folder");
        refused("a folder", &["telescope.toml", "a file that can be read"]);
        fs::remove_dir(&file.path).expect("it was there");
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
    let file = File::new("interface = \"dark1\"\ndark = [\"203.0.113.0/24\"]\n");
    let mut second = host.command(Path::new("ip"));
    second.args(["netns", "exec", other.world().telescope().name()]);
    second
        .arg(&*DARKNET)
        .args(["run", "--json", "--config", file.name()]);
    let second = Run::of(&mut second);
    until("its page", || {
        host.darknet(&["status", "dark1"]).code == Some(0)
    });
    reload(&[]).assert_refused("two", 1, &["several telescopes run; name an interface"]);
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
