//! What the standard library and aya have no safe call for.

/// Waiting until the programs that run have ended.
mod grace;
/// Links, which aya neither describes nor keeps when an update fails.
mod link;

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    sync::atomic::AtomicU64,
    time::Duration,
};

use aya::maps::MapData;

pub(super) use grace::wait_for_programs;
pub(super) use link::{Ends, Link};

/// The `bpf` system call. Says what the command returns: 0, or a descriptor.
///
/// # Safety
///
/// - `attributes` is the struct that `command` takes, from the start of `union bpf_attr`
///   (`include/uapi/linux/bpf.h`); what is left out at its end is zero to the kernel.
/// - Each address in it is that of memory which lives until the call returns, is as large as the
///   kernel takes it to be, and may be written where the command writes.
unsafe fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<libc::c_int> {
    let attributes = std::ptr::from_mut(attributes);
    // SAFETY: the caller's promise; the kernel reads `size_of::<A>()` bytes of the struct.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    libc::c_int::try_from(result)
        .ok()
        .filter(|&result| result >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// The memory of an array map, shared with the kernel program: 64-bit words that either side may
/// write at any time.
#[derive(Debug)]
pub(super) struct Words {
    start: NonNull<AtomicU64>,
    length: usize,
    /// Keeps the map while its memory is mapped, and says which it is.
    _map: MapData,
}

// SAFETY: the mapping belongs to the value, not to a thread, and is reached as atomics only.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps an array map made with `BPF_F_MMAPABLE` (Linux 5.5). Its values are whole words.
    pub(super) fn map(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        // `array_map_alloc` rounds each value up to 8 bytes, and the whole up to pages.
        let bytes = info.max_entries() as usize * (info.value_size() as usize).next_multiple_of(8);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?,
            length: bytes / size_of::<AtomicU64>(),
            _map: map,
        })
    }

    /// All of it.
    #[inline]
    pub(super) fn as_slice(&self) -> &[AtomicU64] {
        // SAFETY: `start` is the page-aligned start of a mapping of `length` words that lives as
        // long as `self`; every bit pattern is a word, and atomics may be written by others.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let Self {
            start,
            length,
            _map: _,
        } = self;
        // SAFETY: the mapping was made with this length, and no slice of it outlives `self`.
        let failed = unsafe { libc::munmap(start.as_ptr().cast(), *length * 8) };
        debug_assert_eq!(failed, 0, "{}", io::Error::last_os_error());
    }
}

/// Has this thread run before others of the same processor, and as soon as it wakes up: sets its
/// nice value and, where the kernel knows it (since 6.12), its slice of time. A thread with a short
/// slice that wakes up does not wait for the end of another's (`do_preempt_short`,
/// kernel/sched/fair.c).
///
/// # Errors
///
/// `EPERM` without CAP_SYS_NICE.
pub(crate) fn run_first(nice: i32, slice: Duration) -> io::Result<()> {
    let wanted = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: slice.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a value that outlives the call; 0 is the calling
    // thread.
    let failed = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The index of an interface, as the network namespace of this thread knows it.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: reads a string that ends in zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// A socket to a protocol of netlink: `NETLINK_ROUTE`, `NETLINK_GENERIC`.
pub(super) fn netlink_socket(protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes three numbers and touches no memory of ours.
    let socket = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// A hash map, read and emptied many entries at a time.
///
/// aya has no batches; one entry at a time, 131,072 take half a second.
#[derive(Debug)]
pub(super) struct Table {
    map: MapData,
    key: usize,
    value: usize,
}

/// `union bpf_attr`, the struct for `BPF_MAP_*_BATCH`: `include/uapi/linux/bpf.h` (Linux 5.6).
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

impl Table {
    /// A map with one value for each key.
    pub(super) fn new(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        Ok(Self {
            key: info.key_size() as usize,
            value: (info.value_size() as usize).next_multiple_of(8),
            map,
        })
    }

    /// Calls `entry` with the bytes of each key and of its value.
    ///
    /// An entry that is there all the while is passed once. In a map that is written meanwhile,
    /// others may be passed or not.
    pub(super) fn for_each(&self, mut entry: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut room = 4096u32;
        let mut cursor: Option<u64> = None;
        loop {
            let mut keys = vec![0u8; room as usize * self.key];
            let mut values = vec![0u8; room as usize * self.value];
            let mut next = 0u64;
            let mut batch = Batch {
                in_batch: cursor
                    .as_ref()
                    .map_or(0, |at| std::ptr::from_ref(at) as u64),
                out_batch: std::ptr::from_mut(&mut next) as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: room,
                ..self.batch()
            };
            let result = call(BPF_MAP_LOOKUP_BATCH, &mut batch);
            let last = match result {
                Ok(()) => false,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) => true,
                    // One bucket of the hash has more entries than there was room for.
                    Some(libc::ENOSPC) if batch.count == 0 => {
                        room *= 2;
                        continue;
                    }
                    Some(libc::ENOSPC) => false,
                    _ => return Err(error),
                },
            };
            let found = batch.count as usize;
            let keys = keys.chunks_exact(self.key).take(found);
            for (key, values) in keys.zip(values.chunks_exact(self.value)) {
                entry(key, values);
            }
            if last {
                return Ok(());
            }
            cursor = Some(next);
        }
    }

    /// Deletes entries. `keys` are one behind the other.
    pub(super) fn delete(&self, keys: &[u8]) -> io::Result<()> {
        assert!(keys.len().is_multiple_of(self.key), "whole keys");
        if keys.is_empty() {
            return Ok(());
        }
        let count = keys.len() / self.key;
        let mut batch = Batch {
            keys: keys.as_ptr() as u64,
            count: u32::try_from(count).map_err(io::Error::other)?,
            ..self.batch()
        };
        call(BPF_MAP_DELETE_BATCH, &mut batch)
    }

    fn batch(&self) -> Batch {
        Batch {
            in_batch: 0,
            out_batch: 0,
            keys: 0,
            values: 0,
            count: 0,
            map_fd: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        }
    }
}

/// A batch of [`Table`], whose buffers have room for `count` entries (the kernel writes no more),
/// and whose cursors for 8 bytes (it writes 4).
fn call(command: libc::c_int, batch: &mut Batch) -> io::Result<()> {
    // SAFETY: the struct is that of both commands; what it points to lives until the call returns,
    // and both callers sized the buffers by the sizes that the kernel says the map has.
    unsafe { bpf(command, batch) }.map(drop)
}
