use std::cmp::Reverse;

use darknet_ebpf::{Class, Tool};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    Dark,
    aggregate::{
        Census, Counts, Forgotten, Icmp, Payloads, Ports, Survey, Totals,
        hosts::{Hosts, Overflow},
    },
    ledger::Ledger,
    window::{Length, Window},
};

mod observed;
mod profile;
mod rows;

use profile::profile_rows;
pub use profile::{PlaceRow, ProfileRow};
pub use rows::{
    HostBinRow, IcmpRow, NetworkRow, PayloadRow, PortNetworkRow, PortRow, SizeRow, SourceRow,
    TableName, ToolRow, TtlRow,
};
use rows::{icmp_rows, port_rows, spread_rows};

/// The tables of a window: one document of the schema `darknet.snapshot/1`.
///
/// Lists are sorted by packets, most first, then by key. What could not be counted exactly is
/// `None` (in JSON: null), never 0.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name and version of this layout.
    pub schema: &'static str,
    /// Where the first window begins; `None` when nothing was seen.
    pub start: Option<Timestamp>,
    /// Where the last window ends, not part of it; `None` when nothing was seen.
    pub end: Option<Timestamp>,
    /// Which hour or day it is, of those that windows are rolled up to; `None` of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollup: Option<RollupMark>,
    /// Live: the first and the last of the kernel's turns that are in it. Each turn is in one
    /// window; a window that holds a turn that was printed before replaces that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<(u64, u64)>,
    /// What does not add up: empty, unless there is a bug in Darknet.
    pub faults: Vec<String>,
    /// Whether a part of what was given could not be read, so that packets may be missing.
    pub incomplete: bool,
    /// What was watched.
    pub dark: DarkSpace,
    /// Where every packet ended.
    pub ledger: Ledger,
    /// The share of the counted packets that hosts and sources are made of.
    pub coverage: Option<f64>,
    /// Packets and bytes of each class.
    #[serde(serialize_with = "classes")]
    pub classes: [(Class, Counts); Class::ALL.len()],
    /// Packets, bytes and hosts by port.
    pub ports: Vec<PortRow>,
    /// Packets and bytes by ICMP message.
    pub icmp: Vec<IcmpRow>,
    /// Packets and bytes by source network.
    pub networks: Option<Vec<NetworkRow>>,
    /// Packets and bytes by class, port and source network, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_networks: Option<Vec<PortNetworkRow>>,
    /// While a window is open: until when sources and hosts, times to live, sizes and what tables
    /// take are known, as the windows up to then have closed. See
    /// [`keep_observed`](Self::keep_observed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_until: Option<Timestamp>,
    /// Packets by source.
    pub sources: Option<Vec<SourceRow>>,
    /// What the sources with the most packets did; `None` where no packets are delivered.
    pub profiles: Option<Vec<ProfileRow>>,
    /// Packets and hosts with each tool's mark.
    #[serde(serialize_with = "tools")]
    pub tools: [ToolRow; Tool::ALL.len()],
    /// Distinct sources of all packets and of each class but malformed; `None` after an overflow.
    #[serde(serialize_with = "hosts")]
    pub hosts: Option<Hosts>,
    /// Distinct sources by how many packets each sent, from few to many; `None` after an overflow.
    pub host_bins: Option<Vec<HostBinRow>>,
    /// Packets by time to live (hop limit), of each class but malformed; `None` where no packets are
    /// delivered.
    pub ttls: Option<Vec<TtlRow>>,
    /// Packets by size, of each class but malformed; `None` where no packets are delivered.
    pub sizes: Option<Vec<SizeRow>>,
    /// What was sent to the ports of each class with the most packets that carry something; `None`
    /// where packets come without their payloads, and where they are not sampled.
    pub payloads: Option<Vec<PayloadRow>>,
    /// Packets that found a table full, so that figures are missing.
    pub overflow: Overflow,
    /// The bytes that each part of the aggregates takes: of this window, or of all that are in it.
    /// The kernel's tables, and those of windows that are open, are beside these.
    #[serde(serialize_with = "memory")]
    pub memory: Vec<(&'static str, usize)>,
    /// Live: how quick the telescope was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// An hour or a day that windows were rolled up to: see [`Rollup`](crate::window::Rollup).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RollupMark {
    /// An hour or a day.
    pub length: Length,
    /// When it began. The snapshot's own edges are those of its windows.
    pub start: Timestamp,
    /// When it ends, not part of it.
    pub end: Timestamp,
    /// The time zone by its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it was over; `false` where the telescope was stopped in it, or the clock set back for long.
    pub is_over: bool,
}

