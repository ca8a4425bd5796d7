use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{command::ip, error::Error};

/// Where `ip netns` keeps its names (ip-netns(8)).
const DIRECTORY: &str = "/run/netns";

/// What the names of all our namespaces begin with; the process and a number follow.
const PREFIX: &str = "darknet-lab-";

/// A network namespace with a name of its own, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, called `darknet-lab-PROCESS-NUMBER-role`, without IPv6 addresses of its own.
    pub(super) fn new(role: &str) -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.enter(|| {
            for interfaces in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6");
                match fs::write(&path, "1") {
                    // A kernel without IPv6 has no noise from it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    outcome => outcome.map_err(Error::system(&path))?,
                }
            }
            Ok(())
        })??;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in it. The process is the program's own, not one of `ip`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip` on it: `namespace.ip(&["address", "add", "192.0.2.1/24", "dev", "dark0"])`.
    ///
    /// # Errors
    ///
    /// What `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, Error> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Runs `action` in it, on a thread of its own. Sockets, programs and threads made there stay
    /// in the namespace; the caller's thread never enters it.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    ///
    /// As `action` does.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.move_thread()?;
                Ok(action())
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the thread that calls into it, for good.
    pub(super) fn move_thread(&self) -> Result<(), Error> {
        let path = self.path();
        let action = || format!("entering {}", path.display());
        let file = File::open(&path).map_err(Error::system(action()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Error::system(action())(error.into()))
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("warning: {error}");
        }
    }
}

/// Removes the namespaces of processes that are no more.
pub(super) fn remove_leftovers() -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        // Nobody made a namespace yet.
        return Ok(());
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another lab may be doing the same.
            if let Err(error) = ip(&["netns", "delete", &name])
                && entry.path().exists()
            {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The process that made the namespace, if it is one of the lab's.
fn owner(name: &str) -> Option<u32> {
    let (process, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labs_own_namespaces_have_an_owner() {
        assert_eq!(owner("darknet-lab-42-0-telescope"), Some(42));
        for name in ["darknet-lab-x-0-telescope", "darknet-lab-42", "blue", ""] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
