use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use super::*;
use crate::{
    Dark, Ledger, Window,
    aggregate::{Aggregate as _, Figures, Observation, Seed},
    rules::{Cell, Link, Outer, outer},
};

/// A SYN from 198.51.100.7 to port 23, as generators of captures write it.
const SYN: &[u8] = &[
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7, 203, 0, 113, 9, 0x9c, 0x40, 0, 23, 0,
    0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
];

/// The tables of so many SYNs.
fn snapshot(packets: u64, faults: &[&str]) -> Snapshot {
    let seed = Seed::fixed(1);
    let mut figures = Figures::new(4 << 20, &seed);
    let Outer::Ip(ip) = outer(SYN, Link::Raw) else {
        panic!("IP");
    };
    let packet = ip.packet(SYN).expect("whole headers");
    for _ in 0..packets {
        figures.observe(&Observation::new(packet, 0, &seed));
    }
    let mut ledger = Ledger::default();
    ledger.received = packets + 1;
    ledger.counted = packets;
    ledger.observed = packets;
    let window = Window {
        edges: None,
        epochs: None,
        ledger,
        complete: true,
        faults: faults.iter().map(ToString::to_string).collect(),
        dark_is_known: true,
        aggregate: figures,
    };
    window.snapshot(&Dark::any(), 10)
}

/// What is answered to a request: its status and its text.
fn asked(metrics: &Metrics, request: &str) -> (u16, String) {
    let address = metrics.address();
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "{request} HTTP/1.0\r\n\r\n").expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    let status = said
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let text = said.split_once("\r\n\r\n").expect("a head and a body").1;
    (status.expect("a status"), text.to_owned())
}

fn listening() -> Metrics {
    Metrics::listen(([127, 0, 0, 1], 0).into()).expect("a port is free")
}

#[test]
fn figures_are_those_of_the_latest_snapshot() {
    let metrics = listening();
    assert_eq!(asked(&metrics, "GET /metrics"), (200, "# EOF\n".into()));
    metrics.show(&snapshot(1, &[]));
    metrics.show(&snapshot(3, &[]));
    let (status, text) = asked(&metrics, "GET /metrics?from=here");
    assert_eq!(status, 200);
    for line in [
        "# TYPE darknet_received_packets counter",
        "darknet_received_packets_total 4",
        "darknet_counted_packets_total 3",
        "darknet_ended_packets_total{cell=\"passed\"} 0",
        "darknet_lost_packets_total{stage=\"ring_full\"} 0",
        "darknet_class_packets_total{class=\"tcp_syn\"} 3",
        "darknet_class_bytes_total{class=\"tcp_syn\"} 120",
        "darknet_port_packets_total{class=\"tcp_syn\",port=\"23\"} 3",
        "darknet_hosts{class=\"all\"} 1.0",
        "darknet_hosts{class=\"tcp_syn\"} 1.0",
        "darknet_faults 0.0",
        "# UNIT darknet_memory_bytes bytes",
        "darknet_memory_bytes{part=\"ttls\"} 18432.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[test]
fn hosts_stay_where_an_open_window_has_none() {
    let metrics = listening();
    metrics.show(&snapshot(3, &[]));
    let open = Snapshot {
        hosts: None,
        ttls: None,
        ..snapshot(5, &[])
    };
    metrics.show(&open);
    let (_, text) = asked(&metrics, "GET /metrics");
    assert!(text.contains("counted_packets_total 5\n"), "{text}");
    assert!(
        text.contains("darknet_hosts{class=\"all\"} 1.0\n"),
        "{text}"
    );
    // Some have overflowed: nobody knows.
    metrics.show(&Snapshot {
        hosts: None,
        ..snapshot(7, &[])
    });
    let (_, text) = asked(&metrics, "GET /metrics");
    assert!(!text.contains("darknet_hosts"), "{text}");
}

#[test]
fn what_is_delivered_and_not_observed_has_not_ended() {
    let metrics = listening();
    let mut open = snapshot(3, &[]);
    open.ledger.end(Cell::Delivered);
    open.ledger.observed = 0;
    metrics.show(&open);
    let (_, text) = asked(&metrics, "GET /metrics");
    let line = "darknet_ended_packets_total{cell=\"delivered\"} 0\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn whoever_says_nothing_or_nonsense_is_not_waited_for() {
    let metrics = listening();
    let connect = || TcpStream::connect(metrics.address()).expect("it listens");
    let _silent = [connect(), connect()];
    let mut slow = connect();
    slow.write_all(b"GET /metrics HTT").expect("sent");
    let begun = Instant::now();
    assert_eq!(asked(&metrics, "GET /healthz").0, 503);
    assert!(begun.elapsed() < Duration::from_secs(5));
    for nonsense in [&b"\0\xff\r\n\r\n"[..], &[b'a'; 20_000]] {
        let mut stream = connect();
        // It may have heard enough before the end.
        let _ = stream.write_all(nonsense);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"));
        assert_eq!(asked(&metrics, "GET /metrics").0, 200);
    }
}

#[test]
fn health_says_why_it_is_not() {
    let metrics = listening();
    let begin = (503, "it has not begun to watch\n".into());
    assert_eq!(asked(&metrics, "GET /healthz"), begin);
    metrics.keep_alive();
    assert_eq!(asked(&metrics, "GET /healthz"), (200, "well\n".into()));
    metrics.show(&snapshot(1, &["a sum is off", "another is"]));
    let ill = (503, "another is\n".into());
    assert_eq!(asked(&metrics, "GET /healthz"), ill);
    let latest = metrics.shown.latest();
    let later = Instant::now() + PATIENCE + Duration::from_secs(1);
    let why = latest.illness(later).expect("it is ill");
    assert!(why.starts_with("nothing was heard of it for 3"), "{why}");
}

#[test]
fn what_it_has_not_is_an_error() {
    let metrics = listening();
    for (request, expected) in [
        ("GET /", 404),
        ("GET /metrics/more", 404),
        ("POST /metrics", 405),
        ("DELETE /healthz", 405),
        ("HEAD /healthz", 503),
    ] {
        assert_eq!(asked(&metrics, request).0, expected, "{request}");
    }
}

#[test]
fn an_address_that_is_taken_is_named_and_free_after_a_drop() {
    let metrics = listening();
    let address = metrics.address();
    let taken = Metrics::listen(address)
        .expect_err("it is taken")
        .to_string();
    assert!(taken.contains(&address.to_string()), "{taken}");
    drop(metrics);
    // The thread that answers ends a moment later.
    let begun = Instant::now();
    while let Err(error) = Metrics::listen(address) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{error}");
        thread::sleep(Duration::from_millis(10));
    }
}
