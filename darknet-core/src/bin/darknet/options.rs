use std::io::{self, Write};

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

    /// The length of a window, as 60s, 5m or 1h.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    window: jiff::SignedDuration,

    /// MiB that the tables of sources may take.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
}

impl Counting {
    pub(crate) fn telescope(&self) -> Result<Telescope, Error> {
        Telescope::new()
            .with_dark(Dark::new(&self.dark, &self.exclude)?)
            .with_window(self.window.try_into().unwrap_or_default())?
            .with_memory(self.memory.saturating_mul(1 << 20))
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
