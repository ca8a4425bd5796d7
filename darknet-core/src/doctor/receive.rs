use std::collections::BTreeSet;

use super::{Finding, Nature, Patient, driver, patient::count};

/// Below this a burst at a few million packets a second is longer than the ring: 2,048 are a
/// millisecond at 2 million a second.
const RING: u32 = 2_048;
/// Beyond it a ring no longer fits the processor's caches.
const RING_AT_MOST: u32 = 4_096;

pub(super) fn findings(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = vec![queues(patient)];
    if patient.nature == Nature::Card {
        findings.extend([interrupts(patient), ring(patient), node(patient)]);
        findings.extend(offloads(patient).into_iter().map(Some));
    }
    findings.into_iter().flatten().collect()
}

fn queues(patient: &Patient<'_>) -> Option<Finding> {
    let name = &patient.device.name;
    let processors = patient.processors;
    let (now, most) = patient.queues?;
    let is = format!("{now} of {most}, for {}", plural(processors, "processor"));
    let half = driver::known(patient).is_some_and(|driver| driver.half_of_the_queues);
    let usable = if half { most / 2 } else { most };
    let wanted = usable.min(processors).max(1);
    let channels = patient.device.channels.unwrap_or_default();
    let command = match channels.combined.1 {
        0 => format!("ethtool -L {name} rx {wanted}"),
        _ => format!("ethtool -L {name} combined {wanted}"),
    };
    Some(match patient.nature {
        Nature::Tap => Finding::well(
            "queues",
            format!("{now}: as many as programs have opened, of {most}"),
        ),
        Nature::Veth => Finding::well("queues", is).because(
            "driver mode needs as many as the other end sends by: ethtool -l tells, there",
        ),
        Nature::Card if now > usable => Finding::better("queues", is)
            .because(format!(
                "{} has driver mode only while half of the queues are free",
                patient.driver
            ))
            .so(command),
        Nature::Card if now < wanted => Finding::better("queues", is)
            .because("a queue is emptied by one processor; the others can't help it")
            .so(command),
        _ if now == 1 && processors > 1 => {
            Finding::note("queues", is).because("one processor takes every packet")
        }
        _ => Finding::well("queues", is),
    })
}

/// Whether the processors share the work that the queues make.
fn interrupts(patient: &Patient<'_>) -> Option<Finding> {
    let mut numbers = patient.system.list(&patient.path("device/msi_irqs"));
    if numbers.is_empty() {
        // The device of virtio_net lies below that of the bus.
        numbers = patient.system.list(&patient.path("device/../msi_irqs"));
    }
    numbers.sort_by_key(|number| number.parse::<u32>().ok());
    let served: Vec<_> = numbers
        .iter()
        .filter_map(|number| {
            let list = |file: &str| patient.system.read(&format!("/proc/irq/{number}/{file}"));
            let list = list("effective_affinity_list").filter(|list| !list.is_empty());
            list.filter(|list| count(list) == 1)
        })
        .collect();
    let distinct = served.iter().collect::<BTreeSet<_>>().len();
    let (queues, _) = patient.queues?;
    // One more than the queues is for the state of the link.
    match (served.first()?, distinct) {
        (one, 1) if served.len() > 1 && queues > 1 && patient.processors > 1 => {
            let is = format!("all {} go to processor {one}", served.len());
            let last = numbers.last()?;
            Some(
                Finding::better("interrupts", is)
                    .because("that one then works for all queues, and the others idle")
                    .so("systemctl start irqbalance")
                    .so(format!(
                        "or by hand, for each: echo 1 > /proc/irq/{last}/smp_affinity_list"
                    )),
            )
        }
        (_, distinct) => Some(Finding::well(
            "interrupts",
            format!("spread over {}", plural(distinct as u32, "processor")),
        )),
    }
}

fn ring(patient: &Patient<'_>) -> Option<Finding> {
    let name = &patient.device.name;
    let (now, most) = patient.device.ring?;
    let is = format!("{now} packets a queue, of {most}");
    let wanted = most.min(RING_AT_MOST);
    Some(match now < RING && now < wanted {
        true => Finding::better("ring", is)
            .because("a burst waits here until a processor has time; what finds it full is lost")
            .so(format!("ethtool -G {name} rx {wanted}")),
        false => Finding::well("ring", is),
    })
}

/// Where the card is, on machines with memory in several places.
fn node(patient: &Patient<'_>) -> Option<Finding> {
    let nodes = patient.system.read("/sys/devices/system/node/online")?;
    let node = patient.read("device/numa_node")?.parse::<u32>().ok()?;
    let near = patient.read("device/local_cpulist")?;
    (count(&nodes) > 1).then(|| {
        Finding::note(
            "node",
            format!("the card is at node {node} of {}", count(&nodes)),
        )
        .because(format!(
            "processors {near} are near it, and quickest to serve it"
        ))
    })
}

/// What the card does for hosts, and does to telescopes.
fn offloads(patient: &Patient<'_>) -> Vec<Finding> {
    let name = &patient.device.name;
    let has = |feature: &str| patient.device.offloads.contains(feature);
    let merged = "the card merges packets before the program sees them, so fewer are counted; some \
                  drivers refuse driver mode for it";
    let mut findings = Vec::new();
    for (feature, what, option) in [
        ("rx-lro", "LRO", "lro"),
        ("rx-gro-hw", "hardware GRO", "rx-gro-hw"),
    ] {
        // virtio_net switches it off itself when a program comes: `virtnet_xdp_set`.
        if has(feature) && (feature, patient.driver.as_str()) != ("rx-gro-hw", "virtio_net") {
            let finding = Finding::better(what, "on").because(merged);
            findings.push(finding.so(format!("ethtool -K {name} {option} off")));
        }
    }
    if has("rx-vlan-filter") && !patient.device.is_promiscuous {
        findings.push(
            Finding::note("VLAN filter", "on")
                .because(
                    "the card drops tagged packets of VLANs that this host has no interface for; \
                     no matter where dark packets come untagged",
                )
                .so(format!("ethtool -K {name} rx-vlan-filter off")),
        );
    }
    if has("rx-vlan-hw-parse") {
        findings.push(
            Finding::note("VLAN stripping", "on")
                .because(
                    "the tag is gone before the program looks: tagged packets are counted as if \
                     they were untagged",
                )
                .so(format!("ethtool -K {name} rxvlan off")),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::well("offloads", "none that hurts"));
    }
    findings
}

/// `1 processor`, `2 processors`.
fn plural(number: u32, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
