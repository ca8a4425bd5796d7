//! Memory for tables that are larger than any cache.

/// Huge pages, and pieces of them.
mod blocks;
/// Cache lines, asked for before they are needed.
mod prefetch;
/// Slices on huge pages.
mod wide;

pub(crate) use prefetch::prefetch;
pub(crate) use wide::{Chunk, Wide};
