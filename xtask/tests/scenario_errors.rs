//! One clear line for every mistake in a scenario file.

use xtask::scenario::Scenario;

/// A scenario whose last table is its only flow, so that keys can be added at its end.
const BASE: &str = "\
seed = 1
count = 100
rate = 10
start = '2021-05-01T00:00:00Z'
[[flow]]
name = 'f'
share = 3
kind = 'syn'
sources = { prefix = '198.51.100.0/24', count = 9 }
destinations = ['203.0.113.0/24']
ports = [{ port = 23 }]
";

#[test]
fn every_mistake_is_one_line_with_file_key_and_advice() {
    // name, what of BASE is replaced ("" appends), by what, words of the error
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("unknown key", "seed = 1", "sed = 1", &["scenario:1:", "unknown field `sed`", "`seed`"]),
        ("unknown key of a flow", "", "port = 1", &["scenario:12:", "unknown field `port`", "`ports`"]),
        ("unknown key of sources", "count = 9", "cont = 9", &["scenario:9:", "unknown field `cont`"]),
        ("unknown key of a port", "port = 23", "prt = 23", &["scenario:11:", "unknown field `prt`"]),
        ("missing key", "rate = 10\n", "", &["`rate` is missing"]),
        ("missing key of a flow", "destinations = ['203.0.113.0/24']\n", "", &["`destinations` is missing"]),
        ("wrong type", "rate = 10", "rate = 'fast'", &["scenario:3: `rate = 'fast'`", "expected u64"]),
        ("negative", "seed = 1", "seed = -1", &["scenario:1: `seed = -1`", "expected u64"]),
        ("no TOML", "seed = 1", "seed = = 1", &["scenario:1: `seed = = 1`"]),
        ("unknown kind", "'syn'", "'sin'", &["scenario:8:", "unknown variant `sin`", "`syn`"]),
        ("unknown tool", "", "tools = ['nmap']", &["unknown variant `nmap`", "`masscan`"]),
        ("unknown link", "seed = 1", "seed = 1\nlink = 'ppp'", &["unknown variant `ppp`", "`raw`"]),
        ("unknown resolution", "seed = 1", "seed = 1\nresolution = 's'", &["unknown variant `s`", "`nanoseconds`"]),
        ("no prefix", "203.0.113.0/24", "203.0.113.0.24", &["scenario:10:", "write a list of prefixes"]),
        ("no time", "2021-05-01T", "2021-13-01T", &["scenario:4:", "write a time as"]),
        ("no offset", "", "from = 'soon'", &["scenario:12:", "write an offset as"]),
        ("no packet", "count = 100\n", "count = 0\n", &["scenario: count:", "1 or more"]),
        ("no rate", "rate = 10", "rate = 0", &["scenario: rate:", "1 to 10^9"]),
        ("early start", "2021", "1969", &["scenario: start:", "before 1970"]),
        ("late start", "2021", "2107", &["scenario: start:", "2106", "earlier start"]),
        ("long frames", "seed = 1", "seed = 1\nsize = 1515", &["scenario: size:", "0 to 1514"]),
        ("no share", "share = 3", "share = 0", &["scenario: flow[0] \"f\".share:", "1 to 2^40"]),
        ("huge share", "share = 3", "share = 1099511627777", &["flow[0] \"f\".share:", "1 to 2^40"]),
        ("no source", "count = 9", "count = 0", &["flow[0] \"f\".sources.count:", "1 to 256"]),
        ("too many sources", "count = 9", "count = 257", &["sources.count:", "1 to 256"]),
        ("too many networks", "24', count = 9", "24', count = 2, one_per_network = true", &["sources.count:", "2 is not", "one in each network", "1 to 1"]),
        ("half a network", "0/24', count = 9", "0/25', one_per_network = true", &["sources.one_per_network:", "198.51.100.0/25", "shorter"]),
        ("number for yes", "count = 9", "count = 9, one_per_network = 1", &["scenario:9:", "expected a boolean"]),
        ("host bits in sources", "198.51.100.0/24", "198.51.100.1/24", &["sources.prefix:", "write 198.51.100.0/24"]),
        ("host bits in destinations", "203.0.113.0/24", "203.0.113.0/16", &["destinations:", "write 203.0.0.0/16"]),
        ("no destination", "['203.0.113.0/24']", "[]", &["destinations:", "at least one"]),
        ("mixed versions", "['203.0.113.0/24']", "['203.0.113.0/24', '2001:db8::/48']", &["destinations:", "another flow"]),
        ("unlike destinations", "'203.0.113.0/24'", "'2001:db8::/48', '2001:db8:1::1/128'", &["destinations:"]),
        ("no ports", "ports = [{ port = 23 }]", "", &["flow[0] \"f\".ports:", "missing"]),
        ("empty ports", "[{ port = 23 }]", "[]", &["ports:", "missing"]),
        ("port and range", "port = 23", "port = 23, from = 1, to = 2", &["ports:", "either"]),
        ("half a range", "port = 23", "from = 1", &["ports:", "write `port`, or `from`"]),
        ("backward range", "port = 23", "from = 2, to = 1", &["ports:", "not below"]),
        ("no port share", "port = 23", "port = 23, share = 0", &["ports: share:", "1 to 2^40"]),
        ("ports of icmp", "'syn'", "'icmp'", &["ports:", "remove it"]),
        ("tools of udp", "'syn'", "'udp'\ntools = ['zmap']", &["tools:", "remove it"]),
        ("all three tools", "", "tools = ['mirai', 'zmap', 'masscan']", &["tools:", "54321 only"]),
        ("two tools that bring a third", "port = 23 }", "port = 54321 }]\ntools = ['mirai', 'zmap'", &["tools:", "bring the third"]),
        ("type of syn", "", "type = 8", &["type:", "kind icmp"]),
        ("code of syn", "", "code = 0", &["code:", "kind icmp"]),
        ("protocol of syn", "", "protocol = 47", &["protocol:", "kind other"]),
        ("no protocol", "kind = 'syn'", "kind = 'other'", &["ports:", "remove it"]),
        ("three tags", "", "vlan = [1, 2, 3]", &["vlan:", "at most two"]),
        ("reserved tag", "", "vlan = [4095]", &["vlan:", "0 to 4094"]),
        ("long payload", "", "payload = 1401", &["payload:", "0 to 1400"]),
        ("negative offset", "", "from = '-1s'", &["from:", "offset from start"]),
        ("ends before it starts", "", "from = '2s'\nto = '2s'", &["flow[0] \"f\".to:", "later `to`"]),
        ("nobody at the start", "", "from = '2s'", &["scenario: flow:", "active at packet 0"]),
        ("nobody at the end", "", "to = '2s'", &["scenario: flow:", "active at packet 20"]),
    ];
    for (name, old, new, words) in table {
        let text = match *old {
            "" => format!("{BASE}{new}\n"),
            old => {
                assert!(BASE.contains(old), "{name}: BASE has no {old}");
                BASE.replacen(old, new, 1)
            }
        };
        assert_error(name, &text, words);
    }
}

