use std::{
    io::{self, ErrorKind, Write},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
};

use darknet_core::{Captures, Dark, Error, Telescope, Window, aggregate::Figures, parse_prefix};

use crate::{progress::Bar, table};

/// Replay captures, and print the tables of what was in them.
///
/// pcap and pcapng, plain or in gzip, several as one stream. A capture that is cut short gives the
/// figures up to there and a warning; a corrupt one too, and exit status 1.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Captures; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print one JSON document (with --windows one for each window, one a line).
    #[arg(long)]
    json: bool,

    /// Print each window by itself.
    #[arg(long)]
    windows: bool,

    /// Rows of each table at most, of ports for each class; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// A dark prefix, as 203.0.113.0/24; repeat for more. Without one every destination is dark.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, value_delimiter = ',')]
    dark: Vec<ipnet::IpNet>,

    /// A prefix to leave out of the dark ones; repeat for more.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, value_delimiter = ',')]
    exclude: Vec<ipnet::IpNet>,

    /// The length of a window, as 60s, 5m or 1h.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    window: jiff::SignedDuration,

    /// Worker threads [default: one for each processor].
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// MiB that the tables of sources may take.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments {
        files,
        json,
        windows,
        top,
        dark,
        exclude,
        window,
        workers,
        memory,
    } = arguments;
    let mut telescope = Telescope::new()
        .with_dark(Dark::new(&dark, &exclude)?)
        .with_window(window.try_into().unwrap_or_default())?
        .with_memory(memory.saturating_mul(1 << 20))?;
    if let Some(workers) = workers {
        telescope = telescope.with_workers(workers)?;
    }
    let mut captures = Captures::open(files)?;
    let bar = Bar::start(captures.progress());
    let print = |window: &Window<Figures>| {
        let snapshot = window.snapshot(telescope.dark(), top);
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, &snapshot)?;
            writeln!(out)?;
        } else {
            table::print(&mut out, &snapshot)?;
        }
        out.flush()
    };
    let mut printed = Ok(());
    if windows {
        telescope.run_windows(&mut captures, |window| {
            printed = bar.suspend(|| print(window));
            match printed {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        bar.finish();
    } else {
        let window = telescope.run(&mut captures)?;
        bar.finish();
        printed = print(&window);
    }
    match printed {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(source) => {
            return Err(Error::Read {
                path: "standard output".into(),
                source,
            });
        }
        Ok(()) => {}
    }
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
    Ok(match darknet_core::source::Source::is_complete(&captures) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
