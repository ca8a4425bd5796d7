//! What the kernel program and userspace of the Darknet network telescope share.
//!
//! The rules that decide what a packet is live here and nowhere else: the XDP program, the
//! AF_XDP path and the replay of capture files all call [`outer`] and [`Ip::packet`].
//!
//! The crate is `no_std`, has no dependency and no `unsafe`. Whoever has packets implements
//! [`Frame`], one bounds-checked read; [`outer`] then reads the link and IP headers, which is all
//! that is needed to decide whether a destination is dark, and [`Ip::packet`] reads the rest.
//!
//! ```
//! use darknet_ebpf::{Class, Link, Outer, outer};
//!
//! // An IPv4 SYN from 198.51.100.7 to 203.0.113.9, port 23, as a raw IP packet.
//! let mut bytes = [0u8; 40];
//! bytes[0] = 0x45; // version 4, 5 words of header
//! bytes[3] = 40; // total length
//! bytes[9] = 6; // TCP
//! bytes[12..16].copy_from_slice(&[198, 51, 100, 7]);
//! bytes[16..20].copy_from_slice(&[203, 0, 113, 9]);
//! bytes[23] = 23; // destination port
//! bytes[32] = 0x50; // data offset: 5 words
//! bytes[33] = 0x02; // SYN
//!
//! let Outer::Ip(ip) = outer(&bytes[..], Link::Raw) else { panic!("not IP") };
//! let packet = ip.packet(&bytes[..]).expect("well-formed");
//! assert_eq!(packet.class, Class::TcpSyn);
//! assert_eq!(packet.destination_port, 23);
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// Keys and values of the tables, the same in kernel maps and in userspace.
pub mod abi;
/// What a packet is: SYN, backscatter, UDP, ICMP, …
pub mod class;
/// Where dark and not dark meet.
pub mod dark;
/// Bounds-checked reads: one trait, and its implementation for byte slices.
pub mod frame;
/// What is handed over of each packet: a record of its headers.
pub mod header;
/// The cells in which a packet can end.
pub mod ledger;
/// Link layers, and where the IP header lies in a frame.
pub mod link;
/// What is left with a frame that is handed over.
pub mod metadata;
/// Source networks: keys, and the layout of their table.
pub mod networks;
/// Packets and bytes in one word.
pub mod packed;
/// The walk: IP header → extension headers → transport, into one small record.
pub mod packet;
/// Where a packet's payload lies.
pub mod payload;
/// Which tool made a packet: Mirai, ZMap, Masscan.
pub mod tool;

pub use abi::{IcmpKey, PortTable};
pub use class::Class;
pub use dark::is_dark;
pub use frame::Frame;
pub use header::Header;
pub use ledger::Cell;
pub use link::Link;
pub use metadata::Metadata;
pub use packet::{Address, Ip, Malformed, Outer, Packet, Version, outer};
pub use payload::Payload;
pub use tool::{Tool, Tools};
