use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use darknet_ebpf::{PortTable, Version};
use foldhash::quality::RandomState;
use roaring::RoaringBitmap;

use super::{Aggregate, Observation, ports};

/// A port of a table.
type Place = (PortTable, u16);

/// The exact set of hosts at each port of a watch list, so that overlaps are exact: which hosts were
/// seen at 1433 alone, which at 1433 and 445.
///
/// IPv4 hosts are in compressed bitmaps ("Roaring", <https://roaringbitmap.org>), IPv6 hosts in
/// hash tables.
///
/// Exact. A port at which more hosts than [`new`](Self::new) was told are seen is given up: its
/// figures are `None` from then on, and its packets are in [`overflow`](Self::overflow). Whether it
/// is follows from the set alone, so that no order, number of workers or way of merging matters.
///
/// Memory: 0.9 MB, and for each watched port 4 bytes for each IPv4 host and 40 for each IPv6 host,
/// and 8 MB at most for where IPv4 hosts lie far apart.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Observation, PortSets, Seed},
///     rules::{Address, Class, Packet, PortTable::TcpSyn, Version},
/// };
///
/// let seed = Seed::random();
/// let mut sets = PortSets::new([(TcpSyn, 445), (TcpSyn, 1433)], 1_000_000);
/// for (host, port) in [(1, 1433), (2, 1433), (2, 445), (3, 445), (4, 1433)] {
///     let packet = Packet {
///         class: Class::TcpSyn,
///         version: Version::V4,
///         source: Address::from_words([host, 0, 0, 0]),
///         destination_port: port,
///         ..Packet::MALFORMED
///     };
///     sets.observe(&Observation::new(packet, 0, &seed));
/// }
/// let (mssql, smb) = ((TcpSyn, 1433), (TcpSyn, 445));
/// assert_eq!(sets.hosts(&[mssql], &[]), Some(3));
/// assert_eq!(sets.hosts(&[mssql, smb], &[]), Some(1));
/// assert_eq!(sets.hosts(&[mssql], &[smb]), Some(2), "1433 alone");
/// ```
#[derive(Clone, Debug)]
pub struct PortSets {
    /// For each place one more than the number of its set, or 0.
    watched: Box<[u16]>,
    sets: Vec<(Place, Set)>,
    hosts_at_most: usize,
    /// Set and IPv4 host, for some that were seen a short time ago.
    recent: Box<[u64]>,
}

/// The hosts of a port.
#[derive(Clone, Debug)]
struct Set {
    /// By the first byte: a bitmap has a sorted list of its /16 networks, and with all of them in
    /// one list, each new one would move tens of thousands.
    v4: Box<[RoaringBitmap; 256]>,
    v6: HashSet<u128, RandomState>,
    hosts: usize,
    packets: u64,
    given_up: bool,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            v4: Box::new(std::array::from_fn(|_| RoaringBitmap::new())),
            v6: HashSet::default(),
            hosts: 0,
            packets: 0,
            given_up: false,
        }
    }
}

/// Places for hosts that were seen a short time ago: 256 KiB.
const RECENT: usize = 1 << 15;

impl PortSets {
    /// Watches some ports, with so many hosts at each. A port that is named twice is watched once.
    ///
    /// # Panics
    ///
    /// If there are 65,535 ports or more.
    pub fn new(places: impl IntoIterator<Item = (PortTable, u16)>, hosts_at_most: usize) -> Self {
        let mut watched = vec![0; PortTable::ALL.len() << 16];
        let mut sets = Vec::new();
        for (table, port) in places {
            let number = &mut watched[ports::index(table, port)];
            if *number == 0 {
                sets.push(((table, port), Set::default()));
                *number = u16::try_from(sets.len()).expect("fewer than 65,536 ports");
            }
        }
        Self {
            watched: watched.into(),
            sets,
            hosts_at_most,
            recent: vec![0; RECENT].into(),
        }
    }

