use crate::{class::Class, frame::Frame, packet::Packet};

/// What a packet carries behind its transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
    /// How many bytes it has by the packet's own length; 0 is none.
    pub length: u32,
}

impl Packet {
    /// The payload of this packet, which was found in `frame` with its IP header at `network` and
    /// its transport header at `transport`, as [`Ip::walk`](crate::Ip::walk) and
    /// [`Metadata`](crate::Metadata) say.
    ///
    /// Of TCP it is what follows the data offset, of UDP and ICMP what follows 8 bytes, up to the
    /// end by the IP header: the UDP length is not believed, as it lies, and what Ethernet pads
    /// with is none. There is none where the data offset points behind that end, as in real SYNs of
    /// Mirai, and none of fragments, malformed packets and other protocols.
    #[inline(always)]
    pub fn payload<'a>(&self, frame: &'a [u8], network: usize, transport: usize) -> Payload<'a> {
        let header = match self.class {
            Class::TcpSyn | Class::TcpBackscatter | Class::TcpOther => {
                match frame.read(transport + 12) {
                    // RFC 9293 section 3.1: in 4-byte words.
                    Some([offset]) => usize::from(offset >> 4) * 4,
                    None => return Payload::default(),
                }
            }
            Class::Udp | Class::Icmp | Class::IcmpBackscatter => 8,
            Class::Fragment | Class::Malformed | Class::Other => return Payload::default(),
        };
        let (start, end) = (transport + header, network + self.bytes as usize);
        if start >= end {
            return Payload::default();
        }
        Payload {
            bytes: frame.get(start..end.min(frame.len())).unwrap_or(&[]),
            length: (end - start) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 60 bytes, each its place, with a data offset of so many words at byte 32.
    fn frame(words: u8) -> [u8; 60] {
        let mut frame: [u8; 60] = core::array::from_fn(|at| at as u8);
        frame[32] = words << 4;
        frame
    }

    #[test]
    fn a_payload_lies_between_the_transport_header_and_the_end_by_the_ip_header() {
        // The IP header is at 0, the transport header at 20.
        for (name, class, words, bytes, captured, expected, length) in [
            ("TCP", Class::TcpOther, 5, 50, 60, 40..50, 10),
            ("TCP with options", Class::TcpSyn, 7, 50, 60, 48..50, 2),
            ("backscatter", Class::TcpBackscatter, 5, 41, 60, 40..41, 1),
            ("a bare SYN", Class::TcpSyn, 5, 40, 60, 0..0, 0),
            (
                "an offset behind the end",
                Class::TcpSyn,
                15,
                50,
                60,
                0..0,
                0,
            ),
            ("UDP", Class::Udp, 5, 50, 60, 28..50, 22),
            ("ICMP", Class::Icmp, 5, 30, 60, 28..30, 2),
            (
                "an ICMP answer",
                Class::IcmpBackscatter,
                5,
                29,
                60,
                28..29,
                1,
            ),
            ("no payload of UDP", Class::Udp, 5, 28, 60, 0..0, 0),
            ("cut in the payload", Class::Udp, 5, 50, 40, 28..40, 22),
            ("cut before the payload", Class::Udp, 5, 50, 28, 0..0, 22),
            ("cut in the options", Class::TcpSyn, 7, 50, 44, 0..0, 2),
            ("a fragment", Class::Fragment, 5, 50, 60, 0..0, 0),
            ("another protocol", Class::Other, 5, 50, 60, 0..0, 0),
            ("malformed", Class::Malformed, 5, 0, 60, 0..0, 0),
        ] {
            let frame = frame(words);
            let packet = Packet {
                class,
                bytes,
                ..Packet::MALFORMED
            };
            let found = packet.payload(&frame[..captured], 0, 20);
            assert_eq!(found.bytes, &frame[expected], "{name}");
            assert_eq!(found.length, length, "{name}");
        }
    }
}
