//! Hours and days of a telescope that runs. Needs root.
#![cfg(target_os = "linux")]

use darknet_tests::{
    documents::{assert_adds_up, cell, number},
    host::Host,
    live::{Signal, send, syns, until},
    privileged,
    reload::{Configuration, reloaded, watching},
};
use serde_json::Value;

#[test]
fn a_day_is_the_sum_of_its_windows_and_says_that_it_was_stopped_and_changed() {
    if !privileged("a_day_is_the_sum_of_its_windows_and_says_that_it_was_stopped_and_changed") {
        return;
    }
    let all = "dark = [\"203.0.113.0/24\"]\npackets = \"headers\"\nrollup = [\"days\"]\n";
    let host = Host::new();
    let file = Configuration::new(all);
    let run = watching(&host, &file, &["--window", "300ms", "--zone", "Asia/Tokyo"]);
    let plan = syns(5_000, &[(1, "203.0.113.0/25"), (2, "203.0.113.128/25")]);
    let received = |expected: u64| {
        until("they are in a closed window", || {
            let status = host.darknet(&["status", "--json"]).documents();
            let hosts = status.first().map(|status| &status["hosts"]["all"]);
            status
                .first()
                .is_some_and(|status| cell(status, "received") == expected)
                && hosts.is_some_and(|hosts| !hosts.is_null())
        });
    };
    send(host.world(), &plan, None);
    received(5_000);
    file.write(&format!("{all}exclude = [\"203.0.113.128/25\"]\n"));
    reloaded(&host);
    send(host.world(), &plan, None);
    received(10_000);
    let documents = run.end(Signal::TERM).documents();

    let (days, windows): (Vec<&Value>, _) = documents
        .iter()
        .partition(|document| document.get("rollup").is_some());
    let sum = |documents: &[&Value], name: &str| -> u64 {
        let cells = documents.iter().map(|document| cell(document, name));
        cells.sum()
    };
    for name in ["received", "passed", "counted", "observed"] {
        assert_eq!(sum(&days, name), sum(&windows, name), "{name}");
    }
    assert_eq!(sum(&days, "received"), 10_000);
    days.iter().for_each(|day| assert_adds_up(day));
    let is_known = |document: &&Value| document["dark"]["is_known"] == true;
    assert!(windows.iter().all(is_known));
    // Where it is midnight just now there are two.
    let (last, before) = days.split_last().expect("a day");
    let rollup = &last["rollup"];
    assert_eq!(rollup["zone"], "Asia/Tokyo");
    assert_eq!(
        (&rollup["length"], &rollup["is_over"]),
        (&"day".into(), &false.into())
    );
    assert!(before.iter().all(|day| day["rollup"]["is_over"] == true));
    if before.is_empty() {
        assert!(!is_known(last), "it was changed in between");
        assert_eq!(number(&last["hosts"]["all"]), 50, "each of them once");
        assert_eq!(last["start"], windows[0]["start"]);
        let turns = |document: &Value, at: usize| number(&document["epochs"][at]);
        assert_eq!(
            (turns(last, 0), windows.len() as u64),
            (0, turns(last, 1) + 1)
        );
    }
}

#[test]
fn the_page_of_an_open_window_has_the_hosts_of_those_before() {
    if !privileged("the_page_of_an_open_window_has_the_hosts_of_those_before") {
        return;
    }
    let host = Host::new();
    let file = Configuration::new("dark = [\"203.0.113.0/24\"]\npackets = \"headers\"\n");
    let run = watching(&host, &file, &["--window", "3s"]);
    send(host.world(), &syns(5_000, &[(1, "203.0.113.0/24")]), None);
    until("the next window is open", || {
        let status = host.darknet(&["status", "--json"]).documents();
        let document = &status[0];
        document.get("observed_until").is_some() && document["hosts"]["all"] == 50
    });
    let text = host.darknet(&["status"]).printed;
    let is_there = |begin: &str| text.lines().any(|line| line.starts_with(begin));
    for line in [
        "hosts, sources and memory are those up to ",
        "sources_lines ",
        "50 hosts in all",
    ] {
        assert!(is_there(line), "{line}: {text}");
    }
    for document in run.end(Signal::TERM).documents() {
        assert!(document.get("observed_until").is_none(), "{document}");
    }
}
