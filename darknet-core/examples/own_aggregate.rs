//! A count of one's own beside ours: of the SYNs to the ports of Telnet, how many carry Mirai's mark.
//! Over captures: `own_aggregate FILE…`, or on an interface for ten seconds, as root:
//! `own_aggregate live IF PREFIX…`

use std::{env, error::Error, ops::ControlFlow, time::Duration};

use darknet_core::{
    Captures, Dark, Telescope,
    aggregate::{Aggregate, Observation},
    live::{Control, Event, Watch},
    parse_prefix,
    rules::{Class, Tool},
};

/// SYNs to a port: all of them, and those with the mark.
#[derive(Clone, Debug, Default)]
struct Telnet {
    ports: [(u64, u64); 2],
}

const PORTS: [u16; 2] = [23, 2323];

impl Aggregate for Telnet {
    fn observe(&mut self, Observation { packet, .. }: &Observation) {
        let port = PORTS
            .iter()
            .position(|&port| port == packet.destination_port);
        if let (Some(port), Class::TcpSyn) = (port, packet.class) {
            self.ports[port].0 += 1;
            self.ports[port].1 += u64::from(packet.tools.has(Tool::Mirai));
        }
    }

    fn merge(&mut self, other: &mut Self) {
        for (mine, theirs) in self.ports.iter_mut().zip(other.ports) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

fn print(counted: u64, telnet: &Telnet) {
    println!("{counted} packets");
    for (port, (all, marked)) in PORTS.iter().zip(telnet.ports) {
        println!("  tcp {port}: {all} SYNs, {marked} with Mirai's mark");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [live, interface, prefixes @ ..] if live == "live" => on(interface, prefixes),
        files => over(files),
    }
}

/// Each worker has a `Telnet`; when a window closes, they have been merged.
fn over(files: &[String]) -> Result<(), Box<dyn Error>> {
    let mut captures = Captures::open(files)?;
    Telescope::new().run_windows_with(&mut captures, Telnet::default, |window| {
        print(window.ledger.counted, &window.aggregate);
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// Live it is beside our sources, so that the snapshot has hosts.
fn on(interface: &str, prefixes: &[String]) -> Result<(), Box<dyn Error>> {
    let prefixes = prefixes.iter().map(|text| parse_prefix(text));
    let dark = Dark::new(&prefixes.collect::<Result<Vec<_>, _>>()?, &[])?;
    let telescope = Telescope::new().with_dark(dark);
    let mut watch = Watch::new(interface);
    watch.duration = Some(Duration::from_secs(10));
    let make = |telescope: &Telescope| (telescope.survey(), Telnet::default());
    telescope.watch_with(&watch, &Control::new(), make, |event| {
        if let Event::Closed(window) = event {
            let hosts = window.snapshot(telescope.dark(), 10).hosts;
            match hosts {
                Some(hosts) => println!("{} hosts", hosts.all),
                None => println!("hosts: unknown"),
            }
            if let Some((_, telnet)) = &window.aggregate.observed {
                print(window.ledger.counted, telnet);
            }
        }
    })?;
    Ok(())
}
