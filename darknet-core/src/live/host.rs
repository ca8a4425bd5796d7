use nix::ifaddrs::getifaddrs;

use crate::{Dark, Error};

/// Refuses a dark space that would take this host's own traffic.
///
/// Loopback and link-local addresses are left out of it: their packets don't come from afar.
pub(super) fn check(dark: &Dark, any: bool) -> Result<(), Error> {
    if any {
        return Ok(());
    }
    if dark.is_any() {
        return Err(Error::NoDark);
    }
    if let Some(&prefix) = dark
        .prefixes()
        .iter()
        .find(|prefix| prefix.prefix_len() == 0)
    {
        return Err(Error::DefaultRoute { prefix });
    }
    let addresses = getifaddrs().map_err(|error| Error::Host(error.into()))?;
    for interface in addresses {
        let Some(storage) = interface.address else {
            continue;
        };
        let v4 = storage.as_sockaddr_in().map(|address| address.ip().into());
        let v6 = storage.as_sockaddr_in6().map(|address| address.ip().into());
        if let Some(address) = v4.or(v6)
            && dark.contains(address)
        {
            return Err(Error::OwnAddress {
                address,
                interface: interface.interface_name,
            });
        }
    }
    Ok(())
}
