//! Memory for tables that are larger than any cache.

/// Huge pages, and pieces of them.
mod blocks;
/// Slices of one length on them.
mod chunk;
/// Cache lines, asked for before they are needed.
mod prefetch;
/// Slices on huge pages.
mod wide;

use blocks::CHUNK;
pub(crate) use chunk::Chunk;
pub(crate) use prefetch::prefetch;
pub(crate) use wide::Wide;
