use std::{collections::BTreeSet, io};

use super::{
    netlink::{self, Attributes, INTERFACE, attribute, generic::Family},
    sys,
};

/// Attributes of an interface: `include/uapi/linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER: u16 = 33;
/// `include/uapi/linux/if.h`.
const IFF_UP: u32 = 1;

/// The family `netdev`, Linux 6.3: `include/uapi/linux/netdev.h`.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// The family `ethtool`: `include/uapi/linux/ethtool_netlink.h`.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_RINGS_GET: u8 = 15;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
/// The first attribute of each question, and the interface's number in it.
const ETHTOOL_A_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_RINGS_RX_MAX: u16 = 2;
const ETHTOOL_A_RINGS_RX: u16 = 6;
const ETHTOOL_A_CHANNELS_RX_MAX: u16 = 2;
const ETHTOOL_A_CHANNELS_COMBINED_MAX: u16 = 5;
const ETHTOOL_A_CHANNELS_RX_COUNT: u16 = 6;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
/// An attribute that has others in it: `include/uapi/linux/netlink.h`.
const NLA_F_NESTED: u16 = 1 << 15;

/// What an interface is, and what its driver says that it can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) is_up: bool,
    pub(crate) has_carrier: bool,
    /// Whether somebody has asked for frames to other addresses too.
    pub(crate) is_promiscuous: bool,
    /// `ARPHRD_…`, `include/uapi/linux/if_arp.h`: what is before the packet.
    pub(crate) link_type: u16,
    /// What it is if it is virtual: `veth`, `tun`.
    pub(crate) kind: Option<String>,
    /// Its hardware address, as it is written.
    pub(crate) address: String,
    pub(crate) mtu: u32,
    /// The number of its XDP program.
    pub(crate) program: Option<u32>,
    /// What its driver has of XDP; `None` where the kernel can't be asked.
    pub(crate) xdp: Option<Xdp>,
    /// Queues; `None` if the driver does not say.
    pub(crate) channels: Option<Channels>,
    /// Packets that its receive ring takes, now and at most.
    pub(crate) ring: Option<(u32, u32)>,
    /// What the hardware does for the host, by the kernel's names: `rx-lro`.
    pub(crate) offloads: BTreeSet<String>,
}

/// What a driver has of XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct Xdp {
    /// A place for programs in the driver.
    pub(crate) driver_mode: bool,
    /// Sockets that share their memory with the card.
    pub(crate) zero_copy: bool,
    /// Frames of several buffers.
    pub(crate) multi_buffer: bool,
}

/// Queues now and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct Channels {
    /// That only receive.
    pub(crate) rx: (u32, u32),
    /// That do both.
    pub(crate) combined: (u32, u32),
}

impl Device {
    /// Asks the kernel; `None` if there is no such interface in this network namespace.
    ///
    /// What the kernel or the driver can't say is left out.
    ///
    /// # Errors
    ///
    /// What the kernel said to the first question.
    pub(crate) fn ask(name: &str) -> io::Result<Option<Self>> {
        let Some(index) = sys::interface_index(name) else {
            return Ok(None);
        };
        let answer =
            match netlink::ask(index).and_then(|answer| Ok((netlink::link(index)?, answer))) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
                result => result?,
            };
        let (link, answer) = answer;
        let mut device = Self::of(netlink::body(&answer)?)?;
        device.program = link.program;
        device.xdp = xdp(index).ok();
        if let Ok(mut ethtool) = Family::open("ethtool") {
            let number = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
            let header = attribute(ETHTOOL_A_HEADER | NLA_F_NESTED, &number);
            let mut ask = |command| ethtool.ask(command, &header).ok();
            device.channels = ask(ETHTOOL_MSG_CHANNELS_GET).map(|answer| channels(&answer));
            device.ring = ask(ETHTOOL_MSG_RINGS_GET).and_then(|answer| ring(&answer));
            let features = ask(ETHTOOL_MSG_FEATURES_GET);
            device.offloads = features.map_or_else(BTreeSet::new, |answer| offloads(&answer));
        }
        Ok(Some(device))
    }

    /// Reads an `ifinfomsg` with its attributes.
    fn of(body: &[u8]) -> io::Result<Self> {
        let (start, rest) = body
            .split_at_checked(INTERFACE)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let attributes = Attributes(rest);
        let flags = u32::from_ne_bytes([start[8], start[9], start[10], start[11]]);
        let address = attributes.value(IFLA_ADDRESS).unwrap_or_default();
        let address: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
        let information = attributes.value(IFLA_LINKINFO).unwrap_or_default();
        Ok(Self {
            name: attributes.text(netlink::IFLA_IFNAME).unwrap_or_default(),
            is_up: flags & IFF_UP != 0,
            has_carrier: attributes.value(IFLA_CARRIER) != Some(&[0]),
            is_promiscuous: attributes.number(IFLA_PROMISCUITY).unwrap_or(0) > 0,
            link_type: u16::from_ne_bytes([start[2], start[3]]),
            kind: Attributes(information).text(IFLA_INFO_KIND),
            address: address.join(":"),
            mtu: attributes.number(IFLA_MTU).unwrap_or(0),
            ..Self::default()
        })
    }
}

