use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::{console, guest};

const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// How long the virtual machine may take: three times what it takes on two idle cores.
const PATIENCE: Duration = Duration::from_secs(600);

/// Says whether QEMU is there.
///
/// # Errors
///
/// When it is not: its package.
pub(super) fn version() -> Result<(), String> {
    let version = Command::new(QEMU).arg("--version").output();
    version.map(drop).map_err(|error| {
        format!(
            "{QEMU}: {error}; install it: apt-get install {PACKAGE}, or cargo xtask vm --install"
        )
    })
}

/// Installs QEMU, unless it is there.
pub(super) fn install() -> Result<(), String> {
    if version().is_ok() {
        return Ok(());
    }
    for arguments in [
        &["update"][..],
        &["install", "--yes", "--no-install-recommends", PACKAGE],
    ] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status();
        let status = status.map_err(|error| format!("apt-get: {error}"))?;
        if !status.success() {
            return Err(format!("apt-get {}: {status}", arguments.join(" ")));
        }
    }
    version()
}

/// A virtual machine without disk.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) archive: &'a Path,
    /// Whether it has two network cards, which see each other and nothing else.
    pub(super) cards: bool,
    /// Of the guest's program.
    pub(super) arguments: &'a [&'a str],
}

/// QEMU, ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    fn command(&self) -> Command {
        let Self {
            kernel,
            archive,
            cards,
            arguments,
        } = self;
        // No router or neighbour is to be asked for between packets that are counted: without
        // addresses of their own, IPv6 interfaces are quiet. What the kernel does not know and has
        // an equals sign is its first process's environment, and what follows two dashes is its
        // arguments.
        let append = format!(
            "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable \
             ipv6.disable_ipv6=1 PATH=/bin rdinit={} -- {} {}",
            guest::XTASK,
            guest::COMMAND,
            arguments.join(" ")
        );
        let mut command = Command::new(QEMU);
        command
            .args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", "2", "-m", "1024", "-nodefaults", "-display", "none"])
            .args(["-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(archive)
            .args(["-append", append.trim_end()]);
        if *cards {
            for (number, address) in guest::CARDS.iter().enumerate() {
                // The device's memory is told by the DMA interface, as zero-copy wants it
                // (`virtnet_xsk_pool_enable`, drivers/net/virtio_net.c).
                let device = format!(
                    "virtio-net-pci,disable-legacy=on,iommu_platform=on,romfile=,netdev=h{number},\
                     mac={address}"
                );
                command
                    .args(["-netdev", &format!("hubport,id=h{number},hubid=0")])
                    .args(["-device", &device]);
            }
        }
        command
    }

    /// The command line, for a shell.
    pub(super) fn line(&self) -> String {
        let command = self.command();
        let words = command.get_args().map(|word| match word.to_string_lossy() {
            word if word.contains(' ') => format!("'{word}'"),
            word => word.into_owned(),
        });
        format!("{QEMU} {}", words.collect::<Vec<_>>().join(" "))
    }

    /// Boots it, and returns what it said up to the verdict, its end, or the end of our patience.
    pub(super) fn run(&self) -> Result<Vec<String>, String> {
        let fail = |error: io::Error| format!("{QEMU}: {error}");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running(command.spawn().map_err(fail)?);
        let mut out = BufReader::new(running.0.stdout.take().expect("it is piped"));
        let (sender, receiver) = channel();
        // Ends with the machine, or when nobody listens any more.
        thread::spawn(move || {
            let mut line = Vec::new();
            while let Ok(1..) = out.read_until(b'\n', &mut line) {
                if sender.send(console::clean(&line)).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
            }
            if console::verdict(&said[said.len() - 1..]).is_some() {
                break;
            }
        }
        Ok(said)
    }
}
