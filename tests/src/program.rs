use darknet_core::{
    Error,
    aggregate::Counts,
    kernel::{BankFigures, Kernel, Settings},
    rules::{Class, PortTable},
};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Loads the kernel program.
///
/// # Panics
///
/// If the kernel refuses it.
pub fn load(settings: &Settings) -> Kernel {
    Kernel::load(settings).expect("the kernel takes the program")
}

/// The MiB that tables of these settings take at least, as the error says that names them.
///
/// # Panics
///
/// If 1 MiB is enough, or something else is wrong.
pub fn least(settings: &Settings) -> usize {
    let too_little = Settings {
        memory: Some(1 << 20),
        ..settings.clone()
    };
    match Kernel::load(&too_little) {
        Err(Error::KernelMemory { least, .. }) => least,
        other => panic!("{other:?}"),
    }
}

/// As small as tables can be: what is wrong with one that is full shows soon.
pub fn smallest(settings: Settings) -> Settings {
    Settings {
        memory: Some(least(&settings) << 20),
        ..settings
    }
}

/// The processors that this process may run on.
///
/// # Panics
///
/// If the system does not say.
pub fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).expect("known");
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// Keeps the thread that calls on a processor.
///
/// # Panics
///
/// If there is no such processor.
pub fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).expect("a processor of this process");
}

/// That every table has the same packets and bytes: counted, by class, in rows and in networks.
/// Returns them.
///
/// # Panics
///
/// If one has not.
pub fn assert_whole(figures: &BankFigures, name: &str) -> Counts {
    let BankFigures {
        ledger,
        totals,
        ports,
        icmp,
        networks,
        row_overflow,
        ..
    } = figures;
    let mut all = Counts::default();
    let (mut with_rows, mut with_networks) = (*row_overflow, Counts::default());
    for class in Class::ALL {
        let counts = totals.class(class);
        all += counts;
        if class != Class::Malformed {
            with_networks += counts;
        }
    }
    assert_eq!(ledger.counted, all.packets, "{name}: classes");
    assert_eq!(networks.total(), with_networks, "{name}: networks");

    for class in [Class::Fragment, Class::Malformed, Class::Other] {
        with_rows += totals.class(class);
    }
    // A packet of TCP backscatter is in two tables.
    let once = |table| table != PortTable::TcpBackscatterDestination;
    for (_, _, counts) in ports.iter().filter(|(table, ..)| once(*table)) {
        with_rows += counts;
    }
    for (_, counts) in icmp.iter() {
        with_rows += counts;
    }
    assert_eq!(with_rows, all, "{name}: rows");
    all
}
