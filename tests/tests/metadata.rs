//! What the program leaves before a frame and what it writes into a record say the same as the walk
//! in userspace: on frames that nobody thought of.

mod generated;

use darknet_ebpf::{Header, Link, Metadata, Outer, Packet, abi::Walked, outer};
use generated::{Damage, Shape, damage, shape};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

/// What the program finds in a frame; `None` if the frame passes.
fn walked(frame: &[u8]) -> Option<Walked> {
    match outer(frame, Link::Ethernet) {
        Outer::NotIp => None,
        Outer::Unreadable => Some(Walked::MALFORMED),
        Outer::Ip(ip) => Some(Walked::of(&ip, frame)),
    }
}

fn on_ethernet(shape: Shape, damage: &[Damage]) -> Vec<u8> {
    let shape = Shape {
        link: Link::Ethernet,
        ..shape
    };
    let mut frame = shape.build();
    for damage in damage {
        damage.apply(&mut frame, shape.v6);
    }
    frame.bytes
}

fn assert_same(frame: &[u8]) {
    let Some(walked) = walked(frame) else { return };
    let Walked { packet, .. } = walked;
    let left = Metadata::new(&walked, u64::MAX - 4, 9);
    assert_eq!(left.packet(frame), Some(packet), "{frame:02x?}");
    assert_eq!((left.epoch, left.time), (u32::MAX - 4, 9));
    let record = Header::new(&packet, u64::MAX - 4, 9);
    assert_eq!(record.packet(), Some(packet), "{frame:02x?}");
    // A frame that was cut behind the program: the same, or nothing.
    for end in 0..frame.len() {
        let found = left.packet(&frame[..end]);
        assert!(
            found.is_none_or(|found| found == packet),
            "{end} of {frame:02x?}"
        );
    }
}

/// Bytes as a reader finds them that is one frame behind: another packet's, or none.
fn assert_bounded(left: &Metadata, frame: &[u8]) {
    let packet = left.packet(frame);
    assert!(packet.is_none_or(|packet: Packet| packet.class as usize <= 8));
}

proptest! {
    #![proptest_config(Config { cases: 20_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn metadata_and_records_are_the_walk(
        shape in shape(),
        damage in prop::collection::vec(damage(), 0..4),
    ) {
        assert_same(&on_ethernet(shape, &damage));
    }

    #[test]
    fn metadata_before_another_frame_is_no_panic(
        shapes in [shape(), shape()],
        damage in prop::collection::vec(damage(), 0..4),
        other in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let [one, another] = shapes;
        let frame = on_ethernet(one, &damage);
        if let Some(walked) = walked(&frame) {
            let left = Metadata::new(&walked, 1, 2);
            assert_bounded(&left, &on_ethernet(another, &damage));
            assert_bounded(&left, &other);
        }
    }

    #[test]
    fn bytes_before_a_frame_are_metadata_or_not(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        frame in prop::collection::vec(any::<u8>(), 0..200),
        marked in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if marked && bytes.len() >= Metadata::LENGTH {
            let at = bytes.len() - Metadata::LENGTH;
            bytes[at..at + 4].copy_from_slice(&Metadata::MARK.to_ne_bytes());
            // Such as there can be, so that more than the mark is looked at.
            for byte in &mut bytes[at + 16..] {
                *byte &= 0x0f;
            }
        }
        if let Some(left) = Metadata::before(&bytes) {
            prop_assert!(marked);
            assert_bounded(&left, &frame);
        }
    }
}

#[test]
fn frames_up_to_a_chunk_are_the_same() {
    let mut runner = TestRunner::deterministic();
    let strategy = (shape(), prop::collection::vec(damage(), 0..3));
    for length in 0..3840 {
        let tree = strategy.new_tree(&mut runner).expect("a frame");
        let (shape, damage) = tree.current();
        let mut frame = on_ethernet(shape, &damage);
        frame.resize(length, length as u8);
        let Some(walked) = walked(&frame) else {
            continue;
        };
        let left = Metadata::new(&walked, 1, 2);
        assert_eq!(left.packet(&frame[..]), Some(walked.packet), "{frame:02x?}");
    }
}

/// The same through the kernel, on a link. Needs root.
#[cfg(target_os = "linux")]
mod on_a_link {
    use std::time::Duration;

    use darknet_core::{
        kernel::{Delivery, Kernel, Settings},
        xsk::{Options, Queue},
    };
    use darknet_tests::{
        frames::{alone, datagrams},
        live::world,
    };
    use xtask::lab::{Frames, Generator, LONGEST_FRAME, Limits, SHORTEST_FRAME, World};

    use super::*;

