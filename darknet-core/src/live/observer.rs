use std::{thread, time::Duration};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

use crate::{
    aggregate::{Aggregate, Observation, Seed, Sources},
    kernel::Records,
};

/// How long the observer sleeps when the ring is empty: what a 16 MiB ring holds at 10 million
/// records a second is 26 ms.
const PAUSE: Duration = Duration::from_millis(1);
/// Records taken at a time.
const BATCH: usize = 1024;

/// What the packets of an epoch said.
pub(super) struct Observed {
    pub(super) packets: u64,
    pub(super) sources: Sources,
}

/// Asks for what was observed in an epoch, which no program writes to any more.
struct Finish {
    epoch: u32,
    reply: Sender<Observed>,
}

/// The handle of the thread that takes header records from the kernel: one worker for the one
/// ring, and the only writer of its tables.
pub(super) struct Observer {
    orders: Sender<Finish>,
}

impl Observer {
    /// Starts the worker on `records`; it ends when the observer is dropped.
    pub(super) fn start(
        records: Records,
        seed: Seed,
        memory: usize,
    ) -> Result<Self, std::io::Error> {
        let (orders, inbox) = bounded(1);
        let named = thread::Builder::new().name("observer".into());
        named.spawn(move || Worker::new(records, seed, memory).work(&inbox))?;
        Ok(Self { orders })
    }

    /// What was observed in `epoch`, once every record of it has been taken. All programs that
    /// saw the epoch as the current one must have ended. `None` if the worker has died.
    pub(super) fn finish(&self, epoch: u32) -> Option<Observed> {
        let (reply, answer) = bounded(1);
        self.orders.send(Finish { epoch, reply }).ok()?;
        answer.recv().ok()
    }
}

struct Worker {
    records: Records,
    seed: Seed,
    memory: usize,
    /// At most two epochs are open.
    open: Vec<(u32, Observed)>,
    batch: Vec<Observation>,
}

impl Worker {
    fn new(records: Records, seed: Seed, memory: usize) -> Self {
        Self {
            records,
            seed,
            memory,
            open: Vec::with_capacity(2),
            batch: Vec::with_capacity(BATCH),
        }
    }

    fn work(mut self, inbox: &Receiver<Finish>) {
        loop {
            let order = match inbox.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
            // The ring is in order: when it was empty once after the epoch ended, all is taken.
            while self.take() {}
            match order {
                Some(Finish { epoch, reply }) => {
                    let at = self.at(epoch);
                    let (_, observed) = self.open.swap_remove(at);
                    // Whoever asked may have gone.
                    let _ = reply.send(observed);
                }
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// Takes a batch of records of one epoch; `false` when the ring is empty.
    fn take(&mut self) -> bool {
        let mut epoch = None;
        self.batch.clear();
        while self.batch.len() < BATCH {
            let Some(header) = self.records.poll() else {
                break;
            };
            // A record that is none is not observed, so that the ledger shows it.
            let Some(packet) = header.packet() else {
                continue;
            };
            let time = header.time.cast_signed();
            let observation = Observation::new(packet, time, &self.seed);
            if *epoch.get_or_insert(header.epoch) != header.epoch {
                self.observe(epoch);
                epoch = Some(header.epoch);
            }
            self.batch.push(observation);
        }
        let taken = !self.batch.is_empty();
        self.observe(epoch);
        taken
    }

    fn observe(&mut self, epoch: Option<u32>) {
        let Some(epoch) = epoch else { return };
        let at = self.at(epoch);
        let (_, observed) = &mut self.open[at];
        observed.packets += self.batch.len() as u64;
        observed.sources.observe_batch(&self.batch);
        self.batch.clear();
    }

    fn at(&mut self, epoch: u32) -> usize {
        let found = self.open.iter().position(|open| open.0 == epoch);
        found.unwrap_or_else(|| {
            let observed = Observed {
                packets: 0,
                sources: Sources::new(self.memory, &self.seed),
            };
            self.open.push((epoch, observed));
            self.open.len() - 1
        })
    }
}
