//! What the benches share.
#![forbid(unsafe_code)]

/// Interleaved rounds, and the quartiles of what they measure.
pub mod rounds;
/// Which networks packets come from.
pub mod sources;
/// The kernel program that gives each run another source, and its floors.
pub mod varied;

use darknet_core::{
    Captures,
    aggregate::{Observation, Seed},
    rules::{Address, Outer, Packet, Version, outer},
    source::Source,
};
use xtask::{cargo::root, scenario::Scenario};

/// The capture of a scenario, with `count` packets.
///
/// # Panics
///
/// If the scenario is missing or wrong.
pub fn capture(name: &str, count: u64) -> Vec<u8> {
    let path = root().join("xtask/scenarios").join(name);
    let mut scenario = Scenario::read(path).expect("a scenario");
    scenario.count = count;
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect("a plan");
    plan.write_pcap(&mut bytes).expect("memory");
    bytes
}

/// The observations of a capture's packets.
///
/// # Panics
///
/// If the capture cannot be read.
pub fn observations(capture: Vec<u8>, seed: &Seed) -> Vec<Observation> {
    let reader = std::io::Cursor::new(capture);
    let mut captures = Captures::from_reader("bench", reader).expect("a capture");
    let mut observations = Vec::new();
    while let Some(record) = captures.next().expect("a packet") {
        let Some(Outer::Ip(ip)) = record.link.map(|link| outer(record.data, link)) else {
            continue;
        };
        let packet = ip.packet(record.data).unwrap_or(Packet::MALFORMED);
        let time = record.time.unwrap_or_default();
        observations.push(Observation::new(packet, time, seed));
    }
    observations
}

/// The same packets with as many sources as packets, in no order.
pub fn new_sources(observations: &[Observation], seed: &Seed) -> Vec<Observation> {
    let new = (0..)
        .zip(observations)
        .map(|(number, observation): (u32, _)| {
            let mut packet = observation.packet;
            packet.version = Version::V4;
            packet.source = Address::from_words([number.wrapping_mul(0x9e37_79b9), 0, 0, 0]);
            Observation::new(packet, observation.time, seed)
        });
    new.collect()
}
