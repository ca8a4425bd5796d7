use std::{collections::BTreeMap, fmt::Debug};

use darknet_core::Snapshot;
use serde_json::Value;
use xtask::scenario::Written;

/// How a snapshot with all rows says what [`Written`] says, read from its JSON.
///
/// # Panics
///
/// If the JSON has not the layout of the schema, or its tables don't add up.
pub fn written(file: &str, snapshot: &Snapshot) -> Written {
    written_document(file, &document(snapshot))
}

/// The document of a snapshot.
fn document(snapshot: &Snapshot) -> Value {
    // By its text, as the number of dark addresses may be above 64 bits.
    let json = serde_json::to_string(snapshot).expect("a snapshot is JSON");
    serde_json::from_str(&json).expect("JSON")
}

/// [`written`], of a document that a program printed.
///
/// # Panics
///
/// As [`written`].
pub fn written_document(file: &str, json: &Value) -> Written {
    let number = |value: &Value| {
        value
            .as_u64()
            .unwrap_or_else(|| panic!("a number: {value}"))
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rows = |table: &str| json[table].as_array().expect("a list").clone();

    let mut ports: BTreeMap<String, BTreeMap<u16, u64>> = BTreeMap::new();
    let mut port_hosts: BTreeMap<String, BTreeMap<u16, u64>> = BTreeMap::new();
    let mut port_bytes: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows("ports") {
        let class = text(&row["class"]);
        let port = u16::try_from(number(&row["port"])).expect("a port");
        *port_bytes.entry(class.clone()).or_default() += number(&row["bytes"]);
        if class != "tcp_backscatter_destination" {
            let hosts = port_hosts.entry(class.clone()).or_default();
            hosts.insert(port, number(&row["hosts"]));
        }
        let packets = ports.entry(class).or_default();
        packets.insert(port, number(&row["packets"]));
    }
    for (class, bytes) in port_bytes {
        let class = class.trim_end_matches("_destination");
        assert_eq!(
            bytes,
            number(&json["classes"][class]["bytes"]),
            "bytes of {class}"
        );
    }
    let icmp = rows("icmp").into_iter().map(|row| {
        let key = format!("{}/{}/{}", row["version"], row["type"], row["code"]);
        (key, number(&row["packets"]))
    });
    let bytes = |rows: Vec<Value>| rows.iter().map(|row| number(&row["bytes"])).sum::<u64>();
    let of_classes: u64 = json["classes"]
        .as_object()
        .expect("classes")
        .values()
        .map(|class| number(&class["bytes"]))
        .sum();
    assert_eq!(bytes(rows("networks")), of_classes, "bytes of networks");
    let networks = rows("networks").into_iter().map(|row| {
        let network = text(&row["network"]).parse().expect("a prefix");
        (network, number(&row["packets"]))
    });
    let sources = rows("sources").into_iter().map(|row| {
        let source = text(&row["source"]).parse().expect("an address");
        (source, number(&row["packets"]))
    });
    let hosts = json["hosts"].as_object().expect("hosts").iter();
    let hosts = hosts.map(|(class, hosts)| (class.clone(), number(hosts)));
    Written {
        file: file.into(),
        received: number(&json["ledger"]["received"]),
        passed: number(&json["ledger"]["passed"]),
        counted: number(&json["ledger"]["counted"]),
        first: None,
        last: None,
        classes: serde_json::from_value(json["classes"].clone()).expect("classes"),
        ports,
        port_hosts,
        icmp: icmp.collect(),
        networks: networks.collect(),
        sources: sources.collect(),
        tools: serde_json::from_value(json["tools"].clone()).expect("tools"),
        hosts: hosts.filter(|(_, hosts)| *hosts > 0).collect(),
        tshark: Vec::new(),
    }
}

/// Compares a snapshot with all rows to the truth, table by table.
///
/// # Panics
///
/// At the first table that differs, with its name and both.
pub fn assert_truth(truth: &Written, snapshot: &Snapshot) {
    assert_document(truth, &document(snapshot));
}

/// [`assert_truth`], of a document that a program printed.
///
/// # Panics
///
/// As [`assert_truth`].
pub fn assert_document(truth: &Written, json: &Value) {
    let file = &truth.file;
    let ours = written_document(file, json);
    let Written {
        file: _,
        received,
        passed,
        counted,
        first: _,
        last: _,
        classes,
        ports,
        port_hosts,
        icmp,
        networks,
        sources,
        tools,
        hosts,
        tshark: _,
    } = truth;
    fn same<T: PartialEq + Debug>(file: &str, table: &str, ours: &T, truth: &T) {
        assert_eq!(ours, truth, "{table} of {file}");
    }
    same(file, "received", &ours.received, received);
    same(file, "passed", &ours.passed, passed);
    same(file, "counted", &ours.counted, counted);
    same(file, "classes", &ours.classes, classes);
    same(file, "ports", &ours.ports, ports);
    same(file, "port hosts", &ours.port_hosts, port_hosts);
    same(file, "icmp", &ours.icmp, icmp);
    same(file, "networks", &ours.networks, networks);
    same(file, "tools", &ours.tools, tools);
    same(file, "hosts", &ours.hosts, hosts);
    // A truth may list the first sources only: those with the most packets.
    assert!(ours.sources.len() >= sources.len(), "sources of {file}");
    let listed = json["sources"].as_array().expect("no overflow").iter();
    let listed = listed.take(sources.len()).map(|row| {
        let source = row["source"].as_str().expect("a text");
        let source = source.parse().expect("an address");
        (source, row["packets"].as_u64().expect("a number"))
    });
    same(file, "sources", &listed.collect(), sources);
    if hosts.get("all").copied() == Some(sources.len() as u64) {
        same(file, "all sources", &ours.sources, sources);
    }
}
