use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    epochs::{Epochs, Observed},
    inlet::Inlet,
    pool::{Make, Pool},
    publication::Publication,
    worker::{Order, Worker},
};
use crate::{Error, Telescope, aggregate::Aggregate, kernel::run_first, part::Part};

/// What a worker has beside other threads of its processor: a ring of frames is full in
/// milliseconds, and closing a window, or another program, may take as long.
const NICE: i32 = -10;
/// The shortest that there is. Without it a worker that wakes up waits for some 3 ms.
const SLICE: Duration = Duration::from_micros(100);

/// The handle of the threads that take what the kernel delivers. They end when it is dropped.
pub(super) struct Workers<A> {
    workers: Vec<Handle<A>>,
    pool: Arc<Pool<A>>,
}

/// The handle of one of them.
struct Handle<A> {
    orders: Sender<Order<A>>,
    thread: JoinHandle<()>,
    publication: Arc<Publication<A>>,
}

/// Between two looks at whether a worker lives that has not answered.
const LOOK: Duration = Duration::from_millis(20);

impl<A> Handle<A> {
    /// Waits for an answer; `None` if the worker has died. An order that it was given while it died
    /// stays in the channel, so nobody else says so.
    fn wait(&self, answer: &Receiver<Observed<A>>) -> Option<Observed<A>> {
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(observed) => return Some(observed),
                Err(RecvTimeoutError::Disconnected) => return None,
                // It may have answered just before.
                Err(RecvTimeoutError::Timeout) if self.thread.is_finished() => {
                    return answer.try_recv().ok();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// What all workers have observed.
pub(super) struct Told<A> {
    pub(super) observed: Observed<A>,
    /// Whether a worker did not answer: it has died.
    pub(super) is_partial: bool,
    /// How long that took.
    pub(super) took: Duration,
}

impl<A: Aggregate + 'static> Workers<A> {
    /// Starts workers, each on a processor of its own as far as there are any. The first packets
    /// are counted in `epoch`.
    pub(super) fn start(
        count: usize,
        telescope: &Telescope,
        make: Make<A>,
        epoch: u32,
    ) -> Result<Self, Error> {
        let pool = Arc::new(Pool::new(count, telescope, make));
        let processors = processors();
        let start = |number: usize| {
            let (orders, inbox) = bounded(1);
            let publication = Arc::new(Publication::new());
            let epochs = Epochs::new(telescope.seed.clone(), Arc::clone(&pool));
            let worker = Worker::new(epochs, epoch, Arc::clone(&publication));
            // From the last, as interrupts and other work tend to be on the first.
            let processor = processors
                .iter()
                .rev()
                .nth(number % processors.len().max(1));
            let processor = processor.copied();
            let named = thread::Builder::new().name(format!("darknet-{number}"));
            let started = named.spawn(move || {
                if let Some(processor) = processor {
                    pin(processor);
                }
                if let Err(error) = run_first(NICE, SLICE) {
                    tracing::debug!("a worker could not be put before other threads: {error}");
                }
                worker.work(&inbox);
            });
            let handle = started.map(|thread| Handle {
                orders,
                thread,
                publication,
            });
            handle.map_err(Error::Thread)
        };
        let workers = (0..count).map(start).collect::<Result<_, _>>()?;
        Ok(Self { workers, pool })
    }

    /// Deals out where packets come from too.
    pub(super) fn add(&self, inlets: Vec<Inlet>) {
        self.deal(inlets, Order::Add);
    }

    /// Deals out where packets come from instead, since another program counts.
    pub(super) fn replace(&self, inlets: Vec<Inlet>) {
        self.deal(inlets, Order::Replace);
    }

    /// Deals out what another process has left.
    pub(super) fn inherit(&self, inlets: Vec<Inlet>) {
        self.deal(inlets, Order::Inherit);
    }

    fn deal(&self, inlets: Vec<Inlet>, order: fn(Vec<Inlet>) -> Order<A>) {
        let mut hands: Vec<Vec<Inlet>> = self.workers.iter().map(|_| Vec::new()).collect();
        let count = hands.len();
        for (number, inlet) in inlets.into_iter().enumerate() {
            hands[number % count].push(inlet);
        }
        for (worker, hand) in self.workers.iter().zip(hands) {
            // A worker that has died is missed when it is asked.
            let _ = worker.orders.send(order(hand));
        }
    }

    /// Asks what may be read of the open window.
    pub(super) fn ask(&self) {
        let publications = self.workers.iter().map(|worker| &worker.publication);
        publications.for_each(|publication| publication.ask());
    }

    /// Whether all have answered.
    pub(super) fn have_answered(&self) -> bool {
        let mut publications = self.workers.iter().map(|worker| &worker.publication);
        publications.all(|publication| publication.has_answered())
    }

    /// What may be read of an epoch; `None` if one has not answered.
    pub(super) fn published(&self, epoch: u32) -> Option<A> {
        let answers = self.workers.iter();
        let answers = answers.map(|worker| worker.publication.take(epoch));
        let answers: Option<Vec<Part<A>>> = answers.map(|live| live.map(Part::new)).collect();
        let merge = |mut all: Part<A>, other| {
            all.merge(other);
            all
        };
        let Part {
            aggregate, panics, ..
        } = answers?.into_iter().reduce(merge)?;
        for panic in panics {
            tracing::error!("while merging what is shown of the open window: {panic}");
        }
        aggregate
    }

    /// Has a worker die: for tests.
    pub(super) fn end(&self, number: usize) {
        if let Some(worker) = self.workers.get(number) {
            let _ = worker.orders.send(Order::Panic);
        }
    }

    /// What was observed up to `epoch`, once every packet of it has been taken. All programs that
    /// saw the epoch as the current one must have ended.
    pub(super) fn finish(&self, epoch: u32) -> Told<A> {
        self.ask_for(epoch, false)
    }

    /// As [`finish`](Self::finish), of workers that end then.
    pub(super) fn leave(self, epoch: u32) -> Told<A> {
        self.ask_for(epoch, true)
    }

    fn ask_for(&self, epoch: u32, is_last: bool) -> Told<A> {
        let begun = Instant::now();
        let ask = |worker: &Handle<A>| {
            let (reply, answer) = bounded(1);
            let order = Order::Finish {
                epoch,
                reply,
                is_last,
            };
            worker.orders.send(order).ok().map(|()| answer)
        };
        let asked: Vec<_> = self.workers.iter().map(ask).collect();
        let answers = self.workers.iter().zip(asked);
        let answers = answers.map(|(worker, answer)| worker.wait(&answer?));
        let mut all: Option<Observed<A>> = None;
        let mut is_partial = false;
        for answer in answers {
            match answer {
                None => is_partial = true,
                // The only one needs no merging.
                Some(observed) if self.workers.len() == 1 => all = Some(observed),
                Some(observed) => {
                    let all = all.get_or_insert_with(|| self.nothing());
                    if let Some(used) = all.merge(observed) {
                        self.pool.return_part(used);
                    }
                }
            }
        }
        Told {
            observed: all.unwrap_or_else(|| self.nothing()),
            is_partial,
            took: begun.elapsed(),
        }
    }

    fn nothing(&self) -> Observed<A> {
        Observed::new(self.pool.whole())
    }

    /// Takes back what [`finish`](Self::finish) gave, to be used again.
    pub(super) fn take_back(&self, aggregate: A) {
        self.pool.return_whole(aggregate);
    }
}

/// One for each two processors, as the kernel takes the other to write as many records.
pub(super) fn half_of_the_processors() -> usize {
    (processors().len() / 2).max(1)
}

/// The processors that this process may use.
fn processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    let all = 0..CpuSet::count();
    all.filter(|&processor| allowed.is_set(processor).unwrap_or(false))
        .collect()
}

/// Keeps this thread on a processor; where that is refused, it goes where the kernel puts it.
fn pin(processor: usize) {
    let mut only = CpuSet::new();
    if only.set(processor).is_ok()
        && let Err(error) = sched_setaffinity(Pid::from_raw(0), &only)
    {
        tracing::debug!("a worker could not be kept on processor {processor}: {error}");
    }
}
