//! The pcapng format: draft-ietf-opsawg-pcapng.

use darknet_ebpf::Link;

use super::{Found, Stop, buffer::Buffer};
use crate::time::Nanoseconds;

/// Block types.
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    /// Obsolete, and still in old captures.
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Options of an interface block.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const RESOLUTION: u16 = 9;
    pub(super) const OFFSET: u16 = 14;
}

/// The byte-order magic of a section header.
const ORDER: u32 = 0x1a2b_3c4d;
/// The longest block that is read: libpcap's bound.
const BLOCK_AT_MOST: usize = 16 << 20;
/// Interfaces in a section: what the 16 bits of the obsolete packet block can name.
const INTERFACES_AT_MOST: usize = 1 << 16;

/// Where in a pcapng file the reader is.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    /// Those of the current section.
    interfaces: Vec<Interface>,
    /// Whether any interface of any section is read.
    readable: bool,
    /// The link type of the first one that is not.
    unknown: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<Link>,
    /// Bytes kept of each packet at most; 0 is no limit.
    snap_length: u32,
    clock: Clock,
}

/// How an interface writes times.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// As in the option: units of 10^-n seconds, or 2^-n with the highest bit set.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
}

impl Clock {
    /// Nanoseconds of a time in this clock's units, cut to what 64 bits hold.
    #[inline]
    fn time(self, units: u64) -> Nanoseconds {
        let units = i128::from(units);
        let exponent = u32::from(self.resolution & 0x7f);
        let nanoseconds = match self.resolution {
            6 => units * 1000,
            9 => units,
            0x80.. => (units * 1_000_000_000) >> exponent,
            0..9 => units * 10i128.pow(9 - exponent),
            // A unit so small that 64 bits of them are no nanosecond.
            _ => 10i128
                .checked_pow(exponent - 9)
                .map_or(0, |unit| units / unit),
        };
        let shifted = nanoseconds + i128::from(self.offset) * 1_000_000_000;
        shifted.clamp(Nanoseconds::MIN.into(), Nanoseconds::MAX.into()) as Nanoseconds
    }
}

impl Pcapng {
    /// Whether a file begins as pcapng does.
    pub(super) fn begins(header: &[u8]) -> bool {
        let magic = header
            .get(8..12)
            .map(|magic| [magic[0], magic[1], magic[2], magic[3]]);
        header.starts_with(&block::SECTION.to_be_bytes())
            && (magic == Some(ORDER.to_be_bytes()) || magic == Some(ORDER.to_le_bytes()))
    }

    /// What the interfaces are, if none of them is read.
    pub(super) fn unreadable(&self) -> Option<String> {
        match (self.readable, self.unknown) {
            (true, _) => None,
            (false, Some(number)) => Some(format!("link type {number}")),
            (false, None) => Some("it describes none".into()),
        }
    }

    /// The next packet; blocks in between are taken in or stepped over.
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Result<Found, Stop> {
        loop {
            // Type, length, and what in a section header says the byte order.
            buffer.need(12)?;
            let begin = buffer.available();
            if begin.starts_with(&block::SECTION.to_be_bytes()) {
                self.big_endian = match begin[8..12] {
                    [0x1a, 0x2b, 0x3c, 0x4d] => true,
                    [0x4d, 0x3c, 0x2b, 0x1a] => false,
                    _ => return Err(corrupt("a section header has no byte order")),
                };
            }
            let kind = self.number(begin, 0);
            let length = self.number(begin, 4) as usize;
            if length < 12 || !length.is_multiple_of(4) || length > BLOCK_AT_MOST {
                return Err(Stop::Corrupt(format!("a block claims {length} bytes")));
            }
            buffer.need(length)?;
            let bytes = &buffer.available()[..length];
            if self.number(bytes, length - 4) as usize != length {
                return Err(corrupt("a block does not end with its length"));
            }
            let body = &bytes[8..length - 4];
            let packet = match kind {
                block::SECTION => self.section(body).map(|()| None),
                block::INTERFACE => self.interface(body).map(|()| None),
                block::ENHANCED_PACKET => self.enhanced(body).map(Some),
                block::SIMPLE_PACKET => self.simple(body).map(Some),
                block::PACKET => self.obsolete(body).map(Some),
                _ => Ok(None),
            }?;
            let block = buffer.consume(length);
            if let Some(Found { time, link, data }) = packet {
                let body = block.start + 8;
                return Ok(Found {
                    time,
                    link,
                    data: body + data.start..body + data.end,
                });
            }
        }
    }

