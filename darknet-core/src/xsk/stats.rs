/// What became of the packets of a [`Queue`](super::Queue), since it was opened.
///
/// What the kernel has lost is [`Statistics::lost`]. Packets that were redirected to a socket of
/// another queue, or to none, are in no count of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Packets of the batches that were given back.
    pub received: u64,
    /// Those of them of which only a part was yielded.
    pub truncated: u64,
    /// Descriptors that don't lie in a chunk: their frames were not looked at.
    pub bad_descriptors: u64,
    /// Frames that wait to be read: neither received nor lost.
    pub pending: u32,
    /// Chunks that the kernel may write to next: those in the FILL ring.
    pub fill: u32,
    /// Packets for which the kernel had no chunk, or that were too long for one.
    pub rx_dropped: u64,
    /// Packets for which there was no room in the RX ring.
    pub rx_ring_full: u64,
    /// How often the FILL ring was found empty. A packet that was lost to it is in `rx_dropped` too;
    /// with zero-copy, drivers look before there is a packet.
    pub rx_fill_ring_empty_descs: u64,
    /// Chunks of the FILL ring that the kernel refused.
    pub rx_invalid_descs: u64,
}

impl Statistics {
    /// Packets that the kernel had for the socket and lost: `rx_dropped` and `rx_ring_full`. In copy
    /// mode that is all of them; with zero-copy, the driver drops what it has no chunk for before
    /// anybody sees it, and may count it elsewhere (`ethtool -S`).
    pub const fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full
    }
}
