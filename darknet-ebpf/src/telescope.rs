use core::{cell::Cell as MemoryCell, ffi::c_void};

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::{bpf_get_smp_processor_id, generated::bpf_loop},
    macros::xdp,
    maps::{LpmTrie, lpm_trie::Key},
    programs::XdpContext,
};
use aya_log_ebpf::warn;
use darknet_ebpf::{
    Cell, Class, Frame, Ip, Link, Malformed, Outer, Version,
    abi::{self, Part, Processor, Walked, bank, note},
    is_dark, outer,
};

use crate::{
    deliver::Counted,
    maps::{
        ANY, DARK_V4, DARK_V4_LENGTH, DARK_V4_PREFIXES, DARK_V6, DARK_V6_LENGTH, DARK_V6_PREFIXES,
        FILTER, FILTER_PASSES, FILTER_V4, FILTER_V6, IDLE, MANY, PARTS, PROCESSORS, STATE,
    },
    ports::Rows,
    received::{First, Whole},
    table,
};

/// For drivers that hand over frames in several buffers, and all others that take it.
#[xdp(frags)]
fn darknet_frags(context: XdpContext) -> u32 {
    run(&context)
}

/// For kernels and drivers that refuse the other.
#[xdp]
fn darknet(context: XdpContext) -> u32 {
    run(&context)
}

#[inline(always)]
fn run(context: &XdpContext) -> u32 {
    // The bank is decided once for each packet, so that all of its counts are in the same.
    let Some((bank, Processor { part, walked })) = Bank::now() else {
        return XDP_PASS;
    };
    part.tally.received += 1;
    let first = First {
        context,
        scratch: MemoryCell::from_mut(&mut part.scratch[0]),
    };
    let mut fate = Fate::of(&first, walked);
    if fate.may_be_cut() && first.has_more() {
        fate = Fate::of(&Whole(first), walked);
    }
    let (action, cell) = match fate {
        Fate::NotIp | Fate::NotDark => (XDP_PASS, Cell::Passed),
        // No destination to compare: dark only where everything is.
        Fate::Unreadable if ANY.load() == 0 => (XDP_PASS, Cell::Passed),
        Fate::Filtered if FILTER_PASSES.load() != 0 => (XDP_PASS, Cell::Filtered),
        Fate::Filtered => (XDP_DROP, Cell::Filtered),
        Fate::Unreadable | Fate::Malformed | Fate::Packet => {
            bank.take(part, context, forgotten(walked))
        }
    };
    part.tally.cells[cell as usize & 15] += 1;
    if part.tally.notes != 0 {
        say(&mut part.tally.notes);
    }
    action
}

/// The same packet, of which compiler and verifier know nothing.
#[inline(always)]
fn forgotten(walked: &Walked) -> &Walked {
    let mut walked = core::ptr::from_ref(walked);
    // SAFETY: nothing is done; but the compiler has to take it that the memory may be another, and
    // reads what it would otherwise know.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) walked, options(nostack)) };
    // SAFETY: it is the reference from above.
    unsafe { &*walked }
}

/// Says in the log what was noted, once in each turn on each processor: the first of these, if it is
/// more than one thing at once.
#[inline(always)]
fn say(notes: &mut u64) {
    if *notes >= note::SAID {
        return;
    }
    if *notes & note::NETWORKS != 0 {
        warn!(
            (),
            "no room for more source networks: they are in the overflow"
        );
    } else if *notes & note::WIDE != 0 {
        warn!(
            (),
            "no room for the counts of a busy port: it is in the overflow"
        );
    } else if *notes & note::RECORDS != 0 {
        warn!(
            (),
            "the ring of header records is full: who reads it is too slow"
        );
    } else {
        warn!((), "no socket on the queue that a frame came by");
    }
    *notes = note::SAID;
}

/// What a frame is, as far as it can be read.
enum Fate {
    /// The link header leads to no IP header.
    NotIp,
    /// There should be an IP header, but there is none to read a destination from.
    Unreadable,
    /// The destination is not dark.
    NotDark,
    /// The destination is dark, and the source on the filter list.
    Filtered,
    /// The destination is dark, and the headers contradict themselves or are cut short.
    Malformed,
    /// The destination is dark.
    Packet,
}

impl Fate {
    /// Leaves the packet, or what is counted instead, in `walked`.
    #[inline(always)]
    fn of<F: Frame>(frame: &F, walked: &mut Walked) -> Self {
        match outer(frame, Link::Ethernet) {
            Outer::NotIp => Self::NotIp,
            Outer::Unreadable => {
                *walked = Walked::MALFORMED;
                Self::Unreadable
            }
            // Each version has code of its own, in which the compiler knows what the other has not.
            Outer::Ip(ip) if ip.version == Version::V4 => Self::of_ip(frame, &ip, walked),
            Outer::Ip(ip) => Self::of_ip(frame, &ip, walked),
        }
    }

    /// As [`of`](Self::of), of a packet with a readable IP header.
    #[inline(always)]
    fn of_ip<F: Frame>(frame: &F, ip: &Ip, walked: &mut Walked) -> Self {
        if !destination_is_dark(ip) {
            return Self::NotDark;
        }
        if is_filtered(ip) {
            return Self::Filtered;
        }
        // Most have nothing to step over, and code of their own, in which places are constants.
        let outcome = match ip.plain() {
            Some(ip) => walked.walk(&ip, frame),
            None => walked.walk(ip, frame),
        };
        match outcome {
            Ok(()) => Self::Packet,
            Err(Malformed) => {
                *walked = Walked::MALFORMED;
                Self::Malformed
            }
        }
    }

