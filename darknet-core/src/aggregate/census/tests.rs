//! The census, beside collections of the standard library and beside the aggregates that each say a
//! part of it.

use std::collections::{BTreeMap, BTreeSet};

use darknet_ebpf::{Address as Words, Class, Packet, PortTable::TcpSyn, Tool, Tools, Version};
use proptest::prelude::*;

use super::{
    super::{
        Distributions, Estimate, Figures, Icmp, PortSets, Ports, Profiles, TopSources, Totals,
    },
    index::Found,
    *,
};

mod hostile;

/// What there is to know of a source, by hand.
#[derive(Default)]
struct Truth {
    counts: Counts,
    times: Vec<i64>,
    scans: u32,
    probes: u32,
    marks: [u32; Tool::ALL.len()],
    ports: BTreeSet<u16>,
    destinations: BTreeSet<u32>,
    classes: BTreeSet<u16>,
    places: BTreeSet<(PortTable, u16)>,
    packets: BTreeMap<(PortTable, u16), u64>,
}

fn packet() -> impl Strategy<Value = Packet> {
    let host = prop_oneof![6 => 0..8_u32, 1 => any::<u32>()];
    // Few ports, and enough for a source that keeps 12 and has 30 exactly.
    let port = prop_oneof![4 => 0..14_u16, 1 => 0..60_u16];
    let parts = (
        prop::bool::weighted(0.3),
        host,
        0..9_usize,
        (port.clone(), port),
        0..25_u32,
        prop_oneof![Just(0_u8), 0..1_u8 << Tool::ALL.len()],
    );
    parts.prop_map(|(v6, host, class, (from, to), destination, tools)| {
        let class = Class::ALL[class];
        let may_be_marked = !v6 && class == Class::TcpSyn;
        let tools = if may_be_marked { tools } else { 0 };
        Packet {
            class,
            version: if v6 { Version::V6 } else { Version::V4 },
            source: Words::from_words([host, 0, 0, 0]),
            destination: Words::from_words([destination, 0, 0, 0]),
            source_port: from,
            destination_port: to,
            bytes: 40 + destination,
            tools: Tools::from_bits(tools).expect("a bit for each"),
            ..Packet::MALFORMED
        }
    })
}

/// Many sources of one packet too, so that they give way where there is little room.
fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let flood = (packet(), any::<u32>()).prop_map(|(packet, host)| Packet {
        source: Words::from_words([host, 0, 0, 0]),
        ..packet
    });
    prop::collection::vec(prop_oneof![packet(), flood], 0..2_000)
}

fn time(n: usize) -> i64 {
    // Times that go back too.
    (n as i64 * 7) % 1_000 - 500
}

fn truth(packets: &[Packet]) -> BTreeMap<IpAddr, Truth> {
    let mut sources: BTreeMap<IpAddr, Truth> = BTreeMap::new();
    for (n, packet) in packets.iter().enumerate() {
        if packet.class == Class::Malformed {
            continue;
        }
        let source = sources.entry(packet.source.ip(packet.version)).or_default();
        source.counts.add(packet.bytes);
        source.times.push(time(n));
        source.destinations.insert(packet.destination.v4());
        source.classes.insert(packet.class as u16);
        for place in PortTable::of(packet).into_iter().flatten() {
            source.places.insert(place);
            *source.packets.entry(place).or_default() += 1;
        }
        if matches!(packet.class, Class::TcpSyn | Class::Udp) {
            source.scans += 1;
            source.ports.insert(packet.destination_port);
        }
        let probe = packet.class == Class::TcpSyn && packet.version == Version::V4;
        source.probes += u32::from(probe);
        for tool in Tool::ALL {
            source.marks[tool as usize] += u32::from(probe && packet.tools.has(tool));
        }
    }
    sources
}

fn near(estimate: Estimate, truth: usize, exact_to: usize) -> bool {
    let off = (estimate.count as f64 - truth as f64).abs();
    estimate.is_exact() == (truth <= exact_to) && off <= truth as f64 * 6.0 * estimate.error
}

