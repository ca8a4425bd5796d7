use super::number;
use crate::nest;

/// The address space of one IP version, cut where dark and not dark meet. IPv4 addresses are
/// numbers below 2^32.
///
/// Sorted by start: from `start` on, until the next one, destinations are dark or are not.
#[derive(Clone, Debug)]
pub(super) struct Ranges(Vec<(u128, bool)>);

impl Ranges {
    /// Shorter prefixes come first, so that each is painted over by the longer ones inside it.
    /// What none of them holds is `base`.
    pub(super) fn new<'a>(base: bool, nets: impl Iterator<Item = &'a nest::Entry>) -> Self {
        let mut ranges: Vec<(u128, bool)> = vec![(0, base)];
        let mut open: Vec<(u128, bool)> = Vec::new();
        let mut mark = |at: u128, dark: bool| match ranges.last_mut() {
            Some(last) if last.0 == at => last.1 = dark,
            _ => ranges.push((at, dark)),
        };
        let close =
            |open: &mut Vec<(u128, bool)>, until: u128, mark: &mut dyn FnMut(u128, bool)| {
                while let Some(&(last, _)) = open.last()
                    && last < until
                {
                    open.pop();
                    let around = open.last().map_or(base, |outer| outer.1);
                    if let Some(next) = last.checked_add(1) {
                        mark(next, around);
                    }
                }
            };
        for &(net, dark) in nets {
            let first = number(net.network()).1;
            close(&mut open, first, &mut mark);
            mark(first, dark);
            open.push((number(net.broadcast()).1, dark));
        }
        close(&mut open, u128::MAX, &mut mark);
        ranges.dedup_by_key(|range| range.1);
        Self(ranges)
    }

    /// Whether the destination with this number is dark.
    #[inline]
    pub(super) fn is_dark(&self, number: u128) -> bool {
        match self.0.as_slice() {
            [(_, dark)] => *dark,
            ranges => ranges[ranges.partition_point(|range| range.0 <= number) - 1].1,
        }
    }

    /// How many addresses are dark, of those up to `last`.
    pub(super) fn addresses(&self, last: u128) -> u128 {
        let lasts = self.0.iter().skip(1).map(|range| range.0 - 1).chain([last]);
        let dark = self.0.iter().zip(lasts).filter(|(range, _)| range.1);
        // All of IPv6 is one address more than a number holds.
        dark.fold(0, |sum: u128, (range, last)| {
            sum.saturating_add((last - range.0).saturating_add(1))
        })
    }

    /// Where dark and not dark meet, sorted; at address 0, where it differs from `base`.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(super) fn boundaries(&self, base: bool) -> Vec<u128> {
        let mut last = base;
        let turns = self
            .0
            .iter()
            .filter(|(_, dark)| *dark != std::mem::replace(&mut last, *dark));
        turns.map(|(start, _)| *start).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    #[cfg(all(feature = "live", target_os = "linux"))]
    use darknet_ebpf::Version;

    use crate::dark::tests::dark;

    #[test]
    fn the_longest_match_wins_at_every_edge() {
        let dark = dark(
            &[
                "10.0.0.0/8",
                "10.1.2.0/24",
                "2001:db8::/32",
                "255.255.255.255/32",
            ],
            &["10.1.0.0/16", "10.1.2.7/32", "2001:db8:1::/48"],
        );
        for (address, expected) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.0.255.255", true),
            ("10.1.0.0", false),
            ("10.1.1.255", false),
            ("10.1.2.0", true),
            ("10.1.2.6", true),
            ("10.1.2.7", false),
            ("10.1.2.8", true),
            ("10.1.2.255", true),
            ("10.1.3.0", false),
            ("10.1.255.255", false),
            ("10.2.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("0.0.0.0", false),
            ("255.255.255.254", false),
            ("255.255.255.255", true),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:db8::", true),
            ("2001:db8:1::", false),
            ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:db8:2::", true),
            ("2001:db9::", false),
            ("::ffff:10.0.0.1", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(dark.contains(address), expected, "{address}");
        }
    }

    #[test]
    fn addresses_are_those_left_dark() {
        for (prefixes, excluded, addresses) in [
            (vec!["203.0.113.0/24"], vec![], 256),
            (vec!["203.0.113.0/24"], vec!["203.0.113.0/28"], 240),
            (vec!["203.0.113.0/24", "203.0.113.0/25"], vec![], 256),
            (vec!["203.0.112.0/24", "203.0.113.0/24"], vec![], 512),
            (vec!["0.0.0.0/0"], vec![], 1 << 32),
            (
                vec!["255.255.255.0/24", "2001:db8::/64"],
                vec![],
                256 + (1 << 64),
            ),
            (vec!["ff00::/8"], vec!["ff02::/16"], (1 << 120) - (1 << 112)),
            (vec!["::/0"], vec![], u128::MAX),
        ] {
            let dark = dark(&prefixes, &excluded);
            assert_eq!(dark.addresses(), Some(addresses), "{prefixes:?}");
        }
    }

    #[test]
    fn any_is_everything_but_the_excluded() {
        let dark = dark(&[], &["192.0.2.0/24"]);
        assert!(dark.is_any());
        assert_eq!(dark.addresses(), None);
        assert!(dark.contains("198.51.100.1".parse().expect("an address")));
        assert!(dark.contains("2001:db8::1".parse().expect("an address")));
        assert!(!dark.contains("192.0.2.200".parse().expect("an address")));
    }

    #[cfg(all(feature = "live", target_os = "linux"))]
    #[test]
    fn boundaries_say_what_the_ranges_say() {
        for (prefixes, excluded) in [
            (vec![], vec![]),
            (vec![], vec!["192.0.2.0/24", "0.0.0.0/8", "2001:db8::/32"]),
            (vec!["0.0.0.0/0"], vec![]),
            (vec!["::/0", "255.255.255.255/32"], vec!["ffff::/16"]),
            (
                vec!["10.0.0.0/8", "10.1.2.0/24", "11.0.0.0/8"],
                vec!["10.1.0.0/16", "10.1.2.7/32"],
            ),
        ] {
            let dark = dark(&prefixes, &excluded);
            for version in [Version::V4, Version::V6] {
                let most = match version {
                    Version::V4 => u32::MAX.into(),
                    Version::V6 => u128::MAX,
                };
                let boundaries = dark.boundaries(version);
                let around = boundaries.iter().flat_map(|&at| [at.saturating_sub(1), at]);
                for address in around.chain([0, 1, most]) {
                    assert_eq!(
                        darknet_ebpf::is_dark(dark.is_any(), boundaries.iter().copied(), address),
                        dark.is_dark(version, address),
                        "{prefixes:?} without {excluded:?}: {address:#x}"
                    );
                }
            }
        }
    }
}
