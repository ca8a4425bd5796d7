use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use darknet_core::{
    Dark, Error, Window,
    kernel::Attachment,
    live::{Event, LiveFigures, Watch},
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    configuring::Configuring,
    options::{Printing, printed},
    status, table,
};

/// Watch an interface until SIGINT or SIGTERM, and print the tables of what came to its dark
/// prefixes.
///
/// Packets to dark prefixes are counted in the kernel and dropped; all others pass untouched.
/// Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    configuring: Configuring,

    /// Stop after this time, as 10s or 1h.
    #[arg(long, value_name = "TIME")]
    duration: Option<jiff::SignedDuration>,

    /// Also leave the JSON document of the whole run in this file.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    #[command(flatten)]
    printing: Printing,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments {
        configuring,
        duration,
        save,
        printing,
    } = arguments;
    let config = configuring.config()?;
    let telescope = config.telescope()?;
    let watch = Watch {
        duration: duration.map(positive).transpose()?,
        ..config.watch()?
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Error::Thread)?;
    }
    let dark = telescope.dark().clone();
    let status = status::Page::new(&watch.interface);
    let mut screen = Screen::new();
    let mut total: Option<Window<LiveFigures>> = None;
    // The first failure to print: nobody is there to read the rest.
    let mut outcome: io::Result<()> = Ok(());
    let watched = telescope.watch(&watch, &stop, |event| match event {
        Event::Started(attachment) => {
            let Attachment {
                interface, mode, ..
            } = attachment;
            eprintln!("watching {interface} in {mode}; Ctrl-C ends it");
            if let Some(why) = &attachment.fallback {
                eprintln!("warning: not the best mode, as the kernel said: {why}");
            }
            warn_redundant(&dark);
        }
        Event::Open(window) => {
            let mut whole = window.clone();
            if let Some(total) = &mut total {
                // An open window has no sources to add to them.
                let sources = total.aggregate.sources.take();
                whole.merge(&mut total.clone());
                total.aggregate.sources = sources;
            }
            let snapshot = whole.snapshot(&dark, SUMMARY_ROWS);
            status.write(&snapshot);
            screen.show(&snapshot);
        }
        Event::Closed(window) => {
            screen.clear();
            if printing.windows && outcome.is_ok() {
                outcome = printing.print(&window.snapshot(&dark, printing.top));
                if outcome.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            let total = match &mut total {
                Some(total) => {
                    total.merge(window);
                    total
                }
                None => {
                    // The sources may be many: they are moved, not copied.
                    let sources = window.aggregate.sources.take();
                    let first = total.insert(window.clone());
                    first.aggregate.sources = sources;
                    first
                }
            };
            status.write(&total.snapshot(&dark, SUMMARY_ROWS));
        }
    });
    drop(status);
    if let Some(total) = &total {
        let snapshot = total.snapshot(&dark, printing.top);
        if !printing.windows {
            outcome = printing.print(&snapshot);
        }
        if let Some(path) = save {
            let json = serde_json::to_vec(&snapshot).map_err(io::Error::from);
            let saved = json.and_then(|json| fs::write(&path, json));
            saved.map_err(|source| Error::Read { path, source })?;
        }
    }
    watched?;
    printed(outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// Rows of each table while it runs.
const SUMMARY_ROWS: usize = 5;

/// Prefixes that add nothing, as far as they are named one by one.
const REDUNDANT_SHOWN: usize = 10;

/// Says which prefixes add nothing: they are legal, but often not what was meant.
fn warn_redundant(dark: &Dark) {
    let mut redundant = dark.redundant();
    for (inner, outer) in redundant.by_ref().take(REDUNDANT_SHOWN) {
        eprintln!("warning: {inner} lies in {outer} and adds nothing");
    }
    let more = redundant.count();
    if more > 0 {
        eprintln!("warning: {more} more prefixes add nothing");
    }
}

/// A time that lasts.
fn positive(duration: jiff::SignedDuration) -> Result<Duration, Error> {
    let positive = Duration::try_from(duration).ok();
    let positive = positive.filter(|duration| !duration.is_zero());
    positive.ok_or_else(|| Error::Setting {
        name: "duration",
        value: format!("{duration:#}"),
        rule: "more than 0",
    })
}

/// A summary on standard error that is drawn anew, if that is a terminal.
struct Screen {
    is_terminal: bool,
    lines: usize,
    before: Option<(Instant, u64)>,
}

impl Screen {
    fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            lines: 0,
            before: None,
        }
    }

    fn show(&mut self, snapshot: &darknet_core::Snapshot) {
        if !self.is_terminal {
            return;
        }
        let now = (Instant::now(), snapshot.ledger.received);
        let rate = self.before.map_or(0.0, |(then, received)| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let packets = now.1.saturating_sub(received) as f64;
            packets / (now.0 - then).as_secs_f64()
        });
        self.before = Some(now);
        let mut text = Vec::new();
        // Nothing fails in memory.
        let _ = writeln!(text, "{rate:.0} packets a second");
        let _ = table::summary(&mut text, snapshot);
        self.clear();
        self.lines = text.iter().filter(|&&byte| byte == b'\n').count();
        let _ = io::stderr().write_all(&text);
    }

    /// Takes the summary away.
    fn clear(&mut self) {
        if self.lines > 0 {
            // ECMA-48: cursor up, erase to the end of the screen.
            eprint!("\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}
