use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::address::{host_bits, network_bits, version};
use super::alias::AliasTable;
use super::config::{Flow, Kind, Link};
use super::meaning::{Tool, Tools};

/// What ZMap writes into the identification (zmap `src/probe_modules/packet.c`, before 4.1.0).
pub(super) const ZMAP_IDENTIFICATION: u16 = 54321;

/// A key and what to write instead.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) advice: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            advice: advice.into(),
        }
    }
}

/// Checks that `share` can be a weight.
pub(super) fn share(share: u64) -> Result<u64, Problem> {
    if (1..=AliasTable::MAXIMUM_WEIGHT).contains(&share) {
        Ok(share)
    } else {
        let advice = format!("{share} is no weight; write a number from 1 to 2^40");
        Err(Problem::new("share", advice))
    }
}

/// Checks both ends' prefixes and gives their IP version.
pub(super) fn prefixes(flow: &Flow) -> Result<u8, Problem> {
    let canonical = |key, prefix: &IpNet| match prefix.trunc() {
        trunc if trunc == *prefix => Ok(()),
        trunc => {
            let advice = format!("{prefix} has bits set below the prefix; write {trunc}");
            Err(Problem::new(key, advice))
        }
    };
    canonical("sources.prefix", &flow.sources.prefix)?;
    let version_of_sources = version(&flow.sources.prefix);
    if flow.destinations.is_empty() {
        let advice = "empty; write at least one prefix";
        return Err(Problem::new("destinations", advice));
    }
    for prefix in &flow.destinations {
        canonical("destinations", prefix)?;
        if version(prefix) != version_of_sources {
            let advice = format!(
                "{prefix} is not IPv{version_of_sources} as the sources are; \
                 write another flow for it"
            );
            return Err(Problem::new("destinations", advice));
        }
    }
    Ok(version_of_sources)
}

/// Checks the number of sources.
pub(super) fn count(flow: &Flow) -> Result<u32, Problem> {
    let prefix = &flow.sources.prefix;
    let (bits, each) = match (flow.sources.one_per_network, network_bits(prefix)) {
        (false, _) => (host_bits(prefix), ""),
        (true, Some(bits)) => (bits, " with one in each network"),
        (true, None) => {
            let advice = format!("{prefix} is less than a network; write a shorter sources.prefix");
            return Err(Problem::new("sources.one_per_network", advice));
        }
    };
    let limit = 1 << bits.min(AliasTable::MAXIMUM_LENGTH.ilog2());
    let count = flow.sources.count;
    if (1..=limit).contains(&count) {
        return Ok(count as u32);
    }
    let advice = format!("{count} is not possible in {prefix}{each}; write 1 to {limit}");
    Err(Problem::new("sources.count", advice))
}

/// Checks the keys that not every kind of flow has.
pub(super) fn keys(flow: &Flow, link: Link, version: u8) -> Result<(), Problem> {
    use Kind::{Arp, Backscatter, Icmp, Malformed, Other, Syn, Tcp, Udp};
    let kind = flow.kind;
    let has_ports = matches!(kind, Syn | Backscatter | Tcp | Udp);
    for (key, present, allowed, rule) in [
        (
            "ports",
            flow.ports.is_some(),
            has_ports,
            "is for kinds syn, backscatter, tcp and udp",
        ),
        (
            "tools",
            !flow.tools.is_empty(),
            kind == Syn && version == 4,
            "is for kind syn over IPv4",
        ),
        (
            "type",
            flow.icmp_type.is_some(),
            kind == Icmp,
            "is for kind icmp",
        ),
        (
            "code",
            flow.icmp_code.is_some(),
            kind == Icmp,
            "is for kind icmp",
        ),
        (
            "protocol",
            flow.protocol.is_some(),
            kind == Other,
            "is for kind other",
        ),
        (
            "payload",
            flow.payload.is_some(),
            !matches!(kind, Malformed | Arp),
            "is not for kinds malformed and arp",
        ),
        (
            "vlan",
            !flow.vlan.is_empty(),
            link == Link::Ethernet,
            "is for link ethernet",
        ),
    ] {
        if present && !allowed {
            return Err(Problem::new(key, format!("{rule}; remove it")));
        }
    }
    if kind == Arp && (version == 6 || link == Link::Raw) {
        let advice = "arp is for IPv4 and link ethernet; write another kind";
        return Err(Problem::new("kind", advice));
    }
    if let Some(payload) = flow.payload.filter(|&payload| payload > 1400) {
        let advice = format!("{payload} bytes are too many; write 0 to 1400");
        return Err(Problem::new("payload", advice));
    }
    // IEEE 802.1Q: 12 bits, 4095 is reserved.
    if flow.vlan.len() > 2 || flow.vlan.iter().any(|&identifier| identifier > 4094) {
        let advice = "write at most two identifiers from 0 to 4094";
        return Err(Problem::new("vlan", advice));
    }
    Ok(())
}

/// Checks that packets with these marks and no other exist: with Mirai's sequence number, Masscan's
/// identification is the destination port, and ZMap's is always 54321.
pub(super) fn tools(ranges: &[RangeInclusive<u16>], tools: Tools) -> Result<(), Problem> {
    if !tools.contains(Tool::Mirai) {
        return Ok(());
    }
    let zmap = ZMAP_IDENTIFICATION..=ZMAP_IDENTIFICATION;
    let on_zmap = |range: &RangeInclusive<u16>| range.contains(&ZMAP_IDENTIFICATION);
    let advice = match (tools.contains(Tool::Zmap), tools.contains(Tool::Masscan)) {
        (true, true) if ranges.iter().any(|range| *range != zmap) => {
            "all three marks fit on destination port 54321 only; \
             write ports = [{ port = 54321 }] or two tools"
        }
        (true, false) | (false, true) if ranges.iter().any(on_zmap) => {
            "on destination port 54321 these two marks bring the third; \
             write other ports or one tool"
        }
        _ => return Ok(()),
    };
    Err(Problem::new("tools", advice))
}

/// Checks that `protocol` is neither walked further nor a class of its own.
pub(super) fn protocol(protocol: Option<u8>, version: u8) -> Result<u8, Problem> {
    let problem = |advice: String| Problem::new("protocol", advice);
    let protocol = protocol.ok_or_else(|| problem("missing; write 47 (GRE) or so".to_owned()))?;
    // IANA protocol-numbers: ICMP 1, TCP 6, UDP 17, AH 51; extension headers hop-by-hop 0,
    // routing 43, fragment 44, destination options 60; ICMPv6 58.
    let known = match version {
        4 => matches!(protocol, 1 | 6 | 17 | 51),
        _ => matches!(protocol, 0 | 6 | 17 | 43 | 44 | 51 | 58 | 60),
    };
    if known {
        let advice = format!("{protocol} is not another protocol; write 47 (GRE) or so");
        return Err(problem(advice));
    }
    Ok(protocol)
}
