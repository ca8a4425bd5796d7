use std::{error, hash::BuildHasher as _, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{LpmTrie, lpm_trie::Key},
    programs::ProgramError,
    util::nr_cpus,
};
use darknet_ebpf::{
    Version,
    abi::{Part, ROWS},
    dark::BOUNDARIES,
    networks::Line,
};
use ipnet::IpNet;

use super::{Settings, privilege};
use crate::{Error, FilterAction, SampleOf};

/// The kernel program. `cargo xtask build-ebpf` writes it, and `cargo xtask verify-ebpf` shows
/// that it is what the source says.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("darknet.bpf.o");

/// The program for frames of several buffers, and for all drivers that take it.
pub(super) const FRAGMENTS: &str = "darknet_frags";
/// The program for the others.
pub(super) const PLAIN: &str = "darknet";

/// Banks: one counts while the other is drained.
const BANKS: usize = 2;
/// The smallest ring: a page. Where nobody wants records there is no use for more.
pub(super) const RING_AT_LEAST: u32 = 4096;
/// Rows and networks that there is room for beyond their words. Each has had 2^25 packets or 2^33
/// bytes.
const WIDE: u32 = 4096;
/// What the table of these, and the small ones, take.
const REST: usize = 2 << 20;
/// What a prefix takes in a trie of the kernel.
const PREFIX: usize = 128;
/// All tables, unless the host has many processors or the settings say otherwise.
const MEMORY: usize = 64 << 20;
/// What is left for source networks at least, unless the settings say otherwise.
const NETWORKS: usize = 16 << 20;
/// What is left for source networks at least: below this the table would be a joke.
const NETWORKS_AT_LEAST: usize = 1 << 20;

/// Bytes of all tables but that of networks.
fn others(settings: &Settings, processors: u32) -> usize {
    let parts = BANKS * processors as usize * (size_of::<Part>() + ROWS as usize * 8);
    let records = if settings.records {
        settings.record_bytes as usize
    } else {
        0
    };
    let prefixes = settings.dark.entries().len() + settings.filter.sources().len();
    parts + records + REST + prefixes * PREFIX
}

/// Lines of the table of networks in each bank, such that all tables take the memory that the
/// settings give.
fn lines(settings: &Settings, processors: u32) -> Result<u32, Error> {
    let others = others(settings, processors);
    let memory = settings.memory.unwrap_or(MEMORY.max(others + NETWORKS));
    let networks = memory.saturating_sub(others);
    if networks < NETWORKS_AT_LEAST {
        let least = (others + NETWORKS_AT_LEAST).div_ceil(1 << 20);
        return Err(Error::KernelMemory {
            given: memory >> 20,
            least,
            processors,
        });
    }
    // They are looked through in pairs.
    let pairs = u32::try_from(networks / BANKS / size_of::<Line>() / 2);
    Ok(pairs.unwrap_or(u32::MAX).min(1 << 24) * 2)
}

