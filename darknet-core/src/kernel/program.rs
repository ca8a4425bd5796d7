use std::{
    fmt, fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapType, XskMap},
    programs::Xdp,
};
use darknet_ebpf::{
    Header,
    abi::{Cursor, Processor, State},
    networks::Line,
};

use super::{
    Delivery, Records, Settings, attach,
    counters::Counters,
    log::Log,
    object,
    pins::{Pins, Shape},
    refused::{program_refused, refused},
    sizes,
    sys::Link,
};
use crate::Error;

/// A loaded program, and what it counts in.
pub(super) struct Program {
    loaded: Ebpf,
    pub(super) counters: Counters,
    pub(super) records: Option<Records>,
    sockets: XskMap<MapData>,
    pub(super) log: Log,
    /// Bytes that the kernel has set aside for its tables.
    pub(super) memory: u64,
}

impl fmt::Debug for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            loaded: _,
            counters: _,
            records,
            sockets: _,
            log: _,
            memory,
        } = self;
        let mut out = out.debug_struct("Program");
        out.field("records", records).field("memory", memory);
        out.finish_non_exhaustive()
    }
}

/// The tables by name: what a program counts in, what is pinned, and what each has to be.
const TABLES: [(&str, MapType, usize, usize); 7] = [
    ("STATE", MapType::Array, 4, size_of::<State>()),
    ("PARTS", MapType::Array, 4, size_of::<Processor>()),
    ("ROWS", MapType::Array, 4, 8),
    ("NETWORKS", MapType::Array, 4, size_of::<Line>()),
    ("WIDE", MapType::Hash, 16, 16),
    (RECORDS, MapType::Array, 4, size_of::<Header>()),
    (CURSORS, MapType::Array, 4, size_of::<Cursor>()),
];
const RECORDS: &str = "RECORDS";
const CURSORS: &str = "CURSORS";
const SOCKETS: &str = "SOCKETS";

impl Program {
    /// Loads a program that begins with a turn, and pins its tables as a generation: whoever does not
    /// attach it removes that again.
    pub(super) fn load(
        settings: &Settings,
        epoch: u64,
        pins: Option<(&Pins, u64)>,
    ) -> Result<Self, Error> {
        let processors = sizes::processors()?;
        let mut loaded = object::load(settings, processors)?;
        let program = attach::program(&mut loaded, object::FRAGMENTS)?;
        // An old kernel may refuse this one and take the other, which attaching falls back to.
        if attach::ready(program).is_err() {
            let plain = attach::program(&mut loaded, object::PLAIN)?;
            attach::ready(plain).map_err(program_refused)?;
        }
        let counters = Counters::new(|name| again(table(&loaded, name)?))?;
        counters.begin(epoch, &settings.dark);
        let [records, cursors] = [table(&loaded, RECORDS)?, table(&loaded, CURSORS)?];
        let records = Records::map(again(records)?, again(cursors)?)?;
        let memory = loaded
            .maps()
            .map(|(_, map)| memory(map))
            .sum::<Result<u64, _>>()?;
        let log = Log::take(&mut loaded)?;
        let sockets = loaded.take_map(SOCKETS);
        let sockets = sockets.and_then(|map| XskMap::try_from(map).ok());
        let sockets = sockets.ok_or_else(|| missing(SOCKETS))?;
        // Last: whoever is killed, or fails, has pinned tables that can be taken over, or none.
        if let Some((pins, generation)) = pins {
            let maps = TABLES
                .iter()
                .map(|&(name, ..)| Ok((name, table(&loaded, name)?)));
            let maps: Vec<_> = maps.collect::<Result<_, Error>>()?;
            pins.pin_maps(generation, maps)?;
        }
        Ok(Self {
            records: records.filter(|_| settings.delivery == Delivery::Headers),
            sockets,
            counters,
            log,
            memory,
            loaded,
        })
    }

    /// Sends the frames of a queue to a socket that is bound to it.
    pub(super) fn deliver_to(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), Error> {
        self.sockets
            .set(queue, socket.as_raw_fd(), 0)
            .map_err(|error| refused(error.into()))
    }

    /// Attaches it to an interface.
    pub(super) fn attach(
        &mut self,
        interface: &str,
    ) -> Result<(attach::Attachment, &'static str, Link), Error> {
        attach::attach(&mut self.loaded, interface)
    }

    /// Puts it in the place of the program of a link. Says which number it has.
    pub(super) fn replace(&mut self, name: &'static str, link: &Link) -> Result<u32, Error> {
        let program = attach::program(&mut self.loaded, name)?;
        attach::ready(program).map_err(program_refused)?;
        let number = attach::number(program)?;
        let fd = program.fd().map_err(program_refused)?;
        link.update(fd.as_fd()).map_err(|source| Error::System {
            doing: "putting the new kernel program in the place of the old one".into(),
            source,
        })?;
        Ok(number)
    }

    /// The program of a name, or the one that would be tried first.
    pub(super) fn xdp(&self, name: Option<&str>) -> Result<&Xdp, Error> {
        let names = [name.unwrap_or(object::FRAGMENTS), object::PLAIN];
        let programs = names.iter().filter_map(|name| self.loaded.program(name));
        let mut programs = programs.filter_map(|program| <&Xdp>::try_from(program).ok());
        let loaded = programs.find(|program| program.fd().is_ok());
        loaded.ok_or_else(|| Error::KernelObject {
            what: "none of its programs is loaded".into(),
        })
    }
}

fn table<'a>(loaded: &'a Ebpf, name: &str) -> Result<&'a MapData, Error> {
    let map = loaded.map(name).and_then(data);
    map.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    Error::KernelObject {
        what: format!("it has no table {name}"),
    }
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(map) | Map::HashMap(map) | Map::LpmTrie(map) => Some(map),
        _ => None,
    }
}

/// The same map by a descriptor of its own.
fn again(map: &MapData) -> Result<MapData, Error> {
    let descriptor = map.fd().as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|source| Error::System {
        doing: "naming a table of the kernel program twice".into(),
        source,
    })?;
    MapData::from_fd(descriptor).map_err(|error| refused(error.into()))
}

/// Bytes that the kernel has set aside for a map: it says so of the descriptor
/// (`bpf_map_show_fdinfo`, kernel/bpf/syscall.c).
fn memory(map: &Map) -> Result<u64, Error> {
    let Some(map) = data(map) else { return Ok(0) };
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).map_err(|source| Error::System {
        doing: format!("reading {path}"),
        source,
    })?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(bytes
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0))
}

/// What another process has left pinned of a program: its counts, and its records.
pub(super) fn left(pins: &Pins, generation: u64) -> Result<(Counters, Option<Records>), Error> {
    let table = |name: &str| {
        let table = TABLES.iter().find(|table| table.0 == name);
        let &(name, kind, key, value) = table.ok_or_else(|| missing(name))?;
        let shape = Shape {
            kind,
            key: key as u32,
            value: value as u32,
            entries: None,
        };
        pins.open_map(generation, name, &shape)
    };
    let counters = Counters::new(table)?;
    pins.expect_layout(counters.layout(), State::LAYOUT)?;
    let [records, cursors] = [table(RECORDS)?, table(CURSORS)?];
    // Where nobody wanted records, there is room for one.
    let wanted = records.info().is_ok_and(|info| info.max_entries() > 1);
    let records = match wanted {
        true => Records::map(records, cursors)?,
        false => None,
    };
    Ok((counters, records))
}