    /// Whether it could be otherwise if more of the frame were read.
    #[inline(always)]
    fn may_be_cut(&self) -> bool {
        match self {
            Self::NotIp | Self::Unreadable | Self::Malformed => true,
            Self::NotDark | Self::Filtered | Self::Packet => false,
        }
    }
}

#[inline(always)]
fn destination_is_dark(ip: &Ip) -> bool {
    // Not a comparison, which would be a branch for each packet.
    let any = ANY.load() & 1 == 1;
    match ip.version {
        Version::V4 if MANY.load() != 0 => {
            longest(&DARK_V4_PREFIXES, ip.destination.v4().to_be_bytes()).unwrap_or(any)
        }
        Version::V4 => {
            let boundaries = DARK_V4.iter().take(DARK_V4_LENGTH.load() as usize);
            is_dark(any, boundaries.map(|at| at.load()), ip.destination.v4())
        }
        Version::V6 if MANY.load() != 0 => {
            longest(&DARK_V6_PREFIXES, ip.destination.v6().to_be_bytes()).unwrap_or(any)
        }
        Version::V6 => {
            let boundaries = DARK_V6.iter().take(DARK_V6_LENGTH.load() as usize);
            let address = ip.destination.v6();
            let halves = [(address >> 64) as u64, address as u64];
            is_dark(
                any,
                boundaries.map(|[high, low]| [high.load(), low.load()]),
                halves,
            )
        }
    }
}

#[inline(always)]
fn is_filtered(ip: &Ip) -> bool {
    let found = match ip.version {
        Version::V4 if FILTER[0].load() != 0 => longest(&FILTER_V4, ip.source.v4().to_be_bytes()),
        Version::V6 if FILTER[1].load() != 0 => longest(&FILTER_V6, ip.source.v6().to_be_bytes()),
        _ => None,
    };
    found.is_some()
}

/// A key whose address begins at a multiple of 8 bytes: the compiler stores words, and the verifier
/// takes these on the stack only where they are aligned.
#[repr(C, align(8))]
struct Aligned<const N: usize> {
    _padding: u32,
    key: Key<[u8; N]>,
}

/// What the longest prefix that holds an address says; `None` if none does.
#[inline(always)]
fn longest<const N: usize>(prefixes: &LpmTrie<[u8; N], u32>, address: [u8; N]) -> Option<bool> {
    let key = Aligned {
        _padding: 0,
        key: Key::new(N as u32 * 8, address),
    };
    let value = prefixes.get(&key.key)?;
    Some(*value != 0)
}

/// Where this processor counts in this epoch.
struct Bank {
    epoch: u64,
    processor: u32,
    /// Bank and processor as one number.
    number: u32,
}

impl Bank {
    #[inline(always)]
    fn now() -> Option<(Self, &'static mut Processor)> {
        let state = STATE.get_ptr(0)?;
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map.
        // Userspace stores the word whole.
        let epoch = unsafe { (&raw const (*state).epoch).read_volatile() };
        // SAFETY: asks for a number, and takes nothing.
        let processor = unsafe { bpf_get_smp_processor_id() };
        if IDLE.load() != 0 {
            let mut nothing = 0u32;
            let nothing = (&raw mut nothing).cast();
            // SAFETY: `idle` is what the helper calls, and uses nothing.
            unsafe { bpf_loop(IDLE.load(), idle as *mut c_void, nothing, 0) };
        }
        let number = bank(epoch) * PROCESSORS.load() + processor;
        let part = PARTS.get_ptr_mut(number)?;
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map. No
        // other program writes it: it is this processor's, and programs don't interrupt each other.
        let bank = Self {
            epoch,
            processor,
            number,
        };
        Some((bank, unsafe { &mut *part }))
    }

    /// Counts a packet, hands it over, and says what becomes of its frame and where it ended.
    #[inline(always)]
    fn take(&self, part: &mut Part, context: &XdpContext, walked: &Walked) -> (u32, Cell) {
        self.count(part, walked);
        let counted = Counted {
            walked,
            epoch: self.epoch,
            processor: self.processor,
        };
        let (action, cell) = counted.deliver(context);
        match cell {
            Cell::HeadersFull => part.tally.notes |= note::RECORDS,
            Cell::NoSocket => part.tally.notes |= note::SOCKETS,
            _ => {}
        }
        (action, cell)
    }

    /// Adds a packet to every table that it belongs in.
    #[inline(always)]
    fn count(&self, part: &mut Part, walked: &Walked) {
        let packet = &walked.packet;
        let tally = &mut part.tally;
        tally.counted += 1;
        tally.classes[packet.class as usize & 15].add(packet.bytes);
        tally.marks[usize::from(packet.tools.bits()) % tally.marks.len()] += 1;
        let rows = Rows {
            number: self.number,
            bank: bank(self.epoch),
        };
        for row in [walked.row, walked.other_row] {
            if row != abi::NO_ROW {
                rows.add(part, row, packet.bytes);
            }
        }
        if packet.class != Class::Malformed {
            table::count(part, rows.bank, packet);
        }
    }
}

#[inline(never)]
unsafe extern "C" fn idle(_: u32, _: *mut c_void) -> i64 {
    0
}

/// The kernel asks for one before it lends helpers; those used here are lent to every license.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
