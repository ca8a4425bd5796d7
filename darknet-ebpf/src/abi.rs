use crate::{
    class::Class,
    frame::Frame,
    ledger::Cell,
    networks::{
        Slot, WideKey,
        rows::{FRONT, STAGE},
    },
    packet::{Ip, Malformed, Packet, Version},
    tool::{Tool, is_same},
};

/// A table of packets by port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PortTable {
    /// SYNs by destination port.
    TcpSyn = 0,
    /// TCP backscatter by source port: the service under attack.
    TcpBackscatter = 1,
    /// TCP backscatter by destination port, so that all TCP by destination port can be added up.
    TcpBackscatterDestination = 2,
    /// Other TCP by destination port.
    TcpOther = 3,
    /// UDP by destination port.
    Udp = 4,
}

impl PortTable {
    /// Every table, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::TcpSyn,
        Self::TcpBackscatter,
        Self::TcpBackscatterDestination,
        Self::TcpOther,
        Self::Udp,
    ];

    /// The name in tables and JSON: the class, or `tcp_backscatter_destination`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpSyn => Class::TcpSyn.name(),
            Self::TcpBackscatter => Class::TcpBackscatter.name(),
            Self::TcpBackscatterDestination => "tcp_backscatter_destination",
            Self::TcpOther => Class::TcpOther.name(),
            Self::Udp => Class::Udp.name(),
        }
    }

    /// The table of a packet and its port there; a packet of TCP backscatter is in a second one.
    #[inline(always)]
    pub const fn of(packet: &Packet) -> [Option<(Self, u16)>; 2] {
        let Packet {
            source_port: from,
            destination_port: to,
            ..
        } = *packet;
        match packet.class {
            Class::TcpSyn => [Some((Self::TcpSyn, to)), None],
            Class::TcpBackscatter => [
                Some((Self::TcpBackscatter, from)),
                Some((Self::TcpBackscatterDestination, to)),
            ],
            Class::TcpOther => [Some((Self::TcpOther, to)), None],
            Class::Udp => [Some((Self::Udp, to)), None],
            Class::Icmp
            | Class::IcmpBackscatter
            | Class::Fragment
            | Class::Malformed
            | Class::Other => [None; 2],
        }
    }
}

/// What ICMP and ICMPv6 are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct IcmpKey {
    /// Which IP it came in.
    pub version: Version,
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: u8,
}

impl IcmpKey {
    /// The key of a packet, if it is ICMP.
    #[inline(always)]
    pub const fn of(packet: &Packet) -> Option<Self> {
        match packet.class {
            Class::Icmp | Class::IcmpBackscatter => Some(Self {
                version: packet.version,
                kind: packet.icmp_type,
                code: packet.icmp_code,
            }),
            _ => None,
        }
    }
}

/// Packets, and their bytes by the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// How many packets.
    pub packets: u64,
    /// IPv4 total lengths, IPv6 payload lengths + 40, added up.
    pub bytes: u64,
}

impl Counts {
    /// One packet more.
    #[inline(always)]
    pub const fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// The state of a telescope: its first word decides where every processor counts.
///
/// The program reads `epoch` alone; the others are for a process that takes over what another
/// has left pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// The number of the turn: 0, 1, 2, … Its parity is the bank.
    pub epoch: u64,
    /// [`State::LAYOUT`].
    pub layout: u64,
    /// Every turn before this has been handed over, and its bank is clean or may be cleaned.
    pub handed_over: u64,
    /// Where the window begins that holds what has not been handed over: nanoseconds since 1970.
    pub begun: u64,
    /// A hash of what is dark: another process may have said something else.
    pub dark: u64,
}

impl State {
    /// The number of this layout of all tables: whoever changes a layout changes it.
    pub const LAYOUT: u64 = 6;
}

/// Which bank an epoch counts in: there are two, and they take turns.
#[inline(always)]
pub const fn bank(epoch: u64) -> u32 {
    (epoch & 1) as u32
}

