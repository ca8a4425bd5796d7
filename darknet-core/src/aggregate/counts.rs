/// Packets, and their bytes by the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// How many packets.
    pub packets: u64,
    /// IPv4 total lengths, IPv6 payload lengths + 40, added up.
    pub bytes: u64,
}

impl Counts {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }
}

#[cfg(all(feature = "live", target_os = "linux"))]
impl From<darknet_ebpf::abi::Counts> for Counts {
    fn from(counts: darknet_ebpf::abi::Counts) -> Self {
        let darknet_ebpf::abi::Counts { packets, bytes } = counts;
        Self { packets, bytes }
    }
}

impl std::ops::AddAssign for Counts {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        let Self { packets, bytes } = other;
        self.packets += packets;
        self.bytes += bytes;
    }
}
