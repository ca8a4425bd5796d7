use std::time::Duration;

use darknet_ebpf::Metadata;

use super::{interface::Interface, socket::Rung};
use crate::Error;

/// How a [`Queue`](super::Queue) receives.
///
/// # Examples
///
/// ```
/// use darknet_core::xsk::{Options, ZeroCopy};
///
/// let options = Options {
///     queue: 3,
///     zero_copy: ZeroCopy::Require,
///     ..Options::default()
/// };
/// assert_eq!(options.chunk, None);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The receive queue of the interface, from 0. Default: 0.
    pub queue: u32,
    /// Frames in memory, of `chunk` bytes each; from `ring` to 1,048,576. Where a driver keeps them
    /// in a ring of its own (zero-copy), those cannot wait to be read. Default: 8,192.
    pub frames: u32,
    /// Bytes of a frame: 2,048 or 4,096, of which 256 are kept free before the packet, or 280 where
    /// packets are copied. Default, `None`: 2,048 where packets are copied and those of the
    /// interface's MTU fit, which is quicker (`benches/README.md`); else 4,096, as with 2,048 some
    /// drivers cut longer packets without saying so (igb: more than 1,024 bytes).
    pub chunk: Option<u32>,
    /// Entries of the RX ring and of the FILL ring: a power of two, from 2 to 65,536. As many
    /// packets may wait to be read. Default: 8,192, which 2 million packets a second fill in 4 ms.
    pub ring: u32,
    /// Whether frames are on huge pages, where enough of them are reserved
    /// (`/proc/sys/vm/nr_hugepages`, of 2 MiB); else transparent ones are asked for. Default: no.
    pub huge_pages: bool,
    /// Whether the driver writes packets into frames itself. Default: where it can.
    pub zero_copy: ZeroCopy,
    /// What becomes of packets that are longer than a frame. Default: put together.
    pub fragments: Fragments,
    /// Busy polling: the driver works when asked for packets, and raises fewer interrupts. Some
    /// drivers are slower with it: measure. Default: none.
    pub busy_poll: Option<BusyPoll>,
    /// How long to wait for a queue that another socket has: the kernel takes a moment to take one
    /// down. Default: 2 s.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: 0,
            frames: 8192,
            chunk: None,
            ring: 8192,
            huge_pages: false,
            zero_copy: ZeroCopy::Prefer,
            fragments: Fragments::Assemble,
            busy_poll: None,
            patience: Duration::from_secs(2),
        }
    }
}

/// Whether the driver writes packets into our memory, or the kernel copies them there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Where the driver can, else copied. It may be bound before an XDP program is attached, as
    /// libxdp does; frames come without a copy once there is one in driver mode.
    #[default]
    Prefer,
    /// Copied.
    Never,
    /// An error where the driver can't.
    Require,
}

/// What becomes of packets that come in several frames: those that are longer than one, and
/// segments that were merged. Minimum kernel: 6.6, and a program that takes them (`xdp.frags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragments {
    /// They are put together: copied, up to 256 KiB.
    #[default]
    Assemble,
    /// The first frame of each is yielded, and says that it is
    /// [`truncated`](super::Frame::truncated).
    Truncate,
    /// They are not received: the kernel drops them, in `rx_dropped` of
    /// [`Statistics`](super::Statistics). For drivers that are wrong about them (i40e).
    Refuse,
}

/// Settings of busy polling. Minimum kernel: 5.11. See `Documentation/networking/napi.rst`.
#[derive(Clone, Copy, Debug)]
pub struct BusyPoll {
    /// How long the driver is polled at most: `SO_BUSY_POLL`. Default: 20 µs.
    pub time: Duration,
    /// Packets at a time: `SO_BUSY_POLL_BUDGET`. Default: 64.
    pub budget: u16,
    /// The interface's `napi_defer_hard_irqs`: how often polling finds nothing before interrupts
    /// come again. It is set while the queue is open, if it is 0. Default: 2.
    pub defer_hard_irqs: u32,
    /// The interface's `gro_flush_timeout`: after how long without polling the kernel polls itself.
    /// It is set while the queue is open, if it is 0. Default: 200 µs.
    pub gro_flush_timeout: Duration,
}

impl Default for BusyPoll {
    fn default() -> Self {
        Self {
            time: Duration::from_micros(20),
            budget: 64,
            defer_hard_irqs: 2,
            gro_flush_timeout: Duration::from_micros(200),
        }
    }
}

