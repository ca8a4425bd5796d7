use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

pub(super) fn dark(prefixes: &[&str], excluded: &[&str]) -> Dark {
    Dark::new(&nets(prefixes), &nets(excluded)).expect("valid")
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
