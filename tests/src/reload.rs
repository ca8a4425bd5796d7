use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    host::Host,
    live::{Run, until},
};

/// A configuration file that changes.
#[derive(Debug)]
pub struct Configuration {
    path: PathBuf,
    _folder: TempDir,
}

impl Configuration {
    /// A file in a folder of its own.
    ///
    /// # Panics
    ///
    /// If there can be none.
    pub fn new(text: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("telescope.toml");
        let file = Self {
            path,
            _folder: folder,
        };
        file.write(text);
        file
    }

    /// Puts another text in it.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("a file");
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, as an argument.
    ///
    /// # Panics
    ///
    /// If that is not UTF-8.
    pub fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }
}

/// Starts `darknet run` with a configuration, with a JSON line for each window, and returns when it
/// can be told to reload.
///
/// # Panics
///
/// If it says something else first.
pub fn watching(host: &Host, file: &Configuration, rest: &[&str]) -> Run {
    let arguments = ["--config", file.name(), "--json", "--windows", "--top", "0"];
    let run = host.watching(&[&arguments, rest].concat());
    until("its page", || host.darknet(&["status"]).code == Some(0));
    run
}

/// Has the only telescope of a host reload.
///
/// # Panics
///
/// If it refuses.
pub fn reloaded(host: &Host) {
    let ended = host.darknet(&["reload"]);
    let said = "reloaded the telescope on dark0\n";
    assert_eq!((ended.code, ended.said.as_str()), (Some(0), said));
    assert_eq!(ended.printed, "");
}

/// Lines of what was said that begin so.
pub fn lines(said: &str, begin: &str) -> usize {
    said.lines().filter(|line| line.starts_with(begin)).count()
}
