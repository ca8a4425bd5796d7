//! Frames to dark prefixes as slices, each with what the kernel program found of it:
//! `frames IF PREFIX…`. Ends after 1,000 of them. Needs root.

use std::{env, error::Error, time::Duration};

use darknet_core::{
    Dark,
    kernel::{Delivery, Kernel, Settings},
    parse_prefix,
    rules::{Class, Metadata},
    xsk::{Interface, Options, Queue},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("frames IF PREFIX…")?;
    let prefixes = arguments.map(|text| parse_prefix(&text));
    let dark = Dark::new(&prefixes.collect::<Result<Vec<_>, _>>()?, &[])?;

    // What is not for these prefixes goes on to the host. What is, is counted, and delivered.
    let mut kernel = Kernel::load(&Settings {
        dark,
        delivery: Delivery::Frames,
        ..Settings::default()
    })?;
    // A socket for each queue, before the first frame comes. On many cores: a thread for each.
    let queues = Interface::find(&interface)?.queues.unwrap_or(1);
    let mut queues: Vec<Queue> = (0..queues)
        .map(|queue| {
            let options = Options {
                queue,
                ..Options::default()
            };
            Queue::open(&interface, &options)
        })
        .collect::<Result<_, _>>()?;
    for queue in &queues {
        println!("{}", queue.outcome());
        kernel.deliver_to(queue.outcome().queue, queue)?;
    }
    println!("{}", kernel.attach(&interface)?);

    let mut frames = 0;
    // The first SYN, to keep: a slice lives no longer than its batch.
    let mut syn = None;
    while frames < 1000 {
        let mut is_idle = true;
        for queue in &mut queues {
            for frame in &queue.receive(64) {
                (is_idle, frames) = (false, frames + 1);
                let data: &[u8] = frame.data();
                let found = Metadata::before(frame.metadata());
                // A driver may have no room for metadata; `rules::outer` walks the frame then.
                let Some(packet) = found.and_then(|found| found.packet(data)) else {
                    continue;
                };
                if packet.class == Class::TcpSyn && syn.is_none() {
                    syn = Some((packet, frame.to_bytes()));
                }
            }
        }
        if is_idle && let Some(queue) = queues.first_mut() {
            queue.wait(Duration::from_millis(1))?;
        }
    }
    kernel.detach()?;

    if let Some((packet, bytes)) = syn {
        println!("a SYN to port {}: {bytes:02x?}", packet.destination_port);
    }
    for queue in &queues {
        println!("{:?}", queue.statistics()?);
    }
    println!(
        "{} packets counted",
        kernel.flip_and_drain()?.ledger.counted
    );
    Ok(())
}
