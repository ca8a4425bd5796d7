//! Who chooses the sources cannot make the census slow or large.

use super::{super::super::source::Visits, *};

fn syn(host: u32, port: u16, seed: &Seed) -> Observation {
    let packet = Packet {
        class: Class::TcpSyn,
        version: Version::V4,
        source: Words::from_words([host, 0, 0, 0]),
        destination_port: port,
        bytes: 40,
        ..Packet::MALFORMED
    };
    Observation::new(packet, 0, seed)
}

#[test]
fn an_index_looks_at_few_places_whatever_the_hashes() {
    let mut index = index::Index::new().grown().grown().grown().grown();
    // 128 places, one hash.
    let taken = (1..100).filter(|&number| index.insert(7, number)).count();
    assert_eq!(taken, 64);
    assert_eq!(index.find(7, |_| false), Found::Full);
    assert_eq!(index.find(7, |number| number == 64), Found::Number(64));
    assert_eq!(index.find(7 + 64, |_| true), Found::Free(7 + 64));
}

#[test]
fn sources_that_collide_take_bounded_places_and_are_counted() {
    let seed = Seed::random();
    // Whoever knows the seed finds sources of one shard that agree in the last 12 bits.
    let hash = |host: u32| seed.key(host);
    let same = |host: &u32| hash(*host) >> 58 == 0 && hash(*host) & 0xfff == 0x5a5;
    let hosts: Vec<u32> = (0..).filter(same).take(100).collect();
    let mut census = Census::new(64 << 20, &seed);
    let mut packets = 0_u64;
    for _ in 0..3 {
        for &host in &hosts {
            census.observe(&syn(host, 23, &seed));
            packets += 1;
        }
    }
    let rows = census.top_sources(0);
    let counted: u64 = rows.iter().map(|row| row.counts.packets).sum();
    assert_eq!(counted + census.forgotten().packets, packets);
    assert!(
        rows.len() >= 64 && rows.len() < hosts.len(),
        "{}",
        rows.len()
    );
    assert!(rows.iter().all(|row| row.counts.packets == 3));
    assert_eq!(census.missed(), packets - counted);
    assert_eq!(
        census.iter().map(Iterator::count),
        None,
        "absent, not wrong"
    );
    let places = census.shards[0].0.index.bytes() / size_of::<u32>();
    assert!(places <= 8 * hosts.len(), "{places}");
    // The rest of the world is counted as ever.
    (0..20_000_u32).for_each(|host| census.observe(&syn(host, 23, &seed)));
    assert!(census.top_sources(0).len() >= 20_000 - hosts.len());
}

#[test]
fn a_flood_of_new_sources_takes_no_more_memory_and_scanners_stay() {
    let seed = Seed::random();
    let memory = 2 << 20;
    let mut census = Census::new(memory, &seed);
    for n in 0..300_000_u32 {
        census.observe(&syn(1, (n % 30) as u16, &seed));
        census.observe(&syn(2, (n % 29) as u16, &seed));
    }
    let mut batch = Vec::new();
    let mut peak = 0;
    for host in 10..1_000_000 {
        batch.push(syn(host, (host % 1_000) as u16, &seed));
        if batch.len() == 500 {
            census.observe_batch(&batch);
            batch.clear();
            peak = peak.max(census.memory_used());
        }
    }
    census.observe_batch(&batch);
    // The table of ports of estimates.
    assert!(peak <= memory + 8_000_000, "{peak}");
    let scanners = census.profiles();
    let mut scanners = scanners.filter(Profile::is_large_scale_scanner);
    let scanner = scanners.next().expect("it stayed");
    assert_eq!((scanner.packets, scanner.missed), (300_000, 0));
    assert!(scanners.next().is_none());
    drop(scanners);
    let counted: u64 = census
        .top_sources(0)
        .iter()
        .map(|row| row.counts.packets)
        .sum();
    assert_eq!(counted + census.forgotten().packets, 600_000 + 999_990);
    let distinct = census.port_distinct();
    let hosts = distinct.get(TcpSyn, 400);
    let off = hosts.count as f64 / 1_000.0 - 1.0;
    assert!(off.abs() < 5.0 * hosts.error, "{hosts:?}");
}

