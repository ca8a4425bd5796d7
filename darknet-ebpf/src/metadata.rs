use crate::{
    abi::Walked,
    class::Class,
    frame::{Frame, words},
    packet::{Address, Packet, Version},
    tool::Tools,
};

/// What the kernel program leaves directly before a frame that it delivers: what it found, so that
/// userspace does not walk the frame again. No padding.
///
/// XDP metadata: `bpf_xdp_adjust_meta`, `Documentation/networking/xdp-rx-metadata.rst` of the
/// kernel. At most 32 bytes, a multiple of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Metadata {
    /// [`Metadata::MARK`]: nothing else that may be there begins so.
    mark: u32,
    /// The low half of the epoch that the packet was counted in.
    pub epoch: u32,
    /// Nanoseconds of the monotonic clock: when the program saw the packet.
    pub time: u64,
    /// Where the IP header begins in the frame.
    pub network: u16,
    /// Where the transport header begins, or what the walk ended at.
    pub transport: u16,
    version: u8,
    class: u8,
    tools: u8,
    protocol: u8,
}

impl Metadata {
    /// Begins every metadata of this layout: three letters and its number.
    pub const MARK: u32 = u32::from_be_bytes(*b"dnx\x01");
    /// How many bytes it takes.
    pub const LENGTH: usize = size_of::<Self>();

    /// What is left with a packet.
    #[inline(always)]
    pub fn new(walked: &Walked, epoch: u64, time: u64) -> Self {
        let Walked {
            packet,
            network,
            transport,
            row: _,
            other_row: _,
        } = walked;
        Self {
            mark: Self::MARK,
            epoch: epoch as u32,
            time,
            network: *network as u16,
            transport: *transport as u16,
            version: packet.version as u8,
            class: packet.class as u8,
            tools: packet.tools.bits(),
            protocol: packet.protocol,
        }
    }

    /// As it lies before a frame, in the byte order of this machine.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let Self {
            mark,
            epoch,
            time,
            network,
            transport,
            version,
            class,
            tools,
            protocol,
        } = *self;
        let mut bytes = [0; Self::LENGTH];
        bytes[0..4].copy_from_slice(&mark.to_ne_bytes());
        bytes[4..8].copy_from_slice(&epoch.to_ne_bytes());
        bytes[8..16].copy_from_slice(&time.to_ne_bytes());
        bytes[16..18].copy_from_slice(&network.to_ne_bytes());
        bytes[18..20].copy_from_slice(&transport.to_ne_bytes());
        bytes[20..].copy_from_slice(&[version, class, tools, protocol]);
        bytes
    }

    /// The metadata at the end of the bytes before a frame, in the byte order of this machine;
    /// `None` if there is none of this layout.
    #[inline]
    pub fn before(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.last_chunk()?;
        let (longs, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_ne_bytes(longs[at]);
        if word(0) != Self::MARK {
            return None;
        }
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let (longs, _) = bytes.as_chunks::<8>();
        Some(Self {
            mark: word(0),
            epoch: word(1),
            time: u64::from_ne_bytes(longs[1]),
            network: half(16),
            transport: half(18),
            version: bytes[20],
            class: bytes[21],
            tools: bytes[22],
            protocol: bytes[23],
        })
    }

    /// The packet that the program found in `frame`, with the fields that metadata has no room for
    /// read from it. `None` if the frame is shorter than it was, or metadata says what no packet
    /// can be.
    #[inline]
    pub fn packet<F: Frame + ?Sized>(&self, frame: &F) -> Option<Packet> {
        let Self {
            mark: _,
            epoch: _,
            time: _,
            network,
            transport,
            version,
            class,
            tools,
            protocol,
        } = *self;
        let class = *Class::ALL.get(usize::from(class))?;
        if class == Class::Malformed {
            return Some(Packet::MALFORMED);
        }
        let [at, transport] = [network, transport].map(usize::from);
        let mut packet = match version {
            4 => {
                let header: [u32; 5] = words(frame.read::<20>(at)?);
                Packet {
                    source: Address::from_words([header[3], 0, 0, 0]),
                    destination: Address::from_words([header[4], 0, 0, 0]),
                    bytes: header[0] & 0xffff,
                    version: Version::V4,
                    ttl: (header[2] >> 24) as u8,
                    ..Packet::MALFORMED
                }
            }
            6 => {
                let header: [u32; 10] = words(frame.read::<40>(at)?);
                let [_, lengths, source @ .., _, _, _, _] = header;
                let [_, _, _, _, _, _, destination @ ..] = header;
                Packet {
                    source: Address::from_words(source),
                    destination: Address::from_words(destination),
                    bytes: (lengths >> 16) + 40,
                    version: Version::V6,
                    ttl: lengths as u8,
                    ..Packet::MALFORMED
                }
            }
            _ => return None,
        };
        packet.class = class;
        packet.tools = Tools::from_bits(tools)?;
        packet.protocol = protocol;
        match class {
            Class::TcpSyn | Class::TcpBackscatter | Class::TcpOther | Class::Udp => {
                let [ports] = words(frame.read::<4>(transport)?);
                packet.source_port = (ports >> 16) as u16;
                packet.destination_port = ports as u16;
                if class != Class::Udp {
                    let [flags] = frame.read(transport + 13)?;
                    packet.tcp_flags = flags;
                }
            }
            Class::Icmp | Class::IcmpBackscatter => {
                [packet.icmp_type, packet.icmp_code] = frame.read(transport)?;
            }
            Class::Fragment | Class::Malformed | Class::Other => {}
        }
        Some(packet)
    }
}

