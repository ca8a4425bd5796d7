use std::{num::NonZeroUsize, ops::ControlFlow, path::PathBuf, process::ExitCode};

use darknet_core::{Captures, Error, source::Source};

use crate::{
    options::{Counting, Printing, printed},
    progress::Bar,
};

/// Replay captures, and print the tables of what was in them.
///
/// pcap and pcapng, plain or in gzip, several as one stream. Without --dark every destination is
/// dark. A capture that is cut short gives the figures up to there and a warning; a corrupt one
/// too, and exit status 1.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Captures; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    printing: Printing,

    #[command(flatten)]
    counting: Counting,

    /// Worker threads [default: one for each processor].
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments {
        files,
        printing,
        counting,
        workers,
    } = arguments;
    let mut telescope = counting.telescope()?;
    if let Some(workers) = workers {
        telescope = telescope.with_workers(workers)?;
    }
    let mut captures = Captures::open(files)?;
    let bar = Bar::start(captures.progress());
    let mut outcome = Ok(());
    if printing.windows {
        telescope.run_windows(&mut captures, |window| {
            let snapshot = window.snapshot(telescope.dark(), printing.top);
            outcome = bar.suspend(|| printing.print(&snapshot));
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        bar.finish();
    } else {
        let window = telescope.run(&mut captures)?;
        bar.finish();
        outcome = printing.print(&window.snapshot(telescope.dark(), printing.top));
    }
    printed(outcome)?;
    for damage in captures.damages() {
        let kind = match damage.corrupt {
            None => "warning",
            Some(_) => "error",
        };
        eprintln!("{kind}: {damage}");
    }
    if let Some(unreadable) = captures.unreadable() {
        eprintln!("error: {unreadable}");
    }
    Ok(match captures.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
