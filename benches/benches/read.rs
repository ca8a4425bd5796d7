//! What one packet costs to read from a pcap file in memory, beside pcap-parser and pcap-file.

use std::io::Cursor;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::{Captures, source::Source};
use pcap_parser::{PcapBlockOwned, PcapError, traits::PcapReaderIterator};

const PACKETS: u64 = 100_000;

fn ours(bytes: Vec<u8>) -> (u64, u64) {
    let mut captures = Captures::from_reader("bench", Cursor::new(bytes)).expect("a capture");
    let (mut packets, mut length) = (0, 0);
    while let Some(record) = captures.next().expect("packets") {
        packets += 1;
        length += record.data.len() as u64;
    }
    (packets, length)
}

fn pcap_parser(bytes: Vec<u8>) -> (u64, u64) {
    let mut reader = pcap_parser::LegacyPcapReader::new(1 << 18, Cursor::new(bytes)).expect("pcap");
    let (mut packets, mut length) = (0, 0);
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let PcapBlockOwned::Legacy(block) = block {
                    packets += 1;
                    length += block.data.len() as u64;
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return (packets, length),
            Err(PcapError::Incomplete(_)) => reader.refill().expect("memory"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn pcap_file(bytes: Vec<u8>) -> (u64, u64) {
    let mut reader = pcap_file::pcap::PcapReader::new(Cursor::new(bytes)).expect("pcap");
    let (mut packets, mut length) = (0, 0);
    while let Some(packet) = reader.next_packet() {
        packets += 1;
        length += packet.expect("a packet").data.len() as u64;
    }
    (packets, length)
}

fn read(criterion: &mut Criterion) {
    let bytes = darknet_benches::capture("bench.toml", PACKETS);
    let mut group = criterion.benchmark_group("read pcap");
    group.throughput(Throughput::Elements(PACKETS));
    macro_rules! bench {
        ($name:literal, $reader:expr) => {
            assert_eq!($reader(bytes.clone()), (PACKETS, PACKETS * 60), $name);
            group.bench_function($name, |bencher| {
                bencher.iter_batched(|| bytes.clone(), $reader, BatchSize::LargeInput);
            });
        };
    }
    bench!("ours", ours);
    bench!("pcap-parser", pcap_parser);
    bench!("pcap-file", pcap_file);
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
