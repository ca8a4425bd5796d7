//! The `darknet` binary as its users meet it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use darknet_tests::file::{pcap, record, syn};
use serde_json::Value;
use tempfile::TempDir;
use xtask::cargo::{self, root};

static DARKNET: LazyLock<PathBuf> =
    LazyLock::new(|| cargo::darknet(false).expect("darknet is built"));

fn replay(arguments: &[&str]) -> Output {
    let output = Command::new(&*DARKNET)
        .arg("replay")
        .args(arguments)
        .output();
    output.expect("darknet runs")
}

fn bundled() -> String {
    let path = root().join("xtask/scenarios/first-light.pcap");
    path.to_str().expect("UTF-8").to_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Packets on the first of May 2021, some seconds after midnight each.
fn file(folder: &TempDir, name: &str, seconds: &[u32]) -> String {
    let mut bytes = pcap(101);
    for second in seconds {
        let packet = syn([198, 51, 100, 7], [203, 0, 113, 9], 23);
        bytes.extend(record(1_619_827_200 + second, 0, &packet));
    }
    write(folder, name, &bytes)
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn json_has_the_layout_of_the_schema() {
    let output = replay(&[&bundled(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said(&output), "", "only the document");
    let document = json(&output);
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let sorted = |names: &str| {
        let mut names: Vec<String> = names.split(' ').map(Into::into).collect();
        names.sort_unstable();
        names
    };
    let classes =
        "tcp_syn tcp_backscatter tcp_other udp icmp icmp_backscatter fragment malformed other";
    assert_eq!(document["schema"], "darknet.snapshot/1");
    assert_eq!(document["start"], "2021-05-01T00:00:00Z");
    assert_eq!(document["end"], "2021-05-01T00:03:00Z");
    assert_eq!(document["incomplete"], false);
    assert_eq!(document["coverage"], 1.0);
    assert_eq!(keys(&document["classes"]), sorted(classes));
    assert_eq!(keys(&document["classes"]["udp"]), sorted("packets bytes"));
    assert_eq!(
        keys(&document["hosts"]),
        sorted(&classes.replace("malformed", "all"))
    );
    assert_eq!(keys(&document["tools"]), sorted("mirai zmap masscan"));
    assert_eq!(keys(&document["tools"]["zmap"]), sorted("packets hosts"));
    assert_eq!(
        keys(&document["ledger"]),
        sorted(
            "received passed filtered counted delivered observed sampled_out not_requested in_flight late cut walked untimed lost missed"
        )
    );
    assert_eq!(
        keys(&document["ledger"]["lost"]),
        sorted(
            "ring_full fill_empty no_socket redirect_failed headers_full truncated abandoned bad_descriptor"
        )
    );
    assert_eq!(document["ledger"]["missed"]["nic"], 0);
    for (table, columns) in [
        ("ports", "class port packets bytes hosts"),
        ("icmp", "version type code packets bytes"),
        ("networks", "network packets bytes"),
        ("sources", "source packets"),
        (
            "payloads",
            "class port packets missed first last length sha256 sample",
        ),
    ] {
        let rows = document[table].as_array().expect("a list");
        assert!(!rows.is_empty(), "{table}");
        for row in rows {
            assert_eq!(keys(row), sorted(columns), "{table}");
        }
    }
}

#[test]
fn lists_are_sorted_and_cut() {
    let all = json(&replay(&[&bundled(), "--json", "--top", "0"]));
    let order = [
        "tcp_syn",
        "tcp_backscatter",
        "tcp_backscatter_destination",
        "tcp_other",
        "udp",
    ];
    let key = |row: &Value| {
        let class = order.iter().position(|class| row["class"] == **class);
        let packets = row["packets"].as_u64().expect("packets");
        (
            u64::MAX - packets,
            class.expect("a class"),
            row["port"].as_u64().expect("a port"),
        )
    };
    let ports = all["ports"].as_array().expect("ports");
    assert!(ports.iter().map(key).is_sorted());
    for top in [1, 3] {
        let cut = json(&replay(&[&bundled(), "--json", "--top", &top.to_string()]));
        for table in ["icmp", "networks", "sources"] {
            let (all, cut) = (all[table].as_array(), cut[table].as_array());
            assert_eq!(
                cut.map(Vec::as_slice),
                all.map(|rows| &rows[..top]),
                "{table}"
            );
        }
        let rows = cut["ports"].as_array().expect("ports");
        assert!(rows.iter().map(key).is_sorted());
        for class in order {
            let of = |rows: &[Value]| -> Vec<Value> {
                rows.iter()
                    .filter(|row| row["class"] == class)
                    .take(top)
                    .cloned()
                    .collect()
            };
            assert_eq!(of(rows), of(ports), "the first {top} of {class}");
            assert_eq!(rows.iter().filter(|row| row["class"] == class).count(), top);
        }
    }
}

#[test]
fn windows_are_a_document_each_and_a_line_each() {
    let folder = TempDir::new().expect("a folder");
    // One that comes a second late within the grace, and one that comes too late.
    let capture = file(&folder, "a", &[0, 59, 60, 59, 200, 59]);
    let output = replay(&[&capture, "--json", "--windows"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let documents: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document"))
        .collect();
    let rows: Vec<_> = documents
        .iter()
        .map(|document| {
            let ledger = &document["ledger"];
            let [start, end] =
                ["start", "end"].map(|edge| document[edge].as_str().expect("a time"));
            (
                &start[11..],
                &end[11..],
                ledger["received"].clone(),
                ledger["late"].clone(),
            )
        })
        .collect();
    let expected = [
        ("00:00:00Z", "00:01:00Z", 3, 0),
        ("00:01:00Z", "00:02:00Z", 1, 0),
        ("00:03:00Z", "00:04:00Z", 2, 1),
    ];
    let expected =
        expected.map(|(start, end, received, late)| (start, end, received.into(), late.into()));
    assert_eq!(rows, expected);

    let output = replay(&[&capture, "--json", "--windows", "--window", "500ms"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        text.contains("\"end\":\"2021-05-01T00:00:00.5Z\""),
        "{text}"
    );

    let whole = json(&replay(&[&capture, "--json"]));
    assert_eq!(whole["ledger"]["received"], 6);
    assert_eq!(whole["ledger"]["late"], 1);
}

#[test]
fn hours_and_days_are_documents_of_their_own_beside_windows_or_alone() {
    let folder = TempDir::new().expect("a folder");
    // Midnight in Tokyo is at 15:00 UTC.
    let hour = 3600;
    let packets = [0, 59, 60, hour, 14 * hour, 15 * hour, 15 * hour + 1];
    let capture = file(&folder, "a", &packets);
    let said = |arguments: &[&str]| -> Vec<String> {
        let output = replay(&[&[&capture, "--json"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let said = text.lines().map(|line| {
            let document: Value = serde_json::from_str(line).expect("a document");
            let received = &document["ledger"]["received"];
            let text = |value: &Value| value.as_str().expect("text")[5..16].to_owned();
            let start = text(&document["start"]);
            let Some(rollup) = document.get("rollup") else {
                return format!("{received} from {start}");
            };
            assert_eq!(rollup["zone"], "Asia/Tokyo");
            let [from, to] = ["start", "end"].map(|edge| text(&rollup[edge]));
            let (length, is_over) = (&rollup["length"], &rollup["is_over"]);
            format!("{received} from {start}: {length} from {from} to {to}, {is_over}")
        });
        said.collect()
    };
    let windows = [
        "2 from 05-01T00:00",
        "1 from 05-01T00:01",
        "1 from 05-01T01:00",
        "1 from 05-01T14:00",
        "2 from 05-01T15:00",
    ];
    let hours = [
        "3 from 05-01T00:00: \"hour\" from 05-01T00:00 to 05-01T01:00, true",
        "1 from 05-01T01:00: \"hour\" from 05-01T01:00 to 05-01T02:00, true",
        "1 from 05-01T14:00: \"hour\" from 05-01T14:00 to 05-01T15:00, true",
        "2 from 05-01T15:00: \"hour\" from 05-01T15:00 to 05-01T16:00, false",
    ];
    let days = [
        "5 from 05-01T00:00: \"day\" from 04-30T15:00 to 05-01T15:00, true",
        "2 from 05-01T15:00: \"day\" from 05-01T15:00 to 05-02T15:00, false",
    ];
    let tokyo = ["--zone", "Asia/Tokyo"];
    let with = |arguments: &[&'static str]| said(&[&tokyo[..], arguments].concat());
    assert_eq!(with(&["--rollup", "hours"]), hours);
    assert_eq!(with(&["--rollup", "days"]), days);
    assert_eq!(said(&["--windows"]), windows);
    let all = [
        &windows[..3],
        &hours[..1],
        &windows[3..4],
        &hours[1..2],
        &windows[4..],
        &hours[2..3],
        &days[..1],
        &hours[3..],
        &days[1..],
    ];
    assert_eq!(with(&["--windows", "--rollup", "days,hours"]), all.concat());

    let arguments = ["--rollup", "days", "--zone", "Asia/Tokyo"];
    let text = replay(&[&[capture.as_str()], &arguments[..]].concat()).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    for line in [
        "the day from 2021-05-01T00:00:00+09:00[Asia/Tokyo] to 2021-05-02T00:00:00+09:00[Asia/Tokyo]",
        "the day from 2021-05-02T00:00:00+09:00[Asia/Tokyo] to 2021-05-03T00:00:00+09:00[Asia/Tokyo], \
         ended before it was over",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn a_profile_says_what_a_source_did_and_marks_what_is_an_estimate() {
    let folder = TempDir::new().expect("a folder");
    let mut bytes = pcap(101);
    let mut packet = |second: u32, source: u8, destination: u8, port: u16| {
        let packet = syn([198, 51, 100, source], [203, 0, 113, destination], port);
        bytes.extend(record(1_619_827_200 + second, 500_000, &packet));
    };
    for port in 1..=30 {
        packet(port.into(), 1, 9, port);
    }
    for port in 1..=31 {
        packet(port.into(), 2, port as u8 % 16, port);
    }
    packet(7, 3, 1, 80);
    packet(6, 3, 1, 80);
    packet(5, 3, 2, 23);
    let capture = write(&folder, "profiles", &bytes);
    let document = json(&replay(&[&capture, "--json"]));
    let [second, first, third] = document["profiles"].as_array().expect("rows").as_slice() else {
        panic!("{document}");
    };
    let tools = serde_json::json!({"mirai": 0, "zmap": 0, "masscan": 0});
    assert_eq!(
        *third,
        serde_json::json!({
            "source": "198.51.100.3", "packets": 3, "bytes": 120, "missed": 0,
            "first": "2021-05-01T00:00:05.5Z", "last": "2021-05-01T00:00:07.5Z",
            "scans": 3, "ports": 2, "destinations": 2, "probes": 3, "tools": tools,
            "at": [
                {"class": "tcp_syn", "port": 80, "packets": 2},
                {"class": "tcp_syn", "port": 23, "packets": 1},
            ],
            "large_scale_scanner": false,
        })
    );
    assert_eq!(
        (&first["ports"], &first["destinations"]),
        (&30.into(), &1.into())
    );
    let at = first["at"].as_array().expect("ports");
    assert_eq!((at.len(), &first["packets"]), (12, &30.into()));
    assert_eq!(
        at[11],
        serde_json::json!({"class": "tcp_syn", "port": 12, "packets": 1})
    );
    for (name, about) in [("ports", 31.0), ("destinations", 16.0)] {
        assert!(second[name].is_null(), "{name} is estimated: {second}");
        let estimate = second[format!("{name}_estimate")].as_f64().expect(name);
        let error = second[format!("{name}_error")].as_f64().expect(name);
        assert!((0.09..0.1).contains(&error), "{name}: {error}");
        assert!(
            (estimate - about).abs() < 6.0 * error * about,
            "{name}: {estimate}"
        );
    }
    let text = String::from_utf8(replay(&[&capture]).stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("198.51.100.2 "));
    let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
    let [_, "31", ports, destinations, "-"] = words[..] else {
        panic!("{text}");
    };
    assert!(
        ports.starts_with('~') && destinations.starts_with('~'),
        "{text}"
    );
}

#[test]
fn memory_is_what_it_may_be_however_many_sources_come() {
    let folder = TempDir::new().expect("a folder");
    let used = |sources: u32| {
        let mut bytes = pcap(101);
        for source in 0..sources {
            let [a, b, c, _] = source.to_le_bytes();
            let packet = syn([100, c, b, a], [203, 0, 113, 9], 23);
            bytes.extend(record(1_619_827_200, 0, &packet));
        }
        let capture = write(&folder, "many", &bytes);
        let document = json(&replay(&[&capture, "--json", "--memory", "4"]));
        let parts = document["memory"].as_object().expect("parts").clone();
        let sources = parts
            .iter()
            .filter(|(part, _)| part.starts_with("sources_"));
        let sources: u64 = sources.filter_map(|(_, bytes)| bytes.as_u64()).sum();
        let names: Vec<&str> = parts.keys().map(String::as_str).collect();
        let [
            ..,
            "sizes",
            "sources_estimates",
            "sources_index",
            "sources_lines",
            "sources_pairs",
            "sources_port_packets",
            "sources_ports",
            "sources_rests",
            "ttls",
        ] = names[..]
        else {
            panic!("{names:?}");
        };
        sources
    };
    let (few, many, more) = (used(100), used(100_000), used(400_000));
    // Of what gave way there are estimates, 8 MB at most.
    let most = (4 << 20) + 8_000_000;
    assert!(few < 100_000, "{few}");
    assert!(few < many && many < most && more < most, "{many}, {more}");
}

#[test]
fn bounded_figures_are_the_same_under_a_seed() {
    // More sources than 4 MiB have room for: which of them give way depends on the seed.
    let folder = TempDir::new().expect("a folder");
    let mut bytes = pcap(101);
    for source in 0..60_000_u32 {
        let [a, b, c, _] = source.to_le_bytes();
        let packet = syn([100, c, b, a], [203, 0, 113, 9], 23);
        for _ in 0..1 + source % 3 {
            bytes.extend(record(1_619_827_200, 0, &packet));
        }
    }
    let capture = write(&folder, "many", &bytes);
    let document = |seed: &str| {
        let output = replay(&[&capture, "--json", "--memory", "4", "--seed", seed]);
        assert_eq!(said(&output), "");
        let document = json(&output);
        assert!(document["overflow"]["sources"].as_u64() > Some(0));
        document
    };
    assert_eq!(document("0x1f3a"), document("7994"), "the same number");
    assert_ne!(document("7994"), document("7995"));
}

#[test]
fn nothing_seen_is_said() {
    let folder = TempDir::new().expect("a folder");
    let capture = file(&folder, "none", &[]);
    let document = json(&replay(&[&capture, "--json"]));
    assert!(document["start"].is_null() && document["end"].is_null());
    assert!(document["coverage"].is_null());
    assert_eq!(document["ledger"]["received"], 0);
    assert_eq!(document["classes"]["tcp_syn"]["packets"], 0);
    let windows = replay(&[&capture, "--json", "--windows"]);
    assert_eq!((windows.status.code(), windows.stdout.len()), (Some(0), 0));
    let text = String::from_utf8(replay(&[&capture]).stdout).expect("UTF-8");
    assert!(text.starts_with("nothing seen"), "{text}");
}

#[test]
fn several_files_and_standard_input_are_one_stream() {
    let folder = TempDir::new().expect("a folder");
    let (a, b) = (file(&folder, "a", &[0, 1]), file(&folder, "b", &[70]));
    let document = json(&replay(&[&a, &b, "--json"]));
    assert_eq!(document["ledger"]["received"], 3);
    assert_eq!(document["end"], "2021-05-01T00:02:00Z");

    let mut child = Command::new(&*DARKNET)
        .args(["replay", "-", &b, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("darknet runs");
    let mut input = child.stdin.take().expect("standard input");
    input
        .write_all(&fs::read(&a).expect("a file"))
        .expect("it reads");
    drop(input);
    assert_eq!(json(&child.wait_with_output().expect("it ends")), document);
}

#[test]
fn dark_prefixes_and_exclusions_decide_what_passes() {
    let bundled = bundled();
    let passed = |arguments: &[&str]| {
        let document = json(&replay(
            &[&[bundled.as_str(), "--json"], arguments].concat(),
        ));
        (
            document["ledger"]["passed"].as_u64(),
            document["dark"].clone(),
        )
    };
    let (all, dark) = passed(&[]);
    assert_eq!((all, &dark["addresses"]), (Some(23), &Value::Null));
    let (v6, dark) = passed(&["--dark", "203.0.113.0/24"]);
    assert!(v6 > all && dark["addresses"] == 256);
    let (fewer, dark) = passed(&[
        "--dark",
        "203.0.113.0/24",
        "--exclude",
        "203.0.113.128/25,203.0.113.7",
    ]);
    assert!(fewer > v6 && dark["addresses"] == 127, "{dark}");
    assert_eq!(
        dark["excluded"],
        serde_json::json!(["203.0.113.7/32", "203.0.113.128/25"])
    );
}

#[test]
fn a_long_list_of_prefixes_is_cut_in_the_tables_and_whole_in_json() {
    let prefixes: Vec<String> = (0..18).map(|net| format!("10.0.{net}.0/24")).collect();
    let arguments = [&bundled(), "--dark", &prefixes.join(",")].map(str::to_owned);
    let arguments = arguments.each_ref().map(String::as_str);
    let text = String::from_utf8(replay(&arguments).stdout).expect("UTF-8");
    let listed = "10.0.14.0/24, 10.0.15.0/24 and 2 more (4608 addresses)";
    assert!(text.contains(listed), "{text}");
    let document = json(&replay(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(document["dark"]["prefixes"], serde_json::json!(prefixes));
}

#[test]
fn a_capture_cut_short_gives_its_figures_and_a_warning() {
    let folder = TempDir::new().expect("a folder");
    let whole = fs::read(file(&folder, "whole", &[0, 1, 2])).expect("a file");
    let cut = write(&folder, "cut", &whole[..whole.len() - 1]);
    let output = replay(&[&cut, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let warning =
        format!("warning: {cut}: cut short in the record at byte 136; 2 packets read before it\n");
    assert_eq!(said(&output), warning);
    assert_eq!(json(&output)["ledger"]["received"], 2);
    assert_eq!(json(&output)["incomplete"], false);
}

#[test]
fn a_corrupt_capture_gives_its_figures_and_fails_and_the_next_file_still_counts() {
    let folder = TempDir::new().expect("a folder");
    let mut bytes = fs::read(file(&folder, "whole", &[0, 1, 2])).expect("a file");
    bytes[24 + 56 + 8..][..4].fill(0xff);
    let corrupt = write(&folder, "corrupt", &bytes);
    let good = file(&folder, "good", &[3]);
    let output = replay(&[&corrupt, &good, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error = format!(
        "error: {corrupt}: corrupt at byte 80: a record claims 4294967295 bytes, more than 262144; 1 packets read before it, the rest of the file left out\n"
    );
    assert_eq!(said(&output), error);
    assert_eq!(json(&output)["ledger"]["received"], 2);
    assert_eq!(json(&output)["incomplete"], true);
    // What is missing may be of the window before it, or of the one after.
    let windows = replay(&[&corrupt, &good, "--json", "--windows", "--window", "1s"]);
    let windows = String::from_utf8(windows.stdout).expect("UTF-8");
    assert_eq!(windows.lines().count(), 2, "{windows}");
    assert!(
        windows
            .lines()
            .all(|line| line.contains("\"incomplete\":true"))
    );
    let text = String::from_utf8(replay(&[&corrupt]).stdout).expect("UTF-8");
    assert!(text.contains("INCOMPLETE"), "{text}");
}

#[test]
fn every_wrong_input_is_one_line_that_says_the_way_out() {
    let folder = TempDir::new().expect("a folder");
    let good = file(&folder, "good", &[0]);
    let missing = folder
        .path()
        .join("missing")
        .to_str()
        .expect("UTF-8")
        .to_owned();
    let empty = write(&folder, "empty", b"");
    let text = write(&folder, "text", b"not a capture at all");
    let wlan = write(&folder, "wlan", &pcap(105));
    let directory = folder.path().to_str().expect("UTF-8");
    let cases: &[(&str, &[&str], i32, &str)] = &[
        ("no file", &[], 2, "<FILE>"),
        ("a missing file", &[&missing], 1, "No such file"),
        (
            "a missing file among good ones",
            &[&good, &missing],
            1,
            "No such file",
        ),
        ("a directory", &[directory], 1, "*.pcap"),
        ("an empty file", &[&empty], 1, "it is empty"),
        ("no capture", &[&text], 1, "pcap, pcapng and gzip"),
        ("no readable interface", &[&wlan], 1, "link type 105"),
        ("an unknown option", &[&good, "--jsn"], 2, "--json"),
        (
            "a prefix that is none",
            &[&good, "--dark", "dark"],
            2,
            "203.0.113.0/24",
        ),
        (
            "a prefix too long",
            &[&good, "--dark", "10.0.0.0/33"],
            2,
            "10.0.0.0/33",
        ),
        (
            "host bits",
            &[&good, "--dark", "10.0.0.1/8"],
            2,
            "write 10.0.0.0/8",
        ),
        (
            "host bits",
            &[&good, "--exclude", "10.0.0.1/8"],
            2,
            "write 10.0.0.0/8",
        ),
        (
            "dark and excluded",
            &[&good, "--dark", "10.0.0.0/8", "--exclude", "10.0.0.0/8"],
            2,
            "both dark and excluded",
        ),
        (
            "an exclusion of nothing",
            &[&good, "--dark", "10.0.0.0/8", "--exclude", "11.0.0.0/8"],
            2,
            "no dark prefix",
        ),
        (
            "a window of zero",
            &[&good, "--window", "0s"],
            2,
            "more than 0",
        ),
        (
            "a window without a unit",
            &[&good, "--window", "60"],
            2,
            "as 60s, 5m or 1h",
        ),
        (
            "an option that there is not",
            &[&good, "--nothing"],
            2,
            "'--nothing' found; darknet help",
        ),
        (
            "a negative window",
            &[&good, "--window=-5s"],
            2,
            "more than 0",
        ),
        (
            "a window of years",
            &[&good, "--window", "9000h"],
            2,
            "366 days",
        ),
        (
            "a window of 10,000 years",
            &[&good, "--window", "87660000h"],
            2,
            "366 days",
        ),
        (
            "a window that no number holds",
            &[&good, "--window", "99999999999999999999h"],
            2,
            "--window",
        ),
        (
            "a window of calendar years",
            &[&good, "--window", "10000y"],
            2,
            "--window",
        ),
        (
            "a window that is none",
            &[&good, "--window", "soon"],
            2,
            "--window",
        ),
        (
            "a length that there is not",
            &[&good, "--rollup", "hours,weeks"],
            2,
            "days",
        ),
        (
            "windows longer than their hour",
            &[&good, "--rollup", "days,hours", "--window", "2h"],
            2,
            "an hour at most",
        ),
        (
            "a zone that there is not",
            &[&good, "--rollup", "days", "--zone", "Asia/Tokio"],
            2,
            "a time zone of this host, as \"Asia/Tokyo\"",
        ),
        (
            "a zone of no hours and days",
            &[&good, "--windows", "--zone", "Asia/Tokyo"],
            2,
            "given with --rollup",
        ),
        (
            "a zone that is a file",
            &[&good, "--zone", "../zoneinfo/Asia/Tokyo"],
            2,
            "a time zone of this host",
        ),
        (
            "a seed that is none",
            &[&good, "--seed", "secret"],
            2,
            "0x1f3a",
        ),
        (
            "a seed that is too large",
            &[&good, "--seed", "0x1ffffffffffffffff"],
            2,
            "64 bits",
        ),
        (
            "no workers",
            &[&good, "--workers", "0"],
            2,
            "one for each processor",
        ),
        (
            "too many workers",
            &[&good, "--workers", "65"],
            2,
            "1 to 64",
        ),
        (
            "too little memory",
            &[&good, "--memory", "1"],
            2,
            "at least 4 MiB",
        ),
        ("top of what", &[&good, "--top", "ten"], 2, "0 prints all"),
    ];
    for (name, arguments, code, hint) in cases {
        let output = replay(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(*code), "{name}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(hint),
            "{name}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    let mut others: Vec<(&[&str], &str)> = vec![(&["replai"], "replay")];
    if cfg!(target_os = "linux") {
        // The same option means another thing elsewhere.
        others.push((&["detach", "--pins"], "in which it is pinned"));
    }
    for (arguments, hint) in others {
        let output = Command::new(&*DARKNET).args(arguments).output();
        let output = output.expect("darknet runs");
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.contains(hint), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn every_wrong_configuration_is_one_line_that_says_where_and_the_way_out() {
    let folder = TempDir::new().expect("a folder");
    let cases: &[(&str, &str, &[&str], i32, &str)] = &[
        (
            "cut off",
            "any = true\ndark = [\"10.0.0.0/8\", \"11.",
            &[],
            1,
            ":2: the file ends here",
        ),
        ("no TOML", "\n\ninterface eth1\n", &[], 1, ":3: not TOML"),
        (
            "an unknown key",
            "any = true\n[sample]\none_of = 10\n",
            &[],
            1,
            ":3: unknown key `one_of`, expected `one_in`",
        ),
        (
            "a value of another type",
            "memory = true\n",
            &[],
            1,
            ":1: memory: ",
        ),
        (
            "host bits",
            "dark = [\n\"10.0.0.0/8\",\n\"11.0.0.1/8\",\n]\n",
            &[],
            1,
            ":3: dark[1]: 11.0.0.1/8 has host bits set; write 11.0.0.0/8",
        ),
        (
            "a window of zero",
            "any = true\nwindow = \"0s\"\n",
            &[],
            1,
            ":2: window is 0ns",
        ),
        // A wrong file stays wrong where an option replaces what is wrong in it.
        (
            "an option over what is wrong",
            "dark = [\"dark\"]\n",
            &["--dark", "10.0.0.0/8"],
            1,
            ":1: dark[0]: ",
        ),
        (
            "no interface",
            "dark = [\"10.0.0.0/8\"]\n",
            &[],
            1,
            "error: no interface to watch: name one with --interface IF",
        ),
        (
            "an option that the file makes wrong",
            "dark = [\"10.0.0.0/8\"]\n",
            &["--interface", "nope0", "--exclude", "11.0.0.0/8"],
            2,
            "11.0.0.0/8 is excluded but lies in no dark prefix",
        ),
        (
            "dark by the file, nothing by the kernel's memory",
            "dark = [\"10.0.0.0/8\"]\n",
            &["--interface", "nope0", "--kernel-memory", "0"],
            2,
            "kernel_memory is 0 MiB; it must be at least 1 MiB",
        ),
        ("a sample of none", "", &["--sample", "0"], 2, "--sample"),
        (
            "a wrong action",
            "",
            &["--filter-action", "keep"],
            2,
            "pass",
        ),
    ];
    for (name, text, arguments, code, hint) in cases {
        let config = write(&folder, "telescope.toml", text.as_bytes());
        let line = [&["run", "--config", &config], *arguments].concat();
        let output = Command::new(&*DARKNET).args(line).output();
        let output = output.expect("darknet runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(*code), "{name}: {said}");
        let hint = match hint.strip_prefix(':') {
            Some(hint) => format!("error: {config}:{hint}"),
            None => (*hint).to_owned(),
        };
        assert!(said.starts_with("error: "), "{name}: {said}");
        assert!(said.contains(&hint), "{name}: {said} has no {hint}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    let missing = folder.path().join("missing.toml");
    for arguments in [&["--config", missing.to_str().expect("UTF-8")][..], &[]] {
        let mut command = Command::new(&*DARKNET);
        let output = command.arg("run").args(arguments).output();
        let said = said(&output.expect("darknet runs"));
        let hint = arguments.last().copied().unwrap_or("--interface");
        assert!(said.contains(hint) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let mut child = Command::new(&*DARKNET)
        .args([
            "replay",
            &bundled(),
            "--json",
            "--windows",
            "--window",
            "1ms",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("darknet runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), said(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn the_table_is_for_people() {
    let text = String::from_utf8(replay(&[&bundled()]).stdout).expect("UTF-8");
    for line in [
        "2021-05-01T00:00:00Z to 2021-05-01T00:03:00Z, dark: every destination",
        "ledger  received 2,000 = passed 23 + filtered 0 + counted 1,977",
        "392 hosts in all",
    ] {
        assert!(
            text.lines().any(|printed| printed == line),
            "{line}\n{text}"
        );
    }
    assert!(Path::new(&bundled()).exists());
}
