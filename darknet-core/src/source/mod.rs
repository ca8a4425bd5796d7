//! Anything that yields packets. Nothing here knows what is counted.

#[cfg(feature = "replay")]
pub mod replay;

use darknet_ebpf::Link;

use crate::{Error, time::Nanoseconds};

/// A packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it was received; `None` takes the time of the record before.
    pub time: Option<Nanoseconds>,
    /// What it begins with; `None` is a link layer that Darknet does not read: the packet passes.
    pub link: Option<Link>,
    /// Its bytes, as many as were captured.
    pub data: &'a [u8],
}

/// Yields packets, one after the other.
pub trait Source {
    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    ///
    /// What makes all that was read so far worthless. Less than that ends the source, or a part
    /// of it, and [`is_complete`](Self::is_complete) says so.
    fn next(&mut self) -> Result<Option<Record<'_>>, Error>;

    /// Whether everything that should have been read could be, so far.
    #[inline]
    fn is_complete(&self) -> bool {
        true
    }
}