/// How quick a live telescope was, in nanoseconds, from window to window. `None` where it did not
/// happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timings {
    /// From when the kernel program received the first packet of a batch until the batch had been
    /// observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Spread>,
    /// Packets of a batch; no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Spread>,
    /// Until workers had taken what waited when a window ended, and all of it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Spread>,
    /// From cutting a window until it was ready: the kernel's part, the drain, and the checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<Spread>,
}

/// How samples lie. Each is right to one in a hundred, and more than an hour is an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub samples: u64,
    /// Half of them are at most this.
    pub p50: u64,
    /// 99 in a hundred are at most this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// What was watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DarkSpace {
    /// The dark prefixes; none means every destination.
    pub prefixes: Vec<IpNet>,
    /// Prefixes left out of them.
    pub excluded: Vec<IpNet>,
    /// How many addresses that makes; `None` without a prefix.
    pub addresses: Option<u128>,
    /// Whether it was so for all packets. A process that took over from another may have been told
    /// otherwise, and then its first window is the other's.
    pub is_known: bool,
}

/// What a snapshot is made from.
pub(crate) struct Parts<'a> {
    pub(crate) totals: &'a Totals,
    pub(crate) ports: &'a Ports,
    pub(crate) icmp: &'a Icmp,
    /// `None` after an overflow.
    pub(crate) networks: Option<Vec<(IpNet, Counts)>>,
    /// `None` where they were not told apart, and after an overflow.
    pub(crate) port_networks: Option<Vec<PortNetworkRow>>,
    /// `None` where no packets are delivered.
    pub(crate) survey: Option<&'a Survey>,
    /// `None` where packets come without them, and where they are not sampled.
    pub(crate) payloads: Option<&'a Payloads>,
    pub(crate) memory: Vec<(&'static str, usize)>,
    /// `None` in replay.
    pub(crate) timings: Option<Timings>,
}

