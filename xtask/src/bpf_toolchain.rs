use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use xtask::cargo::root;

/// The linker that both toolchains are used with. Older ones panic on this program.
const LINKER: &str = "bpf-linker@0.13.0";
/// LLVM of Debian's Rust compiler, and of the linker built for it.
const LLVM: &str = "22";

/// Versions of what builds the kernel programs: another version may give another object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) rustc: String,
    pub(crate) bpf_linker: String,
    pub(crate) llvm_objcopy: String,
}

/// What builds the kernel programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// What it is, and how it is installed.
    kind: Kind,
    linker: PathBuf,
    objcopy: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src`.
    Debian,
    /// rustup's nightly with the component `rust-src`.
    Nightly,
}

impl Kind {
    fn cargo(self) -> Command {
        let mut command = match self {
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                // The standard library is built from source, which a stable compiler permits to
                // those who say that they know.
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::Nightly => {
                let mut command = Command::new("cargo");
                command.arg("+nightly");
                command
            }
        };
        clear(&mut command);
        if self == Self::Debian {
            command.env("RUSTC", "/usr/bin/rustc");
        }
        command
    }

    fn rustc(self) -> Command {
        let mut command = match self {
            Self::Debian => Command::new("/usr/bin/rustc"),
            Self::Nightly => {
                let mut command = Command::new("rustc");
                command.arg("+nightly");
                command
            }
        };
        clear(&mut command);
        command
    }

    /// The sources of the standard library, if they are there.
    fn library(self) -> Option<PathBuf> {
        let sysroot = output(self.rustc().args(["--print", "sysroot"]))?;
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
        library.join("library/core").is_dir().then_some(library)
    }
}

impl Toolchain {
    /// The toolchain that is there: Debian's, or else rustup's nightly.
    ///
    /// # Errors
    ///
    /// What is missing, and how it is installed.
    pub(crate) fn find() -> Result<Self, String> {
        let kinds = [Kind::Debian, Kind::Nightly];
        let kind = kinds.into_iter().find(|kind| kind.library().is_some());
        let linker = find("bpf-linker");
        let objcopy = objcopy();
        let (Some(kind), Some(linker), Some(objcopy)) = (kind, linker, objcopy) else {
            return Err(format!(
                "no toolchain for the kernel programs: {}; cargo xtask build-ebpf --install \
                 installs it, or: rustup toolchain install nightly --component rust-src, cargo \
                 install {LINKER}, and LLVM's objcopy",
                missing(kind)
            ));
        };
        Ok(Self {
            kind,
            linker,
            objcopy,
        })
    }

    /// Installs what is missing: Debian's packages, and the linker into `target/bpf-tools`.
    pub(crate) fn install() -> Result<(), String> {
        if Self::find().is_ok() {
            return Ok(());
        }
        run(Command::new("apt-get").arg("update"))?;
        let llvm = format!("llvm-{LLVM}-dev");
        run(Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(["rustc-web", "rust-web-src", "cargo-web", &llvm])
            .args(["zlib1g-dev", "libzstd-dev", "libxml2-dev"]))?;
        if find("bpf-linker").is_none() {
            let feature = format!("llvm-{LLVM}");
            run(Kind::Debian
                .cargo()
                .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
                .args(["install", LINKER, "--locked", "--no-default-features"])
                .args(["--features", &feature, "--root"])
                .arg(tools()))?;
        }
        Self::find().map(drop)
    }

    pub(crate) fn versions(&self) -> Result<Versions, String> {
        let first = |command: &mut Command| {
            let said = output(command.arg("--version"))?;
            said.lines()
                .map(str::trim)
                .find(|line| line.contains('.'))
                .map(str::to_owned)
        };
        let versions = || {
            Some(Versions {
                rustc: first(&mut self.kind.rustc())?,
                bpf_linker: first(&mut Command::new(&self.linker))?,
                llvm_objcopy: first(&mut Command::new(&self.objcopy))?,
            })
        };
        versions().ok_or_else(|| "the toolchain does not say its versions".into())
    }

    /// Builds a kernel program in `target`, and returns the object: BTF kept, DWARF stripped, and
    /// the same bytes wherever the sources lie.
    pub(crate) fn build(&self, program: &str, target: &Path) -> Result<Vec<u8>, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let linker = self.linker.parent().map(Path::to_owned);
        let path = env::join_paths(linker.into_iter().chain(env::split_paths(&path)))
            .map_err(|error| format!("PATH: {error}"))?;
        run(self
            .kind
            .cargo()
            .current_dir(root())
            .env("PATH", path)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags()?.join("\x1f"))
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["--package", "darknet-ebpf", "--features", "program"])
            .args(["--bin", program, "--target", "bpfel-unknown-none"])
            .args(["-Z", "build-std=core", "--target-dir"])
            .arg(target))?;
        let built = target.join("bpfel-unknown-none/release").join(program);
        let object = built.with_extension("bpf.o");
        run(Command::new(&self.objcopy)
            .arg("--strip-debug")
            .args([&built, &object]))?;
        fs::read(&object).map_err(|error| format!("{}: {error}", object.display()))
    }

    fn flags(&self) -> Result<Vec<String>, String> {
        let mut flags: Vec<String> = [
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        ]
        .map(Into::into)
        .into();
        // aya-ebpf asks which machine's registers a program means; XDP programs see none.
        flags.push("--cfg=bpf_target_arch=\"x86_64\"".into());
        let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let library = self
            .kind
            .library()
            .ok_or("the toolchain has lost rust-src")?;
        let real = fs::canonicalize(&library).map_err(|error| error.to_string())?;
        let places = [
            (Some(root().to_owned()), "darknet"),
            (cargo.map(|cargo| cargo.join("registry/src")), "registry"),
            (Some(library), "rust"),
            (Some(real), "rust"),
        ];
        for (place, name) in places {
            let place = place.ok_or("neither CARGO_HOME nor HOME is set")?;
            flags.push(format!("--remap-path-prefix={}={name}", place.display()));
        }
        Ok(flags)
    }
}

/// Where [`Toolchain::install`] puts the linker.
fn tools() -> PathBuf {
    root().join("target/bpf-tools")
}

/// A program of our own, or on PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places = [tools().join("bin")]
        .into_iter()
        .chain(env::split_paths(&path));
    places
        .map(|place| place.join(name))
        .find(|file| file.is_file())
}

/// LLVM's objcopy: GNU's does not know BPF.
fn objcopy() -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{LLVM}/bin/llvm-objcopy"));
    if debian.is_file() {
        return Some(debian);
    }
    let names = [format!("llvm-objcopy-{LLVM}"), "llvm-objcopy".into()];
    names.iter().find_map(|name| find(name))
}

fn missing(kind: Option<Kind>) -> String {
    let parts = [
        (kind.is_none(), "a Rust compiler with the sources of core"),
        (find("bpf-linker").is_none(), "bpf-linker"),
        (objcopy().is_none(), "llvm-objcopy"),
    ];
    let parts = parts.iter().filter(|(is_missing, _)| *is_missing);
    let names: Vec<_> = parts.map(|(_, name)| *name).collect();
    format!("{} missing", names.join(", "))
}

/// What an outer cargo or rustup sets is not meant for another toolchain.
fn clear(command: &mut Command) {
    for name in [
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        command.env_remove(name);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("{name}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{name} failed: {command:?}"))
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
