use std::{
    collections::{HashMap, hash_map::Entry},
    net::{Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{PortTable, Version, networks::NetworkKey};
use foldhash::fast::RandomState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Counts;
use crate::snapshot::{PortNetworkRow, TableName};

/// Keys that are kept at most, which fill a table of 2^22 places: the kernel's is smaller, but windows add up.
const AT_MOST: usize = 7 << 19;

/// Packets and bytes by source network, IPv4 /24 and IPv6 /48; where that was asked for, by class
/// and port too.
///
/// Exact but for [`overflow`](Self::overflow). 38 to 75 bytes for each network, 3,670,016 of them at
/// most: 138 MB, and half as much again while it grows.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    counts: HashMap<NetworkKey, Counts, RandomState>,
    /// Whether classes and ports are told apart, once that is known.
    by_port: Option<bool>,
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
        let (sums, single) = if self.ports().next().is_some() {
            (Some(self.sums()), None)
        } else {
            (None, Some(&self.counts))
        };
        let single = single.into_iter().flatten();
        let single = single.map(|(key, counts)| (network(*key), *counts));
        sums.into_iter().flatten().chain(single)
    }

    /// Every network with what its ports have together.
    fn sums(&self) -> HashMap<IpNet, Counts, RandomState> {
        let mut sums: HashMap<_, Counts, _> = HashMap::default();
        for (key, counts) in &self.counts {
            *sums.entry(network(*key)).or_default() += *counts;
        }
        sums
    }

    /// Every class, port and network, in no order; none if they were not told apart.
    pub fn ports(&self) -> impl Iterator<Item = (PortTable, u16, IpNet, Counts)> + '_ {
        self.counts.iter().filter_map(|(key, counts)| {
            let (table, port) = key.port()?;
            Some((table, port, network(*key), *counts))
        })
    }

    /// The bytes that it takes.
    pub(crate) fn memory(&self) -> usize {
        // An eighth is free, and each place has a byte by which it is found.
        let places = (self.counts.capacity() * 8 / 7).next_power_of_two();
        places * (size_of::<(NetworkKey, Counts)>() + 1)
    }

    /// Says whether classes and ports are told apart, unless that is known.
    pub(crate) fn say_by_port(&mut self, by_port: bool) {
        self.by_port.get_or_insert(by_port);
    }

    /// The rows of a snapshot; `None` where they are not told apart or not complete.
    pub(crate) fn port_rows(&self) -> Option<Vec<PortNetworkRow>> {
        let rows = self
            .ports()
            .map(|(table, port, network, counts)| PortNetworkRow {
                class: TableName(table),
                port,
                network,
                packets: counts.packets,
                bytes: counts.bytes,
            });
        (self.by_port == Some(true) && self.is_complete()).then(|| rows.collect())
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
        for (key, theirs) in &other.counts {
            self.add(*key, *theirs);
        }
        if let Some(theirs) = other.by_port {
            self.by_port = Some(self.by_port.unwrap_or(true) && theirs);
        }
        self.overflow += other.overflow;
    }

    pub(crate) fn add(&mut self, key: NetworkKey, counts: Counts) {
        let there = self.counts.len();
        match self.counts.entry(key) {
            Entry::Occupied(mut sum) => *sum.get_mut() += counts,
            Entry::Vacant(place) if there < AT_MOST => {
                place.insert(counts);
            }
            Entry::Vacant(_) => self.overflow += counts,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of networks by code (1: IPv4; 3: IPv4 and the first table of ports) and key.
    fn rows(keys: &[(u8, u64, u64)]) -> Vec<(String, u64)> {
        let mut networks = Networks::default();
        for &(code, key, packets) in keys {
            networks.add(NetworkKey { key, code }, Counts { packets, bytes: 0 });
        }
        let rows = networks.iter();
        let mut rows: Vec<_> = rows
            .map(|(network, counts)| (network.to_string(), counts.packets))
            .collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn a_network_is_one_row_whether_or_not_its_ports_are_told_apart() {
        let expected = [("203.0.112.0/24".into(), 7), ("203.0.113.0/24".into(), 5)];
        let [first, second] = [0xcb_00_71_u64, 0xcb_00_70].map(|network| network << 16);
        assert_eq!(rows(&[(1, first, 5), (1, second, 7)]), expected);
        let by_port = [
            (3, first + 23, 2),
            (1, second, 7),
            (1, first, 1),
            (3, first + 80, 2),
        ];
        assert_eq!(rows(&by_port), expected);
    }
}
