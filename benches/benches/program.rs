//! What one packet costs in the kernel program, by kind, with `BPF_PROG_TEST_RUN`: needs root.
//!
//! Beside it a program that counts nothing is the floor.

use darknet_benches::{
    rounds::{Quartiles, Rounds},
    varied::Varied,
};
use darknet_core::{
    Dark,
    kernel::{Kernel, Settings},
    parse_prefix,
};
use etherparse::PacketBuilder;

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |to| PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([198, 51, 100, 7], to, 64);
    let v6 = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([0x20; 16], [0x21; 16], 64);
    let dark = [203, 0, 113, 9];
    let mut frames = Vec::new();
    let mut add = |name, write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frame.resize(frame.len().max(60), 0);
        frames.push((name, frame));
    };
    add("not IP", &|out| out.extend([[2; 6], [4; 6]].concat()));
    add("not dark", &|out| {
        v4([192, 0, 2, 1])
            .udp(40_000, 53)
            .write(out, &[])
            .expect("memory");
    });
    add("SYN", &|out| {
        let syn = v4(dark).tcp(40_000, 23, 1, 1024).syn();
        syn.write(out, &[]).expect("memory");
    });
    add("SYN-ACK", &|out| {
        let syn_ack = v4(dark).tcp(80, 40_000, 1, 1024).syn().ack(1);
        syn_ack.write(out, &[]).expect("memory");
    });
    add("UDP", &|out| {
        v4(dark).udp(40_000, 53).write(out, &[]).expect("memory");
    });
    add("ICMP", &|out| {
        let echo = v4(dark).icmpv4_echo_request(1, 2);
        echo.write(out, &[]).expect("memory");
    });
    add("IPv6 SYN", &|out| {
        let syn = v6().tcp(40_000, 23, 1, 1024).syn();
        syn.write(out, &[]).expect("memory");
    });
    frames
}

fn main() {
    let rounds = Rounds::of_process();
    let runs = rounds.runs;
    let prefixes =
        ["203.0.113.0/24", "2121::/16"].map(|text| parse_prefix(text).expect("a prefix"));
    let dark = Dark::new(&prefixes, &[]).expect("prefixes");
    let settings = Settings {
        dark,
        ..Settings::default()
    };
    let mut kernel = match Kernel::load(&settings) {
        Ok(kernel) => kernel,
        Err(error) => {
            eprintln!("kernel program: NOT RUN, {error}");
            return;
        }
    };
    let varied = Varied::new(&kernel, &[], 1);
    println!("| frame | empty, ns | telescope, ns | telescope over empty, ns |");
    println!("|---|---|---|---|");
    for (name, frame) in frames() {
        let measured = rounds.measure(|| {
            let telescope = kernel.test_run(&frame, runs).expect("it runs").1;
            [varied.empty(&frame, runs), telescope.as_nanos() as f64]
        });
        let quartiles = |figure: fn(&[f64; 2]) -> f64| Quartiles::of(measured.iter().map(figure));
        println!(
            "| {name} | {} | {} | {} |",
            quartiles(|[empty, _]| *empty),
            quartiles(|[_, telescope]| *telescope),
            quartiles(|[empty, telescope]| telescope - empty),
        );
    }
    let ledger = kernel.flip_and_drain().expect("counts").ledger;
    assert_eq!(ledger.received, frames().len() as u64 * rounds.total());
    assert_eq!(
        ledger.counted,
        ledger.received / 7 * 5,
        "two of seven are not dark"
    );
}
