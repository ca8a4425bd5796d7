use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::Ebpf;
use darknet_ebpf::{
    Class, Tool,
    abi::{Tally, bank, rows},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    object::array,
    sys::{self, Table, Words},
};
use crate::{
    Error, Ledger,
    aggregate::{Counts, Icmp, Ports, Totals},
};

/// What one bank has counted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BankFigures {
    /// The number of the bank's turn: 0, 1, 2, …
    pub epoch: u64,
    /// Where every packet ended. `observed` is 0: that is for workers to say.
    pub ledger: Ledger,
    /// Classes and tools.
    pub totals: Totals,
    /// Ports.
    pub ports: Ports,
    /// ICMP.
    pub icmp: Icmp,
    /// Source networks, IPv4 /24 and IPv6 /48.
    pub networks: HashMap<IpNet, Counts>,
    /// Packets whose source network found no room.
    pub network_overflow: Counts,
}

/// The tables of the kernel program, two banks of each.
#[derive(Debug)]
pub(super) struct Counters {
    processors: u32,
    state: Words,
    tally: Words,
    ports: Words,
    icmp: Words,
    networks: Table,
}

/// Whether what was read is set to 0.
#[derive(Clone, Copy, PartialEq)]
enum Read {
    AndReset,
    Only,
}

impl Counters {
    pub(super) fn take(loaded: &mut Ebpf, processors: u32) -> Result<Self, Error> {
        let mut words = |name| {
            Words::map(array(loaded, name)?).map_err(|source| Error::System {
                doing: format!("mapping the kernel's table {name}"),
                source,
            })
        };
        let (state, tally, ports, icmp) = (
            words("STATE")?,
            words("TALLY")?,
            words("PORTS")?,
            words("ICMP")?,
        );
        let networks = array(loaded, "NETWORKS")?;
        let networks =
            Table::new(networks, processors as usize).map_err(|source| Error::System {
                doing: "asking for the size of the kernel's table NETWORKS".into(),
                source,
            })?;
        Ok(Self {
            processors,
            state,
            tally,
            ports,
            icmp,
            networks,
        })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state.as_slice()[0].load(Ordering::Relaxed)
    }

    /// Lets the program count in the other bank, and takes what it has counted in this one.
    ///
    /// `&mut`: two of these at once would take the bank from under each other.
    pub(super) fn flip_and_drain(&mut self) -> Result<BankFigures, Error> {
        let epoch = self.epoch();
        // The program reads this word once for each packet, and what it reads is the address that
        // it counts at; Release, so that it finds the bank as the last drain left it.
        self.state.as_slice()[0].store(epoch.wrapping_add(1), Ordering::Release);
        // A program that had read the old epoch may still be counting. Without this, two
        // processors under load lost 5 of 12 million packets to the drain.
        sys::wait_for_programs().map_err(|source| Error::System {
            doing: "waiting for the kernel program (membarrier)".into(),
            source,
        })?;
        self.read(epoch, Read::AndReset)
    }

    /// What the bank in use has counted so far.
    pub(super) fn live(&self) -> Result<BankFigures, Error> {
        self.read(self.epoch(), Read::Only)
    }

    fn read(&self, epoch: u64, read: Read) -> Result<BankFigures, Error> {
        let Self {
            processors,
            state: _,
            tally,
            ports,
            icmp,
            networks,
        } = self;
        let mut figures = BankFigures {
            epoch,
            ..BankFigures::default()
        };
        for processor in 0..*processors {
            let part = bank(epoch) * processors + processor;
            let tally = part_of(tally, part, rows::TALLY as usize * size_of::<Tally>() / 8);
            add_tally(&mut figures, tally, read);
            add_rows(
                figures.ports.rows_mut(),
                part_of(ports, part, rows::PORTS as usize * 2),
                read,
            );
            add_rows(
                figures.icmp.rows_mut(),
                part_of(icmp, part, rows::ICMP as usize * 2),
                read,
            );
        }
        let result = read_networks(networks, bank(epoch), &mut figures.networks, read);
        result.map_err(|source| Error::System {
            doing: "reading the kernel's table of networks".into(),
            source,
        })?;
        Ok(figures)
    }
}

