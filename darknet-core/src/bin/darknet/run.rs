use std::{
    collections::BTreeSet,
    fs, io, mem,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use darknet_core::{
    Dark, Error, Snapshot, Window,
    kernel::Attachment,
    live::{Control, Event, LiveFigures, Started, Watch},
    metrics::Metrics,
    window::Rolled,
};

use crate::{
    configuring::Configuring,
    options::{Printer, Printing, rollup},
    reload,
    screen::Screen,
    status,
};

/// Watch an interface until SIGINT or SIGTERM, and print the tables of what came to its dark
/// prefixes.
///
/// Packets to dark prefixes are counted in the kernel and dropped; all others pass untouched.
/// Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and for frames CAP_NET_RAW.
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

    /// Answer Prometheus on this port of 127.0.0.1, or on an address of this host: its /metrics are
    /// open to whoever can reach it, and /healthz says whether all is well.
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = listening)]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    printing: Printing,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments {
        configuring,
        duration,
        save,
        metrics,
        printing,
    } = arguments;
    let config = configuring.config()?;
    let telescope = config.telescope()?;
    let watch = Watch {
        duration: duration.map(positive).transpose()?,
        ..config.watch()?
    };
    let log = tracing_subscriber::fmt().with_writer(io::stderr);
    log.log_internal_errors(false).init();
    if let Some(path) = &save {
        // Not after months.
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
    }
    let metrics = metrics.map(Metrics::listen).transpose()?;
    let status = Arc::new(status::Page::new(&watch.interface));
    let control = Control::new();
    let mut rollup = rollup(config.rollup.iter().copied(), Some(&config.zone));
    let is_rolled_up = rollup.is_some();
    reload::listen(configuring, config, control.clone(), Arc::clone(&status))?;
    let show = |snapshot: &Snapshot| {
        status.write(snapshot);
        if let Some(metrics) = &metrics {
            metrics.show(snapshot);
        }
    };
    let mut dark = telescope.dark().clone();
    // What was counted before was dark by another configuration.
    let mut dark_has_changed = false;
    let mut screen = Screen::new();
    let mut next_look = Instant::now();
    let mut total: Option<Window<LiveFigures>> = None;
    // Its tables, when the last window closed.
    let mut closed: Option<Snapshot> = None;
    let (windows, top) = (printing.windows, printing.top);
    let mut printer = Printer::patient(printing, {
        let control = control.clone();
        move || !control.is_stopped()
    });
    // Whether it was to go on when its reader left.
    let mut is_missed = false;
    let rolled_tables = |rolled: &Rolled<'_, LiveFigures>, dark: &Dark| {
        let snapshot = rolled.window.snapshot(dark, top);
        rolled.mark(snapshot)
    };
    let watched = telescope.watch(&watch, &control, |event| match event {
        Event::Started(got) => {
            started(&got, watch.pins.as_deref());
            if let Some(address) = metrics.as_ref().map(Metrics::address) {
                say!("metrics are at http://{address}/metrics");
            }
            warn_redundant(&dark);
        }
        // After months the whole is large: no more than a twentieth of the time is for looking at it.
        Event::Open(_) if Instant::now() < next_look => {
            if let Some(metrics) = &metrics {
                metrics.keep_alive();
            }
        }
        Event::Open(window) => {
            let begun = Instant::now();
            let mut whole = window.clone();
            if let Some(total) = &mut total {
                // An open window has no sources to add to them.
                let sources = total.aggregate.observed.take();
                whole.merge(&mut total.clone());
                total.aggregate.observed = sources;
            }
            whole.dark_is_known &= !dark_has_changed;
            let mut snapshot = whole.snapshot(&dark, SUMMARY_ROWS);
            if let Some(closed) = &closed {
                snapshot.keep_observed(closed);
            }
            show(&snapshot);
            screen.show(&snapshot);
            next_look = begun + 20 * begun.elapsed();
        }
        Event::Closed(window) => {
            screen.clear();
            let mut is_read = true;
            if windows {
                is_read = printer.print(&window.snapshot(&dark, top));
            }
            window.dark_is_known &= !mem::take(&mut dark_has_changed);
            if let Some(rollup) = &mut rollup {
                // The whole run takes the other one.
                rollup.add(&mut window.clone(), |rolled| {
                    is_read = printer.print(&rolled_tables(&rolled, &dark));
                });
            }
            if !is_read {
                is_missed |= !control.is_stopped();
                if watch.pins.is_some() {
                    // It is in the kernel still, for the next process.
                    control.give_up();
                    return;
                }
                control.stop();
            }
            let total = match &mut total {
                Some(total) => {
                    total.merge(window);
                    total
                }
                None => {
                    // The sources may be many: they are moved, not copied.
                    let sources = window.aggregate.observed.take();
                    let first = total.insert(window.clone());
                    first.aggregate.observed = sources;
                    first
                }
            };
            // The page is for anybody, and payloads may be personal.
            let mut snapshot = total.snapshot(&dark, SUMMARY_ROWS);
            snapshot.payloads = None;
            show(closed.insert(snapshot));
        }
        Event::Changed(changed) => {
            screen.clear();
            if let Ok(now) = &changed {
                dark_has_changed |=
                    (now.prefixes(), now.excluded()) != (dark.prefixes(), dark.excluded());
                dark.clone_from(now);
                say!("reloaded");
                warn_redundant(&dark);
            }
            status.reloaded(changed.map(drop));
        }
    });
    status.remove();
    if let Some(rollup) = rollup {
        rollup.finish(|rolled| {
            printer.print(&rolled_tables(&rolled, &dark));
        });
    }
    if let Some(total) = &total {
        let snapshot = total.snapshot(&dark, top);
        if !windows && !is_rolled_up {
            printer.print(&snapshot);
        }
        if let Some(path) = save {
            let json = serde_json::to_vec(&snapshot).map_err(io::Error::from);
            let saved = json.and_then(|json| fs::write(&path, json));
            saved.map_err(|source| Error::Read { path, source })?;
        }
    }
    watched?;
    if let Some(pins) = &watch.pins {
        say!(
            "the kernel counts on; start again with --pins {0}, or end it with darknet detach --pins {0}",
            pins.display()
        );
    }
    printer.finish(is_missed)?;
    Ok(ExitCode::SUCCESS)
}

