//! What is kept of a source: one cache line, and two more from its second packet on.

use darknet_ebpf::{Class, Packet, PortTable, Tool, Version};

use super::super::{
    Counts, Observation, Seed,
    few::{Few, Taken},
    profiles::{destination, of_half},
    source::{Address, Place, Visits},
};
use super::pool::Pool;
use crate::time::Nanoseconds;

/// A source. From its second packet on, or its first at more places than there is room for here, it has a
/// [`Rest`] too; until then, the rest follows from what is here.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Line<A: Address> {
    pub(super) counts: Counts,
    pub(super) first: Nanoseconds,
    pub(super) last: Nanoseconds,
    pub(super) address: A,
    /// Packets that it may have had before; see [`Line::missed`].
    missed: u32,
    /// The number of its rest, or 0.
    pub(super) rest: u32,
    /// The half of the hash of its first destination.
    pub(super) destination: u32,
    /// A bit for each class.
    pub(super) classes: u16,
    /// A bit for each tool.
    pub(super) tools: u8,
    /// Places that are taken, here or in the rest.
    taken: u8,
    /// [`Visits`] of its places, as bits, until it has a rest; from then on packets by tool.
    left: A::Left,
}

/// More of a source.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Rest {
    /// The halves of hashes.
    pub(super) destinations: Few<4>,
    /// Three times as many as the processor compares at once.
    places: [Visits; 12],
    pub(super) scans: u32,
    pub(super) probes: u32,
    /// The number of its [`Ports`], or 0.
    pub(super) ports: u32,
    pub(super) destinations_taken: Taken,
    pub(super) ports_taken: Taken,
}

/// The destination ports of a source with more places than it keeps itself.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Ports(pub(super) Few<2>);

const _: () = assert!(size_of::<Line<u32>>() == 64 && size_of::<Line<u128>>() == 64);
const _: () = assert!(size_of::<Rest>() == 128 && size_of::<Ports>() == 64);

impl<A: Address> Line<A> {
    pub(super) fn of(address: A, missed: u64) -> Self {
        let mut line = Self {
            address,
            first: Nanoseconds::MAX,
            last: Nanoseconds::MIN,
            ..Self::default()
        };
        line.set_missed(missed);
        line
    }

    /// Packets that it may have had before it was counted, at most.
    pub(super) fn missed(&self) -> u64 {
        match self.missed {
            u32::MAX => u64::MAX / 2,
            missed => missed.into(),
        }
    }

    /// Above what fits there is no bound.
    pub(super) fn set_missed(&mut self, missed: u64) {
        self.missed = missed.try_into().unwrap_or(u32::MAX);
    }

    #[inline]
    pub(super) fn count(&mut self, observation: &Observation) {
        let (packet, time) = (&observation.packet, observation.time);
        self.counts.add(packet.bytes);
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.classes |= 1 << packet.class as u16;
        self.tools |= packet.tools.bits();
    }

    /// Adds another of the same source, but for places.
    pub(super) fn add(&mut self, other: &Self) {
        self.set_missed(self.missed() + other.missed());
        self.counts += other.counts;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.classes |= other.classes;
        self.tools |= other.tools;
    }

    /// Whether it is known to have been at a place.
    #[inline]
    pub(super) fn knows(&self, rest: Option<&Rest>, place: Place) -> bool {
        match rest {
            Some(rest) => rest.knows(place),
            None => self.first_places().iter().any(|kept| kept.place() == place),
        }
    }

    /// Whether so many more places fit into what there is.
    #[inline]
    pub(super) fn has_room(&self, more: usize) -> bool {
        let room = match self.rest {
            0 => self.left.as_ref().len(),
            _ => Rest::PLACES,
        };
        usize::from(self.taken) + more <= room
    }

    /// Adds packets, fewer than a round, to a place: the visits of it then, or the default if it is not known.
    #[inline]
    pub(super) fn visit(&mut self, rest: Option<&mut Rest>, place: Place, packets: u32) -> Visits {
        if let Some(rest) = rest {
            return rest.visit(place, packets);
        }
        let added = self.left.as_mut().iter_mut().map(|bits| {
            let mut visits = Visits::from_bits(*bits);
            let there = visits.add_at(place, packets);
            *bits = visits.bits();
            there
        });
        added.fold(Visits::default(), Visits::or)
    }

    /// Keeps a place that is not known, with packets, fewer than a round; `false` if there is no room.
    pub(super) fn keep(&mut self, rest: Option<&mut Rest>, place: Place, packets: u32) -> bool {
        let at = usize::from(self.taken);
        let visits = Visits::new(place, packets);
        let is_kept = match rest {
            Some(rest) => rest.places.get_mut(at).map(|free| *free = visits),
            None => self
                .left
                .as_mut()
                .get_mut(at)
                .map(|free| *free = visits.bits()),
        };
        self.taken += u8::from(is_kept.is_some());
        is_kept.is_some()
    }

    /// The places that are kept with it.
    pub(super) fn places(&self, rest: Option<&Rest>) -> impl Iterator<Item = Place> + use<A> {
        self.visits(rest).map(Visits::place)
    }

