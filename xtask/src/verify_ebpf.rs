use std::{fs, process::ExitCode};

use xtask::cargo::root;

use crate::{
    bpf_toolchain::{Toolchain, Versions},
    build_ebpf::{Object, PROGRAMS, Record, record},
};

/// Build the kernel programs again, and compare them with the committed objects byte for byte.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install what is missing: Debian's packages, and the linker.
    #[arg(long)]
    pub(crate) install: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.install {
        Toolchain::install()?;
    }
    let text = fs::read_to_string(record());
    let text = text.map_err(|error| format!("{}: {error}", record().display()))?;
    let Record { toolchain, objects } =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", record().display()))?;
    let found = Toolchain::find()?;
    same(&toolchain, &found.versions()?)?;
    let target = root().join("target/bpf-verify");
    for (program, path) in PROGRAMS {
        let committed = fs::read(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
        if objects.get(path) != Some(&Object::of(&committed)) {
            return Err(format!(
                "{path} is not what {} says; run cargo xtask build-ebpf",
                record().display()
            ));
        }
        if found.build(program, &target)? != committed {
            return Err(format!(
                "{path} is not what the source gives; run cargo xtask build-ebpf, and commit it"
            ));
        }
        eprintln!("{path}: the source gives these {} bytes", committed.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails unless the versions are those that built the committed objects.
fn same(recorded: &Versions, found: &Versions) -> Result<(), String> {
    let pairs = [
        (&recorded.rustc, &found.rustc),
        (&recorded.bpf_linker, &found.bpf_linker),
        (&recorded.llvm_objcopy, &found.llvm_objcopy),
    ];
    let differing = pairs.iter().filter(|(recorded, found)| recorded != found);
    let differing: Vec<_> = differing
        .map(|(recorded, found)| format!("{recorded} (here: {found})"))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the committed objects were built with other versions: install {}, or run cargo xtask \
         build-ebpf and commit what it writes",
        differing.join(", ")
    ))
}
