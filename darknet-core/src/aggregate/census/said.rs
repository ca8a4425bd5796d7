//! What a roll says.

use std::net::IpAddr;

use darknet_ebpf::PortTable;

use super::{
    super::{
        Counts, Seed,
        profiles::{Profile, SCANNER_PORTS},
        source::{Address, Place},
    },
    line::{Line, Ports, scanned},
    roll::Roll,
};

/// A source as figures have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) source: IpAddr,
    pub(super) counts: Counts,
    pub(super) missed: u64,
    pub(super) classes: u16,
    pub(super) tools: u8,
}

impl<A: Address> Roll<A> {
    /// Whether a source was seen at a place.
    pub(super) fn was_at(&self, line: &Line<A>, place: Place, seed: &Seed) -> bool {
        let rest = self.rest_of(line);
        line.knows(rest, place)
            || rest.is_some_and(|rest| rest.ports != 0)
                && self.pairs.get((line.address, place), seed).is_some()
    }

    /// The hosts that were seen at all of some places and at none of others.
    pub(super) fn at<'a>(
        &'a self,
        all: &'a [(PortTable, u16)],
        none: &'a [(PortTable, u16)],
        seed: &'a Seed,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let at = move |line: &Line<A>, place| self.was_at(line, Place::new(place), seed);
        let lines = self.lines.iter().filter(move |line| {
            all.iter().all(|&place| at(line, place)) && !none.iter().any(|&place| at(line, place))
        });
        lines.map(|line| line.address.ip())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.lines.iter().map(|line| Row {
            source: line.address.ip(),
            counts: line.counts,
            missed: line.missed(),
            classes: line.classes,
            tools: line.tools,
        })
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = Profile> + '_ {
        self.lines.iter().map(|line| self.profile(line))
    }

    /// What the source of a line did.
    pub(super) fn profile(&self, line: &Line<A>) -> Profile {
        let mut rest = self.rest(line);
        let ports = match self.ports_at(rest.ports) {
            Some(Ports(ports)) => *ports,
            None => {
                let mut ports = Ports::default().0;
                let kept = line.places(self.rest_of(line));
                // No more than are exact.
                kept.filter_map(scanned)
                    .for_each(|port| ports.insert(&mut rest.ports_taken, port, u64::from));
                ports
            }
        };
        Profile {
            source: line.address.ip(),
            packets: line.counts.packets,
            missed: line.missed(),
            first: line.first,
            last: line.last,
            scans: rest.scans,
            ports: ports.estimate(rest.ports_taken),
            has_many_ports: rest.ports_taken.at_least(SCANNER_PORTS),
            destinations: rest.destinations.estimate(rest.destinations_taken),
            probes: rest.probes,
            tools: line.marked(),
        }
    }

    /// Every place at which a source was seen, with the source; once for each, if nothing was
    /// forgotten.
    pub(super) fn places(&self) -> impl Iterator<Item = (A, Place)> + '_ {
        let kept = self.lines.iter().flat_map(|line| {
            let places = line.places(self.rest_of(line));
            places.map(|place| (line.address, place))
        });
        let pairs = self.pairs.iter();
        kept.chain(pairs.map(|pair| (pair.address, pair.visits.place())))
    }
}
