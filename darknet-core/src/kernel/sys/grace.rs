use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::OnceLock,
};

use super::bpf;

/// Returns once every program that was running has ended, on every processor: an RCU grace period.
///
/// `membarrier(MEMBARRIER_CMD_GLOBAL)`, `include/uapi/linux/membarrier.h` (Linux 4.16). Kernels
/// refuse that where processors run without a tick (`nohz_full`: `EINVAL`) or were built without
/// it (`ENOSYS`); there a map of maps is updated, which waits for the same.
///
/// # Errors
///
/// What the kernel said.
pub(in crate::kernel) fn wait_for_programs() -> io::Result<()> {
    match membarrier() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => update(),
        result => result,
    }
}

fn membarrier() -> io::Result<()> {
    // SAFETY: takes two numbers and touches no memory of ours.
    let failed = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An array of one map, for the sake of what its update waits for.
struct Nest {
    outer: OwnedFd,
    inner: OwnedFd,
}

/// Puts the inner map in its place once more.
///
/// `maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`: after the update of a map of maps, the system
/// call waits for the programs that may still use the old element (Linux 5.0).
fn update() -> io::Result<()> {
    static NEST: OnceLock<Nest> = OnceLock::new();
    let Nest { outer, inner } = match NEST.get() {
        Some(nest) => nest,
        None => {
            // Two threads may make one each; one of them is kept.
            let nest = Nest::new()?;
            NEST.get_or_init(|| nest)
        }
    };
    let key = 0u32;
    let value = number(inner);
    let mut attributes = Update {
        map_fd: number(outer),
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: std::ptr::from_ref(&value) as u64,
        flags: 0,
    };
    // SAFETY: the struct is that of the command; the map has keys and values of 4 bytes, which are
    // only read, and both live until the end of this function.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// `union bpf_attr`, the struct for `BPF_MAP_CREATE`, as far as it is needed.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// `union bpf_attr`, the struct for `BPF_MAP_*_ELEM`.
#[repr(C)]
struct Update {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Nest {
    fn new() -> io::Result<Self> {
        let inner = array(BPF_MAP_TYPE_ARRAY, 0)?;
        let outer = array(BPF_MAP_TYPE_ARRAY_OF_MAPS, number(&inner))?;
        Ok(Self { outer, inner })
    }
}

/// A map of one element of 4 bytes.
fn array(map_type: u32, inner_map_fd: u32) -> io::Result<OwnedFd> {
    let mut attributes = Create {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd,
    };
    // SAFETY: the struct is that of the command, and has no address in it.
    let map = unsafe { bpf(BPF_MAP_CREATE, &mut attributes) }?;
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kernel::testing::privileged;

    /// What it takes, of several: other work delays some.
    fn median(wait: impl Fn() -> io::Result<()>) -> Duration {
        let mut times: Vec<_> = (0..21)
            .map(|_| {
                let begun = Instant::now();
                wait().expect("waited");
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[10]
    }

    /// No kernel at hand refuses membarrier, so the way round is taken here in so many words. That
    /// it waits is seen by the time: updating a map that holds no maps takes a microsecond.
    #[test]
    fn without_membarrier_a_grace_period_is_waited_for_all_the_same() {
        if !privileged("without_membarrier_a_grace_period_is_waited_for_all_the_same") {
            return;
        }
        let plain = array(BPF_MAP_TYPE_ARRAY, 0).expect("a map");
        let nothing = || {
            let zero = [0u32; 1];
            let mut attributes = Update {
                map_fd: number(&plain),
                padding: 0,
                key: zero.as_ptr() as u64,
                value: zero.as_ptr() as u64,
                flags: 0,
            };
            // SAFETY: as in `update`.
            unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
        };
        let times = [median(nothing), median(update), median(membarrier)];
        let [nothing, update, membarrier] = times;
        eprintln!("no wait {nothing:?}, map of maps {update:?}, membarrier {membarrier:?}");
        assert!(update > 10 * nothing, "{times:?}");
        assert!(4 * update > membarrier, "{times:?}");
    }
}
