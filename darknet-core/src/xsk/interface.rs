use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::sys;
use crate::{Error, kernel::interface_index};

/// What of an interface matters to those who receive on it, at the moment of asking, in the network
/// namespace of the thread that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// How many queues it receives on; `None` where the driver doesn't say. A socket is bound to
    /// one of them: all packets take that many sockets.
    pub queues: Option<u32>,
    /// The longest packet without its Ethernet header, in bytes.
    pub mtu: u32,
}

impl Interface {
    /// Asks about an interface.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownInterface`] if there is none of this name.
    ///
    /// # Examples
    ///
    /// ```
    /// let loopback = darknet_core::xsk::Interface::find("lo")?;
    /// assert_eq!(loopback.index, 1);
    /// # Ok::<(), darknet_core::Error>(())
    /// ```
    pub fn find(name: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownInterface { name: name.into() };
        let index = interface_index(name).ok_or_else(unknown)?;
        let mtu = sys::mtu(name).map_err(|source| match source.raw_os_error() {
            Some(libc::ENODEV) => unknown(),
            _ => Error::System {
                doing: format!("asking for the MTU of {name}"),
                source,
            },
        })?;
        // A driver that says 0 doesn't know (a bond does).
        let queues = sys::receive_queues(name).ok().filter(|&queues| queues > 0);
        Ok(Self {
            name: name.into(),
            index,
            queues: queues.or_else(|| queues_of(name)),
            mtu,
        })
    }
}

/// The receive queues that sysfs lists, if it is that of this network namespace.
fn queues_of(name: &str) -> Option<u32> {
    let address = sys::hardware_address(name).ok()?;
    let queues = fs::read_dir(folder(name, address).ok()?.join("queues")).ok()?;
    let names = queues.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let count = names.filter(|name| name.starts_with("rx-")).count();
    u32::try_from(count).ok().filter(|&count| count > 0)
}

/// The folder of an interface in sysfs, which shows the network namespace in which it was mounted,
/// whatever that of this thread. So its name alone could be another interface's, as its number
/// could: its hardware address has to be the same.
///
/// # Errors
///
/// `ENOENT` if there is none, or none that is known to be this one.
pub(super) fn folder(name: &str, address: [u8; 6]) -> io::Result<PathBuf> {
    let folder = Path::new("/sys/class/net").join(name);
    let found = fs::read_to_string(folder.join("address"))?;
    let text = address.map(|byte| format!("{byte:02x}")).join(":");
    // Interfaces without an address, as the loopback interface, are all alike.
    if address == [0; 6] || found.trim() != text {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn the_loopback_interface_is_as_the_kernel_makes_it() {
        let loopback = Interface::find("lo").expect("every namespace has one");
        let mtu = fs::read_to_string("/sys/class/net/lo/mtu").expect("sysfs");
        assert_eq!(loopback.mtu.to_string(), mtu.trim());
        assert_eq!((loopback.index, loopback.queues), (1, None));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn an_interface_that_there_is_not_is_named() {
        for name in [
            "darknet-none",
            "",
            "a-name-that-is-longer-than-any",
            "zero\0inside",
        ] {
            let error = Interface::find(name).expect_err(name);
            assert!(
                matches!(error, Error::UnknownInterface { .. }),
                "{name}: {error}"
            );
        }
    }
}
