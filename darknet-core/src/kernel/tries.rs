use aya::{
    Ebpf,
    maps::{LpmTrie, lpm_trie::Key},
};
use darknet_ebpf::Version;
use ipnet::IpNet;

use super::refused::refused;
use crate::Error;

pub(super) fn is(net: &IpNet, version: Version) -> bool {
    matches!(net, IpNet::V4(_)) == (version == Version::V4)
}

/// Writes prefixes to the tries of the two versions.
pub(super) fn fill<I: Iterator<Item = (IpNet, u32)>>(
    loaded: &mut Ebpf,
    [v4, v6]: [&'static str; 2],
    entries: impl Fn() -> I,
) -> Result<(), Error> {
    let of_v4 = |(net, value)| match net {
        IpNet::V4(net) => Some((
            Key::new(net.prefix_len().into(), net.addr().octets()),
            value,
        )),
        IpNet::V6(_) => None,
    };
    let of_v6 = |(net, value)| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some((
            Key::new(net.prefix_len().into(), net.addr().octets()),
            value,
        )),
    };
    insert(loaded, v4, entries().filter_map(of_v4))?;
    insert(loaded, v6, entries().filter_map(of_v6))
}

fn insert<const N: usize>(
    loaded: &mut Ebpf,
    name: &'static str,
    entries: impl Iterator<Item = (Key<[u8; N]>, u32)>,
) -> Result<(), Error> {
    let map = loaded.map_mut(name);
    let trie = map.and_then(|map| LpmTrie::try_from(map).ok());
    let mut trie = trie.ok_or_else(|| Error::KernelObject {
        what: format!("it has no trie {name}"),
    })?;
    for (key, value) in entries {
        trie.insert(&key, value, 0)
            .map_err(|error| refused(error.into()))?;
    }
    Ok(())
}
