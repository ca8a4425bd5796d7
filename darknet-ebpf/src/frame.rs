/// A frame whose bytes can be read, each read checked against its end.
///
/// Two implementations exist: byte slices here, the XDP context in the kernel program. The length
/// of a read is a constant and the offset a number, which is the shape that the kernel's verifier
/// can follow (a packet pointer plus a bounded offset, compared once with `data_end`).
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` unless the frame has all of them.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// The big-endian 16-bit number at `offset` of a header that has been read.
#[inline(always)]
pub(crate) fn be16<const N: usize>(header: &[u8; N], offset: usize) -> u16 {
    u16::from_be_bytes([header[offset], header[offset + 1]])
}

/// The big-endian 32-bit number at `offset` of a header that has been read.
#[inline(always)]
pub(crate) fn be32<const N: usize>(header: &[u8; N], offset: usize) -> u32 {
    u32::from_be_bytes([
        header[offset],
        header[offset + 1],
        header[offset + 2],
        header[offset + 3],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_ends_at_the_last_byte() {
        let bytes: &[u8] = &[1, 2, 3, 4];
        assert_eq!(bytes.read::<4>(0), Some([1, 2, 3, 4]));
        assert_eq!(bytes.read::<2>(2), Some([3, 4]));
        assert_eq!(bytes.read::<2>(3), None);
        assert_eq!(bytes.read::<1>(4), None);
        assert_eq!(bytes.read::<0>(4), Some([]));
        assert_eq!(bytes.read::<0>(5), None);
        assert_eq!(bytes.read::<1>(usize::MAX), None);
    }

    #[test]
    fn numbers_are_read_in_network_order() {
        assert_eq!(be16(&[0, 0x12, 0x34], 1), 0x1234);
        assert_eq!(be32(&[0, 0x12, 0x34, 0x56, 0x78], 1), 0x1234_5678);
    }
}
