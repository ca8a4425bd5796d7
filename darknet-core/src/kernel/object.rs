use aya::{Ebpf, EbpfLoader};
use darknet_ebpf::{
    Version,
    abi::{ROWS, delivery},
    dark::BOUNDARIES,
};

use super::{
    Delivery, Settings,
    refused::refused,
    settings::draw,
    sizes::{BANKS, WIDE, lines, record_slots},
    tries::{fill, is},
};
use crate::{Error, FilterAction, SampleOf};

/// The kernel program. `cargo xtask build-ebpf` writes it, and `cargo xtask verify-ebpf` shows
/// that it is what the source says.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("darknet.bpf.o");

/// The program for frames of several buffers, and for all drivers that take it.
pub(super) const FRAGMENTS: &str = "darknet_frags";
/// The program for the others.
pub(super) const PLAIN: &str = "darknet";

/// Makes the maps, and readies the programs with what is known of `settings`.
pub(super) fn load(settings: &Settings, processors: u32) -> Result<Ebpf, Error> {
    let Settings {
        dark,
        filter,
        sample,
        delivery,
        record_bytes: _,
        networks_by_port,
        memory: _,
        pins: _,
        sample_seed,
        idle,
        no_metadata,
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
    let [[first, second], [third, fourth]] = [draw(), *sample_seed];
    let seed = [first, second, third, fourth];
    let entries = if many { dark.entries() } else { Vec::new() };
    let prefixes = |version| {
        let dark = entries.iter().filter(|(net, _)| is(net, version));
        (dark.count() as u32).max(1)
    };
    let sources = |version| {
        let filtered = filter.sources().iter().filter(|net| is(net, version));
        (filtered.count() as u32).max(1)
    };
    let [
        many_flag,
        passes,
        of_networks,
        by_port,
        in_order,
        no_metadata,
    ] = [
        many,
        filter.action() == FilterAction::Pass,
        sample.of == SampleOf::Networks,
        *networks_by_port,
        // Stores of one x86 processor are seen in their order: Intel's manual, volume 3, 10.2.2.
        cfg!(target_arch = "x86_64"),
        *no_metadata,
    ]
    .map(flag);
    let delivery = match delivery {
        Delivery::None => delivery::NONE,
        Delivery::Headers => delivery::HEADERS,
        Delivery::Frames => delivery::FRAMES,
    };
    let record_slots = record_slots(settings);
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
        .override_global("DELIVERY", &delivery, true)
        .override_global("RECORD_SLOTS", &record_slots, true)
        .override_global("IN_ORDER", &in_order, true)
        .override_global("NO_METADATA", &no_metadata, true)
        .override_global("IDLE", idle, true)
        .map_max_entries("PARTS", BANKS as u32 * processors)
        .map_max_entries("ROWS", (BANKS as u32 * processors).saturating_mul(ROWS))
        .map_max_entries("NETWORKS", BANKS as u32 * lines)
        .map_max_entries("WIDE", WIDE)
        .map_max_entries("DARK_V4_PREFIXES", prefixes(Version::V4))
        .map_max_entries("DARK_V6_PREFIXES", prefixes(Version::V6))
        .map_max_entries("FILTER_V4", sources(Version::V4))
        .map_max_entries("FILTER_V6", sources(Version::V6));
    loader
        .map_max_entries("RECORDS", record_slots.saturating_mul(processors).max(1))
        .map_max_entries("CURSORS", processors);
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
            "CURSORS",
            "DARK_V4_PREFIXES",
            "DARK_V6_PREFIXES",
            "FILTER_V4",
            "FILTER_V6",
            "NETWORKS",
            "PARTS",
            "RECORDS",
            "ROWS",
            "SOCKETS",
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
