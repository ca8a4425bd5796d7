use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xtask::cargo::root;

use crate::bpf_toolchain::{Toolchain, Versions};

/// Build the kernel programs, and write the objects that are committed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install what is missing, as root: Debian's packages, and bpf-linker into target/bpf-tools.
    #[arg(long)]
    install: bool,
}

/// Each kernel program, and where its object is committed.
pub(crate) const PROGRAMS: [(&str, &str); 5] = [
    ("darknet-xdp", "darknet-core/src/kernel/darknet.bpf.o"),
    ("generator", "xtask/src/lab/generator.bpf.o"),
    ("redirect", "xtask/src/lab/redirect.bpf.o"),
    ("sink", "xtask/src/lab/sink.bpf.o"),
    ("varied", "benches/src/varied.bpf.o"),
];

/// What is written down beside the telescope's object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) toolchain: Versions,
    /// By path in the repository.
    pub(crate) objects: BTreeMap<String, Object>,
}

/// What identifies an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    bytes: usize,
    sha256: String,
}

impl Object {
    pub(crate) fn of(object: &[u8]) -> Self {
        let digest = Sha256::digest(object);
        Self {
            bytes: object.len(),
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Where it is written down.
pub(crate) fn record() -> PathBuf {
    root().join("darknet-core/src/kernel/darknet.bpf.toml")
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.install {
        Toolchain::install()?;
    }
    let toolchain = Toolchain::find()?;
    let versions = toolchain.versions()?;
    eprintln!("building with {}, {}", versions.rustc, versions.bpf_linker);
    let target = root().join("target/bpf");
    let mut objects = BTreeMap::new();
    for (program, path) in PROGRAMS {
        let object = toolchain.build(program, &target)?;
        fs::write(root().join(path), &object).map_err(|error| format!("{path}: {error}"))?;
        eprintln!("{path}: {} bytes", object.len());
        objects.insert(path.to_owned(), Object::of(&object));
    }
    let text = toml::to_string(&Record {
        toolchain: versions,
        objects,
    });
    let text = text.map_err(|error| error.to_string())?;
    let text =
        format!("# Written by cargo xtask build-ebpf: what built the kernel programs.\n\n{text}");
    fs::write(record(), text).map_err(|error| format!("{}: {error}", record().display()))?;
    Ok(ExitCode::SUCCESS)
}
