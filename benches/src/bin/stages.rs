//! Drains full rings of frames by stages, for `cargo xtask bench stages`: the first argument is
//! what is done, the second how many rings.
//!
//! Frames are 64-byte SYNs of 4,096 sources to ten ports.

#[cfg(target_os = "linux")]
mod drained {
    use darknet_core::live::stages::Stages;
    use etherparse::PacketBuilder;

    fn frames() -> Vec<Vec<u8>> {
        let syn = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([198, 18 + high % 2, high, low], [203, 0, 113, low], 64)
                .tcp(40_000 + number, 20 + number % 10, 1, 1024)
                .syn()
                .write(&mut frame, &[])
                .expect("memory");
            frame.resize(60, 0);
            frame
        };
        (0..4096).map(syn).collect()
    }

    // What valgrind counts the instructions of, by name.

    #[inline(never)]
    fn stage_ring(stages: &mut Stages) {
        stages.ring();
    }

    #[inline(never)]
    fn stage_packets(stages: &mut Stages) {
        stages.packets();
    }

    #[inline(never)]
    fn stage_aggregates(stages: &mut Stages) {
        stages.aggregates();
    }

    pub(crate) fn run(stage: &str, rings: u32) {
        let drain = match stage {
            "ring" => stage_ring,
            "metadata" | "walk" => stage_packets,
            "aggregates" => stage_aggregates,
            other => panic!("{other} is no stage"),
        };
        let mut stages = Stages::new(&frames(), stage != "walk");
        // Tables grow and memory is touched.
        for _ in 0..4 {
            stages.fill();
            stages.aggregates();
        }
        let mut packets = 0;
        let mut time = std::time::Duration::ZERO;
        for _ in 0..rings {
            packets += stages.fill();
            let begun = std::time::Instant::now();
            drain(&mut stages);
            time += begun.elapsed();
        }
        println!("{packets} {}", time.as_nanos());
    }
}

#[cfg(target_os = "linux")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let stage = arguments.next().expect("a stage");
    let rings = arguments.next().expect("how many rings");
    drained::run(&stage, rings.parse().expect("a number"));
}

#[cfg(not(target_os = "linux"))]
fn main() {}
