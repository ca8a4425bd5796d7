//! Packets of any time, in windows of any length.

use std::{
    io::Cursor,
    num::NonZeroUsize,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use darknet_core::{Captures, Telescope, Window, aggregate::Figures};
use darknet_tests::file::{Pcapng, pcap, record, syn};

const NANOSECONDS: u64 = 1_000_000_000;
/// 2106-02-07T06:28:15Z: the last second of pcap.
const LAST: u64 = u32::MAX as u64;
const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// Packets at these nanoseconds since 1970, in each format that can say so.
fn files(times: &[u64]) -> Vec<(&'static str, Vec<u8>)> {
    let packet = syn([198, 51, 100, 7], [203, 0, 113, 9], 23);
    let split = |time: u64| {
        let seconds = u32::try_from(time / NANOSECONDS).expect("until 2106");
        (seconds, (time % NANOSECONDS) as u32)
    };
    let mut nanoseconds = pcap(101);
    nanoseconds[..4].copy_from_slice(&0xa1b2_3c4du32.to_le_bytes());
    let mut microseconds = pcap(101);
    let format = Pcapng { big_endian: false };
    // if_tsresol: nanoseconds.
    let interface = format.interface(101, 0, &format.option(9, &[9]));
    let mut next_generation = [format.section(), interface].concat();
    for &time in times {
        let (seconds, rest) = split(time);
        microseconds.extend(record(seconds, rest / 1000, &packet));
        nanoseconds.extend(record(seconds, rest, &packet));
        next_generation.extend(format.enhanced(0, time, &packet));
    }
    vec![
        ("pcap", microseconds),
        ("pcap of nanoseconds", nanoseconds),
        ("pcapng", next_generation),
    ]
}

fn said(window: &Window<Figures>) -> String {
    let (start, end) = window.edges.expect("packets");
    let ledger = &window.ledger;
    assert_eq!(ledger.check(), Ok(()));
    format!(
        "{start} to {end}: {}, late {}",
        ledger.observed, ledger.late
    )
}

/// The windows of a capture, and its whole.
fn replayed(bytes: &[u8], length: Duration) -> (Vec<String>, String) {
    let telescope = Telescope::new()
        .with_workers(NonZeroUsize::MIN)
        .and_then(|telescope| telescope.with_window(length))
        .expect("settings");
    let captures =
        || Captures::from_reader("times", Cursor::new(bytes.to_vec())).expect("a capture");
    let mut windows = Vec::new();
    let run = telescope.run_windows(&mut captures(), |window| {
        windows.push(said(window));
        ControlFlow::Continue(())
    });
    run.expect("figures");
    let whole = telescope.run(&mut captures()).expect("figures");
    (windows, said(&whole))
}

#[test]
fn windows_are_where_packets_are_and_nowhere_else() {
    let minute = LAST / 60 * 60;
    // Seconds of packets and the length of windows; the windows, then the whole.
    type Case<'a> = (&'a str, &'a [u64], Duration, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 8] = [
        (
            "1970 and 2106",
            &[0, 59, LAST],
            MINUTE,
            &[
                "1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: 2, late 0",
                "2106-02-07T06:28:00Z to 2106-02-07T06:29:00Z: 1, late 0",
            ],
            "1970-01-01T00:00:00Z to 2106-02-07T06:29:00Z: 3, late 0",
        ),
        (
            "2106, then 1970: no window is older than the open one",
            &[LAST, 0, 59, LAST],
            MINUTE,
            &["2106-02-07T06:28:00Z to 2106-02-07T06:29:00Z: 4, late 2"],
            "2106-02-07T06:28:00Z to 2106-02-07T06:29:00Z: 4, late 2",
        ),
        (
            "backwards within the grace",
            &[minute + 1, minute - 1, minute - 61],
            MINUTE,
            &[
                "2106-02-07T06:27:00Z to 2106-02-07T06:28:00Z: 2, late 1",
                "2106-02-07T06:28:00Z to 2106-02-07T06:29:00Z: 1, late 0",
            ],
            "2106-02-07T06:27:00Z to 2106-02-07T06:29:00Z: 3, late 1",
        ),
        (
            "backwards within the grace, then on",
            &[3601, 3599, 3672],
            MINUTE,
            &[
                "1970-01-01T00:59:00Z to 1970-01-01T01:00:00Z: 1, late 0",
                "1970-01-01T01:00:00Z to 1970-01-01T01:01:00Z: 1, late 0",
                "1970-01-01T01:01:00Z to 1970-01-01T01:02:00Z: 1, late 0",
            ],
            "1970-01-01T00:59:00Z to 1970-01-01T01:02:00Z: 3, late 0",
        ),
        (
            "backwards second by second",
            &[125, 124, 123, 122, 121, 120, 119],
            MINUTE,
            &["1970-01-01T00:02:00Z to 1970-01-01T00:03:00Z: 7, late 1"],
            "1970-01-01T00:02:00Z to 1970-01-01T00:03:00Z: 7, late 1",
        ),
        (
            "windows of a nanosecond",
            &[0, LAST],
            Duration::from_nanos(1),
            &[
                "1970-01-01T00:00:00Z to 1970-01-01T00:00:00.000000001Z: 1, late 0",
                "2106-02-07T06:28:15Z to 2106-02-07T06:28:15.000000001Z: 1, late 0",
            ],
            "1970-01-01T00:00:00Z to 2106-02-07T06:28:15.000000001Z: 2, late 0",
        ),
        (
            "a window longer than the run",
            &[0, 1, 86_400],
            YEAR,
            &["1970-01-01T00:00:00Z to 1971-01-02T00:00:00Z: 3, late 0"],
            "1970-01-01T00:00:00Z to 1971-01-02T00:00:00Z: 3, late 0",
        ),
        (
            "windows of a year",
            &[0, LAST],
            YEAR,
            &[
                "1970-01-01T00:00:00Z to 1971-01-02T00:00:00Z: 1, late 0",
                "2105-04-13T00:00:00Z to 2106-04-14T00:00:00Z: 1, late 0",
            ],
            "1970-01-01T00:00:00Z to 2106-04-14T00:00:00Z: 2, late 0",
        ),
    ];
    for (name, seconds, length, expected, whole) in cases {
        let times: Vec<u64> = seconds.iter().map(|second| second * NANOSECONDS).collect();
        for (format, bytes) in files(&times) {
            let begun = Instant::now();
            let (windows, all) = replayed(&bytes, length);
            assert_eq!(windows, expected, "{name}, {format}");
            assert_eq!(all, whole, "{name}, {format}");
            // There are 70 million minutes between 1970 and 2106.
            assert!(begun.elapsed() < Duration::from_secs(5), "{name}, {format}");
        }
    }
}

#[test]
fn times_beyond_2262_are_cut_to_the_last_that_there_is() {
    let packet = syn([198, 51, 100, 7], [203, 0, 113, 9], 23);
    let format = Pcapng { big_endian: false };
    // if_tsresol: seconds.
    let interface = format.interface(101, 0, &format.option(9, &[0]));
    let mut bytes = [format.section(), interface].concat();
    for time in [0, u64::MAX, i64::MAX as u64, 1] {
        bytes.extend(format.enhanced(0, time, &packet));
    }
    for length in [Duration::from_nanos(1), MINUTE, YEAR] {
        let (windows, whole) = replayed(&bytes, length);
        let [first, last] = &windows[..] else {
            panic!("{length:?}: {windows:?}");
        };
        assert!(first.ends_with(": 1, late 0"), "{length:?}: {first}");
        let end = " to 2262-04-11T23:47:16.854775807Z: 3, late 1";
        assert!(last.ends_with(end), "{length:?}: {last}");
        assert!(whole.ends_with(": 4, late 1"), "{length:?}: {whole}");
    }
}
