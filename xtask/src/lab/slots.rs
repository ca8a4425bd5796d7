/// `ETH_HLEN` (include/uapi/linux/if_ether.h): the kernel makes no shorter packet.
pub const SHORTEST_FRAME: usize = 14;

/// What the driver takes (`veth_xdp_xmit`, drivers/net/veth.c): MTU 1,500, an Ethernet header and
/// a VLAN tag.
pub const LONGEST_FRAME: usize = 1518;

/// The size of a slot, with its program and map in `darknet-ebpf/src/bin/generator.rs`. Frames of
/// telescope traffic fit into the smallest, one cache line, which is sent much faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Bytes of a slot: a frame, and in the last four its length in the host's order.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Medium => 256,
            Self::Large => 2048,
        }
    }

    /// The longest frame that fits.
    pub(super) const fn room(self) -> usize {
        self.bytes() - size_of::<u32>()
    }

    /// The smallest that a frame of `length` fits.
    pub(super) fn of(length: usize) -> Option<Self> {
        if !(SHORTEST_FRAME..=LONGEST_FRAME).contains(&length) {
            return None;
        }
        Self::ALL.into_iter().find(|size| length <= size.room())
    }

    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    pub(super) const fn map(self) -> &'static str {
        match self {
            Self::Small => "SMALL",
            Self::Medium => "MEDIUM",
            Self::Large => "LARGE",
        }
    }

    /// Writes a frame that fits into slot `index` of `slots`. What lies behind the frame in the
    /// slot stays as it is: the program cuts it off.
    pub(super) fn write(self, slots: &mut [u8], index: usize, frame: &[u8]) {
        let slot = &mut slots[index * self.bytes()..][..self.bytes()];
        let (room, length) = slot.split_at_mut(self.room());
        room[..frame.len()].copy_from_slice(frame);
        length.copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_the_smallest_slot_that_it_fits() {
        for (length, size) in [
            (13, None),
            (14, Some(Size::Small)),
            (60, Some(Size::Small)),
            (61, Some(Size::Medium)),
            (252, Some(Size::Medium)),
            (253, Some(Size::Large)),
            (1518, Some(Size::Large)),
            (1519, None),
        ] {
            assert_eq!(Size::of(length), size, "{length}");
        }
        const { assert!(Size::Large.room() >= LONGEST_FRAME) };
    }

    #[test]
    fn the_length_is_at_the_end_of_the_slot() {
        let mut slots = [0xaa; 192];
        Size::Small.write(&mut slots, 1, &[7; 20]);
        assert_eq!(slots[..64], [0xaa; 64]);
        assert_eq!(slots[64..84], [7; 20]);
        assert_eq!(slots[124..128], 20u32.to_ne_bytes());
        assert_eq!(slots[128..], [0xaa; 64]);
    }
}
