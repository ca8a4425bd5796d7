/// Distinct hosts by how many packets each sent.
///
/// The bins are those of NICTER's reports, where hosts with fewer than 10 packets are told from the
/// rest, with finer ones below and a bin for each power of ten above: 1, 2 to 3, 4 to 9, 10 to 99,
/// and so on to 10,000,000 and more.
///
/// Made of the exact table of sources when a window closes; 80 bytes, and nothing for a packet. A
/// host's packets add up over windows: the bins of a day are those of the merged table, not the
/// sums of the bins of its windows.
///
/// # Examples
///
/// ```
/// use darknet_core::aggregate::PacketBins;
///
/// let bins = PacketBins::of([1, 1, 3, 250]);
/// let mut bins = bins.iter().filter(|bin| bin.hosts > 0);
/// let first = bins.next().expect("three");
/// assert_eq!((first.from, first.to, first.hosts), (1, Some(1), 2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketBins([u64; STARTS.len()]);

/// Where each bin begins; it ends before the next.
const STARTS: [u64; 10] = [
    1, 2, 4, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000,
];

/// A bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketBin {
    /// The fewest packets that a host in it sent.
    pub from: u64,
    /// The most; `None` in the last bin.
    pub to: Option<u64>,
    /// How many hosts are in it.
    pub hosts: u64,
}

impl PacketBins {
    /// Hosts that sent so many packets each. None has 0.
    pub fn of(hosts: impl IntoIterator<Item = u64>) -> Self {
        let mut bins = Self::default();
        for packets in hosts.into_iter().filter(|&packets| packets > 0) {
            let bin = STARTS.partition_point(|&start| start <= packets) - 1;
            bins.0[bin] += 1;
        }
        bins
    }

    /// Every bin, also the empty ones, from few packets to many.
    pub fn iter(&self) -> impl Iterator<Item = PacketBin> + '_ {
        let ends = STARTS[1..].iter().map(|next| Some(next - 1));
        let edges = STARTS.into_iter().zip(ends.chain([None]));
        edges
            .zip(self.0)
            .map(|((from, to), hosts)| PacketBin { from, to, hosts })
    }
}

#[cfg(test)]
mod tests {
    use darknet_ebpf::{Address, Class, Packet, Version};

    use super::*;
    use crate::aggregate::{Aggregate, Census, Observation, Seed};

    #[test]
    fn each_number_of_packets_is_in_the_bin_whose_edges_it_lies_between() {
        for power in 0..20 {
            for packets in [1, 2, 3, 4, 9].map(|digit| digit * 10_u64.pow(power).min(u64::MAX / 9))
            {
                let bins = PacketBins::of([packets]);
                let mut found = bins.iter().filter(|bin| bin.hosts == 1);
                let bin = found.next().expect("one bin");
                assert!(bin.from <= packets, "{packets}");
                assert!(bin.to.is_none_or(|to| packets <= to), "{packets}");
                assert_eq!(found.next(), None, "{packets}");
            }
        }
        let edges: Vec<_> = PacketBins::default()
            .iter()
            .map(|bin| (bin.from, bin.to))
            .collect();
        assert_eq!(
            edges[..4],
            [(1, Some(1)), (2, Some(3)), (4, Some(9)), (10, Some(99))]
        );
        assert_eq!(edges[9], (10_000_000, None));
    }

    #[test]
    fn the_hosts_of_a_window_are_binned_by_their_packets() {
        let seed = Seed::random();
        let mut sources = Census::new(1 << 24, &seed);
        // Host n of either version sends n packets.
        for (version, host) in [Version::V4, Version::V6]
            .into_iter()
            .flat_map(|version| (1..=20).map(move |host| (version, host)))
        {
            for _ in 0..host {
                let packet = Packet {
                    class: Class::Udp,
                    version,
                    source: Address::from_words([host, 0, 0, 0]),
                    ..Packet::MALFORMED
                };
                sources.observe(&Observation::new(packet, 0, &seed));
            }
        }
        let hosts = sources.packet_bins().expect("room").0;
        assert_eq!(hosts, [2, 4, 12, 22, 0, 0, 0, 0, 0, 0]);
    }
}