/// Everything that a census says.
#[derive(Debug, PartialEq)]
struct Said {
    sources: Option<BTreeMap<IpAddr, Counts>>,
    hosts: Option<Hosts>,
    port_hosts: Option<PortHosts>,
    alone: Option<Vec<IpAddr>>,
    estimates: Vec<(PortTable, u16, Estimate)>,
    profiles: Vec<Profile>,
    top: Vec<TopSource>,
    packets: BTreeMap<IpAddr, Vec<(PortTable, u16, u64)>>,
    missed: u64,
    forgotten: Forgotten,
    overflow: Overflow,
}

fn say(census: &Census) -> Said {
    let alone = census.addresses_at(&[(TcpSyn, 1)], &[(TcpSyn, 2), (PortTable::Udp, 3)]);
    let alone = alone.map(|hosts| {
        let mut hosts: Vec<_> = hosts.collect();
        hosts.sort();
        hosts
    });
    let top = census.top_sources(0);
    let addresses: Vec<_> = top.iter().map(|row| row.source).collect();
    Said {
        sources: census.iter().map(Iterator::collect),
        hosts: census.hosts(),
        port_hosts: census.port_hosts(),
        alone,
        estimates: census.port_distinct().iter().collect(),
        profiles: census.top_profiles(0),
        top,
        packets: census.port_packets(&addresses, 0).into_iter().collect(),
        missed: census.missed(),
        forgotten: census.forgotten(),
        overflow: census.overflow(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_census_is_what_the_packets_say_and_workers_and_windows_dont_matter(
        packets in packets(), workers in 1..5_usize, windows in 1..4_usize, turn in 0..16_usize,
    ) {
        let seed = Seed::random();
        let new = || Census::new(1 << 26, &seed);
        let mut whole = new();
        let mut parts: Vec<Census> = (0..workers * windows).map(|_| new()).collect();
        let observations: Vec<_> = (0..)
            .zip(&packets)
            .map(|(n, packet)| Observation::new(*packet, time(n), &seed))
            .collect();
        whole.observe_batch(&observations);
        for (n, observation) in observations.iter().enumerate() {
            parts[observation.shard() % workers * windows + n % windows].observe(observation);
        }
        let truth = truth(&packets);
        let said = say(&whole);
        let counts = truth.iter().map(|(source, truth)| (*source, truth.counts));
        prop_assert_eq!(said.sources.as_ref().expect("room"), &counts.collect::<BTreeMap<_, _>>());
        prop_assert_eq!(said.profiles.len(), truth.len());
        prop_assert_eq!(said.packets.len(), truth.len());
        for (source, packets) in &said.packets {
            prop_assert_eq!(packets, &by_port(&truth[source]));
        }
        for row in &said.profiles {
            let truth = &truth[&row.source];
            let (first, last) = (truth.times.iter().min(), truth.times.iter().max());
            prop_assert_eq!((row.packets, row.missed), (truth.counts.packets, 0));
            prop_assert_eq!((Some(&row.first), Some(&row.last)), (first, last));
            prop_assert_eq!((row.scans, row.probes), (truth.scans, truth.probes));
            prop_assert_eq!(Tool::ALL.map(|tool| row.tool(tool)), truth.marks);
            prop_assert_eq!(row.has_many_ports, truth.ports.len() >= 30);
            prop_assert!(near(row.ports, truth.ports.len(), 30), "{row:?}");
            prop_assert!(near(row.destinations, truth.destinations.len(), 15), "{row:?}");
        }
        let hosts = said.hosts.expect("room");
        let port_hosts = said.port_hosts.as_ref().expect("room");
        for class in Class::ALL {
            let seen = truth.values().filter(|truth| truth.classes.contains(&(class as u16))).count();
            prop_assert_eq!(hosts.class(class), seen as u64);
        }
        for (table, port) in PortTable::ALL.into_iter().flat_map(|table| (0..60).map(move |port| (table, port))) {
            let seen = truth.values().filter(|truth| truth.places.contains(&(table, port))).count();
            prop_assert_eq!(port_hosts.get(table, port), seen as u64);
            prop_assert_eq!(whole.hosts_at(&[(table, port)], &[]), Some(seen as u64));
        }
        let alone = truth.iter().filter(|(_, truth)| {
            truth.places.contains(&(TcpSyn, 1))
                && !truth.places.contains(&(TcpSyn, 2))
                && !truth.places.contains(&(PortTable::Udp, 3))
        });
        prop_assert_eq!(said.alone.clone(), Some(alone.map(|(source, _)| *source).collect::<Vec<_>>()));

        parts.rotate_left(turn % (workers * windows));
        let mut merged = new();
        parts.iter_mut().for_each(|part| merged.merge(part));
        prop_assert_eq!(say(&merged), said);
        merged.reset();
        prop_assert_eq!(say(&merged), say(&new()));
    }

    #[test]
    fn without_room_the_truth_lies_within_the_bounds_and_workers_dont_matter(
        packets in prop::collection::vec(packets(), 1..4),
        memory in prop_oneof![Just(0_usize), Just(1 << 20), Just(5 << 20), Just(8 << 20)],
        workers in 1..6_usize, turn in 0..6_usize, size in 1..600_usize,
    ) {
        let packets = packets.concat();
        let seed = Seed::random();
        let new = || Census::new(memory, &seed);
        let (mut whole, mut parts) = (new(), vec![new(); workers]);
        let mut estimated = PortDistinct::new(memory / 64 * 3);
        let mut batches = vec![Vec::new(); workers];
        for (n, packet) in packets.iter().enumerate() {
            let observation = Observation::new(*packet, time(n), &seed);
            whole.observe(&observation);
            estimated.observe(&observation);
            batches[observation.shard() % workers].push(observation);
        }
        for (part, batches) in parts.iter_mut().zip(&batches) {
            batches.chunks(size).for_each(|batch| part.observe_batch(batch));
        }
        within_bounds(&whole, &packets)?;
        let said = say(&whole);
        prop_assert_eq!(&said.estimates, &estimated.iter().collect::<Vec<_>>(), "of the same hosts");
        parts.rotate_left(turn % workers);
        let mut merged = new();
        parts.iter_mut().for_each(|part| merged.merge(part));
        prop_assert_eq!(&say(&merged), &said);

        // Windows that follow each other, too.
        let (first, second) = packets.split_at(packets.len() / 3);
        let count = |packets: &[Packet]| {
            let mut census = new();
            packets.iter().for_each(|packet| census.observe(&Observation::new(*packet, 0, &seed)));
            census
        };
        let (mut one, mut other) = (count(first), count(second));
        one.merge(&mut other);
        within_bounds(&one, &packets)?;
        prop_assert_eq!(one.port_distinct().iter().collect::<Vec<_>>(), said.estimates);
    }

    #[test]
    fn figures_say_what_their_parts_say_alone(packets in packets(), split in 0..2_000_usize) {
        let seed = Seed::random();
        let mut all = Figures::new(1 << 26, &seed);
        let watched = (0..20).map(|port| (TcpSyn, port));
        let parts = ((Totals::default(), Ports::default()), (Icmp::default(), Distributions::default()));
        let more = (Profiles::new(1 << 26, &seed), TopSources::new(1 << 26, &seed));
        let mut alone = (parts, (more, (PortSets::new(watched, 10_000), PortDistinct::new(1 << 22))));
        let observations: Vec<_> = (0..)
            .zip(&packets)
            .map(|(n, packet)| Observation::new(*packet, time(n), &seed))
            .collect();
        let (first, second) = observations.split_at(split.min(packets.len()));
        all.observe_batch(first);
        all.observe_batch(second);
        alone.observe_batch(&observations);
        let (((totals, ports), (icmp, distributions)), ((profiles, top), (sets, distinct))) = &alone;
        prop_assert_eq!((&all.totals, &all.ports, &all.icmp), (totals, ports, icmp));
        prop_assert_eq!(&all.survey.distributions, distributions);
        let census = &all.survey.sources;
        let (networks, bins, hosts, tools) = of_all(&truth(&packets));
        prop_assert_eq!((census.networks(), census.packet_bins()), (Some(networks), Some(bins)));
        let said = census.hosts().expect("room");
        prop_assert_eq!((said.all, Tool::ALL.map(|tool| said.tool(tool)).to_vec()), (hosts, tools));
        prop_assert_eq!(census.top_profiles(0), profiles.top(0));
        prop_assert_eq!(census.top_sources(0), top.top(0));
        prop_assert_eq!(census.port_distinct().iter().collect::<Vec<_>>(), distinct.iter().collect::<Vec<_>>());
        for port in 0..20_u16 {
            let (all, none) = ([(TcpSyn, port)], [(TcpSyn, (port + 1) % 20)]);
            prop_assert_eq!(census.hosts_at(&all, &none), sets.hosts(&all, &none));
        }
    }
}

/// What there is to say of all sources together, by hand.
type OfAll = (HashMap<IpNet, Counts>, PacketBins, u64, Vec<u64>);

fn of_all(sources: &BTreeMap<IpAddr, Truth>) -> OfAll {
    let mut networks: HashMap<IpNet, Counts> = HashMap::new();
    for (source, truth) in sources {
        let bits = if source.is_ipv4() { 24 } else { 48 };
        let network = IpNet::new(*source, bits).expect("bits").trunc();
        *networks.entry(network).or_default() += truth.counts;
    }
    let bins = PacketBins::of(sources.values().map(|truth| truth.counts.packets));
    let tools = Tool::ALL.map(|tool| {
        let marked = |truth: &&Truth| truth.marks[tool as usize] > 0;
        sources.values().filter(marked).count() as u64
    });
    (networks, bins, sources.len() as u64, tools.to_vec())
}

fn by_port(truth: &Truth) -> Vec<(PortTable, u16, u64)> {
    let rows = truth.packets.iter();
    let mut rows: Vec<_> = rows
        .map(|(&(table, port), &packets)| (table, port, packets))
        .collect();
    rows.sort_by_key(|&(_, _, packets)| Reverse(packets));
    rows
}

/// Every source lies within its bounds, and nothing is lost.
fn within_bounds(census: &Census, packets: &[Packet]) -> Result<(), TestCaseError> {
    let mut truth = truth(packets);
    let rows = census.top_sources(0);
    let addresses: Vec<_> = rows.iter().map(|row| row.source).collect();
    for (source, packets) in census.port_packets(&addresses, 0) {
        prop_assert_eq!(packets, by_port(&truth[&source]), "what is said is exact");
    }
    let counted: u64 = rows.iter().map(|row| row.counts.packets).sum();
    let sent: u64 = truth.values().map(|truth| truth.counts.packets).sum();
    prop_assert_eq!(counted + census.forgotten().packets, sent);
    for (row, profile) in rows.iter().zip(census.top_profiles(0)) {
        let truth = truth.remove(&row.source).expect("it was there");
        let (counted, packets) = (row.counts.packets, truth.counts.packets);
        prop_assert!(
            (counted..=counted + row.missed).contains(&packets),
            "{packets}: {row:?}"
        );
        prop_assert_eq!((profile.source, profile.packets), (row.source, counted));
        prop_assert!(profile.scans <= truth.scans && profile.probes <= truth.probes);
        for tool in Tool::ALL {
            prop_assert!(profile.tool(tool) <= truth.marks[tool as usize]);
        }
        prop_assert!(truth.times.contains(&profile.first) || profile.first == 0);
    }
    let most = truth.values().map(|truth| truth.counts.packets).max();
    prop_assert!(most.unwrap_or(0) <= census.missed());
    prop_assert_eq!(
        census.iter().is_some(),
        census.forgotten() == Forgotten::default()
    );
    Ok(())
}

/// Live, each worker has a share of the memory, and what they have goes into one with all of it.
#[test]
fn what_fits_into_shares_of_the_memory_fits_into_the_whole() {
    const MEMORY: usize = 8 << 20;
    let seed = Seed::random();
    let mut whole = Census::new(MEMORY, &seed);
    for part in 0..4_u32 {
        let mut share = Census::new(MEMORY / 4, &seed);
        for source in 0..6_000 {
            let packet = Packet {
                class: Class::TcpSyn,
                version: Version::V4,
                source: Words::from_words([part << 16 | source, 0, 0, 0]),
                ..Packet::MALFORMED
            };
            share.observe(&Observation::new(packet, 0, &seed));
        }
        assert_eq!(share.overflow(), Overflow::default(), "it fits");
        whole.merge(&mut share);
        share.reset();
        let room = |census: &Census| census.shards[0].0.memory;
        assert_eq!(room(&share), room(&whole) / 4, "its own is as it was");
    }
    assert_eq!(whole.overflow(), Overflow::default());
    assert_eq!(whole.hosts().expect("room").all, 24_000);
}
