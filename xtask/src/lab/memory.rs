use std::{ffi::c_void, os::fd::BorrowedFd, ptr, ptr::NonNull, slice};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::error::Error;

/// The values of a BPF array with `BPF_F_MMAPABLE`, as bytes in this process.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached by `&mut self` only.
unsafe impl Send for Memory {}

impl Memory {
    /// Maps `length` bytes of the array; the mapping outlives the descriptor.
    pub(super) fn new(array: BorrowedFd<'_>, length: usize) -> Result<Self, Error> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping where the kernel likes; it refuses more than the array has.
        let start = unsafe { mmap(ptr::null_mut(), length, flags, MapFlags::SHARED, array, 0) };
        let action = || format!("mapping {length} bytes of a BPF array");
        let start = start.map_err(|error| Error::system(action())(error.into()))?;
        let start = NonNull::new(start).ok_or_else(|| Error::System {
            action: action(),
            source: std::io::ErrorKind::AddrNotAvailable.into(),
        })?;
        Ok(Self { start, length })
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY:
        // - `start` is the start of a readable and writable mapping of `length` bytes, which lives
        //   as long as `self`, and any bytes are valid `u8`s;
        // - the borrow of `self` is the only way to it in this process, and the generator's
        //   programs, which see the same memory, never write it.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Self { start, length } = *self;
        // SAFETY: the mapping that `new` made; nothing borrows from it any more.
        let outcome = unsafe { munmap(start.as_ptr(), length) };
        debug_assert!(outcome.is_ok(), "{outcome:?}");
    }
}
