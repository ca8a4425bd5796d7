use std::{fs, io, path::Path};

use nix::net::if_::if_nameindex;

use crate::kernel::{self, device::Device};

/// What the doctor asks of the system, so that tests can answer in its place.
pub(super) trait System {
    /// The text of a file, without white space at its ends.
    fn read(&self, path: &str) -> Option<String>;
    /// The names in a folder.
    fn list(&self, path: &str) -> Vec<String>;
    /// The last part of where a symbolic link leads.
    fn target(&self, path: &str) -> Option<String>;
    /// What the kernel says of an interface; `None` if there is none of that name.
    fn device(&self, name: &str) -> io::Result<Option<Device>>;
    /// The names of all interfaces.
    fn interfaces(&self) -> Vec<String>;
    /// The name of a loaded program.
    fn program(&self, number: u32) -> Option<String>;
}

/// This host.
pub(super) struct Host;

impl System for Host {
    fn read(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(path).ok()?.trim().to_owned())
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn target(&self, path: &str) -> Option<String> {
        let target = fs::read_link(Path::new(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    fn device(&self, name: &str) -> io::Result<Option<Device>> {
        Device::ask(name)
    }

    fn interfaces(&self) -> Vec<String> {
        let Ok(interfaces) = if_nameindex() else {
            return Vec::new();
        };
        let names = interfaces.into_iter();
        names
            .map(|interface| interface.name().to_string_lossy().into_owned())
            .collect()
    }

    fn program(&self, number: u32) -> Option<String> {
        kernel::loaded_program(number)
    }
}
