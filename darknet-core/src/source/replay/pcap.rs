//! The pcap format: draft-ietf-opsawg-pcap.

use darknet_ebpf::Link;

use super::{Found, Stop, buffer::Buffer};
use crate::time::Nanoseconds;

/// The file header.
pub(super) const HEADER: usize = 24;
/// The header of each packet record.
const RECORD: usize = 16;
/// The most that a record may claim to have captured: libpcap's MAXIMUM_SNAPLEN.
const CAPTURED_AT_MOST: u32 = 262_144;

/// How a pcap file is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    /// Nanoseconds in a unit of the fraction of a second.
    unit: Nanoseconds,
    link_type: u16,
    /// The minor version, of which 4 is today's.
    minor: u32,
}

impl Pcap {
    /// Reads a file header: `None` if it is none of pcap, an error if it cannot be read.
    pub(super) fn begin(header: &[u8]) -> Result<Option<Self>, String> {
        let Some(magic) = header.first_chunk() else {
            return Ok(None);
        };
        let (big_endian, unit) = match u32::from_be_bytes(*magic) {
            0xa1b2_c3d4 => (true, 1000),
            0xa1b2_3c4d => (true, 1),
            0xd4c3_b2a1 => (false, 1000),
            0x4d3c_b2a1 => (false, 1),
            _ => return Ok(None),
        };
        let Some(header) = header.first_chunk::<HEADER>() else {
            return Err(format!(
                "it ends within the {HEADER} bytes of a pcap header"
            ));
        };
        let version = number(header, 4, big_endian);
        let (major, minor) = match big_endian {
            true => (version >> 16, version & 0xffff),
            false => (version & 0xffff, version >> 16),
        };
        if major != 2 || minor > 4 {
            return Err(format!(
                "it is of version {major}.{minor} of pcap, not 2.0 to 2.4"
            ));
        }
        Ok(Some(Self {
            big_endian,
            unit,
            // The upper half says how long the frame check sequence is, which follows the packet
            // and is not looked at.
            link_type: number(header, 20, big_endian) as u16,
            minor,
        }))
    }

    /// The link layer of every packet, or the number of one that is not read.
    #[inline]
    pub(super) fn link(&self) -> Result<Link, u16> {
        Link::from_link_type(self.link_type).ok_or(self.link_type)
    }

    #[inline(always)]
    pub(super) fn next(&self, buffer: &mut Buffer) -> Result<Found, Stop> {
        buffer.need(RECORD)?;
        let Some(header) = buffer.available().first_chunk::<RECORD>() else {
            return Err(Stop::Cut);
        };
        let seconds = number(header, 0, self.big_endian);
        let fraction = number(header, 4, self.big_endian);
        let captured = number(header, 8, self.big_endian);
        let original = number(header, 12, self.big_endian);
        // Before version 2.3 the lengths stood the other way round, in 2.3 either way: libpcap,
        // sf-pcap.c.
        let captured = match self.minor {
            4 => captured,
            3 => captured.min(original),
            _ => original,
        };
        if captured > CAPTURED_AT_MOST {
            return Err(claims(captured));
        }
        let length = RECORD + captured as usize;
        buffer.need(length)?;
        let record = buffer.consume(length);
        Ok(Found {
            // Below 2^32 s and 2^32 ms: no overflow.
            time: Some(
                Nanoseconds::from(seconds) * 1_000_000_000
                    + Nanoseconds::from(fraction) * self.unit,
            ),
            link: self.link().ok(),
            data: record.start + RECORD..record.end,
        })
    }
}

#[cold]
fn claims(captured: u32) -> Stop {
    Stop::Corrupt(format!(
        "a record claims {captured} bytes, more than {CAPTURED_AT_MOST}"
    ))
}

#[inline(always)]
fn number<const N: usize>(header: &[u8; N], at: usize, big_endian: bool) -> u32 {
    let (words, _) = header.as_chunks();
    let number = u32::from_le_bytes(words[at / 4]);
    match big_endian {
        true => number.swap_bytes(),
        false => number,
    }
}
