use std::{num::NonZeroUsize, ops::ControlFlow, path::PathBuf, process::ExitCode};

use darknet_core::{Captures, Error, aggregate::Figures, source::Source, window::Rolled};

use crate::{
    options::{Counting, Printer, Printing},
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
    let mut rollup = counting.rollup();
    let (windows, top) = (printing.windows, printing.top);
    let mut printer = Printer::new(printing);
    let tables = |rolled: &Rolled<'_, Figures>| {
        let snapshot = rolled.window.snapshot(telescope.dark(), top);
        rolled.mark(snapshot)
    };
    if windows || rollup.is_some() {
        let run = telescope.run_windows(&mut captures, |window| {
            let mut is_read = true;
            if windows {
                let snapshot = window.snapshot(telescope.dark(), top);
                is_read = bar.suspend(|| printer.print(&snapshot));
            }
            if let Some(rollup) = &mut rollup {
                rollup.add(window, |rolled| {
                    let snapshot = tables(&rolled);
                    is_read = bar.suspend(|| printer.print(&snapshot));
                });
            }
            match is_read {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        bar.finish();
        if let Some(rollup) = rollup {
            rollup.finish(|rolled| {
                printer.print(&tables(&rolled));
            });
        }
        run?;
    } else {
        let window = telescope.run(&mut captures)?;
        bar.finish();
        printer.print(&window.snapshot(telescope.dark(), top));
    }
    printer.finish(false)?;
    for damage in captures.damages() {
        let kind = match damage.corrupt {
            None => "warning",
            Some(_) => "error",
        };
        say!("{kind}: {damage}");
    }
    if let Some(unreadable) = captures.unreadable() {
        say!("error: {unreadable}");
    }
    Ok(match captures.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
