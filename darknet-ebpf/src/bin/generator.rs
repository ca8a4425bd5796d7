//! The lab's traffic generator: copies frames that userspace rendered into a memory-mapped array
//! to packets, and sends them out of an interface.
//!
//! It runs by `BPF_PROG_TEST_RUN` with live frames, on one CPU and one run at a time. There is one
//! program for each size of slot; the packet comes as long as the slot's room and is cut to the
//! frame's length. `xtask/src/lab` is its other half and has the same layout of slots.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use core::{ffi::c_void, ptr};

    use aya_ebpf::{
        EbpfContext,
        bindings::xdp_action::XDP_ABORTED,
        helpers::{bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
        macros::{map, xdp},
        maps::Array,
        programs::XdpContext,
    };

    /// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): userspace writes the slots in place.
    const MAPPED: u32 = 1 << 10;
    /// `ETH_HLEN`: the kernel makes no shorter packet.
    const SHORTEST: u32 = 14;

    /// A frame and its length. The length comes last, so that the frame is aligned for words.
    #[repr(C)]
    struct Slot<const WORDS: usize> {
        words: [u64; WORDS],
        half_word: u32,
        length: u32,
    }

    impl<const WORDS: usize> Slot<WORDS> {
        /// The longest frame.
        const ROOM: u32 = WORDS as u32 * 8 + 4;
    }

    /// Where the run is.
    #[repr(C)]
    struct Cursor {
        /// The slot to send next.
        next: u64,
        /// Frames handed to the interface.
        made: u64,
    }

    /// The interface to send from, by index. Set when the program is loaded.
    #[unsafe(no_mangle)]
    static INTERFACE: u32 = 0;

    #[map]
    static CURSOR: Array<Cursor> = Array::with_max_entries(1, 0);
    #[map]
    static SMALL: Array<Slot<7>> = Array::with_max_entries(1, MAPPED);
    #[map]
    static MEDIUM: Array<Slot<31>> = Array::with_max_entries(1, MAPPED);
    #[map]
    static LARGE: Array<Slot<255>> = Array::with_max_entries(1, MAPPED);

    /// Frames of up to 60 bytes.
    #[xdp]
    fn small(context: XdpContext) -> u32 {
        send(&context, &SMALL, copy_words).unwrap_or(XDP_ABORTED)
    }

    /// Frames of up to 252 bytes.
    #[xdp]
    fn medium(context: XdpContext) -> u32 {
        send(&context, &MEDIUM, store).unwrap_or(XDP_ABORTED)
    }

    /// Frames of up to 2,044 bytes.
    #[xdp]
    fn large(context: XdpContext) -> u32 {
        send(&context, &LARGE, store).unwrap_or(XDP_ABORTED)
    }

    /// Makes the packet the next slot's frame and sends it; `None` counts nothing.
    #[inline(always)]
    fn send<const WORDS: usize>(
        context: &XdpContext,
        slots: &Array<Slot<WORDS>>,
        copy: impl Fn(&XdpContext, &Slot<WORDS>) -> Option<()>,
    ) -> Option<u32> {
        let cursor = CURSOR.get_ptr_mut(0)?;
        // SAFETY: the kernel gave the pointer, and one run at a time is all that uses the cursor.
        let cursor = unsafe { &mut *cursor };
        let slot = slots.get(cursor.next as u32)?;
        let length = slot.length;
        if !(SHORTEST..=Slot::<WORDS>::ROOM).contains(&length) {
            return None;
        }
        copy(context, slot)?;
        if length < Slot::<WORDS>::ROOM {
            let delta = length as i32 - Slot::<WORDS>::ROOM as i32;
            // SAFETY: the context is the kernel's; no pointer into the packet is used after this.
            if unsafe { bpf_xdp_adjust_tail(context.ctx, delta) } != 0 {
                return None;
            }
        }
        cursor.next += 1;
        cursor.made += 1;
        // SAFETY: a static that the loader set before the program was loaded, read as it is then.
        let interface = unsafe { ptr::read_volatile(&raw const INTERFACE) };
        // SAFETY: takes no pointer.
        Some(unsafe { bpf_redirect(interface, 0) } as u32)
    }

    /// Copies the whole room of a slot, in code without a call.
    #[inline(always)]
    fn copy_words<const WORDS: usize>(context: &XdpContext, slot: &Slot<WORDS>) -> Option<()> {
        let (start, end) = (context.data(), context.data_end());
        if start + Slot::<WORDS>::ROOM as usize > end {
            return None;
        }
        let packet = start as *mut u64;
        for (index, word) in slot.words.iter().enumerate() {
            // SAFETY: checked against the packet's end above; live frames start 256 bytes and a
            // whole number of words behind the start of a page, so words are aligned.
            unsafe { packet.add(index).write(*word) };
        }
        // SAFETY: the same.
        let rest = unsafe { packet.add(WORDS) };
        // SAFETY: the same.
        unsafe { rest.cast::<u32>().write(slot.half_word) };
        Some(())
    }

    /// Copies as much of a slot as the frame is long.
    #[inline(always)]
    fn store<const WORDS: usize>(context: &XdpContext, slot: &Slot<WORDS>) -> Option<()> {
        let frame = (&raw const *slot).cast::<c_void>().cast_mut();
        // The verifier wants to see this bound beside the call.
        let length = slot.length.clamp(SHORTEST, Slot::<WORDS>::ROOM);
        // SAFETY: `frame` has `ROOM` bytes, and the helper only reads them.
        let outcome = unsafe { bpf_xdp_store_bytes(context.as_ptr().cast(), 0, frame, length) };
        (outcome == 0).then_some(())
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
