use std::{cmp::Reverse, net::IpAddr};

use darknet_ebpf::{Class, Packet, Tool, Version};

use super::{
    Aggregate, Observation, SHARDS, Seed,
    distinct::Estimate,
    few::{Few, Taken},
    frequent::{Entry, Forgotten},
    frequent_sources::{FrequentSources, SourceEntry},
    source::Address,
    table::Slot,
};
use crate::time::Nanoseconds;

/// What each source did, in a fixed budget: packets, ports, destinations, first and last packet,
/// marks of tools.
///
/// Exact but for what [`Profile`] says is estimated, while all sources fit. A profile takes 192
/// bytes (IPv6: 256), and 11 in an index: 1 GiB has room for 3.9 million sources of IPv4 and 1 million
/// of IPv6.
///
/// Where sources don't fit, the half with the fewest packets gives way, into
/// [`forgotten`](Self::forgotten). One that comes back says what it may have
/// [missed](Profile::missed). **Large-scale scanners never give way**: a source stays from the
/// packet on which NICTER's rule ([`Profile::is_large_scale_scanner`]) holds for it, until
/// [`reset`](Aggregate::reset), which is the end of the day where the aggregate is that of a day.
/// Before that it gives way only while half of its shard's sources have more packets. Should those
/// that stay fill a shard, packets of others are in `forgotten` too.
///
/// Kept for each shard, so that profiles don't depend on the number of workers. Windows that follow
/// each other may be merged; where sources gave way the result depends on which were merged first,
/// and a merge with more scanners than room keeps those with the most packets.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Observation, Profiles, Seed},
///     rules::{Address, Class, Packet, Version},
/// };
///
/// let seed = Seed::random();
/// let mut profiles = Profiles::new(64 << 20, &seed);
/// for n in 0..1_000_u16 {
///     let packet = Packet {
///         class: Class::TcpSyn,
///         version: Version::V4,
///         source: Address::from_words([0xc000_0201, 0, 0, 0]),
///         destination: Address::from_words([0xcb00_7100 + u32::from(n % 12), 0, 0, 0]),
///         destination_port: n % 25,
///         ..Packet::MALFORMED
///     };
///     profiles.observe(&Observation::new(packet, n.into(), &seed));
/// }
/// let profile = profiles.top(1)[0];
/// assert_eq!(profile.source.to_string(), "192.0.2.1");
/// assert_eq!((profile.packets, profile.first, profile.last), (1_000, 0, 999));
/// assert_eq!((profile.ports.count, profile.destinations.count), (25, 12));
/// assert!(profile.ports.is_exact());
/// ```
#[derive(Clone, Debug)]
pub struct Profiles(FrequentSources<Kept<u32>, Kept<u128>>);

/// What a source did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// The address.
    pub source: IpAddr,
    /// Packets of every class but malformed.
    pub packets: u64,
    /// Packets that it may have sent beside these, at most: 0 unless it was forgotten.
    pub missed: u64,
    /// The time of its first packet.
    pub first: Nanoseconds,
    /// The time of its last packet.
    pub last: Nanoseconds,
    /// Packets of `tcp_syn` and `udp`; stops at 2^32 - 1.
    pub scans: u32,
    /// Distinct destination ports of `tcp_syn` and `udp`, a number that both have being one. Exact
    /// to 30, then with a standard error of 9.5%.
    pub ports: Estimate,
    /// Whether there were 30 of these ports; exact.
    pub has_many_ports: bool,
    /// Distinct destination addresses. Exact to 15 (two of them being taken for one with odds of
    /// 10^-7), then with a standard error of 9.5%.
    pub destinations: Estimate,
    /// Packets that could carry a mark: `tcp_syn` over IPv4; stops at 2^32 - 1.
    pub probes: u32,
    pub(super) tools: [u32; Tool::ALL.len()],
}

impl Profile {
    /// How many of [`probes`](Self::probes) carry the mark of a tool. What is called by a tool needs
    /// more than one: by chance it is one in 2^16 (`zmap`, `masscan`), one in 2^32 (`mirai`).
    pub fn tool(&self, tool: Tool) -> u32 {
        self.tools[tool as usize]
    }

    /// NICTER's rule: 30 distinct destination ports or more, and 300,000 packets or more of
    /// `tcp_syn` and `udp`, in a day ("NICTER Observation Report").
    pub fn is_large_scale_scanner(&self) -> bool {
        self.has_many_ports && self.scans >= SCANNER_PACKETS
    }
}

/// NICTER's rule.
pub(super) const SCANNER_PORTS: u8 = 30;
pub(super) const SCANNER_PACKETS: u32 = 300_000;

/// What is kept of a source: for IPv4 in three cache lines. A free one has no packets.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Kept<A: Address> {
    packets: u64,
    missed: u64,
    first: Nanoseconds,
    last: Nanoseconds,
    scans: u32,
    probes: u32,
    tools: [u32; Tool::ALL.len()],
    ports_taken: Taken,
    destinations_taken: Taken,
    address: A,
    ports: Few<2>,
    /// The halves of hashes.
    destinations: Few<4>,
}

