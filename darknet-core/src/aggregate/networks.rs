use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{PortTable, Version, networks::NetworkKey};
use foldhash::fast::RandomState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Counts;

/// Packets and bytes by source network, IPv4 /24 and IPv6 /48; where that was asked for, by class
/// and port too.
///
/// Exact but for [`overflow`](Self::overflow). Some 40 bytes for each network.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    counts: HashMap<NetworkKey, Counts, RandomState>,
    overflow: Counts,
}

impl Networks {
    /// What found the kernel's table full: it is in no network, and networks are not complete.
    pub fn overflow(&self) -> Counts {
        self.overflow
    }

    /// Whether every packet is in its network.
    pub fn is_complete(&self) -> bool {
        self.overflow.packets == 0
    }

    /// Every network, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Counts)> {
        let mut sums: HashMap<IpNet, Counts, RandomState> = HashMap::default();
        sums.reserve(self.counts.len());
        for (key, counts) in &self.counts {
            *sums.entry(network(*key)).or_default() += *counts;
        }
        sums.into_iter()
    }

    /// Every class, port and network, in no order; none if they were not told apart.
    pub fn ports(&self) -> impl Iterator<Item = (PortTable, u16, IpNet, Counts)> + '_ {
        self.counts.iter().filter_map(|(key, counts)| {
            let (table, port) = key.port()?;
            Some((table, port, network(*key), *counts))
        })
    }

    /// All networks, and the overflow.
    pub fn total(&self) -> Counts {
        let mut total = self.overflow;
        for counts in self.counts.values() {
            total += *counts;
        }
        total
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        let Self { counts, overflow } = self;
        for (key, theirs) in &other.counts {
            *counts.entry(*key).or_default() += *theirs;
        }
        *overflow += other.overflow;
    }

    pub(crate) fn add(&mut self, key: NetworkKey, counts: Counts) {
        *self.counts.entry(key).or_default() += counts;
    }

    pub(crate) fn add_overflow(&mut self, counts: Counts) {
        self.overflow += counts;
    }
}

fn network(key: NetworkKey) -> IpNet {
    let (version, number) = key.network();
    let network = match version {
        Version::V4 => Ipv4Net::new(Ipv4Addr::from_bits((number << 8) as u32), 24).map(IpNet::from),
        Version::V6 => {
            Ipv6Net::new(Ipv6Addr::from_bits(u128::from(number) << 80), 48).map(IpNet::from)
        }
    };
    network.expect("24 and 48 are lengths")
}