#[test]
fn estimates_take_what_is_said_and_are_counted() {
    let seed = Seed::random();
    let mut census = Census::new(4 << 20, &seed);
    let mut host = 0;
    for _ in 0..16 {
        for port in 0..=u16::MAX {
            for class in [
                Class::TcpSyn,
                Class::TcpOther,
                Class::TcpBackscatter,
                Class::Udp,
            ] {
                host += 1;
                let mut syn = syn(host, port, &seed);
                (syn.packet.class, syn.packet.source_port) = (class, port);
                census.observe(&syn);
            }
        }
    }
    let parts = census.memory();
    let estimates = parts.iter().find(|(part, _)| *part == "sources_estimates");
    let (_, bytes) = estimates.expect("a part");
    // 64 bytes for each port, and the table of ports.
    let table = bytes - (20 << 20);
    assert!((7_500_000..=8_000_000).contains(&table), "{bytes}");
    assert!(census.memory_used() <= (4 << 20) + bytes);
}

#[test]
fn all_ports_of_all_sources_take_no_more_memory_and_are_estimated() {
    let seed = Seed::random();
    let memory = 4 << 20;
    let mut census = Census::new(memory, &seed);
    let observations: Vec<_> = (0..30_000_u16)
        .flat_map(|port| (0..50_u32).map(move |host| (host, port)))
        .map(|(host, port)| syn(host, port, &seed))
        .collect();
    census.observe_batch(&observations);
    assert!(
        census.memory_used() <= memory + (12 << 20),
        "{}",
        census.memory_used()
    );
    assert!(census.overflow().port_hosts > 0);
    assert!(census.port_hosts().is_none() && census.hosts_at(&[(TcpSyn, 1)], &[]).is_none());
    assert_eq!(
        census.iter().map(Iterator::count),
        Some(50),
        "sources are complete"
    );
    assert_eq!(census.port_distinct().iter().count(), 30_000);
    for row in census.top_profiles(0) {
        assert!((row.ports.count as f64 / 30_000.0 - 1.0).abs() < 5.0 * row.ports.error);
    }
}

#[test]
fn pairs_without_room_overflow_with_all_their_packets_merged_or_not() {
    let seed = Seed::random();
    let observations: Vec<_> = (0..3 * 100_u16)
        .flat_map(|n| (0..400_u32).map(move |host| (host, n % 100)))
        .map(|(host, port)| syn(host, port, &seed))
        .collect();
    let [mut counted, mut merged] = [2 << 20; 2].map(|memory| Census::new(memory, &seed));
    counted.observe_batch(&observations);
    let mut large = Census::new(64 << 20, &seed);
    large.observe_batch(&observations);
    assert_eq!(large.overflow(), Overflow::default());
    merged.merge(&mut large);
    assert!(counted.overflow().port_hosts > 0);
    assert_eq!(merged.overflow(), counted.overflow());
}

/// What is counted beside a place begins again every 4,096 packets.
#[test]
fn a_pair_without_room_overflows_with_its_rounds() {
    const ROUND: u16 = Visits::ROUND as u16;
    let seed = Seed::random();
    let mut large = Census::new(64 << 20, &seed);
    // One source: 12 of its ports are kept with it, the others are pairs, ten of them of a whole round.
    for (ports, packets) in [(0..30, 1), (30..40, ROUND)] {
        for port in ports {
            large.observe_batch(&vec![syn(1, port, &seed); packets.into()]);
        }
    }
    assert_eq!(large.overflow(), Overflow::default());
    // It has room for 12 pairs, and for as many rounds.
    let mut small = Census::new(0, &seed);
    small.merge(&mut large);
    let lost = small.overflow().port_hosts;
    let round = u64::from(ROUND);
    assert_eq!(lost / round + lost % round, 28 - 12, "{lost}");
    assert!(lost > round, "{lost}: hardly ever are all of these kept");
    assert!(small.port_hosts().is_none() && small.hosts_at(&[(TcpSyn, 1)], &[]).is_none());
}

