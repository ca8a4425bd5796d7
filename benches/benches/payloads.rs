//! What a packet's payload costs where it is kept: the same one again and again, and new ones.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use darknet_core::{
    aggregate::{Aggregate as _, Observation, Payloads, Seed},
    rules::{Address, Class, Packet, Payload, Version},
};

const PACKETS: u32 = 1_000_000;

/// UDP to one port, from as many sources.
fn observation(source: u32, seed: &Seed) -> Observation {
    let packet = Packet {
        version: Version::V4,
        class: Class::Udp,
        source: Address::from_words([source, 0, 0, 0]),
        destination_port: 53,
        ..Packet::MALFORMED
    };
    Observation::new(packet, 0, seed)
}

/// Observes a payload of each packet: one that differs in its first bytes where `is_new`.
fn observe(payloads: &mut Payloads, observations: &[Observation], length: u32, is_new: bool) {
    let mut bytes = vec![7; length as usize];
    for (number, observation) in (0..PACKETS).zip(observations) {
        if is_new {
            bytes[..4].copy_from_slice(&number.to_ne_bytes());
        }
        let bytes = &bytes[..];
        payloads.observe_payload(observation, &Payload { bytes, length });
    }
}

fn payloads(criterion: &mut Criterion) {
    let seed = Seed::random();
    let observations: Vec<_> = (0..PACKETS)
        .map(|source| observation(source, &seed))
        .collect();
    let empty = || Payloads::new(8 << 20, &seed);
    let mut group = criterion.benchmark_group("payloads");
    group
        .throughput(Throughput::Elements(u64::from(PACKETS)))
        .sample_size(10);
    for length in [16, 256, 257, 1_400] {
        for is_new in [false, true] {
            let name = format!(
                "{length} bytes, {}",
                if is_new { "new" } else { "the same" }
            );
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    empty,
                    |mut payloads| {
                        observe(&mut payloads, &observations, length, is_new);
                        payloads
                    },
                    BatchSize::LargeInput,
                );
            });
            let mut payloads = empty();
            observe(&mut payloads, &observations, length, is_new);
            let samples = payloads.top(0);
            let kept: u64 = samples.iter().map(|sample| sample.packets).sum();
            assert_eq!(kept + payloads.forgotten(), u64::from(PACKETS));
        }
    }
    group.finish();
}

criterion_group!(benches, payloads);
criterion_main!(benches);
