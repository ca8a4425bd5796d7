use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::failed;
use crate::Error;

/// A folder on a BPF file system, which this process has locked.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock; it goes with the descriptor.
    _locked: File,
}

impl Folder {
    /// Makes the folder unless there is one, and those that it is in.
    pub(super) fn make(path: &Path) -> Result<Self, Error> {
        let path = checked(path)?;
        loop {
            match make(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("making", &path, error));
                }
                _ => {}
            }
            // Its last telescope may remove it in between.
            if let Some(folder) = Self::lock(&path)? {
                return Ok(folder);
            }
        }
    }

    /// The folder, if there is one.
    pub(super) fn find(path: &Path) -> Result<Option<Self>, Error> {
        Self::lock(&checked(path)?)
    }

    fn lock(path: &Path) -> Result<Option<Self>, Error> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path);
        let folder = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| failed("opening", path, error))?,
        };
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::PinsInUse { path: path.into() });
            }
            Err(TryLockError::Error(error)) => return Err(failed("locking", path, error)),
        }
        let identity = |of: fs::Metadata| (of.dev(), of.ino());
        let locked = folder.metadata().map(identity).ok();
        // What was locked may have been removed meanwhile.
        let there = fs::metadata(path).map(identity).ok();
        Ok((locked == there).then(|| Self {
            path: path.into(),
            _locked: folder,
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it, and whether each is a folder.
    pub(super) fn entries(&self) -> Result<Vec<(String, bool)>, Error> {
        let entries = fs::read_dir(&self.path).and_then(|entries| {
            let entries = entries.map(|entry| {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Ok((name, entry.file_type()?.is_dir()))
            });
            entries.collect()
        });
        entries.map_err(|error| failed("reading", &self.path, error))
    }

    /// Removes the folder, which has to be empty.
    pub(super) fn remove(self) -> Result<(), Error> {
        let Self { path, _locked } = self;
        match fs::remove_dir(&path) {
            // It is where the file system is mounted.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
            removed => removed.map_err(|error| failed("removing", &path, error)),
        }
    }
}

/// Makes a folder that is its owner's, and those that it is in.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(path.parent().is_some_and(|parent| !parent.exists()));
    builder.mode(0o700).create(path)
}

/// The whole path, if it is on a BPF file system and may be there.
fn checked(path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).map_err(|error| failed("finding", path, error))?;
    for there in path.ancestors() {
        let found = match statfs(there) {
            Ok(found) => found,
            // EPERM: a name with a dot.
            Err(nix::Error::ENOENT | nix::Error::EPERM) => continue,
            Err(error) => return Err(failed("looking at", there, error.into())),
        };
        if found.filesystem_type() != BPF_FS_MAGIC {
            return Err(Error::NotBpffs { path });
        }
        let made = path.strip_prefix(there).unwrap_or(&path).components();
        let dots = made
            .filter(|part| matches!(part, Component::Normal(_)))
            .any(|part| part.as_os_str().as_encoded_bytes().contains(&b'.'));
        return if dots {
            Err(Error::PinName { path })
        } else {
            Ok(path)
        };
    }
    Err(Error::NotBpffs { path })
}
