use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    epochs::{Epochs, Observed},
    inlet::Inlet,
    worker::{Order, Worker},
};
use crate::{Error, aggregate::Seed, kernel::run_first};

/// What a worker has beside other threads of its processor: a ring of frames is full in
/// milliseconds, and closing a window, or another program, may take as long.
const NICE: i32 = -10;
/// The shortest that there is. Without it a worker that wakes up waits for some 3 ms.
const SLICE: Duration = Duration::from_micros(100);

/// The handle of the threads that take what the kernel delivers. They end when it is dropped.
pub(super) struct Workers {
    workers: Vec<Handle>,
    seed: Seed,
    memory: usize,
}

/// The handle of one of them.
struct Handle {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

/// Between two looks at whether a worker lives that has not answered.
const LOOK: Duration = Duration::from_millis(20);

impl Handle {
    /// Waits for an answer; `None` if the worker has died. An order that it was given while it died
    /// stays in the channel, so nobody else says so.
    fn wait(&self, answer: &Receiver<Observed>) -> Option<Observed> {
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
pub(super) struct Told {
    pub(super) observed: Observed,
    /// Whether a worker did not answer: it has died.
    pub(super) is_partial: bool,
}

impl Workers {
    /// Starts workers, each on a processor of its own as far as there are any. Their tables take
    /// at most `memory` bytes together, for each window that is open. The first packets are
    /// counted in `epoch`.
    pub(super) fn start(count: usize, memory: usize, epoch: u32) -> Result<Self, Error> {
        let seed = Seed::random();
        let processors = processors();
        let start = |number: usize| {
            let (orders, inbox) = bounded(1);
            let worker = Worker::new(Epochs::new(seed.clone(), memory / count), epoch);
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
            let handle = started.map(|thread| Handle { orders, thread });
            handle.map_err(Error::Thread)
        };
        let workers = (0..count).map(start).collect::<Result<_, _>>()?;
        Ok(Self {
            workers,
            seed,
            memory,
        })
    }

    /// Deals out where packets come from too.
    pub(super) fn add(&self, inlets: Vec<Inlet>) {
        self.deal(inlets, Order::Add);
    }

    /// Deals out where packets come from instead, since another program counts.
    pub(super) fn replace(&self, inlets: Vec<Inlet>) {
        self.deal(inlets, Order::Replace);
    }

    fn deal(&self, inlets: Vec<Inlet>, order: fn(Vec<Inlet>) -> Order) {
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

    /// Has a worker die: for tests.
    pub(super) fn end(&self, number: usize) {
        if let Some(worker) = self.workers.get(number) {
            let _ = worker.orders.send(Order::Panic);
        }
    }

    /// What was observed up to `epoch`, once every packet of it has been taken. All programs that
    /// saw the epoch as the current one must have ended.
    pub(super) fn finish(&self, epoch: u32) -> Told {
        let ask = |worker: &Handle| {
            let (reply, answer) = bounded(1);
            let order = Order::Finish { epoch, reply };
            worker.orders.send(order).ok().map(|()| answer)
        };
        let asked: Vec<_> = self.workers.iter().map(ask).collect();
        let answers = self.workers.iter().zip(asked);
        let answers = answers.map(|(worker, answer)| worker.wait(&answer?));
        let mut all: Option<Observed> = None;
        let mut is_partial = false;
        for answer in answers {
            match (&mut all, answer) {
                (_, None) => is_partial = true,
                // The only one needs no merging.
                (None, Some(observed)) if self.workers.len() == 1 => all = Some(observed),
                (None, Some(observed)) => {
                    let empty = Observed::new(&self.seed, self.memory);
                    all.insert(empty).merge(observed);
                }
                (Some(all), Some(observed)) => all.merge(observed),
            }
        }
        Told {
            observed: all.unwrap_or_else(|| Observed::new(&self.seed, self.memory)),
            is_partial,
        }
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
