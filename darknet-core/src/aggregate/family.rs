//! The tables of sources of one IP version, in one logical shard.

use darknet_ebpf::{Packet, PortTable};

use super::{
    Seed,
    source::{Address, Pair, Place, Source},
    sources::Overflow,
    table::{Slot as _, Table},
};

/// The sources of one IP version, and the ports that each was seen at.
#[derive(Clone, Debug)]
pub(super) struct Family<A: Address> {
    pub(super) sources: Table<Source<A>>,
    pub(super) pairs: Table<Pair<A>>,
}

impl<A: Address> Family<A> {
    /// Empty tables that take at most so many bytes.
    pub(super) fn new(sources: usize, pairs: usize) -> Self {
        Self {
            sources: Table::new(sources),
            pairs: Table::new(pairs),
        }
    }

    /// Reads the memory that counting a packet begins with. Something must be done with the
    /// result, so that the reading is not left out.
    #[inline]
    pub(super) fn touch(&self, hash: u32) -> u16 {
        self.sources.first(hash).map_or(0, |slot| slot.classes)
    }

    /// Counts a packet but for the places that have no room with its source: these are `left`,
    /// to be kept by [`keep_pair`](Self::keep_pair). `hash` is that of the source.
    #[inline]
    pub(super) fn count(
        &mut self,
        packet: &Packet,
        hash: u32,
        seed: &Seed,
        mut left: impl FnMut(Pair<A>),
    ) -> Overflow {
        let address = A::of(packet);
        let mut source = self.sources.entry(address, hash, seed);
        let mut overflow = Overflow::default();
        match &mut source {
            Some(source) => {
                source.counts.add(packet.bytes);
                source.classes |= 1 << packet.class as u16;
                source.tools |= packet.tools.bits();
            }
            None => overflow.sources += 1,
        }
        for place in PortTable::of(packet).into_iter().flatten() {
            let place = Place::new(place);
            if !source.as_mut().is_some_and(|source| source.keep(place)) {
                left(Pair { address, place });
            }
        }
        overflow
    }

    /// The slot where the search for a pair with this hash begins, to fetch its memory early.
    #[inline]
    pub(super) fn touch_pair(&self, hash: u32) -> u32 {
        self.pairs.first(hash).map_or(0, |slot| slot.place.0)
    }

    /// Keeps a pair that has no room with its source.
    #[inline]
    pub(super) fn keep_pair(&mut self, pair: Pair<A>, hash: u32, seed: &Seed) -> Overflow {
        let kept = self.pairs.entry((pair.address, pair.place), hash, seed);
        Overflow {
            sources: 0,
            port_hosts: u64::from(kept.is_none()),
        }
    }

    /// Every port at which a source was seen, once for each source.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let kept = self.sources.iter().flat_map(|source| source.places());
        kept.copied()
            .chain(self.pairs.iter().map(|pair| pair.place))
    }

    /// Adds what `other` has counted, as far as there is room.
    pub(super) fn merge(&mut self, other: &mut Self, seed: &Seed) -> Overflow {
        if self.sources.is_empty() && self.pairs.is_empty() {
            std::mem::swap(self, other);
            return Overflow::default();
        }
        let mut overflow = Overflow::default();
        for theirs in other.sources.iter() {
            let Source {
                counts,
                address,
                places: _,
                classes,
                tools,
                taken: _,
            } = *theirs;
            match self
                .sources
                .entry(address, Source::<A>::hash(address, seed) as u32, seed)
            {
                Some(mine) => {
                    mine.counts += counts;
                    mine.classes |= classes;
                    mine.tools |= tools;
                }
                None => overflow.sources += counts.packets,
            }
            for &place in theirs.places() {
                overflow.port_hosts += u64::from(!self.keep(address, place, seed));
            }
        }
        for &Pair { address, place } in other.pairs.iter() {
            overflow.port_hosts += u64::from(!self.keep(address, place, seed));
        }
        overflow
    }

    /// Keeps a place with its source or, where that has no room, as a pair; `false` if there is
    /// no room at all.
    fn keep(&mut self, address: A, place: Place, seed: &Seed) -> bool {
        let source = self.sources.get(address, seed);
        source.is_some_and(|source| source.keep(place)) || self.pairs.insert((address, place), seed)
    }

    pub(super) fn reset(&mut self) {
        let Self { sources, pairs } = self;
        sources.reset();
        pairs.reset();
    }
}
