use std::net::IpAddr;

use darknet_ebpf::Version;
use ipnet::IpNet;

use crate::{Error, nest};

/// Dark prefixes and exclusions at most, together.
pub const DARK_AT_MOST: usize = 100_000;

/// Which destinations are dark.
///
/// Prefixes and exclusions may nest; the longest match wins. Without a prefix every destination
/// is dark but the excluded ones. There may be [`DARK_AT_MOST`] of them.
#[derive(Clone, Debug)]
pub struct Dark {
    prefixes: Vec<IpNet>,
    excluded: Vec<IpNet>,
    /// The whole address space cut where dark and not dark meet.
    v4: Ranges,
    v6: Ranges,
}

/// Sorted by start: from `start` on, until the next one, destinations are dark or are not.
/// IPv4 addresses are numbers below 2^32.
type Ranges = Vec<(u128, bool)>;

impl Dark {
    /// Every destination is dark.
    pub fn any() -> Self {
        Self::new(&[], &[]).expect("no prefix contradicts another")
    }

    /// Destinations in `prefixes` are dark, but those in `excluded`, the longest match wins.
    /// No prefix means every destination.
    ///
    /// # Errors
    ///
    /// A prefix with host bits set, one that is both dark and excluded, an exclusion that lies in
    /// no dark prefix; more than [`DARK_AT_MOST`] prefixes and exclusions.
    ///
    /// # Examples
    ///
    /// ```
    /// use darknet_core::Dark;
    ///
    /// let dark = Dark::new(&["203.0.113.0/24".parse()?], &["203.0.113.1/32".parse()?])?;
    /// assert!(dark.contains("203.0.113.9".parse()?));
    /// assert!(!dark.contains("203.0.113.1".parse()?));
    /// assert_eq!(dark.addresses(), Some(255));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(prefixes: &[IpNet], excluded: &[IpNet]) -> Result<Self, Error> {
        let sorted = |given: &[IpNet]| {
            if let Some(&prefix) = given.iter().find(|prefix| prefix.trunc() != **prefix) {
                return Err(Error::HostBits { prefix });
            }
            let mut sorted = given.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            Ok(sorted)
        };
        let prefixes = sorted(prefixes)?;
        let excluded = sorted(excluded)?;
        let found = prefixes.len() + excluded.len();
        if found > DARK_AT_MOST {
            return Err(Error::TooMany {
                what: "dark prefixes and exclusions",
                found,
                most: DARK_AT_MOST,
            });
        }
        let entries = nest::sorted(&prefixes, &excluded);
        if let Some(same) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::Contradiction { prefix: same[0].0 });
        }
        let base = prefixes.is_empty();
        for ((prefix, dark), around) in nest::with_around(entries.clone()) {
            if !base && !dark && around.is_none() {
                return Err(Error::ExcludesNothing { prefix });
            }
        }
        let of = |version: Version| {
            let of_version = |net: &IpNet| number(net.addr()).0 == version;
            ranges(base, entries.iter().filter(|(net, _)| of_version(net)))
        };
        Ok(Self {
            v4: of(Version::V4),
            v6: of(Version::V6),
            prefixes,
            excluded,
        })
    }

    /// The dark prefixes, sorted; none means every destination.
    pub fn prefixes(&self) -> &[IpNet] {
        &self.prefixes
    }

    /// The excluded prefixes, sorted.
    pub fn excluded(&self) -> &[IpNet] {
        &self.excluded
    }

    /// Whether every destination is dark unless excluded.
    pub fn is_any(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// How many addresses are dark; `None` when there is no prefix.
    pub fn addresses(&self) -> Option<u128> {
        if self.is_any() {
            return None;
        }
        let size = |ranges: &Ranges, last: u128| -> u128 {
            let lasts = ranges.iter().skip(1).map(|range| range.0 - 1).chain([last]);
            let dark = ranges.iter().zip(lasts).filter(|(range, _)| range.1);
            // All of IPv6 is one address more than a number holds.
            dark.fold(0, |sum: u128, (range, last)| {
                sum.saturating_add((last - range.0).saturating_add(1))
            })
        };
        Some(size(&self.v4, u32::MAX.into()).saturating_add(size(&self.v6, u128::MAX)))
    }

    /// Whether `destination` is dark.
    pub fn contains(&self, destination: IpAddr) -> bool {
        let (version, number) = number(destination);
        self.is_dark(version, number)
    }

    /// What adds nothing, sorted: a dark prefix whose longest match without it would be dark too,
    /// or an exclusion inside an exclusion. Each comes with the prefix that it lies in. They are
    /// legal, but often not what was meant.
    ///
    /// # Examples
    ///
    /// ```
    /// use darknet_core::Dark;
    ///
    /// let dark = Dark::new(&["10.0.0.0/8".parse()?, "10.1.0.0/16".parse()?], &[])?;
    /// for (inner, outer) in dark.redundant() {
    ///     assert_eq!(format!("{inner} lies in {outer}"), "10.1.0.0/16 lies in 10.0.0.0/8");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redundant(&self) -> impl Iterator<Item = (IpNet, IpNet)> + use<> {
        let entries = nest::sorted(&self.prefixes, &self.excluded);
        nest::with_around(entries).filter_map(|((inner, dark), around)| {
            let (outer, _) = around.filter(|around| around.1 == dark)?;
            Some((inner, outer))
        })
    }

    /// All prefixes and whether each is dark, the shorter before the longer ones in it: what a
    /// table of longest matches holds. What none of them holds is [`is_any`](Self::is_any).
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn entries(&self) -> Vec<nest::Entry> {
        nest::sorted(&self.prefixes, &self.excluded)
    }

    /// Where dark and not dark meet, sorted: each is the first address that differs from the one
    /// before it, or, for address 0, from what [`is_any`](Self::is_any) says of all.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn boundaries(&self, version: Version) -> Vec<u128> {
        let mut last = self.is_any();
        let ranges = match version {
            Version::V4 => &self.v4,
            Version::V6 => &self.v6,
        };
        let turns = ranges
            .iter()
            .filter(|(_, dark)| *dark != std::mem::replace(&mut last, *dark));
        turns.map(|(start, _)| *start).collect()
    }

    /// Whether the destination with this number is dark.
    #[inline]
    pub(crate) fn is_dark(&self, version: Version, number: u128) -> bool {
        let ranges = match version {
            Version::V4 => &self.v4,
            Version::V6 => &self.v6,
        };
        match ranges.as_slice() {
            [(_, dark)] => *dark,
            ranges => ranges[ranges.partition_point(|range| range.0 <= number) - 1].1,
        }
    }
}

