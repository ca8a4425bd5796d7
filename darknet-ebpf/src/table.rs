//! Source networks, exact and bounded: a small front of each processor, which is in its cache,
//! then a stage, then one table for all processors.
//!
//! What the front has no place for goes to the stage. When that is full, the lines of the table
//! that it needs are read once, so that their cache misses overlap, and then counted in.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use darknet_ebpf::{
    Packet,
    abi::{Part, note},
    networks::{
        CLAIMED, Grain, NetworkKey, Slot, WideKey, first_line, front_place, next_line,
        rows::{PAIRS, SLOTS, STAGE},
    },
    packed::Packed,
};

use crate::{
    atomic::Shared,
    maps::{BY_PORT, IN_ORDER, LINES, NETWORKS, SEED, WIDE},
};

/// Counts a packet for its source network.
#[inline(always)]
pub(crate) fn count(part: &mut Part, bank: u32, packet: &Packet) {
    let grain = match BY_PORT.load() {
        0 => Grain::Network,
        _ => Grain::Port,
    };
    let key = NetworkKey::of(packet, grain);
    let one = Slot {
        key: key.key,
        value: Packed::empty(key.code).plus(Packed::one(packet.bytes)),
    };
    if let Some(slot) = part.front[front_place(hash(key))].add(one) {
        stage(part, bank, slot);
    }
}

#[inline(always)]
fn hash(key: NetworkKey) -> u64 {
    key.hash([SEED[0].load(), SEED[1].load()])
}

/// Hands a slot on; with many others, once there are many. Out of the way of what stays in the
/// front, which needs the registers.
#[inline(never)]
fn stage(part: &mut Part, bank: u32, slot: Slot) {
    let at = part.tally.staged as usize & (STAGE - 1);
    part.stage[at] = slot;
    let lines = LINES.load();
    part.lines[at] = bank * lines + first_line(hash(slot.network()), lines);
    if at < STAGE - 1 {
        part.tally.staged = at as u64 + 1;
        return;
    }
    part.tally.staged = 0;
    let mut seen = 0;
    for &line in &part.lines {
        if let Some(line) = NETWORKS.get_ptr(line) {
            // SAFETY: a look-up that succeeded points to a value, which lives as long as its map.
            seen ^= unsafe { (&raw const (*line).0[0].value.0).read_volatile() };
        }
    }
    // Or the reads would be for nothing, and not there.
    part.scratch[0] = seen;
    let mut order = Order { part, bank };
    let order = (&raw mut order).cast();
    // SAFETY: `settle` is what the helper calls, with `order`, which lives until it returns.
    unsafe { bpf_loop(STAGE as u32 / AT_ONCE, settle as *mut c_void, order, 0) };
}

/// Slots that are settled in one call: a call costs as much as a slot.
const AT_ONCE: u32 = 2;

/// Which stage is to be emptied.
#[repr(C)]
struct Order {
    part: *mut Part,
    bank: u32,
}

/// Counts some slots of the stage into the table. Called by the kernel, so that its verifier looks
/// at this once and not once for each turn.
///
/// # Safety
///
/// `order` is an [`Order`].
#[inline(never)]
unsafe extern "C" fn settle(turn: u32, order: *mut c_void) -> i64 {
    // SAFETY: that is what the caller says.
    let &Order { part, bank } = unsafe { &*order.cast() };
    // SAFETY: the stage is this processor's, and the program that called is waiting.
    let part = unsafe { &mut *part };
    let is_full = part.tally.network_overflow.packets != 0;
    // Not a loop: the verifier of Linux 6.1 takes it for one without end.
    settle_one(part, turn * AT_ONCE, bank, is_full);
    settle_one(part, turn * AT_ONCE + 1, bank, is_full);
    0
}

#[inline(always)]
fn settle_one(part: &mut Part, at: u32, bank: u32, is_full: bool) {
    let at = at as usize & (STAGE - 1);
    let slot = part.stage[at];
    let line = part.lines[at];
    if !add(part, slot, line, bank, is_full) {
        let counts = slot.value.counts();
        part.tally.notes |= note::NETWORKS;
        part.tally.network_overflow.packets += counts.packets;
        part.tally.network_overflow.bytes += counts.bytes;
    }
}

