//! What one packet costs to walk, by kind, beside etherparse; and the class and the marks alone.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::rules::{Class, Link, Outer, Tools, outer, tool::Probe};
use etherparse::{PacketBuilder, SlicedPacket};
use std::hint::black_box;

/// A frame of 60 bytes or more of each kind, with its class.
fn frames() -> Vec<(&'static str, Vec<u8>, Class)> {
    let v4 =
        || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([198, 51, 100, 7], [203, 0, 113, 9], 64);
    let v6 = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([0x20; 16], [0x21; 16], 64);
    let mut frames = Vec::new();
    let mut add = |name, class, builder: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        builder(&mut frame);
        frame.resize(frame.len().max(60), 0);
        frames.push((name, frame, class));
    };
    add("IPv4 SYN", Class::TcpSyn, &|out| {
        v4().tcp(40_000, 23, 1, 1024)
            .syn()
            .write(out, &[])
            .expect("memory");
    });
    add("IPv4 SYN-ACK", Class::TcpBackscatter, &|out| {
        v4().tcp(80, 40_000, 1, 1024)
            .syn()
            .ack(1)
            .write(out, &[])
            .expect("memory");
    });
    add("IPv4 UDP", Class::Udp, &|out| {
        v4().udp(40_000, 53).write(out, &[]).expect("memory");
    });
    add("IPv4 ICMP", Class::Icmp, &|out| {
        v4().icmpv4_echo_request(1, 2)
            .write(out, &[])
            .expect("memory");
    });
    add("IPv6 SYN", Class::TcpSyn, &|out| {
        v6().tcp(40_000, 23, 1, 1024)
            .syn()
            .write(out, &[])
            .expect("memory");
    });
    frames
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(1));
    for (name, frame, class) in frames() {
        let ours = |frame: &[u8]| match outer(frame, Link::Ethernet) {
            Outer::Ip(ip) => ip.packet(frame).ok(),
            _ => None,
        };
        assert_eq!(
            ours(&frame).map(|packet| packet.class),
            Some(class),
            "{name}"
        );
        group.bench_with_input(BenchmarkId::new("ours", name), &frame, |bencher, frame| {
            bencher.iter(|| ours(black_box(frame)));
        });
        assert!(SlicedPacket::from_ethernet(&frame).is_ok(), "{name}");
        group.bench_with_input(
            BenchmarkId::new("etherparse", name),
            &frame,
            |bencher, frame| {
                bencher.iter(|| SlicedPacket::from_ethernet(black_box(frame)).is_ok());
            },
        );
    }
    group.finish();
}

fn rules(criterion: &mut Criterion) {
    criterion.bench_function("class of TCP flags", |bencher| {
        bencher.iter(|| Class::tcp(black_box(0x12)));
    });
    let probe = Probe {
        identification: 54321,
        destination: 0xcb00_7109,
        source_port: 40_000,
        destination_port: 23,
        sequence: 0xcb00_7109,
    };
    criterion.bench_function("marks of tools", |bencher| {
        bencher.iter(|| Tools::of(black_box(probe)));
    });
}

criterion_group!(benches, walk, rules);
criterion_main!(benches);