/// Processors that there can be: the kernel numbers them below this.
pub(super) fn processors() -> Result<u32, Error> {
    let count = nr_cpus().map_err(|(path, source)| Error::System {
        doing: format!("reading {path}"),
        source,
    })?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Makes the maps, and readies the programs with what is known of `settings`.
pub(super) fn load(settings: &Settings, processors: u32) -> Result<Ebpf, Error> {
    let Settings {
        dark,
        filter,
        sample,
        records,
        record_bytes,
        networks_by_port,
        memory: _,
        pins: _,
        idle,
    } = settings;
    let lines = lines(settings, processors)?;
    let flag = u32::from;
    let any = flag(dark.is_any());
    let v4 = dark.boundaries(Version::V4);
    let v6 = dark.boundaries(Version::V6);
    // A few are compared one by one; more are looked up.
    let many = v4.len().max(v6.len()) > BOUNDARIES;
    let (v4, v4_length) = table(&v4, many, |at| at as u32);
    let (v6, v6_length) = table(&v6, many, |at| [(at >> 64) as u64, at as u64]);
    let filters = [Version::V4, Version::V6]
        .map(|version| flag(filter.sources().iter().any(|net| is(net, version))));
    // Every number is below 2^32, which stands for all.
    let below = match sample.one_in.get() {
        1 => 0,
        one_in => ((1u64 << 32) / u64::from(one_in)) as u32,
    };
    let seed: [u64; 4] = std::array::from_fn(|_| std::hash::RandomState::new().hash_one(()) | 1);
    let entries = if many { dark.entries() } else { Vec::new() };
    let prefixes = |version| {
        let dark = entries.iter().filter(|(net, _)| is(net, version));
        (dark.count() as u32).max(1)
    };
    let sources = |version| {
        let filtered = filter.sources().iter().filter(|net| is(net, version));
        (filtered.count() as u32).max(1)
    };
    let [many_flag, passes, of_networks, by_port, records_on] = [
        many,
        filter.action() == FilterAction::Pass,
        sample.of == SampleOf::Networks,
        *networks_by_port,
        *records,
    ]
    .map(flag);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("ANY", &any, true)
        .override_global("MANY", &many_flag, true)
        .override_global("DARK_V4", &v4, true)
        .override_global("DARK_V4_LENGTH", &v4_length, true)
        .override_global("DARK_V6", &v6, true)
        .override_global("DARK_V6_LENGTH", &v6_length, true)
        .override_global("FILTER", &filters, true)
        .override_global("FILTER_PASSES", &passes, true)
        .override_global("SAMPLE_BELOW", &below, true)
        .override_global("SAMPLE_NETWORKS", &of_networks, true)
        .override_global("BY_PORT", &by_port, true)
        .override_global("SEED", &seed, true)
        .override_global("LINES", &lines, true)
        .override_global("PROCESSORS", &processors, true)
        .override_global("RECORDS_ON", &records_on, true)
        .override_global("IDLE", idle, true)
        .map_max_entries("PARTS", BANKS as u32 * processors)
        .map_max_entries("ROWS", (BANKS as u32 * processors).saturating_mul(ROWS))
        .map_max_entries("NETWORKS", BANKS as u32 * lines)
        .map_max_entries("WIDE", WIDE)
        .map_max_entries("DARK_V4_PREFIXES", prefixes(Version::V4))
        .map_max_entries("DARK_V6_PREFIXES", prefixes(Version::V6))
        .map_max_entries("FILTER_V4", sources(Version::V4))
        .map_max_entries("FILTER_V6", sources(Version::V6));
    let ring = if *records { *record_bytes } else { 0 };
    loader.map_max_entries("RECORDS", ring.max(RING_AT_LEAST));
    let mut loaded = loader.load(OBJECT).map_err(refused)?;
    let entries = || entries.iter().map(|&(net, dark)| (net, flag(dark)));
    fill(
        &mut loaded,
        ["DARK_V4_PREFIXES", "DARK_V6_PREFIXES"],
        entries,
    )?;
    let sources = || filter.sources().iter().map(|net| (*net, 1));
    fill(&mut loaded, ["FILTER_V4", "FILTER_V6"], sources)?;
    Ok(loaded)
}

fn is(net: &IpNet, version: Version) -> bool {
    matches!(net, IpNet::V4(_)) == (version == Version::V4)
}

/// Writes prefixes to the tries of the two versions.
fn fill<I: Iterator<Item = (IpNet, u32)>>(
    loaded: &mut Ebpf,
    [v4, v6]: [&'static str; 2],
    entries: impl Fn() -> I,
) -> Result<(), Error> {
    let of_v4 = |(net, value)| match net {
        IpNet::V4(net) => Some((
            Key::new(net.prefix_len().into(), net.addr().octets()),
            value,
        )),
        IpNet::V6(_) => None,
    };
    let of_v6 = |(net, value)| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some((
            Key::new(net.prefix_len().into(), net.addr().octets()),
            value,
        )),
    };
    insert(loaded, v4, entries().filter_map(of_v4))?;
    insert(loaded, v6, entries().filter_map(of_v6))
}

fn insert<const N: usize>(
    loaded: &mut Ebpf,
    name: &'static str,
    entries: impl Iterator<Item = (Key<[u8; N]>, u32)>,
) -> Result<(), Error> {
    let map = loaded.map_mut(name);
    let trie = map.and_then(|map| LpmTrie::try_from(map).ok());
    let mut trie = trie.ok_or_else(|| Error::KernelObject {
        what: format!("it has no trie {name}"),
    })?;
    for (key, value) in entries {
        trie.insert(&key, value, 0)
            .map_err(|error| refused(error.into()))?;
    }
    Ok(())
}

/// Where dark and not dark meet, from the start of a table of the program's size, and how many;
/// none if they are `many`.
fn table<A: Copy + Default>(
    boundaries: &[u128],
    many: bool,
    address: impl Fn(u128) -> A,
) -> ([A; BOUNDARIES], u32) {
    let mut table = [A::default(); BOUNDARIES];
    let boundaries = if many { &[] } else { boundaries };
    for (place, &boundary) in table.iter_mut().zip(boundaries) {
        *place = address(boundary);
    }
    (table, boundaries.len() as u32)
}

/// What it means that maps could not be made or programs not be loaded.
pub(super) fn refused(error: EbpfError) -> Error {
    if let EbpfError::ProgramError(error) = error {
        return program_refused(error);
    }
    if let Some(source) = system_error(&error) {
        if let Some(error) = privilege::missing(&source, "making the kernel program's tables") {
            return error;
        }
        return Error::System {
            doing: format!("making the kernel program's tables ({error})"),
            source,
        };
    }
    Error::KernelObject {
        what: error.to_string(),
    }
}

/// What it means that a program could not be loaded.
pub(super) fn program_refused(error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => privilege::missing(&io_error, "loading the kernel program").unwrap_or_else(|| {
            Error::Refused {
                release: release(),
                source: io_error,
                log: verifier_log.to_string(),
            }
        }),
        error => match system_error(&error) {
            Some(source) => Error::System {
                doing: "loading the kernel program".into(),
                source,
            },
            None => Error::KernelObject {
                what: error.to_string(),
            },
        },
    }
}

