use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use darknet_core::{
    Dark, Error, Snapshot, Telescope,
    aggregate::{Seed, parse_seed},
    parse_prefix,
    window::{Contents, Length, Rollup, parse_zone},
};
use jiff::tz::TimeZone;

use crate::table;

/// What is dark, and how it is counted.
#[derive(clap::Args)]
pub(crate) struct Counting {
    /// A dark prefix, as 203.0.113.0/24; repeat for more.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, value_delimiter = ',')]
    dark: Vec<ipnet::IpNet>,

    /// A prefix to leave out of the dark ones; repeat for more.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, value_delimiter = ',')]
    exclude: Vec<ipnet::IpNet>,

    /// The length of a window, as 60s, 5m or 1h [default: 60s].
    #[arg(long, value_name = "TIME")]
    window: Option<jiff::SignedDuration>,

    /// Also print each hour or day of the windows, or both, when it is over.
    #[arg(long, value_name = "LENGTHS", value_delimiter = ',')]
    rollup: Vec<Lengths>,

    /// The time zone of these hours and days, as Asia/Tokyo [default: UTC].
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    zone: Option<TimeZone>,

    /// MiB that the tables of sources may take [default: 1024].
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,

    /// What hashes depend on, as 7 or 0x1f3a, so that estimates and bounded figures are the same in
    /// each run; by default a secret that is drawn anew. Who knows it can choose sources that share
    /// a place in tables, and others on this host can read this line: live, the file is the place.
    #[arg(long, value_name = "NUMBER", value_parser = parse_seed)]
    seed: Option<u64>,

    /// Sample what was sent to each port, of packets that come whole; it may hold personal data
    /// [default: true].
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    payloads: Option<bool>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lengths {
    /// Each hour.
    Hours,
    /// Each day of the time zone.
    Days,
}

impl From<Lengths> for Length {
    fn from(lengths: Lengths) -> Self {
        match lengths {
            Lengths::Hours => Self::Hour,
            Lengths::Days => Self::Day,
        }
    }
}

impl Counting {
    pub(crate) fn telescope(&self) -> Result<Telescope, Error> {
        let mut telescope = Telescope::new().with_dark(Dark::new(&self.dark, &self.exclude)?);
        self.check_zone(!self.rollup.is_empty())?;
        if let Some(window) = self.window() {
            telescope = telescope.with_window(window)?;
            self.lengths().try_for_each(|length| length.check(window))?;
        }
        if let Some(memory) = self.memory {
            telescope = telescope.with_memory(memory.saturating_mul(1 << 20))?;
        }
        if let Some(number) = self.seed {
            telescope = telescope.with_seed(Seed::fixed(number));
        }
        if let Some(payloads) = self.payloads {
            telescope = telescope.with_payloads(payloads);
        }
        Ok(telescope)
    }

    /// Refuses a zone that nothing would be in.
    fn check_zone(&self, has_rollup: bool) -> Result<(), Error> {
        match &self.zone {
            Some(zone) if !has_rollup => Err(Error::Setting {
                name: "zone",
                value: format!("{:?}", zone.iana_name().unwrap_or_default()),
                rule: "given with --rollup, whose hours and days are its",
            }),
            _ => Ok(()),
        }
    }

    /// The hours and days to print.
    pub(crate) fn rollup<A: Contents + Clone>(&self) -> Option<Rollup<A>> {
        rollup(self.lengths(), self.zone.as_ref())
    }

    fn lengths(&self) -> impl Iterator<Item = Length> {
        self.rollup.iter().copied().map(Length::from)
    }

