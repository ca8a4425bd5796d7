//! The kernel's half of the rings, for tests: as `net/xdp/xsk_queue.h` does it.

use std::{fs::File, os::fd::AsFd as _, sync::atomic::Ordering};

use super::{
    exchange::Exchange,
    mmap::RingMemory,
    options::Fragments,
    ring::{Descriptor, Fill, Receive, Ring},
    umem::Umem,
};

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

/// Puts a descriptor into the RX ring: `xskq_prod_reserve_desc`, then `xskq_prod_submit`. `false`
/// if it is full.
pub(super) fn put(ring: &Ring, descriptor: Descriptor) -> bool {
    let producer = ring.memory.word(ring.producer).load(Ordering::Relaxed);
    let consumer = ring.memory.word(ring.consumer).load(Ordering::Acquire);
    if producer.wrapping_sub(consumer) == ring.size() {
        return false;
    }
    let at = ring.index(producer);
    let options = if descriptor.continued {
        libc::XDP_PKT_CONTD
    } else {
        0
    };
    let [a, b, c, d] = descriptor.length.to_ne_bytes();
    let [e, f, g, h] = options.to_ne_bytes();
    ring.entries()[at].store(descriptor.address, Ordering::Relaxed);
    ring.entries()[at + 1].store(
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        Ordering::Relaxed,
    );
    let cursor = ring.memory.word(ring.producer);
    cursor.store(producer.wrapping_add(1), Ordering::Release);
    true
}

/// Room in the RX ring: `xskq_prod_nb_free`.
pub(super) fn room(ring: &Ring) -> u32 {
    let producer = ring.memory.word(ring.producer).load(Ordering::Relaxed);
    let consumer = ring.memory.word(ring.consumer).load(Ordering::Acquire);
    ring.size() - producer.wrapping_sub(consumer)
}

/// Takes a chunk out of the FILL ring: `xskq_cons_peek_addr_unchecked`, then `xskq_cons_release`.
pub(super) fn take(ring: &Ring) -> Option<u64> {
    let consumer = ring.memory.word(ring.consumer).load(Ordering::Relaxed);
    let producer = ring.memory.word(ring.producer).load(Ordering::Acquire);
    assert!(
        producer.wrapping_sub(consumer) <= ring.size(),
        "never more than it holds"
    );
    if producer == consumer {
        return None;
    }
    let address = ring.entries()[ring.index(consumer)].load(Ordering::Relaxed);
    let cursor = ring.memory.word(ring.consumer);
    cursor.store(consumer.wrapping_add(1), Ordering::Release);
    Some(address)
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
