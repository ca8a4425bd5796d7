use std::hint::black_box;

use darknet_ebpf::PortTable;

use super::{
    Aggregate, Distinct, LOOK_AHEAD, Observation,
    distinct::{Estimate, Kept},
    ports,
};

/// Distinct hosts at each port, in a fixed budget: exact where they are few, estimated where they
/// are many.
///
/// Nothing overflows; what gives way is precision. While there is room a port has exact hosts to
/// 1,536 of them, and above that a standard error of 0.6%. When the memory is used up, the
/// precision of all ports is halved, so that each takes half as much; [`precision`](Self::precision)
/// says where it is, and each figure states its error. With 256 MiB every port of one protocol may
/// have any number of hosts at 1.2%, every port of all five tables at 3.4%.
///
/// The figures are a function of the sets of hosts alone: no order, number of workers or way of
/// merging changes them.
///
/// Memory: what [`new`](Self::new) was given (20 MiB at least), and 8 MB whatever the traffic.
///
/// # Examples
///
/// ```
/// use darknet_core::{
///     aggregate::{Aggregate, Observation, PortDistinct, Seed},
///     rules::{Address, Class, Packet, PortTable, Version},
/// };
///
/// let seed = Seed::random();
/// let mut hosts = PortDistinct::new(64 << 20);
/// for source in 0..300 {
///     let packet = Packet {
///         class: Class::TcpSyn,
///         source: Address::from_words([source, 0, 0, 0]),
///         destination_port: 23,
///         ..Packet::MALFORMED
///     };
///     hosts.observe(&Observation::new(packet, 0, &seed));
/// }
/// let telnet = hosts.get(PortTable::TcpSyn, 23);
/// assert_eq!((telnet.count, telnet.error), (300, 0.0));
/// ```
#[derive(Clone, Debug)]
pub struct PortDistinct {
    ports: Box<[Kept]>,
    precision: u8,
    /// Bytes that the ports may take, and that they do.
    memory: usize,
    used: usize,
}

/// The precision of ports as long as there is room.
const FINEST: u8 = 14;

impl PortDistinct {
    /// No hosts yet; they take at most `memory` bytes, and start with none.
    pub fn new(memory: usize) -> Self {
        Self {
            ports: vec![Kept::default(); PortTable::ALL.len() << 16].into(),
            precision: FINEST,
            memory,
            used: 0,
        }
    }

    /// Distinct hosts at a port.
    pub fn get(&self, table: PortTable, port: u16) -> Estimate {
        self.ports[ports::index(table, port)].estimate(self.precision)
    }

    /// Every port that has hosts, by table and number.
    pub fn iter(&self) -> impl Iterator<Item = (PortTable, u16, Estimate)> + '_ {
        let rows = PortTable::ALL
            .into_iter()
            .flat_map(|table| (0..=u16::MAX).map(move |port| (table, port)));
        let rows = rows.zip(&self.ports).filter(|(_, kept)| kept.bytes(0) > 0);
        rows.map(|((table, port), kept)| (table, port, kept.estimate(self.precision)))
    }

    /// The precision that the memory is enough for; see [`Distinct`] for what it means.
    pub fn precision(&self) -> u8 {
        self.precision
    }

    /// Bytes that the hosts take.
    pub fn memory_used(&self) -> usize {
        self.used
    }

    /// Bytes that hosts and the table of ports take, which is as large without hosts.
    pub(super) fn bytes(&self) -> usize {
        self.used + size_of_val(&self.ports[..])
    }

    /// Adds a host to a port by its hash.
    pub(super) fn insert(&mut self, (table, port): (PortTable, u16), hash: u64) {
        self.used += self.ports[ports::index(table, port)].insert(hash, self.precision);
        self.make_room();
    }

    #[inline(never)]
    fn fold(&mut self) {
        self.precision -= 1;
        self.used = 0;
        for kept in &mut self.ports {
            kept.fold(self.precision);
            self.used += kept.bytes(self.precision);
        }
    }

    /// Lowers the precision until there is room.
    #[inline]
    fn make_room(&mut self) {
        while self.used > self.memory && self.precision > *Distinct::PRECISIONS.start() {
            self.fold();
        }
    }

    #[inline]
    fn count(&mut self, batch: &[Observation]) {
        // What each packet needs first is read for all of them, then what it needs next.
        let mut found = [(0_usize, 0_u64); 2 * LOOK_AHEAD];
        let mut places = 0;
        let mut touched = 0;
        for observation in batch {
            for (table, port) in PortTable::of(&observation.packet).into_iter().flatten() {
                let index = ports::index(table, port);
                touched |= u64::from(matches!(self.ports[index], Kept::Registers(_)));
                found[places] = (index, observation.hash());
                places += 1;
            }
        }
        for &(index, hash) in &found[..places] {
            touched |= self.ports[index].touch(hash);
        }
        black_box(touched);
        for &(index, hash) in &found[..places] {
            let grown = self.ports[index].insert(hash, self.precision);
            if grown > 0 {
                self.used += grown;
                self.make_room();
            }
        }
    }
}

impl Aggregate for PortDistinct {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.count(std::slice::from_ref(observation));
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        for batch in batch.chunks(LOOK_AHEAD) {
            self.count(batch);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        while self.precision > other.precision {
            self.fold();
        }
        while other.precision > self.precision {
            other.fold();
        }
        for at in 0..self.ports.len() {
            let theirs = std::mem::take(&mut other.ports[at]);
            let mine = &mut self.ports[at];
            if theirs.bytes(self.precision) == 0 {
                continue;
            }
            if mine.bytes(self.precision) == 0 {
                self.used += theirs.bytes(self.precision);
                *mine = theirs;
            } else {
                self.used += mine.merge(&theirs, self.precision);
            }
            self.make_room();
            while other.precision > self.precision {
                other.fold();
            }
        }
    }

    fn reset(&mut self) {
        self.ports.fill(Kept::default());
        self.precision = FINEST;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests;
