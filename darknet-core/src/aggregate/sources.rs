use std::{collections::HashMap, hint::black_box, net::IpAddr};

use darknet_ebpf::{Class, Version};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Aggregate, Counts, LOOK_AHEAD, Observation, SHARDS, Seed,
    family::Family,
    source::{Address, Pair, Place},
};

pub use super::hosts::{Hosts, PortHosts};

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
    /// Empty between two calls.
    left: (Vec<Left<u32>>, Vec<Left<u128>>),
}

/// A pair of source and port that is not kept yet, with its shard and its hash.
#[derive(Clone, Copy, Debug)]
struct Left<A> {
    pair: Pair<A>,
    shard: usize,
    hash: u32,
}

/// Packets that found a table full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Overflow {
    /// Packets of sources that had no room.
    pub sources: u64,
    /// Packets of pairs of source and port that had no room.
    pub port_hosts: u64,
}

impl<A: Address> Left<A> {
    #[inline]
    fn new(pair: Pair<A>, shard: usize, seed: &Seed) -> Self {
        let hash = pair.hash(seed);
        Self { pair, shard, hash }
    }
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

impl Sources {
    /// No sources yet; the tables take at most `memory` bytes, and start with none.
    ///
    /// Half of it is for IPv4 sources with their first ten ports, a quarter for pairs of those
    /// with further ports, an eighth each for IPv6: 1 GiB has room for 6 million IPv4 sources and
    /// 25 million pairs.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        let part = memory / SHARDS / 8;
        let shard = (Family::new(part * 4, part * 2), Family::new(part, part));
        Self {
            shards: vec![shard; SHARDS],
            seed: seed.clone(),
            overflow: Overflow::default(),
            left: (Vec::new(), Vec::new()),
        }
    }

    /// Packets that found a table full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Every source with its packets and bytes, in no order; `None` after an overflow.
    pub fn iter(&self) -> Option<impl Iterator<Item = (IpAddr, Counts)> + '_> {
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
        let mut hosts = PortHosts::none();
        let mut add = |place: Place| {
            if let Some((table, port)) = place.get() {
                hosts.add(table, port);
            }
        };
        for (v4, v6) in &self.shards {
            v4.places().for_each(&mut add);
            v6.places().for_each(&mut add);
        }
        Some(hosts)
    }

    /// Reads the memory that counting these packets begins with.
    #[inline]
    fn touch(&self, batch: &[Observation]) {
        let mut touched = 0;
        for observation in batch {
            let (v4, v6) = &self.shards[observation.shard()];
            touched |= match observation.packet.version {
                Version::V4 => v4.touch(observation.hash() as u32),
                Version::V6 => v6.touch(observation.hash() as u32),
            };
        }
        black_box(touched);
    }

    #[inline]
    fn count(&mut self, batch: &[Observation]) {
        let Self {
            shards,
            seed,
            overflow,
            left: (left_v4, left_v6),
        } = self;
        for observation in batch {
            let packet = &observation.packet;
            let hash = observation.hash() as u32;
            let shard = observation.shard();
            let (v4, v6) = &mut shards[shard];
            *overflow += match (packet.class, packet.version) {
                (Class::Malformed, _) => continue,
                (_, Version::V4) => v4.count(packet, hash, seed, |pair| {
                    left_v4.push(Left::new(pair, shard, seed));
                }),
                (_, Version::V6) => v6.count(packet, hash, seed, |pair| {
                    left_v6.push(Left::new(pair, shard, seed));
                }),
            };
        }
    }

    /// Keeps the pairs that had no room with their sources, after reading their memory.
    #[inline]
    fn keep_left(&mut self) {
        let Self {
            shards,
            seed,
            overflow,
            left: (left_v4, left_v6),
        } = self;
        let touched = left_v4.iter().fold(0, |touched, left| {
            touched | shards[left.shard].0.touch_pair(left.hash)
        });
        black_box(touched);
        for Left { pair, shard, hash } in left_v4.drain(..) {
            *overflow += shards[shard].0.keep_pair(pair, hash, seed);
        }
        for Left { pair, shard, hash } in left_v6.drain(..) {
            *overflow += shards[shard].1.keep_pair(pair, hash, seed);
        }
    }

    fn complete(&self) -> Option<&[(Family<u32>, Family<u128>)]> {
        (self.overflow.sources == 0).then_some(&self.shards)
    }
}

impl AsRef<Self> for Sources {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<A: AsRef<Sources>, B> AsRef<Sources> for (A, B) {
    fn as_ref(&self) -> &Sources {
        self.0.as_ref()
    }
}

impl Aggregate for Sources {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        for batch in batch.chunks(LOOK_AHEAD) {
            self.touch(batch);
            self.count(batch);
            self.keep_left();
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let Self {
            shards,
            seed,
            overflow,
            left: _,
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

/// The source network of an address: IPv4 /24, IPv6 /48.
pub fn network(source: IpAddr) -> IpNet {
    match source {
        IpAddr::V4(address) => Ipv4Net::new_assert(address, 24).trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 48).trunc().into(),
    }
}
