use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use super::bpf;

/// An XDP link that was found pinned.
#[derive(Debug)]
pub(in crate::kernel) struct PinnedLink {
    link: OwnedFd,
    /// The interface that it is on, by its number in the interface's own network namespace; `None`
    /// once that is gone, or the link was detached.
    pub(in crate::kernel) interface: Option<u32>,
    /// The number of the program that it runs.
    pub(in crate::kernel) program: u32,
}

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_DETACH: libc::c_int = 34;
/// `enum bpf_link_type`.
const BPF_LINK_TYPE_XDP: u32 = 6;

/// `union bpf_attr`, the struct for `BPF_OBJ_GET`.
#[repr(C)]
struct Get {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr`, the struct for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `union bpf_attr`, the struct for `BPF_LINK_DETACH`.
#[repr(C)]
struct Detach {
    link_fd: u32,
}

/// `struct bpf_link_info` of an XDP link, as far as it is needed (Linux 5.9).
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    prog_id: u32,
    /// The union that follows is aligned to 8 bytes.
    padding: u32,
    ifindex: u32,
    /// To a multiple of 8 bytes, as the kernel's.
    rest: u32,
}

/// Opens what is pinned at `path`, and asks what it is.
///
/// # Errors
///
/// `ENOENT` if there is nothing, `EINVAL` if it is no XDP link.
pub(in crate::kernel) fn pinned_link(path: &Path) -> io::Result<PinnedLink> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Get {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the struct is that of the command; the path ends in zero and outlives the call.
    let link = unsafe { bpf(BPF_OBJ_GET, &mut attributes) }?;
    // SAFETY: the descriptor was just opened, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    let mut info = Info::default();
    let mut attributes = GetInfo {
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        info_len: size_of::<Info>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the struct is that of the command; `info` may be written, lives until the call
    // returns, and the kernel writes no more than `info_len` bytes, of which any are numbers.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    if info.kind != BPF_LINK_TYPE_XDP {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(PinnedLink {
        link,
        interface: (info.ifindex != 0).then_some(info.ifindex),
        program: info.prog_id,
    })
}

impl PinnedLink {
    /// Takes the program off the interface, at once. (Removing the pin does it some time later.)
    ///
    /// # Errors
    ///
    /// What the kernel said. An interface that is gone is no error.
    pub(in crate::kernel) fn detach(&self) -> io::Result<()> {
        let mut attributes = Detach {
            link_fd: self.link.as_raw_fd().cast_unsigned(),
        };
        // SAFETY: the struct is that of the command, and has no address in it.
        unsafe { bpf(BPF_LINK_DETACH, &mut attributes) }.map(drop)
    }
}