    /// The places that are kept with it, and packets.
    pub(super) fn visits(&self, rest: Option<&Rest>) -> impl Iterator<Item = Visits> + use<A> {
        let visits = rest.map_or_else(|| self.first_places(), |rest| rest.places);
        visits.into_iter().take(self.taken.into())
    }

    /// The places of a source that has no rest.
    fn first_places(&self) -> [Visits; Rest::PLACES] {
        let mut places = [Visits::default(); Rest::PLACES];
        places
            .iter_mut()
            .zip(self.left.as_ref())
            .for_each(|(visits, &bits)| *visits = Visits::from_bits(bits));
        places
    }

    /// Probes that carry the mark of each tool.
    pub(super) fn marked(&self) -> [u32; Tool::ALL.len()] {
        let mut marked = [0; Tool::ALL.len()];
        let is_probe = u32::from(self.classes >> Class::TcpSyn as u16 & 1);
        for (tool, (marked, &left)) in marked.iter_mut().zip(self.left.as_ref()).enumerate() {
            *marked = match self.rest {
                // It has one packet.
                0 => is_probe & u32::from(self.tools >> tool & 1),
                _ => left,
            };
        }
        marked
    }

    /// Counts the marks of a packet, for a source that has a rest. There are none in IPv6.
    #[inline(always)]
    pub(super) fn mark(&mut self, packet: &Packet) {
        let is_probe = 0_u8.wrapping_sub(u8::from(packet.class == Class::TcpSyn));
        let tools = packet.tools.bits() & is_probe;
        for (tool, marked) in self.left.as_mut().iter_mut().enumerate() {
            *marked = marked.saturating_add(u32::from(tools >> tool & 1));
        }
    }

    /// Adds the marks of another, to a source that has a rest.
    pub(super) fn add_marked(&mut self, other: &Self) {
        for (mine, theirs) in self.left.as_mut().iter_mut().zip(other.marked()) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Gives it a rest, if it has none.
    pub(super) fn extend(&mut self, rests: &mut Pool<Rest>) {
        if self.rest == 0 {
            let (rest, marked) = (self.first_rest(), self.marked());
            self.rest = rests.push(rest);
            for (left, marked) in self.left.as_mut().iter_mut().zip(marked) {
                *left = marked;
            }
        }
    }

    /// The rest, of a source that has one packet or none.
    pub(super) fn first_rest(&self) -> Rest {
        let mut rest = Rest {
            places: self.first_places(),
            ..Rest::default()
        };
        if self.counts.packets == 0 {
            return rest;
        }
        let is = |class: Class| self.classes >> class as u16 & 1;
        rest.scans = (is(Class::TcpSyn) | is(Class::Udp)).into();
        if A::VERSION == Version::V4 {
            rest.probes = is(Class::TcpSyn).into();
        }
        rest.destinations
            .insert(&mut rest.destinations_taken, self.destination, of_half);
        rest
    }
}

impl Rest {
    const PLACES: usize = 12;

    /// Whether its source is known to have been at a place.
    #[inline]
    pub(super) fn knows(&self, place: Place) -> bool {
        // All of them, whatever is taken: no branch for each, and free ones are none.
        let places = self.places.iter();
        places.fold(false, |known, kept| known | (kept.place() == place))
    }

    /// As [`Line::visit`].
    #[inline(always)]
    pub(super) fn visit(&mut self, place: Place, packets: u32) -> Visits {
        // All of them, as above: where it is not, nothing is added.
        let places = self.places.iter_mut();
        let visits = places.map(|kept| kept.add_at(place, packets));
        visits.fold(Visits::default(), Visits::or)
    }

    /// Whether there are more destinations than are kept themselves.
    #[inline]
    pub(super) fn has_many_destinations(&self) -> bool {
        self.destinations_taken.are_many()
    }

    #[inline(always)]
    pub(super) fn count(&mut self, packet: &Packet, seed: &Seed) {
        let scan = matches!(packet.class, Class::TcpSyn | Class::Udp);
        self.scans = self.scans.saturating_add(scan.into());
        let probe = packet.class == Class::TcpSyn && packet.version == Version::V4;
        self.probes = self.probes.saturating_add(probe.into());
        let destination = destination(packet, seed);
        self.destinations
            .insert(&mut self.destinations_taken, destination, of_half);
    }

    /// Adds another of the same source, but for places and ports.
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            destinations,
            scans,
            probes,
            ports: _,
            destinations_taken,
            ports_taken: _,
            places: _,
        } = self;
        *scans = scans.saturating_add(other.scans);
        *probes = probes.saturating_add(other.probes);
        destinations.merge(
            destinations_taken,
            (&other.destinations, other.destinations_taken),
            of_half,
        );
    }
}

/// The port of a place that counts as one of a scan: those of `tcp_syn` and `udp`.
pub(super) fn scanned(place: Place) -> Option<u32> {
    let (table, port) = place.get()?;
    matches!(table, PortTable::TcpSyn | PortTable::Udp).then_some(port.into())
}
