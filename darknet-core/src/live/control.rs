use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::LiveFigures;
use crate::{Dark, Filter, Sample, Window, aggregate::Survey};

/// What a running watch is told, and what it shows, from any thread. Clones speak to the same watch.
pub struct Control<A = Survey> {
    stop: Arc<AtomicBool>,
    given_up: Arc<AtomicBool>,
    change: Arc<Mutex<Option<Change>>>,
    /// A worker that is to die, by its number from 1.
    dying: Arc<AtomicUsize>,
    /// Replaced once a second, by the thread that watches: no worker touches it.
    live: Arc<Mutex<Option<Open<A>>>>,
}

/// The open window, as it is shown.
type Open<A> = Arc<Window<LiveFigures<A>>>;

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

impl<A> Control<A> {
    /// A control that has said nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the watch, within a fraction of a second.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the watch as if it were killed: no window is told of any more, and one that is being told
    /// of right now does not count as handed over. With [`Watch::pins`](super::Watch::pins) it is in
    /// the first window of the next watch, with all that was counted since; without, it is lost. So it
    /// is with pins where eight watches in a row have given up: each leaves its tables in memory.
    ///
    /// For whoever finds that a closed window cannot be kept, as a disk is full.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.stop();
    }

    /// Asks for other settings; the watch answers with
    /// [`Event::Changed`](super::Event::Changed). The newest counts, if there are several before
    /// the watch has seen the first.
    pub fn change(&self, change: Change) {
        *locked(&self.change) = Some(change);
    }

    /// The open window as of a second ago at most, or the window before it where that has closed
    /// since; `None` before the watch has begun to count, and after its end. No worker waits for
    /// this, and whoever holds a window keeps it.
    ///
    /// It has what the kernel counts, and with [`Watch::publish`](super::Watch::publish) what
    /// aggregates publish; see [`Event::Open`](super::Event::Open).
    pub fn live(&self) -> Option<Arc<Window<LiveFigures<A>>>> {
        locked(&self.live).clone()
    }

    /// Has a worker panic: for tests.
    #[doc(hidden)]
    pub fn end_worker(&self, number: usize) {
        self.dying.store(number + 1, Ordering::Relaxed);
    }

    pub(super) fn dying(&self) -> Option<usize> {
        self.dying.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    /// Whether it was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Option<Change> {
        locked(&self.change).take()
    }

    pub(super) fn show(&self, open: Option<Open<A>>) {
        // The old one is freed when nobody waits for the lock.
        let old = std::mem::replace(&mut *locked(&self.live), open);
        drop(old);
    }
}

/// Takes the open window away when its watch ends, however it does.
pub(super) struct Showing<'a, A>(pub(super) &'a Control<A>);

impl<A> Drop for Showing<'_, A> {
    fn drop(&mut self) {
        self.0.show(None);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A> Default for Control<A> {
    fn default() -> Self {
        Self {
            stop: Arc::default(),
            given_up: Arc::default(),
            change: Arc::default(),
            dying: Arc::default(),
            live: Arc::default(),
        }
    }
}

impl<A> Clone for Control<A> {
    fn clone(&self) -> Self {
        let Self {
            stop,
            given_up,
            change,
            dying,
            live,
        } = self;
        Self {
            stop: Arc::clone(stop),
            given_up: Arc::clone(given_up),
            change: Arc::clone(change),
            dying: Arc::clone(dying),
            live: Arc::clone(live),
        }
    }
}

impl<A> fmt::Debug for Control<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stop,
            given_up,
            change,
            dying: _,
            live: _,
        } = self;
        out.debug_struct("Control")
            .field("stop", stop)
            .field("given_up", given_up)
            .field("change", change)
            .finish_non_exhaustive()
    }
}
