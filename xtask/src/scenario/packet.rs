use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::check::ZMAP_IDENTIFICATION;
use super::flow::{Body, FlowPlan, Ports};
use super::frame::FrameBuffer;
use super::header::{
    ACK, ETHER_TYPE_ARP, ETHER_TYPE_IPV4, FIN, ICMP, ICMPV6, IPV4_HEADER, IPV6_FRAGMENT,
    IPV6_HEADER, PSH, Packet, ROUTER, RST, SYN, TCP, Tcp, UDP, URG,
};
use super::meaning::{Class, Meaning, Tool, Tools};
use super::random::{Draws, Field};

impl FlowPlan {
    /// Makes the packet of `draws` in `frame`, unpadded.
    pub(super) fn packet(
        &self,
        time: u64,
        flow: u32,
        draws: Draws,
        frame: &mut FrameBuffer,
    ) -> Meaning {
        let (source, destination) = self.addresses(draws);
        frame.clear();
        let mut packet = Packet {
            plan: self,
            draws,
            frame,
            source,
            destination,
            meaning: Meaning {
                time,
                flow,
                class: None,
                bytes: 0,
                source: self.address(source),
                destination: self.address(destination),
                ports: None,
                icmp: None,
                tools: Tools::default(),
            },
        };
        match &self.body {
            Body::Syn { ports, tools } => packet.syn(ports, *tools),
            Body::Backscatter { ports } => packet.backscatter(ports),
            Body::Tcp { ports } => packet.tcp_other(ports),
            Body::Udp { ports } => packet.udp(ports),
            Body::Icmp { icmp_type, code } => packet.icmp(*icmp_type, *code),
            Body::Fragment => packet.fragment(),
            Body::Other { protocol } => packet.other(*protocol),
            Body::Malformed => packet.malformed(),
            Body::Arp => packet.arp(),
        }
        packet.meaning
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.version {
            4 => Ipv4Addr::from_bits(number as u32).into(),
            _ => Ipv6Addr::from_bits(number).into(),
        }
    }
}

