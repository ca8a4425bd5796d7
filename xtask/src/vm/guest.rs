use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{self, Command, ExitCode},
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot, uname},
};

use super::{console::Verdict, zero_copy};
use crate::show::{self, Failure};

/// Where the archive has what the guest runs.
pub(super) const XTASK: &str = "/bin/xtask";
pub(super) const DARKNET: &str = "/bin/darknet";
pub(super) const TESTS: &str = "/bin/kernel-tests";
/// Where a telescope's tables are pinned. Not below /sys, of which `ip netns exec` mounts another.
pub(super) const PINS: &str = "/pins";
/// The kernel's modules, by name in the order in which they are loaded.
pub(super) const MODULES: &str = "/modules";
/// The addresses of the network cards, if there are any: the telescope's first. They are those that
/// scenarios write into frames.
pub(super) const CARDS: [&str; 2] = ["02:00:00:00:00:02", "02:00:00:00:00:01"];

/// How this program is called as the first process of the virtual machine.
pub(super) const COMMAND: &str = "vm-guest";

/// Frames of the lab's scenario; an emulated processor is slow.
const FRAMES: u64 = 20_000;

/// What the first process of the virtual machine does.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the frames that arrive without a copy.
    #[arg(long)]
    zero_copy: bool,
}

/// Checks the telescope, says on the console how that went, and ends the virtual machine.
///
/// # Errors
///
/// When it is not the first process of a system: it would restart the machine.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if process::id() != 1 {
        return Err("vm-guest is what cargo xtask vm runs inside its virtual machine".into());
    }
    let kernel = uname();
    let verdict = match check(arguments) {
        Ok(()) => Verdict::Passed(format!(
            "{} {}",
            kernel.release().to_string_lossy(),
            kernel.version().to_string_lossy()
        )),
        Err(why) => Verdict::Failed(why),
    };
    println!("{}", verdict.line());
    // What is still on its way to the console would be lost.
    thread::sleep(Duration::from_secs(1));
    reboot(RebootCommand::Restart).map_err(|error| format!("reboot: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let Arguments { zero_copy } = arguments;
    prepare()?;
    let cards = cards()?;
    if !zero_copy {
        lab()?;
    }
    match cards {
        Some(cards) => zero_copy::check(Path::new(DARKNET), cards),
        None => Ok(()),
    }
}

/// Mounts what programs expect, and loads the kernel's modules.
fn prepare() -> Result<(), String> {
    for (kind, path) in [
        (c"proc", "/proc"),
        (c"sysfs", "/sys"),
        (c"devtmpfs", "/dev"),
        (c"tmpfs", "/run"),
        (c"bpf", PINS),
    ] {
        fs::create_dir_all(path).map_err(|error| format!("{path}: {error}"))?;
        mount(kind, path, kind, MountFlags::empty(), None)
            .map_err(|error| format!("mounting {path}: {error}"))?;
    }
    // Not mounted: where the project lies in it, the archive has files there.
    fs::create_dir_all("/tmp").map_err(|error| format!("/tmp: {error}"))?;
    let modules = fs::read_dir(MODULES).map_err(|error| format!("{MODULES}: {error}"))?;
    let mut modules: Vec<_> = modules
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    modules.sort();
    for path in modules {
        let fail = |error: io::Error| format!("{}: {error}", path.display());
        let module = File::open(&path).map_err(fail)?;
        finit_module(module, c"", 0).map_err(|error| fail(error.into()))?;
    }
    Ok(())
}

/// The names of the network cards, in the order of [`CARDS`], if there are any.
fn cards() -> Result<Option<[String; 2]>, String> {
    const FOLDER: &str = "/sys/class/net";
    let entries = fs::read_dir(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
    let mut found = [None, None];
    for entry in entries.filter_map(Result::ok) {
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        if let Some(card) = CARDS.iter().position(|card| *card == address.trim()) {
            found[card] = entry.file_name().into_string().ok();
        }
    }
    match found {
        [Some(telescope), Some(sender)] => Ok(Some([telescope, sender])),
        [None, None] => Ok(None),
        _ => Err("one of the network cards is missing".into()),
    }
}

/// The lab on a virtual link, and the tests of the kernel program.
fn lab() -> Result<(), String> {
    match show::run(Path::new(DARKNET), &[], Some(FRAMES)) {
        Ok(ExitCode::SUCCESS) => {}
        Ok(code) => return Err(format!("darknet run: {code:?}")),
        Err(Failure::NotHere(why) | Failure::Failed(why)) => return Err(why),
    }
    let status = Command::new(TESTS)
        .args(["--test-threads=1", "--nocapture"])
        .env("DARKNET_PRIVILEGED", "1")
        .status()
        .map_err(|error| format!("{TESTS}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the kernel program's tests: {status}"))
}