/// Pairs outlive their sources.
#[test]
fn a_scanner_that_gave_way_is_one_again_when_it_comes_back() {
    let seed = Seed::random();
    let shard = syn(1, 0, &seed).shard();
    let others = (2..).filter(|&host| syn(host, 0, &seed).shard() == shard);
    let mut census = Census::new(2 << 20, &seed);
    (0..100).for_each(|port| census.observe(&syn(1, port, &seed)));
    for host in others.take(500) {
        (0..150).for_each(|_| census.observe(&syn(host, 23, &seed)));
    }
    let source = IpAddr::from([0, 0, 0, 1]);
    assert_eq!(census.profile(source), None, "it gave way");
    // Counted, and merged from windows in which it was at no more ports than are kept with it.
    let mut merged = census.clone();
    for window in 0..10 {
        let mut part = Census::new(2 << 20, &seed);
        for n in 0..40_000 {
            let syn = syn(1, window * 10 + n % 10, &seed);
            census.observe(&syn);
            part.observe(&syn);
        }
        merged.merge(&mut part);
    }
    for census in [census, merged] {
        let profile = census.profile(source).expect("it came back");
        assert_eq!(profile.packets, 400_000);
        let off = profile.ports.count as f64 / 100.0 - 1.0;
        assert!(off.abs() < 5.0 * profile.ports.error, "{profile:?}");
        assert!(profile.is_large_scale_scanner(), "{profile:?}");
    }
}

#[test]
fn a_small_census_keeps_of_a_large_one_what_it_has_room_for() {
    let seed = Seed::random();
    let hosts = (1..).filter(|&host| syn(host, 0, &seed).shard() == 5);
    let hosts: Vec<u32> = hosts.take(4_000).collect();
    for most in [256, 1] {
        let mut large = Census::new(256 << 20, &seed);
        let mut sent = 0;
        for (packets, &host) in (1..=most).cycle().zip(&hosts) {
            (0..packets).for_each(|_| large.observe(&syn(host, 23, &seed)));
            sent += packets;
        }
        let mut small = Census::new(2 << 20, &seed);
        let memory = small.shards[5].0.memory;
        assert!(large.shards[5].0.index.bytes() > memory, "already");
        small.merge(&mut large);
        let roll = &small.shards[5].0;
        // A line and places of the index, and a rest for more than one packet. Half gives way at a time.
        let room = memory / if most == 1 { 64 + 8 } else { 64 + 128 + 8 };
        let least = room / 3;
        assert!(
            (least..=room).contains(&roll.lines.len()),
            "{}",
            roll.lines.len()
        );
        assert!(roll.used() <= memory);
        let counted: u64 = roll.lines.iter().map(|line| line.counts.packets).sum();
        assert_eq!(counted + small.forgotten().packets, sent);
    }
}

/// A SYN as of `syn`, of a version.
fn syn_of(version: Version, host: u32, port: u16, seed: &Seed) -> Observation {
    let packet = Packet {
        version,
        ..syn(host, port, seed).packet
    };
    Observation::new(packet, 0, seed)
}

#[test]
fn a_source_at_all_ports_leaves_the_hosts_of_ports_known() {
    let seed = Seed::random();
    for version in [Version::V4, Version::V6] {
        let mut census = Census::new(1 << 30, &seed);
        for port in 0..=u16::MAX {
            census.observe(&syn_of(version, 1, port, &seed));
        }
        let hosts = census.port_hosts().expect("there is room");
        assert_eq!(hosts.get(PortTable::TcpSyn, 23), 1, "{version:?}");
    }
}

