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

/// What the worker is told.
enum Order {
    /// Records come from another ring too.
    Ring(Records),
    /// Asks for what was observed up to an epoch, which no program writes to any more. Of the
    /// rings, only the newest will have records after that.
    Finish { epoch: u32, reply: Sender<Observed> },
}

/// The handle of the thread that takes header records from the kernel: one worker, and the only
/// writer of its tables.
pub(super) struct Observer {
    orders: Sender<Order>,
}

impl Observer {
    /// Starts the worker; it ends when the observer is dropped.
    pub(super) fn start(seed: Seed, memory: usize) -> Result<Self, std::io::Error> {
        let (orders, inbox) = bounded(1);
        let named = thread::Builder::new().name("observer".into());
        named.spawn(move || Worker::new(seed, memory).work(&inbox))?;
        Ok(Self { orders })
    }

    /// Takes the records of `ring` too.
    pub(super) fn add(&self, ring: Records) {
        // A worker that has died is missed when it is asked.
        let _ = self.orders.send(Order::Ring(ring));
    }

    /// What was observed up to `epoch`, once every record of it has been taken. All programs that
    /// saw the epoch as the current one must have ended. `None` if the worker has died.
    pub(super) fn finish(&self, epoch: u32) -> Option<Observed> {
        let (reply, answer) = bounded(1);
        self.orders.send(Order::Finish { epoch, reply }).ok()?;
        answer.recv().ok()
    }
}

struct Worker {
    /// The newest last.
    rings: Vec<Records>,
    seed: Seed,
    memory: usize,
    open: Vec<(u32, Observed)>,
    batch: Vec<Observation>,
}

impl Worker {
    fn new(seed: Seed, memory: usize) -> Self {
        Self {
            rings: Vec::new(),
            seed,
            memory,
            open: Vec::new(),
            batch: Vec::with_capacity(BATCH),
        }
    }

    fn work(mut self, inbox: &Receiver<Order>) {
        loop {
            let order = match inbox.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
            // Rings are in order: when one was empty once after the epoch ended, all is taken.
            for ring in 0..self.rings.len() {
                while self.take(ring) {}
            }
            match order {
                Some(Order::Ring(ring)) => self.rings.push(ring),
                Some(Order::Finish { epoch, reply }) => {
                    self.rings.drain(..self.rings.len().saturating_sub(1));
                    // Whoever asked may have gone.
                    let _ = reply.send(self.finish(epoch));
                }
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// All that was observed up to an epoch, together.
    fn finish(&mut self, epoch: u32) -> Observed {
        let at = self.at(epoch);
        let (_, mut all) = self.open.swap_remove(at);
        // Epochs count on; of two, the one from which the other is reached in fewer steps is first.
        let is_before = |other: u32| epoch.wrapping_sub(other) < 1 << 31;
        for (_, mut observed) in self.open.extract_if(.., |open| is_before(open.0)) {
            all.packets += observed.packets;
            all.sources.merge(&mut observed.sources);
        }
        all
    }

    /// Takes a batch of records of one epoch; `false` when the ring is empty.
    fn take(&mut self, ring: usize) -> bool {
        let mut epoch = None;
        self.batch.clear();
        while self.batch.len() < BATCH {
            let Some(header) = self.rings[ring].poll() else {
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