/// One processor's words of one bank.
fn part_of(words: &Words, part: u32, length: usize) -> &[AtomicU64] {
    let start = part as usize * length;
    &words.as_slice()[start..start + length]
}

/// Relaxed is enough: one processor writes the word, and in a drained bank nobody does.
fn word(word: &AtomicU64, read: Read) -> u64 {
    let value = word.load(Ordering::Relaxed);
    if read == Read::AndReset && value != 0 {
        word.store(0, Ordering::Relaxed);
    }
    value
}

fn counts([packets, bytes]: &[AtomicU64; 2], read: Read) -> Counts {
    Counts {
        packets: word(packets, read),
        bytes: word(bytes, read),
    }
}

fn add_rows(sums: &mut [Counts], rows: &[AtomicU64], read: Read) {
    let (rows, _) = rows.as_chunks();
    for (sum, row) in sums.iter_mut().zip(rows) {
        let row = counts(row, read);
        if row.packets != 0 {
            *sum += row;
        }
    }
}

/// Adds the words of a [`Tally`], in the order of its fields.
fn add_tally(figures: &mut BankFigures, words: &[AtomicU64], read: Read) {
    const AT: fn(usize) -> usize = |bytes| bytes / 8;
    let field = |offset: usize, length: usize| &words[AT(offset)..AT(offset) + length];
    let one = |offset: usize| word(&words[AT(offset)], read);
    let counts_at = |offset: usize, length: usize| {
        let (rows, _) = field(offset, length * 2).as_chunks();
        rows.iter().map(move |row| counts(row, read))
    };
    let BankFigures {
        epoch: _,
        ledger,
        totals,
        ports: _,
        icmp: _,
        networks: _,
        network_overflow,
    } = figures;
    ledger.received += one(std::mem::offset_of!(Tally, received));
    ledger.counted += one(std::mem::offset_of!(Tally, counted));
    let cells = field(
        std::mem::offset_of!(Tally, cells),
        darknet_ebpf::Cell::ALL.len(),
    );
    for (cell, count) in darknet_ebpf::Cell::ALL.into_iter().zip(cells) {
        ledger.add(cell, word(count, read));
    }
    let classes = counts_at(std::mem::offset_of!(Tally, classes), Class::ALL.len());
    for (class, count) in Class::ALL.into_iter().zip(classes) {
        totals.add_class(class, count);
    }
    let tools = field(std::mem::offset_of!(Tally, tools), Tool::ALL.len());
    for (tool, count) in Tool::ALL.into_iter().zip(tools) {
        totals.add_tool(tool, word(count, read));
    }
    for overflow in counts_at(std::mem::offset_of!(Tally, network_overflow), 1) {
        *network_overflow += overflow;
    }
}

/// Adds the networks of one bank, and deletes them.
fn read_networks(
    table: &Table,
    bank: u32,
    networks: &mut HashMap<IpNet, Counts>,
    read: Read,
) -> io::Result<()> {
    let mut done = Vec::new();
    table.for_each(|key, values| {
        // The layout of `NetworkKey`: bank, version, six bytes of the address.
        let &[of, version, a, b, c, d, e, f] = key else {
            return;
        };
        if u32::from(of) != bank {
            return;
        }
        done.extend_from_slice(key);
        let network = match version {
            4 => Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), 24).map(IpNet::from),
            _ => {
                let [x, y, z] = [[a, b], [c, d], [e, f]].map(u16::from_be_bytes);
                Ipv6Net::new(Ipv6Addr::new(x, y, z, 0, 0, 0, 0, 0), 48).map(IpNet::from)
            }
        };
        let network = network.expect("24 and 48 are lengths");
        let sum = networks.entry(network).or_default();
        let (values, _) = values.as_chunks::<8>();
        let (values, _) = values.as_chunks::<2>();
        for counts in values {
            let [packets, bytes] = counts.map(u64::from_ne_bytes);
            *sum += Counts { packets, bytes };
        }
    })?;
    match read {
        Read::Only => Ok(()),
        Read::AndReset => table.delete(&done),
    }
}
