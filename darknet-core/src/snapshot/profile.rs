use std::net::IpAddr;

use darknet_ebpf::{PortTable, Tool};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::TableName;
use crate::{
    aggregate::{Census, Estimate, Profile, TopSource},
    time::timestamp,
};

/// A row of `profiles`: what a source did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProfileRow {
    /// The address.
    pub source: IpAddr,
    /// Packets of every class but malformed.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Packets that it may have sent beside these, at most: 0 unless it gave way to others.
    pub missed: u64,
    /// The time of its first packet.
    pub first: Timestamp,
    /// The time of its last packet.
    pub last: Timestamp,
    /// Packets of `tcp_syn` and `udp`; `None` from 2^32 - 1 on, where they are not counted any more.
    pub scans: Option<u64>,
    /// Distinct destination ports of these: in JSON `ports` while exact, which is to 30, then
    /// `ports_estimate` and `ports_error`.
    #[serde(flatten, serialize_with = "ports")]
    pub ports: Estimate,
    /// Distinct destination addresses: in JSON `destinations` while exact, which is to 15, then
    /// `destinations_estimate` and `destinations_error`.
    #[serde(flatten, serialize_with = "destinations")]
    pub destinations: Estimate,
    /// The 12 ports that it sent the most packets to, most first; `None` where some of its packets may be
    /// missing there.
    pub at: Option<Vec<PlaceRow>>,
    /// Packets that could carry a tool's mark: `tcp_syn` over IPv4; `None` as for `scans`.
    pub probes: Option<u64>,
    /// How many of these carry the mark of each tool; `None` as for `scans`.
    #[serde(serialize_with = "tools")]
    pub tools: [(Tool, Option<u64>); Tool::ALL.len()],
    /// Whether NICTER's rule of a day holds for it: at least 30 ports and 300,000 scans.
    pub large_scale_scanner: bool,
}

/// A port at which a source was seen, and its packets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceRow {
    /// The class, or `tcp_backscatter_destination`.
    pub class: TableName,
    /// The port.
    pub port: u16,
    /// Packets. One of `tcp_backscatter` is in a row of `tcp_backscatter_destination` too.
    pub packets: u64,
}

/// Ports in a profile at most.
const PORTS: usize = 12;

/// The profiles of these sources, in their order.
pub(super) fn profile_rows(census: &Census, sources: &[TopSource]) -> Vec<ProfileRow> {
    let addresses: Vec<IpAddr> = sources.iter().map(|source| source.source).collect();
    let ports = census.port_packets(&addresses, PORTS);
    let row = |source: &TopSource| {
        let ports = ports.get(&source.source);
        let ports = ports.map(|ports| ports.iter().map(place).collect());
        Some(row(source, &census.profile(source.source)?, ports))
    };
    sources.iter().filter_map(row).collect()
}

fn place(&(table, port, packets): &(PortTable, u16, u64)) -> PlaceRow {
    PlaceRow {
        class: TableName(table),
        port,
        packets,
    }
}

fn row(source: &TopSource, profile: &Profile, at: Option<Vec<PlaceRow>>) -> ProfileRow {
    ProfileRow {
        source: profile.source,
        packets: profile.packets,
        bytes: source.counts.bytes,
        missed: profile.missed,
        first: timestamp(profile.first),
        last: timestamp(profile.last),
        scans: counted(profile.scans),
        ports: profile.ports,
        destinations: profile.destinations,
        at,
        probes: counted(profile.probes),
        tools: Tool::ALL.map(|tool| (tool, counted(profile.tool(tool)))),
        large_scale_scanner: profile.is_large_scale_scanner(),
    }
}

/// A count, unless it has stopped.
fn counted(packets: u32) -> Option<u64> {
    (packets < u32::MAX).then_some(packets.into())
}

fn ports<S: Serializer>(ports: &Estimate, serializer: S) -> Result<S::Ok, S::Error> {
    let keys = ["ports", "ports_estimate", "ports_error"];
    estimate(ports, keys, serializer)
}

fn destinations<S: Serializer>(destinations: &Estimate, serializer: S) -> Result<S::Ok, S::Error> {
    let keys = [
        "destinations",
        "destinations_estimate",
        "destinations_error",
    ];
    estimate(destinations, keys, serializer)
}

/// A number by its key, or an estimate and its error by theirs.
fn estimate<S: Serializer>(
    of: &Estimate,
    [exact, estimate, error]: [&'static str; 3],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if of.is_exact() {
        map.serialize_entry(exact, &of.count)?;
    } else {
        map.serialize_entry(estimate, &of.count)?;
        map.serialize_entry(error, &of.error)?;
    }
    map.end()
}

fn tools<S: Serializer>(
    tools: &[(Tool, Option<u64>); Tool::ALL.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tools.iter().map(|(tool, packets)| (tool.name(), packets)))
}

#[cfg(test)]
mod tests {
    use darknet_ebpf::{Class, Packet};

    use super::*;
    use crate::aggregate::{Aggregate, Observation, Seed};

    #[test]
    fn what_has_stopped_counting_is_null() {
        let seed = Seed::fixed(1);
        let mut census = Census::new(1 << 20, &seed);
        let packet = Packet {
            class: Class::TcpSyn,
            ..Packet::MALFORMED
        };
        census.observe(&Observation::new(packet, 0, &seed));
        let source = census.top_sources(1)[0];
        let mut profile = census.profile(source.source).expect("it is there");
        let mut said = |scans, probes| {
            (profile.scans, profile.probes) = (scans, probes);
            let row = row(&source, &profile, None);
            let row = serde_json::to_value(row).expect("a document");
            [&row["scans"], &row["probes"], &row["tools"]["zmap"]].map(|value| value.as_u64())
        };
        let last = u32::MAX - 1;
        assert_eq!(said(1, last), [Some(1), Some(last.into()), Some(0)]);
        assert_eq!(said(last, u32::MAX), [Some(last.into()), None, Some(0)]);
        assert_eq!(said(u32::MAX, 1), [None, Some(1), Some(0)]);
    }
}
