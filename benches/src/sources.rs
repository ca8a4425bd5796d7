use std::collections::HashSet;

use xtask::scenario::AliasTable;

/// How many sources a list has: `LENGTH` of `darknet-ebpf/src/bin/varied.rs`.
pub const LENGTH: usize = 1 << 20;

/// How packets spread over source networks, IPv4 /24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// One source sends them all.
    Hot,
    /// Network n of so many sends in proportion to 1 / n.
    Zipf(u32),
    /// Each of so many sends as much as any other, in no order.
    Uniform(u32),
}

impl Sources {
    /// How many networks there are.
    pub const fn networks(self) -> u32 {
        match self {
            Self::Hot => 1,
            Self::Zipf(networks) | Self::Uniform(networks) => networks,
        }
    }

    /// The sources of [`LENGTH`] packets, the same each time.
    pub fn list(self) -> Vec<[u8; 4]> {
        let mut draws = Draws(20_210_501);
        let mut seen = HashSet::new();
        let networks: Vec<[u8; 4]> = std::iter::repeat_with(|| draws.next() as u32 | 0xff)
            .filter(|&network| seen.insert(network))
            .map(u32::to_be_bytes)
            .take(self.networks() as usize)
            .collect();
        match self {
            Self::Hot => vec![networks[0]; LENGTH],
            Self::Zipf(count) => {
                let ranks = AliasTable::zipf(count);
                let rank = || ranks.pick(draws.next()) as usize;
                let sources = std::iter::repeat_with(rank).map(|rank| networks[rank]);
                sources.take(LENGTH).collect()
            }
            Self::Uniform(_) => {
                let mut sources: Vec<[u8; 4]> =
                    networks.iter().copied().cycle().take(LENGTH).collect();
                for last in (1..LENGTH).rev() {
                    let other = draws.next() % (last as u64 + 1);
                    sources.swap(last, other as usize);
                }
                sources
            }
        }
    }
}

impl std::fmt::Display for Sources {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hot => write!(out, "one source"),
            Self::Zipf(networks) => write!(out, "{networks}, Zipf weights"),
            Self::Uniform(networks) => write!(out, "{networks}, all alike"),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_list_has_as_many_networks_as_it_says() {
        for (sources, networks, most) in [
            (Sources::Hot, 1..=1, LENGTH..=LENGTH),
            (Sources::Uniform(65_536), 65_536..=65_536, 16..=16),
            (Sources::Uniform(100_000), 100_000..=100_000, 11..=11),
            (Sources::Uniform(1 << 20), 1 << 20..=1 << 20, 1..=1),
            // Rank 1 has 1 / 12.09 of the packets; rank 100,000 expects 0.87.
            (Sources::Zipf(100_000), 75_000..=95_000, 86_000..=87_500),
        ] {
            let mut seen = HashMap::<_, usize>::new();
            for [a, b, c, _] in sources.list() {
                *seen.entry([a, b, c]).or_default() += 1;
            }
            assert_eq!(seen.values().sum::<usize>(), LENGTH, "{sources}");
            assert!(networks.contains(&seen.len()), "{sources}: {}", seen.len());
            let largest = seen.values().max().copied().unwrap_or(0);
            assert!(most.contains(&largest), "{sources}: {largest}");
        }
    }
}