/// What the driver has of XDP: `enum netdev_xdp_act`.
fn xdp(index: u32) -> io::Result<Xdp> {
    let index = attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = Family::open("netdev")?.ask(NETDEV_CMD_DEV_GET, &index)?;
    let features = Attributes(&answer).value(NETDEV_A_DEV_XDP_FEATURES);
    let features = features.and_then(<[u8]>::first_chunk);
    let features = u64::from_ne_bytes(*features.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(Xdp {
        driver_mode: features & 1 != 0,
        zero_copy: features & 1 << 3 != 0,
        multi_buffer: features & 1 << 5 != 0,
    })
}

fn channels(answer: &[u8]) -> Channels {
    let number = |kind| Attributes(answer).number(kind).unwrap_or(0);
    Channels {
        rx: (
            number(ETHTOOL_A_CHANNELS_RX_COUNT),
            number(ETHTOOL_A_CHANNELS_RX_MAX),
        ),
        combined: (
            number(ETHTOOL_A_CHANNELS_COMBINED_COUNT),
            number(ETHTOOL_A_CHANNELS_COMBINED_MAX),
        ),
    }
}

fn ring(answer: &[u8]) -> Option<(u32, u32)> {
    let number = |kind| Attributes(answer).number(kind);
    Some((number(ETHTOOL_A_RINGS_RX)?, number(ETHTOOL_A_RINGS_RX_MAX)?))
}

/// The names in the set of what is active.
fn offloads(answer: &[u8]) -> BTreeSet<String> {
    let active = Attributes(answer).value(ETHTOOL_A_FEATURES_ACTIVE);
    let bits = Attributes(active.unwrap_or_default()).value(ETHTOOL_A_BITSET_BITS);
    Attributes(bits.unwrap_or_default())
        .filter_map(|(_, bit)| Attributes(bit).text(ETHTOOL_A_BITSET_BIT_NAME))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_as_it_is() {
        let device = Device::ask("lo").expect("an answer").expect("it is there");
        assert_eq!(device.name, "lo");
        // `ARPHRD_LOOPBACK`.
        assert_eq!((device.link_type, device.kind.as_deref()), (772, None));
        assert_eq!((device.channels, device.ring), (None, None));
        assert_eq!(device.address, "00:00:00:00:00:00");
        // Where the kernel can be asked: no driver, no place for a program.
        assert!(!device.xdp.is_some_and(|xdp| xdp.driver_mode));
        assert!(device.mtu > 0);
        assert_eq!(Device::ask("no-such-one").expect("an answer"), None);
        assert_eq!(Device::ask("").expect("an answer"), None);
        assert_eq!(Device::ask("../../../etc").expect("an answer"), None);
    }

    #[test]
    fn answers_cut_short_are_no_panic() {
        let bit = attribute(2, b"rx-lro\0");
        let bits = attribute(3, &attribute(1, &bit));
        let numbers = [(2, 63u32), (5, 32), (6, 1), (9, 4)]
            .map(|(kind, number)| attribute(kind, &number.to_ne_bytes()));
        let features = attribute(ETHTOOL_A_FEATURES_ACTIVE | NLA_F_NESTED, &bits);
        assert_eq!(offloads(&features), ["rx-lro".to_owned()].into());
        let whole = numbers.concat();
        let expected = Channels {
            rx: (1, 63),
            combined: (4, 32),
        };
        assert_eq!(channels(&whole), expected);
        assert_eq!(ring(&whole), Some((1, 63)));
        for length in 0..features.len() {
            assert_eq!(offloads(&features[..length]), BTreeSet::new());
        }
        for length in 0..whole.len() {
            channels(&whole[..length]);
            ring(&whole[..length]);
        }
        for length in 0..INTERFACE {
            assert!(Device::of(&vec![0; length]).is_err());
        }
    }
}
