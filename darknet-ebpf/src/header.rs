use crate::{
    class::Class,
    packet::{Address, Packet, Version},
    tool::Tools,
};

/// What the kernel program hands over of a packet: 64 bytes, one cache line, no padding.
///
/// Plain numbers only: whatever bytes come out of a ring are one. [`packet`](Self::packet) says
/// whether they mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    source: Address,
    destination: Address,
    bytes: u32,
    source_port: u16,
    destination_port: u16,
    version: u8,
    class: u8,
    tools: u8,
    icmp_type: u8,
    icmp_code: u8,
    ttl: u8,
    tcp_flags: u8,
    /// [`Header::LAYOUT`].
    layout: u8,
    /// The low half of the epoch that the packet was counted in.
    pub epoch: u32,
    protocol: u8,
    /// 0: so that no byte is padding.
    unused: [u8; 3],
    /// Nanoseconds of the monotonic clock: when the program saw the packet.
    pub time: u64,
}

impl Header {
    /// The number of this layout, in every record.
    pub const LAYOUT: u8 = 2;

    /// The record of a packet that was counted in `epoch` and seen at `time`.
    #[inline(always)]
    pub const fn new(packet: &Packet, epoch: u64, time: u64) -> Self {
        let Packet {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version,
            class,
            tools,
            icmp_type,
            icmp_code,
            ttl,
            tcp_flags,
            protocol,
        } = *packet;
        Self {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version: version as u8,
            class: class as u8,
            tools: tools.bits(),
            icmp_type,
            icmp_code,
            ttl,
            tcp_flags,
            layout: Self::LAYOUT,
            epoch: epoch as u32,
            protocol,
            unused: [0; 3],
            time,
        }
    }

    /// The record in the bytes of a ring, in the byte order of this machine.
    #[inline]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_ne_bytes(words[at]);
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let address = |at: usize| Address::from_words(core::array::from_fn(|n| word(at + n)));
        let (longs, _) = bytes.as_chunks::<8>();
        Self {
            source: address(0),
            destination: address(4),
            bytes: word(8),
            source_port: half(36),
            destination_port: half(38),
            version: bytes[40],
            class: bytes[41],
            tools: bytes[42],
            icmp_type: bytes[43],
            icmp_code: bytes[44],
            ttl: bytes[45],
            tcp_flags: bytes[46],
            layout: bytes[47],
            epoch: word(12),
            protocol: bytes[52],
            unused: [bytes[53], bytes[54], bytes[55]],
            time: u64::from_ne_bytes(longs[7]),
        }
    }

    /// The packet, or `None` if the record has another layout or holds what no packet can.
    #[inline]
    pub fn packet(&self) -> Option<Packet> {
        let Self {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version,
            class,
            tools,
            icmp_type,
            icmp_code,
            ttl,
            tcp_flags,
            layout,
            epoch: _,
            protocol,
            unused: _,
            time: _,
        } = *self;
        if layout != Self::LAYOUT {
            return None;
        }
        Some(Packet {
            source,
            destination,
            bytes,
            source_port,
            destination_port,
            version: match version {
                4 => Version::V4,
                6 => Version::V6,
                _ => return None,
            },
            class: *Class::ALL.get(usize::from(class))?,
            tools: Tools::from_bits(tools)?,
            icmp_type,
            icmp_code,
            ttl,
            tcp_flags,
            protocol,
        })
    }
}

const _: () = assert!(size_of::<Header>() == 64 && align_of::<Header>() == 8);
const _: () = assert!(core::mem::offset_of!(Header, epoch) == 48);
const _: () = assert!(core::mem::offset_of!(Header, time) == 56);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;

    /// A record as the ring holds it: IPv4, UDP, no marks, epoch 7, time 9.
    fn record() -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(&0xc633_6407u32.to_ne_bytes());
        bytes[16..20].copy_from_slice(&0xcb00_7109u32.to_ne_bytes());
        bytes[32..36].copy_from_slice(&40u32.to_ne_bytes());
        bytes[36..38].copy_from_slice(&4000u16.to_ne_bytes());
        bytes[38..40].copy_from_slice(&53u16.to_ne_bytes());
        bytes[40..48].copy_from_slice(&[4, 3, 0, 0, 0, 64, 0, Header::LAYOUT]);
        bytes[48..52].copy_from_slice(&7u32.to_ne_bytes());
        bytes[52] = 17;
        bytes[56..64].copy_from_slice(&9u64.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let header = Header::from_bytes(&record());
        let packet = header.packet().expect("a packet");
        assert_eq!(packet.source.v4(), 0xc633_6407);
        assert_eq!(packet.destination.v4(), 0xcb00_7109);
        assert_eq!((packet.source_port, packet.destination_port), (4000, 53));
        assert_eq!((packet.bytes, packet.class), (40, Class::Udp));
        assert_eq!((packet.ttl, packet.protocol), (64, 17));
        assert_eq!((header.epoch, header.time), (7, 9));
        assert_eq!(Header::new(&packet, 7, 9), header);
    }

    #[test]
    fn what_no_packet_can_be_is_none() {
        for (name, at, byte) in [
            ("another layout", 47, Header::LAYOUT + 1),
            ("no version", 40, 5),
            ("no class", 41, Class::ALL.len() as u8),
            ("a mark of no tool", 42, 1 << Tool::ALL.len()),
        ] {
            let mut bytes = record();
            bytes[at] = byte;
            assert_eq!(Header::from_bytes(&bytes).packet(), None, "{name}");
        }
    }
}