    fn section(&mut self, body: &[u8]) -> Result<(), Stop> {
        if body.len() < 16 {
            return Err(corrupt("a section header is too short"));
        }
        let major = self.half(body, 4);
        if major != 1 {
            return Err(Stop::Corrupt(format!(
                "a section of version {major} of pcapng, not 1"
            )));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), Stop> {
        if body.len() < 8 {
            return Err(corrupt("an interface block is too short"));
        }
        if self.interfaces.len() == INTERFACES_AT_MOST {
            return Err(Stop::Corrupt(format!(
                "a section has more than {INTERFACES_AT_MOST} interfaces"
            )));
        }
        let link_type = self.half(body, 0);
        let link = Link::from_link_type(link_type);
        self.readable |= link.is_some();
        if link.is_none() {
            self.unknown.get_or_insert(link_type);
        }
        self.interfaces.push(Interface {
            link,
            snap_length: self.number(body, 4),
            clock: self.clock(&body[8..]),
        });
        Ok(())
    }

    /// The clock that an interface's options describe.
    fn clock(&self, mut options: &[u8]) -> Clock {
        let mut clock = Clock {
            resolution: 6,
            offset: 0,
        };
        while options.len() >= 4 {
            let (code, length) = (self.half(options, 0), self.half(options, 2));
            let Some(value) = options[4..].get(..usize::from(length)) else {
                break;
            };
            match (code, value) {
                (option::END, _) => break,
                (option::RESOLUTION, &[resolution]) => clock.resolution = resolution,
                (option::OFFSET, &[a, b, c, d, e, f, g, h]) => {
                    let bytes = [a, b, c, d, e, f, g, h];
                    clock.offset = match self.big_endian {
                        true => i64::from_be_bytes(bytes),
                        false => i64::from_le_bytes(bytes),
                    };
                }
                _ => {}
            }
            let padded = usize::from(length).next_multiple_of(4);
            options = options[4..].get(padded..).unwrap_or_default();
        }
        clock
    }

    #[inline]
    fn enhanced(&self, body: &[u8]) -> Result<Found, Stop> {
        if body.len() < 20 {
            return Err(corrupt("an enhanced packet block is too short"));
        }
        let interface = self.number(body, 0);
        self.timed(body, interface)
    }

    fn obsolete(&self, body: &[u8]) -> Result<Found, Stop> {
        if body.len() < 20 {
            return Err(corrupt("a packet block is too short"));
        }
        let interface = self.half(body, 0);
        self.timed(body, interface.into())
    }

    /// The packet of a block with a time at 4, the captured length at 12 and the bytes at 20.
    #[inline]
    fn timed(&self, body: &[u8], interface: u32) -> Result<Found, Stop> {
        let Interface { link, clock, .. } = self.known(interface)?;
        let high = u64::from(self.number(body, 4));
        let low = u64::from(self.number(body, 8));
        let captured = self.number(body, 12) as usize;
        if captured > body.len() - 20 {
            return Err(Stop::Corrupt(format!(
                "a packet claims {captured} bytes in a block that has {}",
                body.len() - 20
            )));
        }
        Ok(Found {
            time: Some(clock.time(high << 32 | low)),
            link,
            data: 20..20 + captured,
        })
    }

    fn simple(&self, body: &[u8]) -> Result<Found, Stop> {
        if body.len() < 4 {
            return Err(corrupt("a simple packet block is too short"));
        }
        let Interface {
            link, snap_length, ..
        } = self.known(0)?;
        let limit = match snap_length {
            0 => u32::MAX,
            limit => limit,
        };
        let captured = self.number(body, 0).min(limit) as usize;
        if captured > body.len() - 4 {
            return Err(Stop::Corrupt(format!(
                "a packet claims {captured} bytes in a block that has {}",
                body.len() - 4
            )));
        }
        Ok(Found {
            time: None,
            link,
            data: 4..4 + captured,
        })
    }

    #[inline]
    fn known(&self, interface: u32) -> Result<Interface, Stop> {
        let found = self.interfaces.get(interface as usize).copied();
        found.ok_or_else(|| {
            Stop::Corrupt(format!(
                "a packet of interface {interface}, of which the section has {}",
                self.interfaces.len()
            ))
        })
    }

    #[inline]
    fn number(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        }
    }

    #[inline]
    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }
}

fn corrupt(why: &str) -> Stop {
    Stop::Corrupt(why.into())
}