/// Says where it watches, and what that costs and takes.
fn started(got: &Started<'_>, pins: Option<&Path>) {
    let Attachment {
        interface,
        mode,
        fallback,
        ..
    } = got.attachment;
    let mebibytes = got.memory.div_ceil(1 << 20);
    say!(
        "watching {interface} in {mode}, with {mebibytes} MiB of tables in the kernel; Ctrl-C ends it"
    );
    if let Some(why) = fallback {
        say!("warning: not the best mode, as the kernel said: {why}");
    }
    if let Some(why) = got.refused {
        say!("header records are taken, not frames: {why}");
    }
    for queue in got.queues {
        say!("{queue}");
    }
    // Mostly the same for all queues.
    let refusals = got.queues.iter().flat_map(|queue| &queue.refusals);
    let refusals: BTreeSet<String> = refusals.map(ToString::to_string).collect();
    for refusal in refusals {
        say!("refused: {refusal}");
    }
    if pins.is_none() {
        say!("nothing is pinned: when this process ends or is killed, counting ends");
    }
}

/// Where metrics are to be had: where only a port is said, nobody else can reach it.
fn listening(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    let address = port.or_else(|_| text.parse());
    address.map_err(|_| "it must be a port, as 9431, or an address with one, as [::1]:9431".into())
}

/// Rows of each table while it runs.
const SUMMARY_ROWS: usize = 5;

/// Prefixes that add nothing, as far as they are named one by one.
const REDUNDANT_SHOWN: usize = 10;

/// Says which prefixes add nothing: they are legal, but often not what was meant.
fn warn_redundant(dark: &Dark) {
    let mut redundant = dark.redundant();
    for (inner, outer) in redundant.by_ref().take(REDUNDANT_SHOWN) {
        say!("warning: {inner} lies in {outer} and adds nothing");
    }
    let more = redundant.count();
    if more > 0 {
        say!("warning: {more} more prefixes add nothing");
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