    /// What was given wins over what a configuration has.
    #[cfg(target_os = "linux")]
    pub(crate) fn lay_over(&self, config: &mut darknet_core::Config) -> Result<(), Error> {
        if !self.dark.is_empty() {
            config.dark.clone_from(&self.dark);
            config.any = false;
        }
        if !self.exclude.is_empty() {
            config.exclude.clone_from(&self.exclude);
        }
        config.window = self.window().unwrap_or(config.window);
        config.memory = self.memory.unwrap_or(config.memory);
        if !self.rollup.is_empty() {
            config.rollup = self.lengths().collect();
        }
        self.check_zone(!config.rollup.is_empty())?;
        if let Some(zone) = &self.zone {
            config.zone = zone.clone();
        }
        config.seed = self.seed.or(config.seed);
        config.payloads = self.payloads.unwrap_or(config.payloads);
        Ok(())
    }

    /// A negative window is none, which is refused.
    fn window(&self) -> Option<Duration> {
        self.window
            .map(|window| window.try_into().unwrap_or_default())
    }
}

/// Rolls windows up to hours and days of a time zone, if to any.
pub(crate) fn rollup<A: Contents + Clone>(
    lengths: impl IntoIterator<Item = Length>,
    zone: Option<&TimeZone>,
) -> Option<Rollup<A>> {
    let mut lengths = lengths.into_iter().peekable();
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    lengths.peek().is_some().then(|| Rollup::new(lengths, zone))
}

/// What is printed.
#[derive(clap::Args)]
pub(crate) struct Printing {
    /// Print one JSON document (with --windows or --rollup one for each of them, one a line).
    #[arg(long)]
    pub(crate) json: bool,

    /// Print each window by itself.
    #[arg(long)]
    pub(crate) windows: bool,

    /// Rows of each table at most, of ports for each class; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

/// Prints until that fails.
pub(crate) struct Printer {
    printing: Printing,
    /// Where a disk is full, it is waited for room while this says so.
    may_wait: Box<dyn Fn() -> bool + Send>,
    /// The first failure: nobody is there to read the rest.
    outcome: io::Result<()>,
}

impl Printer {
    pub(crate) fn new(printing: Printing) -> Self {
        Self::patient(printing, || false)
    }

    /// One that waits for room where a disk is full, as long as `may_wait` says so.
    pub(crate) fn patient(
        printing: Printing,
        may_wait: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        Self {
            printing,
            may_wait: Box::new(may_wait),
            outcome: Ok(()),
        }
    }

    /// Prints a snapshot on standard output; `false` if that fails, or did before.
    pub(crate) fn print(&mut self, snapshot: &Snapshot) -> bool {
        if self.outcome.is_ok() {
            let text = self.printing.text(snapshot);
            self.outcome = text.and_then(|text| self.write(&text));
        }
        self.outcome.is_ok()
    }

    /// Writes all of it, and nothing twice.
    fn write(&self, mut text: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut is_full = false;
        loop {
            let written = match text {
                [] => out.flush().map(|()| None),
                _ => out.write(text).map(Some),
            };
            match written {
                Ok(None) => return Ok(()),
                Ok(Some(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Some(length)) => text = &text[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_cured_by_waiting(&error) && (self.may_wait)() => {
                    if !is_full {
                        say!("error: standard output: {error}; it waits for room");
                    }
                    is_full = true;
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says what failed; that nobody reads any more is a failure only where `is_missed`.
    pub(crate) fn finish(self, is_missed: bool) -> Result<(), Error> {
        match is_missed {
            true => self.outcome.map_err(unprinted),
            false => printed(self.outcome),
        }
    }
}

impl Printing {
    fn text(&self, snapshot: &Snapshot) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if self.json {
            serde_json::to_writer(&mut text, snapshot)?;
            text.push(b'\n');
        } else {
            table::print(&mut text, snapshot)?;
        }
        Ok(text)
    }
}

/// Between two tries to write on a disk that is full.
const PAUSE: Duration = Duration::from_millis(200);

fn is_cured_by_waiting(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// What to make of a failure to print: nothing, if whoever read the output has seen enough.
pub(crate) fn printed(outcome: io::Result<()>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unprinted(error)),
        _ => Ok(()),
    }
}

fn unprinted(source: io::Error) -> Error {
    Error::Read {
        path: "standard output".into(),
        source,
    }
}
