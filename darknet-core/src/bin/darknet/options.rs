use std::{
    io::{self, Write},
    time::Duration,
};

use darknet_core::{Dark, Error, Snapshot, Telescope, parse_prefix};

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

    /// MiB that the tables of sources may take [default: 1024].
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,
}

impl Counting {
    pub(crate) fn telescope(&self) -> Result<Telescope, Error> {
        let mut telescope = Telescope::new().with_dark(Dark::new(&self.dark, &self.exclude)?);
        if let Some(window) = self.window() {
            telescope = telescope.with_window(window)?;
        }
        if let Some(memory) = self.memory {
            telescope = telescope.with_memory(memory.saturating_mul(1 << 20))?;
        }
        Ok(telescope)
    }

    /// What was given wins over what a configuration has.
    #[cfg(target_os = "linux")]
    pub(crate) fn lay_over(&self, config: &mut darknet_core::Config) {
        if !self.dark.is_empty() {
            config.dark.clone_from(&self.dark);
            config.any = false;
        }
        if !self.exclude.is_empty() {
            config.exclude.clone_from(&self.exclude);
        }
        config.window = self.window().unwrap_or(config.window);
        config.memory = self.memory.unwrap_or(config.memory);
    }

    /// A negative window is none, which is refused.
    fn window(&self) -> Option<Duration> {
        self.window
            .map(|window| window.try_into().unwrap_or_default())
    }
}

/// What is printed.
#[derive(clap::Args)]
pub(crate) struct Printing {
    /// Print one JSON document (with --windows one for each window, one a line).
    #[arg(long)]
    pub(crate) json: bool,

    /// Print each window by itself.
    #[arg(long)]
    pub(crate) windows: bool,

    /// Rows of each table at most, of ports for each class; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

impl Printing {
    /// Prints a snapshot on standard output.
    pub(crate) fn print(&self, snapshot: &Snapshot) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, snapshot)?;
            writeln!(out)?;
        } else {
            table::print(&mut out, snapshot)?;
        }
        out.flush()
    }
}

/// What to make of a failure to print: nothing, if whoever read the output has seen enough.
pub(crate) fn printed(outcome: io::Result<()>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Read {
            path: "standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}
