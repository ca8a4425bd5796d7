//! What a running telescope says to Prometheus. Needs root.
#![cfg(target_os = "linux")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use darknet_tests::{
    documents::number,
    live::{Run, darknet, plan, send, until, world},
    privileged,
};
use xtask::lab::World;

const DARK: [&str; 4] = ["--dark", "203.0.113.0/24", "--dark", "2001:db8:da2c::/48"];
const METRICS: [&str; 2] = ["--metrics", "9431"];

/// The status and the text of an answer, in the telescope's namespace.
fn asked(world: &World, path: &str) -> (String, String) {
    let asked = world.telescope().enter(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", 9431)).expect("it listens");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an answer");
        said
    });
    let said = asked.expect("the namespace");
    let (head, text) = said.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status");
    (status.to_owned(), text.to_owned())
}

/// The value of a metric.
fn value(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = lines.find(|(metric, _)| *metric == name)?;
    value.parse().ok()
}

#[test]
fn a_telescope_tells_prometheus_what_its_document_says() {
    if !privileged("a_telescope_tells_prometheus_what_its_document_says") {
        return;
    }
    let world = world();
    world
        .telescope()
        .ip(&["link", "set", "lo", "up"])
        .expect("a loopback");
    let run = Run::watching(
        &world,
        &[&DARK[..], &METRICS, &["--packets", "headers", "--json"]].concat(),
    );
    let plan = plan("first-light.toml", 20_000);
    let (sent, _) = send(&world, &plan, None);
    let received = || {
        let (status, text) = asked(&world, "/metrics");
        assert_eq!(status, "200");
        value(&text, "darknet_received_packets_total")
    };
    until("all are told", || received() == Some(sent.sent as f64));
    assert_eq!(asked(&world, "/healthz"), ("200".into(), "well\n".into()));
    assert_eq!(asked(&world, "/").0, "404");
    let (_, text) = asked(&world, "/metrics");

    // Another one on the same port does not start, and says why; nor is a port any text.
    let other = [&["run", "--interface", "lo"], &DARK[..], &METRICS].concat();
    darknet(world.telescope(), &other).assert_refused("taken", 1, &["127.0.0.1:9431", "in use"]);
    for port in ["99999", "localhost:1", ""] {
        let wrong = ["run", "--interface", "lo", "--metrics", port];
        darknet(world.telescope(), &wrong).assert_refused(port, 2, &["--metrics", "9431"]);
    }

    let document = run.document();
    for (class, counts) in document["classes"].as_object().expect("classes") {
        let metric = format!("darknet_class_packets_total{{class=\"{class}\"}}");
        let expected = number(&counts["packets"]) as f64;
        assert_eq!(value(&text, &metric), Some(expected), "{class}");
    }
    let passed = "darknet_ended_packets_total{cell=\"passed\"}";
    let expected = number(&document["ledger"]["passed"]) as f64;
    assert_eq!(value(&text, passed), Some(expected));
}
