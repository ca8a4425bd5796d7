use std::{
    io::{self, Write},
    time::Duration,
};

use darknet_core::{
    Snapshot,
    aggregate::Estimate,
    rules::{Cell, Class},
    snapshot::{RollupMark, Spread, Timings},
};
use jiff::tz::TimeZone;

/// Prints the tables of a snapshot for people.
pub(crate) fn print(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    summary(out, snapshot)?;
    let icmp = snapshot.icmp.iter().map(|row| {
        let name = format!("IPv{} type {} code {}", row.version, row.kind, row.code);
        vec![name, grouped(row.packets), grouped(row.bytes)]
    });
    table(out, &["icmp", "packets", "bytes"], icmp)?;
    match &snapshot.networks {
        Some(networks) => {
            let rows = networks.iter().map(|row| {
                vec![
                    row.network.to_string(),
                    grouped(row.packets),
                    grouped(row.bytes),
                ]
            });
            table(out, &["network", "packets", "bytes"], rows)?;
        }
        None => writeln!(out, "networks: not known, more than there is room for\n")?,
    }
    sources(out, snapshot)?;
    let tools = snapshot.tools.iter().map(|row| {
        vec![
            row.tool.name().into(),
            grouped(row.packets),
            optional(row.hosts),
        ]
    });
    table(out, &["tool", "packets", "hosts"], tools)?;
    if let Some(timings) = &snapshot.timings {
        times(out, timings)?;
        let memory = snapshot.memory.iter();
        let memory = memory.map(|(part, bytes)| vec![(*part).into(), grouped(*bytes as u64)]);
        table(out, &["memory", "bytes"], memory)?;
    }
    match snapshot.hosts {
        Some(hosts) => writeln!(out, "{} hosts in all", grouped(hosts.all)),
        None => Ok(()),
    }
}

/// The sources with the most packets, and what each did.
fn sources(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    match (&snapshot.profiles, &snapshot.sources) {
        (None, _) => {
            let known = match snapshot.coverage {
                None => "none, no packet was counted",
                Some(coverage) if coverage > 0.0 => "known when a window has closed",
                Some(_) => "not known, no packets are delivered",
            };
            writeln!(out, "sources: {known}\n")?;
        }
        (Some(_), None) => writeln!(
            out,
            "sources: more than --memory has room for; of those that are left:\n"
        )?,
        (Some(_), Some(_)) => {}
    }
    let rows = snapshot.profiles.iter().flatten().map(|row| {
        let packets = match row.missed {
            0 => grouped(row.packets),
            missed => format!(
                "{} to {}",
                grouped(row.packets),
                grouped(row.packets + missed)
            ),
        };
        let tools = row.tools.iter().filter(|(_, marked)| *marked != Some(0));
        let tools = tools.map(|(tool, marked)| {
            let [marked, probes] = [*marked, row.probes].map(optional);
            format!("{} {marked} of {probes}", tool.name())
        });
        let tools: Vec<String> = tools.collect();
        vec![
            row.source.to_string(),
            packets,
            estimated(row.ports),
            estimated(row.destinations),
            if tools.is_empty() {
                "-".into()
            } else {
                tools.join(", ")
            },
        ]
    });
    let header = ["source", "packets", "ports", "destinations", "marked"];
    table(out, &header, rows)
}

/// A number, marked where it is an estimate.
fn estimated(number: Estimate) -> String {
    match number.is_exact() {
        true => grouped(number.count),
        false => format!("~{}", grouped(number.count)),
    }
}

/// How quick the telescope was.
fn times(out: &mut impl Write, timings: &Timings) -> io::Result<()> {
    let duration = |nanoseconds| format!("{:.1?}", Duration::from_nanos(nanoseconds));
    let rows = [
        ("receive to observe", timings.latency),
        ("drain", timings.drain),
        ("window close", timings.close),
    ];
    let rows = rows.map(|(name, spread)| (name, spread, &duration as &dyn Fn(u64) -> String));
    let batch: (_, _, &dyn Fn(u64) -> String) = ("packets of a batch", timings.batch, &grouped);
    let rows = rows.into_iter().chain([batch]);
    let rows = rows.filter_map(|(name, spread, text)| {
        let Spread { p50, p99, max, .. } = spread?;
        Some(vec![name.into(), text(p50), text(p99), text(max)])
    });
    table(out, &["time", "p50", "p99", "max"], rows)
}

