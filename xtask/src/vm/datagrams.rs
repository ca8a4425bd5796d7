use std::{net::Ipv4Addr, ops::RangeInclusive};

use xtask::lab::Frames;

use super::guest::CARDS;

/// Lengths of Ethernet frames, without the checksum at their end.
pub(super) const LENGTHS: RangeInclusive<u16> = 60..=1514;
/// Bytes of their Ethernet header.
pub(super) const ETHERNET: u16 = 14;

const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// UDP in frames of each length, from the shortest to the longest and again. The port is the
/// frame's length.
#[derive(Debug)]
pub(super) struct Datagrams {
    lengths: RangeInclusive<u16>,
    /// How often it begins again.
    left: u64,
    frame: Vec<u8>,
}

impl Datagrams {
    /// So many of each length.
    pub(super) const fn new(each: u64) -> Self {
        Self {
            lengths: LENGTHS,
            left: each,
            frame: Vec::new(),
        }
    }

    fn write(&mut self, length: u16) {
        self.frame.clear();
        for card in CARDS {
            let bytes = card.split(':').map(|byte| u8::from_str_radix(byte, 16));
            self.frame
                .extend(bytes.map(|byte| byte.expect("an address")));
        }
        self.frame.extend(0x0800_u16.to_be_bytes());
        let bytes = length - ETHERNET;
        let mut header = [0; 20];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&bytes.to_be_bytes());
        header[8] = 64;
        header[9] = 17;
        header[12..16].copy_from_slice(&SOURCE.octets());
        header[16..20].copy_from_slice(&DESTINATION.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        self.frame.extend(header);
        // From a port to one; of so many bytes, without a checksum, which is 0.
        for field in [53, length, bytes - 20, 0] {
            self.frame.extend(field.to_be_bytes());
        }
        self.frame.resize(usize::from(length), 0xda);
    }
}

impl Frames for Datagrams {
    fn next(&mut self) -> Option<&[u8]> {
        if self.left == 0 {
            return None;
        }
        let length = self.lengths.next()?;
        if self.lengths.is_empty() {
            self.lengths = LENGTHS;
            self.left -= 1;
        }
        self.write(length);
        Some(&self.frame)
    }
}

/// Of an IPv4 header: RFC 1071.
fn checksum(header: &[u8; 20]) -> u16 {
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|&word| u32::from(u16::from_be_bytes(word)))
        .sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_comes_as_often_as_it_should() {
        let mut frames = Datagrams::new(2);
        for round in 0..2 {
            for length in LENGTHS {
                let frame = frames.next().expect("a frame");
                assert_eq!(frame.len(), usize::from(length), "round {round}");
                assert_eq!(frame[16..18], (length - ETHERNET).to_be_bytes());
                assert_eq!(frame[36..38], length.to_be_bytes());
            }
        }
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn the_header_sums_up_with_its_checksum() {
        let mut frames = Datagrams::new(1);
        let frame = frames.next().expect("a frame");
        let header = frame[14..].first_chunk().expect("a header");
        assert_eq!(checksum(header), 0);
    }
}