#[test]
fn pairs_of_both_versions_share_their_room_whatever_the_batches() {
    let seed = Seed::random();
    let both = [Version::V4, Version::V6];
    let hosts = both.map(|version| {
        let mut hosts = 1..;
        let host = hosts.find(|&host| syn_of(version, host, 0, &seed).shard() == 5);
        (version, host.expect("one"))
    });
    let sent: Vec<_> = (0..3_000)
        .flat_map(|port| hosts.map(|(version, host)| syn_of(version, host, port, &seed)))
        .collect();
    let mut census = Census::new(8 << 20, &seed);
    sent.iter().for_each(|syn| census.observe(syn));
    assert!(census.overflow().port_hosts > 0);
    let (v4, v6) = &census.shards[5];
    assert!(v4.pairs.bytes() + v6.pairs.bytes() <= census.pairs_memory);
    for size in [3, 32, 512, 6_000] {
        let mut batched = Census::new(8 << 20, &seed);
        let batches = sent.chunks(size);
        batches.for_each(|batch| batched.observe_batch(batch));
        assert!(say(&batched) == say(&census), "{size} at a time");
    }
}

#[test]
fn pairs_that_find_no_room_dont_depend_on_how_packets_are_batched() {
    let seed = Seed::random();
    // Ports that a source keeps itself, and pairs that a shard has room for.
    let own = 12;
    for (version, room) in [(Version::V4, 3_072), (Version::V6, 768)] {
        let syn = |host, port| syn_of(version, host, port, &seed);
        let mut hosts = (1..).filter(|&host| syn(host, 0).shard() == 5);
        let [scanner, known, new] = [(); 3].map(|()| hosts.next().expect("one"));
        // All but so many pairs as a new source will have; then one that is known, at the ports that it keeps.
        let mut sent: Vec<_> = (0..room).map(|port| (scanner, port)).collect();
        sent.extend((0..96).map(|n| (known, n % own)));
        // The new one's come first, so another of the known one finds no room.
        sent.extend((0..2 * own).map(|port| (new, port)));
        sent.extend([(known, 99); 1_000]);
        let sent: Vec<_> = sent
            .into_iter()
            .map(|(host, port)| syn(host, port))
            .collect();
        let mut census = Census::new(8 << 20, &seed);
        sent.iter().for_each(|syn| census.observe(syn));
        assert_eq!(census.overflow().port_hosts, 1_000);
        for size in [3, 32, 512, 5_000] {
            let mut batched = Census::new(8 << 20, &seed);
            let batches = sent.chunks(size);
            batches.for_each(|batch| batched.observe_batch(batch));
            assert_eq!(batched.overflow(), census.overflow(), "{size} at a time");
            assert!(say(&batched) == say(&census), "{size} at a time");
        }
    }
}

#[test]
fn where_all_have_to_stay_the_others_are_counted_as_forgotten() {
    let seed = Seed::random();
    // One shard's least: 4,096 bytes.
    let mut census = Census::new(0, &seed);
    let hosts: Vec<u32> = (0..)
        .filter(|&host| syn(host, 0, &seed).shard() == 5)
        .take(40)
        .collect();
    for &host in &hosts[..30] {
        for port in 0..30 {
            census.observe(&syn(host, port, &seed));
        }
        let roll = &mut census.shards[5].0;
        if let Some(number) = roll.find(host, seed.key(host)) {
            let rest = roll.lines.get(number).expect("a line").rest;
            roll.rests.get_mut(rest).expect("a rest").scans = 300_000;
        }
    }
    let kept = census.top_sources(0);
    let whole = kept.iter().filter(|row| row.counts.packets == 30).count();
    assert!(
        whole < 20 && whole * 8 > kept.len() * 7,
        "{whole} of {}",
        kept.len()
    );
    let before = census.forgotten();
    census.observe(&syn(hosts[35], 1, &seed));
    let after = census.forgotten();
    assert_eq!(
        (after.sources, after.packets),
        (before.sources, before.packets + 1)
    );
    census.observe(&syn(hosts[0], 1, &seed));
    assert_eq!(census.forgotten(), after, "a known one is counted on");
}
