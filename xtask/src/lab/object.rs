use aya::{Ebpf, EbpfLoader, programs::Xdp};

use super::error::Error;

/// `darknet-ebpf/src/bin/generator.rs`, compiled: `cargo xtask build-ebpf` makes it.
pub(super) static GENERATOR: &[u8] = aya::include_bytes_aligned!("generator.bpf.o");

/// `darknet-ebpf/src/bin/redirect.rs`, compiled.
pub(super) static REDIRECT: &[u8] = aya::include_bytes_aligned!("redirect.bpf.o");

/// `darknet-ebpf/src/bin/sink.rs`, compiled.
pub(super) static SINK: &[u8] = aya::include_bytes_aligned!("sink.bpf.o");

/// Loads an object's maps and globals.
pub(super) fn load(loader: &mut EbpfLoader<'_>, name: &str, object: &[u8]) -> Result<Ebpf, Error> {
    loader
        .load(object)
        .map_err(Error::bpf(format!("the lab's {name}")))
}

/// A program of an object.
pub(super) fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    let missing = || Error::Bpf {
        action: format!("the lab's program {name}"),
        message: "not in the committed object; run cargo xtask build-ebpf".into(),
    };
    let program = object.program_mut(name).ok_or_else(missing)?;
    program.try_into().map_err(|_| missing())
}

/// Loads a program of an object into the kernel.
pub(super) fn load_program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    let program = program(object, name)?;
    program
        .load()
        .map_err(Error::bpf(format!("the lab's program {name}")))?;
    Ok(program)
}

/// The error of a map that is not as the object should have it.
pub(super) fn no_map(name: &str) -> Error {
    Error::Bpf {
        action: format!("the lab's map {name}"),
        message: "not in the committed object; run cargo xtask build-ebpf".into(),
    }
}