#[test]
fn mistakes_of_kinds_without_ports_are_named_too() {
    let base = BASE.replace("ports = [{ port = 23 }]\n", "");
    for (name, kind, words) in [
        ("no flow", None, &["scenario: flow:", "at least one"][..]),
        (
            "no protocol",
            Some("kind = 'other'"),
            &["protocol:", "write 47"],
        ),
        (
            "protocol with a class",
            Some("kind = 'other'\nprotocol = 6"),
            &["protocol:", "6 is not another"],
        ),
        (
            "payload of malformed",
            Some("kind = 'malformed'\npayload = 1"),
            &["payload:", "remove it"],
        ),
        (
            "VLAN tag without Ethernet",
            Some("kind = 'icmp'\nvlan = [1]\n#raw"),
            &["vlan:", "link ethernet"],
        ),
        (
            "ARP without Ethernet",
            Some("kind = 'arp'\n#raw"),
            &["kind:", "link ethernet"],
        ),
    ] {
        let mut text = match kind {
            Some(kind) => base.replace("kind = 'syn'", kind),
            None => base.split("[[flow]]").next().unwrap_or("").to_owned(),
        };
        if text.contains("#raw") {
            text = format!("link = 'raw'\n{text}");
        }
        assert_error(name, &text, words);
    }
    let version_6 = base
        .replace("198.51.100.0/24", "2001:db8::/64")
        .replace("203.0.113.0/24", "2001:db8:1::/64");
    for (name, kind, words) in [
        ("ARP", "'arp'", &["kind:", "IPv4"][..]),
        (
            "tools",
            "'syn'\nports = [{ port = 1 }]\ntools = ['mirai']",
            &["tools:", "IPv4"],
        ),
        (
            "extension header",
            "'other'\nprotocol = 44",
            &["protocol:", "44 is not"],
        ),
    ] {
        assert_error(name, &version_6.replace("'syn'", kind), words);
    }
}

fn assert_error(name: &str, text: &str, words: &[&str]) {
    let error = match Scenario::from_toml(text) {
        Ok(scenario) => scenario.compile().err(),
        Err(error) => Some(error),
    };
    let error = error
        .unwrap_or_else(|| panic!("{name}: no error"))
        .to_string();
    assert_eq!(error.lines().count(), 1, "{name}: {error}");
    for word in words {
        assert!(error.contains(word), "{name}: {word:?} is not in {error}");
    }
}

#[test]
fn a_scenario_file_that_is_not_there_is_named() {
    let error = Scenario::read("/nowhere/x.toml")
        .expect_err("no file")
        .to_string();
    assert!(
        error.starts_with("/nowhere/x.toml: cannot be read: "),
        "{error}"
    );
}
