/// Where one frame is made; use one for many packets.
#[derive(Debug, Clone)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBuffer {
    /// An empty one, with room for every frame.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(2048),
        }
    }

    /// The frame made last.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Pads with zeros to `size`.
    pub(super) fn pad(&mut self, size: usize) {
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
    }

    /// Writes the checksum of everything from `start`, plus `pseudo_header`, at `start` + `offset`,
    /// where there are zeros now.
    pub(super) fn seal(&mut self, start: usize, offset: usize, pseudo_header: u64) -> u16 {
        let sum = checksum(pseudo_header + sum(&self.bytes[start..]));
        self.put(start + offset, sum);
        sum
    }

    /// Overwrites two bytes.
    pub(super) fn put(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// The sum of `bytes` as 32-bit words, for [`checksum`]. Folding it to 16 bits gives the sum of
/// 16-bit words, because 2^16 = 1 modulo 2^16 - 1 (RFC 1071 section 2).
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain([&last])
        .map(|word| u64::from(u32::from_be_bytes(*word)))
        .sum()
}

/// The Internet checksum (RFC 1071) of what was summed.
pub(super) const fn checksum(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // Its section 3: the sum of these bytes is ddf2.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(sum(&example)), !0xddf2);
        assert_eq!(checksum(sum(&example[..7])), !0xdcfb, "odd length");
        assert_eq!(checksum(sum(&[])), 0xffff);
        assert_eq!(checksum(sum(&[0xff; 2000])), 0);
    }
}
