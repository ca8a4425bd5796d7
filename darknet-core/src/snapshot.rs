use std::{cmp::Reverse, fmt, net::IpAddr};

use darknet_ebpf::{Class, IcmpKey, PortTable, Tool};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    Dark,
    aggregate::{
        Counts, Icmp, Ports, Sources, Totals,
        sources::{Hosts, Overflow, PortHosts},
    },
    ledger::Ledger,
    window::Window,
};

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
    /// Live: the first and the last of the kernel's turns that are in it. Each turn is in one
    /// document; one that holds a turn that was printed before replaces that.
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
    /// Packets by source.
    pub sources: Option<Vec<SourceRow>>,
    /// Packets and hosts with each tool's mark.
    #[serde(serialize_with = "tools")]
    pub tools: [ToolRow; Tool::ALL.len()],
    /// Distinct sources of all packets and of each class but malformed; `None` after an overflow.
    #[serde(serialize_with = "hosts")]
    pub hosts: Option<Hosts>,
    /// Packets that found a table full, so that figures are missing.
    pub overflow: Overflow,
    /// Live: how quick the telescope was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
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

/// A row of `ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// The class, or `tcp_backscatter_destination`.
    pub class: TableName,
    /// The port.
    pub port: u16,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Distinct sources.
    pub hosts: Option<u64>,
}

/// A table of ports, shown by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName(pub PortTable);

impl Serialize for TableName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.0.name())
    }
}

/// A row of `icmp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IcmpRow {
    /// 4 or 6.
    pub version: u8,
    /// The type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A row of `networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkRow {
    /// IPv4 /24 or IPv6 /48.
    pub network: IpNet,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A row of `port_networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortNetworkRow {
    /// The class.
    pub class: TableName,
    /// The port.
    pub port: u16,
    /// The source network.
    pub network: IpNet,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A row of `sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// The address.
    pub source: IpAddr,
    /// Packets.
    pub packets: u64,
}

/// A row of `tools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ToolRow {
    /// The tool.
    #[serde(skip)]
    pub tool: Tool,
    /// Packets with its mark.
    pub packets: u64,
    /// Distinct sources of them.
    pub hosts: Option<u64>,
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
    pub(crate) sources: Option<&'a Sources>,
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
            sources,
            timings,
        } = parts;
        let hosts = sources.and_then(Sources::hosts);
        Self {
            schema: "darknet.snapshot/1",
            start: window.edges.map(|(start, _)| start),
            end: window.edges.map(|(_, end)| end),
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
            ports: port_rows(ports, sources.and_then(Sources::port_hosts), top),
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
            sources: sources.and_then(Sources::iter).map(|sources| {
                let rows = sources.map(|(source, counts)| SourceRow {
                    source,
                    packets: counts.packets,
                });
                highest(rows, top, |row| (Reverse(row.packets), row.source))
            }),
            tools: Tool::ALL.map(|tool| ToolRow {
                tool,
                packets: totals.tool(tool),
                hosts: hosts.map(|hosts| hosts.tool(tool)),
            }),
            hosts,
            overflow: sources.map(Sources::overflow).unwrap_or_default(),
            timings: timings.filter(|timings| *timings != Timings::default()),
        }
    }

    /// Distinct sources of a class; `None` for `malformed`, and after an overflow.
    pub fn class_hosts(&self, class: Class) -> Option<u64> {
        let hosts = self.hosts.filter(|_| class != Class::Malformed);
        hosts.map(|hosts| hosts.class(class))
    }
}

fn port_rows(ports: &Ports, hosts: Option<PortHosts>, top: usize) -> Vec<PortRow> {
    let mut tables = PortTable::ALL.map(|_| Vec::new());
    for (table, port, counts) in ports.iter() {
        tables[table as usize].push(PortRow {
            class: TableName(table),
            port,
            packets: counts.packets,
            bytes: counts.bytes,
            hosts: hosts.as_ref().map(|hosts| hosts.get(table, port)),
        });
    }
    let key = |row: &PortRow| (Reverse(row.packets), row.class, row.port);
    let tables = tables.into_iter().flat_map(|rows| highest(rows, top, key));
    highest(tables, 0, key)
}

fn icmp_rows(icmp: &Icmp) -> impl Iterator<Item = IcmpRow> + '_ {
    icmp.iter().map(
        |(
            IcmpKey {
                version,
                kind,
                code,
            },
            counts,
        )| IcmpRow {
            version: version as u8,
            kind,
            code,
            packets: counts.packets,
            bytes: counts.bytes,
        },
    )
}

/// The first `top` rows by their keys, in order; 0 keeps all.
pub(crate) fn highest<T, K: Ord>(
    rows: impl IntoIterator<Item = T>,
    top: usize,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut rows: Vec<T> = rows.into_iter().collect();
    if top > 0 && top < rows.len() {
        rows.select_nth_unstable_by_key(top - 1, &key);
        rows.truncate(top);
    }
    rows.sort_unstable_by_key(key);
    rows
}

fn classes<S: Serializer>(rows: &[(Class, Counts)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|(class, counts)| (class.name(), counts)))
}

fn tools<S: Serializer>(rows: &[ToolRow], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows.iter().map(|row| (row.tool.name(), row)))
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
