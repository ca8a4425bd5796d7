//! Some sources, by their addresses.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use darknet_ebpf::PortTable;

use super::{
    super::{
        SHARDS, Seed,
        observation::shard_of,
        profiles::Profile,
        source::{Address, Visits},
    },
    Census,
    line::Line,
    roll::Roll,
};

/// Packets by port.
type PortPackets = Vec<(PortTable, u16, u64)>;

impl Census {
    /// What a source did; `None` if it is not there.
    pub fn profile(&self, source: IpAddr) -> Option<Profile> {
        match source {
            IpAddr::V4(source) => {
                let (hash, (roll, _)) = self.shard(source.to_bits());
                roll.profile(roll.line(source.to_bits(), hash)?).into()
            }
            IpAddr::V6(source) => {
                let (hash, (_, roll)) = self.shard(source.to_bits());
                roll.profile(roll.line(source.to_bits(), hash)?).into()
            }
        }
    }

    /// How many packets sources sent to each port, exactly: the `most` ports of each with the most packets, most
    /// first, then in the order of tables and ports; 0 is all of them. Left out are sources that are not
    /// there, that may have [missed](Profile::missed) packets, or of whose ports, or of those of others,
    /// some had no room.
    ///
    /// A packet that is in two tables ([`PortTable::of`]) is in two rows here. Where one of the sources was
    /// at more ports than are kept with it, all of those that are not are looked through: for closed
    /// windows, not for each packet.
    pub fn port_packets(&self, sources: &[IpAddr], most: usize) -> HashMap<IpAddr, PortPackets> {
        let mut shards = vec![(Vec::new(), Vec::new()); SHARDS];
        for source in sources {
            match source {
                IpAddr::V4(source) => {
                    let hash = self.seed.key(source.to_bits());
                    shards[shard_of(hash)].0.push((source.to_bits(), hash));
                }
                IpAddr::V6(source) => {
                    let hash = self.seed.key(source.to_bits());
                    shards[shard_of(hash)].1.push((source.to_bits(), hash));
                }
            }
        }
        let (seed, has_pairs) = (&self.seed, self.pairs_overflow == 0);
        let mut all = HashMap::new();
        for ((v4, v6), (roll_v4, roll_v6)) in shards.iter().zip(self.shards.iter()) {
            roll_v4.port_packets((v4, most), has_pairs, seed, &mut all);
            roll_v6.port_packets((v6, most), has_pairs, seed, &mut all);
        }
        all.values_mut().for_each(|rows| cut(rows, most));
        all
    }

    /// The hash of an address and its shard, as [`Observation`](super::super::Observation) has them.
    fn shard(&self, address: impl Address) -> (u64, &(Roll<u32>, Roll<u128>)) {
        let hash = self.seed.key(address);
        (hash, &self.shards[shard_of(hash)])
    }
}

/// Sorts rows, and leaves the first; 0 is all of them.
fn cut(rows: &mut PortPackets, most: usize) {
    rows.sort_unstable_by_key(|&(table, port, packets)| (Reverse(packets), table, port));
    if most > 0 {
        rows.truncate(most);
    }
}

impl<A: Address> Roll<A> {
    fn line(&self, address: A, hash: u64) -> Option<&Line<A>> {
        self.lines.get(self.find(address, hash)?)
    }

    /// Adds packets by port of those sources of which they are known, `most` of each or more;
    /// `has_pairs` is whether pairs are known.
    fn port_packets(
        &self,
        (sources, most): (&[(A, u64)], usize),
        has_pairs: bool,
        seed: &Seed,
        known: &mut HashMap<IpAddr, PortPackets>,
    ) {
        let mut are_spilled = false;
        for &(address, hash) in sources {
            let Some(line) = self.line(address, hash) else {
                continue;
            };
            let rest = self.rest_of(line);
            let is_spilled = rest.is_some_and(|rest| rest.ports != 0);
            if line.missed() == 0 && self.rounds_lost == 0 && (has_pairs || !is_spilled) {
                let visits = line.visits(rest);
                let packets = visits.filter_map(|visits| self.packets(address, visits, seed));
                known.insert(address.ip(), packets.collect());
                are_spilled |= is_spilled;
            }
        }
        for pair in self.pairs.iter().filter(|_| are_spilled) {
            if let Some(rows) = known.get_mut(&pair.address.ip()) {
                rows.extend(self.packets(pair.address, pair.visits, seed));
                if most > 0 && rows.len() > 4 * most {
                    cut(rows, most);
                }
            }
        }
    }

