use super::{Finding, Nature, Patient};
use crate::kernel::PROGRAMS;

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: what has an Ethernet header.
const WITH_ETHERNET: [u16; 2] = [1, 772];
/// Names that are listed, when another one was meant.
const NAMES: usize = 12;

/// There is no such interface.
pub(super) fn missing(name: &str, others: &[String]) -> Finding {
    let finding = Finding::stops("interface", format!("{name:?} does not exist"))
        .because("a network namespace has interfaces of its own: ip netns exec NAME darknet …");
    let near = others
        .iter()
        .map(|other| (distance(name, other), other))
        .filter(|&(distance, other)| distance <= 2 && distance < other.len())
        .min();
    let mut list = others.iter().take(NAMES).cloned().collect::<Vec<_>>();
    if others.len() > NAMES {
        list.push("…".into());
    }
    let list = list.join(", ");
    finding.so(match near {
        Some((_, near)) => format!("{near}? There are: {list}"),
        None if list.is_empty() => "ip link lists what there is: nothing here".into(),
        None => format!("there are: {list}"),
    })
}

pub(super) fn findings(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = vec![presence(patient), ethernet(patient)];
    findings.push(program(patient));
    findings.push(nature(patient));
    findings.push(delivery(patient));
    findings.into_iter().flatten().collect()
}

fn presence(patient: &Patient<'_>) -> Option<Finding> {
    let device = patient.device;
    let name = &device.name;
    if !device.is_up {
        let finding = Finding::stops("interface", format!("{name} is down"));
        let finding = finding.because("nothing arrives until it is up");
        return Some(finding.so(format!("ip link set {name} up")));
    }
    if !device.has_carrier {
        let finding = Finding::stops(
            "interface",
            format!("{name} is up, and nobody is at the other end"),
        );
        return Some(match patient.nature {
            Nature::Tap => finding
                .because("no program has this device open, and its packets come from one")
                .so("start what sends into it: QEMU, a VPN, or your own"),
            Nature::Stacked => finding.because("none of the interfaces below it has a carrier"),
            Nature::Veth => finding.so("set the other interface of the pair up"),
            _ => finding.so("look at the cable, and at the port of the switch"),
        });
    }
    let speed = patient.read("speed").and_then(|speed| speed.parse().ok());
    let speed = speed.filter(|speed: &i64| *speed > 0 && patient.nature == Nature::Card);
    let speed = speed.map_or_else(String::new, |speed| match speed % 1000 {
        0 => format!(", {} Gbit/s", speed / 1000),
        _ => format!(", {speed} Mbit/s"),
    });
    Some(Finding::well("interface", format!("{name} is up{speed}")))
}

/// The kernel program looks for an Ethernet header in live packets.
fn ethernet(patient: &Patient<'_>) -> Option<Finding> {
    let device = patient.device;
    let is_ethernet = WITH_ETHERNET.contains(&device.link_type);
    (!is_ethernet).then(|| {
        let name = &device.name;
        let is = format!("{name} carries packets without an Ethernet header");
        let why = "the kernel program takes their first bytes for one, and finds nothing to count";
        let finding = Finding::stops("link", is).because(why);
        match patient.nature {
            Nature::Tap => finding.so(format!(
                "make it a TAP device: ip tuntap add {name} mode tap"
            )),
            _ => finding.so("watch the Ethernet interface that its packets come in by"),
        }
    })
}

/// Somebody else's program, or our own.
fn program(patient: &Patient<'_>) -> Option<Finding> {
    let number = patient.device.program?;
    let name = &patient.device.name;
    let program = patient.system.program(number);
    let ours = program
        .as_deref()
        .is_some_and(|program| PROGRAMS.contains(&program));
    let called = program.unwrap_or_else(|| "without a name that we may see".into());
    let finding = Finding::stops(
        "XDP program",
        format!("{name} has one already: {called}, number {number}"),
    );
    Some(match ours {
        true => finding
            .because("it looks like a telescope: one that runs, or that was left pinned")
            .so("darknet status lists those that run")
            .so("darknet detach --pins DIR ends one that was left pinned"),
        false => finding
            .because("an interface has one program, and Darknet takes nobody's place")
            .so(format!("bpftool net show dev {name} tells whose it is"))
            .so(format!(
                "ip link set {name} xdp off takes it off; one with a link goes with its owner"
            )),
    })
}

/// What is to be said of this sort of interface.
fn nature(patient: &Patient<'_>) -> Option<Finding> {
    let name = &patient.device.name;
    let kind = patient.driver.as_str();
    let below = format!("watch what is below it: ip -d link show {name}");
    match (patient.nature, kind) {
        (Nature::Loopback, _) => Some(
            Finding::better(
                "loopback",
                "hands a packet to the program and back to this host",
            )
            .because("a telescope needs an interface that packets arrive on")
            .so("darknet doctor IF, with one of: ip -br link"),
        ),
        (Nature::Stacked, "bridge") => Some(
            Finding::better("bridge", "sees what its ports leave to this host")
                .because("packets to dark addresses may go on to another port instead")
                .so(format!("watch its ports: ip link show master {name}")),
        ),
        (Nature::Stacked, "bond" | "team") => Some(
            Finding::note("bond", "the program goes to each of its members")
                .because("what they have in common is what the bond has; queues are theirs")
                .so(format!(
                    "darknet doctor for each: ip link show master {name}"
                )),
        ),
        (Nature::Stacked, kind) => Some(
            Finding::better("stacked", format!("a {kind} interface, on top of another"))
                .because("its packets have gone through the network stack already: slower")
                .so(below),
        ),
        _ => None,
    }
}

/// Which frames arrive, and what the network has to do for it.
fn delivery(patient: &Patient<'_>) -> Option<Finding> {
    let device = patient.device;
    let name = &device.name;
    Some(match patient.nature {
        // Its ports are where to look.
        Nature::Stacked => return None,
        Nature::Loopback => Finding::well("frames", "all that this host sends to itself"),
        Nature::Veth => Finding::well("frames", "all that the other end of the pair sends"),
        Nature::Tap => Finding::well("frames", "all that the program behind it sends"),
        _ if device.is_promiscuous => Finding::note("frames", "all that arrive: promiscuous mode")
            .because(
                "right at a mirror port; where a router sends the dark prefix here it is not \
                 needed",
            ),
        _ => Finding::note(
            "frames",
            format!("those to {} and to groups", device.address),
        )
        .because(
            "nobody answers ARP for dark addresses, so a router has to send them here by a \
                 route; at a mirror port frames are to others, which takes promiscuous mode",
        )
        .so(format!(
            "on the router: ip route add PREFIX via ADDRESS-OF-{name}"
        ))
        .so(format!("at a mirror port: ip link set {name} promisc on")),
    })
}

/// How many letters have to be changed, added or left out: Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, theirs) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != theirs);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[row.len() - 1]
}
