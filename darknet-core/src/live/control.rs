use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{Dark, Filter, Sample};

/// What a running watch is told, from any thread. Clones speak to the same watch.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    change: Arc<Mutex<Option<Change>>>,
    /// A worker that is to die, by its number from 1.
    dying: Arc<AtomicUsize>,
}

/// What may change while a telescope runs.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which destinations are dark.
    pub dark: Dark,
    /// Sources whose packets are filtered.
    pub filter: Filter,
    /// Which counted packets are delivered.
    pub sample: Sample,
}

impl Control {
    /// A control that has said nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the watch, within a fraction of a second.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks for other settings; the watch answers with
    /// [`Event::Changed`](super::Event::Changed). The newest counts, if there are several before
    /// the watch has seen the first.
    pub fn change(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }

    /// Has a worker panic: for tests.
    #[doc(hidden)]
    pub fn end_worker(&self, number: usize) {
        self.dying.store(number + 1, Ordering::Relaxed);
    }

    pub(super) fn dying(&self) -> Option<usize> {
        self.dying.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Option<Change> {
        let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        change.take()
    }
}