/// Rows of one processor in one bank: the ports of every [`PortTable`], `table << 16 | port`, then
/// ICMP and ICMPv6, `type << 8 | code`. Each is a [`Packed`](crate::packed::Packed).
///
/// The array of these is indexed `(bank * processors + processor) * ROWS + row`.
pub const ROWS: u32 = ICMP_ROWS + (2 << 16);
/// Where the rows of ICMP begin.
pub const ICMP_ROWS: u32 = (PortTable::ALL.len() as u32) << 16;

/// The row of a port.
#[inline(always)]
pub const fn port_row(table: PortTable, port: u16) -> u32 {
    (table as u32) << 16 | port as u32
}

/// The row of an ICMP message.
#[inline(always)]
pub const fn icmp_row(key: IcmpKey) -> u32 {
    let table = matches!(key.version, Version::V6) as u32;
    ICMP_ROWS + (table << 16 | (key.kind as u32) << 8 | key.code as u32)
}

/// The row of a packet, of its port or its ICMP message, and the other row of TCP backscatter; or
/// [`NO_ROW`].
///
/// As [`PortTable::of`] and [`IcmpKey::of`] have it, by arithmetic: the classes of packets come in no order,
/// so that a processor would guess many branches wrong.
#[inline(always)]
pub const fn rows(packet: &Packet) -> (u32, u32) {
    /// The number of each class's table, or that of [`NO_ROW`]: four bits each.
    const TABLES: u64 = {
        let mut tables = 0;
        let mut at = 0;
        while at < Class::ALL.len() {
            let packet = Packet {
                class: Class::ALL[at],
                ..Packet::MALFORMED
            };
            let row = match (PortTable::of(&packet), IcmpKey::of(&packet)) {
                ([Some((table, port)), _], _) => port_row(table, port),
                (_, Some(message)) => icmp_row(message),
                _ => NO_ROW,
            };
            tables |= ((row >> 16) as u64) << (4 * at);
            at += 1;
        }
        tables
    };
    let mut table = (TABLES >> (4 * packet.class as u64)) as u32 & 15;
    if matches!(packet.version, Version::V6) && table == ICMP_ROWS >> 16 {
        table += 1;
    }
    // All ones, or 0.
    let is_backscatter = is_same(packet.class as u32, Class::TcpBackscatter as u32) as u32;
    let is_backscatter = is_backscatter.wrapping_neg();
    let (from, to) = (packet.source_port as u32, packet.destination_port as u32);
    let port = to ^ ((to ^ from) & is_backscatter);
    // Ports are 0 where there is a message, and the other way round; where there is none of both, both are.
    let message = (packet.icmp_type as u32) << 8 | packet.icmp_code as u32;
    let other = port_row(
        PortTable::TcpBackscatterDestination,
        packet.destination_port,
    );
    (
        table << 16 | port | message,
        NO_ROW ^ ((NO_ROW ^ other) & is_backscatter),
    )
}

/// Rows that a processor keeps to itself: 4 KiB.
pub const FRONT_ROWS: usize = 256;

/// The place of a row in the front. The same port of several tables has several.
#[inline(always)]
pub const fn front_row(row: u32) -> usize {
    (row ^ row >> 12) as usize & (FRONT_ROWS - 1)
}

/// Is no row: that of a table that there is not.
pub const NO_ROW: u32 = 15 << 16;