/// The chunks that there are: `xdp_umem_reg` (`net/xdp/xdp_umem.c`) takes from 2,048 bytes to a page,
/// a power of two.
const CHUNKS: [u32; 2] = [2048, 4096];
/// `XDP_PACKET_HEADROOM` (`include/uapi/linux/bpf.h`): what the kernel keeps free in each chunk.
const HEADROOM: u32 = 256;
/// What else is kept free where packets are copied: as much as [`Metadata`] takes. It begins with a
/// line of the cache then, which holds the addresses and ports of most packets too: the reader has
/// one line of each packet fetched from the processor that copied it, and not two.
const LEAD: u32 = size_of::<Metadata>() as u32;
/// An Ethernet header with two VLAN tags, which the MTU does not count.
const LINK_HEADER: u32 = 14 + 2 * 4;
/// Above it the kernel may have no memory in one piece, and nobody has asked for more.
const RING_AT_MOST: u32 = 1 << 16;
/// 4 GiB, eight times what both rings hold and a device's ring besides.
const FRAMES_AT_MOST: u32 = 1 << 20;

impl Options {
    /// What is wrong with them by themselves.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let setting = |name, value: u32, rule| {
            Err(Error::Setting {
                name,
                value: value.to_string(),
                rule,
            })
        };
        if !self.ring.is_power_of_two() || !(2..=RING_AT_MOST).contains(&self.ring) {
            return setting("ring", self.ring, "a power of two, from 2 to 65536");
        }
        if let Some(chunk) = self.chunk
            && !CHUNKS.contains(&chunk)
        {
            return setting("chunk", chunk, "2048 or 4096");
        }
        if !(self.ring..=FRAMES_AT_MOST).contains(&self.frames) {
            let rule = "at least ring, so that the FILL ring can be filled, and at most 1048576";
            return setting("frames", self.frames, rule);
        }
        Ok(())
    }

    /// What is wrong with them on this interface; else what is tried on it, the best first.
    pub(super) fn rungs(&self, interface: &Interface) -> Result<Vec<Rung>, Error> {
        if let Some(queues) = interface.queues
            && self.queue >= queues
        {
            return Err(Error::Setting {
                name: "queue",
                value: format!("{} of {}, which has {queues}", self.queue, interface.name),
                rule: "below the number of its receive queues (from 0); ethtool -L IF rx N makes more",
            });
        }
        let modes: &[bool] = match self.zero_copy {
            ZeroCopy::Prefer => &[true, false],
            ZeroCopy::Never => &[false],
            ZeroCopy::Require => &[true],
        };
        let rungs = modes.iter().flat_map(|&zero_copy| {
            let headroom = if zero_copy { 0 } else { LEAD };
            let chunk = self.chunk_of(zero_copy, interface);
            let buffers: &[bool] = match (
                self.fragments,
                interface.mtu <= longest_mtu(chunk, headroom),
            ) {
                (Fragments::Refuse, true) => &[false],
                (Fragments::Refuse, false) => &[],
                (_, true) => &[true, false],
                (_, false) => &[true],
            };
            buffers.iter().map(move |&multi_buffer| Rung {
                zero_copy,
                multi_buffer,
                chunk,
                headroom,
            })
        });
        let rungs: Vec<_> = rungs.collect();
        if rungs.is_empty() {
            self.check_mtu(interface)?;
        }
        Ok(rungs)
    }

    /// Bytes of a frame on this interface.
    fn chunk_of(&self, zero_copy: bool, interface: &Interface) -> u32 {
        let [small, large] = CHUNKS;
        let fits = interface.mtu <= longest_mtu(small, LEAD);
        self.chunk
            .unwrap_or(if fits && !zero_copy { small } else { large })
    }

    /// # Errors
    ///
    /// Packets of the interface don't fit into a frame, if they are copied.
    pub(super) fn check_mtu(&self, interface: &Interface) -> Result<(), Error> {
        let chunk = self.chunk.unwrap_or(CHUNKS[1]);
        let most = longest_mtu(chunk, LEAD);
        if interface.mtu <= most {
            return Ok(());
        }
        Err(Error::FrameSize {
            name: interface.name.clone(),
            mtu: interface.mtu,
            chunk,
            most,
        })
    }
}

