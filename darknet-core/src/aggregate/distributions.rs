use darknet_ebpf::Class;

use super::{Aggregate, Observation};

/// The time to live and the size of packets, by class; malformed packets are in neither.
///
/// Exact; 4.8 MB whatever the traffic.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Distributions, Observation, Seed},
///     rules::{Class, Packet},
/// };
///
/// let packet = Packet { class: Class::Udp, ttl: 64, bytes: 44, ..Packet::MALFORMED };
/// let mut distributions = Distributions::default();
/// distributions.observe(&Observation::new(packet, 0, &Seed::random()));
/// assert_eq!(distributions.ttls(Class::Udp).collect::<Vec<_>>(), [(64, 1)]);
/// assert_eq!(distributions.sizes(Class::Udp).collect::<Vec<_>>(), [(44, 1)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributions {
    ttls: Box<[u64]>,
    sizes: Box<[u64]>,
}

/// Values of an IPv4 time to live or an IPv6 hop limit.
const TTLS: usize = 1 << 8;
/// Sizes: the longest is an IPv6 header, 40 bytes, and a payload of 65,535 (RFC 8200, section 3).
const SIZES: usize = 40 + (1 << 16);

impl Distributions {
    /// Packets of a class by their time to live (IPv6: hop limit), those that came.
    pub fn ttls(&self, class: Class) -> impl Iterator<Item = (u8, u64)> + '_ {
        let packets = row(&self.ttls, class, TTLS);
        let rows = (0..=u8::MAX).zip(packets.iter().copied());
        rows.filter(|&(_, packets)| packets > 0)
    }

    /// Packets of a class by their size, as [`Counts::bytes`](super::Counts::bytes) has it, those
    /// that came.
    pub fn sizes(&self, class: Class) -> impl Iterator<Item = (u32, u64)> + '_ {
        let packets = row(&self.sizes, class, SIZES);
        let rows = (0..).zip(packets.iter().copied());
        rows.filter(|&(_, packets)| packets > 0)
    }
}

fn row(table: &[u64], class: Class, length: usize) -> &[u64] {
    &table[class as usize * length..][..length]
}

impl Default for Distributions {
    fn default() -> Self {
        Self {
            ttls: vec![0; Class::ALL.len() * TTLS].into(),
            sizes: vec![0; Class::ALL.len() * SIZES].into(),
        }
    }
}

impl Aggregate for Distributions {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        let packet = &observation.packet;
        if packet.class == Class::Malformed {
            return;
        }
        let class = packet.class as usize;
        self.ttls[class * TTLS + usize::from(packet.ttl)] += 1;
        // No walk finds a larger one.
        let size = (packet.bytes as usize).min(SIZES - 1);
        self.sizes[class * SIZES + size] += 1;
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let Self { ttls, sizes } = self;
        vec![
            ("ttls", size_of_val(&ttls[..])),
            ("sizes", size_of_val(&sizes[..])),
        ]
    }

    fn merge(&mut self, other: &mut Self) {
        let Self { ttls, sizes } = self;
        let mine = ttls.iter_mut().chain(sizes);
        for (mine, theirs) in mine.zip(other.ttls.iter().chain(&other.sizes)) {
            *mine += theirs;
        }
    }

    fn reset(&mut self) {
        let Self { ttls, sizes } = self;
        ttls.fill(0);
        sizes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use darknet_ebpf::Packet;
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::Seed;

    type Row = (BTreeMap<u8, u64>, BTreeMap<u32, u64>);
    type Rows = Vec<(Vec<(u8, u64)>, Vec<(u32, u64)>)>;

    fn say(distributions: &Distributions) -> Rows {
        let rows = Class::ALL.map(|class| {
            let ttls = distributions.ttls(class).collect();
            (ttls, distributions.sizes(class).collect())
        });
        rows.into()
    }

    proptest! {
        #[test]
        fn each_class_has_its_ttls_and_sizes_wherever_they_were_counted(
            packets in prop::collection::vec((0..9_usize, 0..4_u8, prop_oneof![20..24_u32, Just(65_575)], 0..3_usize), 0..200),
            order in Just([0, 1, 2]).prop_shuffle(),
        ) {
            let seed = Seed::random();
            let mut parts = [(); 3].map(|()| Distributions::default());
            let mut expected: BTreeMap<usize, Row> = BTreeMap::new();
            for &(class, ttl, bytes, part) in &packets {
                let class = Class::ALL[class];
                let ttl = ttl.wrapping_sub(2);
                let packet = Packet { class, ttl, bytes, ..Packet::MALFORMED };
                parts[part].observe(&Observation::new(packet, 0, &seed));
                if class != Class::Malformed {
                    let row = expected.entry(class as usize).or_default();
                    *row.0.entry(ttl).or_default() += 1;
                    *row.1.entry(bytes).or_default() += 1;
                }
            }
            let mut merged = Distributions::default();
            order.iter().for_each(|&part: &usize| merged.merge(&mut parts[part]));
            let expected: Rows = (0..Class::ALL.len())
                .map(|class| expected.remove(&class).unwrap_or_default())
                .map(|(ttls, sizes)| (ttls.into_iter().collect(), sizes.into_iter().collect()))
                .collect();
            prop_assert_eq!(say(&merged), expected);
            merged.reset();
            prop_assert_eq!(merged, Distributions::default());
        }
    }
}
