use std::fmt;

use darknet_ebpf::{Cell, Class};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    Snapshot,
    snapshot::{Spread, Timings},
};

/// The text of the latest snapshot; of none, only its end.
pub(super) fn text(snapshot: Option<Snapshot>) -> String {
    let mut registry = Registry::with_prefix("darknet");
    if let Some(snapshot) = snapshot {
        registry.register_collector(Box::new(Page(snapshot)));
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all");
    text
}

#[derive(Debug)]
struct Page(Snapshot);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(snapshot) = self;
        let mut page = Lines(&mut encoder);
        ledger(&mut page, snapshot)?;
        counts(&mut page, snapshot)?;
        hosts(&mut page, snapshot)?;
        health(&mut page, snapshot)
    }
}

/// Writes metrics, each with its name and help, then its value, or one for each set of labels.
struct Lines<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Lines<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let kind = MetricType::Counter;
        let metric = self.0.encode_descriptor(name, help, None, kind)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let kind = MetricType::Gauge;
        let metric = self.0.encode_descriptor(name, help, None, kind)?;
        ConstGauge::new(value).encode(metric)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let values = values.map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.all(name, help, None, MetricType::Counter, values)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let values = values.map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.all(name, help, unit, MetricType::Gauge, values)
    }

    fn all<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        values: impl Iterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in values {
            value.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn ledger(page: &mut Lines<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    let ledger = &snapshot.ledger;
    for (name, help, value) in [
        ("received_packets", "Packets that came in", ledger.received),
        (
            "counted_packets",
            "Packets for dark prefixes, of no filtered source",
            ledger.counted,
        ),
        (
            "observed_packets",
            "Packets that workers have seen",
            ledger.observed,
        ),
        (
            "missed_packets",
            "Packets that the interface had no room for",
            ledger.missed_nic,
        ),
    ] {
        page.counter(name, help, value)?;
    }
    // What is delivered has not ended: until its window closes, it may still be lost.
    let ended = |cell| match cell {
        Cell::Delivered => ledger.observed,
        lost => ledger.cell(lost),
    };
    let cells = Cell::ALL.map(|cell| ([("cell", cell.name())], ended(cell)));
    let help = "Packets by the cell of the ledger in which they ended";
    page.counters("ended_packets", help, cells)?;
    let lost = Cell::ALL.into_iter().filter(|cell| cell.is_lost());
    let lost = lost.map(|cell| ([("stage", cell.name())], ledger.cell(cell)));
    page.counters("lost_packets", "Packets lost, by stage", lost)
}

fn counts(page: &mut Lines<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    let classes = || {
        let classes = snapshot.classes.iter();
        classes.map(|(class, counts)| ([("class", class.name())], counts))
    };
    let packets = classes().map(|(class, counts)| (class, counts.packets));
    page.counters("class_packets", "Packets by class", packets)?;
    let bytes = classes().map(|(class, counts)| (class, counts.bytes));
    page.counters("class_bytes", "Bytes of IP packets by class", bytes)?;
    let tools = snapshot.tools.iter();
    let tools = tools.map(|row| ([("tool", row.tool.name())], row.packets));
    page.counters("tool_packets", "Packets with a tool's mark", tools)?;
    let ports = snapshot.ports.iter().map(|row| {
        let labels = [
            ("class", row.class.to_string()),
            ("port", row.port.to_string()),
        ];
        (labels, row.packets)
    });
    let help = "Packets by port, of the ports with the most in each class";
    page.counters("port_packets", help, ports)
}

fn hosts(page: &mut Lines<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    let Some(hosts) = snapshot.hosts else {
        return Ok(());
    };
    let classes = Class::ALL.into_iter();
    let classes = classes.filter(|&class| class != Class::Malformed);
    let classes = classes.map(|class| (class.name(), hosts.class(class)));
    let all = [("all", hosts.all)].into_iter().chain(classes);
    let values = all.map(|(class, hosts)| ([("class", class)], hosts as f64));
    let help = "Distinct sources of the closed windows, of all packets and of each class";
    page.gauges("hosts", help, None, values)?;
    let tools = snapshot.tools.iter();
    let tools = tools.map(|row| ([("tool", row.tool.name())], hosts.tool(row.tool) as f64));
    let help = "Distinct sources of packets with a tool's mark";
    page.gauges("tool_hosts", help, None, tools)
}

fn health(page: &mut Lines<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    let faults = snapshot.faults.len() as f64;
    let help = "What does not add up; more than 0 is a bug in Darknet";
    page.gauge("faults", help, faults)?;
    let memory = snapshot.memory.iter();
    let memory = memory.map(|(part, bytes)| ([("part", *part)], *bytes as f64));
    let help = "What each part of the tables of the closed windows takes";
    page.gauges("memory", help, Some(&Unit::Bytes), memory)?;
    if let Some(coverage) = snapshot.coverage {
        let help = "Share of the counted packets that hosts are made of";
        page.gauge("coverage", help, coverage)?;
    }
    let Some(Timings {
        latency,
        batch,
        drain,
        close,
    }) = snapshot.timings
    else {
        return Ok(());
    };
    let seconds = Some(&Unit::Seconds);
    for (name, help, unit, spread) in [
        (
            "latency",
            "From receiving the first packet of a batch until it was observed",
            seconds,
            latency,
        ),
        (
            "batch_packets",
            "Packets that a worker took at a time",
            None,
            batch,
        ),
        (
            "drain",
            "Until workers had handed over a window",
            seconds,
            drain,
        ),
        ("close", "Until a window was ready", seconds, close),
    ] {
        let scale = if unit.is_some() { 1e-9 } else { 1.0 };
        let quantiles = spread.into_iter().flat_map(|spread: Spread| {
            let Spread {
                samples: _,
                p50,
                p99,
                max,
            } = spread;
            [("0.5", p50), ("0.99", p99), ("1", max)]
        });
        let quantiles = quantiles.map(|(at, value)| ([("quantile", at)], value as f64 * scale));
        page.gauges(name, help, unit, quantiles)?;
    }
    Ok(())
}
