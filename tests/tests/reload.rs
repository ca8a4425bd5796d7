//! A telescope that reads its configuration again while packets come: each of them is counted by
//! the old rules or the new ones. Needs root.
#![cfg(target_os = "linux")]

use std::{
    thread::{self, sleep},
    time::Duration,
};

use darknet_tests::{
    documents::{Life, cell, port},
    host::{Host, PINS},
    live::{Signal, syns, until},
    privileged,
    reload::{Configuration, lines, reloaded, watching},
    traffic::Traffic,
};
use serde_json::json;

const RATE: u64 = 400_000;
/// Long enough to be looked at.
const HALF: Duration = Duration::from_millis(400);

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
        let file = Configuration::new(all);
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
    let file = Configuration::new("dark = [\"203.0.113.0/24\"]\n");
    let run = watching(&host, &file, &["--window", "24h"]);
    file.write("dark = [\"203.0.113.0/25\"]\n");
    reloaded(&host);
    until("a page of both", || {
        let page = host.darknet(&["status", "--json"]).documents().remove(0);
        let dark = &page["dark"];
        dark["addresses"] == 128 && dark["is_known"] == false
    });
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
    let file = Configuration::new(dark);
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
