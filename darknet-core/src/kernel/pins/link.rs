use std::{fs, io};

use super::{Pins, failed, refused};
use crate::{Error, kernel::sys::Link};

/// The name of the link.
pub(super) const LINK: &str = "link";

impl Pins {
    /// Pins a link, so that its program stays where it is when the process ends.
    pub(in crate::kernel) fn pin_link(&self, link: &Link) -> Result<(), Error> {
        let path = self.path().join(LINK);
        link.pin(&path)
            .map_err(|error| refused("pinning", &path, &error))
    }

    /// The link, if one is pinned.
    pub(in crate::kernel) fn link(&self) -> Result<Option<Link>, Error> {
        let path = self.path().join(LINK);
        match Link::open(&path) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // It is no link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Error::ForeignPin {
                path: self.path().into(),
                name: LINK.into(),
            }),
            Err(error) => Err(refused("opening", &path, &error)),
        }
    }

    /// Takes the program off its interface, and removes the pin of the link.
    pub(in crate::kernel) fn remove_link(&self) -> Result<(), Error> {
        let Some(link) = self.link()? else {
            return Ok(());
        };
        let path = self.path().join(LINK);
        link.detach()
            .map_err(|error| refused("detaching", &path, &error))?;
        fs::remove_file(&path).map_err(|error| failed("removing", &path, error))
    }
}
