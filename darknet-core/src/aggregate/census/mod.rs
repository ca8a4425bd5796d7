use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use darknet_ebpf::PortTable;
use ipnet::IpNet;

use super::{
    Aggregate, Counts, Observation, PacketBins, PortDistinct, Profile, SHARDS, Seed, TopSource,
    frequent::Forgotten,
    hosts::{Hosts, Overflow, PortHosts, network},
    source::Place,
};

/// What becomes of a batch of packets.
mod batch;
/// Counting packets in a roll.
mod counting;
/// From the hash of a source to its number.
mod index;
/// What is kept of a source.
mod line;
/// One source, by its address.
mod one;
/// Entries that have numbers.
mod pool;
/// The sources of one IP version in one shard.
mod roll;
/// Giving way, and merging.
mod room;
/// What a roll says.
mod said;
/// What a roll has no room for.
mod spill;
#[cfg(test)]
mod tests;

use batch::LOOK_AHEAD;
use roll::Roll;
use said::Row;
use spill::Spill;

/// Every source, once: what [`Profiles`](super::Profiles),
/// [`TopSources`](super::TopSources), [`PortSets`](super::PortSets) and [`PortDistinct`] say of them,
/// of one record for each.
///
/// A source with one packet takes 64 bytes and 8 to 16 in an index, one with more, or of IPv6 and at a port,
/// 128 beside these, and one that was at more than 12 ports 64 again and 11 to 21 bytes (IPv6: 43 to 85) for
/// each further port. 1 GiB has room for 2.4 million sources of IPv4 that send more than
/// once, or 6 million that don't.
///
/// Everything is exact, but for what [`Profile`] says is estimated, while there is room. Where there
/// is none, the half with the fewest packets gives way, into [`forgotten`](Self::forgotten), and never
/// a [large-scale scanner](Profile::is_large_scale_scanner), as in [`Profiles`](super::Profiles).
/// From then on, figures of all sources are `None`; [`profiles`](Self::profiles) and
/// [`top_sources`](Self::top_sources) say what each may have missed, and
/// [`port_distinct`](Self::port_distinct) estimates the hosts at each port, also those of sources
/// that gave way.
///
/// Kept for each shard, so that figures don't depend on the number of workers. Windows that follow
/// each other may be merged; where sources gave way the result depends on which were merged first.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Census, Observation, Seed},
///     rules::{Address, Class, Packet, PortTable::TcpSyn, Version},
/// };
///
/// let seed = Seed::random();
/// let mut census = Census::new(64 << 20, &seed);
/// for (host, port) in [(1, 1433), (2, 1433), (2, 445), (3, 445), (4, 1433)] {
///     let packet = Packet {
///         class: Class::TcpSyn,
///         version: Version::V4,
///         source: Address::from_words([host, 0, 0, 0]),
///         destination_port: port,
///         ..Packet::MALFORMED
///     };
///     census.observe(&Observation::new(packet, 0, &seed));
/// }
/// let (mssql, smb) = ((TcpSyn, 1433), (TcpSyn, 445));
/// assert_eq!(census.hosts_at(&[mssql], &[smb]), Some(2), "1433 alone");
/// assert_eq!(census.hosts_at(&[mssql, smb], &[]), Some(1));
/// assert_eq!(census.port_hosts().expect("room").get(TcpSyn, 445), 2);
/// assert_eq!(census.top_sources(1)[0].source.to_string(), "0.0.0.2");
/// ```
#[derive(Clone, Debug)]
pub struct Census {
    shards: Box<[(Roll<u32>, Roll<u128>); SHARDS]>,
    seed: Seed,
    /// Bytes that pairs of both versions in a shard take at most.
    pairs_memory: usize,
    /// Packets of pairs of source and port that had no room.
    pairs_overflow: u64,
    /// Hosts at ports of which nothing else is left, and the bytes that they may take.
    lost: Option<Box<PortDistinct>>,
    lost_memory: usize,
    /// Whether a roll may have to give way within a batch.
    is_tight: bool,
    /// Empty between two calls.
    spill: (Spill<u32>, Spill<u128>),
}

