use std::num::NonZeroU32;

use ipnet::IpNet;
use serde::Deserialize;

use crate::{Error, config::Prefix};

/// Filtered sources at most.
pub const FILTER_AT_MOST: usize = 100_000;

/// Packets to dark space that are neither counted nor delivered, by where they come from. The
/// ledger has them as `filtered`.
///
/// Default: no sources, so that nothing is filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub struct Filter {
    sources: Vec<IpNet>,
    action: FilterAction,
}

/// What becomes of a filtered packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterAction {
    /// It is dropped, as what is counted is.
    #[default]
    Drop,
    /// It goes on to the host, as what is not for dark space does.
    Pass,
}

impl Filter {
    /// Filters what comes from `sources`, in any order; they may nest.
    ///
    /// # Errors
    ///
    /// A prefix with host bits set; more than [`FILTER_AT_MOST`] different prefixes.
    ///
    /// # Examples
    ///
    /// ```
    /// use darknet_core::{Filter, FilterAction};
    ///
    /// let filter = Filter::new(&["198.51.100.0/24".parse()?], FilterAction::Drop)?;
    /// assert_eq!(filter.sources().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(sources: &[IpNet], action: FilterAction) -> Result<Self, Error> {
        if let Some(&prefix) = sources.iter().find(|prefix| prefix.trunc() != **prefix) {
            return Err(Error::HostBits { prefix });
        }
        let mut sources = sources.to_vec();
        sources.sort_unstable();
        sources.dedup();
        if sources.len() > FILTER_AT_MOST {
            return Err(Error::TooMany {
                what: "filtered sources",
                found: sources.len(),
                most: FILTER_AT_MOST,
            });
        }
        Ok(Self { sources, action })
    }

    /// The prefixes whose packets are filtered, sorted, each once.
    pub fn sources(&self) -> &[IpNet] {
        &self.sources
    }

    /// What becomes of their packets.
    pub fn action(&self) -> FilterAction {
        self.action
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// A filter as a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Given {
    #[serde(default)]
    sources: Vec<Prefix>,
    #[serde(default)]
    action: FilterAction,
}

impl TryFrom<Given> for Filter {
    type Error = Error;

    fn try_from(Given { sources, action }: Given) -> Result<Self, Error> {
        let sources: Vec<IpNet> = sources.into_iter().map(|Prefix(source)| source).collect();
        Self::new(&sources, action)
    }
}

/// Which of the counted packets are delivered to userspace. Counts are of all packets either way;
/// the ledger has those left out as `sampled_out`.
///
/// Default: every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Sample {
    /// One in so many is delivered; 1 is all.
    pub one_in: NonZeroU32,
    /// One in so many of what.
    pub of: SampleOf,
}

/// What a sample is drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleOf {
    /// Packets, whatever they are.
    #[default]
    Packets,
    /// Source networks: of one network all packets are delivered or none, while the process runs; the
    /// next one draws anew.
    Networks,
}

impl Sample {
    /// One in `one_in` of `of`.
    ///
    /// # Errors
    ///
    /// Zero: to deliver nothing is [`Packets::None`](crate::live::Packets::None).
    pub fn new(one_in: u32, of: SampleOf) -> Result<Self, Error> {
        let one_in = NonZeroU32::new(one_in).ok_or_else(|| Error::Setting {
            name: "sample",
            value: format!("1 in {one_in}"),
            rule: "1 in 1 to 1 in 4294967295",
        })?;
        Ok(Self { one_in, of })
    }

    /// Whether every packet is delivered.
    pub fn is_all(&self) -> bool {
        self.one_in == NonZeroU32::MIN
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            one_in: NonZeroU32::MIN,
            of: SampleOf::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_sorted_and_refuses_what_cannot_be_meant() {
        let nets = ["2001:db8::/32", "10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16"];
        let nets = nets.map(|text| text.parse().expect(text));
        let filter = Filter::new(&nets, FilterAction::Pass).expect("a filter");
        assert_eq!(filter.sources(), [nets[1], nets[3], nets[0]]);
        assert_eq!(filter.action(), FilterAction::Pass);
        assert!(Filter::default().is_empty() && !filter.is_empty());

        let host_bits = Filter::new(&["10.0.0.1/8".parse().expect("a net")], FilterAction::Drop);
        let said = host_bits.expect_err("host bits").to_string();
        assert!(said.ends_with("write 10.0.0.0/8"), "{said}");

        let single = |number| IpNet::from(std::net::IpAddr::V4(number));
        let mut sources: Vec<IpNet> = (0..100_001).map(|net| single(u32::into(net))).collect();
        let said = Filter::new(&sources, FilterAction::Drop).expect_err("one too many");
        let expected = "100001 filtered sources are too many, at most 100000 are taken";
        assert!(said.to_string().starts_with(expected), "{said}");
        sources[100_000] = sources[0];
        assert!(Filter::new(&sources, FilterAction::Drop).is_ok());
    }

    #[test]
    fn a_sample_is_of_everything_or_of_one_in_some() {
        assert!(Sample::default().is_all());
        assert_eq!(
            Sample::new(1, SampleOf::Packets).expect("all"),
            Sample::default()
        );
        let networks = Sample::new(u32::MAX, SampleOf::Networks).expect("the fewest");
        assert!(!networks.is_all() && networks.of == SampleOf::Networks);
        let said = Sample::new(0, SampleOf::Packets).expect_err("none of them");
        assert_eq!(
            said.to_string(),
            "sample is 1 in 0; it must be 1 in 1 to 1 in 4294967295"
        );
    }
}
