//! What the benches run in front of the telescope, and instead of it: `BPF_PROG_TEST_RUN` repeats
//! one frame, so that every table is as warm as it gets. `vary` gives each run the next source of a
//! list, and calls the program that is measured; the others are floors and peers for it.
//!
//! Each is there twice: a tail call needs both programs to take frames of several buffers, or
//! neither. One of the two is loaded, with tables for its runs alone: one processor at a time.
//! `benches/src/varied.rs` is its other half.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use core::ptr;

    use aya_ebpf::{
        bindings::xdp_action::{XDP_ABORTED, XDP_DROP},
        macros::{map, xdp},
        maps::{Array, PerCpuHashMap, ProgramArray},
        programs::XdpContext,
    };

    /// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): values start at a page, so lines are lines of
    /// the cache, as in the telescope's tables.
    const MAPPED: u32 = 1 << 10;
    /// How many sources there are: a power of two.
    const LENGTH: u32 = 1 << 20;
    /// Where an Ethernet frame with IPv4 has its source, and where that ends.
    const SOURCE: usize = 26;
    const END: usize = SOURCE + 4;

    /// A line of the cache.
    #[repr(C)]
    struct Line([u64; 8]);

    #[repr(C)]
    struct Counts {
        packets: u64,
        bytes: u64,
    }

    /// Lines less one, of a power of two. Set when the program is loaded, as the sizes of `LINES`
    /// and `HASH` are.
    #[unsafe(no_mangle)]
    static MASK: u32 = 0;

    /// How many sources were used.
    #[map]
    static CURSOR: Array<u64> = Array::with_max_entries(1, MAPPED);
    /// Sources in the order of the network.
    #[map]
    static SOURCES: Array<[u8; 4]> = Array::with_max_entries(LENGTH, MAPPED);
    /// The program that is measured.
    #[map]
    static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map]
    static LINES: Array<Line> = Array::with_max_entries(1, MAPPED);
    #[map]
    static HASH: PerCpuHashMap<u64, Counts> = PerCpuHashMap::with_max_entries(1, 0);

    #[xdp]
    fn vary(context: XdpContext) -> u32 {
        next(&context)
    }

    #[xdp(frags)]
    fn vary_frags(context: XdpContext) -> u32 {
        next(&context)
    }

    /// The floor: looks where the source is, and counts nothing.
    #[xdp]
    fn empty(context: XdpContext) -> u32 {
        nothing(&context).unwrap_or(XDP_ABORTED)
    }

    #[xdp(frags)]
    fn empty_frags(context: XdpContext) -> u32 {
        nothing(&context).unwrap_or(XDP_ABORTED)
    }

    /// The least that a counter for each network costs: one line, wherever the network has it.
    #[xdp]
    fn line(context: XdpContext) -> u32 {
        count_line(&context).unwrap_or(XDP_ABORTED)
    }

    #[xdp(frags)]
    fn line_frags(context: XdpContext) -> u32 {
        count_line(&context).unwrap_or(XDP_ABORTED)
    }

    /// The plain way: the kernel's own hash table for each processor.
    #[xdp]
    fn percpu_hash(context: XdpContext) -> u32 {
        count_hash(&context).unwrap_or(XDP_ABORTED)
    }

    #[xdp(frags)]
    fn percpu_hash_frags(context: XdpContext) -> u32 {
        count_hash(&context).unwrap_or(XDP_ABORTED)
    }

    #[inline(always)]
    fn next(context: &XdpContext) -> u32 {
        if vary_source(context).is_some() {
            // SAFETY: nothing is left to be dropped here.
            unsafe { NEXT.tail_call(context, 0) };
        }
        // There is no program, or no room for a source.
        XDP_ABORTED
    }

    #[inline(always)]
    fn vary_source(context: &XdpContext) -> Option<()> {
        let cursor = CURSOR.get_ptr_mut(0)?;
        // SAFETY: the kernel gave the pointer, and one run at a time is all that uses the cursor.
        let cursor = unsafe { &mut *cursor };
        let source = SOURCES.get(*cursor as u32 & (LENGTH - 1))?;
        *cursor += 1;
        let place = place(context)?;
        // SAFETY: four bytes of the packet, as `place` says.
        unsafe { place.write(*source) };
        Some(())
    }

    #[inline(always)]
    fn nothing(context: &XdpContext) -> Option<u32> {
        place(context)?;
        Some(XDP_DROP)
    }

    #[inline(always)]
    fn count_line(context: &XdpContext) -> Option<u32> {
        let network = network(context)?;
        // SAFETY: a static that the loader set before the program was loaded, read as it is then.
        let mask = unsafe { ptr::read_volatile(&raw const MASK) };
        // Fibonacci hashing: the upper half of the product is what is mixed.
        let product = u64::from(network).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let line = LINES.get_ptr_mut((product >> 32) as u32 & mask)?;
        // SAFETY: the kernel gave the pointer, and one run at a time is all that counts.
        let Line([packets, ..]) = unsafe { &mut *line };
        *packets += 1;
        Some(XDP_DROP)
    }

    #[inline(always)]
    fn count_hash(context: &XdpContext) -> Option<u32> {
        let network = u64::from(network(context)?);
        let bytes = (context.data_end() - context.data()) as u64;
        if let Some(counts) = HASH.get_ptr_mut(&network) {
            // SAFETY: the kernel gave the pointer to this processor's value.
            let counts = unsafe { &mut *counts };
            counts.packets += 1;
            counts.bytes += bytes;
        } else {
            let first = Counts { packets: 1, bytes };
            HASH.insert(&network, &first, 0).ok()?;
        }
        Some(XDP_DROP)
    }

    /// The source /24 as a number.
    #[inline(always)]
    fn network(context: &XdpContext) -> Option<u32> {
        // SAFETY: four bytes of the packet, as `place` says.
        let source = unsafe { place(context)?.read() };
        Some(u32::from_be_bytes(source) >> 8)
    }

    /// Where the source is, if the packet has that much.
    #[inline(always)]
    fn place(context: &XdpContext) -> Option<*mut [u8; 4]> {
        let start = context.data();
        (start + END <= context.data_end()).then_some((start + SOURCE) as *mut [u8; 4])
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
