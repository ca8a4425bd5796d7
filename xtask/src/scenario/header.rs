use super::config::Link;
use super::flow::FlowPlan;
use super::frame::{FrameBuffer, checksum, sum};
use super::meaning::Meaning;
use super::random::{Draws, Field};

// EtherTypes: IANA ieee-802-numbers.
pub(super) const ETHER_TYPE_IPV4: u16 = 0x0800;
pub(super) const ETHER_TYPE_ARP: u16 = 0x0806;
pub(super) const ETHER_TYPE_IPV6: u16 = 0x86dd;
pub(super) const ETHER_TYPE_VLAN: u16 = 0x8100;
pub(super) const ETHER_TYPE_SERVICE_VLAN: u16 = 0x88a8;

/// Locally administered (bit 1 of the first octet, IEEE 802 section 8.4): the router before the
/// telescope, and the telescope.
pub(super) const ROUTER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub(super) const TELESCOPE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];

// Protocols: IANA protocol-numbers.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const IPV6_FRAGMENT: u8 = 44;
pub(super) const ICMPV6: u8 = 58;

pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;

// Flags: RFC 9293 section 3.1.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;

/// The fields of a TCP header that flows choose.
pub(super) struct Tcp {
    pub(super) ports: (u16, u16),
    pub(super) sequence: u32,
    /// In 32-bit words, as written.
    pub(super) data_offset: u8,
    pub(super) flags: u8,
    pub(super) options: &'static [u8],
}

/// A packet on its way to bytes.
pub(super) struct Packet<'a> {
    pub(super) plan: &'a FlowPlan,
    pub(super) draws: Draws,
    pub(super) frame: &'a mut FrameBuffer,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) meaning: Meaning,
}

impl Packet<'_> {
    /// The drawn IPv4 identification.
    pub(super) fn identification(&self) -> u16 {
        self.draws.draw(Field::Header) as u16
    }

    pub(super) fn ether(&mut self, ether_type: u16) {
        if self.plan.link == Link::Raw {
            return;
        }
        let broadcast = ether_type == ETHER_TYPE_ARP;
        self.frame
            .push(if broadcast { &BROADCAST } else { &TELESCOPE });
        self.frame.push(&ROUTER);
        for (nth, identifier) in self.plan.vlan.iter().enumerate() {
            let outer_of_two = nth == 0 && self.plan.vlan.len() == 2;
            let tag = if outer_of_two {
                ETHER_TYPE_SERVICE_VLAN
            } else {
                ETHER_TYPE_VLAN
            };
            self.frame.push(&tag.to_be_bytes());
            self.frame.push(&identifier.to_be_bytes());
        }
        self.frame.push(&ether_type.to_be_bytes());
    }

    /// Link and IP header for `length` bytes of `protocol`.
    pub(super) fn ip(&mut self, protocol: u8, length: usize) {
        self.ip_identified(protocol, length, self.identification());
    }

    pub(super) fn ip_identified(&mut self, protocol: u8, length: usize, identification: u16) {
        let (ether_type, header) = match self.plan.version {
            4 => (ETHER_TYPE_IPV4, IPV4_HEADER),
            _ => (ETHER_TYPE_IPV6, IPV6_HEADER),
        };
        self.ether(ether_type);
        self.meaning.bytes = (header + length) as u32;
        let dont_fragment = (self.draws.draw(Field::Header) >> 48) as u16 & 1;
        let ends = (self.source, self.destination);
        self.ip_header(protocol, length, identification, dont_fragment << 14, ends);
    }

    /// An IPv4 (RFC 791 section 3.1) or IPv6 (RFC 8200 section 3) header; the latter has neither
    /// `identification` nor `fragment`.
    pub(super) fn ip_header(
        &mut self,
        protocol: u8,
        length: usize,
        identification: u16,
        fragment: u16,
        (source, destination): (u128, u128),
    ) {
        // What systems start from, less some routers.
        let way = (self.draws.draw(Field::Header) >> 16) as usize;
        let time_to_live = [64, 128, 255, 64][way & 3] - 5 - (way >> 2 & 15) as u8;
        if self.plan.version == 6 {
            let mut header = [0; IPV6_HEADER];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
            header[6] = protocol;
            header[7] = time_to_live;
            header[8..24].copy_from_slice(&source.to_be_bytes());
            header[24..].copy_from_slice(&destination.to_be_bytes());
            self.frame.push(&header);
            return;
        }
        let mut header = [0; IPV4_HEADER];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&((IPV4_HEADER + length) as u16).to_be_bytes());
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[8] = time_to_live;
        header[9] = protocol;
        header[12..16].copy_from_slice(&(source as u32).to_be_bytes());
        header[16..].copy_from_slice(&(destination as u32).to_be_bytes());
        let sum = checksum(sum(&header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        self.frame.push(&header);
    }

    pub(super) fn ip_and_tcp(&mut self, identification: u16, segment: &Tcp) {
        let length = 20 + segment.options.len() + usize::from(self.plan.payload);
        self.ip_identified(TCP, length, identification);
        self.tcp_segment(segment, self.plan.payload);
    }

    pub(super) fn tcp_segment(&mut self, segment: &Tcp, payload: u16) {
        let start = self.frame.len();
        let mut header = [0; 20];
        header[..2].copy_from_slice(&segment.ports.0.to_be_bytes());
        header[2..4].copy_from_slice(&segment.ports.1.to_be_bytes());
        header[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
        if segment.flags & ACK != 0 {
            let acknowledgement = self.draws.draw(Field::Acknowledgement) as u32;
            header[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
        }
        header[12] = segment.data_offset << 4;
        header[13] = segment.flags;
        let window = (self.draws.draw(Field::Header) >> 32) as u16;
        header[14..16].copy_from_slice(&window.to_be_bytes());
        self.frame.push(&header);
        self.frame.push(segment.options);
        self.payload(payload);
        let length = self.frame.len() - start;
        self.frame.seal(start, 16, self.pseudo_header(TCP, length));
    }

    pub(super) fn udp_datagram(&mut self, ports: (u16, u16), payload: u16) {
        let start = self.frame.len();
        self.frame.push(&ports.0.to_be_bytes());
        self.frame.push(&ports.1.to_be_bytes());
        self.frame.push(&(8 + payload).to_be_bytes());
        self.frame.push(&[0, 0]);
        self.payload(payload);
        let length = 8 + usize::from(payload);
        if self.frame.seal(start, 6, self.pseudo_header(UDP, length)) == 0 {
            // RFC 768: zero says that there is no checksum.
            self.frame.put(start + 6, 0xffff);
        }
    }

    /// RFC 9293 section 3.1 and RFC 8200 section 8.1, summed: both add up to the same form.
    pub(super) fn pseudo_header(&self, protocol: u8, length: usize) -> u64 {
        let words = |number: u128| {
            let (high, low) = ((number >> 64) as u64, number as u64);
            (high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff)
        };
        words(self.source) + words(self.destination) + u64::from(protocol) + length as u64
    }

    pub(super) fn payload(&mut self, length: u16) {
        let mut left = usize::from(length);
        let mut number = 0;
        while left > 0 {
            let part = left.min(8);
            self.frame
                .push(&self.draws.payload(number).to_be_bytes()[..part]);
            left -= part;
            number += 1;
        }
    }
}
