use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::address::{Blocks, Spread};
use super::alias::AliasTable;
use super::check::{self, Problem};
use super::config::{Flow, Kind, Link, Port};
use super::meaning::Tools;
use super::random::{Draws, Field, below};

/// Choices of Zipf-ranked sources by their number: flows share them.
pub(super) type Ranks = HashMap<u32, Arc<AliasTable>>;

/// A flow, checked.
#[derive(Debug, Clone)]
pub(super) struct FlowPlan {
    pub(super) link: Link,
    pub(super) version: u8,
    pub(super) vlan: Vec<u16>,
    pub(super) payload: u16,
    pub(super) body: Body,
    sources: Spread,
    count: u32,
    /// `None`: equally likely.
    ranks: Option<Arc<AliasTable>>,
    destinations: Blocks,
}

/// What its packets are.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Syn { ports: Ports, tools: Tools },
    Backscatter { ports: Ports },
    Tcp { ports: Ports },
    Udp { ports: Ports },
    Icmp { icmp_type: u8, code: u8 },
    Fragment,
    Other { protocol: u8 },
    Malformed,
    Arp,
}

impl FlowPlan {
    /// `flow` of a scenario with this seed and link.
    pub(super) fn new(
        flow: &Flow,
        seed: u64,
        link: Link,
        ranks: &mut Ranks,
    ) -> Result<Self, Problem> {
        check::share(flow.share)?;
        let version = check::prefixes(flow)?;
        let count = check::count(flow)?;
        check::keys(flow, link, version)?;
        let destinations = Blocks::new(&flow.destinations).ok_or_else(|| {
            let advice = "the shortest prefix has over 40 bits fewer than the longest; split it";
            Problem::new("destinations", advice)
        })?;
        let rank_table = || Arc::new(AliasTable::zipf(count));
        Ok(Self {
            link,
            version,
            vlan: flow.vlan.clone(),
            payload: flow.payload.unwrap_or(match flow.kind {
                Kind::Fragment => 24,
                Kind::Other => 16,
                _ => 0,
            }),
            body: Body::new(flow, version)?,
            sources: match flow.sources.one_per_network {
                true => Spread::over_networks(&flow.sources.prefix, seed),
                false => Spread::new(&flow.sources.prefix, seed),
            },
            count,
            ranks: flow
                .sources
                .zipf
                .then(|| Arc::clone(ranks.entry(count).or_insert_with(rank_table))),
            destinations,
        })
    }

    /// Source and destination address of this packet.
    pub(super) fn addresses(&self, draws: Draws) -> (u128, u128) {
        let draw = draws.draw(Field::Source);
        let rank = match &self.ranks {
            Some(ranks) => u64::from(ranks.pick(draw)),
            None => below(draw, u64::from(self.count)),
        };
        (self.sources.address(rank), self.destinations.draw(draws))
    }
}

impl Body {
    fn new(flow: &Flow, version: u8) -> Result<Self, Problem> {
        Ok(match flow.kind {
            Kind::Syn => {
                let ports = Ports::new(flow)?;
                let tools = Tools::new(flow.tools.iter().copied());
                check::tools(&ports.ranges, tools)?;
                Self::Syn { ports, tools }
            }
            Kind::Backscatter => Self::Backscatter {
                ports: Ports::new(flow)?,
            },
            Kind::Tcp => Self::Tcp {
                ports: Ports::new(flow)?,
            },
            Kind::Udp => Self::Udp {
                ports: Ports::new(flow)?,
            },
            Kind::Icmp => Self::Icmp {
                // Echo request: RFC 792, RFC 4443 section 4.1.
                icmp_type: flow.icmp_type.unwrap_or(if version == 4 { 8 } else { 128 }),
                code: flow.icmp_code.unwrap_or(0),
            },
            Kind::Fragment => Self::Fragment,
            Kind::Other => Self::Other {
                protocol: check::protocol(flow.protocol, version)?,
            },
            Kind::Malformed => Self::Malformed,
            Kind::Arp => Self::Arp,
        })
    }
}

/// Ports by weight; a range is one entry.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    ranges: Vec<RangeInclusive<u16>>,
    choice: AliasTable,
}

impl Ports {
    fn new(flow: &Flow) -> Result<Self, Problem> {
        let problem = |advice: &str| Problem::new("ports", advice);
        let ports = flow.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            return Err(problem("missing; write [{ port = 23 }] or so"));
        }
        let range = |port: &Port| match *port {
            Port {
                port: Some(port),
                from: None,
                to: None,
                ..
            } => Ok(port..=port),
            Port {
                port: None,
                from: Some(from),
                to: Some(to),
                ..
            } if from <= to => Ok(from..=to),
            Port { port: None, .. } => {
                Err(problem("write `port`, or `from` and a `to` not below it"))
            }
            _ => Err(problem("write either `port`, or `from` and `to`")),
        };
        let shares: Vec<u64> = ports
            .iter()
            .map(|port| check::share(port.share))
            .collect::<Result<_, _>>()
            .map_err(|share| problem(&format!("share: {}", share.advice)))?;
        Ok(Self {
            ranges: ports.iter().map(range).collect::<Result<_, _>>()?,
            choice: AliasTable::new(&shares),
        })
    }

    /// The port of this packet.
    pub(super) fn draw(&self, draws: Draws) -> u16 {
        let range = &self.ranges[self.choice.pick(draws.draw(Field::Port)) as usize];
        let span = u64::from(range.end() - range.start()) + 1;
        if span == 1 {
            return *range.start();
        }
        range.start() + draws.below(Field::PortInRange, span) as u16
    }
}
