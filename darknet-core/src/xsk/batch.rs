//! Received packets. The one place that reads what the kernel has written into chunks.

use bytes::Bytes;

use super::{
    exchange::Exchange,
    options::Fragments,
    ring::{Descriptors, Receive},
    umem::{Place, Umem},
};

/// Packets that a [`Queue`](super::Queue) has received, in the order of their arrival. It borrows
/// the queue: there is one batch at a time. When it is dropped, their frames go back to the kernel,
/// whether they were looked at or not.
///
/// A batch that is forgotten (`std::mem::forget`) was never taken: the next one begins with the same
/// packets.
///
/// # Examples
///
/// Frames live as long as their batch, all of them at the same time:
///
/// ```no_run
/// # let mut queue = darknet_core::xsk::Queue::open("eth1", &Default::default())?;
/// let batch = queue.receive(64);
/// let longest = batch.iter().map(|frame| frame.data()).max_by_key(|data| data.len());
/// println!("{longest:?}");
/// # Ok::<(), darknet_core::Error>(())
/// ```
///
/// and not longer:
///
/// ```compile_fail,E0505
/// # let mut queue = darknet_core::xsk::Queue::open("eth1", &Default::default())?;
/// let batch = queue.receive(64);
/// let first = batch.iter().next();
/// drop(batch);
/// println!("{first:?}");
/// # Ok::<(), darknet_core::Error>(())
/// ```
///
/// Nor do slices of them:
///
/// ```compile_fail,E0597
/// # let mut queue = darknet_core::xsk::Queue::open("eth1", &Default::default())?;
/// let mut kept: Vec<&[u8]> = Vec::new();
/// for _ in 0..2 {
///     let batch = queue.receive(64);
///     kept.extend(batch.iter().map(|frame| frame.data()));
/// }
/// # Ok::<(), darknet_core::Error>(())
/// ```
///
/// A queue has one batch at a time:
///
/// ```compile_fail,E0499
/// # let mut queue = darknet_core::xsk::Queue::open("eth1", &Default::default())?;
/// let first = queue.receive(64);
/// let second = queue.receive(64);
/// drop(first);
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "its packets are given back when it is dropped"]
pub struct Batch<'a> {
    exchange: &'a mut Exchange,
    /// Descriptors, of whole packets.
    count: u32,
}

impl<'a> Batch<'a> {
    pub(super) const fn new(exchange: &'a mut Exchange, count: u32) -> Self {
        Self { exchange, count }
    }

    /// Frames in it: as many as packets, where no packet has several.
    #[inline]
    pub const fn frames(&self) -> u32 {
        self.count
    }

    /// Whether nothing is in it.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its packets.
    #[inline]
    pub fn iter(&self) -> Packets<'_> {
        let Exchange {
            receive,
            umem,
            fragments,
            scratch,
            assembled,
            ..
        } = &*self.exchange;
        Packets {
            receive,
            descriptors: receive.descriptors(),
            umem,
            fragments: *fragments,
            next: 0,
            count: self.count,
            scratch,
            assembled: assembled.iter(),
        }
    }
}

impl<'a> IntoIterator for &'a Batch<'_> {
    type Item = Frame<'a>;
    type IntoIter = Packets<'a>;

    #[inline]
    fn into_iter(self) -> Packets<'a> {
        self.iter()
    }
}

impl Drop for Batch<'_> {
    #[inline]
    fn drop(&mut self) {
        let Self { exchange, count } = self;
        exchange.give_back(*count);
    }
}

/// The packets of a [`Batch`], by [`Batch::iter`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    receive: &'a Receive,
    descriptors: Descriptors<'a>,
    umem: &'a Umem,
    fragments: Fragments,
    next: u32,
    count: u32,
    /// What was put together and not yielded yet.
    scratch: &'a [u8],
    assembled: std::slice::Iter<'a, super::exchange::Assembled>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        while self.next < self.count {
            let index = self.next;
            self.next += 1;
            let descriptor = self.descriptors.get(index);
            if descriptor.continued && self.fragments != Fragments::Refuse {
                match self.several(index) {
                    None => continue,
                    packet => return packet,
                }
            }
            if let Some(place) = self.umem.place(descriptor) {
                return Some(frame(self.receive, self.umem, place));
            }
        }
        None
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some((self.count - self.next) as usize))
    }
}