/// The system's own error below what a library says about it.
pub(super) fn system_error(error: &(dyn error::Error + 'static)) -> Option<io::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(number) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(io::Error::from_raw_os_error(number));
        }
        at = error.source();
    }
    None
}

/// The kernel that runs, as it calls itself.
fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "unknown".into(), |release| release.trim().into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::{Object as _, ObjectSection as _, ObjectSymbol as _, read::elf::ElfFile64};

    use super::*;

    fn symbols<'a>(file: &ElfFile64<'a>, section: &str) -> BTreeSet<&'a str> {
        let index = file.section_by_name(section).expect(section).index();
        let symbols = file
            .symbols()
            .filter(|symbol| symbol.section_index() == Some(index));
        let global = symbols.filter(|symbol| symbol.is_global());
        global.map(|symbol| symbol.name().expect("text")).collect()
    }

    /// The packaged crate has shipped pointers to objects elsewhere, in other projects.
    #[test]
    fn the_object_is_an_object_with_these_programs_and_tables() {
        assert!(OBJECT.starts_with(b"\x7fELF"));
        let file: ElfFile64<'_> = ElfFile64::parse(OBJECT).expect("an ELF file");
        assert_eq!(file.architecture(), object::Architecture::Bpf);
        assert_eq!(symbols(&file, "xdp.frags"), [FRAGMENTS].into());
        assert_eq!(symbols(&file, "xdp"), [PLAIN].into());
        let tables = [
            "AYA_LOGS",
            "DARK_V4_PREFIXES",
            "DARK_V6_PREFIXES",
            "FILTER_V4",
            "FILTER_V6",
            "NETWORKS",
            "PARTS",
            "RECORDS",
            "ROWS",
            "STATE",
            "WIDE",
        ];
        assert_eq!(symbols(&file, "maps"), tables.into());
        let names: Vec<_> = file
            .sections()
            .filter_map(|section| section.name().ok())
            .collect();
        assert!(
            names.contains(&".BTF") && names.contains(&".BTF.ext"),
            "{names:?}"
        );
        assert!(
            !names.iter().any(|name| name.contains("debug")),
            "{names:?}"
        );
    }

    #[test]
    fn the_object_carries_no_path_of_the_machine_that_built_it() {
        for start in ["/home", "/root", "/usr", "/work", "/tmp", "/build"] {
            let found = OBJECT
                .windows(start.len())
                .position(|bytes| bytes == start.as_bytes());
            assert_eq!(found, None, "{start}");
        }
    }

    /// Bytes of all tables.
    fn memory(settings: &Settings, processors: u32) -> Result<usize, Error> {
        let networks = lines(settings, processors)? as usize * BANKS * size_of::<Line>();
        Ok(others(settings, processors) + networks)
    }

    /// A processor takes 7.0 to 7.1 MiB, as the documentation of the settings says.
    fn assert_mib(bytes: usize, processors: u32, rest: f64) {
        let mib = bytes as f64 / f64::from(1 << 20);
        let [least, most] = [7.0, 7.1].map(|each| rest + f64::from(processors) * each);
        assert!(
            (least..=most).contains(&mib),
            "{mib} of {least} to {most} MiB"
        );
    }

    #[test]
    fn tables_take_64_mib_or_what_many_processors_need() {
        let plain = Settings::default();
        for processors in 1..=6 {
            let memory = memory(&plain, processors).expect("room");
            let unused = (64 << 20) - memory;
            assert!(
                unused < 2 * BANKS * size_of::<Line>(),
                "{processors}: {unused}"
            );
        }
        let records = Settings {
            records: true,
            ..Settings::default()
        };
        assert!(memory(&records, 4).expect("room") <= 64 << 20);
        // 16 MiB for networks, 2 for what is small.
        for processors in [7, 64, 1024] {
            let memory = memory(&plain, processors).expect("room");
            assert_mib(memory, processors, 18.0);
        }
    }

    #[test]
    fn the_least_memory_is_enough_and_less_is_refused() {
        let records = Settings {
            records: true,
            ..Settings::default()
        };
        // 1 MiB for networks, 2 for what is small; a ring of 16.
        for (settings, processors, rest) in [
            (Settings::default(), 4, 3.0),
            (records, 4, 19.0),
            (Settings::default(), 64, 3.0),
        ] {
            let given = |mib: usize| {
                let settings = Settings {
                    memory: Some(mib << 20),
                    ..settings.clone()
                };
                memory(&settings, processors)
            };
            let Err(Error::KernelMemory { least, .. }) = given(0) else {
                panic!("nothing is too little");
            };
            let refused = given(least - 1);
            assert!(
                matches!(refused, Err(Error::KernelMemory { least: again, .. }) if again == least),
                "{refused:?}"
            );
            let memory = given(least).expect("room");
            assert!(memory <= least << 20, "{memory}");
            let [from, to] = [7.0, 7.1].map(|each| rest + f64::from(processors) * each);
            let rounded = from.ceil() as usize..=to.ceil() as usize;
            assert!(rounded.contains(&least), "{least} MiB, not {rounded:?}");
        }
    }

    /// The kernel allows 512 bytes (`MAX_BPF_STACK`), subprograms of the calling one included.
    #[test]
    fn the_programs_leave_room_on_the_stack() {
        let file: ElfFile64<'_> = ElfFile64::parse(OBJECT).expect("an ELF file");
        for section in ["xdp", "xdp.frags"] {
            let code = file.section_by_name(section).expect(section);
            let (instructions, _) = code.data().expect("there").as_chunks::<8>();
            let depth = instructions
                .iter()
                .filter_map(|&[code, registers, low, high, ..]| {
                    // Loads (class 1) from r10 by the source register, stores (2, 3) by the other.
                    let on_stack = match code & 0x07 {
                        1 => registers >> 4 == 10,
                        2 | 3 => registers & 0x0f == 10,
                        _ => false,
                    };
                    on_stack.then(|| -i16::from_le_bytes([low, high]))
                });
            let depth = depth.max().expect("some");
            assert!((1..=448).contains(&depth), "{section}: {depth} bytes");
        }
    }
}
