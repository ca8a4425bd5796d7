use std::{collections::HashMap, hint::black_box, net::IpAddr};

use darknet_ebpf::{Class, PortTable, Tool, Version};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Aggregate, Counts, Observation, SHARDS, Seed, family::Family, ports};

/// Who sends: packets by source, and which classes, tools and ports each source was seen with.
///
/// From these follow the source networks, and the distinct hosts of every figure. Exact, as long
/// as the sources fit the memory that was given to [`new`](Self::new). What finds no room is
/// counted in [`overflow`](Self::overflow), and the figures that it would have changed are `None`
/// from then on.
#[derive(Clone, Debug)]
pub struct Sources {
    shards: Vec<(Family<u32>, Family<u128>)>,
    seed: Seed,
    overflow: Overflow,
}

/// Packets that found a table full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Overflow {
    /// Packets of sources that had no room.
    pub sources: u64,
    /// Packets of pairs of source and port that had no room.
    pub port_hosts: u64,
}

impl std::ops::AddAssign for Overflow {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        let Self {
            sources,
            port_hosts,
        } = other;
        self.sources += sources;
        self.port_hosts += port_hosts;
    }
}

/// Packets whose memory is read before the first of them is counted: the processor overlaps that
/// many cache misses, where one after the other would wait for each.
const LOOK_AHEAD: usize = 32;

impl Sources {
    /// No sources yet; the tables take at most `memory` bytes, and start with none.
    ///
    /// Three quarters are for IPv4, and half of each part is for the sources, half for the pairs
    /// of source and port: 1 GiB has room for 12 million IPv4 sources and 25 million pairs.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        let part = memory / SHARDS / 8;
        Self {
            shards: vec![(Family::new(part * 3), Family::new(part)); SHARDS],
            seed: seed.clone(),
            overflow: Overflow::default(),
        }
    }

    /// Packets that found a table full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Every source with its packets and bytes, in no order; `None` after an overflow.
    pub fn iter(&self) -> Option<impl Iterator<Item = (IpAddr, Counts)> + '_> {
        use super::family::Address;

        let shards = self.complete()?.iter();
        Some(shards.flat_map(|(v4, v6)| {
            let v4 = v4
                .sources
                .iter()
                .map(|source| (source.address.ip(), source.counts));
            v4.chain(
                v6.sources
                    .iter()
                    .map(|source| (source.address.ip(), source.counts)),
            )
        }))
    }

    /// Packets and bytes by source network (IPv4 /24, IPv6 /48); `None` after an overflow.
    pub fn networks(&self) -> Option<HashMap<IpNet, Counts>> {
        let mut networks: HashMap<IpNet, Counts> = HashMap::new();
        for (source, counts) in self.iter()? {
            *networks.entry(network(source)).or_default() += counts;
        }
        Some(networks)
    }

    /// Distinct sources; `None` after an overflow.
    pub fn hosts(&self) -> Option<Hosts> {
        let mut hosts = Hosts::default();
        for (v4, v6) in self.complete()? {
            v4.sources
                .iter()
                .for_each(|source| hosts.add(source.classes, source.tools));
            v6.sources
                .iter()
                .for_each(|source| hosts.add(source.classes, source.tools));
        }
        Some(hosts)
    }

    /// Distinct sources at each port; `None` after an overflow.
    pub fn port_hosts(&self) -> Option<PortHosts> {
        if self.overflow.port_hosts > 0 {
            return None;
        }
        let mut hosts = vec![0; PortTable::ALL.len() << 16];
        let mut add = |table, port| hosts[ports::index(table, port)] += 1;
        for (v4, v6) in &self.shards {
            v4.pairs
                .iter()
                .for_each(|pair| add(pair.table(), pair.port));
            v6.pairs
                .iter()
                .for_each(|pair| add(pair.table(), pair.port));
        }
        Some(PortHosts(hosts))
    }

    fn complete(&self) -> Option<&[(Family<u32>, Family<u128>)]> {
        (self.overflow.sources == 0).then_some(&self.shards)
    }
}

impl Aggregate for Sources {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        let Self {
            shards,
            seed,
            overflow,
        } = self;
        let mut pairs = [0; LOOK_AHEAD];
        for batch in batch.chunks(LOOK_AHEAD) {
            let mut touched = 0;
            for (observation, pair) in batch.iter().zip(&mut pairs) {
                let Observation { packet, hash, .. } = observation;
                let (v4, v6) = &shards[observation.shard()];
                let (found, read) = match packet.version {
                    Version::V4 => v4.touch(packet, *hash, seed),
                    Version::V6 => v6.touch(packet, *hash, seed),
                };
                *pair = found;
                touched |= read;
            }
            black_box(touched);
            for (observation, &pair) in batch.iter().zip(&pairs) {
                let Observation { packet, hash, .. } = observation;
                let (v4, v6) = &mut shards[observation.shard()];
                *overflow += match (packet.class, packet.version) {
                    (Class::Malformed, _) => continue,
                    (_, Version::V4) => v4.count(packet, *hash, pair, seed),
                    (_, Version::V6) => v6.count(packet, *hash, pair, seed),
                };
            }
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            shards,
            seed,
            overflow,
        } = self;
        *overflow += other.overflow;
        for (mine, theirs) in shards.iter_mut().zip(&mut other.shards) {
            *overflow += mine.0.merge(&mut theirs.0, seed);
            *overflow += mine.1.merge(&mut theirs.1, seed);
        }
    }

    fn reset(&mut self) {
        self.overflow = Overflow::default();
        for (v4, v6) in &mut self.shards {
            v4.reset();
            v6.reset();
        }
    }
}

/// Distinct sources: all, by class, by tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All of them.
    pub all: u64,
    classes: [u64; Class::ALL.len()],
    tools: [u64; Tool::ALL.len()],
}

impl Hosts {
    /// Distinct sources of a class.
    pub fn class(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// Distinct sources of packets with a tool's mark.
    pub fn tool(&self, tool: Tool) -> u64 {
        self.tools[tool as usize]
    }

    fn add(&mut self, classes: u16, tools: u8) {
        let Self {
            all,
            classes: class_hosts,
            tools: tool_hosts,
        } = self;
        *all += 1;
        for (class, hosts) in class_hosts.iter_mut().enumerate() {
            *hosts += u64::from(classes >> class & 1);
        }
        for (tool, hosts) in tool_hosts.iter_mut().enumerate() {
            *hosts += u64::from(tools >> tool & 1);
        }
    }
}

/// Distinct sources at each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHosts(Vec<u64>);

impl PortHosts {
    /// Distinct sources at a port.
    pub fn get(&self, table: PortTable, port: u16) -> u64 {
        self.0[ports::index(table, port)]
    }
}

/// The source network of an address: IPv4 /24, IPv6 /48.
pub fn network(source: IpAddr) -> IpNet {
    match source {
        IpAddr::V4(address) => Ipv4Net::new_assert(address, 24).trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 48).trunc().into(),
    }
}
