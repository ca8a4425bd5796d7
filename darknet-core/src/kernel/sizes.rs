use aya::util::nr_cpus;
use darknet_ebpf::{
    Header,
    abi::{Processor, ROWS},
    networks::Line,
};

use super::{Delivery, Settings};
use crate::Error;

/// Banks: one counts while the other is drained.
pub(super) const BANKS: usize = 2;
/// The smallest ring of a processor: a page of records.
const RECORDS_AT_LEAST: usize = 64;
/// Rows and networks that there is room for beyond their words. Each has had 2^25 packets or 2^33
/// bytes.
pub(super) const WIDE: u32 = 4096;
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
    let parts = BANKS * processors as usize * (size_of::<Processor>() + ROWS as usize * 8);
    let records = record_slots(settings) as usize * processors as usize * size_of::<Header>();
    let prefixes = settings.dark.entries().len() + settings.filter.sources().len();
    parts + records + REST + prefixes * PREFIX
}

/// Records that the ring of each processor holds: a power of two, or 0 where nobody wants any.
pub(super) fn record_slots(settings: &Settings) -> u32 {
    if settings.delivery != Delivery::Headers {
        return 0;
    }
    let slots = settings.record_bytes as usize / size_of::<Header>();
    1 << slots.max(RECORDS_AT_LEAST).ilog2()
}

/// Lines of the table of networks in each bank, such that all tables take the memory that the
/// settings give.
pub(super) fn lines(settings: &Settings, processors: u32) -> Result<u32, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all tables.
    fn memory(settings: &Settings, processors: u32) -> Result<usize, Error> {
        let networks = lines(settings, processors)? as usize * BANKS * size_of::<Line>();
        Ok(others(settings, processors) + networks)
    }

    /// A processor takes 7.2 to 7.3 MiB, as the documentation of the settings says.
    fn assert_mib(bytes: usize, processors: u32, rest: f64) {
        let mib = bytes as f64 / f64::from(1 << 20);
        let [least, most] = [7.2, 7.3].map(|each| rest + f64::from(processors) * each);
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
            delivery: Delivery::Headers,
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
            delivery: Delivery::Headers,
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
            let [from, to] = [7.2, 7.3].map(|each| rest + f64::from(processors) * each);
            let rounded = from.ceil() as usize..=to.ceil() as usize;
            assert!(rounded.contains(&least), "{least} MiB, not {rounded:?}");
        }
    }
}
