//! What becomes of a counted packet: a record, a frame, or nothing.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_DROP, XDP_REDIRECT},
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_ns,
        generated::{bpf_jiffies64, bpf_xdp_adjust_meta},
    },
    programs::XdpContext,
};
use darknet_ebpf::{
    Cell, Header, Metadata, Packet,
    abi::{Cursor, Walked, delivery},
    networks::{Grain, NetworkKey},
};

use crate::{
    atomic::Shared,
    maps::{
        CURSORS, DELIVERY, IN_ORDER, NO_METADATA, RECORD_SLOTS, RECORDS, SAMPLE_BELOW,
        SAMPLE_NETWORKS, SEED, SOCKETS,
    },
};

/// A packet that was counted, and where.
pub(crate) struct Counted<'a> {
    pub(crate) walked: &'a Walked,
    pub(crate) epoch: u64,
    pub(crate) processor: u32,
}

impl Counted<'_> {
    /// Hands the packet over, if somebody asked for packets, and says what becomes of the frame
    /// and where the packet ended.
    #[inline(always)]
    pub(crate) fn deliver(&self, context: &XdpContext) -> (u32, Cell) {
        if DELIVERY.load() == delivery::NONE {
            return (XDP_DROP, Cell::NotRequested);
        }
        if is_sampled_out(&self.walked.packet) {
            return (XDP_DROP, Cell::SampledOut);
        }
        let Some(cursor) = CURSORS.get_ptr_mut(self.processor) else {
            return (XDP_DROP, Cell::HeadersFull);
        };
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map. It
        // is this processor's, and programs don't interrupt each other; `tail`, which userspace
        // writes, is read as a volatile word.
        let cursor = unsafe { &mut *cursor };
        if DELIVERY.load() == delivery::FRAMES {
            return self.redirect(context, cursor);
        }
        (XDP_DROP, self.record(cursor))
    }

    /// Writes a record of the packet's headers.
    #[inline(always)]
    fn record(&self, cursor: &mut Cursor) -> Cell {
        let slots = RECORD_SLOTS.load();
        let head = cursor.head;
        if head.wrapping_sub(cursor.seen) >= u64::from(slots) {
            cursor.seen = Shared(&raw mut cursor.tail).load();
            if head.wrapping_sub(cursor.seen) >= u64::from(slots) {
                return Cell::HeadersFull;
            }
        }
        let slot = self.processor * slots + (head as u32 & (slots - 1));
        let Some(record) = RECORDS.get_ptr_mut(slot) else {
            return Cell::HeadersFull;
        };
        let header = Header::new(&self.walked.packet, self.epoch, time(cursor));
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map. The
        // slot is this processor's until `head` has passed it: whoever reads has left it.
        unsafe { record.write(header) };
        let next = in_order(head + 1);
        let head = Shared(&raw mut cursor.head);
        // Pairs with the acquiring load of `head` in `darknet_core::kernel::Ring`.
        if IN_ORDER.load() != 0 {
            head.store(next);
        } else {
            head.add(1);
        }
        Cell::Delivered
    }

    /// Sends the frame to the socket of its queue, with what was found of it before its first
    /// byte where the driver leaves room.
    #[inline(always)]
    fn redirect(&self, context: &XdpContext, cursor: &mut Cursor) -> (u32, Cell) {
        if NO_METADATA.load() == 0 {
            let found = Metadata::new(self.walked, self.epoch, time(cursor));
            leave(context, found);
        }
        // SAFETY: the context is the program's own.
        let queue = unsafe { (*context.ctx).rx_queue_index };
        match SOCKETS.redirect(queue, XDP_DROP.into()) {
            Ok(_) => (XDP_REDIRECT, Cell::Delivered),
            Err(_) => (XDP_DROP, Cell::NoSocket),
        }
    }
}

/// The same number, for which the compiler has to have written all that was written before.
#[inline(always)]
fn in_order(number: u64) -> u64 {
    let mut number = number;
    // SAFETY: changes nothing; that it might read memory is what the compiler has to take it for.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(nostack)) };
    number
}

/// Leaves `found` before the first byte of the frame.
#[inline(always)]
fn leave(context: &XdpContext, found: Metadata) {
    // SAFETY: the context is the program's own.
    let refused =
        unsafe { bpf_xdp_adjust_meta(context.as_ptr().cast(), -(Metadata::LENGTH as i32)) };
    let start = context.metadata();
    if refused == 0 && start + Metadata::LENGTH <= context.metadata_end() {
        // SAFETY: the bytes lie between `data_meta` and `data`, which the kernel keeps writable
        // while the program runs. The verifier checks the same.
        unsafe { (start as *mut Metadata).write_unaligned(found) };
    }
}

/// Packets of one processor that may share a reading of the clock, which takes as long as all else
/// about a record.
const REUSE: u64 = 15;
/// Nanoseconds between two packets below which they do: 160,000 packets a second.
const BUSY: u64 = 6_250;

/// When a packet came: nanoseconds of the monotonic clock.
///
/// Where packets follow each other closely, up to [`REUSE`] of them have the time of the one
/// before them, but none is older than a tick of the kernel.
#[inline(always)]
fn time(cursor: &mut Cursor) -> u64 {
    // SAFETY: asks for a number, and takes nothing.
    let ticks = unsafe { bpf_jiffies64() };
    cursor.since += 1;
    if cursor.since <= cursor.reuse && cursor.ticks == ticks {
        return cursor.time;
    }
    // SAFETY: as above.
    let time = unsafe { bpf_ktime_get_ns() };
    let is_busy = time.wrapping_sub(cursor.time) < cursor.since * BUSY;
    cursor.reuse = if is_busy { REUSE } else { 0 };
    cursor.since = 0;
    cursor.ticks = ticks;
    cursor.time = time;
    time
}

/// Whether a packet is left out of delivery.
///
/// Each packet that draws for itself is delivered with the same probability, whatever it is. Where
/// networks are drawn, it is the same for each network, over the seeds of all runs, and all that a
/// network sends is delivered or left out.
#[inline(always)]
fn is_sampled_out(packet: &Packet) -> bool {
    if SAMPLE_BELOW.load() == 0 {
        return false;
    }
    let number = if SAMPLE_NETWORKS.load() != 0 {
        let key = NetworkKey::of(packet, Grain::Network);
        (key.hash([SEED[2].load(), SEED[3].load()]) >> 32) as u32
    } else {
        // SAFETY: asks for a number, and takes nothing.
        unsafe { bpf_get_prandom_u32() }
    };
    number >= SAMPLE_BELOW.load()
}
