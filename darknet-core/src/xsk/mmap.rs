//! Memory that is shared with the kernel: one of the leaf modules with unsafe code.
//!
//! There is never a `&mut [T]` over it. Rings are reached as atomics only, so whatever the kernel
//! writes, and whenever, is a number; chunks are read as bytes only while they are ours.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
};

use crate::sync::{AtomicU32, AtomicU64};

/// Huge pages of x86-64, and of arm64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Mapped memory, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the value, not to a thread, and what is in it is reached as atomics
// or under the contract of `Chunks::bytes`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(
        length: usize,
        flags: libc::c_int,
        file: Option<(BorrowedFd<'_>, libc::off_t)>,
    ) -> io::Result<Self> {
        let (file, offset) = file.map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(anywhere, length, protection, flags, file, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, length })
    }

    fn anonymous(length: usize, flags: libc::c_int) -> io::Result<Self> {
        Self::new(
            length,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            None,
        )
    }

    /// The address of `count` aligned values of `T`.
    ///
    /// # Panics
    ///
    /// If they are not all in the mapping, or not aligned.
    #[inline]
    fn at<T>(&self, offset: usize, count: usize) -> NonNull<T> {
        let end = count.checked_mul(size_of::<T>());
        let end = end.and_then(|bytes| bytes.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.length), "in the mapping");
        assert!(offset.is_multiple_of(align_of::<T>()), "aligned");
        // SAFETY: `offset` is not beyond the mapping.
        unsafe { self.start.byte_add(offset) }.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Self { start, length } = self;
        // SAFETY: the mapping was made with this length, and no borrow of it outlives `self`.
        let failed = unsafe { libc::munmap(start.as_ptr().cast(), *length) };
        debug_assert_eq!(failed, 0, "{}", io::Error::last_os_error());
    }
}

/// The memory of a ring: cursors of 32 bits and entries of 64, which the kernel may write at any
/// time.
#[derive(Debug)]
pub(super) struct RingMemory(Mapping);

impl RingMemory {
    /// Maps a ring of a socket, at its `XDP_*_PGOFF_*` offset.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        offset: libc::off_t,
        length: usize,
    ) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Mapping::new(length, flags, Some((socket, offset))).map(Self)
    }

    /// Memory for a ring between two halves of a test.
    #[cfg(any(test, feature = "stages"))]
    pub(super) fn anonymous(length: usize) -> io::Result<Self> {
        Mapping::anonymous(length, 0).map(Self)
    }

    /// A cursor, or flags.
    ///
    /// # Panics
    ///
    /// If it is not in the mapping, or not aligned.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        let word = self.0.at(offset, 1);
        // SAFETY: aligned memory of the mapping, which lives as long as `self`; every bit pattern
        // is a number, and atomics may be written by others.
        unsafe { word.as_ref() }
    }

    /// Entries.
    ///
    /// # Panics
    ///
    /// If they are not all in the mapping, or not aligned.
    #[inline]
    pub(super) fn entries(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let entries = self.0.at(offset, count);
        // SAFETY: as for `word`, for each of them.
        unsafe { std::slice::from_raw_parts(entries.as_ptr(), count) }
    }
}

/// The memory of a umem: chunks that are the kernel's or ours by turns.
#[derive(Debug)]
pub(super) struct Chunks(Mapping);

impl Chunks {
    /// So many bytes, zeroed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        Mapping::anonymous(length, 0).map(Self)
    }

    /// As many on huge pages that were reserved (`/proc/sys/vm/nr_hugepages`).
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there are not enough of them.
    pub(super) fn huge(length: usize) -> io::Result<Self> {
        let length = length.next_multiple_of(HUGE_PAGE);
        Mapping::anonymous(length, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB).map(Self)
    }

    /// Asks the kernel for transparent huge pages; it may have none, and doesn't say.
    pub(super) fn advise_huge(&self) {
        if cfg!(miri) {
            // It has no pages.
            return;
        }
        let start = self.0.start.as_ptr().cast();
        // SAFETY: this advice changes pages, not what is in them, and the whole mapping is ours.
        let _ = unsafe { libc::madvise(start, self.0.length, libc::MADV_HUGEPAGE) };
    }

    pub(super) fn address(&self) -> usize {
        self.0.start.addr().get()
    }

    pub(super) fn length(&self) -> usize {
        self.0.length
    }

    /// Bytes of one chunk.
    ///
    /// # Safety
    ///
    /// - `start + length` is not above [`Chunks::length`].
    /// - The chunk is ours as long as the slice lives: the kernel has handed it over in the RX
    ///   ring, and it was not put into the FILL ring again.
    #[inline]
    pub(super) unsafe fn bytes(&self, start: usize, length: usize) -> &[u8] {
        debug_assert!(
            start
                .checked_add(length)
                .is_some_and(|end| end <= self.0.length)
        );
        // SAFETY: `start` is not beyond the mapping, by the caller's first promise.
        let bytes = unsafe { self.0.start.add(start) };
        // SAFETY: the bytes lie in the mapping, which lives as long as `self` and was zeroed; by
        // the caller's second promise nobody writes to them.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr(), length) }
    }

    /// Writes into a chunk, as the kernel does.
    ///
    /// # Safety
    ///
    /// The chunk is the kernel's: nobody reads it.
    #[cfg(any(test, feature = "stages"))]
    pub(super) unsafe fn write(&self, start: usize, bytes: &[u8]) {
        assert!(start + bytes.len() <= self.0.length);
        // SAFETY: `start` is in the mapping.
        let to = unsafe { self.0.start.add(start) };
        // SAFETY: `to` has room for them in the mapping, and `bytes` is not in it, as nobody has a
        // slice of this chunk.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }
}
