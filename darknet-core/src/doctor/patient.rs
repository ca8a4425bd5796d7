use super::system::System;
use crate::kernel::device::{Channels, Device};

/// `ARPHRD_LOOPBACK`: `include/uapi/linux/if_arp.h`.
const LOOPBACK: u16 = 772;

/// What sort of thing an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// A card, or what a virtual machine takes for one.
    Card,
    Loopback,
    /// One end of a pair.
    Veth,
    /// Frames come from a program.
    Tap,
    /// On top of others: a bridge, a VLAN, a bond.
    Stacked,
    /// Any other that has no device.
    Virtual,
}

/// The interface that is looked at, and what is asked of it more than once.
pub(super) struct Patient<'a> {
    pub(super) system: &'a dyn System,
    pub(super) device: &'a Device,
    pub(super) nature: Nature,
    /// The driver of a card, else what kind of interface it is.
    pub(super) driver: String,
    /// Queues that receive, now and at most.
    pub(super) queues: Option<(u32, u32)>,
    /// Processors that are switched on.
    pub(super) processors: u32,
}

impl<'a> Patient<'a> {
    pub(super) fn new(system: &'a dyn System, device: &'a Device) -> Self {
        let driver = system.target(&format!("/sys/class/net/{}/device/driver", device.name));
        let kind = device.kind.as_deref();
        let nature = match kind {
            _ if driver.is_some() => Nature::Card,
            _ if device.link_type == LOOPBACK => Nature::Loopback,
            Some("veth") => Nature::Veth,
            Some("tun") => Nature::Tap,
            Some("bridge" | "vlan" | "macvlan" | "macvtap" | "ipvlan" | "bond" | "team") => {
                Nature::Stacked
            }
            _ => Nature::Virtual,
        };
        let online = system.read("/sys/devices/system/cpu/online");
        Self {
            system,
            device,
            nature,
            driver: driver.unwrap_or_else(|| kind.unwrap_or("none").to_owned()),
            queues: device
                .channels
                .map(|Channels { rx, combined }| (rx.0 + combined.0, rx.1 + combined.1)),
            processors: online.map_or(1, |list| count(&list)).max(1),
        }
    }

    /// A file of the interface.
    pub(super) fn path(&self, file: &str) -> String {
        format!("/sys/class/net/{}/{file}", self.device.name)
    }

    /// Its text.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        self.system.read(&self.path(file))
    }
}

/// How many numbers a list of the kernel has: `0-3,8` is five.
pub(super) fn count(list: &str) -> u32 {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    });
    ranges.sum()
}