impl Default for Dark {
    fn default() -> Self {
        Self::any()
    }
}

/// Reads a prefix; an address alone is a prefix of its whole length.
///
/// # Errors
///
/// Text that is no prefix, or one with host bits set.
pub fn parse_prefix(text: &str) -> Result<IpNet, Error> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let Some(prefix) = text.parse().ok().or_else(address) else {
        return Err(Error::Prefix { text: text.into() });
    };
    if prefix.trunc() != prefix {
        return Err(Error::HostBits { prefix });
    }
    Ok(prefix)
}

fn number(address: IpAddr) -> (Version, u128) {
    match address {
        IpAddr::V4(address) => (Version::V4, address.to_bits().into()),
        IpAddr::V6(address) => (Version::V6, address.to_bits()),
    }
}

/// Cuts the address space of one version where dark and not dark meet. Shorter prefixes come
/// first, so that each is painted over by the longer ones inside it.
fn ranges<'a>(base: bool, nets: impl Iterator<Item = &'a nest::Entry>) -> Ranges {
    let mut ranges: Ranges = vec![(0, base)];
    let mut open: Vec<(u128, bool)> = Vec::new();
    let mut mark = |at: u128, dark: bool| match ranges.last_mut() {
        Some(last) if last.0 == at => last.1 = dark,
        _ => ranges.push((at, dark)),
    };
    let close = |open: &mut Vec<(u128, bool)>, until: u128, mark: &mut dyn FnMut(u128, bool)| {
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
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn dark(prefixes: &[&str], excluded: &[&str]) -> Dark {
        Dark::new(&nets(prefixes), &nets(excluded)).expect("valid")
    }

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

    #[test]
    fn what_adds_nothing_is_told_with_what_it_lies_in() {
        for (prefixes, excluded, expected) in [
            (vec!["10.0.0.0/8", "11.0.0.0/8"], vec![], vec![]),
            (
                vec!["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"],
                vec![],
                vec!["10.1.0.0/16 in 10.0.0.0/8", "10.1.2.0/24 in 10.1.0.0/16"],
            ),
            // It takes back an exclusion.
            (
                vec!["10.0.0.0/8", "10.1.2.0/24"],
                vec!["10.1.0.0/16"],
                vec![],
            ),
            (
                vec!["10.0.0.0/8"],
                vec!["10.1.0.0/16", "10.1.2.0/24"],
                vec!["10.1.2.0/24 in 10.1.0.0/16"],
            ),
            // The exclusion inside adds something, as dark space lies between.
            (
                vec!["10.0.0.0/8", "10.1.2.0/24"],
                vec!["10.1.0.0/16", "10.1.2.7/32"],
                vec![],
            ),
            (
                vec![],
                vec!["2001:db8::/32", "2001:db8:1::/48"],
                vec!["2001:db8:1::/48 in 2001:db8::/32"],
            ),
            // Twice the same is once.
            (vec!["10.0.0.0/8", "10.0.0.0/8"], vec![], vec![]),
        ] {
            let found: Vec<_> = dark(&prefixes, &excluded)
                .redundant()
                .map(|(inner, outer)| format!("{inner} in {outer}"))
                .collect();
            assert_eq!(found, expected, "{prefixes:?} without {excluded:?}");
        }
    }

    #[cfg(all(feature = "live", target_os = "linux"))]
    #[test]
    fn the_longest_match_of_the_entries_is_what_is_dark() {
        let dark = dark(
            &["10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32"],
            &["10.1.0.0/16", "10.1.2.7/32", "2001:db8:1::/48"],
        );
        let entries = dark.entries();
        assert_eq!(entries.len(), 6);
        for (net, _) in &entries {
            for address in [net.network(), net.broadcast()] {
                let around = entries.iter().filter(|(net, _)| net.contains(&address));
                let longest = around.max_by_key(|(net, _)| net.prefix_len());
                assert_eq!(longest.map(|entry| entry.1), Some(dark.contains(address)));
            }
        }
    }

    #[test]
    fn a_hundred_thousand_prefixes_are_no_burden_and_one_more_is_refused() {
        // 90,000 prefixes of /24 side by side, in 10,000 of them the first address excluded.
        let at = |number: u32, len| -> IpNet {
            let address = std::net::Ipv4Addr::from_bits((10 << 24) + (number << 8));
            ipnet::Ipv4Net::new(address, len).expect("a length").into()
        };
        let mut prefixes: Vec<IpNet> = (0..90_000).map(|number| at(number, 24)).collect();
        let excluded: Vec<IpNet> = (0..10_000).map(|number| at(9 * number, 32)).collect();
        let begun = std::time::Instant::now();
        let dark = Dark::new(&prefixes, &excluded).expect("it fits");
        assert_eq!(dark.redundant().count(), 0);
        let took = begun.elapsed();
        assert_eq!(dark.addresses(), Some(90_000 * 256 - 10_000));
        for (number, len, expected) in [
            (0, 32, false),
            (1, 32, true),
            (9 * 9_999, 32, false),
            (89_999, 32, true),
            (90_000, 32, false),
        ] {
            let address = at(number, len).addr();
            assert_eq!(dark.contains(address), expected, "{address}");
        }
        // It takes some 40 ms; to hold each against each took 3 s.
        assert!(took.as_secs() < 1, "{took:?}");

        prefixes.push(at(90_000, 24));
        let refused = Dark::new(&prefixes, &excluded).expect_err("one too many");
        assert!(matches!(
            refused,
            Error::TooMany {
                found: 100_001,
                most: 100_000,
                ..
            }
        ));
        // What is said twice counts once.
        prefixes[90_000] = prefixes[0];
        assert!(Dark::new(&prefixes, &excluded).is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |prefixes: &[&str], excluded: &[&str]| {
            Dark::new(&nets(prefixes), &nets(excluded))
                .expect_err("refused")
                .to_string()
        };
        assert!(refused(&["203.0.113.9/24"], &[]).contains("write 203.0.113.0/24"));
        assert!(refused(&["203.0.113.0/24"], &["203.0.113.0/24"]).contains("both"));
        assert!(refused(&["203.0.113.0/24"], &["192.0.2.0/24"]).contains("no dark prefix"));
        assert!(parse_prefix("203.0.113.0/33").is_err());
        assert!(parse_prefix("dark").is_err());
        assert_eq!(
            parse_prefix("192.0.2.1").expect("one address").prefix_len(),
            32
        );
    }
}
