//! Dark space of many prefixes in the kernel: what the trie says is what [`Dark::contains`] says.
//! Needs root.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use darknet_core::{
    Dark,
    kernel::{Action, Kernel, Settings},
};
use darknet_tests::{
    craft::{self, Carried, Random},
    privileged,
    program::load,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// So many prefixes and exclusions of both versions, of many lengths, three deep.
fn space(entries: usize, random: &mut Random) -> Dark {
    let (mut prefixes, mut excluded) = (Vec::new(), Vec::new());
    for number in 0.. {
        // Of each 4,096 IPv4 addresses from 16.0.0.0 on some, of each IPv6 /44 some.
        let shift = random.below(7) as u8;
        let (outer, step) = match number % 2 {
            0 => (v4((16 << 24) + (number << 12), 21 + shift), 1),
            _ => (
                v6(0x2a00 << 112 | u128::from(number) << 84, 45 + 2 * shift),
                3,
            ),
        };
        prefixes.push(outer);
        // In every fifth something is excluded, and in every tenth that has a dark part again.
        if number % 5 == 0 {
            let hole = part(outer, outer.prefix_len() + step, random);
            excluded.push(hole);
            if number % 10 == 0 {
                prefixes.push(part(hole, hole.prefix_len() + step, random));
            }
        }
        if prefixes.len() + excluded.len() >= entries {
            break;
        }
    }
    Dark::new(&prefixes, &excluded).expect("valid")
}

fn v4(number: u32, length: u8) -> IpNet {
    let net = Ipv4Net::new(Ipv4Addr::from_bits(number), length);
    net.expect("a length").trunc().into()
}

fn v6(number: u128, length: u8) -> IpNet {
    let net = Ipv6Net::new(Ipv6Addr::from_bits(number), length);
    net.expect("a length").trunc().into()
}

/// One of the prefixes of a length in a prefix.
fn part(net: IpNet, length: u8, random: &mut Random) -> IpNet {
    match within(net, random) {
        IpAddr::V4(address) => v4(address.to_bits(), length),
        IpAddr::V6(address) => v6(address.to_bits(), length),
    }
}

/// An address in a prefix.
fn within(net: IpNet, random: &mut Random) -> IpAddr {
    let word = random.word();
    match net {
        IpNet::V4(net) => {
            Ipv4Addr::from_bits(net.addr().to_bits() | word as u32 & net.hostmask().to_bits())
                .into()
        }
        IpNet::V6(net) => {
            let word = u128::from(word) << 64 | u128::from(random.word());
            Ipv6Addr::from_bits(net.addr().to_bits() | word & net.hostmask().to_bits()).into()
        }
    }
}

/// The first and the last address of a prefix, and those just outside.
fn edges(net: IpNet) -> [IpAddr; 4] {
    match net {
        IpNet::V4(net) => {
            let [first, last] = [net.network(), net.broadcast()].map(Ipv4Addr::to_bits);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|number| Ipv4Addr::from_bits(number).into())
        }
        IpNet::V6(net) => {
            let [first, last] = [net.network(), net.broadcast()].map(Ipv6Addr::to_bits);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|number| Ipv6Addr::from_bits(number).into())
        }
    }
}

/// What the program does with a packet to an address, and that it is what `dark` says of it.
fn judge(kernel: &Kernel, dark: &Dark, destination: IpAddr) -> bool {
    let source = match destination {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let udp = Carried::Udp { from: 1, to: 2 };
    let frame = craft::frame(source, destination, udp);
    let (action, _) = kernel.test_run(&frame, 1).expect("ran");
    let is_dark = dark.contains(destination);
    let expected = if is_dark { Action::Drop } else { Action::Pass };
    assert_eq!(action, expected, "{destination}");
    is_dark
}

/// Loads a program for it and holds it against [`Dark::contains`]. Returns how long loading took.
fn compare(name: &str, dark: &Dark, random: &mut Random) -> Duration {
    let begun = Instant::now();
    let mut kernel = load(&Settings {
        dark: dark.clone(),
        ..Settings::default()
    });
    let took = begun.elapsed();
    let nets: Vec<_> = [dark.prefixes(), dark.excluded()].concat();
    let mut judged = [0u64; 2];
    let mut judge = |destination| judged[usize::from(judge(&kernel, dark, destination))] += 1;
    // Not all of many, but of each kind.
    for &net in nets.iter().step_by(1 + nets.len() / 10_000) {
        edges(net).into_iter().for_each(&mut judge);
        judge(within(net, random));
    }
    (0..5_000).for_each(|_| judge(random.address()));
    let [light, dark] = judged;
    assert!(
        light > 1000 && dark > 1000,
        "{name}: {light} not dark, {dark} dark"
    );
    let ledger = kernel.flip_and_drain().expect("drained").ledger;
    assert_eq!(
        (ledger.received, ledger.counted),
        (light + dark, dark),
        "{name}"
    );
    took
}

#[test]
fn many_prefixes_are_judged_as_by_the_library() {
    if !privileged("many_prefixes_are_judged_as_by_the_library") {
        return;
    }
    let mut random = Random(11);
    for entries in [1_000, 100_000] {
        let dark = space(entries, &mut random);
        let [prefixes, excluded] = [dark.prefixes(), dark.excluded()].map(<[_]>::len);
        assert_eq!(prefixes + excluded, entries);
        assert!(excluded > entries / 10, "{excluded} exclusions");
        let took = compare(&format!("{entries} entries"), &dark, &mut random);
        eprintln!("{prefixes} dark prefixes, {excluded} excluded: loaded in {took:?}");
        // It took 0.4 s; a trie that is filled by looking through itself takes minutes.
        assert!(took.as_secs() < 15, "{entries} entries: {took:?}");
    }
}

/// All that no exclusion holds: the trie has no prefix for it.
#[test]
fn everything_but_many_exclusions_is_judged_as_by_the_library() {
    if !privileged("everything_but_many_exclusions_is_judged_as_by_the_library") {
        return;
    }
    let mut random = Random(13);
    let excluded: Vec<_> = space(1_000, &mut random).prefixes().to_vec();
    let dark = Dark::new(&[], &excluded).expect("valid");
    compare("exclusions", &dark, &mut random);
}

/// Around the number of prefixes where comparing ends and looking up begins.
#[test]
fn a_few_prefixes_are_judged_alike_with_and_without_a_trie() {
    if !privileged("a_few_prefixes_are_judged_alike_with_and_without_a_trie") {
        return;
    }
    for count in [1, 15, 16, 17] {
        let net = |number: u32| {
            [
                v4(0xcb00_0000 | number << 9, 24),
                v6(u128::from(number) << 90, 39),
            ]
        };
        let nets: Vec<_> = (1..=count).flat_map(net).collect();
        let dark = Dark::new(&nets, &[]).expect("valid");
        let kernel = load(&Settings {
            dark: dark.clone(),
            ..Settings::default()
        });
        for address in nets.iter().flat_map(|&net| edges(net)) {
            judge(&kernel, &dark, address);
        }
    }
}