    fn packets(&self, address: A, visits: Visits, seed: &Seed) -> Option<(PortTable, u16, u64)> {
        let (table, port) = visits.place().get()?;
        let rounds = self.rounds.get((address, visits.place()), seed);
        let rounds = rounds.map_or(0, |kept| kept.rounds);
        let packets = rounds * u64::from(Visits::ROUND) + u64::from(visits.packets());
        Some((table, port, packets))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use darknet_ebpf::{Address as Words, Class, Packet, Version};

    use super::*;
    use crate::aggregate::{Aggregate, Observation, Seed};

    /// A packet of a host of either version; ports 0 are backscatter.
    fn packet(host: u32, version: Version, port: u16) -> Packet {
        Packet {
            class: if port == 0 {
                Class::TcpBackscatter
            } else {
                Class::TcpSyn
            },
            version,
            source: Words::from_words([host, 0, 0, host]),
            source_port: 80,
            destination_port: port,
            ..Packet::MALFORMED
        }
    }

    #[test]
    fn one_source_is_what_it_is_among_all_of_them() {
        let seed = Seed::random();
        let (mut census, mut other) = (Census::new(64 << 20, &seed), Census::new(64 << 20, &seed));
        // Each host is at as many ports as its number says.
        for host in 0..40_u32 {
            for port in 0..=host as u16 {
                for version in [Version::V4, Version::V6] {
                    let observation = Observation::new(packet(host, version, port), 0, &seed);
                    let to = if port % 2 == 0 {
                        &mut census
                    } else {
                        &mut other
                    };
                    to.observe(&observation);
                }
            }
        }
        census.merge(&mut other);
        let all: Vec<IpAddr> = census.profiles().map(|profile| profile.source).collect();
        let mut ports = census.port_packets(&all, 0);
        let mut sources = BTreeSet::new();
        for expected in census.profiles() {
            assert_eq!(census.profile(expected.source), Some(expected));
            sources.insert(expected.source);
            let host = expected.packets as u16 - 1;
            // Backscatter is at its port, and its destination port is in a table too.
            let all = [
                (PortTable::TcpBackscatter, 80, 1),
                (PortTable::TcpBackscatterDestination, 0, 1),
            ];
            let syns = (1..=host).map(|port| (PortTable::TcpSyn, port, 1));
            let mut all: Vec<_> = all.into_iter().chain(syns).collect();
            all.sort_unstable();
            assert_eq!(ports.remove(&expected.source), Some(all));
        }
        assert_eq!(sources.len(), 80);
        let unknown = "192.0.2.1".parse().expect("an address");
        assert_eq!(census.profile(unknown), None);
        assert!(census.port_packets(&[unknown], 0).is_empty());
    }

    #[test]
    fn packets_by_port_are_exact_whatever_their_number() {
        let seed = Seed::random();
        let host = Ipv4Addr::from_bits(7).into();
        // As many as one round, less, more, and several; more ports than a source keeps itself.
        let sent: Vec<(u16, u64)> = (1..=20)
            .map(|port| (port, [4_095, 4_096, 4_097, 20_000][usize::from(port) % 4]))
            .collect();
        let mut expected: Vec<_> = sent
            .iter()
            .map(|&(port, packets)| (PortTable::TcpSyn, port, packets))
            .collect();
        expected.sort_by_key(|&(_, port, packets)| (Reverse(packets), port));
        for windows in [1, 2, 7] {
            let mut parts = vec![Census::new(64 << 20, &seed); windows];
            for &(port, packets) in &sent {
                let observation = Observation::new(packet(7, Version::V4, port), 0, &seed);
                (0..packets as usize).for_each(|n| parts[n % windows].observe(&observation));
            }
            let mut merged = Census::new(64 << 20, &seed);
            parts.iter_mut().for_each(|part| merged.merge(part));
            for most in [0, 1, 3, 19, 20, 21] {
                let ports = merged.port_packets(&[host], most);
                let most = if most == 0 { 20 } else { most.min(20) };
                let first = Some(&expected[..most]);
                assert_eq!(
                    ports.get(&host).map(Vec::as_slice),
                    first,
                    "{windows} windows"
                );
            }
            merged.reset();
            assert!(merged.port_packets(&[host], 0).is_empty());
        }
        // Without room for the rounds of all ports, nothing is said.
        let mut small = Census::new(0, &seed);
        for &(port, packets) in &sent {
            let observation = Observation::new(packet(7, Version::V4, port), 0, &seed);
            (0..packets).for_each(|_| small.observe(&observation));
        }
        assert!(small.profile(host).is_some(), "it is there");
        assert!(small.port_packets(&[host], 0).is_empty());
    }

    #[test]
    fn packets_of_two_tables_are_exact_in_both() {
        let seed = Seed::random();
        for version in [Version::V4, Version::V6] {
            let mut census = Census::new(64 << 20, &seed);
            // More of what it keeps itself first, so that these are pairs the second time.
            for (ports, packets) in [(0, 4_097), (12, 9_000)] {
                for port in 1..=ports {
                    census.observe(&Observation::new(
                        packet(ports.into(), version, port),
                        0,
                        &seed,
                    ));
                }
                let backscatter = Observation::new(packet(ports.into(), version, 0), 0, &seed);
                (0..packets).for_each(|_| census.observe(&backscatter));
                let host = packet(ports.into(), version, 0).source.ip(version);
                let expected = [
                    (PortTable::TcpBackscatter, 80, packets),
                    (PortTable::TcpBackscatterDestination, 0, packets),
                ];
                assert_eq!(census.port_packets(&[host], 2)[&host], expected);
            }
        }
    }

    #[test]
    fn what_stays_beside_a_flood_is_exact_and_what_comes_back_is_left_out() {
        let seed = Seed::random();
        let mut census = Census::new(1 << 20, &seed);
        let mut send = |host, packets| {
            let observation = Observation::new(packet(host, Version::V4, 23), 0, &seed);
            (0..packets).for_each(|_| census.observe(&observation));
        };
        send(1, 10_000);
        send(2, 1);
        (1_000..40_000).for_each(|host| send(host, 2));
        send(2, 5_000);
        send(1, 10_000);
        let [stays, returns] = [1, 2].map(|host| Ipv4Addr::from_bits(host).into());
        let ports = census.port_packets(&[stays, returns], 0);
        assert_eq!(ports[&stays], [(PortTable::TcpSyn, 23, 20_000)]);
        assert!(
            census
                .profile(returns)
                .is_some_and(|profile| profile.missed > 0)
        );
        assert!(!ports.contains_key(&returns));
    }
}
