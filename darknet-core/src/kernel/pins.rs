//! What outlives the process: the link and the maps of a telescope, pinned in a folder.
//!
//! ```text
//! FOLDER/link       the XDP link
//! FOLDER/1/TALLY    a map of generation 1, and so on
//! ```
//!
//! A reload or a takeover makes generation 2 beside it, moves the link, drains 1 and removes it. A
//! process that is killed meanwhile leaves the link and both, each of them whole.

/// The folder: on a BPF file system, with one owner.
mod folder;
/// The link in it.
mod link;
/// What a map has to be.
mod shape;

#[cfg(test)]
mod tests;

use std::{
    error, fs, io,
    path::{Path, PathBuf},
};

use aya::maps::MapData;

pub(super) use self::shape::Shape;

use self::{
    folder::{Folder, make},
    link::LINK,
};
use super::{netlink, privilege, refused::system_error};
use crate::Error;

/// Where a generation is while it is pinned or removed, so that its number stands for all of it.
const UNFINISHED: &str = "unfinished";

/// The folder of one telescope, locked for this process.
#[derive(Debug)]
pub(super) struct Pins {
    folder: Folder,
}

/// A telescope that was left pinned, and has been ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The interface that it was on. `None` if that is gone or in another network namespace, or if
    /// the telescope was on none.
    pub interface: Option<String>,
}

/// Ends a telescope that was left pinned in a folder: takes its program off the interface and
/// removes all that is pinned. What it had counted and nobody had drained is lost.
///
/// `None` if none is pinned there.
///
/// # Errors
///
/// A folder that is not on a BPF file system, or holds something else (nothing is removed then); a
/// process that runs with these pins; what the kernel said.
pub fn detach(folder: &Path) -> Result<Option<Ended>, Error> {
    let Some(folder) = Folder::find(folder)? else {
        return Ok(None);
    };
    let pins = Pins { folder };
    let generations = pins.generations()?;
    pins.sweep()?;
    if generations.is_empty() {
        return Ok(None);
    }
    let interface = pins.link()?.and_then(|link| {
        let ends = link.ends().ok()?;
        // The number is that of another interface in another namespace: the program tells.
        let state = netlink::link(ends.interface?).ok()?;
        (state.program == Some(ends.program)).then_some(state.name)
    });
    pins.clear()?;
    Ok(Some(Ended { interface }))
}

impl Pins {
    /// Makes the folder if there is none, and keeps other telescopes out of it until this is
    /// dropped or the process ends, however it does.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let folder = Folder::make(folder)?;
        let pins = Self { folder };
        pins.generations()?;
        pins.sweep()?;
        Ok(pins)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.path().join(number.to_string())
    }

    /// The generations that are pinned, the oldest first. Anything beside them is an error, a link
    /// without them too: that is somebody else's.
    pub(super) fn generations(&self) -> Result<Vec<u64>, Error> {
        let foreign = |name| Error::ForeignPin {
            path: self.path().into(),
            name,
        };
        let mut generations = Vec::new();
        let mut link = None;
        for (name, is_folder) in self.folder.entries()? {
            let number = name.parse().ok();
            let number = number.filter(|number: &u64| is_folder && number.to_string() == name);
            match number {
                Some(number) => generations.push(number),
                None if name == LINK && !is_folder => link = Some(name),
                None if name == UNFINISHED && is_folder => {}
                None => return Err(foreign(name)),
            }
        }
        if let (Some(name), true) = (link, generations.is_empty()) {
            return Err(foreign(name));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// Pins the maps of a new generation: all of them, or none.
    pub(super) fn pin_maps<'a>(
        &self,
        generation: u64,
        maps: impl IntoIterator<Item = (&'a str, &'a MapData)>,
    ) -> Result<(), Error> {
        self.sweep()?;
        let unfinished = self.path().join(UNFINISHED);
        make(&unfinished).map_err(|error| failed("making", &unfinished, error))?;
        let pinned = maps.into_iter().try_for_each(|(name, map)| {
            let path = unfinished.join(name);
            map.pin(&path)
                .map_err(|error| refused("pinning", &path, &error))
        });
        let to = self.generation(generation);
        let pinned = pinned.and_then(|()| {
            fs::rename(&unfinished, &to).map_err(|error| failed("making", &to, error))
        });
        if pinned.is_err() {
            // The first error says more.
            let _ = self.sweep();
        }
        pinned
    }

    /// Opens a map, which has to be of this shape: the kernel would take any.
    pub(super) fn open_map(
        &self,
        generation: u64,
        name: &str,
        shape: &Shape,
    ) -> Result<MapData, Error> {
        let path = self.generation(generation).join(name);
        let other = |what: String| Error::OtherVersion {
            path: self.path().into(),
            what,
        };
        let map = MapData::from_pin(&path).map_err(|error| match system_error(&error) {
            Some(error) if error.kind() == io::ErrorKind::NotFound => {
                other(format!("no map {name} in generation {generation}"))
            }
            _ => refused("opening", &path, &error),
        })?;
        let found = Shape::of(&map).map_err(|error| refused("asking about", &path, &error))?;
        match found.difference(shape) {
            Some(difference) => Err(other(format!("map {name} has {difference}"))),
            None => Ok(map),
        }
    }

    /// Fails unless tables that are there have the layout that this version reads.
    pub(super) fn expect_layout(&self, found: u64, expected: u64) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::OtherVersion {
            path: self.path().into(),
            what: format!("layout {found}, not {expected}"),
        })
    }

    /// Removes the pins of a generation. Its maps live on while somebody has them open, a program
    /// included.
    pub(super) fn remove(&self, generation: u64) -> Result<(), Error> {
        self.sweep()?;
        let path = self.generation(generation);
        match fs::rename(&path, self.path().join(UNFINISHED)) {
            // It had been begun, and was finished by the sweep.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("removing", &path, error)),
            Ok(()) => self.sweep(),
        }
    }

    /// Ends the telescope and removes all that is pinned, and the folder.
    pub(super) fn clear(self) -> Result<(), Error> {
        // First, as it knows what is not ours.
        let generations = self.generations()?;
        self.remove_link()?;
        for generation in generations {
            self.remove(generation)?;
        }
        self.sweep()?;
        self.folder.remove()
    }

    /// Removes what a process left that was killed while it pinned or removed a generation.
    fn sweep(&self) -> Result<(), Error> {
        let path = self.path().join(UNFINISHED);
        let swept = fs::remove_dir_all(&path);
        match swept {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("removing", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// The error of a file system call.
fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::System {
        doing: format!("{doing} {}", path.display()),
        source,
    }
}

/// The error of a `bpf` call: some need a capability.
fn refused(doing: &str, path: &Path, error: &(dyn error::Error + 'static)) -> Error {
    let source = system_error(error).unwrap_or_else(|| io::Error::other(error.to_string()));
    privilege::missing(&source, "pinning a telescope")
        .unwrap_or_else(|| failed(doing, path, source))
}
