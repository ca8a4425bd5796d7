/// The memory of one ring, read.
mod reader;

use std::sync::Arc;

use aya::maps::MapData;
use darknet_ebpf::Header;

use super::sys::Words;
use crate::Error;
use reader::{CURSOR, RECORD, Reader};

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
        self.reader().waiting()
    }

    /// Takes up to `most` records, the oldest first, and says how many there were. Their memory is
    /// the program's again when this returns.
    #[inline]
    pub fn take(&mut self, most: usize, record: impl FnMut(Header)) -> usize {
        self.reader().take(most, record)
    }

    #[inline]
    fn reader(&self) -> Reader<'_> {
        let Memory {
            records,
            cursors,
            slots,
        } = &*self.memory;
        let words = *slots as usize * RECORD;
        Reader {
            records: &records.as_slice()[self.processor * words..][..words],
            cursor: &cursors.as_slice()[self.processor * CURSOR..][..CURSOR],
        }
    }
}
