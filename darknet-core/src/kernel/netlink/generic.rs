use std::{fs::File, io};

use super::{Attributes, attribute, body, exchange};
use crate::kernel::sys;

/// The family that knows the others, and its question for one: `include/uapi/linux/genetlink.h`.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Length of a `genlmsghdr`: command, version, two bytes reserved.
const GENERIC: usize = 4;

/// A family of generic netlink, and a socket to ask it.
pub(in crate::kernel) struct Family {
    socket: File,
    number: u16,
}

impl Family {
    /// # Errors
    ///
    /// `ENOENT` if this kernel has no such family.
    pub(in crate::kernel) fn open(name: &str) -> io::Result<Self> {
        let socket = sys::netlink_socket(libc::NETLINK_GENERIC)?;
        let mut control = Self {
            socket: File::from(socket),
            number: GENL_ID_CTRL,
        };
        let name = [name.as_bytes(), b"\0"].concat();
        let name = attribute(CTRL_ATTR_FAMILY_NAME, &name);
        let answer = control.ask(CTRL_CMD_GETFAMILY, &name)?;
        let number = Attributes(&answer).value(CTRL_ATTR_FAMILY_ID);
        let number = number.and_then(<[u8]>::first_chunk);
        Ok(Self {
            number: u16::from_ne_bytes(*number.ok_or(io::ErrorKind::UnexpectedEof)?),
            ..control
        })
    }

    /// Asks, and gives the attributes of the one answer.
    ///
    /// # Errors
    ///
    /// What the kernel said: `EOPNOTSUPP` if the interface's driver has no answer.
    pub(in crate::kernel) fn ask(&mut self, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        // Version 1, which families don't look at.
        let request = [&[command, 1, 0, 0], attributes].concat();
        let answer = exchange(&mut self.socket, self.number, &request)?;
        let attributes = body(&answer)?.get(GENERIC..);
        Ok(attributes.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_by_its_name() {
        let mut control = Family::open("nlctrl").expect("every kernel has it");
        assert_eq!(control.number, GENL_ID_CTRL);
        let name = attribute(CTRL_ATTR_FAMILY_NAME, b"nlctrl\0");
        let answer = control.ask(CTRL_CMD_GETFAMILY, &name).expect("an answer");
        let name = Attributes(&answer).text(CTRL_ATTR_FAMILY_NAME);
        assert_eq!(name.as_deref(), Some("nlctrl"));
        let error = Family::open("no such one").err().expect("no family");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
