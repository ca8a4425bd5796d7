use std::net::IpAddr;

use darknet_ebpf::{Class, PortTable, Tool};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ports;

/// Distinct sources: all, by class, by tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All of them.
    pub all: u64,
    classes: [u64; Class::ALL.len()],
    tools: [u64; Tool::ALL.len()],
}

impl Hosts {
    /// Distinct sources of a class.
    pub fn class(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// Distinct sources of packets with a tool's mark.
    pub fn tool(&self, tool: Tool) -> u64 {
        self.tools[tool as usize]
    }

    pub(super) fn add(&mut self, classes: u16, tools: u8) {
        let Self {
            all,
            classes: class_hosts,
            tools: tool_hosts,
        } = self;
        *all += 1;
        for (class, hosts) in class_hosts.iter_mut().enumerate() {
            *hosts += u64::from(classes >> class & 1);
        }
        for (tool, hosts) in tool_hosts.iter_mut().enumerate() {
            *hosts += u64::from(tools >> tool & 1);
        }
    }
}

/// Distinct sources at each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHosts(Vec<u64>);

impl PortHosts {
    pub(super) fn none() -> Self {
        Self(vec![0; PortTable::ALL.len() << 16])
    }

    pub(super) fn add(&mut self, table: PortTable, port: u16) {
        self.0[ports::index(table, port)] += 1;
    }

    /// Distinct sources at a port.
    pub fn get(&self, table: PortTable, port: u16) -> u64 {
        self.0[ports::index(table, port)]
    }
}

/// Packets that found a table full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Overflow {
    /// Packets of sources that had no room.
    pub sources: u64,
    /// Packets of pairs of source and port that had no room.
    pub port_hosts: u64,
    /// Packets of payloads that had no room.
    pub payloads: u64,
}

/// The source network of an address: IPv4 /24, IPv6 /48.
pub fn network(source: IpAddr) -> IpNet {
    match source {
        IpAddr::V4(address) => Ipv4Net::new_assert(address, 24).trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 48).trunc().into(),
    }
}
