use std::{
    alloc::{self, Layout},
    collections::BTreeMap,
    num::NonZero,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What every address is a multiple of: a cache line.
pub(super) const ALIGNED: usize = 64;
/// Bytes of a chunk; what is smaller comes from the allocator, as does what is larger than a block.
pub(super) const CHUNK: usize = 16 << 10;
/// Bytes of a block: a huge page where pages have 4 KiB (Documentation/admin-guide/mm/transhuge.rst).
const BLOCK: usize = 2 << 20;
const CHUNKS: usize = BLOCK / CHUNK;
/// How a block lies.
const WHOLE: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// So many bytes with anything in them. Asks for a lock, which is why it is for whole tables or chunks of
/// them.
pub(super) fn take(bytes: usize) -> NonNull<u8> {
    match bytes {
        0 => NonNull::without_provenance(const { NonZero::new(ALIGNED).expect("some") }),
        CHUNK..=BLOCK => blocks().take(chunks(bytes)),
        _ => allocate(layout(bytes)),
    }
}

/// Gives back what was taken.
///
/// # Safety
///
/// - `start` is from [`take`] with as many `bytes`;
/// - it was not given back since, and nobody uses it after.
pub(super) unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
    match bytes {
        0 => {}
        CHUNK..=BLOCK => blocks().give_back(start, chunks(bytes)),
        // SAFETY: as the caller says, with the layout that `take` had.
        _ => unsafe { alloc::dealloc(start.as_ptr(), layout(bytes)) },
    }
}

/// Chunks that so many bytes take: a power of two.
fn chunks(bytes: usize) -> usize {
    bytes.div_ceil(CHUNK).next_power_of_two()
}

/// How so many bytes, one at least, lie that are in no block.
fn layout(bytes: usize) -> Layout {
    let aligned = if bytes > BLOCK { BLOCK } else { ALIGNED };
    Layout::from_size_align(bytes, aligned).expect("fewer bytes than there are addresses")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: nobody asks for a layout of no bytes.
    let start = NonNull::new(unsafe { alloc::alloc(layout) });
    let start = start.unwrap_or_else(|| alloc::handle_alloc_error(layout));
    #[cfg(all(target_os = "linux", not(miri)))]
    if layout.size() >= BLOCK {
        // SAFETY: advice about memory that is ours, which changes nothing that is in it. A kernel without
        // huge pages refuses it, and small ones will do.
        unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
    start
}

/// The blocks of the process, by address: all tables share them, so that many small ones take no more
/// than they need.
static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks(BTreeMap::new()));

fn blocks() -> MutexGuard<'static, Blocks> {
    // Nothing panics with a block half noted.
    BLOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Blocks(BTreeMap<usize, Block>);

struct Block {
    start: NonNull<u8>,
    /// A bit for each chunk that nobody has.
    free: u128,
}

// SAFETY: the address of memory that belongs to no thread.
unsafe impl Send for Block {}

const _: () = assert!(CHUNKS == u128::BITS as usize);

/// The lowest bits.
fn bits(count: usize) -> u128 {
    u128::MAX >> (CHUNKS - count)
}

impl Block {
    /// Takes chunks side by side, whose number is a power of two.
    fn take(&mut self, count: usize) -> Option<NonNull<u8>> {
        let mut places = (0..CHUNKS).step_by(count);
        let at = places.find(|&at| self.free >> at & bits(count) == bits(count))?;
        self.free &= !(bits(count) << at);
        // SAFETY: there are fewer than 128 chunks before it, all in the block.
        Some(unsafe { self.start.add(at * CHUNK) })
    }
}

impl Blocks {
    fn take(&mut self, count: usize) -> NonNull<u8> {
        let mut blocks = self.0.values_mut().filter(|block| block.free != 0);
        if let Some(taken) = blocks.find_map(|block| block.take(count)) {
            return taken;
        }
        let start = allocate(WHOLE);
        let mut block = Block {
            start,
            free: u128::MAX,
        };
        let taken = block.take(count).expect("all of it is free");
        self.0.insert(start.addr().get(), block);
        taken
    }

    fn give_back(&mut self, start: NonNull<u8>, count: usize) {
        let address = start.addr().get() & !(BLOCK - 1);
        let block = self.0.get_mut(&address).expect("chunks of a block");
        block.free |= bits(count) << ((start.addr().get() - address) / CHUNK);
        if block.free == u128::MAX {
            // SAFETY: `take` allocated it so, nobody has a chunk of it, and it is forgotten here.
            unsafe { alloc::dealloc(block.start.as_ptr(), WHOLE) };
            self.0.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn chunks_are_apart_and_a_block_goes_when_its_last_chunk_does() {
        // Not those of the process, which other tests use.
        let mut blocks = Blocks(BTreeMap::new());
        let counts = [1, 64, 2, 32, 128, 16, 1, 8];
        let taken = counts.map(|count| (blocks.take(count), count));
        assert_eq!(blocks.0.len(), 2, "124 and 128 chunks");
        let addresses = taken.iter().flat_map(|(start, count)| {
            let first = start.addr().get();
            (0..*count).map(move |at| first + at * CHUNK)
        });
        let all: BTreeSet<_> = addresses.collect();
        assert_eq!(all.len(), counts.iter().sum::<usize>());
        assert!(all.iter().all(|address| address % CHUNK == 0));
        for (at, (start, count)) in taken.into_iter().enumerate() {
            blocks.give_back(start, count);
            let left = [2, 2, 2, 2, 1, 1, 1, 0][at];
            assert_eq!(blocks.0.len(), left, "after {at}");
        }
    }
}
