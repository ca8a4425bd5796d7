mod ranges;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use darknet_ebpf::Version;
use ipnet::IpNet;

use self::ranges::Ranges;
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
            Ranges::new(base, entries.iter().filter(|(net, _)| of_version(net)))
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
        let v4 = self.v4.addresses(u32::MAX.into());
        Some(v4.saturating_add(self.v6.addresses(u128::MAX)))
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
        self.ranges(version).boundaries(self.is_any())
    }

    /// Whether the destination with this number is dark.
    #[inline]
    pub(crate) fn is_dark(&self, version: Version, number: u128) -> bool {
        self.ranges(version).is_dark(number)
    }

    #[inline]
    fn ranges(&self, version: Version) -> &Ranges {
        match version {
            Version::V4 => &self.v4,
            Version::V6 => &self.v6,
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