impl Packet<'_> {
    fn syn(&mut self, ports: &Ports, tools: Tools) {
        let ports = (self.other_port(), ports.draw(self.draws));
        let (sequence, identification) = self.marks(tools, ports.1);
        // Maximum segment size (RFC 9293 section 3.7.1); Mirai and old ZMap send no options.
        let options: &[u8] = match self.plan.version {
            _ if tools.contains(Tool::Mirai) || tools.contains(Tool::Zmap) => &[],
            4 => &[2, 4, 0x05, 0xb4],
            _ => &[2, 4, 0x05, 0xa0],
        };
        self.means(Class::TcpSyn, Some(ports));
        self.meaning.tools = tools;
        let segment = Tcp {
            ports,
            sequence,
            data_offset: 5 + options.len() as u8 / 4,
            flags: SYN,
            options,
        };
        self.ip_and_tcp(identification, &segment);
    }

    /// A sequence number and an identification that carry exactly the marks `tools`: drawn, fixed
    /// by the marks' rules, and moved on while another mark is there by chance.
    fn marks(&self, tools: Tools, port: u16) -> (u32, u16) {
        let [mirai, zmap, masscan] = Tool::ALL.map(|tool| tools.contains(tool));
        let mut sequence = self.draws.draw(Field::Sequence) as u32;
        let mut identification = self.identification();
        if self.plan.version == 6 {
            return (sequence, identification);
        }
        let target = self.destination as u32;
        let hash = |sequence: u32| (target ^ u32::from(port) ^ sequence) as u16;
        loop {
            if mirai {
                sequence = target;
            } else if zmap && masscan {
                // hash() is its own inverse in the low half.
                sequence = sequence & 0xffff_0000 | u32::from(hash(ZMAP_IDENTIFICATION.into()));
            }
            if zmap {
                identification = ZMAP_IDENTIFICATION;
            } else if masscan {
                identification = hash(sequence);
            }
            if (sequence == target) == mirai
                && (identification == ZMAP_IDENTIFICATION) == zmap
                && (identification == hash(sequence)) == masscan
            {
                return (sequence, identification);
            }
            sequence = sequence.wrapping_add(0x0001_0001);
            identification = identification.wrapping_add(1);
        }
    }

    fn backscatter(&mut self, ports: &Ports) {
        let flags = match self.draws.below(Field::Variant, 4) {
            0 => RST,
            1 => RST | ACK,
            _ => SYN | ACK,
        };
        let ports = (ports.draw(self.draws), self.other_port());
        self.means(Class::TcpBackscatter, Some(ports));
        self.ip_and_tcp(self.identification(), &self.segment(ports, flags));
    }

    fn tcp_other(&mut self, ports: &Ports) {
        let flags = match self.draws.below(Field::Variant, 8) {
            0 => ACK,
            1 => PSH | ACK,
            2 => FIN,
            3 => FIN | ACK,
            4 => 0,
            5 => FIN | PSH | URG,
            6 => SYN | FIN,
            _ => SYN | RST,
        };
        let ports = (self.other_port(), ports.draw(self.draws));
        self.means(Class::TcpOther, Some(ports));
        self.ip_and_tcp(self.identification(), &self.segment(ports, flags));
    }

    fn udp(&mut self, ports: &Ports) {
        let ports = (self.other_port(), ports.draw(self.draws));
        self.means(Class::Udp, Some(ports));
        self.ip(UDP, 8 + usize::from(self.plan.payload));
        self.udp_datagram(ports, self.plan.payload);
    }

    fn icmp(&mut self, icmp_type: u8, code: u8) {
        let version = self.plan.version;
        self.means(Class::of_icmp(version, icmp_type), None);
        self.meaning.icmp = Some((icmp_type, code));
        // Messages that quote the packet they are about: RFC 792; RFC 4443 section 2.1.
        let quote = match (version, icmp_type) {
            (4, 3 | 4 | 5 | 11 | 12) => IPV4_HEADER + 8,
            (6, 1..=4) => IPV6_HEADER + 8,
            _ => 0,
        };
        let protocol = if version == 4 { ICMP } else { ICMPV6 };
        let length = 8 + quote + usize::from(self.plan.payload);
        self.ip(protocol, length);
        let start = self.frame.len();
        self.frame.push(&[icmp_type, code, 0, 0]);
        let rest = match (version, icmp_type) {
            // The least MTU: RFC 8200 section 5.
            (6, 2) => 1280,
            _ if quote > 0 => 0,
            _ => self.draws.draw(Field::Sequence) as u32,
        };
        self.frame.push(&rest.to_be_bytes());
        if quote > 0 {
            self.quote();
        }
        self.payload(self.plan.payload);
        let pseudo_header = match version {
            4 => 0,
            _ => self.pseudo_header(ICMPV6, length),
        };
        self.frame.seal(start, 2, pseudo_header);
    }

    /// The start of the spoofed SYN, sent to the source and said to come from the destination.
    fn quote(&mut self) {
        let draw = self.draws.draw(Field::Quote);
        self.ip_header(TCP, 20, draw as u16, 0, (self.destination, self.source));
        // Source port, a web server's port, sequence number.
        self.frame.push(&((draw >> 16) as u16).to_be_bytes());
        self.frame.push(&443_u16.to_be_bytes());
        self.frame.push(&((draw >> 32) as u32).to_be_bytes());
    }

    fn fragment(&mut self) {
        let payload = self.plan.payload;
        self.means(Class::Fragment, None);
        // In units of 8 bytes, within 65,535 with the longest payload.
        let offset = 1 + self.draws.below(Field::FragmentOffset, 8000) as u16;
        // Every fragment but the last is a multiple of 8 bytes: RFC 791 section 3.2.
        let more = payload.is_multiple_of(8) && self.draws.below(Field::Variant, 2) == 0;
        let identification = self.identification();
        let ends = (self.source, self.destination);
        if self.plan.version == 4 {
            let field = offset | u16::from(more) << 13;
            let length = usize::from(payload);
            self.ether(ETHER_TYPE_IPV4);
            self.meaning.bytes = (IPV4_HEADER + length) as u32;
            self.ip_header(UDP, length, identification, field, ends);
        } else {
            self.ip(IPV6_FRAGMENT, 8 + usize::from(payload));
            // RFC 8200 section 4.5.
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            self.frame.push(&[UDP, 0, high, low]);
            let identification = self.draws.draw(Field::Sequence) as u32;
            self.frame.push(&identification.to_be_bytes());
        }
        self.payload(payload);
    }

    fn other(&mut self, protocol: u8) {
        self.means(Class::Other, None);
        self.ip(protocol, self.plan.payload.into());
        self.payload(self.plan.payload);
    }

    fn malformed(&mut self) {
        let variants = if self.plan.version == 4 { 5 } else { 3 };
        let variant = self.draws.below(Field::Variant, variants);
        let value = self.draws.draw(Field::VariantValue);
        let ports = (self.other_port(), value as u16);
        let mut segment = self.segment(ports, SYN);
        match variant {
            // UDP header cut by the IP length.
            1 => {
                self.ip(UDP, 4);
                self.udp_datagram(ports, 0);
            }
            // TCP header cut by the IP length, or a data offset below 5.
            0 | 2 => {
                if variant == 0 {
                    segment.data_offset = (value >> 16) as u8 % 5;
                }
                self.ip(TCP, if variant == 0 { 20 } else { 12 });
                self.tcp_segment(&segment, 0);
            }
            // IHL below 5, or total length below 20.
            _ => {
                self.ip(TCP, 20);
                let start = self.frame.len() - IPV4_HEADER;
                if variant == 3 {
                    let version_and_length = 0x40 | ((value >> 16) as u8 % 5);
                    self.frame
                        .put(start, u16::from_be_bytes([version_and_length, 0]));
                } else {
                    self.frame.put(start + 2, (value >> 16) as u16 % 20);
                }
                self.frame.put(start + 10, 0);
                self.frame.seal(start, 10, 0);
                self.tcp_segment(&segment, 0);
            }
        }
        self.means(Class::Malformed, None);
        self.meaning.bytes = 0;
    }

    /// Who has the destination? Tell the source: RFC 826.
    fn arp(&mut self) {
        self.ether(ETHER_TYPE_ARP);
        // Ethernet, IPv4, lengths of their addresses, request.
        self.frame.push(&[0, 1, 0x08, 0x00, 6, 4, 0, 1]);
        self.frame.push(&ROUTER);
        self.frame.push(&(self.source as u32).to_be_bytes());
        self.frame.push(&[0; 6]);
        self.frame.push(&(self.destination as u32).to_be_bytes());
    }

    fn means(&mut self, class: Class, ports: Option<(u16, u16)>) {
        self.meaning.class = Some(class);
        self.meaning.ports = ports;
    }

    /// The port that is not the service: above 1024, as Mirai's mark asks.
    fn other_port(&self) -> u16 {
        1025 + self.draws.below(Field::OtherPort, 65_536 - 1025) as u16
    }

    fn segment(&self, ports: (u16, u16), flags: u8) -> Tcp {
        Tcp {
            ports,
            sequence: self.draws.draw(Field::Sequence) as u32,
            data_offset: 5,
            flags,
            options: &[],
        }
    }
}