/// The ledger, the classes and the ports.
pub(crate) fn summary(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    match (snapshot.start, snapshot.end) {
        (Some(start), Some(end)) => write!(out, "{start} to {end}")?,
        _ => write!(out, "nothing seen")?,
    }
    writeln!(out, ", {}", dark(snapshot))?;
    if let Some(rollup) = &snapshot.rollup {
        rolled_up(out, rollup)?;
    }
    if let Some(until) = snapshot.observed_until {
        writeln!(out, "hosts, sources and memory are those up to {until}")?;
    }
    for fault in &snapshot.faults {
        writeln!(out, "FAULT: {fault}; please report it")?;
    }
    if snapshot.incomplete {
        writeln!(out, "INCOMPLETE: a part of the input could not be read")?;
    }
    writeln!(out)?;
    ledger(out, snapshot)?;
    let total = snapshot.ledger.counted;
    let classes = snapshot.classes.iter().map(|&(class, counts)| {
        let hosts = match class {
            Class::Malformed => "-".into(),
            _ => optional(snapshot.class_hosts(class)),
        };
        let share = share(counts.packets, total);
        vec![
            class.name().into(),
            grouped(counts.packets),
            share,
            grouped(counts.bytes),
            hosts,
        ]
    });
    table(
        out,
        &["class", "packets", "share", "bytes", "hosts"],
        classes,
    )?;
    let ports = snapshot.ports.iter().map(|row| {
        let name = format!("{} {}", row.class, row.port);
        vec![
            name,
            grouped(row.packets),
            grouped(row.bytes),
            optional(row.hosts),
        ]
    });
    table(out, &["port", "packets", "bytes", "hosts"], ports)
}

/// Which hour or day it is, by its own clock.
fn rolled_up(out: &mut impl Write, rollup: &RollupMark) -> io::Result<()> {
    let zone = rollup.zone.as_deref().map(TimeZone::get);
    let zone = zone.and_then(Result::ok).unwrap_or(TimeZone::UTC);
    let [start, end] = [rollup.start, rollup.end].map(|edge| edge.to_zoned(zone.clone()));
    write!(out, "the {} from {start} to {end}", rollup.length)?;
    match rollup.is_over {
        true => writeln!(out),
        false => writeln!(out, ", ended before it was over"),
    }
}

/// Prefixes in the line above the tables; JSON has all.
const PREFIXES_SHOWN: usize = 16;

fn dark(snapshot: &Snapshot) -> String {
    let list = |prefixes: &[ipnet::IpNet]| {
        let shown = prefixes.iter().take(PREFIXES_SHOWN);
        let mut text = shown
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let more = prefixes.len().saturating_sub(PREFIXES_SHOWN);
        if more > 0 {
            text += &format!(" and {} more", grouped(more as u64));
        }
        text
    };
    let space = &snapshot.dark;
    let mut text = match space.addresses {
        Some(addresses) => format!("dark: {} ({addresses} addresses)", list(&space.prefixes)),
        None => "dark: every destination".into(),
    };
    if !space.is_known {
        text += " now; it was another space for a part of the packets";
    }
    if !space.excluded.is_empty() {
        text += &format!(" without {}", list(&space.excluded));
    }
    text
}

fn ledger(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let ledger = &snapshot.ledger;
    let cell = |cell| grouped(ledger.cell(cell));
    writeln!(
        out,
        "ledger  received {} = passed {} + filtered {} + counted {}",
        grouped(ledger.received),
        cell(Cell::Passed),
        cell(Cell::Filtered),
        grouped(ledger.counted),
    )?;
    writeln!(
        out,
        "        counted {} = delivered {} + sampled out {} + not requested {} + lost {}",
        grouped(ledger.counted),
        cell(Cell::Delivered),
        cell(Cell::SampledOut),
        cell(Cell::NotRequested),
        grouped(ledger.lost()),
    )?;
    // Until a window closes, some are on their way.
    let are = match ledger.cell(Cell::Delivered) == ledger.observed {
        true => " =",
        false => ", so far",
    };
    writeln!(
        out,
        "        delivered {}{are} observed {}; late {}, untimed {}\n",
        cell(Cell::Delivered),
        grouped(ledger.observed),
        grouped(ledger.late),
        grouped(ledger.untimed),
    )
}

/// Prints a table with its first column on the left and the others on the right; none if empty.
fn table(
    out: &mut impl Write,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut lines = vec![header.iter().map(ToString::to_string).collect()];
    lines.extend(rows);
    if lines.len() == 1 {
        return Ok(());
    }
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for line in &lines {
        write!(out, "{:<1$}", line[0], widths[0])?;
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn optional(number: Option<u64>) -> String {
    number.map_or_else(|| "not known".into(), grouped)
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}
