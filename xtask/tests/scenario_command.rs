//! `cargo xtask scenario`: arguments, files and messages.

use std::fs;
use std::path::Path;

use clap::Parser;
use xtask::scenario::{Error, Scenario, Written};
use xtask::scenario_command::{Arguments, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

const SURGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/surge.toml");

fn command(arguments: &[&str]) -> Result<(), Error> {
    run(Command::parse_from([&["scenario", SURGE], arguments].concat()).arguments)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn the_command_writes_what_the_library_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let [output, truth, plain] = ["a.pcap", "a.json", "b.pcap"].map(|n| directory.path().join(n));
    let overrides = ["--count", "500", "--seed", "9"];
    let files = ["--output", text(&output), "--truth", text(&truth)];
    command(&[&overrides[..], &files].concat()).expect("files");
    command(&[&overrides[..], &["--output", text(&plain)]].concat()).expect("a file");

    let mut scenario = Scenario::read(SURGE).expect("a scenario");
    (scenario.count, scenario.seed) = (500, 9);
    let mut expected = Vec::new();
    let plan = scenario.compile().expect("a plan");
    let mut written = plan
        .write_pcap_with_truth(&mut expected)
        .expect("a vector takes all");
    written.file = "a.pcap".to_owned();
    assert!(fs::read(&output).expect("a capture") == expected);
    assert!(fs::read(&plain).expect("a capture") == expected);
    let read: Written =
        serde_json::from_slice(&fs::read(&truth).expect("truth")).expect("its shape");
    assert_eq!(read, written);
}

#[test]
fn the_command_names_what_it_cannot_write() {
    for (name, arguments, words) in [
        (
            "both on standard output",
            &["--output", "-", "--truth", "-"][..],
            "write a file name",
        ),
        (
            "no such directory",
            &["--output", "/nowhere/a.pcap"],
            "/nowhere/a.pcap: cannot be written: ",
        ),
        (
            "nothing to write",
            &["--output", "/dev/null", "--count", "0"],
            "surge.toml: count: ",
        ),
    ] {
        let error = command(arguments).expect_err(name).to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}