    /// The watched ports, in the order in which they were named.
    pub fn places(&self) -> impl Iterator<Item = (PortTable, u16)> + '_ {
        self.sets.iter().map(|(place, _)| *place)
    }

    /// How many hosts were seen at `all` of some ports, and at `none` of others; `None` if one of
    /// them is not watched or was given up, or if `all` is empty.
    pub fn hosts(&self, all: &[(PortTable, u16)], none: &[(PortTable, u16)]) -> Option<u64> {
        let (first, all) = all.split_first()?;
        let first = self.set(*first)?;
        let all: Vec<&Set> = all
            .iter()
            .map(|place| self.set(*place))
            .collect::<Option<_>>()?;
        let none: Vec<&Set> = none
            .iter()
            .map(|place| self.set(*place))
            .collect::<Option<_>>()?;
        let v4 = first.v4.iter().enumerate().map(|(byte, hosts)| {
            let mut hosts = hosts.clone();
            all.iter().for_each(|set| hosts &= &set.v4[byte]);
            none.iter().for_each(|set| hosts -= &set.v4[byte]);
            hosts.len()
        });
        let v6 = first.v6.iter().filter(|host| {
            all.iter().all(|set| set.v6.contains(host))
                && !none.iter().any(|set| set.v6.contains(host))
        });
        Some(v4.sum::<u64>() + v6.count() as u64)
    }

    /// The hosts of a port, IPv4 first and sorted, IPv6 in no order; `None` as for
    /// [`hosts`](Self::hosts).
    pub fn addresses(
        &self,
        table: PortTable,
        port: u16,
    ) -> Option<impl Iterator<Item = IpAddr> + '_> {
        let Set { v4, v6, .. } = self.set((table, port))?;
        let v4 = v4
            .iter()
            .flatten()
            .map(|host| IpAddr::from(Ipv4Addr::from_bits(host)));
        Some(v4.chain(v6.iter().map(|&host| Ipv6Addr::from_bits(host).into())))
    }

    /// Packets of ports that were given up.
    pub fn overflow(&self) -> u64 {
        let sets = self.sets.iter().map(|(_, set)| set);
        sets.filter(|set| set.given_up).map(|set| set.packets).sum()
    }

    fn set(&self, (table, port): Place) -> Option<&Set> {
        let number = self.watched[ports::index(table, port)].checked_sub(1)?;
        let (_, set) = &self.sets[usize::from(number)];
        (!set.given_up).then_some(set)
    }
}

impl Set {
    /// After a host was added, or was there.
    #[inline]
    fn added(&mut self, new: bool, hosts_at_most: usize) {
        self.hosts += usize::from(new);
        if self.hosts > hosts_at_most {
            let packets = self.packets;
            *self = Self {
                given_up: true,
                packets,
                ..Self::default()
            };
        }
    }
}

impl Aggregate for PortSets {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        let Self {
            watched,
            sets,
            hosts_at_most,
            recent,
        } = self;
        let packet = &observation.packet;
        for (table, port) in PortTable::of(packet).into_iter().flatten() {
            let number = watched[ports::index(table, port)];
            if number == 0 {
                continue;
            }
            let (_, set) = &mut sets[usize::from(number) - 1];
            set.packets += 1;
            if set.given_up {
                continue;
            }
            let new = match packet.version {
                Version::V4 => {
                    let host = packet.source.v4();
                    let key = u64::from(number) << 32 | u64::from(host);
                    let recent =
                        &mut recent[(observation.hash() as usize ^ usize::from(number)) % RECENT];
                    if *recent == key {
                        continue;
                    }
                    *recent = key;
                    set.v4[(host >> 24) as usize].insert(host)
                }
                Version::V6 => set.v6.insert(packet.source.v6()),
            };
            set.added(new, *hosts_at_most);
        }
    }

    /// # Panics
    ///
    /// If the other watches other ports.
    fn merge(&mut self, other: &mut Self) {
        for ((place, mine), (other_place, theirs)) in self.sets.iter_mut().zip(&mut other.sets) {
            assert_eq!(place, other_place, "sets of different ports");
            mine.packets += theirs.packets;
            if mine.given_up || theirs.given_up {
                *mine = Set {
                    given_up: true,
                    packets: mine.packets,
                    ..Set::default()
                };
                continue;
            }
            for (mine, theirs) in mine.v4.iter_mut().zip(theirs.v4.iter_mut()) {
                *mine |= std::mem::take(theirs);
            }
            mine.v6.extend(theirs.v6.drain());
            let v4: u64 = mine.v4.iter().map(RoaringBitmap::len).sum();
            mine.hosts = v4 as usize + mine.v6.len();
            mine.added(false, self.hosts_at_most);
        }
    }

    fn reset(&mut self) {
        self.sets
            .iter_mut()
            .for_each(|(_, set)| *set = Set::default());
        self.recent.fill(0);
    }
}

#[cfg(test)]
mod tests;
