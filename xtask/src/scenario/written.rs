use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What a capture holds: one line of `truth.jsonl`.
///
/// Tables are complete, not top lists, and have no rows of zero packets. `malformed` packets are in
/// `counted` and `classes`, in nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Name of the capture, without directories.
    pub file: String,
    /// Packets.
    pub received: u64,
    /// Packets that are not IP.
    pub passed: u64,
    /// All the others.
    pub counted: u64,
    /// Earliest timestamp: seconds since the Unix epoch, a point, nine digits.
    pub first: Option<String>,
    /// Latest timestamp.
    pub last: Option<String>,
    /// By class, with all nine.
    pub classes: BTreeMap<String, Figure>,
    /// Packets by class and port, of `tcp_syn`, `tcp_backscatter` (source port),
    /// `tcp_backscatter_destination`, `tcp_other`, `udp`.
    pub ports: BTreeMap<String, BTreeMap<u16, u64>>,
    /// Distinct sources by class and port, without `tcp_backscatter_destination`.
    pub port_hosts: BTreeMap<String, BTreeMap<u16, u64>>,
    /// Packets by `version/type/code`.
    pub icmp: BTreeMap<String, u64>,
    /// Packets by source network, /24 or /48.
    pub networks: BTreeMap<IpNet, u64>,
    /// Packets by source. Complete here; `truth.jsonl` lists the first 20.
    pub sources: BTreeMap<IpAddr, u64>,
    /// By tool, with all three.
    pub tools: BTreeMap<String, ToolFigure>,
    /// Distinct sources: `all`, and by class.
    pub hosts: BTreeMap<String, u64>,
    /// What tshark said in `truth.jsonl`; empty here.
    #[serde(default)]
    pub tshark: Vec<String>,
}

/// Packets and their IP lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Packets.
    pub packets: u64,
    /// IPv4 total length, or IPv6 payload length + 40.
    pub bytes: u64,
}

/// Packets with a mark and their distinct sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolFigure {
    /// Packets.
    pub packets: u64,
    /// Distinct sources.
    pub hosts: u64,
}
