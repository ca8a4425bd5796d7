use core::{arch::asm, cell::Cell, intrinsics::is_val_statically_known, mem::offset_of};

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use darknet_ebpf::Frame;

/// Offsets that are read at most. The walk's own limits end before: Ethernet with two tags, IPv6,
/// six extension headers of 2,048 bytes and TCP are 12,370 bytes. The verifier needs a number.
const OFFSET_AT_MOST: usize = 0x3fff;

/// A frame as the driver received it, or its first buffer where it has several: what pointers
/// reach.
pub(crate) struct First<'a> {
    pub(crate) context: &'a XdpContext,
    /// Memory of a map.
    pub(crate) scratch: &'a Cell<u64>,
}

impl First<'_> {
    /// Where the frame begins.
    #[inline(always)]
    fn data(&self) -> usize {
        self.word::<{ offset_of!(xdp_md, data) }>()
    }

    /// Where its first buffer ends.
    #[inline(always)]
    fn data_end(&self) -> usize {
        self.word::<{ offset_of!(xdp_md, data_end) }>()
    }

    /// A pointer of the context, which the kernel makes of a word of four bytes. The compiler would
    /// load such a word here and widen it there, and the verifier allows no shift of a pointer.
    #[inline(always)]
    fn word<const AT: usize>(&self) -> usize {
        let word;
        // SAFETY: reads a field of the context, which is the program's own.
        unsafe {
            asm!(
                "{0} = *(u32 *)({1} + {2})",
                out(reg) word,
                in(reg) self.context.ctx,
                const AT,
                options(pure, readonly, nostack)
            );
        }
        word
    }

    /// Whether the frame goes on in other buffers.
    #[inline(always)]
    pub(crate) fn has_more(&self) -> bool {
        // SAFETY: the context is the program's own.
        let whole = unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) };
        whole > (self.context.data_end() - self.context.data()) as u64
    }
}

/// The same offset, which is [`OFFSET_AT_MOST`] at most, such that the verifier knows.
///
/// A comparison tells it of the register that was compared, on Linux 6.1 not also of
/// the same number on the stack, from where the compiler may take it next.
#[inline(always)]
fn bounded(offset: usize) -> usize {
    if is_val_statically_known(offset) {
        return offset;
    }
    let mut offset = offset;
    // SAFETY: changes a number, and that not: the mask has all bits that it can have.
    unsafe {
        asm!(
            "{0} &= {1}",
            inout(reg) offset,
            const OFFSET_AT_MOST,
            options(pure, nomem, nostack)
        );
    }
    offset
}

impl Frame for First<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > OFFSET_AT_MOST {
            return None;
        }
        let start = self.data() + bounded(offset);
        if start + N > self.data_end() {
            return None;
        }
        // SAFETY: the `N` bytes from `start` lie between `data` and `data_end`, which the kernel
        // keeps readable while the program runs; bytes have no alignment and no invalid value.
        // The verifier checks the same.
        Some(unsafe { *(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        let scratch = self.scratch.as_ptr();
        // SAFETY: the cell's own memory, which nothing else uses meanwhile.
        unsafe { scratch.write_volatile(offset as u64) };
        // The verifier knows nothing of what is read from a map.
        // SAFETY: as above.
        unsafe { scratch.read_volatile() as usize }
    }
}

/// A frame in all of its buffers: the kernel copies out what is read, which takes longer.
pub(crate) struct Whole<'a>(pub(crate) First<'a>);

impl Frame for Whole<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > OFFSET_AT_MOST {
            return None;
        }
        let mut bytes = [0; N];
        // SAFETY: the context is the program's own, and `bytes` has room for `N` bytes. The helper
        // refuses what the frame does not have.
        let failed = unsafe {
            bpf_xdp_load_bytes(
                self.0.context.as_ptr().cast(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (failed == 0).then_some(bytes)
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        self.0.forget(offset)
    }
}