impl Census {
    /// No sources yet; they take at most `memory` bytes, and start with none.
    ///
    /// Half of it is for IPv4 sources, an eighth for those of IPv6, five sixteenths for pairs of both with
    /// further ports, of which one takes what the other leaves, a 64th for packets by port of sources that
    /// send thousands to one, and the rest, three 64ths, for estimates of the hosts at ports of what gave
    /// way. Once something did, these may take more than that: 20 MiB where it is less, and always 8 MB
    /// for a table of all ports.
    ///
    /// What is not full of the last chunk of each shard, 6.3 MB at most, and what is free of huge pages are
    /// not counted: tables share these, and one goes back to the system when nothing on it is used.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        let part = memory / SHARDS / 16;
        let rounds = part / 8;
        let shard = (
            Roll::new(part * 8, part * 4, rounds),
            Roll::new(part * 2, part, rounds),
        );
        let mut census = Self {
            shards: vec![shard; SHARDS].try_into().expect("so many"),
            seed: seed.clone(),
            pairs_memory: part * 5,
            pairs_overflow: 0,
            lost: None,
            lost_memory: memory / 64 * 3,
            is_tight: false,
            spill: Default::default(),
        };
        census.is_tight = census.finds_tight();
        census
    }

    /// Sources that gave way.
    pub fn forgotten(&self) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for (v4, v6) in self.shards.iter() {
            forgotten += v4.forgotten;
            forgotten += v6.forgotten;
        }
        forgotten
    }

    /// Packets of sources that gave way, and of pairs of source and port that had no room.
    pub fn overflow(&self) -> Overflow {
        Overflow {
            sources: self.forgotten().packets,
            port_hosts: self.pairs_overflow,
            ..Overflow::default()
        }
    }

    /// Every source with its packets and bytes, in no order; `None` after sources gave way.
    pub fn iter(&self) -> Option<impl Iterator<Item = (IpAddr, Counts)> + '_> {
        let rows = self.complete()?.rows();
        Some(rows.map(|row| (row.source, row.counts)))
    }

    /// Packets and bytes by source network (IPv4 /24, IPv6 /48); `None` after sources gave way.
    pub fn networks(&self) -> Option<HashMap<IpNet, Counts>> {
        let mut networks: HashMap<IpNet, Counts> = HashMap::new();
        for (source, counts) in self.iter()? {
            *networks.entry(network(source)).or_default() += counts;
        }
        Some(networks)
    }

    /// Distinct sources; `None` after sources gave way.
    pub fn hosts(&self) -> Option<Hosts> {
        let mut hosts = Hosts::default();
        for row in self.complete()?.rows() {
            hosts.add(row.classes, row.tools);
        }
        Some(hosts)
    }

    /// Distinct sources by how many packets each sent; `None` after sources gave way.
    pub fn packet_bins(&self) -> Option<PacketBins> {
        let packets = self.iter()?.map(|(_, counts)| counts.packets);
        Some(PacketBins::of(packets))
    }

    /// Distinct sources at each port; `None` after sources gave way, or pairs had no room.
    pub fn port_hosts(&self) -> Option<PortHosts> {
        let mut hosts = PortHosts::none();
        for (v4, v6) in self.complete_with_pairs()?.shards.iter() {
            let places = v4.places().map(|(_, place)| place);
            let places = places.chain(v6.places().map(|(_, place)| place));
            for (table, port) in places.filter_map(Place::get) {
                hosts.add(table, port);
            }
        }
        Some(hosts)
    }

    /// Distinct sources at each port, estimated; also after sources gave way.
    pub fn port_distinct(&self) -> PortDistinct {
        let mut hosts = match &self.lost {
            Some(lost) => PortDistinct::clone(lost),
            None => PortDistinct::new(self.lost_memory),
        };
        for (v4, v6) in self.shards.iter() {
            let hash = |(address, place)| (place, self.seed.key(address));
            let places = v4.places().map(hash);
            let hash = |(address, place)| (place, self.seed.key(address));
            for (place, hash) in places.chain(v6.places().map(hash)) {
                if let Some(place) = Place::get(place) {
                    hosts.insert(place, hash);
                }
            }
        }
        hosts
    }

    /// How many hosts were seen at `all` of some ports, and at `none` of others; `None` after sources
    /// gave way, or pairs had no room.
    pub fn hosts_at(&self, all: &[(PortTable, u16)], none: &[(PortTable, u16)]) -> Option<u64> {
        Some(self.addresses_at(all, none)?.count() as u64)
    }

    /// The hosts that were seen at `all` of some ports, and at `none` of others, in no order; `None`
    /// as for [`hosts_at`](Self::hosts_at).
    pub fn addresses_at<'a>(
        &'a self,
        all: &'a [(PortTable, u16)],
        none: &'a [(PortTable, u16)],
    ) -> Option<impl Iterator<Item = IpAddr> + 'a> {
        let seed = &self.seed;
        let shards = self.complete_with_pairs()?.shards.iter();
        Some(shards.flat_map(move |(v4, v6)| v4.at(all, none, seed).chain(v6.at(all, none, seed))))
    }

    /// What each source did, in no order.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> + '_ {
        let shards = self.shards.iter();
        shards.flat_map(|(v4, v6)| v4.profiles().chain(v6.profiles()))
    }

    /// The `count` profiles with the most packets, most first, then by address; 0 is all of them.
    pub fn top_profiles(&self, count: usize) -> Vec<Profile> {
        // A profile takes longer to make than to find.
        let sources = self.top_sources(count);
        let profiles = sources.iter().map(|row| self.profile(row.source));
        profiles
            .map(|profile| profile.expect("it is there"))
            .collect()
    }

    /// The `count` sources with the most packets, most first, then by address; 0 is all there are.
    pub fn top_sources(&self, count: usize) -> Vec<TopSource> {
        let rows = self.rows().map(|row| TopSource {
            source: row.source,
            counts: row.counts,
            missed: row.missed,
        });
        let key = |row: &TopSource| (Reverse(row.counts.packets), row.source);
        crate::snapshot::highest(rows, count, key)
    }

    /// Packets that a source which is not there sent at most; 0 if there is no such source.
    pub fn missed(&self) -> u64 {
        let shards = self.shards.iter();
        let missed = shards.map(|(v4, v6)| v4.missed.max(v6.missed));
        missed.max().unwrap_or(0)
    }

    /// Bytes that the sources take.
    pub fn memory_used(&self) -> usize {
        self.memory().iter().map(|(_, bytes)| bytes).sum()
    }

    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let shards = self.shards.iter();
        shards.flat_map(|(v4, v6)| v4.rows().chain(v6.rows()))
    }

    fn complete(&self) -> Option<&Self> {
        let mut shards = self.shards.iter();
        let complete = shards.all(|(v4, v6)| v4.is_complete() && v6.is_complete());
        complete.then_some(self)
    }

    fn complete_with_pairs(&self) -> Option<&Self> {
        self.complete().filter(|census| census.pairs_overflow == 0)
    }
}

