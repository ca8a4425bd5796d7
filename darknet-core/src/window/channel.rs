use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

/// What becomes of a window for which the channel has no room, as its reader is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is dropped whole, and counted: [`Windows::dropped`].
    Drop,
    /// It waits. Replay waits with it. A live telescope counts on meanwhile, in the kernel and in
    /// its workers, and closes no window: the next one is as long as it had to wait.
    Wait,
}

/// The end of a [`channel`] where closed windows go in. Clones are ends of the same channel.
#[derive(Debug)]
pub struct Sink<T> {
    windows: Sender<T>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
}

/// The end of a [`channel`] where closed windows come out: an iterator that waits for the next one,
/// and ends when there is no [`Sink`] any more.
#[derive(Debug)]
pub struct Windows<T> {
    windows: Receiver<T>,
    dropped: Arc<AtomicU64>,
}

/// A channel that carries closed windows, or what is made of each, to a thread that may take its
/// time with them. Up to `room` wait there, at least one.
///
/// # Examples
///
/// The tables of windows, printed by another thread than the one that closes them:
///
/// ```no_run
/// use darknet_core::{Captures, Snapshot, Telescope, window::{WhenFull, channel}};
///
/// let telescope = Telescope::new();
/// let mut captures = Captures::open(["monday.pcap"])?;
/// let (sink, windows) = channel::<Snapshot>(8, WhenFull::Wait);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         for snapshot in windows {
///             println!("{:?}: {} packets", snapshot.start, snapshot.ledger.counted);
///         }
///     });
///     let dark = telescope.dark();
///     telescope.run_windows(&mut captures, move |window| {
///         sink.send(window.snapshot(dark, 10))
///     })
/// })?;
/// # Ok::<(), darknet_core::Error>(())
/// ```
pub fn channel<T>(room: usize, when_full: WhenFull) -> (Sink<T>, Windows<T>) {
    let (sender, receiver) = bounded(room.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = Sink {
        windows: sender,
        when_full,
        dropped: Arc::clone(&dropped),
    };
    let windows = Windows {
        windows: receiver,
        dropped,
    };
    (sink, windows)
}

impl<T> Sink<T> {
    /// Hands a window over. [`ControlFlow::Break`] says that the reader has gone: nobody will want
    /// another one.
    pub fn send(&self, window: T) -> ControlFlow<()> {
        let has_gone = match self.when_full {
            WhenFull::Wait => self.windows.send(window).is_err(),
            WhenFull::Drop => match self.windows.try_send(window) {
                Ok(()) => false,
                Err(TrySendError::Disconnected(_)) => true,
                Err(TrySendError::Full(_)) => {
                    self.count_dropped();
                    false
                }
            },
        };
        match has_gone {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Windows that were dropped as the channel was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn count_dropped(&self) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        #[cfg(all(feature = "live", target_os = "linux"))]
        tracing::warn!("a window was dropped, as its reader is slow; {dropped} so far");
        #[cfg(not(all(feature = "live", target_os = "linux")))]
        let _ = dropped;
    }
}

impl<T> Clone for Sink<T> {
    fn clone(&self) -> Self {
        Self {
            windows: self.windows.clone(),
            when_full: self.when_full,
            dropped: Arc::clone(&self.dropped),
        }
    }
}

impl<T> Windows<T> {
    /// The next window, if it comes within this time.
    pub fn next_within(&mut self, time: Duration) -> Option<T> {
        self.windows.recv_timeout(time).ok()
    }

    /// Windows that were dropped as this reader was slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<T> Iterator for Windows<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.windows.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_slow_reader_misses_whole_windows_and_knows_how_many() {
        for (room, sent, kept) in [(0, 5, 1), (1, 5, 1), (3, 5, 3), (8, 5, 5)] {
            let (sink, mut windows) = channel(room, WhenFull::Drop);
            for window in 0..sent {
                assert!(sink.send(window).is_continue());
            }
            assert_eq!(sink.dropped(), sent - kept, "room for {room}");
            assert_eq!(windows.dropped(), sent - kept, "room for {room}");
            // It reads on, and so gets the next one.
            assert_eq!(windows.next(), Some(0));
            assert!(sink.send(99).is_continue());
            drop(sink);
            let rest: Vec<u64> = windows.collect();
            assert_eq!(rest.last(), Some(&99), "room for {room}");
            assert_eq!(rest.len() as u64, kept, "room for {room}");
        }
    }

    #[test]
    fn a_slow_reader_gets_all_windows_where_they_wait() {
        let (sink, windows) = channel(2, WhenFull::Wait);
        thread::scope(|scope| {
            scope.spawn(move || {
                for window in 0..20 {
                    assert!(sink.send(window).is_continue());
                }
            });
            let read = windows.inspect(|_| thread::sleep(Duration::from_millis(1)));
            assert!(read.eq(0..20));
        });
    }

    #[test]
    fn a_reader_that_has_gone_is_told_also_while_one_waits() {
        for when_full in [WhenFull::Drop, WhenFull::Wait] {
            let (sink, windows) = channel(1, when_full);
            let other = sink.clone();
            assert!(sink.send(1).is_continue());
            thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    drop(windows);
                });
                while other.send(2).is_continue() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            assert!(sink.send(3).is_break(), "{when_full:?}");
        }
    }

    #[test]
    fn a_reader_need_not_wait_for_ever() {
        let (sink, mut windows) = channel(1, WhenFull::Wait);
        assert_eq!(windows.next_within(Duration::from_millis(5)), None);
        assert!(sink.send(7).is_continue());
        assert_eq!(windows.next_within(Duration::from_millis(5)), Some(7));
    }
}
