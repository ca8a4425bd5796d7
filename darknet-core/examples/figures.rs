//! The figures of captures, in ten lines: `cargo run --example figures FILE…`

use darknet_core::{Captures, Error, Telescope};

fn main() -> Result<(), Error> {
    let telescope = Telescope::new();
    let mut captures = Captures::open(std::env::args_os().skip(1))?;
    let snapshot = telescope.run(&mut captures)?.snapshot(telescope.dark(), 10);
    println!("{} packets counted", snapshot.ledger.counted);
    for row in &snapshot.ports {
        println!("{} {}: {} packets", row.class, row.port, row.packets);
    }
    Ok(())
}
