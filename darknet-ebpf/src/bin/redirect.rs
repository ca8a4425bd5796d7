//! The smallest program that feeds AF_XDP sockets: every packet goes to the socket of its queue, and
//! on to the host where there is none. Counts nothing. For tests of the sockets, and what readers of
//! packets are compared with.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        EbpfContext,
        bindings::xdp_action::XDP_PASS,
        helpers::bpf_xdp_adjust_meta,
        macros::{map, xdp},
        maps::XskMap,
        programs::XdpContext,
    };

    /// By queue. `xtask/src/lab/redirect.rs` knows how many.
    #[map]
    static XSKS: XskMap = XskMap::with_max_entries(64, 0);

    /// What `mark` leaves before the packet.
    #[repr(C)]
    struct Mark {
        magic: u64,
        queue: u32,
        length: u32,
    }

    const MAGIC: u64 = u64::from_ne_bytes(*b"darknet!");

    /// Takes packets of several buffers too.
    #[xdp(frags)]
    fn redirect(context: XdpContext) -> u32 {
        send(&context)
    }

    /// For drivers that have no several buffers.
    #[xdp]
    fn redirect_plain(context: XdpContext) -> u32 {
        send(&context)
    }

    /// Leaves metadata before the packet: a mark, the queue, and the length of what lies in the
    /// first buffer. Where there can't be any, the packet goes without.
    #[xdp(frags)]
    fn mark(context: XdpContext) -> u32 {
        let (queue, length) = (queue(&context), context.data_end() - context.data());
        // SAFETY: the context is the program's own.
        let outcome = unsafe {
            let size = size_of::<Mark>() as i32;
            bpf_xdp_adjust_meta(context.as_ptr().cast(), -size)
        };
        let meta = context.metadata();
        if outcome == 0 && meta + size_of::<Mark>() <= context.data() {
            let mark = Mark {
                magic: MAGIC,
                queue,
                length: length as u32,
            };
            // SAFETY: the metadata has room for it, as was just checked, and is aligned to 4 bytes.
            unsafe { (meta as *mut Mark).write_unaligned(mark) };
        }
        send(&context)
    }

    #[inline(always)]
    fn send(context: &XdpContext) -> u32 {
        let sent = XSKS.redirect(queue(context), XDP_PASS.into());
        sent.unwrap_or_else(|otherwise| otherwise)
    }

    #[inline(always)]
    fn queue(context: &XdpContext) -> u32 {
        // SAFETY: the context is the kernel's, and lives as long as the program runs.
        unsafe { (*context.ctx).rx_queue_index }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
