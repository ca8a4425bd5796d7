use std::net::IpAddr;

use ipnet::IpNet;

use super::alias::AliasTable;
use super::random::{Draws, Field, mix, word};

/// An address as a number.
pub(super) const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// IP version of a prefix.
pub(super) const fn version(prefix: &IpNet) -> u8 {
    match prefix {
        IpNet::V4(_) => 4,
        IpNet::V6(_) => 6,
    }
}

/// Bits of an address below the prefix.
pub(super) fn host_bits(prefix: &IpNet) -> u32 {
    u32::from(prefix.max_prefix_len() - prefix.prefix_len())
}

/// `bits` ones, up to 64.
const fn ones(bits: u32) -> u64 {
    if bits == 0 {
        0
    } else {
        u64::MAX >> (64 - bits)
    }
}

/// Bits of an address below its source network: IPv4 /24, IPv6 /48.
const fn bits_in_network(prefix: &IpNet) -> u32 {
    match prefix {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 80,
    }
}

/// Bits that tell the source networks of a prefix apart; `None` if it is less than a network.
pub(super) fn network_bits(prefix: &IpNet) -> Option<u32> {
    host_bits(prefix).checked_sub(bits_in_network(prefix))
}

/// Distinct addresses spread over a prefix: number n is where a permutation of the first (at most)
/// 64 host bits puts n; bits below those, in short IPv6 prefixes and where each network has one
/// address, are a hash of n.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    network: u128,
    permuted: u32,
    low: u32,
    key: u64,
    /// What each step of the permutation adds and multiplies by.
    steps: [(u64, u64); 4],
}

impl Spread {
    /// The addresses of `prefix` in an order that depends on `seed` and on the prefix.
    pub(super) fn new(prefix: &IpNet, seed: u64) -> Self {
        let network = number(prefix.network());
        let bits = host_bits(prefix);
        let mut key = mix(seed);
        for part in [
            u64::from(version(prefix)) << 8 | u64::from(prefix.prefix_len()),
            (network >> 64) as u64,
            network as u64,
        ] {
            key = word(key ^ part, 0);
        }
        Self {
            network,
            permuted: bits.min(64),
            low: bits.saturating_sub(64),
            key,
            steps: [0, 1, 2, 3].map(|step| (word(key, step), mix(word(key, step)) | 1)),
        }
    }

    /// One address in each source network of `prefix`, which is not less than a network.
    pub(super) fn over_networks(prefix: &IpNet, seed: u64) -> Self {
        let low = bits_in_network(prefix);
        Self {
            permuted: host_bits(prefix) - low,
            low,
            ..Self::new(prefix, seed)
        }
    }

    /// Address number `n`, below 2^(host bits), or below the number of networks.
    pub(super) fn address(&self, n: u64) -> u128 {
        let low = word(self.key, u64::MAX ^ n) & ones(self.low.min(64));
        self.network | u128::from(self.permute(n)) << self.low | u128::from(low)
    }

    /// A bijection of the numbers of `permuted` bits: each step (adding, multiplying by an odd
    /// number, folding the upper half onto the lower) can be undone.
    fn permute(&self, n: u64) -> u64 {
        let mask = ones(self.permuted);
        let mut value = n & mask;
        for (addend, factor) in self.steps {
            value = value.wrapping_add(addend) & mask;
            value = value.wrapping_mul(factor) & mask;
            value ^= value >> self.permuted.div_ceil(2).max(1);
        }
        value
    }
}

/// Every address of several prefixes, equally likely.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    blocks: Vec<(u128, u32)>,
    choice: AliasTable,
}

impl Blocks {
    /// The addresses of `prefixes`, or `None` if one is more than 2^40 times another.
    pub(super) fn new(prefixes: &[IpNet]) -> Option<Self> {
        let least = prefixes.iter().map(host_bits).min()?;
        let weights: Vec<u64> = prefixes
            .iter()
            .map(|prefix| host_bits(prefix) - least)
            .map(|bits| (bits <= 40).then(|| 1 << bits))
            .collect::<Option<_>>()?;
        Some(Self {
            blocks: prefixes
                .iter()
                .map(|prefix| (number(prefix.network()), host_bits(prefix)))
                .collect(),
            choice: AliasTable::new(&weights),
        })
    }

    /// The address of this packet.
    pub(super) fn draw(&self, draws: Draws) -> u128 {
        let (network, bits) = match *self.blocks {
            [only] => only,
            _ => self.blocks[self.choice.pick(draws.draw(Field::DestinationBlock)) as usize],
        };
        let low = draws.draw(Field::Destination) & ones(bits.min(64));
        let high = match bits.saturating_sub(64) {
            0 => 0,
            bits => draws.draw(Field::DestinationHigh) & ones(bits),
        };
        network | u128::from(high) << 64 | u128::from(low)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_spread_visits_every_address_of_its_prefix_once() {
        for prefix in [
            "198.51.100.7/32",
            "198.51.100.0/31",
            "198.51.100.0/29",
            "198.51.100.0/24",
            "198.18.0.0/15",
            "2001:db8::/112",
        ] {
            let prefix: IpNet = prefix.parse().expect("a prefix");
            for seed in 0..4 {
                let spread = Spread::new(&prefix, seed);
                let size = 1 << host_bits(&prefix);
                let seen: HashSet<u128> = (0..size).map(|n| spread.address(n)).collect();
                assert_eq!(seen.len() as u64, size, "{prefix} seed {seed}: distinct");
                let network = number(prefix.network());
                let last = network + u128::from(size) - 1;
                assert!(
                    seen.iter()
                        .all(|address| (network..=last).contains(address)),
                    "{prefix} seed {seed}: inside"
                );
            }
        }
    }

    #[test]
    fn a_spread_over_networks_visits_each_of_them_once() {
        for (prefix, bits) in [
            ("198.51.100.0/24", 0),
            ("198.18.0.0/15", 9),
            ("64.0.0.0/8", 16),
            ("2001:db8::/48", 0),
            ("2001:db8::/36", 12),
        ] {
            let prefix: IpNet = prefix.parse().expect("a prefix");
            assert_eq!(network_bits(&prefix), Some(bits), "{prefix}");
            let spread = Spread::over_networks(&prefix, 1);
            let below = bits_in_network(&prefix);
            let addresses = (0..1 << bits).map(|n| spread.address(n));
            let (seen, hosts): (HashSet<u128>, HashSet<u128>) = addresses
                .map(|address| (address >> below, address & ((1 << below) - 1)))
                .unzip();
            assert_eq!(seen.len(), 1 << bits, "{prefix}: distinct");
            let first = number(prefix.network()) >> below;
            let networks = first..first + (1 << bits);
            assert!(
                seen.iter().all(|network| networks.contains(network)),
                "{prefix}: inside"
            );
            assert!(bits < 9 || hosts.len() > 100, "{prefix}: {}", hosts.len());
        }
        let less = "198.51.100.0/25".parse().expect("a prefix");
        assert_eq!(network_bits(&less), None);
    }

    #[test]
    fn a_spread_over_a_short_ipv6_prefix_uses_many_networks() {
        let prefix: IpNet = "2001:db8::/32".parse().expect("a prefix");
        let spread = Spread::new(&prefix, 1);
        let networks: HashSet<u128> = (0..1000).map(|n| spread.address(n) >> 80).collect();
        assert!(networks.len() > 950, "{} of 1000", networks.len());
    }
}
