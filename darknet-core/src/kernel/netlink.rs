//! Which XDP program an interface has, asked of the kernel over netlink.

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
const INTERFACE: usize = 16;
/// Attributes: `include/uapi/linux/if_link.h`.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// One for each mode, beside the one above where only one mode has a program.
const IFLA_XDP_MODE_PROG_ID: [u16; 3] = [5, 6, 7];
/// The upper bits of an attribute's number are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// The number of the XDP program that an interface runs, in whatever mode.
///
/// # Errors
///
/// `ENODEV` if there is no such interface.
pub(super) fn program_id(interface: u32) -> io::Result<Option<u32>> {
    let mut socket = File::from(sys::route_socket()?);
    let mut request = Vec::with_capacity(HEADER + INTERFACE);
    request.extend(((HEADER + INTERFACE) as u32).to_ne_bytes());
    request.extend(RTM_GETLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence number, port: one question, one answer
    request.extend([0; 4]); // family, padding, type
    request.extend(interface.to_ne_bytes());
    request.extend([0; 8]); // flags, change mask
    socket.write_all(&request)?;
    let mut answer = vec![0; 1 << 16];
    let length = socket.read(&mut answer)?;
    parse(&answer[..length])
}

/// Reads the answer: a header, an `ifinfomsg`, attributes.
fn parse(answer: &[u8]) -> io::Result<Option<u32>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (header, body) = answer.split_at_checked(HEADER).ok_or_else(short)?;
    if u16::from_ne_bytes([header[4], header[5]]) == NLMSG_ERROR {
        let code = body.first_chunk().ok_or_else(short)?;
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
    }
    let attributes = body.get(INTERFACE..).ok_or_else(short)?;
    let Some((_, xdp)) = Attributes(attributes).find(|(kind, _)| *kind == IFLA_XDP) else {
        return Ok(None);
    };
    let id = Attributes(xdp).find_map(|(kind, value)| {
        let is_id = kind == IFLA_XDP_PROG_ID || IFLA_XDP_MODE_PROG_ID.contains(&kind);
        let id = u32::from_ne_bytes(*value.first_chunk()?);
        (is_id && id != 0).then_some(id)
    });
    Ok(id)
}

/// Attributes one behind the other: length with header, number, value, padding to four bytes.
struct Attributes<'a>(&'a [u8]);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_program_is_found_among_other_attributes() {
        let xdp = [attribute(2, &[1]), attribute(4, &77u32.to_ne_bytes())].concat();
        let rest = [attribute(3, b"name\0"), attribute(43 | 0x8000, &xdp)].concat();
        let whole = answer(16, &[vec![0; INTERFACE], rest].concat());
        assert_eq!(parse(&whole).expect("whole"), Some(77));
        let none = answer(16, &[vec![0; INTERFACE], attribute(3, b"name\0")].concat());
        assert_eq!(parse(&none).expect("whole"), None);
        for length in 0..whole.len() {
            // Cut short anywhere: an error or nothing, and no panic.
            assert!(!matches!(parse(&whole[..length]), Ok(Some(id)) if id != 77));
        }
    }

    #[test]
    fn an_error_is_the_systems() {
        let error = parse(&answer(NLMSG_ERROR, &(-19i32).to_ne_bytes())).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
