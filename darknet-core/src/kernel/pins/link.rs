use std::{fs, io};

use aya::programs::links::{FdLink, PinnedLink};

use super::{Pins, failed, refused};
use crate::{Error, kernel::sys};

/// The name of the link.
pub(super) const LINK: &str = "link";

/// The link that is pinned.
#[derive(Debug)]
pub(in crate::kernel) struct Link {
    /// To be moved to another program.
    pub(in crate::kernel) link: FdLink,
    /// The number of its interface; `None` once that is gone.
    pub(in crate::kernel) interface: Option<u32>,
    /// The number of the program that it runs.
    pub(in crate::kernel) program: u32,
}

impl Pins {
    /// Pins a link, so that its program stays where it is when the process ends.
    pub(in crate::kernel) fn pin_link(&self, link: FdLink) -> Result<Link, Error> {
        let path = self.path().join(LINK);
        link.pin(&path)
            .map_err(|error| refused("pinning", &path, &error))?;
        self.link()?.ok_or_else(|| Error::System {
            doing: format!("opening {}", path.display()),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The link, if one is pinned.
    pub(in crate::kernel) fn link(&self) -> Result<Option<Link>, Error> {
        let Some(sys::PinnedLink {
            interface, program, ..
        }) = self.link_as_pinned()?
        else {
            return Ok(None);
        };
        let path = self.path().join(LINK);
        let link = PinnedLink::from_pin(&path);
        let link = link.map_err(|error| refused("opening", &path, &error))?;
        Ok(Some(Link {
            link: link.into(),
            interface,
            program,
        }))
    }

    pub(super) fn link_as_pinned(&self) -> Result<Option<sys::PinnedLink>, Error> {
        let path = self.path().join(LINK);
        match sys::pinned_link(&path) {
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
        let Some(link) = self.link_as_pinned()? else {
            return Ok(());
        };
        let path = self.path().join(LINK);
        link.detach()
            .map_err(|error| refused("detaching", &path, &error))?;
        fs::remove_file(&path).map_err(|error| failed("removing", &path, error))
    }
}
