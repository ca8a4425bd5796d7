//! The system calls of AF_XDP sockets: one of the leaf modules with unsafe code.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use super::umem::Umem;

/// `include/uapi/asm-generic/socket.h`; not in the libc crate.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;
/// `include/uapi/linux/ethtool.h`.
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `include/uapi/linux/sockios.h`.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SIOCGIFMTU: libc::c_ulong = 0x8921;
const SIOCGIFHWADDR: libc::c_ulong = 0x8927;

/// The rings that an RX-only socket needs. The kernel refuses to bind without a completion ring,
/// though nothing will ever be completed (`xsk_bind`, `net/xdp/xsk.c`).
#[derive(Clone, Copy, Debug)]
pub(super) enum RingKind {
    Receive,
    Fill,
    Completion,
}

/// Opens an AF_XDP socket.
///
/// # Errors
///
/// `EPERM` without CAP_NET_RAW, `EAFNOSUPPORT` if the kernel was built without AF_XDP.
pub(super) fn socket() -> io::Result<OwnedFd> {
    open(libc::AF_XDP, libc::SOCK_RAW)
}

fn open(family: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes three numbers and touches no memory of ours.
    let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Sets a socket option.
///
/// # Safety
///
/// `T` is what the kernel reads for this option, and what it points to is as the option wants it.
unsafe fn set<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: `value` has `length` bytes and outlives the call; the rest is the caller's promise.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) };
    check(result)
}

/// Reads a socket option; what an older kernel doesn't know stays zero.
///
/// # Safety
///
/// `T` is the struct of numbers that the kernel writes for this option: all zeros are a `T`.
unsafe fn get<T>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    let address = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `length` bytes to `value`, which lives until it returns.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, address, &mut length) };
    check(result)?;
    // SAFETY: it was zeroed, and any numbers that the kernel wrote are numbers.
    Ok(unsafe { value.assume_init() })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes a ring of so many entries.
///
/// # Errors
///
/// `EINVAL` unless `entries` is a power of two (`xsk_init_queue`, `net/xdp/xsk.c`), `ENOMEM`.
pub(super) fn make_ring(socket: BorrowedFd<'_>, kind: RingKind, entries: u32) -> io::Result<()> {
    let name = match kind {
        RingKind::Receive => libc::XDP_RX_RING,
        RingKind::Fill => libc::XDP_UMEM_FILL_RING,
        RingKind::Completion => libc::XDP_UMEM_COMPLETION_RING,
    };
    // SAFETY: all three take a number of entries (`xsk_setsockopt`, `net/xdp/xsk.c`).
    unsafe { set(socket, libc::SOL_XDP, name, &entries) }
}

/// Where the parts of each ring are in its mapping. Minimum kernel: 5.4, which has flags.
pub(super) fn offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: the struct of this option, all numbers.
    unsafe { get(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS) }
}

/// Makes memory the socket's umem. From now on the kernel may write to a chunk of it whose address
/// is in the FILL ring, until it hands the chunk over in the RX ring; `exchange.rs` is where chunks
/// are put into the one and taken out of the other.
///
/// # Errors
///
/// `ENOBUFS` where RLIMIT_MEMLOCK is too small without CAP_IPC_LOCK, `ENOMEM`, `EINVAL`
/// (`xdp_umem_reg`, `net/xdp/xdp_umem.c`).
pub(super) fn register(socket: BorrowedFd<'_>, umem: &Umem, headroom: u32) -> io::Result<()> {
    let (chunks, length) = (umem.chunks(), umem.length());
    assert!(length <= chunks.length() as u64, "the umem is all mapped");
    // SAFETY: a struct of numbers.
    let mut registration: libc::xdp_umem_reg = unsafe { MaybeUninit::zeroed().assume_init() };
    registration.addr = chunks.address() as u64;
    registration.len = length;
    registration.chunk_size = umem.chunk();
    registration.headroom = headroom;
    // SAFETY: the struct of this option. The kernel pins the pages, so they stay as long as it may
    // write to them; that nobody reads a chunk while it may is the contract of `Chunks::bytes`.
    unsafe { set(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration) }
}

/// Binds the socket to a queue of an interface, with `XDP_*` flags of `include/uapi/linux/if_xdp.h`.
///
/// # Errors
///
/// What the kernel said: `EBUSY` while another socket has the queue, `EOPNOTSUPP` or `EINVAL` for
/// a mode that the driver doesn't have, `EINVAL` for a queue that there isn't.
pub(super) fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    flags: u16,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let length = size_of_val(&address) as libc::socklen_t;
    let pointer = std::ptr::from_ref(&address).cast();
    // SAFETY: reads `length` bytes of an address that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), pointer, length) })
}

