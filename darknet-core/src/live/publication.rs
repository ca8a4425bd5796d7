use crate::sync::{ArrayQueue, AtomicBool, Ordering};

/// What a worker shows of the open window. It is asked for, made between two batches, and left here:
/// neither side ever waits for the other.
///
/// The flag may be relaxed, as nothing is handed over by it: the answer is, by the queue. An answer
/// to the question before may still come after a new one was asked; it is a second old, or of an
/// epoch that has ended, which its number tells.
pub(super) struct Publication<A> {
    asked: AtomicBool,
    /// With the epoch that it is of.
    answer: ArrayQueue<(u32, A)>,
}

impl<A> Publication<A> {
    pub(super) fn new() -> Self {
        Self {
            asked: AtomicBool::new(false),
            answer: ArrayQueue::new(1),
        }
    }

    /// Asks the worker, and forgets what it has answered before.
    pub(super) fn ask(&self) {
        self.answer.pop();
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the worker was asked; it is told once.
    #[inline]
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Relaxed)
    }

    /// Answers. What stays from before is freed.
    pub(super) fn answer(&self, epoch: u32, live: A) {
        self.answer.force_push((epoch, live));
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answer.is_full()
    }

    /// The answer, if it is of this epoch.
    pub(super) fn take(&self, epoch: u32) -> Option<A> {
        let (of, live) = self.answer.pop()?;
        (of == epoch).then_some(live)
    }
}
