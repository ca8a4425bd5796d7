use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LpmTrie, XskMap},
};
use darknet_ebpf::{
    Header,
    abi::{self, Counts, Cursor, Processor, State},
    dark::BOUNDARIES,
    networks::{Line, WideKey},
    packed::Packed,
};

/// Settings: userspace writes them before the program is loaded, the verifier knows them, and
/// code for what is off is not even loaded.
///
/// 1 if every destination is dark that no boundary or prefix says otherwise of.
#[unsafe(no_mangle)]
pub(crate) static ANY: Global<u32> = Global::new(0);
/// 1 if prefixes are many: they are looked up in `DARK_V4_PREFIXES` and `DARK_V6_PREFIXES`, and
/// there are no boundaries.
#[unsafe(no_mangle)]
pub(crate) static MANY: Global<u32> = Global::new(0);
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
/// 1 if IPv4 sources are looked up in `FILTER_V4`, and 1 if IPv6 sources in `FILTER_V6`.
#[unsafe(no_mangle)]
pub(crate) static FILTER: [Global<u32>; 2] = [const { Global::new(0) }; 2];
/// 1 if filtered packets pass, 0 if they are dropped.
#[unsafe(no_mangle)]
pub(crate) static FILTER_PASSES: Global<u32> = Global::new(0);
/// Packets are delivered whose random number is below this; 0 delivers all.
#[unsafe(no_mangle)]
pub(crate) static SAMPLE_BELOW: Global<u32> = Global::new(0);
/// 1 if the number is one of the source network, 0 if each packet draws its own.
#[unsafe(no_mangle)]
pub(crate) static SAMPLE_NETWORKS: Global<u32> = Global::new(0);
/// 1 if source networks are counted by class and port.
#[unsafe(no_mangle)]
pub(crate) static BY_PORT: Global<u32> = Global::new(0);
/// The seed of hashes: odd numbers, two for the table and two for the sample.
#[unsafe(no_mangle)]
pub(crate) static SEED: [Global<u64>; 4] = [const { Global::new(1) }; 4];
/// Lines of the table of networks in each bank.
#[unsafe(no_mangle)]
pub(crate) static LINES: Global<u32> = Global::new(1);
/// Processors that there can be.
#[unsafe(no_mangle)]
pub(crate) static PROCESSORS: Global<u32> = Global::new(1);
/// What is delivered of counted packets: [`delivery`](darknet_ebpf::abi::delivery).
#[unsafe(no_mangle)]
pub(crate) static DELIVERY: Global<u32> = Global::new(0);
/// Records that the ring of a processor holds: a power of two.
#[unsafe(no_mangle)]
pub(crate) static RECORD_SLOTS: Global<u32> = Global::new(1);
/// 1 if processors see each other's writes in the order in which they were made, as x86 does.
#[unsafe(no_mangle)]
pub(crate) static IN_ORDER: Global<u32> = Global::new(0);
/// 1 if frames are delivered without metadata: for a test.
#[unsafe(no_mangle)]
pub(crate) static NO_METADATA: Global<u32> = Global::new(0);
/// Rounds that are idled between reading the epoch and counting: for a test.
#[unsafe(no_mangle)]
pub(crate) static IDLE: Global<u32> = Global::new(0);

/// The epoch: one word that decides the bank for every processor.
#[map]
pub(crate) static STATE: Array<State> = Array::with_max_entries(1, BPF_F_MMAPABLE);

// The sizes below are set when the program is loaded.

/// What each processor counts in each bank.
#[map]
pub(crate) static PARTS: Array<Processor> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Ports and ICMP messages of each processor in each bank.
#[map]
pub(crate) static ROWS: Array<Packed> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Source networks of all processors, one bank behind the other.
#[map]
pub(crate) static NETWORKS: Array<Line> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Rows and networks that outgrew a word.
#[map]
pub(crate) static WIDE: HashMap<WideKey, Counts> = HashMap::with_max_entries(1, 0);
/// Header records: a ring of each processor, one behind the other.
#[map]
pub(crate) static RECORDS: Array<Header> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// How far the rings have been written and read.
#[map]
pub(crate) static CURSORS: Array<Cursor> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// AF_XDP sockets, by the queue that they are bound to.
#[map]
pub(crate) static SOCKETS: XskMap = XskMap::with_max_entries(abi::QUEUES_AT_MOST, 0);

/// `BPF_F_NO_PREALLOC`, which tries insist on.
const NO_PREALLOC: u32 = aya_ebpf::bindings::BPF_F_NO_PREALLOC;
/// Dark prefixes (1) and excluded ones (0), where they are many.
#[map]
pub(crate) static DARK_V4_PREFIXES: LpmTrie<[u8; 4], u32> =
    LpmTrie::with_max_entries(1, NO_PREALLOC);
/// The same for IPv6.
#[map]
pub(crate) static DARK_V6_PREFIXES: LpmTrie<[u8; 16], u32> =
    LpmTrie::with_max_entries(1, NO_PREALLOC);
/// Sources whose packets are filtered.
#[map]
pub(crate) static FILTER_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, NO_PREALLOC);
/// The same for IPv6.
#[map]
pub(crate) static FILTER_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, NO_PREALLOC);
