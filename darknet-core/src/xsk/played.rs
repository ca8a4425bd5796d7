//! The kernel's half of the rings, for tests: as `net/xdp/xsk_queue.h` does it.

use super::ring::{Descriptor, Ring};
use crate::sync::Ordering;

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

/// Takes a chunk out of the FILL ring.
pub(super) fn take(ring: &Ring) -> Option<u64> {
    let address = peek(ring)?;
    leave(ring);
    Some(address)
}

/// The next chunk of the FILL ring: `xskq_cons_peek_addr_unchecked`.
pub(super) fn peek(ring: &Ring) -> Option<u64> {
    let consumer = ring.memory.word(ring.consumer).load(Ordering::Relaxed);
    let producer = ring.memory.word(ring.producer).load(Ordering::Acquire);
    assert!(
        producer.wrapping_sub(consumer) <= ring.size(),
        "never more than it holds"
    );
    let entry = &ring.entries()[ring.index(consumer)];
    (producer != consumer).then(|| entry.load(Ordering::Relaxed))
}

/// Leaves the entry of that chunk: `xskq_cons_release`.
pub(super) fn leave(ring: &Ring) {
    let cursor = ring.memory.word(ring.consumer);
    let consumer = cursor.load(Ordering::Relaxed);
    cursor.store(consumer.wrapping_add(1), Ordering::Release);
}
