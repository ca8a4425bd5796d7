//! What one packet costs in the kernel program, by kind, with `BPF_PROG_TEST_RUN`: needs root.
//!
//! A frame that is not IP is the floor: the program is entered, the packet counted and passed.

use darknet_core::{
    Dark,
    kernel::{Kernel, Settings},
    parse_prefix,
};
use etherparse::PacketBuilder;

/// Runs of the program for each figure, and figures of which the best is taken.
const RUNS: u32 = 1_000_000;
const TRIES: usize = 7;

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
    // As a test, without what cargo bench says, it runs each frame once.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (runs, tries) = if is_bench { (RUNS, TRIES) } else { (1, 1) };
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
    for (name, frame) in frames() {
        let best = (0..tries).map(|_| kernel.test_run(&frame, runs).expect("it runs").1);
        println!(
            "{name:<10} {:>4} ns",
            best.min().unwrap_or_default().as_nanos()
        );
    }
    let ledger = kernel.flip_and_drain().expect("counts").ledger;
    assert_eq!(
        ledger.received,
        frames().len() as u64 * u64::from(runs) * tries as u64
    );
    assert_eq!(
        ledger.counted,
        ledger.received / 7 * 5,
        "two of seven are not dark"
    );
}
