//! A queue for tests, without a socket.

use std::{fs::File, os::fd::AsFd as _};

#[cfg(feature = "stages")]
use super::played::{put, room, take};
use super::{
    exchange::Exchange,
    mmap::RingMemory,
    options::Fragments,
    ring::{Descriptor, Fill, Receive, Ring},
    umem::Umem,
};
use crate::sync::Ordering;

/// As the kernel's: each cursor on a cache line of its own, then the entries.
const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset {
    producer: 0,
    consumer: 64,
    desc: 192,
    flags: 128,
};

/// Two rings and a umem, whose cursors begin at `cursors`.
pub(super) fn exchange(
    ring: u32,
    frames: u32,
    chunk: u32,
    fragments: Fragments,
    cursors: [u32; 2],
) -> Exchange {
    let [receive, fill] =
        [(Descriptor::WORDS, cursors[0]), (1, cursors[1])].map(|(words, cursor)| {
            let memory = RingMemory::anonymous(bytes(ring, words)).expect("memory");
            at(Ring::new(memory, OFFSETS, ring, words), cursor)
        });
    let (umem, _) = Umem::new(frames, chunk, false).expect("memory");
    Exchange::new(Receive::new(receive), Fill::new(fill), umem, fragments)
}

fn bytes(ring: u32, words: usize) -> usize {
    OFFSETS.desc as usize + ring as usize * words * 8
}

/// The ring, empty, at a cursor.
fn at(ring: Ring, cursor: u32) -> Ring {
    for word in [ring.producer, ring.consumer] {
        ring.memory.word(word).store(cursor, Ordering::Relaxed);
    }
    ring
}

/// Two views of one ring's memory, in a file that is in memory only: ours and the kernel's.
pub(super) fn shared(size: u32, words: usize, cursor: u32) -> [Ring; 2] {
    let path = format!(
        "/dev/shm/darknet-xsk-{}-{words}-{cursor}",
        std::process::id()
    );
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let file = file.expect("a file in memory");
    std::fs::remove_file(&path).expect("it is there");
    file.set_len(bytes(size, words) as u64).expect("memory");
    [(); 2].map(|()| {
        let memory = RingMemory::map(file.as_fd(), 0, bytes(size, words)).expect("mapped");
        at(Ring::new(memory, OFFSETS, size, words), cursor)
    })
}

/// Writes a packet into a chunk that was taken.
pub(super) fn write(exchange: &Exchange, address: u64, bytes: &[u8]) {
    // SAFETY: the chunk was taken out of the FILL ring and not put into the RX ring yet.
    unsafe { exchange.umem.chunks().write(address as usize, bytes) };
}

/// A queue without a socket, whose kernel is played.
#[cfg(feature = "stages")]
pub(crate) struct Played(Exchange);

/// An empty one, whose FILL ring is full.
#[cfg(feature = "stages")]
pub(crate) fn played(ring: u32, frames: u32, chunk: u32, fragments: Fragments) -> Played {
    Played(exchange(ring, frames, chunk, fragments, [0; 2]))
}

#[cfg(feature = "stages")]
impl Played {
    /// Takes a chunk, writes a packet so far behind its beginning, metadata before it, and hands it
    /// over. `false` if there is no room.
    pub(crate) fn deliver(&mut self, offset: u64, metadata: &[u8], data: &[u8]) -> bool {
        if room(self.0.receive.ring()) == 0 {
            return false;
        }
        let Some(chunk) = take(self.0.fill.ring()) else {
            return false;
        };
        write(&self.0, chunk + offset - metadata.len() as u64, metadata);
        write(&self.0, chunk + offset, data);
        let descriptor = Descriptor {
            address: chunk + offset,
            length: data.len() as u32,
            continued: false,
        };
        put(self.0.receive.ring(), descriptor)
    }

    pub(crate) fn receive(&mut self, most: u32) -> super::Batch<'_> {
        self.0.refill();
        self.0.receive(most)
    }
}
