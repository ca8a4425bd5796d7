use std::{error, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData},
    programs::ProgramError,
    util::nr_cpus,
};
use darknet_ebpf::{Version, abi::rows, dark::BOUNDARIES};

use super::{Settings, privilege};
use crate::{Dark, Error};

/// The kernel program. `cargo xtask build-ebpf` writes it, and `cargo xtask verify-ebpf` shows
/// that it is what the source says.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("darknet.bpf.o");

/// The program for frames of several buffers, and for all drivers that take it.
pub(super) const FRAGMENTS: &str = "darknet_frags";
/// The program for the others.
pub(super) const PLAIN: &str = "darknet";

/// Banks: one counts while the other is drained.
const BANKS: u32 = 2;
/// The smallest ring: a page. Where nobody wants records there is no use for more.
const RING_AT_LEAST: u32 = 4096;

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
        records,
        networks,
        record_bytes,
    } = settings;
    let any = u32::from(dark.is_any());
    let records_on = u32::from(*records);
    let (v4, v4_length) = boundaries(dark, Version::V4, |at| at as u32)?;
    let (v6, v6_length) = boundaries(dark, Version::V6, |at| [(at >> 64) as u64, at as u64])?;
    let part = |rows: u32| (BANKS * rows).saturating_mul(processors);
    let ring = if *records {
        (*record_bytes).max(RING_AT_LEAST)
    } else {
        RING_AT_LEAST
    };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("ANY", &any, true)
        .override_global("DARK_V4", &v4, true)
        .override_global("DARK_V4_LENGTH", &v4_length, true)
        .override_global("DARK_V6", &v6, true)
        .override_global("DARK_V6_LENGTH", &v6_length, true)
        .override_global("PROCESSORS", &processors, true)
        .override_global("RECORDS_ON", &records_on, true)
        .map_max_entries("TALLY", part(rows::TALLY))
        .map_max_entries("PORTS", part(rows::PORTS))
        .map_max_entries("ICMP", part(rows::ICMP))
        .map_max_entries("NETWORKS", (*networks).max(1))
        .map_max_entries("RECORDS", ring);
    loader.load(OBJECT).map_err(refused)
}

/// Where dark and not dark meet, from the start of a table of the program's size, and how many.
fn boundaries<A: Copy + Default>(
    dark: &Dark,
    version: Version,
    address: impl Fn(u128) -> A,
) -> Result<([A; BOUNDARIES], u32), Error> {
    let boundaries = dark.boundaries(version);
    if boundaries.len() > BOUNDARIES {
        return Err(Error::TooManyPrefixes {
            version: version as u8,
            found: boundaries.len(),
            most: BOUNDARIES,
        });
    }
    let mut table = [A::default(); BOUNDARIES];
    for (place, &boundary) in table.iter_mut().zip(&boundaries) {
        *place = address(boundary);
    }
    Ok((table, boundaries.len() as u32))
}

/// Takes an array out of what was loaded.
pub(super) fn array(loaded: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match loaded.take_map(name) {
        Some(Map::Array(map) | Map::PerCpuHashMap(map)) => Ok(map),
        _ => Err(Error::KernelObject {
            what: format!("it has no map {name}"),
        }),
    }
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
        let tables = ["ICMP", "NETWORKS", "PORTS", "RECORDS", "STATE", "TALLY"];
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

    #[test]
    fn more_boundaries_than_fit_are_refused_by_name() {
        let prefixes: Vec<_> = (0..17)
            .map(|number| {
                format!("10.0.{}.0/24", number * 2)
                    .parse()
                    .expect("a prefix")
            })
            .collect();
        let dark = Dark::new(&prefixes[..16], &[]).expect("valid");
        let (table, length) = boundaries(&dark, Version::V4, |at| at as u32).expect("they fit");
        assert_eq!((table[0], table[1], length), (0x0a00_0000, 0x0a00_0100, 32));
        let dark = Dark::new(&prefixes, &[]).expect("valid");
        let error = boundaries(&dark, Version::V4, |at| at as u32).expect_err("one too many");
        assert!(error.to_string().contains("34"), "{error}");
    }
}
