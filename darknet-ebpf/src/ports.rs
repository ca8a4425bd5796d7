//! Ports and ICMP messages: a small front of each processor, then a stage, then its rows.
//!
//! Most packets are for few ports, which stay in the front. The rows of others are in no cache: when the
//! stage is full, those that it needs are read once, so that their misses overlap, and then counted in.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use darknet_ebpf::{
    abi::{self, Part, front_row, note},
    networks::{Slot, rows::STAGE},
    packed::Packed,
};

use crate::{maps::ROWS, table::add_wide};

/// The rows of a processor in a bank.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Rows {
    /// Bank and processor as one number.
    pub(crate) number: u32,
    pub(crate) bank: u32,
}

impl Rows {
    /// Adds a packet to a row.
    #[inline(always)]
    pub(crate) fn add(self, part: &mut Part, row: u32, bytes: u32) {
        let one = Slot {
            key: row.into(),
            value: Packed::one(bytes),
        };
        if let Some(slot) = part.front_rows[front_row(row)].add(one) {
            self.stage(part, slot);
        }
    }

    /// Hands counts on; with many others, once there are many. Out of the way of the others, which
    /// need the registers.
    #[inline(never)]
    fn stage(self, part: &mut Part, slot: Slot) {
        let at = part.staged_rows as usize & (STAGE - 1);
        part.row_stage[at] = slot;
        if at < STAGE - 1 {
            part.staged_rows = at as u64 + 1;
            return;
        }
        part.staged_rows = 0;
        let first = self.number * abi::ROWS;
        let mut seen = 0;
        for slot in &part.row_stage {
            if let Some(row) = ROWS.get_ptr(first + slot.key as u32) {
                // SAFETY: a look-up that succeeded points to a value, which lives as long as its map.
                seen ^= unsafe { (&raw const (*row).0).read_volatile() };
            }
        }
        // Or the reads would be for nothing, and not there.
        part.scratch[0] = seen;
        let mut order = Order { part, rows: self };
        let order = (&raw mut order).cast();
        // SAFETY: `settle` is what the helper calls, with `order`, which lives until it returns.
        unsafe { bpf_loop(STAGE as u32 / AT_ONCE, settle as *mut c_void, order, 0) };
    }

    #[inline(always)]
    fn settle(self, part: &mut Part, at: u32) {
        let slot = part.row_stage[at as usize & (STAGE - 1)];
        let Some(row) = ROWS.get_ptr_mut(self.number * abi::ROWS + slot.key as u32) else {
            return;
        };
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map; the row is
        // this processor's, and programs don't interrupt each other.
        let row = unsafe { &mut *row };
        *row = row.plus(slot.value);
        if !row.is_half_full() {
            return;
        }
        let word = core::mem::take(row);
        if !add_wide(part, slot.key, word, self.bank) {
            let counts = word.counts();
            part.tally.notes |= note::WIDE;
            part.tally.row_overflow.packets += counts.packets;
            part.tally.row_overflow.bytes += counts.bytes;
        }
    }
}

/// Counts that are settled in one call: a call costs as much as some of them.
const AT_ONCE: u32 = 4;

/// Which stage is to be emptied.
#[repr(C)]
struct Order {
    part: *mut Part,
    rows: Rows,
}

/// Counts some of the stage into rows. Called by the kernel, so that its verifier looks at this once and
/// not once for each turn.
///
/// # Safety
///
/// `order` is an [`Order`].
#[inline(never)]
unsafe extern "C" fn settle(turn: u32, order: *mut c_void) -> i64 {
    // SAFETY: that is what the caller says.
    let &Order { part, rows } = unsafe { &*order.cast() };
    // SAFETY: the stage is this processor's, and the program that called is waiting.
    let part = unsafe { &mut *part };
    // Not a loop: the verifier of Linux 6.1 takes it for one without end.
    rows.settle(part, turn * AT_ONCE);
    rows.settle(part, turn * AT_ONCE + 1);
    rows.settle(part, turn * AT_ONCE + 2);
    rows.settle(part, turn * AT_ONCE + 3);
    0
}