/// What one processor counts in one bank: nobody else writes it.
#[repr(C)]
pub struct Part {
    /// What every packet changes.
    pub tally: Tally,
    /// Networks on their way from `front` to the table that all processors share.
    pub stage: [Slot; STAGE],
    /// The line of the table, of those of both banks, in which each of them looks first.
    pub lines: [u32; STAGE],
    /// Counts on their way from `front_rows` to the rows; a key is the number of a row.
    pub row_stage: [Slot; STAGE],
    /// Rows that packets were for lately.
    pub front_rows: [Slot; FRONT_ROWS],
    /// The program's own, and not on its small stack: the key of a wide counter.
    pub wide: WideKey,
    /// The program's own: what a wide counter begins with, 0.
    pub nothing: Counts,
    /// Counts in `row_stage`.
    pub staged_rows: u64,
    /// The program's own: says nothing; and the rest of the cache line.
    pub scratch: [u64; 3],
    /// Source networks that packets came from lately. Last, as an instruction reaches 32 KiB.
    pub front: [Slot; FRONT],
}

/// What is of one processor in one bank.
///
/// The array of these is indexed `bank * processors + processor`.
#[repr(C)]
pub struct Processor {
    /// The program's own: the packet that is being counted.
    ///
    /// Here and not in registers, so that the verifier forgets what is known of it: it would
    /// otherwise follow each kind of packet to the end of the program.
    pub walked: Walked,
    /// What it counts.
    pub part: Part,
}

/// A packet that was walked.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Walked {
    /// What was found.
    pub packet: Packet,
    /// Where in the frame the IP header begins.
    pub network: u32,
    /// Where in the frame the transport header begins, or what the walk ended at.
    pub transport: u32,
    /// The row that it is counted in: [`rows`].
    pub row: u32,
    /// The other row that it is counted in.
    pub other_row: u32,
}

impl Walked {
    /// The packet that begins with `ip`, or [`Walked::MALFORMED`].
    pub fn of<F: Frame + ?Sized>(ip: &Ip, frame: &F) -> Self {
        let mut walked = Self::MALFORMED;
        match walked.walk(ip, frame) {
            Ok(()) => walked,
            Err(Malformed) => Self::MALFORMED,
        }
    }

    /// Walks the packet that begins with `ip`, in place: each field is written when it is known, not
    /// all of them at the end.
    ///
    /// # Errors
    ///
    /// As [`Ip::walk`]; then this holds anything.
    #[inline(always)]
    pub fn walk<F: Frame + ?Sized>(&mut self, ip: &Ip, frame: &F) -> Result<(), Malformed> {
        let transport = ip.walk(frame, &mut self.packet)?;
        self.network = ip.network as u32;
        self.transport = transport as u32;
        (self.row, self.other_row) = rows(&self.packet);
        Ok(())
    }

    /// What cannot be walked.
    pub const MALFORMED: Self = Self {
        packet: Packet::MALFORMED,
        network: 0,
        transport: 0,
        row: NO_ROW,
        other_row: NO_ROW,
    };
}

/// The figures that every packet changes: eight cache lines.
///
/// The arrays have room for more than there is, a power of two, so that an index is bounded by a
/// mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Packets that entered the program.
    pub received: u64,
    /// Packets for a dark destination.
    pub counted: u64,
    /// By [`Cell`], where packets ended.
    pub cells: [u64; 16],
    /// By [`Tools`](crate::Tools::bits), packets that carry just these marks.
    pub marks: [u64; 1 << Tool::ALL.len()],
    /// By [`Class`].
    pub classes: [Counts; 16],
    /// Packets whose source network found no room in the table of networks.
    pub network_overflow: Counts,
    /// Packets whose port or ICMP message outgrew its row, and found no room in the table for that.
    pub row_overflow: Counts,
    /// Networks in the stage.
    pub staged: u64,
    /// What it is about to say in its log, as bits: [`note`].
    pub notes: u64,
}

/// What is delivered of each counted packet.
pub mod delivery {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// A record of its headers.
    pub const HEADERS: u32 = 1;
    /// The frame, to the AF_XDP socket of its queue.
    pub const FRAMES: u32 = 2;
}

/// Queues of an interface that there can be sockets for.
pub const QUEUES_AT_MOST: u32 = 1024;

