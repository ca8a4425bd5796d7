//! Other kernels: Debian's, booted in QEMU without hardware support, with the telescope inside.

/// APT by itself.
mod apt;
/// The archive that a kernel unpacks as its first file system.
mod archive;
/// What the virtual machine says on its serial console.
mod console;
/// Frames of every length.
mod datagrams;
/// What happens to a telescope while frames come.
mod disturbed;
/// The other side: the first process of the virtual machine.
pub(crate) mod guest;
/// The first file system: our programs, theirs, and the libraries of all.
mod initramfs;
/// QEMU.
mod machine;
/// Kernels from Debian's packages.
mod packages;
/// Frames of a network card that arrive without a copy.
mod zero_copy;

use std::{
    fs,
    process::{Command, ExitCode},
    time::Instant,
};

use xtask::cargo::{self, root};

use self::{console::Verdict, machine::Machine};

/// Load, attach and count on Debian's own kernels, each in a virtual machine.
///
/// Boots the newest of each release's cloud kernels in QEMU, sends a part of the lab's scenario to
/// a telescope inside, and runs the tests of the kernel program there. The newest kernel also has two
/// network cards, whose frames the telescope takes without a copy. Says nothing about speed: the
/// processor is emulated. Needs no root. What is downloaded stays in target/vm: remove
/// target/vm/kernels for newer ones.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A kernel's release, as 6.12, or newest; repeat for more. Default: 6.1, 6.12 and newest.
    #[arg(long = "kernel", value_name = "RELEASE")]
    kernels: Vec<String>,

    /// Only the frames that arrive without a copy. Default of the kernel: newest.
    #[arg(long)]
    zero_copy: bool,

    /// Keep the archive that was booted and what the console said, and tell the command.
    #[arg(long)]
    keep: bool,

    /// Install QEMU first.
    #[arg(long)]
    install: bool,
}

/// Of bookworm, and of its backports: the oldest kernel that the telescope is meant for, and the
/// long-term one after it; and the newest that is packaged.
const RELEASES: [&str; 3] = ["6.1", "6.12", packages::NEWEST];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments {
        kernels,
        zero_copy,
        keep,
        install,
    } = arguments;
    if *install {
        machine::install()?;
    }
    machine::version()?;
    let releases: Vec<&str> = match kernels.as_slice() {
        [] if *zero_copy => vec![packages::NEWEST],
        [] => RELEASES.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    eprintln!("building darknet, and what tries it");
    let darknet = cargo::darknet(true)?;
    let tests = ["test", "--no-run", "--package", "darknet-tests"];
    let tests = (!zero_copy).then(|| cargo::executable(&tests, "kernel"));
    let tests = tests.transpose()?;
    let only: &[&str] = if *zero_copy { &["--zero-copy"] } else { &[] };
    let folder = root().join("target/vm");
    let mut failed = Vec::new();
    for release in releases {
        let kernel = packages::kernel(&folder, release)?;
        let name = kernel.release.clone();
        if *zero_copy && !kernel.has_cards() {
            return Err(format!("{name} has no network card without a copy here"));
        }
        eprintln!("booting {name}");
        let begun = Instant::now();
        let archive = folder.join(format!("{name}.cpio"));
        let bytes = initramfs::make(&darknet, tests.as_deref(), &kernel.modules)?;
        fs::write(&archive, bytes).map_err(|error| format!("{}: {error}", archive.display()))?;
        let machine = Machine {
            kernel: &kernel.vmlinuz,
            archive: &archive,
            cards: kernel.has_cards(),
            arguments: only,
        };
        let said = machine.run()?;
        let seconds = begun.elapsed().as_secs_f64();
        for line in console::figures(&said) {
            println!("  {line}");
        }
        match console::verdict(&said) {
            Some(Verdict::Passed(version)) => println!("{version}: passed in {seconds:.0} s"),
            other => {
                for line in &said[said.len().saturating_sub(SHOWN)..] {
                    eprintln!("  | {line}");
                }
                let why = match other {
                    Some(Verdict::Failed(why)) => why,
                    _ => format!("no verdict after {seconds:.0} s"),
                };
                println!("{name}: FAILED: {why}");
                failed.push(name.clone());
            }
        }
        if *keep {
            let text = folder.join(format!("{name}.console"));
            fs::write(&text, said.join("\n") + "\n")
                .map_err(|error| format!("{}: {error}", text.display()))?;
            eprintln!("the console's text: {}; again:", text.display());
            eprintln!("{}", machine.line());
        } else {
            fs::remove_file(&archive).map_err(|error| format!("{}: {error}", archive.display()))?;
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("not on {}", failed.join(", ")))
}

/// Lines of the console that a failure shows.
const SHOWN: usize = 40;

/// Runs a command for what it prints.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // Warnings come first, the reason last.
        let said = said.lines().rfind(|line| !line.trim().is_empty());
        let said = said.map_or_else(|| output.status.to_string(), str::to_owned);
        return Err(format!("{program}: {said}"));
    }
    Ok(output.stdout)
}
