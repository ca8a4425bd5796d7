use std::io;

use super::{mmap::Chunks, ring::Descriptor};

/// The memory that packets are received into, in chunks of equal size.
#[derive(Debug)]
pub(super) struct Umem {
    chunks: Chunks,
    /// Bytes of a chunk: a power of two.
    chunk: u32,
    /// Bytes of all chunks.
    length: u64,
    /// Addresses of the chunks that are in neither ring. There is room for all, so that nothing is
    /// allocated later.
    spare: Vec<u64>,
    is_huge: bool,
}

/// Where a frame is in the umem: in one chunk, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) length: usize,
    /// Bytes of metadata before it, [`METADATA_AT_MOST`] or what the chunk has.
    pub(super) metadata: usize,
}

/// `bpf_xdp_adjust_meta` takes no more: `xdp_metalen_invalid` (`include/net/xdp.h`) before Linux 6.8.
pub(super) const METADATA_AT_MOST: usize = 32;

impl Umem {
    /// So many chunks, all of them spare. The second is why they are not on huge pages, if they
    /// should be.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        frames: u32,
        chunk: u32,
        huge: bool,
    ) -> io::Result<(Self, Option<io::Error>)> {
        debug_assert!(chunk.is_power_of_two(), "a power of two");
        let length = u64::from(frames) * u64::from(chunk);
        let bytes = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut refusal = None;
        let on_huge = huge.then(|| Chunks::huge(bytes));
        let on_huge = on_huge.and_then(|result| result.map_err(|error| refusal = Some(error)).ok());
        let is_huge = on_huge.is_some();
        let chunks = match on_huge {
            Some(chunks) => chunks,
            None => Chunks::new(bytes)?,
        };
        if !is_huge {
            chunks.advise_huge();
        }
        let mut spare = Vec::new();
        let room = spare.try_reserve_exact(frames as usize);
        room.map_err(|_| io::ErrorKind::OutOfMemory)?;
        // The last is the first to be taken: the lowest address.
        spare.extend(
            (0..u64::from(frames))
                .rev()
                .map(|frame| frame * u64::from(chunk)),
        );
        let umem = Self {
            chunks,
            chunk,
            length,
            spare,
            is_huge,
        };
        Ok((umem, refusal))
    }

    pub(super) const fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Bytes of a chunk.
    pub(super) const fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Bytes of all chunks.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Whether it is on huge pages that were reserved.
    pub(super) const fn is_huge(&self) -> bool {
        self.is_huge
    }

    /// Where the frame of a descriptor is; `None` if it does not lie in one chunk.
    #[inline]
    pub(super) const fn place(&self, descriptor: Descriptor) -> Option<Place> {
        let Descriptor {
            address,
            length,
            continued: _,
        } = descriptor;
        let offset = address & (self.chunk as u64 - 1);
        if address >= self.length || offset + length as u64 > self.chunk as u64 {
            return None;
        }
        let offset = offset as usize;
        Some(Place {
            start: address as usize,
            length: length as usize,
            metadata: if offset < METADATA_AT_MOST {
                offset
            } else {
                METADATA_AT_MOST
            },
        })
    }

    /// The address of the chunk in which an address is; `None` if it is in none.
    #[inline]
    pub(super) const fn chunk_of(&self, address: u64) -> Option<u64> {
        if address >= self.length {
            return None;
        }
        Some(address & !(self.chunk as u64 - 1))
    }

    /// So many chunks that are in neither ring, or all there are.
    #[inline]
    pub(super) fn take_spares(&mut self, count: u32) -> impl Iterator<Item = u64> {
        let left = self.spare.len().saturating_sub(count as usize);
        self.spare.drain(left..).rev()
    }

    /// Keeps a chunk that has no room in the FILL ring.
    #[inline]
    pub(super) fn keep_spare(&mut self, address: u64) {
        // A kernel that hands over a chunk twice would have more of them than there are.
        if self.spare.len() < self.spare.capacity() {
            self.spare.push(address);
        }
    }

    /// How many chunks are in neither ring.
    #[inline]
    pub(super) const fn spares(&self) -> u32 {
        self.spare.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_lies_in_one_chunk_or_nowhere() {
        let (umem, _) = Umem::new(4, 2048, false).expect("memory");
        for (name, address, length, expected) in [
            ("a whole chunk", 0, 2048, Some((0, 2048, 0))),
            ("after the headroom", 2048 + 256, 60, Some((2304, 60, 32))),
            ("little before it", 4096 + 8, 60, Some((4104, 60, 8))),
            ("empty", 100, 0, Some((100, 0, 32))),
            ("to the last byte", 4 * 2048 - 1, 1, Some((8191, 1, 32))),
            ("over the edge of its chunk", 2047, 2, None),
            ("over the edge of all", 4 * 2048 - 1, 2, None),
            ("behind the last", 4 * 2048, 0, None),
            ("far away", u64::MAX, 1, None),
            ("as long as can be", 0, u32::MAX, None),
        ] {
            let descriptor = Descriptor {
                address,
                length,
                continued: false,
            };
            let expected = expected.map(|(start, length, metadata)| Place {
                start,
                length,
                metadata,
            });
            assert_eq!(umem.place(descriptor), expected, "{name}");
        }
    }

    #[test]
    fn chunks_are_found_by_any_address_in_them() {
        let (umem, _) = Umem::new(4, 4096, false).expect("memory");
        for (address, expected) in [
            (0, Some(0)),
            (4095, Some(0)),
            (4096, Some(4096)),
            (4 * 4096 - 1, Some(3 * 4096)),
            (4 * 4096, None),
            (u64::MAX, None),
        ] {
            assert_eq!(umem.chunk_of(address), expected, "{address}");
        }
    }

    #[test]
    fn spares_are_each_chunk_once_and_never_more() {
        let (mut umem, _) = Umem::new(3, 4096, false).expect("memory");
        assert_eq!(umem.take_spares(2).collect::<Vec<_>>(), [0, 4096]);
        assert_eq!(umem.take_spares(2).collect::<Vec<_>>(), [8192]);
        assert_eq!(umem.take_spares(2).next(), None);
        for _ in 0..10 {
            umem.keep_spare(4096);
        }
        assert_eq!(umem.spares() as usize, umem.spare.capacity());
    }

    #[test]
    fn too_much_memory_is_an_error() {
        let error = Umem::new(u32::MAX, 1 << 31, false).expect_err("more than can be addressed");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
