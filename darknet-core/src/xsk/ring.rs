//! The two rings of a receiving socket. Each has one writer of entries and one reader; the one half
//! is here, the other in the kernel (`net/xdp/xsk_queue.h`).
//!
//! Cursors count entries since the ring was made and wrap at 2³², after seven minutes at ten million
//! packets a second; the entry is the cursor modulo the ring's size.

use super::mmap::RingMemory;
use crate::sync::{AtomicU64, Ordering};

/// Where a ring is: offsets into its mapping, from `XDP_MMAP_OFFSETS`.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) memory: RingMemory,
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    entries: usize,
    /// A power of two.
    size: u32,
    /// Words in an entry.
    words: usize,
}

impl Ring {
    /// A ring of `size` entries of `words` 64-bit words each.
    ///
    /// # Panics
    ///
    /// If its parts are not all in the mapping: the kernel's offsets are not what they should be.
    pub(super) fn new(
        memory: RingMemory,
        offsets: libc::xdp_ring_offset,
        size: u32,
        words: usize,
    ) -> Self {
        assert!(size.is_power_of_two(), "a power of two");
        let ring = Self {
            memory,
            producer: offsets.producer as usize,
            consumer: offsets.consumer as usize,
            flags: offsets.flags as usize,
            entries: offsets.desc as usize,
            size,
            words,
        };
        for word in [ring.producer, ring.consumer, ring.flags] {
            ring.memory.word(word);
        }
        ring.entries();
        ring
    }

    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    #[inline]
    pub(super) fn entries(&self) -> &[AtomicU64] {
        let words = self.size as usize * self.words;
        self.memory.entries(self.entries, words)
    }

    /// The first word of the entry at a cursor.
    #[inline]
    pub(super) fn index(&self, cursor: u32) -> usize {
        (cursor & (self.size - 1)) as usize * self.words
    }
}

/// What the kernel says about a received frame: `struct xdp_desc` (`include/uapi/linux/if_xdp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Where it begins, in bytes from the start of the umem.
    pub(super) address: u64,
    /// How long it is, in bytes.
    pub(super) length: u32,
    /// Whether the next frame continues the packet: `XDP_PKT_CONTD` (Linux 6.6).
    pub(super) continued: bool,
}

impl Descriptor {
    /// Words of an entry.
    pub(super) const WORDS: usize = size_of::<libc::xdp_desc>() / 8;

    /// From the two words of an entry: the address; length and options, in the order of this
    /// machine.
    #[inline]
    fn from_words(address: u64, rest: u64) -> Self {
        let [a, b, c, d, options @ ..] = rest.to_ne_bytes();
        Self {
            address,
            length: u32::from_ne_bytes([a, b, c, d]),
            continued: u32::from_ne_bytes(options) & libc::XDP_PKT_CONTD != 0,
        }
    }
}

/// The RX ring: the kernel puts descriptors in, we take them out.
#[derive(Debug)]
pub(super) struct Receive {
    ring: Ring,
    /// What we have taken, as the kernel sees it.
    consumer: u32,
    /// What the kernel had put in when we last looked.
    producer: u32,
}

impl Receive {
    pub(super) fn new(ring: Ring) -> Self {
        let consumer = ring.memory.word(ring.consumer).load(Ordering::Relaxed);
        Self {
            ring,
            consumer,
            producer: consumer,
        }
    }

    /// How many descriptors are there, at least `wanted` if the kernel has put in as many.
    #[inline]
    pub(super) fn available(&mut self, wanted: u32) -> u32 {
        if self.known() < wanted {
            self.producer = self.produced();
        }
        self.known()
    }

    /// How many descriptors were there when we last looked.
    #[inline]
    pub(super) fn known(&self) -> u32 {
        let known = self.producer.wrapping_sub(self.consumer);
        // More than the ring holds is no number of this kernel's.
        known.min(self.ring.size)
    }

    /// How many descriptors the kernel has put in, modulo 2³².
    #[inline]
    pub(super) fn produced(&self) -> u32 {
        // Acquire, so that descriptors and packets are read after the cursor: pairs with the
        // release in `__xskq_prod_submit`, which `xsk_flush` (`net/xdp/xsk.c`) calls after
        // `xskq_prod_reserve_desc` has written them.
        let producer = self.ring.memory.word(self.ring.producer);
        producer.load(Ordering::Acquire)
    }

    /// How many descriptors we have taken out, modulo 2³².
    #[inline]
    pub(super) const fn consumed(&self) -> u32 {
        self.consumer
    }