const _: () = assert!(Metadata::LENGTH == 24 && align_of::<Metadata>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4 at 14, UDP at 34, epoch 7, time 9.
    fn metadata() -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[8..12].copy_from_slice(&Metadata::MARK.to_ne_bytes());
        bytes[12..16].copy_from_slice(&7u32.to_ne_bytes());
        bytes[16..24].copy_from_slice(&9u64.to_ne_bytes());
        bytes[24..26].copy_from_slice(&14u16.to_ne_bytes());
        bytes[26..28].copy_from_slice(&34u16.to_ne_bytes());
        bytes[28..32].copy_from_slice(&[4, Class::Udp as u8, 0, 17]);
        bytes
    }

    #[test]
    fn it_is_read_field_by_field_and_only_its_own_layout() {
        let found = Metadata::before(&metadata()).expect("metadata");
        assert_eq!((found.epoch, found.time), (7, 9));
        assert_eq!((found.network, found.transport), (14, 34));
        assert_eq!(found.to_bytes(), metadata()[8..]);
        let mut frame = [0u8; 42];
        frame[14 + 12..][..8].copy_from_slice(&[198, 51, 100, 7, 203, 0, 113, 9]);
        frame[14 + 3] = 28;
        frame[34..38].copy_from_slice(&[0x12, 0x34, 0, 53]);
        let packet = found.packet(&frame[..]).expect("a packet");
        assert_eq!((packet.source_port, packet.destination_port), (0x1234, 53));
        assert_eq!((packet.bytes, packet.class), (28, Class::Udp));
        let walked = Walked {
            packet,
            network: 14,
            transport: 34,
            ..Walked::MALFORMED
        };
        assert_eq!(Metadata::new(&walked, 7, 9), found);
        assert_eq!(found.packet(&frame[..37]), None, "cut");

        assert_eq!(Metadata::before(&metadata()[9..]), None, "too few bytes");
        for (name, at, byte) in [
            ("another mark", 8, 0),
            ("no version", 28, 5),
            ("no class", 29, Class::ALL.len() as u8),
            ("a mark of no tool", 30, 0x80),
        ] {
            let mut bytes = metadata();
            bytes[at] = byte;
            let packet = Metadata::before(&bytes).and_then(|found| found.packet(&frame[..]));
            assert_eq!(packet, None, "{name}");
        }
    }
}