const _: () = assert!(size_of::<Kept<u32>>() == 192 && size_of::<Kept<u128>>() == 256);

/// The half of the hash of a packet's destination.
#[inline]
pub(super) fn destination(packet: &Packet, seed: &Seed) -> u32 {
    let hash = match packet.version {
        Version::V4 => seed.key(packet.destination.v4()),
        Version::V6 => seed.key(packet.destination.v6()),
    };
    (hash >> 32) as u32
}

/// The half of a hash as a hash; what it has too little is never looked at but once in 2^26.
#[inline]
pub(super) fn of_half(half: u32) -> u64 {
    u64::from(half) << 32 | 1 << 31
}

impl<A: Address> Kept<A> {
    fn profile(&self) -> Profile {
        Profile {
            source: self.address.ip(),
            packets: self.packets,
            missed: self.missed,
            first: self.first,
            last: self.last,
            scans: self.scans,
            ports: self.ports.estimate(self.ports_taken),
            has_many_ports: self.ports_taken.at_least(SCANNER_PORTS),
            destinations: self.destinations.estimate(self.destinations_taken),
            probes: self.probes,
            tools: self.tools,
        }
    }
}

impl<A: Address> Slot for Kept<A> {
    type Key = A;

    #[inline]
    fn key(&self) -> Option<A> {
        (self.packets > 0).then_some(self.address)
    }

    #[inline]
    fn of(address: A) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }

    #[inline]
    fn hash(address: A, seed: &Seed) -> u64 {
        seed.key(address)
    }
}

impl<A: Address> Entry for Kept<A> {
    #[inline]
    fn packets(&self) -> u64 {
        self.packets
    }

    fn missed(&self) -> u64 {
        self.missed
    }

    fn set_missed(&mut self, missed: u64) {
        self.missed = missed;
    }

    fn stays(&self) -> bool {
        self.ports_taken.at_least(SCANNER_PORTS) && self.scans >= SCANNER_PACKETS
    }

    fn add(&mut self, other: &Self, seed: &Seed) {
        let Self {
            packets,
            missed: _,
            first,
            last,
            scans,
            probes,
            tools,
            ports_taken,
            destinations_taken,
            address: _,
            ports,
            destinations,
        } = self;
        *packets += other.packets;
        *first = other.first.min(*first);
        *last = other.last.max(*last);
        *scans = scans.saturating_add(other.scans);
        *probes = probes.saturating_add(other.probes);
        for (mine, theirs) in tools.iter_mut().zip(other.tools) {
            *mine = mine.saturating_add(theirs);
        }
        ports.merge(ports_taken, (&other.ports, other.ports_taken), |port| {
            seed.key(port)
        });
        destinations.merge(
            destinations_taken,
            (&other.destinations, other.destinations_taken),
            of_half,
        );
    }
}

impl Profiles {
    /// No profiles yet; they take at most `memory` bytes, and start with none. Three quarters are
    /// for IPv4.
    pub fn new(memory: usize, seed: &Seed) -> Self {
        let part = memory / SHARDS / 4;
        Self(FrequentSources::new(part * 3, part, seed))
    }

    /// Every profile, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Profile> + '_ {
        self.0.rows(Kept::profile, Kept::profile)
    }

    /// The `count` profiles with the most packets, most first, then by address; 0 is all of them.
    pub fn top(&self, count: usize) -> Vec<Profile> {
        let key = |profile: &Profile| (Reverse(profile.packets), profile.source);
        crate::snapshot::highest(self.iter(), count, key)
    }

    /// What gave way.
    pub fn forgotten(&self) -> Forgotten {
        self.0.forgotten()
    }
}

impl<A: Address> SourceEntry for Kept<A> {
    #[inline]
    fn count(&mut self, observation: &Observation, seed: &Seed) {
        let (packet, time) = (&observation.packet, observation.time);
        if self.packets == 0 {
            (self.first, self.last) = (time, time);
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.packets += 1;
        if matches!(packet.class, Class::TcpSyn | Class::Udp) {
            self.scans = self.scans.saturating_add(1);
            let port = packet.destination_port.into();
            self.ports
                .insert(&mut self.ports_taken, port, |port| seed.key(port));
        }
        if packet.class == Class::TcpSyn && packet.version == Version::V4 {
            self.probes = self.probes.saturating_add(1);
            for tool in Tool::ALL {
                let marked = &mut self.tools[tool as usize];
                *marked = marked.saturating_add(packet.tools.has(tool).into());
            }
        }
        self.destinations.insert(
            &mut self.destinations_taken,
            destination(packet, seed),
            of_half,
        );
    }

    #[inline]
    fn touch(&self) -> u8 {
        self.packets as u8 | self.ports.touch() | self.destinations.touch()
    }
}

impl Aggregate for Profiles {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.observe_batch(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        self.0.observe_batch(batch);
    }

    fn merge(&mut self, other: &mut Self) {
        self.0.merge(&mut other.0);
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests;