/// Whether the socket was bound in zero-copy mode.
pub(super) fn is_zero_copy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the struct of this option, a number.
    let options: libc::xdp_options = unsafe { get(socket, libc::SOL_XDP, libc::XDP_OPTIONS) }?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// What the kernel counted for the socket.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    // SAFETY: the struct of this option, all numbers.
    unsafe { get(socket, libc::SOL_XDP, libc::XDP_STATISTICS) }
}

/// The error that waits at the socket, if one does: `ENETDOWN` once its interface is unregistered
/// (`xsk_notifier`, `net/xdp/xsk.c`). Reading it clears it.
pub(super) fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    // SAFETY: this option is a number.
    let error: libc::c_int = unsafe { get(socket, libc::SOL_SOCKET, libc::SO_ERROR) }?;
    Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
}

/// Asks for busy polling: so many microseconds, so many packets at a time. Linux 5.11.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN, `ENOPROTOOPT` before 5.11.
pub(super) fn busy_poll(socket: BorrowedFd<'_>, time: u32, budget: u16) -> io::Result<()> {
    let time = libc::c_int::try_from(time).unwrap_or(libc::c_int::MAX);
    for (name, value) in [
        (SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, time),
        (SO_BUSY_POLL_BUDGET, libc::c_int::from(budget)),
    ] {
        // SAFETY: all three options are numbers.
        unsafe { set(socket, libc::SOL_SOCKET, name, &value) }?;
    }
    Ok(())
}

/// Tells the driver to go on: it asked for that by the flag of the FILL ring, or it is polled. What
/// is wrong with the interface is for [`take_error`]; a driver that is busy will be told again.
pub(super) fn wake(socket: BorrowedFd<'_>) {
    let none = std::ptr::null_mut();
    // SAFETY: reads nothing into no memory: the length is 0 (`xsk_recvmsg`, `net/xdp/xsk.c`).
    let _ = unsafe { libc::recv(socket.as_raw_fd(), none, 0, libc::MSG_DONTWAIT) };
}

/// Waits until there is something to read, or for so long. A signal ends it early.
pub(super) fn poll(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut descriptor = libc::pollfd {
        fd: socket.as_raw_fd(),
        // Not POLLOUT: there is no TX ring.
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    };
    // SAFETY: one descriptor, a time and no signal mask, which outlive the call.
    let result = unsafe { libc::ppoll(&mut descriptor, 1, &timeout, std::ptr::null()) };
    match check(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(descriptor.revents & libc::POLLIN != 0),
    }
}

/// `struct ethtool_channels` (`include/uapi/linux/ethtool.h`).
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// How many queues an interface receives on, as `ethtool -l` says.
///
/// # Errors
///
/// `EOPNOTSUPP` where the driver doesn't say.
pub(super) fn receive_queues(interface: &str) -> io::Result<u32> {
    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    let mut request = request(interface)?;
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut channels).cast();
    // SAFETY: the request points to the struct of its command, which outlives the call.
    unsafe { ioctl(SIOCETHTOOL, &mut request) }?;
    Ok(channels.receive.saturating_add(channels.combined))
}

/// The MTU of an interface: the longest packet without its Ethernet header.
pub(super) fn mtu(interface: &str) -> io::Result<u32> {
    let mut request = request(interface)?;
    // SAFETY: this request points to nothing.
    unsafe { ioctl(SIOCGIFMTU, &mut request) }?;
    // SAFETY: the kernel has written this member (`dev_ifsioc_locked`, `net/core/dev_ioctl.c`).
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(mtu.unsigned_abs())
}

/// The hardware address of an Ethernet interface.
pub(super) fn hardware_address(interface: &str) -> io::Result<[u8; 6]> {
    let mut request = request(interface)?;
    // SAFETY: this request points to nothing.
    unsafe { ioctl(SIOCGIFHWADDR, &mut request) }?;
    // SAFETY: the kernel has written this member (`dev_ifsioc`, `net/core/dev_ioctl.c`).
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let [a, b, c, d, e, f, ..] = address.sa_data;
    Ok([a, b, c, d, e, f].map(|byte| byte as u8))
}

/// A request about an interface.
fn request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: numbers, an array of them, and a union of such.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // The last stays zero.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// # Safety
///
/// The member of the request's union that `command` uses is set, and what it points to is as large
/// as the command wants it and may be written.
unsafe fn ioctl(command: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = open(libc::AF_INET, libc::SOCK_DGRAM)?;
    // SAFETY: the request outlives the call; the rest is the caller's promise.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), command as _, request) })
}
