use std::{
    fs::{self, File},
    path::Path,
    process::{self, Command, ExitCode},
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot, uname},
};

use super::console::Verdict;
use crate::show::{self, Failure};

/// Where the archive has what the guest runs.
pub(super) const XTASK: &str = "/bin/xtask";
pub(super) const DARKNET: &str = "/bin/darknet";
pub(super) const TESTS: &str = "/bin/kernel-tests";
pub(super) const VETH: &str = "/modules/veth.ko";

/// How this program is called as the first process of the virtual machine.
pub(super) const COMMAND: &str = "vm-guest";

/// Frames of the lab's scenario; an emulated processor is slow.
const FRAMES: u64 = 20_000;

/// Checks the telescope, says on the console how that went, and ends the virtual machine.
///
/// # Errors
///
/// When it is not the first process of a system: it would restart the machine.
pub(crate) fn run() -> Result<ExitCode, String> {
    if process::id() != 1 {
        return Err("vm-guest is what cargo xtask vm runs inside its virtual machine".into());
    }
    let kernel = uname();
    let verdict = match check() {
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

fn check() -> Result<(), String> {
    for (kind, path) in [
        (c"proc", "/proc"),
        (c"sysfs", "/sys"),
        (c"devtmpfs", "/dev"),
        (c"tmpfs", "/run"),
        (c"tmpfs", "/tmp"),
    ] {
        fs::create_dir_all(path).map_err(|error| format!("{path}: {error}"))?;
        mount(kind, path, kind, MountFlags::empty(), None)
            .map_err(|error| format!("mounting {path}: {error}"))?;
    }
    let module = File::open(VETH).map_err(|error| format!("{VETH}: {error}"))?;
    finit_module(module, c"", 0).map_err(|error| format!("{VETH}: {error}"))?;

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
