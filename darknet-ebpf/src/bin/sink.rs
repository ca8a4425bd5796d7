//! The lab's receiver: drops every packet, and counts or keeps it. The counting program is also
//! the bare program that benches compare the telescope with.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use core::ffi::c_void;

    use aya_ebpf::{
        EbpfContext,
        bindings::xdp_action::XDP_DROP,
        helpers::bpf_xdp_load_bytes,
        macros::{map, xdp},
        maps::{PerCpuArray, RingBuf},
        programs::XdpContext,
    };

    /// What one CPU received.
    #[repr(C)]
    struct Counts {
        packets: u64,
        bytes: u64,
        /// Packets that should have been kept, and were not.
        missed: u64,
    }

    /// A kept packet: a whole slot of the ring whatever its length, for simplicity.
    #[repr(C)]
    struct Kept {
        length: u32,
        bytes: [u8; ROOM],
    }

    const ROOM: usize = 2044;

    #[map]
    static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static FRAMES: RingBuf = RingBuf::with_byte_size(4096, 0);

    /// Counts and drops.
    #[xdp]
    fn count(context: XdpContext) -> u32 {
        if let Some(counts) = COUNTS.get_ptr_mut(0) {
            // SAFETY: the kernel gave the pointer to this CPU's element.
            let counts = unsafe { &mut *counts };
            counts.packets += 1;
            counts.bytes += length(&context) as u64;
        }
        XDP_DROP
    }

    /// Counts, keeps and drops.
    #[xdp]
    fn keep(context: XdpContext) -> u32 {
        if let Some(counts) = COUNTS.get_ptr_mut(0) {
            // SAFETY: the kernel gave the pointer to this CPU's element.
            let counts = unsafe { &mut *counts };
            counts.packets += 1;
            counts.bytes += length(&context) as u64;
            if copy(&context).is_none() {
                counts.missed += 1;
            }
        }
        XDP_DROP
    }

    fn length(context: &XdpContext) -> usize {
        context.data_end() - context.data()
    }

    fn copy(context: &XdpContext) -> Option<()> {
        let length = length(context);
        if !(1..=ROOM).contains(&length) {
            return None;
        }
        let mut entry = FRAMES.reserve::<Kept>(0)?;
        let kept = entry.as_mut_ptr();
        // SAFETY: the reserved bytes are ours until they are submitted.
        let bytes = unsafe { &raw mut (*kept).bytes };
        // SAFETY: `bytes` has `ROOM` bytes, and `length` is not above that.
        let outcome = unsafe {
            let context = context.as_ptr().cast();
            bpf_xdp_load_bytes(context, 0, bytes.cast::<c_void>(), length as u32)
        };
        if outcome != 0 {
            entry.discard(0);
            return None;
        }
        // SAFETY: the reserved bytes are ours until they are submitted.
        unsafe { (&raw mut (*kept).length).write(length as u32) };
        entry.submit(0);
        Some(())
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