/// The longest MTU whose packets fit into a frame: `xsk_pool_get_rx_frame_size`
/// (`include/net/xdp_sock_drv.h`) less the Ethernet header.
const fn longest_mtu(chunk: u32, headroom: u32) -> u32 {
    chunk - HEADROOM - headroom - LINK_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(queues: Option<u32>, mtu: u32) -> Interface {
        Interface {
            name: "eth1".into(),
            index: 7,
            queues,
            mtu,
        }
    }

    #[test]
    fn the_defaults_are_right() {
        Options::default().check().expect("right");
    }

    #[test]
    fn errors_name_the_setting_the_value_and_the_rule() {
        let right = Options::default();
        for (name, options, expected) in [
            (
                "no ring",
                Options {
                    ring: 0,
                    ..right.clone()
                },
                "ring is 0; it must be a power of two",
            ),
            (
                "odd ring",
                Options {
                    ring: 1000,
                    ..right.clone()
                },
                "ring is 1000; it must be a power",
            ),
            (
                "big ring",
                Options {
                    ring: 1 << 17,
                    ..right.clone()
                },
                "ring is 131072; it must be",
            ),
            (
                "no chunk",
                Options {
                    chunk: Some(0),
                    ..right.clone()
                },
                "chunk is 0; it must be 2048 or 4096",
            ),
            (
                "big chunk",
                Options {
                    chunk: Some(8192),
                    ..right.clone()
                },
                "chunk is 8192; it must be 2048",
            ),
            (
                "no frames",
                Options {
                    frames: 0,
                    ..right.clone()
                },
                "frames is 0; it must be at least",
            ),
            (
                "few frames",
                Options {
                    frames: 2047,
                    ..right
                },
                "frames is 2047; it must be at least ring",
            ),
        ] {
            let error = options.check().expect_err(name).to_string();
            assert!(error.starts_with(expected), "{name}: {error}");
        }
    }

    #[test]
    fn a_queue_that_there_is_not_is_named_with_what_there_is() {
        let options = Options {
            queue: 2,
            ..Options::default()
        };
        let error = options
            .rungs(&interface(Some(2), 1500))
            .expect_err("no queue 2");
        let error = error.to_string();
        assert!(
            error.starts_with("queue is 2 of eth1, which has 2; it must be below"),
            "{error}"
        );
        for queues in [None, Some(3)] {
            options
                .rungs(&interface(queues, 1500))
                .expect("there may be one");
        }
    }

    #[test]
    fn what_is_tried_is_what_was_asked_for() {
        use Fragments::{Assemble, Refuse, Truncate};
        use ZeroCopy::{Never, Prefer, Require};
        let rung = |zero_copy, multi_buffer, chunk| Rung {
            zero_copy,
            multi_buffer,
            chunk,
            headroom: if zero_copy { 0 } else { 24 },
        };
        let direct = |multi_buffer| rung(true, multi_buffer, 4096);
        let copied = |multi_buffer| rung(false, multi_buffer, 2048);
        let large = |multi_buffer| rung(false, multi_buffer, 4096);
        let all = [direct(true), direct(false), copied(true), copied(false)];
        for (zero_copy, fragments, mtu, expected) in [
            (Prefer, Assemble, 1500, &all[..]),
            (Prefer, Refuse, 1746, &[direct(false), copied(false)]),
            (Prefer, Refuse, 1747, &[direct(false), large(false)]),
            (Prefer, Refuse, 3795, &[direct(false)]),
            (Prefer, Truncate, 3819, &[direct(true), large(true)]),
            (Never, Assemble, 3794, &[large(true), large(false)]),
            (Require, Assemble, 9000, &[direct(true)]),
        ] {
            let options = Options {
                zero_copy,
                fragments,
                ..Options::default()
            };
            let rungs = options.rungs(&interface(None, mtu)).expect("some");
            assert_eq!(rungs, expected, "{options:?}, MTU {mtu}");
        }
    }

    #[test]
    fn an_mtu_that_does_not_fit_is_an_error_that_says_what_does() {
        let options = Options {
            chunk: Some(2048),
            fragments: Fragments::Refuse,
            zero_copy: ZeroCopy::Never,
            ..Options::default()
        };
        options.rungs(&interface(None, 1746)).expect("fits");
        let error = options
            .rungs(&interface(None, 1747))
            .expect_err("does not fit");
        let error = error.to_string();
        assert!(
            error.contains("1747") && error.contains("1746") && error.contains("2048"),
            "{error}"
        );
    }
}
