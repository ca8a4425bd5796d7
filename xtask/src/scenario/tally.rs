use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::meaning::{Class, Meaning, Tool};
use super::written::{Figure, ToolFigure, Written};

/// Tables of ports, in the order of `Tally::ports`.
const TABLES: [&str; 5] = [
    "tcp_syn",
    "tcp_backscatter",
    "tcp_other",
    "udp",
    BACKSCATTER_DESTINATION,
];
const BACKSCATTER_DESTINATION: &str = "tcp_backscatter_destination";

/// Adds up what was meant, packet by packet.
#[derive(Debug, Clone)]
pub struct Tally {
    received: u64,
    passed: u64,
    /// First and last time.
    times: Option<(u64, u64)>,
    classes: [Figure; Class::ALL.len()],
    /// Packets by table and port.
    ports: [Vec<u64>; TABLES.len()],
    port_hosts: HashSet<(u8, u16, u32)>,
    icmp: BTreeMap<(u8, u8, u8), u64>,
    tools: [u64; Tool::ALL.len()],
    /// Where `sources` has an address.
    numbers: HashMap<IpAddr, u32>,
    sources: Vec<Source>,
}

/// One source.
#[derive(Debug, Clone)]
struct Source {
    address: IpAddr,
    packets: u64,
    /// Bits by class.
    classes: u16,
    /// Bits by tool.
    tools: u8,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Tally {
    /// Nothing so far.
    pub fn new() -> Self {
        Self {
            received: 0,
            passed: 0,
            times: None,
            classes: Default::default(),
            ports: TABLES.map(|_| vec![0; 1 << 16]),
            port_hosts: HashSet::new(),
            icmp: BTreeMap::new(),
            tools: [0; Tool::ALL.len()],
            numbers: HashMap::new(),
            sources: Vec::new(),
        }
    }

    /// Adds one packet.
    pub fn add(&mut self, meaning: &Meaning) {
        let time = meaning.time;
        self.received += 1;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        let Some(class) = meaning.class else {
            self.passed += 1;
            return;
        };
        let figure = &mut self.classes[class as usize];
        figure.packets += 1;
        if class == Class::Malformed {
            return;
        }
        figure.bytes += u64::from(meaning.bytes);
        let number = self.source(meaning, class);
        if let Some((source, destination)) = meaning.ports {
            let (table, port) = match class {
                Class::TcpSyn => (0, destination),
                Class::TcpBackscatter => (1, source),
                Class::TcpOther => (2, destination),
                _ => (3, destination),
            };
            self.ports[table][usize::from(port)] += 1;
            self.port_hosts.insert((table as u8, port, number));
            if class == Class::TcpBackscatter {
                self.ports[4][usize::from(destination)] += 1;
            }
        }
        if let Some((icmp_type, code)) = meaning.icmp {
            let version = if meaning.source.is_ipv4() { 4 } else { 6 };
            *self.icmp.entry((version, icmp_type, code)).or_default() += 1;
        }
    }

    /// Adds the packet to its source and to its tools; gives the source's number.
    fn source(&mut self, meaning: &Meaning, class: Class) -> u32 {
        let next = self.sources.len() as u32;
        let number = *self.numbers.entry(meaning.source).or_insert(next);
        if number == next {
            self.sources.push(Source {
                address: meaning.source,
                packets: 0,
                classes: 0,
                tools: 0,
            });
        }
        let source = &mut self.sources[number as usize];
        source.packets += 1;
        source.classes |= 1 << class as u16;
        if !meaning.tools.is_empty() {
            for tool in Tool::ALL {
                if meaning.tools.contains(tool) {
                    self.tools[tool as usize] += 1;
                    source.tools |= 1 << tool as u8;
                }
            }
        }
        number
    }

    /// The figures.
    pub fn finish(self) -> Written {
        let stamp = |time: u64| format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000);
        let mut written = Written {
            received: self.received,
            passed: self.passed,
            counted: self.received - self.passed,
            first: self.times.map(|(first, _)| stamp(first)),
            last: self.times.map(|(_, last)| stamp(last)),
            ..Written::default()
        };
        for class in Class::ALL {
            let figure = self.classes[class as usize];
            written.classes.insert(class.name().to_owned(), figure);
        }
        for (name, counts) in TABLES.into_iter().zip(&self.ports) {
            let rows: BTreeMap<u16, u64> = (0..=u16::MAX)
                .zip(counts.iter().copied())
                .filter(|&(_, packets)| packets > 0)
                .collect();
            if !rows.is_empty() {
                written.ports.insert(name.to_owned(), rows);
            }
        }
        for (table, port, _) in self.port_hosts {
            let name = TABLES[usize::from(table)].to_owned();
            *written
                .port_hosts
                .entry(name)
                .or_default()
                .entry(port)
                .or_default() += 1;
        }
        for ((version, icmp_type, code), packets) in self.icmp {
            let key = format!("{version}/{icmp_type}/{code}");
            written.icmp.insert(key, packets);
        }
        for tool in Tool::ALL {
            let hosts = self
                .sources
                .iter()
                .filter(|source| source.tools & 1 << tool as u8 != 0);
            let figure = ToolFigure {
                packets: self.tools[tool as usize],
                hosts: hosts.count() as u64,
            };
            written.tools.insert(tool.name().to_owned(), figure);
        }
        for source in &self.sources {
            *written.networks.entry(network(source.address)).or_default() += source.packets;
            written.sources.insert(source.address, source.packets);
            let classes = Class::ALL.into_iter();
            let of_source = classes.filter(|&class| source.classes & 1 << class as u16 != 0);
            for name in of_source.map(Class::name).chain(["all"]) {
                *written.hosts.entry(name.to_owned()).or_default() += 1;
            }
        }
        written
    }
}

/// The source network of an address: IPv4 /24, IPv6 /48.
fn network(source: IpAddr) -> IpNet {
    let length = if source.is_ipv4() { 24 } else { 48 };
    IpNet::new_assert(source, length).trunc()
}
