//! What capture files may look like: byte orders, resolutions, blocks, compression, damage.

use std::io::{Cursor, Write};

use darknet_core::{
    Captures, Error, Nanoseconds, Telescope, Window,
    aggregate::{Aggregate, Figures, Observation},
    source::Source,
};
use darknet_tests::file::{Pcapng, pcap, record, syn};
use flate2::{Compression, write::GzEncoder};

const SOURCE: [u8; 4] = [198, 51, 100, 7];
const DARK: [u8; 4] = [203, 0, 113, 9];
/// LINKTYPE_RAW.
const RAW: u16 = 101;
const SECOND: Nanoseconds = 1_000_000_000;

fn open(bytes: &[u8]) -> Result<Captures, Error> {
    Captures::from_reader("file", Cursor::new(bytes.to_vec()))
}

/// The times of the packets in a file, which must be read to its end.
fn times(bytes: &[u8]) -> Vec<Option<Nanoseconds>> {
    let mut captures = open(bytes).expect("a capture");
    let mut times = Vec::new();
    while let Some(record) = captures.next().expect("packets") {
        assert_eq!(record.data, syn(SOURCE, DARK, 23));
        times.push(record.time);
    }
    assert_eq!(captures.damages(), []);
    times
}

fn run(bytes: &[u8]) -> (Window<Figures>, Captures) {
    let mut captures = open(bytes).expect("a capture");
    let window = Telescope::new().run(&mut captures).expect("figures");
    (window, captures)
}

#[test]
fn pcap_has_four_magic_numbers() {
    let packet = syn(SOURCE, DARK, 23);
    for (magic, nanoseconds, big_endian) in [
        (0xa1b2_c3d4u32, 1000, true),
        (0xa1b2_c3d4, 1000, false),
        (0xa1b2_3c4d, 1, true),
        (0xa1b2_3c4d, 1, false),
    ] {
        let number = |number: u32| match big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        let half = |number: u16| match big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        let mut file = Vec::from(number(magic));
        file.extend(half(2));
        file.extend(half(4));
        // The upper half of the link type says how long the frame check sequence is.
        for field in [0, 0, 65_535, 0x2000_0000 | u32::from(RAW)] {
            file.extend(number(field));
        }
        for (seconds, fraction) in [(5, 999_999), (u32::MAX, 1)] {
            for field in [seconds, fraction, 40, 40] {
                file.extend(number(field));
            }
            file.extend(&packet);
        }
        let expected = [
            Some(5 * SECOND + 999_999 * nanoseconds),
            Some(Nanoseconds::from(u32::MAX) * SECOND + nanoseconds),
        ];
        assert_eq!(
            times(&file),
            expected,
            "{magic:#x}, big-endian: {big_endian}"
        );
    }
}

#[test]
fn old_versions_of_pcap_have_the_lengths_the_other_way_round() {
    for (minor, captured_at) in [(2, 12), (3, 8), (3, 12), (4, 8)] {
        let mut file = pcap(RAW.into());
        file[6] = minor;
        let mut record = record(1, 0, &syn(SOURCE, DARK, 23));
        let original_at = 20 - captured_at;
        record[original_at..][..4].copy_from_slice(&1500u32.to_le_bytes());
        file.extend(record);
        assert_eq!(
            times(&file),
            [Some(SECOND)],
            "2.{minor}, captured at {captured_at}"
        );
    }
}

#[test]
fn pcapng_has_two_byte_orders_and_many_clocks() {
    for big_endian in [false, true] {
        let ng = Pcapng { big_endian };
        let offset = |seconds: i64| match big_endian {
            true => seconds.to_be_bytes(),
            false => seconds.to_le_bytes(),
        };
        let resolution = |resolution: u8| ng.option(9, &[resolution]);
        let comment = ng.option(1, b"five!");
        let end = ng.option(0, &[]);
        for (name, options, units, expected) in [
            ("no option: microseconds", vec![], 1_500_000, 3 * SECOND / 2),
            ("seconds", resolution(0), 7, 7 * SECOND),
            ("milliseconds", resolution(3), 1500, 3 * SECOND / 2),
            (
                "nanoseconds",
                resolution(9),
                1_500_000_001,
                3 * SECOND / 2 + 1,
            ),
            (
                "picoseconds",
                resolution(12),
                1_500_000_000_999,
                3 * SECOND / 2,
            ),
            ("2^-1 s", resolution(0x81), 3, 3 * SECOND / 2),
            ("2^-20 s", resolution(0x94), 3 << 19, 3 * SECOND / 2),
            ("2^-127 s", resolution(0xff), u64::MAX, 0),
            ("10^-127 s", resolution(127), u64::MAX, 0),
            ("beyond 64 bits", resolution(0), u64::MAX, Nanoseconds::MAX),
            (
                "an offset",
                ng.option(14, &offset(-100)),
                1_500_000,
                -197 * SECOND / 2,
            ),
            (
                "after a comment",
                [&comment[..], &resolution(9), &end, &resolution(3)].concat(),
                5,
                5,
            ),
            (
                "an option cut short",
                vec![9, 0, 200, 0],
                1_500_000,
                3 * SECOND / 2,
            ),
        ] {
            let mut file = ng.section();
            file.extend(ng.interface(RAW, 0, &options));
            file.extend(ng.enhanced(0, units, &syn(SOURCE, DARK, 23)));
            assert_eq!(
                times(&file),
                [Some(expected)],
                "{name}, big-endian: {big_endian}"
            );
        }
    }
}

