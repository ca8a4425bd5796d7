//! One source, by its address.

use std::net::IpAddr;

use darknet_ebpf::PortTable;

use super::{
    super::{
        SHARDS,
        profiles::Profile,
        source::{Address, Place},
    },
    Census,
    line::Line,
    roll::Roll,
};

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

    /// Where a source was seen, in the order of tables and ports; `None` if it is not there, or was at
    /// more than 12 ports (IPv6: 9).
    pub fn ports_of(&self, source: IpAddr) -> Option<Vec<(PortTable, u16)>> {
        match source {
            IpAddr::V4(source) => {
                let (hash, (roll, _)) = self.shard(source.to_bits());
                roll.few_ports(roll.line(source.to_bits(), hash)?)
            }
            IpAddr::V6(source) => {
                let (hash, (_, roll)) = self.shard(source.to_bits());
                roll.few_ports(roll.line(source.to_bits(), hash)?)
            }
        }
    }

    /// The hash of an address and its shard, as [`Observation`](super::super::Observation) has them.
    fn shard(&self, address: impl Address) -> (u64, &(Roll<u32>, Roll<u128>)) {
        let hash = self.seed.key(address);
        let shard = hash >> (64 - SHARDS.trailing_zeros());
        (hash, &self.shards[shard as usize])
    }
}

impl<A: Address> Roll<A> {
    fn line(&self, address: A, hash: u64) -> Option<&Line<A>> {
        self.lines.get(self.find(address, hash)?)
    }

    /// Every port of a source, if none was spilled.
    fn few_ports(&self, line: &Line<A>) -> Option<Vec<(PortTable, u16)>> {
        let rest = self.rest_of(line);
        if rest.is_some_and(|rest| rest.ports != 0) {
            return None;
        }
        let mut ports: Vec<_> = line.places(rest).filter_map(Place::get).collect();
        ports.sort_unstable();
        Some(ports)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        let mut sources = BTreeSet::new();
        for expected in census.profiles() {
            assert_eq!(census.profile(expected.source), Some(expected));
            sources.insert(expected.source);
            let host = expected.packets as u16 - 1;
            // Backscatter is at its port, and its destination port is in a table too.
            let (places, most) = (host + 2, if expected.source.is_ipv4() { 12 } else { 9 });
            let all = [
                (PortTable::TcpBackscatter, 80),
                (PortTable::TcpBackscatterDestination, 0),
            ];
            let syns = (1..=host).map(|port| (PortTable::TcpSyn, port));
            let mut all: Vec<_> = all.into_iter().chain(syns).collect();
            all.sort_unstable();
            let known = (places <= most).then_some(all);
            assert_eq!(
                census.ports_of(expected.source),
                known,
                "{}",
                expected.source
            );
        }
        assert_eq!(sources.len(), 80);
        let unknown = "192.0.2.1".parse().expect("an address");
        assert_eq!(
            (census.profile(unknown), census.ports_of(unknown)),
            (None, None)
        );
    }
}
