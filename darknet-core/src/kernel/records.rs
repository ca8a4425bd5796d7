use std::fmt;

use aya::maps::{Map, MapData, RingBuf};
use darknet_ebpf::Header;

use crate::Error;

/// The ring through which the kernel program hands over a [`Header`] for each counted packet.
///
/// Nobody is woken up when a record comes: ask again after a moment. Whoever owns this is the only
/// reader, on a thread of its own if it likes.
pub struct Records {
    ring: RingBuf<MapData>,
}

impl Records {
    pub(super) fn new(map: Map) -> Result<Self, Error> {
        let ring = RingBuf::try_from(map).map_err(|error| Error::KernelObject {
            what: format!("its ring RECORDS cannot be read ({error})"),
        })?;
        Ok(Self { ring })
    }

    /// The next record, or `None` if there is none now.
    ///
    /// Records of one processor come in the order of its packets; those of several are mixed.
    #[inline]
    pub fn poll(&mut self) -> Option<Header> {
        let item = self.ring.next()?;
        let bytes = item.first_chunk().expect("records are 64 bytes");
        Some(Header::from_bytes(bytes))
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ring: _ } = self;
        out.debug_struct("Records").finish_non_exhaustive()
    }
}