/// Adds a slot to the table; `false` if there is no room.
///
/// It is in one of two lines side by side, or in one of the next two, at a distance that is the
/// network's own: full lines don't make their neighbours full. Where `is_full`, there are only the
/// first two, so that a flood of new networks costs no more than others.
#[inline(always)]
fn add(part: &mut Part, slot: Slot, line: u32, bank: u32, is_full: bool) -> bool {
    let mut outcome = add_to_pair(part, slot, line, bank);
    if matches!(outcome, Outcome::Elsewhere) && !is_full {
        let mut search = Search {
            part,
            slot,
            line,
            bank,
            outcome,
        };
        let order = (&raw mut search).cast();
        // SAFETY: `further` is what the helper calls, with `search`, which lives until it returns.
        unsafe { bpf_loop(PAIRS - 1, further as *mut c_void, order, 0) };
        outcome = search.outcome;
    }
    matches!(outcome, Outcome::Added)
}

/// A slot whose place is not in the lines where it belongs first.
#[repr(C)]
struct Search {
    part: *mut Part,
    slot: Slot,
    line: u32,
    bank: u32,
    outcome: Outcome,
}

/// Tries the next two lines; ends the search with 1.
///
/// # Safety
///
/// `search` is a [`Search`].
#[inline(never)]
unsafe extern "C" fn further(_: u32, search: *mut c_void) -> i64 {
    // SAFETY: that is what the caller says, who waits meanwhile.
    let search = unsafe { &mut *search.cast::<Search>() };
    let lines = LINES.load();
    search.line += next_line(hash(search.slot.network()), lines);
    if search.line >= (search.bank + 1) * lines {
        search.line -= lines;
    }
    // SAFETY: it is this processor's, and the program that called is waiting.
    let part = unsafe { &mut *search.part };
    search.outcome = add_to_pair(part, search.slot, search.line, search.bank);
    i64::from(!matches!(search.outcome, Outcome::Elsewhere))
}

#[inline(always)]
fn add_to_pair(part: &mut Part, slot: Slot, line: u32, bank: u32) -> Outcome {
    match add_to_line(part, slot, line, bank) {
        Outcome::Elsewhere => add_to_line(part, slot, line ^ 1, bank),
        outcome => outcome,
    }
}

/// What became of a slot.
#[repr(u32)]
enum Outcome {
    Added,
    /// It outgrew its word, and there is no room for that.
    Lost,
    /// Its place is in another line.
    Elsewhere,
}

#[inline(always)]
fn add_to_line(part: &mut Part, slot: Slot, line: u32, bank: u32) -> Outcome {
    let Some(line) = NETWORKS.get_ptr_mut(line) else {
        return Outcome::Lost;
    };
    for at in 0..SLOTS {
        // SAFETY: as in `stage`, and `at` is a slot of the line.
        let place = unsafe { &raw mut (*line).0[at] };
        // SAFETY: the same.
        let key = Shared(unsafe { &raw mut (*place).key });
        // SAFETY: the same.
        let value = Shared(unsafe { (&raw mut (*place).value).cast() });
        let there = Packed(value.load());
        if there == Packed::default() {
            let claimed = Packed::empty(CLAIMED).0;
            if value.replace(0, claimed) {
                key.store(slot.key);
                // Nobody else writes what is claimed; the key has to be seen before the value is.
                if IN_ORDER.load() != 0 {
                    value.store(slot.value.0);
                } else {
                    value.replace(claimed, slot.value.0);
                }
                return Outcome::Added;
            }
            // Somebody was quicker, perhaps with the same network: two slots of it add up.
        } else if there.code() == slot.value.code() && key.load() == slot.key {
            if there.is_half_full() {
                return match add_wide(part, slot.key, slot.value, bank) {
                    true => Outcome::Added,
                    false => Outcome::Lost,
                };
            }
            let portion = slot.value.uncoded().0;
            value.add(portion);
            // Where the processor may read the key before the value, it may have read the one of
            // another bank's turn.
            if key.load() == slot.key {
                return Outcome::Added;
            }
            value.add(portion.wrapping_neg());
        }
    }
    Outcome::Elsewhere
}

/// Adds what a word of a row (code 0) or a network has no room for; `false` if there is none.
#[inline(always)]
pub(crate) fn add_wide(part: &mut Part, key: u64, word: Packed, bank: u32) -> bool {
    part.wide = WideKey {
        key,
        code: word.code().into(),
        bank,
    };
    let counts = word.counts();
    if WIDE.get_ptr_mut(&part.wide).is_none() {
        // Another processor may have been quicker.
        let _ = WIDE.insert(&part.wide, &part.nothing, 1); // BPF_NOEXIST
    }
    let Some(wide) = WIDE.get_ptr_mut(&part.wide) else {
        return false;
    };
    // SAFETY: a look-up that succeeded points to a value, which nobody deletes while the bank is
    // in use.
    Shared(unsafe { &raw mut (*wide).packets }).add(counts.packets);
    // SAFETY: the same.
    Shared(unsafe { &raw mut (*wide).bytes }).add(counts.bytes);
    true
}
