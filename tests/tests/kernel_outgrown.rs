//! Rows and networks with more packets or bytes than their word has room for: 2^25 and 2^33 go
//! to the table of wide counters. Needs root.

use std::{collections::HashMap, net::IpAddr, thread};

use darknet_core::{
    aggregate::Counts,
    kernel::{Action, BankFigures, Settings},
    rules::PortTable,
};
use darknet_tests::{
    craft::{self, Carried, SYN, SYN_ACK},
    privileged,
    program::{assert_whole, load, processors, smallest, stay_on},
};
use ipnet::IpNet;

/// More than 2^25, and more than a processor has on the way to the table: 64 times 2^15.
const PACKETS: u32 = (1 << 25) + (1 << 22) + 12_345;
/// With the longest packets more than 2^33 bytes, and as many again on the way.
const LONG: u32 = 300_001;

/// A kind of packet that comes very often.
struct Flood {
    name: &'static str,
    frame: Vec<u8>,
    packets: u32,
    network: IpNet,
    row: Row,
}

#[derive(Clone, Copy)]
enum Row {
    /// TCP backscatter is in a second one.
    Port(PortTable, u16, Option<u16>),
    Icmp(u8, u8),
}

fn floods() -> Vec<Flood> {
    let flood = |name, source: &str, carried, row, bytes: Option<usize>| {
        let source: IpAddr = source.parse().expect(source);
        let (to, length) = match source {
            IpAddr::V4(_) => ("203.0.113.9", 24),
            IpAddr::V6(_) => ("2001:db8::9", 48),
        };
        let frame = craft::frame(source, to.parse().expect(to), carried);
        let (frame, packets) = match bytes {
            None => (frame, PACKETS),
            Some(bytes) => (craft::claiming(frame, bytes), LONG),
        };
        Flood {
            name,
            frame,
            packets,
            network: IpNet::new(source, length).expect("a length").trunc(),
            row,
        }
    };
    let udp = Carried::Udp {
        from: 1,
        to: 65_535,
    };
    let tcp = |flags| Carried::Tcp {
        from: 443,
        to: 23,
        flags,
    };
    let echo = |kind| Carried::Icmp { kind, code: 0 };
    use PortTable::{TcpBackscatter, TcpSyn, Udp};
    vec![
        flood(
            "many SYNs",
            "198.51.100.7",
            tcp(SYN),
            Row::Port(TcpSyn, 23, None),
            None,
        ),
        flood(
            "many echo requests",
            "198.51.101.7",
            echo(8),
            Row::Icmp(8, 0),
            None,
        ),
        flood(
            "long SYN-ACKs, in two rows",
            "198.51.102.7",
            tcp(SYN_ACK),
            Row::Port(TcpBackscatter, 443, Some(23)),
            Some(65_535),
        ),
        flood(
            "long UDP of IPv6",
            "2001:db8:7::7",
            udp,
            Row::Port(Udp, 65_535, None),
            Some(65_575),
        ),
        flood(
            "long ICMPv6",
            "2001:db8:8::7",
            echo(128),
            Row::Icmp(128, 0),
            Some(65_575),
        ),
    ]
}

/// That so many packets of each flood came, and nothing else.
fn assert_flooded(
    figures: &BankFigures,
    floods: &[Flood],
    packets: impl Fn(&Flood) -> u64,
    turn: &str,
) {
    assert_whole(figures, turn);
    assert_eq!(figures.row_overflow, Counts::default(), "{turn}");
    assert!(figures.networks.is_complete(), "{turn}");
    let networks: HashMap<_, _> = figures.networks.iter().collect();
    let icmp: HashMap<_, _> = figures.icmp.iter().collect();
    assert_eq!(networks.len(), floods.len(), "{turn}");
    for flood in floods {
        let packets = packets(flood);
        let Flood {
            name,
            frame,
            packets: _,
            network,
            row,
        } = flood;
        let expected = Counts {
            packets,
            bytes: packets * craft::bytes(frame),
        };
        assert_eq!(networks[network], expected, "{turn}: {name}, network");
        match *row {
            Row::Port(table, port, other) => {
                let row = figures.ports.get(table, port);
                assert_eq!(row, expected, "{turn}: {name}, port");
                if let Some(port) = other {
                    let row = figures
                        .ports
                        .get(PortTable::TcpBackscatterDestination, port);
                    assert_eq!(row, expected, "{turn}: {name}, other port");
                }
            }
            Row::Icmp(kind, code) => {
                let found = icmp
                    .iter()
                    .find(|(key, _)| (key.kind, key.code) == (kind, code));
                let row = found.map(|(_, counts)| *counts);
                assert_eq!(row, Some(expected), "{turn}: {name}, message");
            }
        }
    }
}

#[test]
fn what_outgrows_its_word_is_counted_to_the_packet_and_byte() {
    if !privileged("what_outgrows_its_word_is_counted_to_the_packet_and_byte") {
        return;
    }
    let floods = floods();
    let processors = processors();
    let mut kernel = load(&smallest(Settings::default()));
    for (turn, on) in [
        ("on one processor", &processors[..1]),
        ("on all processors at once", &processors),
    ] {
        thread::scope(|scope| {
            for &processor in on {
                let (kernel, floods) = (&kernel, &floods);
                scope.spawn(move || {
                    stay_on(processor);
                    for flood in floods {
                        let ran = kernel.test_run(&flood.frame, flood.packets);
                        assert_eq!(ran.expect(flood.name).0, Action::Drop, "{}", flood.name);
                    }
                });
            }
        });
        let figures = kernel.flip_and_drain().expect("drained");
        let all = |flood: &Flood| on.len() as u64 * u64::from(flood.packets);
        assert_flooded(&figures, &floods, all, turn);
    }
    for turn in ["the first bank again", "the second bank again"] {
        for flood in &floods {
            kernel.test_run(&flood.frame, 1).expect(flood.name);
        }
        let figures = kernel.flip_and_drain().expect("drained");
        assert_flooded(&figures, &floods, |_| 1, turn);
    }
}
