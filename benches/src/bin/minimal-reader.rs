//! The floor of an AF_XDP reader: one queue in copy mode under Darknet's own kernel program, and
//! nothing but a walk of its rings, of so many frames. On the line that ends its standard input, or at its end, it
//! prints how many frames came.
//!
//! Only what `Documentation/networking/af_xdp.rst` asks for; errors end it.

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "sockets, memory and rings as the kernel gives them"
)]
mod minimal {
    use std::{
        io::{self, BufRead as _},
        mem::{size_of, zeroed},
        os::fd::BorrowedFd,
        ptr::null_mut,
        sync::atomic::{AtomicBool, AtomicU32, Ordering},
        time::Duration,
    };

    use darknet_core::kernel::{Delivery, Kernel, Settings};
    use libc::{c_int, c_void};

    const CHUNK: u64 = 4096;
    static ENOUGH: AtomicBool = AtomicBool::new(false);

    fn checked(result: impl TryInto<i64>) -> i64 {
        let result = result.try_into().ok().filter(|&result| result >= 0);
        result.unwrap_or_else(|| panic!("{}", io::Error::last_os_error()))
    }

    fn map(bytes: usize, flags: c_int, socket: c_int, offset: i64) -> *mut u8 {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping touches no other memory.
        let at = unsafe { libc::mmap(null_mut(), bytes, access, flags, socket, offset) };
        assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        at.cast()
    }

    fn set<T>(socket: c_int, option: c_int, value: &T) {
        let length = size_of::<T>() as u32;
        let value = std::ptr::from_ref(value).cast::<c_void>();
        // SAFETY: the kernel reads `length` bytes of a value that lives.
        checked(unsafe { libc::setsockopt(socket, libc::SOL_XDP, option, value, length) });
    }

    pub(crate) fn run(interface: &str, slots: u32) {
        // SAFETY: takes numbers only.
        let socket = checked(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) }) as c_int;
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let umem = map((CHUNK * u64::from(slots)) as usize, anonymous, -1, 0);
        // SAFETY: plain numbers, of which 0 is one.
        let mut registration: libc::xdp_umem_reg = unsafe { zeroed() };
        registration.addr = umem as u64;
        registration.len = CHUNK * u64::from(slots);
        registration.chunk_size = CHUNK as u32;
        set(socket, libc::XDP_UMEM_REG, &registration);
        let rings = [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
        ];
        for ring in rings {
            set(socket, ring, &slots);
        }
        // SAFETY: plain numbers, of which 0 is one.
        let mut at: libc::xdp_mmap_offsets = unsafe { zeroed() };
        let mut length = size_of::<libc::xdp_mmap_offsets>() as u32;
        let place = (&raw mut at).cast();
        // SAFETY: the kernel writes at most `length` bytes.
        checked(unsafe {
            libc::getsockopt(
                socket,
                libc::SOL_XDP,
                libc::XDP_MMAP_OFFSETS,
                place,
                &raw mut length,
            )
        });
        let ring = |offsets: &libc::xdp_ring_offset, entry: usize, page: i64| {
            let bytes = offsets.desc as usize + slots as usize * entry;
            let start = map(bytes, libc::MAP_SHARED | libc::MAP_POPULATE, socket, page);
            let field = |offset: u64| start.wrapping_add(offset as usize);
            let [producer, consumer] = [offsets.producer, offsets.consumer].map(|offset| {
                // SAFETY: the kernel says that its words are there; the mapping is never undone.
                unsafe { &*field(offset).cast::<AtomicU32>() }
            });
            (producer, consumer, field(offsets.desc))
        };
        let (filled, _, chunks) = ring(&at.fr, 8, libc::XDP_UMEM_PGOFF_FILL_RING as i64);
        let (produced, consumed, frames) = ring(&at.rx, 16, libc::XDP_PGOFF_RX_RING);
        let give = |slot: u32, chunk: u64| {
            let slot = chunks
                .cast::<u64>()
                .wrapping_add((slot & (slots - 1)) as usize);
            // SAFETY: a slot of the FILL ring that the kernel does not read yet.
            unsafe { slot.write(chunk) };
        };
        (0..slots).for_each(|slot| give(slot, u64::from(slot) * CHUNK));
        filled.store(slots, Ordering::Release);
        // SAFETY: plain numbers, of which 0 is one.
        let mut address: libc::sockaddr_xdp = unsafe { zeroed() };
        address.sxdp_family = libc::AF_XDP as u16;
        address.sxdp_flags = libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP;
        let name = std::ffi::CString::new(interface).expect("a name");
        // SAFETY: reads a string that lives.
        address.sxdp_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let (place, length) = ((&raw const address).cast(), size_of_val(&address) as u32);
        // The kernel takes a moment to take down the socket of a run before this one.
        // SAFETY: the kernel reads `length` bytes of an address that lives.
        while unsafe { libc::bind(socket, place, length) } < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "{error}");
            std::thread::sleep(Duration::from_millis(5));
        }

        let settings = Settings {
            delivery: Delivery::Frames,
            ..Settings::default()
        };
        let mut kernel = Kernel::load(&settings).expect("the kernel takes the program");
        // SAFETY: the socket is open, and is never closed.
        let borrowed = unsafe { BorrowedFd::borrow_raw(socket) };
        kernel.deliver_to(0, borrowed).expect("a socket of queue 0");
        kernel.attach(interface).expect("attached");
        std::thread::spawn(|| {
            let _ = io::stdin().lock().lines().next();
            ENOUGH.store(true, Ordering::Relaxed);
        });
        let (mut next, mut free) = (0u32, slots);
        while !ENOUGH.load(Ordering::Relaxed) {
            let end = produced.load(Ordering::Acquire);
            if next == end {
                std::hint::spin_loop();
                continue;
            }
            while next != end {
                let slot = (next & (slots - 1)) as usize;
                let frame = frames.cast::<libc::xdp_desc>().wrapping_add(slot);
                // SAFETY: a slot of the RX ring that the kernel has published.
                let chunk = unsafe { (*frame).addr } & !(CHUNK - 1);
                give(free, chunk);
                (next, free) = (next.wrapping_add(1), free.wrapping_add(1));
            }
            consumed.store(next, Ordering::Release);
            filled.store(free, Ordering::Release);
        }
        println!("{next}");
    }
}

#[cfg(target_os = "linux")]
fn main() {
    let [interface, slots] = [1, 2].map(|at| std::env::args().nth(at));
    let slots = slots.expect("so many frames").parse();
    minimal::run(&interface.expect("an interface"), slots.expect("a number"));
}

#[cfg(not(target_os = "linux"))]
fn main() {}
