use core::cell::Cell as MemoryCell;

use aya_ebpf::{
    bindings::{
        BPF_RB_NO_WAKEUP,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::xdp,
    programs::XdpContext,
};
use darknet_ebpf::{
    Cell, Class, Frame, Header, IcmpKey, Ip, Link, Malformed, Outer, Packet, PortTable, Version,
    abi::{Counts, NetworkKey, Tally, bank, icmp_row, port_row, rows},
    is_dark, outer,
};

use crate::{
    maps::{
        ANY, DARK_V4, DARK_V4_LENGTH, DARK_V6, DARK_V6_LENGTH, ICMP, NETWORKS, PORTS, PROCESSORS,
        RECORDS, RECORDS_ON, STATE, TALLY,
    },
    received::{First, Whole},
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
    let Some(bank) = Bank::now() else {
        return XDP_PASS;
    };
    let Some(tally) = bank.tally() else {
        return XDP_PASS;
    };
    tally.received += 1;
    let first = First {
        context,
        scratch: MemoryCell::from_mut(&mut tally.scratch),
    };
    let mut fate = Fate::of(&first);
    if fate.may_be_cut() && first.has_more() {
        fate = Fate::of(&Whole(first));
    }
    let (action, cell) = match fate {
        Fate::NotIp | Fate::NotDark => (XDP_PASS, Cell::Passed),
        // No destination to compare: dark only where everything is.
        Fate::Unreadable if ANY.load() == 0 => (XDP_PASS, Cell::Passed),
        Fate::Unreadable | Fate::Malformed => (XDP_DROP, bank.take(tally, &Packet::MALFORMED)),
        Fate::Packet(packet) => (XDP_DROP, bank.take(tally, &packet)),
    };
    tally.cells[cell as usize & 15] += 1;
    action
}

/// What a frame is, as far as it can be read.
enum Fate {
    /// The link header leads to no IP header.
    NotIp,
    /// There should be an IP header, but there is none to read a destination from.
    Unreadable,
    /// The destination is not dark.
    NotDark,
    /// The destination is dark, and the headers contradict themselves or are cut short.
    Malformed,
    /// The destination is dark.
    Packet(Packet),
}

impl Fate {
    #[inline(always)]
    fn of<F: Frame>(frame: &F) -> Self {
        match outer(frame, Link::Ethernet) {
            Outer::NotIp => Self::NotIp,
            Outer::Unreadable => Self::Unreadable,
            Outer::Ip(ip) if !destination_is_dark(&ip) => Self::NotDark,
            Outer::Ip(ip) => match ip.packet(frame) {
                Ok(packet) => Self::Packet(packet),
                Err(Malformed) => Self::Malformed,
            },
        }
    }

    /// Whether it could be otherwise if more of the frame were read.
    #[inline(always)]
    fn may_be_cut(&self) -> bool {
        match self {
            Self::NotIp | Self::Unreadable | Self::Malformed => true,
            Self::NotDark | Self::Packet(_) => false,
        }
    }
}

#[inline(always)]
fn destination_is_dark(ip: &Ip) -> bool {
    let any = ANY.load() != 0;
    match ip.version {
        Version::V4 => {
            let boundaries = DARK_V4.iter().take(DARK_V4_LENGTH.load() as usize);
            is_dark(any, boundaries.map(|at| at.load()), ip.destination.v4())
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

/// Where this processor counts in this epoch.
struct Bank {
    epoch: u64,
    /// Bank and processor as one number: which part of each table is ours.
    part: u32,
}

impl Bank {
    #[inline(always)]
    fn now() -> Option<Self> {
        let state = STATE.get_ptr(0)?;
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map.
        // Userspace stores the word whole.
        let epoch = unsafe { state.read_volatile() };
        // SAFETY: asks for a number, and takes nothing.
        let processor = unsafe { bpf_get_smp_processor_id() };
        Some(Self {
            epoch,
            part: bank(epoch) * PROCESSORS.load() + processor,
        })
    }

    #[inline(always)]
    fn tally(&self) -> Option<&'static mut Tally> {
        let tally = TALLY.get_ptr_mut(self.part * rows::TALLY)?;
        // SAFETY: a look-up that succeeded points to a value, which lives as long as its map. No
        // other program writes it: it is this processor's, and programs don't interrupt each other.
        Some(unsafe { &mut *tally })
    }

    /// Counts a packet, hands it over, and says where it ended.
    #[inline(always)]
    fn take(&self, tally: &mut Tally, packet: &Packet) -> Cell {
        self.count(tally, packet);
        deliver(packet, self.epoch)
    }

    /// Adds a packet to every table that it belongs in.
    #[inline(always)]
    fn count(&self, tally: &mut Tally, packet: &Packet) {
        tally.counted += 1;
        tally.classes[packet.class as usize & 15].add(packet.bytes);
        let tools = packet.tools.bits();
        if tools != 0 {
            for (tool, count) in tally.tools.iter_mut().enumerate().take(3) {
                *count += u64::from(tools >> tool & 1);
            }
        }
        for (table, port) in PortTable::of(packet).into_iter().flatten() {
            let row = self.part * rows::PORTS + port_row(table, port);
            add(PORTS.get_ptr_mut(row), packet.bytes);
        }
        if let Some(key) = IcmpKey::of(packet) {
            let row = self.part * rows::ICMP + icmp_row(key);
            add(ICMP.get_ptr_mut(row), packet.bytes);
        }
        if packet.class != Class::Malformed {
            self.network(tally, packet);
        }
    }

    #[inline(always)]
    fn network(&self, tally: &mut Tally, packet: &Packet) {
        let key = NetworkKey::of(packet, bank(self.epoch));
        if add(NETWORKS.get_ptr_mut(&key), packet.bytes) {
            return;
        }
        let mut first = Counts::default();
        first.add(packet.bytes);
        if NETWORKS.insert(&key, &first, 0).is_err() {
            tally.network_overflow.add(packet.bytes);
        }
    }
}

/// Adds a packet to a row; `false` if there is none.
#[inline(always)]
fn add(row: Option<*mut Counts>, bytes: u32) -> bool {
    let Some(row) = row else { return false };
    // SAFETY: as in `Bank::tally`.
    unsafe { &mut *row }.add(bytes);
    true
}

/// Hands the packet over, if somebody asked for packets, and says where it ended.
#[inline(always)]
fn deliver(packet: &Packet, epoch: u64) -> Cell {
    if RECORDS_ON.load() == 0 {
        return Cell::NotRequested;
    }
    let Some(mut record) = RECORDS.reserve::<Header>(0) else {
        return Cell::HeadersFull;
    };
    // SAFETY: asks for a number, and takes nothing.
    let time = unsafe { bpf_ktime_get_ns() };
    record.write(Header::new(packet, epoch, time));
    // Whoever reads polls: waking it for each packet would cost more than the packet.
    record.submit(u64::from(BPF_RB_NO_WAKEUP));
    Cell::Delivered
}

/// The kernel asks for one before it lends helpers; those used here are lent to every license.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