impl<'a> Packets<'a> {
    /// The packet that begins at `first` and goes on in the next frame; `None` if a part of it is
    /// nowhere.
    #[cold]
    fn several(&mut self, first: u32) -> Option<Frame<'a>> {
        let mut is_bad = self.umem.place(self.descriptors.get(first)).is_none();
        let mut continued = true;
        while continued && self.next < self.count {
            let descriptor = self.descriptors.get(self.next);
            self.next += 1;
            is_bad |= self.umem.place(descriptor).is_none();
            continued = descriptor.continued;
        }
        let frame = received(self.receive, self.umem, first);
        if self.fragments != Fragments::Assemble {
            let frame = frame.filter(|_| !is_bad)?;
            return Some(Frame {
                truncated: true,
                ..frame
            });
        }
        let assembled = self.assembled.next()?;
        let (data, rest) = self.scratch.split_at_checked(assembled.length?)?;
        self.scratch = rest;
        Some(Frame {
            data,
            truncated: assembled.truncated,
            ..frame?
        })
    }
}

/// A packet, as the interface has received it: from the destination address of Ethernet on, without
/// the checksum at its end.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    data: &'a [u8],
    metadata: &'a [u8],
    truncated: bool,
}

impl<'a> Frame<'a> {
    /// Its bytes.
    #[inline]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// What lies before its (first) frame in memory: 32 bytes, or as many as there are. The last of
    /// them are what the kernel program left there with `bpf_xdp_adjust_meta`.
    ///
    /// Where a program or a driver leaves nothing, they are whatever was there, also what an earlier
    /// packet had: look for a mark of your own in them.
    #[inline]
    pub const fn metadata(&self) -> &'a [u8] {
        self.metadata
    }

    /// Whether the packet has more bytes than [`Frame::data`]: it came in several frames, and only
    /// the first was asked for ([`Fragments::Truncate`]), or it is longer than 256 KiB.
    ///
    /// What the driver has cut says nothing here: compare with the length in the IP header (igb cuts
    /// what is longer than 1,024 bytes where chunks are of 2,048).
    #[inline]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// Its bytes, to be kept longer than the batch: a copy, so whoever keeps much of it keeps no
    /// chunk from the kernel.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.data)
    }
}

/// The frame of a descriptor that is received and not given back; `None` if it is in no chunk.
///
/// # Panics
///
/// If the kernel has not handed over so many descriptors.
pub(super) fn received<'a>(receive: &'a Receive, umem: &'a Umem, index: u32) -> Option<Frame<'a>> {
    assert!(index < receive.known(), "a received descriptor");
    let place = umem.place(receive.descriptors().get(index))?;
    Some(frame(receive, umem, place))
}

/// What is at a place that a received descriptor named. The RX ring is borrowed with the frame: as
/// long as somebody has that, [`Exchange::give_back`] can't be called.
#[inline]
fn frame<'a>(_receive: &'a Receive, umem: &'a Umem, place: Place) -> Frame<'a> {
    let Place {
        start,
        length,
        metadata,
    } = place;
    // SAFETY: `Umem::place` has found both in one chunk of the umem. The kernel has handed that
    // over in the RX ring, and it gets it back when a batch gives its descriptors back, for which
    // it needs the exchange, umem and all, that is borrowed here.
    let bytes = unsafe { umem.chunks().bytes(start - metadata, metadata + length) };
    let (metadata, data) = bytes.split_at(metadata);
    Frame {
        data,
        metadata,
        truncated: false,
    }
}
