use std::{cmp::Reverse, fmt, net::IpAddr};

use darknet_ebpf::{Class, IcmpKey, PortTable, Tool};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::highest;
use crate::{
    aggregate::{Icmp, PacketBin, PayloadSample, Ports, hosts::PortHosts},
    time::timestamp,
};

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

/// A row of `host_bins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HostBinRow {
    /// Packets of a source, at least.
    pub from: u64,
    /// Packets of a source, at most; `None` is any number.
    pub to: Option<u64>,
    /// Distinct sources.
    pub hosts: u64,
}

impl From<PacketBin> for HostBinRow {
    fn from(bin: PacketBin) -> Self {
        let PacketBin { from, to, hosts } = bin;
        Self { from, to, hosts }
    }
}

/// A row of `ttls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TtlRow {
    /// The class.
    #[serde(serialize_with = "class_name")]
    pub class: Class,
    /// The time to live, or hop limit.
    pub ttl: u8,
    /// Packets.
    pub packets: u64,
}

/// A row of `sizes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeRow {
    /// The class.
    #[serde(serialize_with = "class_name")]
    pub class: Class,
    /// Bytes of the IP packet, as its header says.
    pub bytes: u32,
    /// Packets.
    pub packets: u64,
}

/// A row of `payloads`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PayloadRow {
    /// The class.
    pub class: TableName,
    /// The port.
    pub port: u16,
    /// Packets that carried it.
    pub packets: u64,
    /// Packets that may have carried it beside these, at most: 0 unless there was no room for all.
    pub missed: u64,
    /// The time of the first of them.
    pub first: Timestamp,
    /// The time of the last of them.
    pub last: Timestamp,
    /// Bytes that it has.
    pub length: u32,
    /// Its SHA-256; `None` as in [`PayloadSample::sha256`].
    #[serde(serialize_with = "optional_hex")]
    pub sha256: Option<[u8; 32]>,
    /// Its first 256 bytes, as far as they were captured.
    #[serde(serialize_with = "hex")]
    pub sample: Vec<u8>,
}

impl From<PayloadSample> for PayloadRow {
    fn from(sample: PayloadSample) -> Self {
        let PayloadSample {
            table,
            port,
            packets,
            missed,
            first,
            last,
            length,
            bytes,
            sha256,
        } = sample;
        Self {
            class: TableName(table),
            port,
            packets,
            missed,
            first: timestamp(first),
            last: timestamp(last),
            length,
            sha256,
            sample: bytes,
        }
    }
}

/// Bytes as digits, shown as they are written.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(bytes))
}

fn optional_hex<S: Serializer>(bytes: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

fn class_name<S: Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(class.name())
}

pub(super) fn port_rows(ports: &Ports, hosts: Option<PortHosts>, top: usize) -> Vec<PortRow> {
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

pub(super) fn icmp_rows(icmp: &Icmp) -> impl Iterator<Item = IcmpRow> + '_ {
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

/// How the packets of each class are spread over values, with the `top` values of each; 0 keeps all.
pub(super) fn spread_rows<V: Copy + Ord, I: Iterator<Item = (V, u64)>, R>(
    top: usize,
    values: impl Fn(Class) -> I,
    row: impl Fn(Class, V, u64) -> R,
) -> Vec<R> {
    let of_class = |class| {
        highest(values(class), top, |&(value, packets)| {
            (Reverse(packets), value)
        })
    };
    let rows = Class::ALL.into_iter().flat_map(|class| {
        let rows = of_class(class).into_iter();
        rows.map(move |(value, packets)| (Reverse(packets), class as usize, class, value))
    });
    let rows = highest(rows, 0, |&(packets, class, _, value)| {
        (packets, class, value)
    });
    let rows = rows.into_iter();
    rows.map(|(Reverse(packets), _, class, value)| row(class, value, packets))
        .collect()
}
