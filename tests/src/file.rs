/// A pcap file header of version 2.4, little-endian with microseconds.
pub fn pcap(link_type: u32) -> Vec<u8> {
    let mut bytes = Vec::from(0xa1b2_c3d4u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(65_535u32.to_le_bytes());
    bytes.extend(link_type.to_le_bytes());
    bytes
}

/// A record of such a file.
pub fn record(seconds: u32, microseconds: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).expect("a packet");
    let header = [seconds, microseconds, length, length];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(packet);
    bytes
}

/// An IPv4 SYN as a raw IP packet.
pub fn syn(source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[0] = 0x45;
    bytes[3] = 40;
    bytes[9] = 6;
    bytes[12..16].copy_from_slice(&source);
    bytes[16..20].copy_from_slice(&destination);
    bytes[20..22].copy_from_slice(&40_000u16.to_be_bytes());
    bytes[22..24].copy_from_slice(&port.to_be_bytes());
    bytes[32] = 0x50;
    bytes[33] = 0x02;
    bytes
}

/// Writes pcapng blocks, in either byte order.
#[derive(Clone, Copy, Debug)]
pub struct Pcapng {
    /// Most significant byte first.
    pub big_endian: bool,
}

impl Pcapng {
    /// A 32-bit number.
    pub fn number(self, number: u32) -> [u8; 4] {
        match self.big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        }
    }

    /// A 16-bit number.
    pub fn half(self, number: u16) -> [u8; 2] {
        match self.big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        }
    }

    /// A block of any type.
    pub fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = self.number(u32::try_from(padded + 12).expect("a block"));
        let mut bytes = Vec::from(self.number(kind));
        bytes.extend(length);
        bytes.extend(body);
        bytes.resize(8 + padded, 0);
        bytes.extend(length);
        bytes
    }

    /// A section header.
    pub fn section(self) -> Vec<u8> {
        let mut body = Vec::from(self.number(0x1a2b_3c4d));
        body.extend(self.half(1));
        body.extend(self.half(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface, with options as they are in the file.
    pub fn interface(self, link_type: u16, snap_length: u32, options: &[u8]) -> Vec<u8> {
        let mut body = Vec::from(self.half(link_type));
        body.extend([0, 0]);
        body.extend(self.number(snap_length));
        body.extend(options);
        self.block(1, &body)
    }

    /// An option of a block.
    pub fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(self.half(code));
        bytes.extend(self.half(u16::try_from(value.len()).expect("an option")));
        bytes.extend(value);
        bytes.resize(4 + value.len().next_multiple_of(4), 0);
        bytes
    }

    /// An enhanced packet block.
    pub fn enhanced(self, interface: u32, time: u64, packet: &[u8]) -> Vec<u8> {
        let length = self.number(u32::try_from(packet.len()).expect("a packet"));
        let mut body = Vec::from(self.number(interface));
        body.extend(self.number((time >> 32) as u32));
        body.extend(self.number(time as u32));
        body.extend(length);
        body.extend(length);
        body.extend(packet);
        self.block(6, &body)
    }

    /// A simple packet block of a packet that was `original` bytes long.
    pub fn simple(self, original: u32, packet: &[u8]) -> Vec<u8> {
        let mut body = Vec::from(self.number(original));
        body.extend(packet);
        self.block(3, &body)
    }

    /// An obsolete packet block.
    pub fn obsolete(self, interface: u16, time: u64, packet: &[u8]) -> Vec<u8> {
        let mut body = Vec::from(self.half(interface));
        body.extend(self.half(0));
        body.extend(&self.enhanced(0, time, packet)[12..][..16]);
        body.extend(packet);
        self.block(2, &body)
    }
}
