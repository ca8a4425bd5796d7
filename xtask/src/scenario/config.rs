use std::path::Path;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::error::Error;
use super::meaning::Tool;
use super::plan::Plan;

/// A scenario file. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What errors call this scenario.
    #[serde(skip)]
    file: String,
    /// Names the sequence of packets: another seed gives others.
    pub seed: u64,
    /// Packets to write, from 1.
    pub count: u64,
    /// Packets per second, 1 to 10^9. Packet i is at `start` + i / `rate`, in whole nanoseconds.
    pub rate: u64,
    /// Time of the first packet, RFC 3339, between 1970 and 2106 (pcap has 32 bits of seconds).
    pub start: Timestamp,
    /// What a frame starts with.
    #[serde(default)]
    pub link: Link,
    /// Of the capture's timestamps.
    #[serde(default)]
    pub resolution: Resolution,
    /// Smallest frame, bytes, at most 1514: shorter ones are padded with zeros. Default: 60 for
    /// `ethernet` (IEEE 802.3: 64 with the frame check sequence, which captures do not have),
    /// 0 for `raw`.
    pub size: Option<u16>,
    /// What the traffic is made of.
    #[serde(default, rename = "flow")]
    pub flows: Vec<Flow>,
}

/// What a frame starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// An Ethernet II header (link type 1).
    #[default]
    Ethernet,
    /// The IP header (link type 101).
    Raw,
}

/// The unit of a capture's timestamps; finer parts are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// pcap's usual one.
    #[default]
    Microseconds,
    /// pcap with the magic number 0xa1b23c4d.
    Nanoseconds,
}

/// One `[[flow]]`: packets of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// What this is, for people and error messages.
    #[serde(default)]
    pub name: String,
    /// Weight among the flows that are active at the same time, 1 to 2^40. Default 1.
    #[serde(default = "one")]
    pub share: u64,
    /// What its packets are.
    pub kind: Kind,
    /// Where they come from.
    pub sources: Sources,
    /// Where they go: every address of these prefixes is equally likely. They are of the IP
    /// version of `sources`, and the shortest has at most 40 bits fewer than the longest.
    pub destinations: Vec<IpNet>,
    /// Destination ports; of `backscatter` the source ports, as the service under attack answers.
    /// For `syn`, `backscatter`, `tcp`, `udp`.
    pub ports: Option<Vec<Port>>,
    /// Marks that every packet carries, and no other. For IPv4 `syn`.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// VLAN identifiers, the outer one first: with one the tag is 0x8100 (IEEE 802.1Q), with two
    /// the outer one is 0x88a8 (802.1ad). For link `ethernet`.
    #[serde(default)]
    pub vlan: Vec<u16>,
    /// Bytes after the headers, at most 1400. Not for `malformed` and `arp`. Default: 24 for
    /// `fragment`, 16 for `other`, else 0.
    pub payload: Option<u16>,
    /// The flow starts at this offset from `start`, as `"2s"` or `"1m 30s"`. Default: at once.
    pub from: Option<SignedDuration>,
    /// The flow ends before this offset from `start`. Default: never.
    pub to: Option<SignedDuration>,
    /// ICMP or ICMPv6 type, by the IP version. For `icmp`; default 8 (ICMPv6: 128), echo request.
    #[serde(rename = "type")]
    pub icmp_type: Option<u8>,
    /// ICMP code. For `icmp`; default 0.
    #[serde(rename = "code")]
    pub icmp_code: Option<u8>,
    /// IP protocol number. For `other`.
    pub protocol: Option<u8>,
}

/// What the packets of a flow are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// TCP SYN.
    Syn,
    /// Answers to spoofed SYNs: half SYN-ACK, a quarter RST, a quarter RST-ACK.
    Backscatter,
    /// Other TCP flags in equal parts: ACK, data (PSH-ACK), FIN, FIN-ACK, none, Xmas
    /// (FIN-PSH-URG), SYN-FIN, SYN-RST.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP in IPv4, ICMPv6 in IPv6. Error messages quote a packet as RFC 792 and RFC 4443 say.
    Icmp,
    /// A later fragment of a datagram.
    Fragment,
    /// Another IP protocol.
    Other,
    /// Headers that contradict themselves or are cut short, in equal parts: TCP data offset below
    /// 5, UDP header and TCP header cut by the IP length; in IPv4 also IHL below 5 and total length
    /// below 20. The destination can be read in all of them, so that dark prefixes change nothing.
    Malformed,
    /// An ARP request: not IP, so that a telescope lets it pass. For link `ethernet` and IPv4.
    Arp,
}

/// Where a flow's packets come from: `count` distinct addresses spread over `prefix`. Flows with
/// the same prefix and the same `one_per_network` share their sources: source n is the same address
/// in all of them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// An IPv4 or IPv6 prefix; it decides the flow's IP version.
    pub prefix: IpNet,
    /// Distinct addresses, 1 to 2^24, at most those of `prefix`, or its networks if there is one in
    /// each. Default 1.
    #[serde(default = "one")]
    pub count: u64,
    /// Each source is the only one in its network, IPv4 /24 or IPv6 /48; the prefix is as long as
    /// that or shorter.
    #[serde(default)]
    pub one_per_network: bool,
    /// Source n sends in proportion to 1 / n (Zipf's law with exponent 1) instead of equally.
    #[serde(default)]
    pub zipf: bool,
}

/// A port, or the equally likely ports of a range.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// One port; or else `from` and `to`.
    pub port: Option<u16>,
    /// First port of a range.
    pub from: Option<u16>,
    /// Last port of a range.
    pub to: Option<u16>,
    /// Weight among the flow's ports, 1 to 2^40. Default 1.
    #[serde(default = "one")]
    pub share: u64,
}

const fn one() -> u64 {
    1
}

impl Scenario {
    /// The scenario in `text`. Errors call it `scenario`.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] if a key is unknown, missing or of another type. What makes no sense is
    /// found by [`Scenario::compile`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Self::parse("scenario".to_owned(), text)
    }

    /// The scenario in the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Scenario::from_toml`], and [`Error::Read`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path.display().to_string(), &text)
    }

    fn parse(file: String, text: &str) -> Result<Self, Error> {
        let mut scenario: Self =
            toml::from_str(text).map_err(|error| Error::syntax(&file, text, &error))?;
        scenario.file = file;
        Ok(scenario)
    }

    /// The scenario checked and ready to make packets.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] for the first value that makes no sense.
    pub fn compile(&self) -> Result<Plan, Error> {
        Plan::new(self).map_err(|problem| Error::Value {
            file: self.file.clone(),
            key: problem.key,
            advice: problem.advice,
        })
    }
}