#[test]
fn sections_interfaces_and_block_types_mix() {
    let packet = syn(SOURCE, DARK, 23);
    let (little, big) = (Pcapng { big_endian: false }, Pcapng { big_endian: true });
    let mut file = little.section();
    file.extend(little.interface(RAW, 40, &[]));
    file.extend(little.interface(RAW, 0, &little.option(9, &[9])));
    file.extend(little.block(0x0bad, b"a block of one's own"));
    file.extend(little.enhanced(1, 1, &packet));
    file.extend(little.enhanced(0, 1, &packet));
    // More was on the wire than the interface's snap length.
    file.extend(little.simple(1500, &packet));
    file.extend(big.section());
    file.extend(big.interface(RAW, 0, &big.option(9, &[3])));
    file.extend(big.obsolete(0, 2, &packet));
    file.extend(big.simple(40, &packet));
    assert_eq!(
        times(&file),
        [Some(1), Some(1000), None, Some(2_000_000), None]
    );

    let (window, _) = run(&file);
    assert_eq!((window.ledger.received, window.ledger.untimed), (5, 2));
}

#[test]
fn gzip_is_undone_also_in_several_members() {
    let whole = [pcap(RAW.into()), record(1, 0, &syn(SOURCE, DARK, 23))].concat();
    let compress = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    assert_eq!(times(&compress(&whole)), [Some(SECOND)]);
    let members = [compress(&whole[..30]), compress(&whole[30..])].concat();
    assert_eq!(times(&members), [Some(SECOND)]);

    let cut = &compress(&whole)[..40];
    let (_, captures) = run(cut);
    assert_eq!(captures.damages()[0].corrupt, None, "cut short");
    let mut garbled = compress(&[whole.clone(), vec![0; 100]].concat());
    let checksum = garbled.len() - 6;
    garbled[checksum] ^= 1;
    let (_, captures) = run(&garbled);
    assert!(captures.damages()[0].corrupt.is_some(), "a wrong checksum");
}

#[test]
fn an_unknown_link_type_among_known_ones_passes() {
    let ng = Pcapng { big_endian: false };
    let packet = syn(SOURCE, DARK, 23);
    let mut file = ng.section();
    // LINKTYPE_IEEE802_11.
    file.extend(ng.interface(105, 0, &[]));
    file.extend(ng.enhanced(0, 1, &packet));
    let refused = Telescope::new()
        .run(&mut open(&file).expect("pcapng"))
        .expect_err("no interface that is read")
        .to_string();
    assert!(
        refused.contains("no readable interface: link type 105"),
        "{refused}"
    );

    file.extend(ng.interface(RAW, 0, &[]));
    file.extend(ng.enhanced(1, 1, &packet));
    let (window, captures) = run(&file);
    assert!(captures.is_complete());
    assert_eq!((window.ledger.received, window.ledger.counted), (2, 1));
}

