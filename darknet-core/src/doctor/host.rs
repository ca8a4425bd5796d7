use super::{Finding, Patient, system::System};
use crate::kernel::{OLDEST, absent_capabilities};

/// `CAP_IPC_LOCK`, `include/uapi/linux/capability.h`.
const IPC_LOCK: u32 = 14;
/// What packets that are taken whole lie in, for each queue: 8,192 chunks of 4,096 bytes,
/// or of 2,048 if they are copied.
const UMEM: u64 = 8_192 * 4_096;

/// What every telescope needs.
pub(super) fn needs(system: &dyn System) -> [Finding; 2] {
    [privilege(system), kernel(system)]
}

/// What is good to have.
pub(super) fn comforts(system: &dyn System) -> Vec<Finding> {
    let findings = [compiler(system), Some(pins(system))];
    findings.into_iter().flatten().collect()
}

/// The effective capabilities of this process.
fn capabilities(system: &dyn System) -> Option<u64> {
    let status = system.read("/proc/thread-self/status")?;
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(held.trim(), 16).ok()
}

fn privilege(system: &dyn System) -> Finding {
    let missing = capabilities(system).map(absent_capabilities);
    match missing.as_deref() {
        None => Finding::note("privilege", "not known: /proc is not there"),
        Some("") => Finding::well("privilege", "all that is needed"),
        Some(missing) => Finding::stops("privilege", format!("without {missing}"))
            .because("the kernel lets nobody else load and attach programs")
            .so("run it as root")
            .so("or: setcap cap_bpf,cap_net_admin,cap_perfmon+ep darknet"),
    }
}

/// The kernel's major and minor number.
pub(super) fn release(system: &dyn System) -> Option<(u32, u32)> {
    let release = system.read("/proc/sys/kernel/osrelease")?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn kernel(system: &dyn System) -> Finding {
    let name = system.read("/proc/sys/kernel/osrelease");
    let name = name.unwrap_or_else(|| "not known".into());
    let (major, minor) = OLDEST;
    match release(system) {
        None => {
            Finding::note("kernel", name).because(format!("{major}.{minor} or newer is needed"))
        }
        Some(release) if release < OLDEST => Finding::stops("kernel", name)
            .because(format!(
                "{major}.{minor} is the oldest that takes the program"
            ))
            .so("a newer kernel: distributions have them as backports"),
        Some(_) => Finding::well("kernel", name),
    }
}

/// Programs are compiled to machine code, unless somebody switched that off.
fn compiler(system: &dyn System) -> Option<Finding> {
    let setting = "/proc/sys/net/core/bpf_jit_enable";
    (system.read(setting)? == "0").then(|| {
        Finding::better("BPF compiler", "off")
            .because("the program would be interpreted, instruction by instruction")
            .so(format!("echo 1 > {setting}"))
    })
}

/// Whether a telescope can outlive its process.
fn pins(system: &dyn System) -> Finding {
    let mounts = system.read("/proc/self/mounts").unwrap_or_default();
    let mut folders = mounts.lines().filter_map(|line| {
        let mut parts = line.split(' ').skip(1);
        let folder = parts.next()?;
        (parts.next()? == "bpf").then_some(folder)
    });
    match folders.next() {
        Some(folder) => Finding::well(
            "pins",
            format!("{folder} is a BPF file system: --pins works"),
        ),
        None => Finding::note("pins", "no BPF file system is mounted")
            .because("only --pins needs one: the kernel then counts on when the process ends")
            .so("mount -t bpf bpf /sys/fs/bpf"),
    }
}

/// The memory that packets lie in which are taken whole.
pub(super) fn memory(patient: &Patient<'_>) -> Vec<Finding> {
    let queues = u64::from(patient.queues.map_or(1, |(now, _)| now.max(1)));
    let needed = queues * UMEM;
    let findings = [
        huge_pages(patient.system, needed),
        locked(patient.system, needed),
    ];
    findings.into_iter().flatten().collect()
}

fn huge_pages(system: &dyn System, needed: u64) -> Option<Finding> {
    let memory = system.read("/proc/meminfo")?;
    let value = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let free = value("HugePages_Free:")?;
    let total = value("HugePages_Total:")?;
    let size = value("Hugepagesize:").filter(|&size| size > 0)?;
    let wanted = needed.div_ceil(size << 10);
    let is = match size % 1024 {
        0 => format!("{free} free, of {} MiB each", size >> 10),
        _ => format!("{free} free, of {size} KiB each"),
    };
    Some(match free >= wanted {
        true => Finding::well("huge pages", is),
        false => Finding::note("huge pages", is)
            .because(format!(
                "packets taken whole (AF_XDP) lie in {} MiB, 32 for each queue: {wanted} pages; \
                 ordinary ones do too, and counting needs none",
                needed >> 20
            ))
            .so(format!(
                "echo {} > /proc/sys/vm/nr_hugepages",
                total + wanted - free
            )),
    })
}

fn locked(system: &dyn System, needed: u64) -> Option<Finding> {
    if capabilities(system)? >> IPC_LOCK & 1 == 1 {
        return Some(Finding::well(
            "locked memory",
            "no limit, with CAP_IPC_LOCK",
        ));
    }
    let limits = system.read("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    let limit = line.split_whitespace().next()?;
    Some(match limit.parse::<u64>() {
        Ok(limit) if limit < needed => {
            let is = format!("{} MiB at most", limit >> 20);
            Finding::note("locked memory", is)
                .because(format!(
                    "packets taken whole (AF_XDP) need {} MiB; counting needs none",
                    needed >> 20
                ))
                .so("ulimit -l unlimited")
                .so("with systemd: LimitMEMLOCK=infinity")
        }
        Ok(limit) => Finding::well("locked memory", format!("{} MiB at most", limit >> 20)),
        Err(_) => Finding::well("locked memory", "no limit"),
    })
}