    /// Those from the first untaken one on. What lies beyond [`Receive::available`] is whatever the
    /// kernel left there.
    #[inline]
    pub(super) fn descriptors(&self) -> Descriptors<'_> {
        Descriptors {
            entries: self.ring.entries(),
            ring: &self.ring,
            first: self.consumer,
        }
    }

    /// Takes out so many, which makes room for the kernel.
    #[inline]
    pub(super) fn release(&mut self, count: u32) {
        self.consumer = self.consumer.wrapping_add(count);
        // Release, so that the kernel writes to these entries only after they were read: pairs with
        // the read of `consumer` in `xskq_prod_nb_free`, on which its writes depend.
        let consumer = self.ring.memory.word(self.ring.consumer);
        consumer.store(self.consumer, Ordering::Release);
    }

    pub(super) const fn ring(&self) -> &Ring {
        &self.ring
    }
}

/// Descriptors of the RX ring, read in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors<'a> {
    entries: &'a [AtomicU64],
    ring: &'a Ring,
    first: u32,
}

impl Descriptors<'_> {
    /// The one at `index` from the first.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Descriptor {
        let at = self.ring.index(self.first.wrapping_add(index));
        // The kernel does not write to entries that were not released, and if it did, these would
        // be other numbers, which are checked before they are used.
        let [address, rest] = [at, at + 1].map(|word| self.entries[word].load(Ordering::Relaxed));
        Descriptor::from_words(address, rest)
    }

    /// Whether the packet of the one at `index` goes on in the next.
    #[inline]
    pub(super) fn is_continued(&self, index: u32) -> bool {
        let at = self.ring.index(self.first.wrapping_add(index));
        let rest = self.entries[at + 1].load(Ordering::Relaxed);
        Descriptor::from_words(0, rest).continued
    }
}

/// The FILL ring: we put chunks in, the kernel takes them out to write packets to them.
#[derive(Debug)]
pub(super) struct Fill {
    ring: Ring,
    /// What we have put in, published or not.
    producer: u32,
    /// What the kernel had taken out when we last looked.
    consumer: u32,
}

impl Fill {
    pub(super) fn new(ring: Ring) -> Self {
        let producer = ring.memory.word(ring.producer).load(Ordering::Relaxed);
        let consumer = ring.memory.word(ring.consumer).load(Ordering::Acquire);
        Self {
            ring,
            producer,
            consumer,
        }
    }

    /// How many chunks there is room for, at least `wanted` if the kernel has left as much.
    #[inline]
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        if self.known_room() < wanted {
            // Acquire, so that entries are written after the kernel has read them: pairs with the
            // release in `__xskq_cons_release`, which `xsk_flush` (`net/xdp/xsk.c`) and
            // `xp_alloc_batch` (`net/xdp/xsk_buff_pool.c`) lead to.
            let consumer = self.ring.memory.word(self.ring.consumer);
            self.consumer = consumer.load(Ordering::Acquire);
        }
        self.known_room()
    }

    #[inline]
    fn known_room(&self) -> u32 {
        let held = self.producer.wrapping_sub(self.consumer);
        self.ring.size.saturating_sub(held)
    }

    /// Puts in chunks, at most as many as [`Fill::room`] has found room for.
    #[inline]
    pub(super) fn writer(&mut self) -> Writer<'_> {
        let room = self.known_room();
        Writer {
            entries: self.ring.entries(),
            ring: &self.ring,
            producer: &mut self.producer,
            room,
        }
    }

    /// Lets the kernel have what was put in.
    #[inline]
    pub(super) fn publish(&self) {
        // Release, so that the entries are written before the cursor, and packets in their chunks
        // were read before: pairs with the acquire in `__xskq_cons_peek`, by which
        // `xskq_cons_peek_addr_unchecked` gets the kernel its next chunk.
        let producer = self.ring.memory.word(self.ring.producer);
        producer.store(self.producer, Ordering::Release);
    }

    /// Whether the driver waits to be told of new chunks: `XDP_RING_NEED_WAKEUP`, written by
    /// `xsk_set_rx_need_wakeup` (`net/xdp/xsk.c`).
    ///
    /// A driver may set it just after this; it is looked at again with the next batch, and `poll`
    /// looks for itself (`xsk_poll`).
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        let flags = self.ring.memory.word(self.ring.flags);
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Chunks that the kernel has not taken yet.
    pub(super) fn held(&self) -> u32 {
        let consumer = self.ring.memory.word(self.ring.consumer);
        self.producer.wrapping_sub(consumer.load(Ordering::Relaxed))
    }

    #[cfg(any(test, feature = "stages"))]
    pub(super) const fn ring(&self) -> &Ring {
        &self.ring
    }
}

/// Puts chunks into the FILL ring; the kernel does not see them before [`Fill::publish`].
#[derive(Debug)]
pub(super) struct Writer<'a> {
    entries: &'a [AtomicU64],
    ring: &'a Ring,
    producer: &'a mut u32,
    room: u32,
}

impl Writer<'_> {
    /// Puts in a chunk. `false` if there is no room.
    #[inline]
    pub(super) fn push(&mut self, address: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.entries[self.ring.index(*self.producer)].store(address, Ordering::Relaxed);
        *self.producer = self.producer.wrapping_add(1);
        true
    }
}