#[test]
fn what_comes_before_damage_counts() {
    let ng = Pcapng { big_endian: true };
    let packet = syn(SOURCE, DARK, 23);
    let one = [pcap(RAW.into()), record(1, 0, &packet)].concat();
    let one_ng = [
        ng.section(),
        ng.interface(RAW, 0, &[]),
        ng.enhanced(0, 1, &packet),
    ]
    .concat();
    let mut huge = record(2, 0, &packet);
    huge[8..12].copy_from_slice(&262_145u32.to_le_bytes());
    let mut unequal = ng.enhanced(0, 2, &packet);
    *unequal.last_mut().expect("bytes") ^= 4;
    let mut overfull = ng.enhanced(0, 2, &packet);
    overfull[20..24].copy_from_slice(&ng.number(41));
    let two = |first: &[u8], second: &[u8]| [first, second].concat();
    for (name, file, corrupt) in [
        ("pcap: a header cut short", two(&one, &huge[..15]), None),
        (
            "pcap: a packet cut short",
            two(&one, &record(2, 0, &packet)[..55]),
            None,
        ),
        (
            "pcap: a record beyond all bounds",
            two(&one, &huge),
            Some("262145"),
        ),
        (
            "pcapng: a header cut short",
            two(&one_ng, &[0, 0, 0, 6]),
            None,
        ),
        (
            "pcapng: a block cut short",
            two(&one_ng, &unequal[..60]),
            None,
        ),
        (
            "pcapng: two lengths",
            two(&one_ng, &unequal),
            Some("does not end with"),
        ),
        (
            "pcapng: more packet than block",
            two(&one_ng, &overfull),
            Some("claims 41"),
        ),
        (
            "pcapng: an interface that is not there",
            two(&one_ng, &ng.enhanced(1, 2, &packet)),
            Some("interface 1"),
        ),
        (
            "pcapng: a length that is none",
            two(
                &one_ng,
                &[ng.number(6), ng.number(33), ng.number(0)].concat(),
            ),
            Some("33 bytes"),
        ),
        (
            "pcapng: a block beyond all bounds",
            two(
                &one_ng,
                &[ng.number(6), ng.number(1 << 30), ng.number(0)].concat(),
            ),
            Some("1073741824"),
        ),
        (
            "pcapng: a section without byte order",
            two(&one_ng, &[[10, 13, 13, 10], [0; 4], [1; 4]].concat()),
            Some("byte order"),
        ),
        (
            "pcapng: a short interface block",
            two(&one_ng, &ng.block(1, &[0; 4])),
            Some("too short"),
        ),
    ] {
        let (window, captures) = run(&file);
        let [damage] = captures.damages() else {
            panic!("{name}: {:?}", captures.damages());
        };
        assert_eq!(window.ledger.counted, 1, "{name}");
        assert_eq!(damage.packets, 1, "{name}");
        let before = if file.starts_with(&one) {
            one.len()
        } else {
            one_ng.len()
        };
        assert_eq!(damage.offset, before as u64, "{name}");
        assert_eq!(captures.is_complete(), corrupt.is_none(), "{name}");
        assert_eq!(window.complete, corrupt.is_none(), "{name}");
        let said = damage.corrupt.clone().unwrap_or_default();
        assert!(said.contains(corrupt.unwrap_or_default()), "{name}: {said}");
        assert_eq!(
            damage.corrupt.is_some(),
            corrupt.is_some(),
            "{name}: {said}"
        );
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    for (bytes, said) in [
        (&b""[..], "it is empty"),
        (b"\xd4\xc3", "within 4 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin as one"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "ends within the 24 bytes"),
        (b"\x28\xb5\x2f\xfd rest", "zstd -dc"),
        (b"\xfd7zXZ\0 rest", "xz -dc"),
        (b"BZh91AY&SY", "bzip2 -dc"),
        (b"snoop\0\0\0", "editcap"),
        (b"\x1f\x8b\x08 no gzip", "could not be read"),
        (
            b"\x0a\x0d\x0d\x0a\0\0\0\x1cno magic",
            "does not begin as one",
        ),
    ] {
        let refused = open(bytes).expect_err(said).to_string();
        assert!(refused.contains("file: not a capture"), "{refused}");
        assert!(refused.contains(said), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }
    let refused = open(&pcap(105)).expect_err("802.11").to_string();
    assert!(
        refused.contains("no readable interface: link type 105"),
        "{refused}"
    );
    let mut version = pcap(RAW.into());
    version[4] = 3;
    assert!(
        open(&version)
            .expect_err("3.4")
            .to_string()
            .contains("version 3.4")
    );
}

/// The order in which packets arrive at an aggregate, by shard.
#[derive(Default)]
struct Arrival(Vec<(usize, Nanoseconds)>);

impl Aggregate for Arrival {
    fn observe(&mut self, observation: &Observation) {
        self.0.push((observation.shard(), observation.time));
    }
    fn merge(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }
    fn reset(&mut self) {
        self.0.clear();
    }
}

#[test]
fn an_aggregate_of_one_s_own_sees_each_shard_in_order() {
    let mut file = pcap(RAW.into());
    for number in 0..5000u32 {
        let [_, _, high, low] = (number % 300).to_be_bytes();
        file.extend(record(1, number, &syn([10, 0, high, low], DARK, 23)));
    }
    let mut seen: Vec<(usize, Nanoseconds)> = Vec::new();
    let telescope = Telescope::new();
    let closed = telescope.run_windows_with(
        &mut open(&file).expect("a capture"),
        Arrival::default,
        |window| {
            seen.extend(&window.aggregate.0);
            std::ops::ControlFlow::Continue(())
        },
    );
    closed.expect("figures");
    assert_eq!(seen.len(), 5000);
    for shard in 0..darknet_core::aggregate::SHARDS {
        let times = seen
            .iter()
            .filter(|seen| seen.0 == shard)
            .map(|seen| seen.1);
        assert!(times.is_sorted(), "shard {shard}");
    }
}
