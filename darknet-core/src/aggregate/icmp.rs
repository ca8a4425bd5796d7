use darknet_ebpf::{IcmpKey, Version};

use super::{Aggregate, Counts, Observation};

/// Types times codes.
const MESSAGES: usize = 1 << 16;

/// ICMP and ICMPv6 packets and bytes by type and code.
///
/// Exact; 2.1 MB whatever the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp(Box<[Counts]>);

impl Icmp {
    /// Every message that came, IPv4 first, by type and code.
    pub fn iter(&self) -> impl Iterator<Item = (IcmpKey, Counts)> + '_ {
        let tables = [Version::V4, Version::V6]
            .into_iter()
            .zip(self.0.chunks_exact(MESSAGES));
        let rows = tables.flat_map(|(version, counts)| {
            (0..=u16::MAX).zip(counts).map(move |(message, &counts)| {
                let [kind, code] = message.to_be_bytes();
                (
                    IcmpKey {
                        version,
                        kind,
                        code,
                    },
                    counts,
                )
            })
        });
        rows.filter(|(_, counts)| counts.packets > 0)
    }

    /// Every row, in the order of `darknet_ebpf::abi::icmp_row`.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn rows_mut(&mut self) -> &mut [Counts] {
        &mut self.0
    }
}

impl Default for Icmp {
    fn default() -> Self {
        Self(vec![Counts::default(); 2 * MESSAGES].into())
    }
}

impl Aggregate for Icmp {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        if let Some(IcmpKey {
            version,
            kind,
            code,
        }) = IcmpKey::of(&observation.packet)
        {
            let message = usize::from(u16::from_be_bytes([kind, code]));
            let table = usize::from(version == Version::V6);
            self.0[table * MESSAGES + message].add(observation.packet.bytes);
        }
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        vec![("icmp", size_of_val(&self.0[..]))]
    }

    fn merge(&mut self, other: &mut Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += *theirs;
        }
    }

    fn reset(&mut self) {
        self.0.fill(Counts::default());
    }
}
