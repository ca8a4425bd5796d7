//! Which XDP program an interface has and what it missed, asked of the kernel over netlink.

/// Families that have their number from the kernel.
pub(super) mod generic;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
};

use super::sys;

/// `RTM_GETLINK` with an `ifinfomsg`: `include/uapi/linux/rtnetlink.h`.
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// Lengths of `nlmsghdr` and `ifinfomsg`.
const HEADER: usize = 16;
pub(super) const INTERFACE: usize = 16;
/// Attributes: `include/uapi/linux/if_link.h`.
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// One for each mode, beside the one above where only one mode has a program.
const IFLA_XDP_MODE_PROG_ID: [u16; 3] = [5, 6, 7];
/// The upper bits of an attribute's number are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Where `rx_missed_errors` is in `rtnl_link_stats64`: the 16th number.
const RX_MISSED_ERRORS: usize = 15 * 8;

/// What an interface is like at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) name: String,
    /// The number of the XDP program that it runs, in whatever mode.
    pub(super) program: Option<u32>,
    /// Whether that is in generic mode only.
    pub(super) is_generic: bool,
    /// Packets that the device had no room for, since it is there: `rx_missed_errors`.
    ///
    /// Not `rx_dropped`: the kernel also counts there what it dropped after the program had seen
    /// it, and some drivers (virtio_net) what the program itself drops, which is every packet that
    /// it counts.
    pub(super) missed: u64,
}

/// Asks about an interface.
///
/// # Errors
///
/// `ENODEV` if there is no such interface.
pub(super) fn link(interface: u32) -> io::Result<LinkState> {
    parse(&ask(interface)?)
}

/// What the kernel says of an interface: a header, an `ifinfomsg`, attributes.
///
/// # Errors
///
/// `ENODEV` if there is no such interface.
pub(super) fn ask(interface: u32) -> io::Result<Vec<u8>> {
    let mut body = vec![0; 4]; // family, padding, type
    body.extend(interface.to_ne_bytes());
    body.extend([0; 8]); // flags, change mask
    let mut socket = File::from(sys::netlink_socket(libc::NETLINK_ROUTE)?);
    exchange(&mut socket, RTM_GETLINK, &body)
}

/// One question, and the one message that answers it.
fn exchange(socket: &mut File, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Vec::with_capacity(HEADER + body.len());
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    request.extend(length.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence number, port: one question, one answer
    request.extend(body);
    socket.write_all(&request)?;
    let mut answer = vec![0; 1 << 16];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// The body of an answer, or the error that it is.
pub(super) fn body(answer: &[u8]) -> io::Result<&[u8]> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (header, body) = answer.split_at_checked(HEADER).ok_or_else(short)?;
    if u16::from_ne_bytes([header[4], header[5]]) == NLMSG_ERROR {
        let code = body.first_chunk().ok_or_else(short)?;
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
    }
    Ok(body)
}

/// Reads the answer: a header, an `ifinfomsg`, attributes.
fn parse(answer: &[u8]) -> io::Result<LinkState> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let attributes = body(answer)?.get(INTERFACE..).ok_or_else(short)?;
    let attribute = |wanted| Attributes(attributes).value(wanted);
    let name = Attributes(attributes).text(IFLA_IFNAME).ok_or_else(short)?;
    let statistics = attribute(IFLA_STATS64).ok_or_else(short)?;
    let missed = statistics.get(RX_MISSED_ERRORS..);
    let missed = missed.and_then(<[u8]>::first_chunk).ok_or_else(short)?;
    let xdp = attribute(IFLA_XDP).unwrap_or(&[]);
    // `XDP_ATTACHED_SKB`, a byte.
    let is_generic = Attributes(xdp).any(|attribute| attribute == (IFLA_XDP_ATTACHED, &[2]));
    let program = Attributes(xdp).find_map(|(kind, value)| {
        let is_id = kind == IFLA_XDP_PROG_ID || IFLA_XDP_MODE_PROG_ID.contains(&kind);
        let id = u32::from_ne_bytes(*value.first_chunk()?);
        (is_id && id != 0).then_some(id)
    });
    Ok(LinkState {
        name,
        program,
        is_generic,
        missed: u64::from_ne_bytes(*missed),
    })
}

/// Attributes one behind the other: length with header, number, value, padding to four bytes.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first with this number.
    pub(super) fn value(mut self, wanted: u16) -> Option<&'a [u8]> {
        let found = self.find(|(kind, _)| *kind == wanted);
        found.map(|(_, value)| value)
    }

    /// A 32-bit number.
    pub(super) fn number(self, wanted: u16) -> Option<u32> {
        let value = self.value(wanted)?.first_chunk()?;
        Some(u32::from_ne_bytes(*value))
    }

    /// A text that ends in zero.
    pub(super) fn text(self, wanted: u16) -> Option<String> {
        let value = self.value(wanted)?;
        let value = value.strip_suffix(b"\0").unwrap_or(value);
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let &[a, b, c, d, ..] = self.0 else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([c, d]) & NLA_TYPE_MASK, value))
    }
}

/// An attribute as it goes over the wire.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    /// Each number of `rtnl_link_stats64` is its own place, from 1.
    fn statistics() -> Vec<u8> {
        let numbers = 1..=25u64;
        attribute(23, &numbers.flat_map(u64::to_ne_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn the_program_and_what_was_missed_are_found_among_other_attributes() {
        let start = [vec![0; INTERFACE], attribute(3, b"eth1\0"), statistics()].concat();
        // `XDP_ATTACHED_DRV`, `XDP_ATTACHED_SKB`, `XDP_ATTACHED_HW`.
        let whole = [1u8, 2, 3].map(|mode| {
            let xdp = [attribute(2, &[mode]), attribute(4, &77u32.to_ne_bytes())].concat();
            let rest = [start.clone(), attribute(43 | 0x8000, &xdp)].concat();
            answer(16, &rest)
        });
        for (whole, is_generic) in whole.iter().zip([false, true, false]) {
            let expected = LinkState {
                name: "eth1".into(),
                program: Some(77),
                is_generic,
                missed: 16,
            };
            assert_eq!(parse(whole).expect("whole"), expected);
        }
        let [whole, ..] = whole;
        let none = parse(&answer(16, &start)).expect("whole");
        assert!(!none.is_generic);
        assert_eq!((none.program, none.missed), (None, 16));
        for length in 0..whole.len() {
            // Cut short anywhere: an error or no program, and no panic.
            match parse(&whole[..length]) {
                Ok(state) => assert_eq!(state, none, "{length} bytes"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            }
        }
    }

    /// The answer as the kernel gives it, without any privilege: 1 is the loopback interface of
    /// every network namespace.
    #[test]
    fn the_kernel_answers() {
        let state = link(1).expect("an answer");
        assert_eq!((state.name.as_str(), state.program), ("lo", None));
        let missed = std::fs::read_to_string("/sys/class/net/lo/statistics/rx_missed_errors");
        let missed = missed.expect("sysfs is mounted");
        assert_eq!(state.missed.to_string(), missed.trim());
        let error = link(u32::MAX >> 1).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn an_error_is_the_systems() {
        let error = parse(&answer(NLMSG_ERROR, &(-19i32).to_ne_bytes())).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
