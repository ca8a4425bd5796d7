use std::{
    fmt,
    io::{self, ErrorKind},
    ops::Range,
};

use super::{Stop, input::Input};

/// Bytes that are read at a time: what stays in a core's second-level cache.
const CHUNK: usize = 1 << 18;

/// The part of an input that is being looked at.
pub(super) struct Buffer {
    input: Input,
    bytes: Vec<u8>,
    /// What has been read and not consumed.
    unread: Range<usize>,
    /// Where in the input the buffer begins.
    base: u64,
    /// The input has ended, in the middle of its compressed form if that is `Some(true)`.
    ended: Option<bool>,
}

impl Buffer {
    pub(super) fn new(input: Input) -> Self {
        Self {
            input,
            bytes: vec![0; CHUNK],
            unread: 0..0,
            base: 0,
            ended: None,
        }
    }

    /// What has been read and not consumed.
    #[inline]
    pub(super) fn available(&self) -> &[u8] {
        &self.bytes[self.unread.clone()]
    }

    /// Bytes that [`consume`](Self::consume) gave.
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Where in the input the next byte is.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.unread.start as u64
    }

    /// Leaves `count` available bytes behind. They stay where the range says until the next
    /// [`fill`](Self::fill).
    #[inline]
    pub(super) fn consume(&mut self, count: usize) -> Range<usize> {
        let start = self.unread.start;
        self.unread.start += count;
        debug_assert!(self.unread.start <= self.unread.end);
        start..start + count
    }

    /// Makes `count` bytes available.
    #[inline]
    pub(super) fn need(&mut self, count: usize) -> Result<(), Stop> {
        match self.unread.len() >= count {
            true => Ok(()),
            false => self.need_more(count),
        }
    }

    #[cold]
    #[inline(never)]
    fn need_more(&mut self, count: usize) -> Result<(), Stop> {
        match self.fill(count) {
            Ok(()) if self.unread.len() >= count => Ok(()),
            Ok(()) if self.unread.is_empty() && self.ended == Some(false) => Err(Stop::End),
            Ok(()) => Err(Stop::Cut),
            Err(why) => Err(Stop::Corrupt(why.to_string())),
        }
    }

    /// Reads on until `count` bytes are available or the input ends.
    pub(super) fn fill(&mut self, count: usize) -> io::Result<()> {
        self.bytes.copy_within(self.unread.clone(), 0);
        self.base += self.unread.start as u64;
        self.unread = 0..self.unread.len();
        if self.bytes.len() < count {
            self.bytes.resize(count, 0);
        }
        while self.unread.end < count && self.ended.is_none() {
            match self.input.read(&mut self.bytes[self.unread.end..]) {
                Ok(0) => self.ended = Some(false),
                Ok(read) => self.unread.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.ended = Some(true),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            input: _,
            bytes: _,
            unread,
            base,
            ended,
        } = self;
        out.debug_struct("Buffer")
            .field("unread", unread)
            .field("base", base)
            .field("ended", ended)
            .finish_non_exhaustive()
    }
}
