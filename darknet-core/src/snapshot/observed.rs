use super::Snapshot;

impl Snapshot {
    /// Takes over what only closed windows say, in the tables of a window that is open: sources and
    /// hosts, times to live, sizes, and what tables take. They are then those of `closed`, and
    /// [`observed_until`](Self::observed_until) says so. Nothing, where no packets are delivered. Payloads
    /// are left out: they are for documents only.
    pub fn keep_observed(&mut self, closed: &Self) {
        // It is there wherever packets are delivered, whatever has overflowed.
        if closed.ttls.is_none() {
            return;
        }
        for row in &mut self.ports {
            let mut before = closed.ports.iter();
            let before = before.find(|before| (before.class, before.port) == (row.class, row.port));
            row.hosts = before.and_then(|before| before.hosts);
        }
        for (row, before) in self.tools.iter_mut().zip(&closed.tools) {
            row.hosts = before.hosts;
        }
        self.observed_until = closed.end;
        self.sources.clone_from(&closed.sources);
        self.profiles.clone_from(&closed.profiles);
        self.hosts = closed.hosts;
        self.host_bins.clone_from(&closed.host_bins);
        self.ttls.clone_from(&closed.ttls);
        self.sizes.clone_from(&closed.sizes);
        self.overflow = closed.overflow;
        self.memory.clone_from(&closed.memory);
    }
}

#[cfg(test)]
mod tests {
    use darknet_ebpf::{Class, Packet, Tool};

    use super::*;
    use crate::{
        Dark,
        aggregate::{Aggregate, Figures, Observation, Seed},
        ledger::Ledger,
        time::timestamp,
        window::Window,
    };

    /// The tables of so many SYNs to each of these ports.
    fn snapshot(ports: &[u16], end: i64) -> Snapshot {
        let seed = Seed::fixed(1);
        let mut figures = Figures::new(4 << 20, &seed);
        for &port in ports {
            let packet = Packet {
                class: Class::TcpSyn,
                destination_port: port,
                ..Packet::MALFORMED
            };
            figures.observe(&Observation::new(packet, 0, &seed));
        }
        let window = Window {
            edges: Some((timestamp(0), timestamp(end))),
            epochs: None,
            ledger: Ledger::default(),
            complete: true,
            faults: Vec::new(),
            dark_is_known: true,
            aggregate: figures,
        };
        window.snapshot(&Dark::any(), 5)
    }

    /// As an open window has them: only what the kernel counts.
    fn open(ports: &[u16]) -> Snapshot {
        let mut open = Snapshot {
            sources: None,
            profiles: None,
            hosts: None,
            host_bins: None,
            ttls: None,
            sizes: None,
            memory: Vec::new(),
            ..snapshot(ports, 2)
        };
        open.ports.iter_mut().for_each(|row| row.hosts = None);
        open.tools.iter_mut().for_each(|row| row.hosts = None);
        open
    }

    #[test]
    fn an_open_window_has_the_counts_of_now_and_the_hosts_of_the_closed_ones() {
        let mut now = open(&[22, 23, 23]);
        let closed = snapshot(&[23], 1);
        now.keep_observed(&closed);
        assert_eq!(now.observed_until, closed.end);
        assert_eq!((now.end, now.schema), (Some(timestamp(2)), closed.schema));
        let ports: Vec<_> = now
            .ports
            .iter()
            .map(|row| (row.port, row.packets, row.hosts))
            .collect();
        assert_eq!(ports, [(23, 2, Some(1)), (22, 1, None)], "22 came since");
        assert_eq!(now.hosts.map(|hosts| hosts.all), Some(1));
        assert_eq!(
            (&now.sources, &now.profiles),
            (&closed.sources, &closed.profiles)
        );
        assert_eq!(now.tools[Tool::Zmap as usize].hosts, Some(0));
        assert_eq!(now.memory, closed.memory);
    }

    #[test]
    fn where_no_packets_are_delivered_nothing_is_said_of_when() {
        let mut now = open(&[23, 23]);
        now.keep_observed(&open(&[23]));
        assert_eq!(now.observed_until, None);
        assert!(now.hosts.is_none() && now.memory.is_empty());
    }
}
