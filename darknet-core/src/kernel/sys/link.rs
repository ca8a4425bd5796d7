use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use super::bpf;

/// A program on an interface. It stays there while this is open, or is pinned.
#[derive(Debug)]
pub(in crate::kernel) struct Link(OwnedFd);

/// What a link is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Ends {
    /// The interface, by its number in the interface's own network namespace; `None` once that is
    /// gone, or the link was detached.
    pub(in crate::kernel) interface: Option<u32>,
    /// The number of the program.
    pub(in crate::kernel) program: u32,
}

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
/// `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;
/// `enum bpf_link_type`.
const BPF_LINK_TYPE_XDP: u32 = 6;

/// `union bpf_attr`, the struct for `BPF_LINK_CREATE` (Linux 5.9 for XDP).
#[repr(C)]
struct Create {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// `union bpf_attr`, the struct for `BPF_LINK_UPDATE`.
#[repr(C)]
struct Update {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// `union bpf_attr`, the struct for `BPF_OBJ_GET` and `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
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

impl Link {
    /// Puts a program on an interface, with `XDP_FLAGS_*` of `include/uapi/linux/if_link.h`.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub(in crate::kernel) fn create(
        program: BorrowedFd<'_>,
        interface: u32,
        flags: u32,
    ) -> io::Result<Self> {
        let mut attributes = Create {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: interface,
            attach_type: BPF_XDP,
            flags,
        };
        // SAFETY: the struct is that of the command, and has no address in it.
        let link = unsafe { bpf(BPF_LINK_CREATE, &mut attributes) }?;
        // SAFETY: the descriptor was just opened, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(link) }))
    }

    /// Opens what is pinned at `path`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is nothing, `EINVAL` if it is no XDP link.
    pub(in crate::kernel) fn open(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = Pin {
            pathname: path.as_ptr() as u64,
            bpf_fd: 0,
            file_flags: 0,
        };
        // SAFETY: the struct is that of the command; the path ends in zero and outlives the call.
        let link = unsafe { bpf(BPF_OBJ_GET, &mut attributes) }?;
        // SAFETY: the descriptor was just opened, and nobody else has it.
        let link = Self(unsafe { OwnedFd::from_raw_fd(link) });
        link.ends().map(|_| link)
    }

    /// Pins it at `path`, in a BPF file system.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub(in crate::kernel) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = Pin {
            pathname: path.as_ptr() as u64,
            bpf_fd: self.number(),
            file_flags: 0,
        };
        // SAFETY: the struct is that of the command; the path ends in zero and outlives the call.
        unsafe { bpf(BPF_OBJ_PIN, &mut attributes) }.map(drop)
    }

    /// What it is between.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no XDP link.
    pub(in crate::kernel) fn ends(&self) -> io::Result<Ends> {
        let mut info = Info::default();
        let mut attributes = GetInfo {
            bpf_fd: self.number(),
            info_len: size_of::<Info>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        // SAFETY: the struct is that of the command; `info` may be written, lives until the call
        // returns, and the kernel writes no more than `info_len` bytes, of which any are numbers.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
        if info.kind != BPF_LINK_TYPE_XDP {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Ends {
            interface: (info.ifindex != 0).then_some(info.ifindex),
            program: info.prog_id,
        })
    }

    /// Puts a program in the place of the one that it has: no packet sees none, or both.
    ///
    /// # Errors
    ///
    /// What the kernel said; the old program stays.
    pub(in crate::kernel) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attributes = Update {
            link_fd: self.number(),
            new_prog_fd: program.as_raw_fd().cast_unsigned(),
            flags: 0,
            old_prog_fd: 0,
        };
        // SAFETY: the struct is that of the command, and has no address in it.
        unsafe { bpf(BPF_LINK_UPDATE, &mut attributes) }.map(drop)
    }

    /// Takes the program off the interface, at once. (Removing a pin does it some time later.)
    ///
    /// # Errors
    ///
    /// What the kernel said. An interface that is gone is no error.
    pub(in crate::kernel) fn detach(&self) -> io::Result<()> {
        let mut attributes = Detach {
            link_fd: self.number(),
        };
        // SAFETY: the struct is that of the command, and has no address in it.
        unsafe { bpf(BPF_LINK_DETACH, &mut attributes) }.map(drop)
    }

    fn number(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }
}
