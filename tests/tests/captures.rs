//! Real captures give exactly what Wireshark's dissectors see in them, and hostile files give no
//! trouble.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Cursor, Read},
    time::{Duration, Instant},
};

use darknet_core::{Captures, Telescope};
use darknet_tests::{testdata, truth::assert_truth};
use flate2::read::GzDecoder;
use xtask::scenario::Written;

#[test]
fn every_real_capture_gives_the_truth() {
    let Some(folder) = testdata("every_real_capture_gives_the_truth") else {
        return;
    };
    let telescope = Telescope::new();
    let truths = fs::read_to_string(folder.join("truth.jsonl")).expect("truth.jsonl");
    let mut compared = BTreeSet::new();
    for line in truths.lines() {
        let truth: Written = serde_json::from_str(line).expect("a line of truth.jsonl");
        let path = folder.join("captures").join(&truth.file);
        let mut captures = Captures::open([path]).expect("a capture");
        let window = telescope.run(&mut captures).expect("figures");
        assert_eq!(captures.damages(), [], "{}", truth.file);
        assert_truth(&truth, &window.snapshot(telescope.dark(), 0));
        compared.insert(truth.file);
    }
    // What is in the folder and not in the truth is known by name.
    let files = fs::read_dir(folder.join("captures")).expect("captures");
    let files: BTreeSet<String> = files
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    let others: Vec<&String> = files.difference(&compared).collect();
    assert_eq!(others, ["ppp-null-loopback.pcap", "ppp-solaris.snoop"]);

    let path = folder.join("captures/ppp-null-loopback.pcap");
    let mut captures = Captures::open([path]).expect("a capture");
    let ledger = telescope.run(&mut captures).expect("figures").ledger;
    assert_eq!((ledger.received, ledger.counted), (3, 2));

    let path = folder.join("captures/ppp-solaris.snoop");
    let refused = Captures::open([path]).expect_err("not pcap").to_string();
    assert!(
        refused.contains("snoop") && !refused.contains('\n'),
        "{refused}"
    );
}

#[test]
fn hostile_files_give_no_crash_no_hang_and_no_growth() {
    let Some(folder) = testdata("hostile_files_give_no_crash_no_hang_and_no_growth") else {
        return;
    };
    // Small tables, so that a file that made them grow would show.
    let telescope = Telescope::new().with_memory(4 << 20).expect("enough");
    let (mut files, mut packets, mut damaged, mut refused) = (0, 0, 0, 0);
    let before = peak_memory();
    let archives = fs::read_dir(folder.join("robust")).expect("archives");
    for archive in archives.map(|archive| archive.expect("a file").path()) {
        let unpacked = GzDecoder::new(File::open(&archive).expect("an archive"));
        let mut archive = tar::Archive::new(unpacked);
        for entry in archive.entries().expect("a tar file") {
            let mut entry = entry.expect("an entry");
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().expect("a path").into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("bytes");
            let begun = Instant::now();
            files += 1;
            let captures = Captures::from_reader(&path, Cursor::new(bytes));
            match captures.and_then(|mut captures| {
                let window = telescope.run(&mut captures)?;
                packets += window.ledger.received;
                damaged += captures.damages().len();
                Ok(())
            }) {
                Ok(()) => {}
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
            let took = begun.elapsed();
            assert!(
                took < Duration::from_secs(5),
                "{} took {took:?}",
                path.display()
            );
        }
    }
    // As many as there are, so that an archive that is not read is missed.
    assert!(files > 900, "{files} files");
    assert!(
        packets > 5_000 && damaged > 5 && refused > 100,
        "{packets} {damaged} {refused}"
    );
    let grown = peak_memory() - before;
    assert!(grown < 200 << 20, "grown by {grown} bytes");
}

/// The most memory that this process has had, in bytes: `VmHWM` of proc(5).
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.expect("VmHWM").split_whitespace().nth(1);
    words
        .and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        << 10
}
