use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

/// What a frame carries behind its IP header.
#[derive(Clone, Copy, Debug)]
pub enum Carried {
    /// A TCP header without payload.
    Tcp {
        /// The source port.
        from: u16,
        /// The destination port.
        to: u16,
        /// The byte of flags.
        flags: u8,
    },
    /// A UDP header without payload.
    Udp {
        /// The source port.
        from: u16,
        /// The destination port.
        to: u16,
    },
    /// The eight bytes that ICMP and ICMPv6 begin with.
    Icmp {
        /// The message's type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

/// TCP's flags of a SYN.
pub const SYN: u8 = 2;
/// TCP's flags of the answer to one.
pub const SYN_ACK: u8 = 0x12;

/// Where IP's length is in a frame without a tag, and what it leaves out.
const V4_LENGTH: (Range<usize>, usize) = (16..18, 0);
const V6_LENGTH: (Range<usize>, usize) = (18..20, 40);

/// A frame of Ethernet and IP without options.
///
/// # Panics
///
/// If the addresses are of two versions.
pub fn frame(source: IpAddr, destination: IpAddr, carried: Carried) -> Vec<u8> {
    let (protocols, header) = match carried {
        Carried::Tcp { from, to, flags } => {
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            let rest = [&[0; 8][..], &[0x50, flags], &[0; 6]].concat();
            ([6, 6], [ports, rest].concat())
        }
        Carried::Udp { from, to } => {
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            ([17, 17], [ports, vec![0, 8, 0, 0]].concat())
        }
        Carried::Icmp { kind, code } => ([1, 58], vec![kind, code, 0, 0, 0, 0, 0, 0]),
    };
    let mut frame = vec![0; 12];
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + header.len() as u16).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocols[0], 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((header.len() as u16).to_be_bytes());
            frame.extend([protocols[1], 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => panic!("{source} to {destination}"),
    }
    frame.extend(header);
    frame
}

/// A frame of [`frame`] whose IP header says so many bytes, as that of a frame which was cut does.
///
/// # Panics
///
/// If IP has no such length.
pub fn claiming(mut frame: Vec<u8>, bytes: usize) -> Vec<u8> {
    let (place, left_out) = match frame[12..14] {
        [8, 0] => V4_LENGTH,
        _ => V6_LENGTH,
    };
    let length = u16::try_from(bytes - left_out).expect("a length");
    frame[place].copy_from_slice(&length.to_be_bytes());
    frame
}

/// What its IP header says that a frame of [`frame`] has.
pub fn bytes(frame: &[u8]) -> u64 {
    let (place, left_out) = match frame[12..14] {
        [8, 0] => V4_LENGTH,
        _ => V6_LENGTH,
    };
    let length = frame[place]
        .iter()
        .fold(0, |high, &low| high << 8 | u64::from(low));
    length + left_out as u64
}

/// A SYN from 198.51.100.7 to port 23.
pub fn syn(destination: [u8; 4]) -> Vec<u8> {
    let source = Ipv4Addr::new(198, 51, 100, 7);
    let to_telnet = Carried::Tcp {
        from: 0,
        to: 23,
        flags: SYN,
    };
    frame(source.into(), Ipv4Addr::from(destination).into(), to_telnet)
}

/// Numbers that are the same in each run: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is small beside 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// An address of either version, anywhere.
    pub fn address(&mut self) -> IpAddr {
        let high = self.word();
        match self.word() & 1 {
            0 => Ipv4Addr::from_bits(high as u32).into(),
            _ => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(self.word())).into(),
        }
    }
}
