use crossbeam::queue::ArrayQueue;

use crate::{Telescope, aggregate::Aggregate, part::cleaned};

/// Makes an empty aggregate that takes as much memory as a telescope has.
pub(super) type Make<A> = Box<dyn Fn(&Telescope) -> A + Send + Sync>;

/// Clean aggregates: those of windows that were handed over, and new ones.
pub(super) struct Pool<A> {
    make: Make<A>,
    workers: usize,
    /// The telescope, with the memory of one worker.
    share: Telescope,
    telescope: Telescope,
    payload_wanted: usize,
    parts: ArrayQueue<A>,
    whole: ArrayQueue<A>,
}

impl<A: Aggregate> Pool<A> {
    pub(super) fn new(workers: usize, telescope: &Telescope, make: Make<A>) -> Self {
        let telescope = telescope.clone();
        let mut pool = Self {
            make,
            workers,
            share: Telescope {
                memory: telescope.memory / workers,
                ..telescope.clone()
            },
            telescope,
            payload_wanted: 0,
            // At most two windows are open.
            parts: ArrayQueue::new(2 * workers),
            whole: ArrayQueue::new(1),
        };
        let first = pool.small();
        pool.payload_wanted = first.payload_wanted();
        pool.return_part(first);
        pool
    }

    /// Bytes of each payload that the aggregates want.
    pub(super) fn payload_wanted(&self) -> usize {
        self.payload_wanted
    }

    /// One for what a worker observes of a window.
    pub(super) fn part(&self) -> A {
        self.parts.pop().unwrap_or_else(|| self.small())
    }

    /// One for what all workers observe of it.
    pub(super) fn whole(&self) -> A {
        match self.workers {
            1 => self.part(),
            _ => self
                .whole
                .pop()
                .unwrap_or_else(|| (self.make)(&self.telescope)),
        }
    }

    /// A new one, which is as small as it gets.
    pub(super) fn small(&self) -> A {
        (self.make)(&self.share)
    }

    /// Takes back what [`part`](Self::part) gave.
    pub(super) fn return_part(&self, part: A) {
        Self::keep(&self.parts, part);
    }

    /// Takes back what [`whole`](Self::whole) gave.
    pub(super) fn return_whole(&self, whole: A) {
        match self.workers {
            1 => self.return_part(whole),
            _ => Self::keep(&self.whole, whole),
        }
    }

    fn keep(queue: &ArrayQueue<A>, aggregate: A) {
        // When there are enough of them, it is freed.
        cleaned(aggregate).and_then(|clean| queue.push(clean).err());
    }
}
