//! The in-kernel half of the Darknet network telescope: `cargo xtask build-ebpf` builds it, and
//! `darknet-core` embeds what that writes.
//!
//! Order: link and IP header → dark? → filter → transport, class and tools → count → sample →
//! deliver. The rules
//! are those of the library `darknet_ebpf`; here is only what the kernel brings.
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    no_main,
    feature(core_intrinsics, asm_experimental_arch)
)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        internal_features,
        reason = "atomic additions have no stable name on this target"
    )
)]

/// Words that all processors write.
#[cfg(target_arch = "bpf")]
mod atomic;
/// What becomes of a counted packet.
#[cfg(target_arch = "bpf")]
mod deliver;
/// The program's memory: settings, tables, ring.
#[cfg(target_arch = "bpf")]
mod maps;
/// Ports and ICMP messages.
#[cfg(target_arch = "bpf")]
mod ports;
/// Bounds-checked reads from the frame that the driver received.
#[cfg(target_arch = "bpf")]
mod received;
/// Source networks.
#[cfg(target_arch = "bpf")]
mod table;
/// From a frame to an action and a cell of the ledger.
#[cfg(target_arch = "bpf")]
mod telescope;

/// A host has no use for this program; that it compiles there keeps the whole workspace buildable
/// without the BPF toolchain.
#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("darknet-xdp runs in the kernel: build it with cargo xtask build-ebpf");
}
