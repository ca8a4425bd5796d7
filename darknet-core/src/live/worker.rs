use std::{sync::Arc, thread, time::Duration};

use crossbeam::channel::{Receiver, Sender, TryRecvError};

use super::{
    epochs::{Epochs, Observed},
    inlet::Inlet,
    publication::Publication,
};
use crate::aggregate::Aggregate;

/// How long a worker sleeps when nothing waits: a ring of records holds what comes in 6 ms at 10
/// million packets a second.
const PAUSE: Duration = Duration::from_millis(1);
/// How long it waits for frames, of which the first wakes it up.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long it sleeps after a few packets, so that more of them come together and other threads of
/// its processor run meanwhile, not when a ring fills up: some 100 µs with what the kernel adds, in
/// which 1,500 packets come at 10 Gbit/s.
const NAP: Duration = Duration::from_micros(50);
/// Fewer packets than this are few.
const FEW: usize = 512;

/// What a worker is told.
pub(super) enum Order<A> {
    /// Packets come from these too.
    Add(Vec<Inlet>),
    /// Packets come from these instead, and from those before only what waits there.
    Replace(Vec<Inlet>),
    /// These were another process's: only what waits there comes from them, until that is asked for.
    Inherit(Vec<Inlet>),
    /// Asks for what was observed up to an epoch, which no program writes to any more.
    Finish {
        epoch: u32,
        reply: Sender<Observed<A>>,
        /// Whether what comes later is for another process.
        is_last: bool,
    },
    /// Dies: for tests.
    Panic,
}

/// Takes packets from the kernel, and is the only writer of its tables.
pub(super) struct Worker<A> {
    inlets: Vec<Inlet>,
    /// Where those begin that programs still write to.
    newest: usize,
    epochs: Epochs<A>,
    /// The epoch that packets are counted in, as far as it has been told.
    open: u32,
    publication: Arc<Publication<A>>,
}

impl<A: Aggregate> Worker<A> {
    pub(super) fn new(epochs: Epochs<A>, open: u32, publication: Arc<Publication<A>>) -> Self {
        Self {
            inlets: Vec::new(),
            newest: 0,
            epochs,
            open,
            publication,
        }
    }

    /// Works until nobody can give orders any more.
    pub(super) fn work(mut self, inbox: &Receiver<Order<A>>) {
        loop {
            match inbox.try_recv() {
                Ok(Order::Add(inlets)) => self.inlets.extend(inlets),
                Ok(Order::Replace(inlets)) => {
                    self.newest = self.inlets.len();
                    self.inlets.extend(inlets);
                }
                Ok(Order::Inherit(inlets)) => {
                    self.newest += inlets.len();
                    self.inlets.splice(..0, inlets);
                }
                Ok(Order::Finish {
                    epoch,
                    reply,
                    is_last,
                }) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.finish(epoch));
                    if is_last {
                        return;
                    }
                }
                Ok(Order::Panic) => panic!("a worker was told to"),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            let mut most = 0;
            for inlet in &mut self.inlets {
                most = most.max(inlet.take(&mut self.epochs, self.open));
            }
            if self.publication.was_asked()
                && let Some(live) = self.epochs.publish(self.open)
            {
                self.publication.answer(self.open, live);
            }
            if most == 0 {
                self.epochs.flush();
                self.rest();
            } else if most < FEW && self.inlets.iter().all(Inlet::is_deep) {
                thread::sleep(NAP);
            }
        }
    }

    /// Packets of a processor or a queue come in order: what waits now, when no program sees the
    /// epoch any more, is all that was counted in it.
    fn finish(&mut self, epoch: u32) -> Observed<A> {
        for inlet in &mut self.inlets {
            inlet.drain(&mut self.epochs, self.open);
        }
        self.inlets.drain(..self.newest);
        self.newest = 0;
        self.open = epoch.wrapping_add(1);
        let mut observed = self.epochs.finish(epoch);
        for inlet in &mut self.inlets {
            observed.losses.merge(inlet.losses());
        }
        observed
    }

    fn rest(&mut self) {
        let waited = match self.inlets.as_mut_slice() {
            [inlet] => inlet.wait(PATIENCE),
            _ => false,
        };
        if !waited {
            thread::sleep(PAUSE);
        }
    }
}
