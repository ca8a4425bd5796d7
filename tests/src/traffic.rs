use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Scope, ScopedJoinHandle},
};

use xtask::{
    lab::{Limits, Options, PlanFrames, Preloaded, Sent, World},
    scenario::Plan,
};

/// Frames that flow until they are told to end, also where a test fails meanwhile.
#[derive(Debug)]
pub struct Traffic<'scope> {
    stop: Arc<AtomicBool>,
    sending: Option<ScopedJoinHandle<'scope, Sent>>,
}

impl<'scope> Traffic<'scope> {
    /// Sends the frames of a plan again and again, so many a second. Something has to watch
    /// already, so that all of them are received.
    ///
    /// # Panics
    ///
    /// If there can be no generator.
    pub fn begin(
        scope: &'scope Scope<'scope, '_>,
        world: &'scope World,
        plan: &Plan,
        rate: u64,
    ) -> Self {
        let count = usize::try_from(plan.count()).expect("frames fit into memory");
        let frames = &mut PlanFrames::new(plan);
        let preloaded = Preloaded::new(world, &Options::default(), frames, count);
        let mut preloaded = preloaded.expect("a generator");
        let stop = Arc::new(AtomicBool::new(false));
        let limits = Limits {
            rate: Some(rate),
            stop: Some(Arc::clone(&stop)),
            ..Limits::default()
        };
        let sending = scope.spawn(move || preloaded.send(&limits).expect("frames"));
        Self {
            stop,
            sending: Some(sending),
        }
    }

    /// Ends it, and says what was sent, all of which has arrived.
    ///
    /// # Panics
    ///
    /// If it has not.
    pub fn end(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let sending = self.sending.take().expect("it ends once");
        let sent = sending.join().expect("sent");
        assert_eq!(sent.in_flight, 0, "all have arrived");
        assert!(sent.sent > 0);
        sent
    }
}

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
