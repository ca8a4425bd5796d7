use std::{num::NonZeroUsize, ops::ControlFlow, thread, time::Duration};

use crate::{
    Dark, Error,
    aggregate::{Aggregate, Figures, Seed, Survey},
    pipeline::{self, Cut},
    source::Source,
    time::Nanoseconds,
    window::Window,
};

/// The front door: what is dark and how it is counted, then a [`Source`] to run.
///
/// # Examples
///
/// ```no_run
/// use darknet_core::{Captures, Telescope};
///
/// let mut captures = Captures::open(["monday.pcap", "tuesday.pcapng.gz"])?;
/// let telescope = Telescope::new();
/// let window = telescope.run(&mut captures)?;
/// let snapshot = window.snapshot(telescope.dark(), 10);
/// for row in &snapshot.ports {
///     println!("{}/{}: {} packets", row.class, row.port, row.packets);
/// }
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Telescope {
    pub(crate) dark: Dark,
    pub(crate) workers: NonZeroUsize,
    pub(crate) window: Nanoseconds,
    pub(crate) grace: Nanoseconds,
    pub(crate) memory: usize,
    pub(crate) seed: Seed,
    pub(crate) payloads: bool,
}

/// Workers that still make a difference: there are 64 logical shards.
const WORKERS_AT_MOST: usize = crate::aggregate::SHARDS;
/// The longest window: a leap year.
const WINDOW_AT_MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// 4 MiB: some ten thousand sources.
const MEMORY_AT_LEAST: usize = 4 << 20;

impl Telescope {
    /// Every destination dark, a worker per processor, windows of 60 s with 2 s of grace, 1 GiB
    /// for the tables of sources, payloads sampled.
    pub fn new() -> Self {
        let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let most = NonZeroUsize::new(WORKERS_AT_MOST).unwrap_or(NonZeroUsize::MIN);
        Self {
            dark: Dark::any(),
            workers: processors.min(most),
            window: 60_000_000_000,
            grace: 2_000_000_000,
            memory: 1 << 30,
            seed: Seed::random(),
            payloads: true,
        }
    }

    /// Which destinations are dark. Default: all.
    #[must_use]
    pub fn with_dark(self, dark: Dark) -> Self {
        Self { dark, ..self }
    }

    /// Worker threads, beside the one that reads. Default: one per processor. The figures don't
    /// depend on it.
    ///
    /// # Errors
    ///
    /// More than 64: there are 64 logical shards to share.
    pub fn with_workers(self, workers: NonZeroUsize) -> Result<Self, Error> {
        if workers.get() > WORKERS_AT_MOST {
            return Err(Error::Setting {
                name: "workers",
                value: workers.to_string(),
                rule: "1 to 64",
            });
        }
        Ok(Self { workers, ..self })
    }

    /// The length of a window. Windows are aligned to 1970-01-01 UTC. Default: 60 s.
    ///
    /// # Errors
    ///
    /// Zero, or more than 366 days.
    pub fn with_window(self, length: Duration) -> Result<Self, Error> {
        if length.is_zero() || length > WINDOW_AT_MOST {
            return Err(Error::Setting {
                name: "window",
                value: format!("{length:?}"),
                rule: "more than 0 and at most 366 days",
            });
        }
        let window = Nanoseconds::try_from(length.as_nanos()).unwrap_or(Nanoseconds::MAX);
        Ok(Self { window, ..self })
    }

    /// Bytes that the tables of sources may take at most, for each window that is open (two at
    /// most) at all workers together. Default: 1 GiB. Where they are full, the figures that would
    /// be wrong are not printed.
    ///
    /// Beside it, samples of payloads take up to a sixty-fourth of it, or 270 KB at each worker where that is
    /// more. And once something has found no room, estimates of hosts at ports take up to three
    /// sixty-fourths of it, or 20 MiB where that is more, and 8 MB, at each worker.
    ///
    /// # Errors
    ///
    /// Less than 4 MiB.
    pub fn with_memory(self, bytes: usize) -> Result<Self, Error> {
        if bytes < MEMORY_AT_LEAST {
            return Err(Error::Setting {
                name: "memory",
                value: format!("{bytes} bytes"),
                rule: "at least 4 MiB",
            });
        }
        Ok(Self {
            memory: bytes,
            ..self
        })
    }

    /// What hashes depend on. Default: a secret that is drawn anew for each telescope. A
    /// [fixed](Seed::fixed) one makes figures that are estimates, or bounded, the same in each run:
    /// for tests, and for captures that are looked at twice.
    #[must_use]
    pub fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// Whether payloads are sampled, of packets that come whole: over files, and live as frames.
    /// They may hold personal data. Default: true.
    #[must_use]
    pub fn with_payloads(self, payloads: bool) -> Self {
        Self { payloads, ..self }
    }

    /// Which destinations are dark.
    pub fn dark(&self) -> &Dark {
        &self.dark
    }

    /// Bytes that an aggregate may take, for each window that is open.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// What hashes depend on, for aggregates that need it.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Empty figures, of which [`Snapshot`](crate::Snapshot)s are made: to run aggregates of one's
    /// own beside them over files.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::new(self.memory, &self.seed);
        figures.survey.payloads = figures.survey.payloads.filter(|_| self.payloads);
        figures
    }

    /// Empty sources, of which live [`Snapshot`](crate::Snapshot)s are made beside what the kernel
    /// counts: to run aggregates of one's own beside them live.
    pub fn survey(&self) -> Survey {
        let mut survey = Survey::new(self.memory, &self.seed);
        survey.payloads = survey.payloads.filter(|_| self.payloads);
        survey
    }

    /// Runs `source` to its end and returns all that was seen as one window.
    ///
    /// # Errors
    ///
    /// What the source could not read, or a ledger that does not add up.
    pub fn run(&self, source: &mut impl Source) -> Result<Window<Figures>, Error> {
        let mut whole = None;
        pipeline::run(
            self,
            source,
            Cut::Whole,
            || self.figures(),
            |window| {
                whole = Some(window);
                ControlFlow::Continue(None)
            },
        )?;
        Ok(whole.expect("a whole run has one window"))
    }

    /// Runs `source` to its end and hands over each window as it closes, in order of time.
    /// `closed` runs on a thread of its own, and ends the run with [`ControlFlow::Break`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_windows(
        &self,
        source: &mut impl Source,
        closed: impl FnMut(&mut Window<Figures>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        self.run_windows_with(source, || self.figures(), closed)
    }

    /// [`run_windows`](Self::run_windows) with aggregates of one's own: `make` makes an empty one.
    /// With `(telescope.figures(), Own::default())` they run beside ours, and windows have a
    /// [`snapshot`](Window::snapshot).
    ///
    /// What `closed` leaves in a window is [reset](Aggregate::reset) and used for a later one: whoever keeps
    /// an aggregate clones it, or leaves one there that is as `make` makes them.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); and, after all windows, an aggregate that panicked: what its worker
    /// had of that window is in `lost.abandoned` of the ledger, and the window's `faults` say so.
    pub fn run_windows_with<A: Aggregate>(
        &self,
        source: &mut impl Source,
        make: impl Fn() -> A + Sync,
        mut closed: impl FnMut(&mut Window<A>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        pipeline::run(self, source, Cut::Windows, make, |mut window| {
            closed(&mut window).map_continue(|()| Some(window.aggregate))
        })
    }
}

impl Default for Telescope {
    fn default() -> Self {
        Self::new()
    }
}
