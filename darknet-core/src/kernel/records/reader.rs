use std::mem::offset_of;

use darknet_ebpf::{Header, abi::Cursor};

use crate::sync::{AtomicU64, Ordering};

/// Words of a record.
pub(super) const RECORD: usize = size_of::<Header>() / 8;
/// Words of a cursor.
pub(super) const CURSOR: usize = size_of::<Cursor>() / 8;

/// The reader's half of a ring: the words of its records, of which there is a power of two, and of
/// its cursor. The kernel program has the other half (`Counted::record`,
/// darknet-ebpf/src/deliver.rs).
pub(super) struct Reader<'a> {
    pub(super) records: &'a [AtomicU64],
    pub(super) cursor: &'a [AtomicU64],
}

impl Reader<'_> {
    /// Records that wait now.
    pub(super) fn waiting(&self) -> usize {
        let head = self.head().load(Ordering::Acquire);
        let tail = self.tail().load(Ordering::Relaxed);
        head.wrapping_sub(tail).min(self.slots() as u64) as usize
    }

    /// Takes up to `most` records, the oldest first, and says how many there were.
    #[inline]
    pub(super) fn take(&self, most: usize, mut record: impl FnMut(Header)) -> usize {
        let slots = self.slots();
        // Acquire: pairs with the program's store of `head`, which follows those of the records.
        let head = self.head().load(Ordering::Acquire);
        let first = self.tail().load(Ordering::Relaxed);
        // More than the ring holds is no number of records.
        let taken = (head.wrapping_sub(first).min(slots as u64) as usize).min(most);
        for at in 0..taken {
            let slot = (first as usize).wrapping_add(at) & (slots - 1);
            let mut bytes = [0; size_of::<Header>()];
            let words = &self.records[slot * RECORD..][..RECORD];
            for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            record(Header::from_bytes(&bytes));
        }
        // Release: pairs with the program's look at `tail`, after which it writes over them.
        self.tail()
            .store(first.wrapping_add(taken as u64), Ordering::Release);
        taken
    }

    #[inline]
    fn slots(&self) -> usize {
        self.records.len() / RECORD
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.cursor[offset_of!(Cursor, head) / 8]
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.cursor[offset_of!(Cursor, tail) / 8]
    }
}