impl Aggregate for Census {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        self.count_all(batch);
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        let of = |v4: fn(&Roll<u32>) -> usize, v6: fn(&Roll<u128>) -> usize| {
            let shards = self.shards.iter();
            shards.map(|shard| v4(&shard.0) + v6(&shard.1)).sum()
        };
        let estimates = self.lost.as_ref().map_or(0, |lost| lost.bytes());
        vec![
            (
                "sources_index",
                of(|v4| v4.index.bytes(), |v6| v6.index.bytes()),
            ),
            (
                "sources_lines",
                of(|v4| v4.lines.bytes(), |v6| v6.lines.bytes()),
            ),
            (
                "sources_rests",
                of(|v4| v4.rests.bytes(), |v6| v6.rests.bytes()),
            ),
            (
                "sources_ports",
                of(|v4| v4.ports.bytes(), |v6| v6.ports.bytes()),
            ),
            (
                "sources_pairs",
                of(|v4| v4.pairs.bytes(), |v6| v6.pairs.bytes()),
            ),
            (
                "sources_port_packets",
                of(|v4| v4.rounds.bytes(), |v6| v6.rounds.bytes()),
            ),
            ("sources_estimates", estimates),
        ]
    }

    fn merge(&mut self, other: &mut Self) {
        self.pairs_overflow += other.pairs_overflow;
        if let Some(theirs) = &mut other.lost {
            let new = || Box::new(PortDistinct::new(self.lost_memory));
            self.lost.get_or_insert_with(new).merge(theirs);
        }
        for shard in 0..SHARDS {
            let (v4, v6) = &mut self.shards[shard];
            let (other_v4, other_v6) = &mut other.shards[shard];
            let seed = &self.seed;
            v4.merge(other_v4, shard, seed, &mut self.spill.0);
            v6.merge(other_v6, shard, seed, &mut self.spill.1);
            self.keep_spilled();
        }
        self.is_tight = self.finds_tight();
    }

    fn reset(&mut self) {
        let Self {
            shards,
            seed: _,
            pairs_memory: _,
            pairs_overflow,
            lost,
            lost_memory: _,
            is_tight: _,
            spill: _,
        } = self;
        for (v4, v6) in shards.iter_mut() {
            v4.reset();
            v6.reset();
        }
        *pairs_overflow = 0;
        *lost = None;
        self.is_tight = self.finds_tight();
    }
}