/// How far the ring of header records of one processor has been written and read, and the clock of
/// what is delivered there: two cache lines, as two sides write them.
///
/// Records are written at `head % slots` and then `head` is raised; who reads up to `head` raises
/// `tail`. Both count on and never wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Cursor {
    /// Records written: the program's.
    pub head: u64,
    /// The tail that the program has seen last.
    pub seen: u64,
    /// When the clock was read last: nanoseconds of the monotonic clock, and the kernel's ticks.
    pub time: u64,
    /// The kernel's ticks then.
    pub ticks: u64,
    /// Packets since then.
    pub since: u64,
    /// Packets that may go by until the clock is read again, if no tick passes.
    pub reuse: u64,
    /// Up to the end of the cache line.
    pub unused: [u64; 2],
    /// Records read: userspace's.
    pub tail: u64,
    /// Up to the end of the cache line.
    pub unused_too: [u64; 7],
}

/// What the program says in its log: once in each turn on each processor.
pub mod note {
    /// The table of source networks is full.
    pub const NETWORKS: u64 = 1;
    /// The table of wide counters is full.
    pub const WIDE: u64 = 2;
    /// The ring of records is full.
    pub const RECORDS: u64 = 4;
    /// No socket takes the frames of a queue.
    pub const SOCKETS: u64 = 8;
    /// All of them, as they have been said.
    pub const SAID: u64 = 16;
}

// The layout is shared with a program compiled by another compiler: a change shows here first.
const _: () = assert!(size_of::<Packet>() == 48 && align_of::<Packet>() == 4);
const _: () = assert!(NO_ROW >= ROWS && NO_ROW >> 16 == 15);
const _: () = assert!(size_of::<IcmpKey>() == 3);
const _: () = assert!(size_of::<PortTable>() == 1);
const _: () = assert!(size_of::<Counts>() == 16);
const _: () = assert!(size_of::<State>() == 40);
const _: () = assert!(size_of::<Tally>() == 512 && align_of::<Tally>() == 8);
const _: () = assert!(size_of::<Part>().is_multiple_of(64) && align_of::<Part>() == 8);
const _: () = assert!(size_of::<Walked>() == 64);
const _: () = assert!(size_of::<Cursor>() == 128 && core::mem::offset_of!(Cursor, tail) == 64);
const _: () = assert!(Class::ALL.len() <= 16 && Cell::ALL.len() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_port_or_the_message() {
        for (version, class) in [Version::V4, Version::V6]
            .into_iter()
            .flat_map(|version| Class::ALL.map(|class| (version, class)))
        {
            let mut packet = Packet {
                version,
                class,
                ..Packet::MALFORMED
            };
            if PortTable::of(&packet)[0].is_some() {
                (packet.source_port, packet.destination_port) = (0xa1b2, 0xc3d4);
            }
            if IcmpKey::of(&packet).is_some() {
                (packet.icmp_type, packet.icmp_code) = (0xe5, 0xf6);
            }
            let ports =
                PortTable::of(&packet).map(|port| port.map(|(table, port)| port_row(table, port)));
            let message = IcmpKey::of(&packet).map(icmp_row);
            let expected = (ports[0].or(message), ports[1]);
            let is_row = |row| (row != NO_ROW).then_some(row);
            let (row, other) = rows(&packet);
            assert_eq!((is_row(row), is_row(other)), expected, "{packet:?}");
        }
    }

    #[test]
    fn rows_fill_their_tables() {
        let last = IcmpKey {
            version: Version::V6,
            kind: 255,
            code: 255,
        };
        assert_eq!(icmp_row(last), ROWS - 1);
        assert_eq!(port_row(PortTable::Udp, u16::MAX), ICMP_ROWS - 1);
        let places = PortTable::ALL.map(|table| front_row(port_row(table, 443)));
        assert!(
            (1..5).all(|at| !places[..at].contains(&places[at])),
            "{places:?}"
        );
    }
}
