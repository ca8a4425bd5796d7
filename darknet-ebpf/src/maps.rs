use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuHashMap, RingBuf},
};
use darknet_ebpf::{
    abi::{Counts, NetworkKey, Tally},
    dark::BOUNDARIES,
};

/// Settings: userspace writes them before the program is loaded, the verifier knows them, and
/// code for what is off is not even loaded.
///
/// 1 if every destination is dark that no boundary says otherwise of.
#[unsafe(no_mangle)]
pub(crate) static ANY: Global<u32> = Global::new(0);
/// Boundaries in use.
#[unsafe(no_mangle)]
pub(crate) static DARK_V4_LENGTH: Global<u32> = Global::new(0);
/// Where dark and not dark meet in IPv4.
#[unsafe(no_mangle)]
pub(crate) static DARK_V4: [Global<u32>; BOUNDARIES] = [const { Global::new(0) }; BOUNDARIES];
/// Boundaries in use.
#[unsafe(no_mangle)]
pub(crate) static DARK_V6_LENGTH: Global<u32> = Global::new(0);
/// Where dark and not dark meet in IPv6: the high and the low half of an address.
#[unsafe(no_mangle)]
pub(crate) static DARK_V6: [[Global<u64>; 2]; BOUNDARIES] =
    [const { [const { Global::new(0) }; 2] }; BOUNDARIES];
/// Processors that there can be.
#[unsafe(no_mangle)]
pub(crate) static PROCESSORS: Global<u32> = Global::new(1);
/// 1 if each counted packet goes to the ring as a record.
#[unsafe(no_mangle)]
pub(crate) static RECORDS_ON: Global<u32> = Global::new(0);

/// The epoch: one word that decides the bank for every processor.
#[map]
pub(crate) static STATE: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

// The sizes below are those of one processor; userspace multiplies them.

/// Ledger, classes, tools.
#[map]
pub(crate) static TALLY: Array<Tally> = Array::with_max_entries(2, BPF_F_MMAPABLE);
/// By port.
#[map]
pub(crate) static PORTS: Array<Counts> = Array::with_max_entries(2, BPF_F_MMAPABLE);
/// By ICMP message.
#[map]
pub(crate) static ICMP: Array<Counts> = Array::with_max_entries(2, BPF_F_MMAPABLE);
/// By source network. The kernel keeps one value per processor.
#[map]
pub(crate) static NETWORKS: PerCpuHashMap<NetworkKey, Counts> =
    PerCpuHashMap::with_max_entries(1, 0);
/// Header records.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);
