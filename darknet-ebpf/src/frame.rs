/// A frame whose bytes can be read, each read checked against its end.
///
/// Two implementations exist: byte slices here, the XDP context in the kernel program. The length
/// of a read is a constant and the offset a number, which is the shape that the kernel's verifier
/// can follow (a packet pointer plus a bounded offset, compared once with `data_end`).
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` unless the frame has all of them.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The same number, about which nothing is known.
    ///
    /// The verifier follows each way through a walk of several headers with the bounds that the
    /// offset has there: thousands of ways. Where it can't tell one way's offset from another's,
    /// it looks at one of them. So the kernel program makes it forget; nobody else has to.
    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        offset
    }
}

impl Frame for [u8] {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// The words of a header, each 32 bits in network order: how RFCs draw them.
///
/// `W` is `N` / 4.
#[inline(always)]
pub(crate) fn words<const N: usize, const W: usize>(header: [u8; N]) -> [u32; W] {
    const { assert!(N == W * 4) };
    let (words, _) = header.as_chunks::<4>();
    core::array::from_fn(|at| u32::from_be_bytes(words[at]))
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
    fn words_are_in_network_order() {
        assert_eq!(
            words(*b"\x01\x02\x03\x04\x05\x06\x07\x08"),
            [0x0102_0304, 0x0506_0708]
        );
    }
}
