use std::{
    mem::offset_of,
    sync::{Arc, atomic::Ordering},
};

use aya::maps::MapData;
use darknet_ebpf::{Header, abi::Cursor};

use super::sys::Words;
use crate::Error;

/// Words of a record, and of a cursor.
const RECORD: usize = size_of::<Header>() / 8;
const CURSOR: usize = size_of::<Cursor>() / 8;

/// The rings through which the kernel program hands over a [`Header`] for each counted packet: one
/// of each processor, in memory that both sides map.
///
/// Nobody is woken up when a record comes: ask again after a moment.
#[derive(Debug)]
pub struct Records {
    rings: Vec<Ring>,
    /// Which is asked next.
    next: usize,
}

/// The ring of one processor. Whoever owns it is the only reader, on a thread of its own if it
/// likes.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
    processor: usize,
}

#[derive(Debug)]
struct Memory {
    records: Words,
    cursors: Words,
    /// Records that a ring holds: a power of two.
    slots: u64,
}

impl Records {
    /// Maps the rings of all processors. `None` if the maps have room for none: nobody wanted
    /// records.
    pub(super) fn map(records: MapData, cursors: MapData) -> Result<Option<Self>, Error> {
        let map = |map, name| {
            Words::map(map).map_err(|source| Error::System {
                doing: format!("mapping the kernel's table {name}"),
                source,
            })
        };
        let memory = Memory {
            cursors: map(cursors, "CURSORS")?,
            records: map(records, "RECORDS")?,
            slots: 0,
        };
        let processors = memory.cursors.as_slice().len() / CURSOR;
        let slots = memory.records.as_slice().len() / RECORD / processors.max(1);
        if !slots.is_power_of_two() {
            return Ok(None);
        }
        let slots = slots as u64;
        let memory = Arc::new(Memory { slots, ..memory });
        let ring = |processor| Ring {
            memory: Arc::clone(&memory),
            processor,
        };
        let rings = (0..processors).map(ring).collect();
        Ok(Some(Self { rings, next: 0 }))
    }

    /// The rings, one for each processor that there can be, to be read by several threads.
    pub fn into_rings(self) -> Vec<Ring> {
        self.rings
    }

    /// The next record, or `None` if there is none now.
    ///
    /// Records of one processor come in the order of its packets; those of several are mixed.
    pub fn poll(&mut self) -> Option<Header> {
        for _ in 0..self.rings.len() {
            let mut found = None;
            self.rings[self.next].take(1, |header| found = Some(header));
            if found.is_some() {
                return found;
            }
            self.next = (self.next + 1) % self.rings.len();
        }
        None
    }
}

impl Ring {
    /// Records that wait now.
    pub fn waiting(&self) -> usize {
        let Memory { cursors, slots, .. } = &*self.memory;
        let cursor = &cursors.as_slice()[self.processor * CURSOR..][..CURSOR];
        let head = cursor[offset_of!(Cursor, head) / 8].load(Ordering::Acquire);
        let tail = cursor[offset_of!(Cursor, tail) / 8].load(Ordering::Relaxed);
        head.wrapping_sub(tail).min(*slots) as usize
    }

    /// Takes up to `most` records, the oldest first, and says how many there were. Their memory is
    /// the program's again when this returns.
    #[inline]
    pub fn take(&mut self, most: usize, mut record: impl FnMut(Header)) -> usize {
        let Memory {
            records,
            cursors,
            slots,
        } = &*self.memory;
        let cursor = &cursors.as_slice()[self.processor * CURSOR..][..CURSOR];
        let [head, tail] =
            [offset_of!(Cursor, head), offset_of!(Cursor, tail)].map(|at| &cursor[at / 8]);
        let slots = *slots as usize;
        let records = &records.as_slice()[self.processor * slots * RECORD..][..slots * RECORD];
        // Acquire: pairs with the program's store of `head`, which follows those of the records
        // (`Counted::record`, darknet-ebpf/src/deliver.rs).
        let head = head.load(Ordering::Acquire);
        let first = tail.load(Ordering::Relaxed);
        // More than the ring holds is no number of records.
        let taken = (head.wrapping_sub(first).min(slots as u64) as usize).min(most);
        for at in 0..taken {
            let slot = (first as usize).wrapping_add(at) & (slots - 1);
            let mut bytes = [0; size_of::<Header>()];
            let words = &records[slot * RECORD..][..RECORD];
            for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            record(Header::from_bytes(&bytes));
        }
        // Release: pairs with the program's look at `tail`, after which it writes over them.
        tail.store(first.wrapping_add(taken as u64), Ordering::Release);
        taken
    }
}