impl Snapshot {
    pub(crate) fn new<A>(window: &Window<A>, parts: Parts<'_>, dark: &Dark, top: usize) -> Self {
        let Parts {
            totals,
            ports,
            icmp,
            networks,
            port_networks,
            survey,
            payloads,
            memory,
            timings,
        } = parts;
        let sources = survey.map(|survey| &survey.sources);
        let distributions = survey.map(|survey| &survey.distributions);
        let hosts = sources.and_then(Census::hosts);
        let top_sources = sources.map(|census| (census, census.top_sources(top)));
        let profiles = top_sources.as_ref();
        let profiles = profiles.map(|(census, sources)| profile_rows(census, sources));
        Self {
            schema: "darknet.snapshot/1",
            start: window.edges.map(|(start, _)| start),
            end: window.edges.map(|(_, end)| end),
            rollup: None,
            epochs: window.epochs,
            faults: window.faults.clone(),
            incomplete: !window.complete,
            dark: DarkSpace {
                prefixes: dark.prefixes().to_vec(),
                excluded: dark.excluded().to_vec(),
                addresses: dark.addresses(),
                is_known: window.dark_is_known,
            },
            ledger: window.ledger.clone(),
            coverage: window.ledger.coverage(),
            classes: Class::ALL.map(|class| (class, totals.class(class))),
            ports: port_rows(ports, sources.and_then(Census::port_hosts), top),
            icmp: highest(icmp_rows(icmp), top, |row| {
                (Reverse(row.packets), row.version, row.kind, row.code)
            }),
            networks: networks.map(|networks| {
                let rows = networks.into_iter().map(|(network, counts)| NetworkRow {
                    network,
                    packets: counts.packets,
                    bytes: counts.bytes,
                });
                highest(rows, top, |row| (Reverse(row.packets), row.network))
            }),
            port_networks: port_networks.map(|rows| {
                highest(rows, top, |row| {
                    (Reverse(row.packets), row.class, row.port, row.network)
                })
            }),
            observed_until: None,
            sources: top_sources.and_then(|(census, sources)| {
                let rows = sources.into_iter().map(|row| SourceRow {
                    source: row.source,
                    packets: row.counts.packets,
                });
                let is_complete = census.forgotten() == Forgotten::default();
                is_complete.then(|| rows.collect())
            }),
            profiles,
            tools: Tool::ALL.map(|tool| ToolRow {
                tool,
                packets: totals.tool(tool),
                hosts: hosts.map(|hosts| hosts.tool(tool)),
            }),
            hosts,
            host_bins: sources
                .and_then(Census::packet_bins)
                .map(|bins| bins.iter().map(HostBinRow::from).collect()),
            ttls: distributions.map(|distributions| {
                spread_rows(
                    top,
                    |class| distributions.ttls(class),
                    |class, ttl, packets| TtlRow {
                        class,
                        ttl,
                        packets,
                    },
                )
            }),
            sizes: distributions.map(|distributions| {
                spread_rows(
                    top,
                    |class| distributions.sizes(class),
                    |class, bytes, packets| SizeRow {
                        class,
                        bytes,
                        packets,
                    },
                )
            }),
            payloads: payloads.map(|payloads| {
                let samples = payloads.top(top).into_iter();
                samples.map(PayloadRow::from).collect()
            }),
            overflow: Overflow {
                payloads: payloads.map_or(0, Payloads::forgotten),
                ..sources.map(Census::overflow).unwrap_or_default()
            },
            memory,
            timings: timings.filter(|timings| *timings != Timings::default()),
        }
    }

    /// Distinct sources of a class; `None` for `malformed`, and after an overflow.
    pub fn class_hosts(&self, class: Class) -> Option<u64> {
        let hosts = self.hosts.filter(|_| class != Class::Malformed);
        hosts.map(|hosts| hosts.class(class))
    }
}

/// The first `top` rows by their keys, in order; 0 keeps all.
pub(crate) fn highest<T, K: Ord>(
    rows: impl IntoIterator<Item = T>,
    top: usize,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let keep = |rows: &mut Vec<T>| {
        if top > 0 && top < rows.len() {
            rows.select_nth_unstable_by_key(top - 1, &key);
            rows.truncate(top);
        }
    };
    // Of millions of sources some are asked for: no more than twice as many are ever held.
    let most = match top {
        0 => usize::MAX,
        top => top.saturating_mul(2).max(1 << 10),
    };
    let mut kept = Vec::new();
    for row in rows {
        kept.push(row);
        if kept.len() == most {
            keep(&mut kept);
        }
    }
    keep(&mut kept);
    kept.sort_unstable_by_key(key);
    kept
}

fn classes<S: Serializer>(rows: &[(Class, Counts)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|(class, counts)| (class.name(), counts)))
}

fn tools<S: Serializer>(rows: &[ToolRow], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|row| (row.tool.name(), row)))
}

fn memory<S: Serializer>(
    parts: &[(&'static str, usize)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parts.iter().copied())
}

fn hosts<S: Serializer>(hosts: &Option<Hosts>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("all", &hosts.map(|hosts| hosts.all))?;
    for class in Class::ALL
        .into_iter()
        .filter(|&class| class != Class::Malformed)
    {
        map.serialize_entry(class.name(), &hosts.map(|hosts| hosts.class(class)))?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_highest_are_the_first_of_all_in_order(
            rows in prop::collection::vec(0..1_000_u32, 0..5_000), top in 0..1_500_usize,
        ) {
            let mut all = rows.clone();
            all.sort_unstable_by_key(|row| Reverse(*row));
            all.truncate(if top == 0 { usize::MAX } else { top });
            prop_assert_eq!(highest(rows, top, |row| Reverse(*row)), all);
        }
    }
}