    /// Frames of an own making.
    struct Made<'a>(std::slice::Iter<'a, Vec<u8>>);

    impl Frames for Made<'_> {
        fn next(&mut self) -> Option<&[u8]> {
            self.0.next().map(Vec::as_slice)
        }
    }

    fn send(world: &World, frames: &[Vec<u8>]) {
        let mut generator = Generator::new(world, &xtask::lab::Options::default());
        let generator = generator.as_mut().expect("a generator");
        let sent = generator.send(&mut Made(frames.iter()), &Limits::default());
        let sent = sent.expect("sent");
        let count = frames.len() as u64;
        assert_eq!((sent.sent, sent.errors, sent.in_flight), (count, 0, 0));
    }

    /// Every destination is dark.
    fn kernel(world: &World, delivery: Delivery) -> Kernel {
        let kernel = world.telescope().enter(|| {
            let settings = Settings {
                delivery,
                ..Settings::default()
            };
            let mut kernel = Kernel::load(&settings).expect("the kernel takes it");
            kernel.attach(world.interface()).expect("attached");
            kernel
        });
        kernel.expect("the namespace")
    }

    fn queue(world: &World, kernel: &mut Kernel) -> Queue {
        let options = Options {
            ring: 8192,
            frames: 8192,
            ..Options::default()
        };
        let queue = world
            .telescope()
            .enter(|| Queue::open(world.interface(), &options));
        let queue = queue.expect("the namespace").expect("a queue");
        kernel.deliver_to(0, &queue).expect("delivered");
        queue
    }

    /// What was delivered, with what was left before it.
    fn received(queue: &mut Queue) -> Vec<(Vec<u8>, Metadata)> {
        let mut found = Vec::new();
        while queue.wait(Duration::from_millis(300)).expect("it is there") {
            for frame in &queue.receive(512) {
                let left = Metadata::before(frame.metadata()).expect("metadata");
                found.push((frame.data().to_vec(), left));
            }
        }
        found
    }

    #[test]
    fn frames_records_and_the_walk_say_the_same_through_the_kernel() {
        let name = "frames_records_and_the_walk_say_the_same_through_the_kernel";
        let Some(_guard) = alone(name) else { return };
        let mut runner = TestRunner::deterministic();
        let strategy = (shape(), prop::collection::vec(damage(), 0..3), 0usize..8);
        let frames: Vec<Vec<u8>> = (0..6000)
            .map(|number| {
                let tree = strategy.new_tree(&mut runner).expect("a frame");
                let (shape, damage, long) = tree.current();
                let mut frame = on_ethernet(shape, &damage);
                // One in eight with something behind the packet.
                let longest = if long == 0 {
                    LONGEST_FRAME
                } else {
                    frame.len()
                };
                let length = longest.clamp(SHORTEST_FRAME, LONGEST_FRAME);
                frame.resize(length, number as u8);
                frame
            })
            .collect();
        let expected = frames
            .iter()
            .filter_map(|frame| Some((frame, walked(frame)?)));
        let expected: Vec<_> = expected.collect();
        let world = world();

        let mut kernel = self::kernel(&world, Delivery::Frames);
        let mut queue = queue(&world, &mut kernel);
        send(&world, &frames);
        let found = received(&mut queue);
        assert_eq!(found.len(), expected.len());
        let mut last = 0;
        for ((data, left), (frame, walked)) in found.iter().zip(&expected) {
            assert!(data == *frame);
            assert_eq!(left.packet(&data[..]), Some(walked.packet), "{frame:02x?}");
            assert_eq!(*left, Metadata::new(walked, 0, left.time), "{frame:02x?}");
            assert!(left.time >= last && left.time > 0);
            last = left.time;
        }
        drop((queue, kernel));

        let mut kernel = self::kernel(&world, Delivery::Headers);
        let mut records = kernel.take_records().expect("records");
        send(&world, &frames);
        for (frame, walked) in &expected {
            let record = records.poll().expect("a record");
            assert_eq!(record.packet(), Some(walked.packet), "{frame:02x?}");
        }
        assert!(records.poll().is_none());
    }

    /// Their bytes are put together from several chunks, and what was left is before the first.
    #[test]
    fn frames_longer_than_a_chunk_carry_metadata_too() {
        let Some(_guard) = alone("frames_longer_than_a_chunk_carry_metadata_too") else {
            return;
        };
        let world = world();
        for (side, interface) in [
            (world.telescope(), world.interface()),
            (world.sender(), world.sender_interface()),
        ] {
            side.ip(&["link", "set", interface, "mtu", "9000"])
                .expect("an MTU");
        }
        let mut kernel = self::kernel(&world, Delivery::Frames);
        let mut queue = queue(&world, &mut kernel);
        let socket = &datagrams(&world, 1)[0];
        let lengths: Vec<usize> = (0..8972).step_by(97).chain([8972]).collect();
        for &length in &lengths {
            socket.send(&vec![length as u8; length]).expect("sent");
        }
        let found = received(&mut queue);
        assert_eq!(found.len(), lengths.len());
        for ((data, left), length) in found.iter().zip(lengths) {
            assert_eq!(data.len(), 42 + length);
            assert!(data[42..].iter().all(|&byte| byte == length as u8));
            let packet = left.packet(&data[..]).expect("a packet");
            assert_eq!(packet.bytes as usize, 28 + length);
            let walked = walked(data).expect("a packet");
            assert_eq!(*left, Metadata::new(&walked, 0, left.time));
        }
    }
}
