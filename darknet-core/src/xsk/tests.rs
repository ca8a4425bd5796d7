//! The data path against a model, with a kernel that is played.

use std::{collections::VecDeque, thread};

use proptest::prelude::*;

use super::{
    exchange::Exchange,
    options::Fragments,
    played::{put, room, take},
    ring::{Descriptor, Fill, Receive},
    testing::{exchange, shared, write},
};

const CHUNK: u32 = 2048;
const HEADROOM: u64 = 256;

/// What a packet should come out as.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    data: Vec<u8>,
    metadata: Vec<u8>,
    truncated: bool,
}

/// A kernel, and what is to come of what it did.
struct Model {
    exchange: Exchange,
    fragments: Fragments,
    frames: u32,
    /// Chunks that the kernel has taken.
    taken: Vec<u64>,
    /// By packet: how many descriptors, and what should come; `None` for a bad one.
    waiting: VecDeque<(u32, Option<Expected>)>,
    /// Chunks whose addresses were lost in descriptors that point nowhere.
    lost: u32,
    received: u64,
    bad: u64,
    truncated: u64,
    number: u8,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// The kernel takes so many chunks, if there are as many.
    Take(u8),
    /// The kernel hands over a packet whose frames have these lengths, this far behind their chunks'
    /// beginnings.
    Packet(Vec<u16>, u16),
    /// The kernel hands over nonsense: an address far away, or a length over the edge.
    Nonsense { far: bool },
    /// A batch is taken, looked at, and given back.
    Receive(u8),
    /// A batch is taken, and given back without a look.
    Ignore(u8),
    /// A batch is taken and forgotten: as if it never was.
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let lengths = prop_oneof![
        5 => prop::collection::vec(0..1024u16, 1),
        1 => prop::collection::vec(0..1024u16, 2..5),
    ];
    prop_oneof![
        4 => (1..20u8).prop_map(Step::Take),
        8 => (lengths, 0..1024u16).prop_map(|(lengths, offset)| Step::Packet(lengths, offset)),
        1 => any::<bool>().prop_map(|far| Step::Nonsense { far }),
        4 => (0..20u8).prop_map(Step::Receive),
        1 => (0..20u8).prop_map(Step::Ignore),
        1 => (0..20u8).prop_map(Step::Forget),
    ]
}

impl Model {
    fn new(ring: u32, frames: u32, fragments: Fragments, cursors: [u32; 2]) -> Self {
        Self {
            exchange: exchange(ring, frames, CHUNK, fragments, cursors),
            fragments,
            frames,
            taken: Vec::new(),
            waiting: VecDeque::new(),
            lost: 0,
            received: 0,
            bad: 0,
            truncated: 0,
            number: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Take(count) => {
                for _ in 0..*count {
                    self.taken.extend(take(self.exchange.fill.ring()));
                }
            }
            Step::Packet(lengths, offset) => self.packet(lengths, *offset),
            Step::Nonsense { far } => self.nonsense(*far),
            Step::Receive(most) => self.receive(*most, true),
            Step::Ignore(most) => self.receive(*most, false),
            Step::Forget(most) => {
                self.exchange.refill();
                let before = self.exchange.receive.consumed();
                std::mem::forget(self.exchange.receive(u32::from(*most)));
                assert_eq!(self.exchange.receive.consumed(), before);
            }
        }
        self.check();
    }

    fn packet(&mut self, lengths: &[u16], offset: u16) {
        let lengths = match self.fragments {
            Fragments::Refuse => &lengths[..1],
            Fragments::Assemble | Fragments::Truncate => lengths,
        };
        let frames = lengths.len();
        if self.taken.len() < frames || (room(self.exchange.receive.ring()) as usize) < frames {
            return;
        }
        let mut whole = Expected {
            data: Vec::new(),
            metadata: Vec::new(),
            truncated: false,
        };
        for (index, &length) in lengths.iter().enumerate() {
            let chunk = self.taken.pop().expect("enough of them");
            let before = usize::from(offset).min(32);
            // Each has other bytes, metadata included.
            let bytes: Vec<u8> = (0..before + usize::from(length))
                .map(|at| {
                    self.number = self.number.wrapping_mul(5).wrapping_add(at as u8 | 1);
                    self.number
                })
                .collect();
            let (metadata, data) = bytes.split_at(before);
            let address = chunk + u64::from(offset);
            write(&self.exchange, address - before as u64, &bytes);
            if index == 0 {
                whole.metadata = metadata.to_vec();
                whole.data = data.to_vec();
            } else if self.fragments == Fragments::Assemble {
                whole.data.extend_from_slice(data);
            } else {
                whole.truncated = true;
            }
            let descriptor = Descriptor {
                address,
                length: u32::from(length),
                continued: index + 1 < frames,
            };
            assert!(put(self.exchange.receive.ring(), descriptor));
        }
        self.waiting.push_back((frames as u32, Some(whole)));
    }

    fn nonsense(&mut self, far: bool) {
        if room(self.exchange.receive.ring()) == 0 {
            return;
        }
        let Some(chunk) = self.taken.pop() else {
            return;
        };
        let (address, length) = match far {
            true => (u64::from(self.frames) * u64::from(CHUNK) + chunk, 60),
            false => (chunk + HEADROOM, CHUNK - HEADROOM as u32 + 1),
        };
        let descriptor = Descriptor {
            address,
            length,
            continued: false,
        };
        assert!(put(self.exchange.receive.ring(), descriptor));
        self.lost += u32::from(far);
        self.waiting.push_back((1, None));
    }

    fn receive(&mut self, most: u8, looks: bool) {
        let most = u32::from(most);
        self.exchange.refill();
        let batch = self.exchange.receive(most);
        // As many whole packets as fit, and one at least.
        let (mut count, mut packets) = (0, 0);
        for (frames, _) in &self.waiting {
            if most == 0 || (packets > 0 && count + frames > most) {
                break;
            }
            count += frames;
            packets += 1;
        }
        assert_eq!(batch.frames(), count);
        assert_eq!(batch.is_empty(), count == 0);
        let expected: Vec<_> = self.waiting.drain(..packets).collect();
        if looks {
            // All at the same time.
            let found: Vec<_> = batch.iter().collect();
            let found: Vec<_> = found
                .iter()
                .map(|frame| Expected {
                    data: frame.to_bytes().to_vec(),
                    metadata: frame.metadata().to_vec(),
                    truncated: frame.truncated(),
                })
                .collect();
            let good: Vec<_> = expected
                .iter()
                .filter_map(|(_, packet)| packet.clone())
                .collect();
            assert_eq!(found, good);
        }
        drop(batch);
        for (_, packet) in expected {
            match packet {
                None => self.bad += 1,
                Some(packet) => {
                    self.received += 1;
                    self.truncated += u64::from(packet.truncated);
                }
            }
        }
    }

    /// No chunk is lost or there twice, and the counts are right.
    fn check(&self) {
        let waiting: u32 = self.waiting.iter().map(|(frames, _)| frames).sum();
        // Nonsense that waits has a chunk that will come back, unless it is far away.
        let held = self.exchange.fill.held() + self.exchange.umem.spares();
        let nowhere: u32 = self.lost;
        let far_waiting = self.frames - held - self.taken.len() as u32 - waiting;
        assert!(
            far_waiting <= nowhere,
            "chunks are only lost where the kernel lost them"
        );
        let counts = self.exchange.counts;
        assert_eq!(counts.received, self.received);
        assert_eq!(counts.bad_descriptors, self.bad);
        assert_eq!(counts.truncated, self.truncated);
    }

    /// Everything is received and taken: each chunk is there once.
    fn finish(mut self) {
        while !self.waiting.is_empty() {
            self.receive(7, true);
        }
        let mut all = std::mem::take(&mut self.taken);
        self.exchange.refill();
        while let Some(chunk) = take(self.exchange.fill.ring()) {
            all.push(chunk);
            self.exchange.refill();
        }
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "each once");
        assert_eq!(count as u32, self.frames - self.lost);
        assert!(
            all.iter()
                .all(|chunk| chunk.is_multiple_of(u64::from(CHUNK)))
        );
    }
}

/// Near zero, near the wrap, or anywhere.
fn cursor() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), u32::MAX - 40..=u32::MAX, any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_packet_comes_out_as_it_was_put_in_and_every_chunk_goes_back(
        ring in prop_oneof![Just(2u32), Just(8), Just(32)],
        more in 0..40u32,
        fragments in prop_oneof![
            Just(Fragments::Assemble), Just(Fragments::Truncate), Just(Fragments::Refuse)
        ],
        cursors in [cursor(), cursor()],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(ring, ring + more, fragments, cursors);
        for step in &steps {
            model.step(step);
        }
        model.finish();
    }
}

#[test]
fn the_fill_ring_is_full_before_anything_is_received() {
    let exchange = exchange(8, 20, CHUNK, Fragments::Refuse, [u32::MAX - 3; 2]);
    assert_eq!((exchange.fill.held(), exchange.umem.spares()), (8, 12));
}

#[test]
fn a_packet_without_its_end_is_not_there_yet() {
    let mut exchange = exchange(8, 8, CHUNK, Fragments::Assemble, [7; 2]);
    let hand_over = |exchange: &Exchange, continued| {
        let descriptor = Descriptor {
            address: take(exchange.fill.ring()).expect("a chunk") + HEADROOM,
            length: 100,
            continued,
        };
        assert!(put(exchange.receive.ring(), descriptor));
    };
    hand_over(&exchange, false);
    hand_over(&exchange, true);
    let lengths = |exchange: &mut Exchange, most| -> Vec<usize> {
        exchange
            .receive(most)
            .iter()
            .map(|frame| frame.data().len())
            .collect()
    };
    assert_eq!(lengths(&mut exchange, 8), [100], "what is whole");
    assert!(lengths(&mut exchange, 8).is_empty(), "half a packet");
    hand_over(&exchange, false);
    assert_eq!(
        lengths(&mut exchange, 1),
        [200],
        "all of it, though it has more than asked for"
    );
}

#[test]
fn a_ring_full_of_one_packet_does_not_stop_everything() {
    let mut exchange = exchange(4, 4, CHUNK, Fragments::Assemble, [u32::MAX; 2]);
    for _ in 0..4 {
        let descriptor = Descriptor {
            address: take(exchange.fill.ring()).expect("a chunk"),
            length: 10,
            continued: true,
        };
        assert!(put(exchange.receive.ring(), descriptor));
    }
    let batch = exchange.receive(1);
    let lengths: Vec<_> = batch.iter().map(|frame| frame.data().len()).collect();
    assert_eq!(lengths, [40]);
    drop(batch);
    assert_eq!(exchange.fill.held(), 4);
}

#[test]
fn a_packet_with_a_bad_part_is_left_out_whole() {
    for fragments in [Fragments::Assemble, Fragments::Truncate] {
        let mut exchange = exchange(8, 8, CHUNK, fragments, [0; 2]);
        for (bad, continued) in [
            (false, true),
            (true, false),
            (true, true),
            (false, false),
            (false, false),
        ] {
            let chunk = take(exchange.fill.ring()).expect("a chunk");
            let descriptor = Descriptor {
                address: if bad { u64::MAX - 7 } else { chunk },
                length: 10,
                continued,
            };
            assert!(put(exchange.receive.ring(), descriptor));
        }
        let batch = exchange.receive(8);
        let lengths: Vec<_> = batch.iter().map(|frame| frame.data().len()).collect();
        assert_eq!(lengths, [10], "{fragments:?}");
        drop(batch);
        assert_eq!(
            (exchange.counts.received, exchange.counts.bad_descriptors),
            (1, 2)
        );
    }
}

/// More than the scratch buffer holds at a time comes in several batches, and nothing is cut.
#[test]
fn packets_that_do_not_fit_into_the_scratch_buffer_come_next_time() {
    let ring = 512;
    let mut exchange = exchange(ring, ring, CHUNK, Fragments::Assemble, [0; 2]);
    for index in 0..ring {
        let descriptor = Descriptor {
            address: take(exchange.fill.ring()).expect("a chunk"),
            length: CHUNK,
            // Packets of 32 KiB.
            continued: index % 16 != 15,
        };
        assert!(put(exchange.receive.ring(), descriptor));
    }
    let (mut packets, mut batches) = (0, 0);
    loop {
        let batch = exchange.receive(ring);
        if batch.is_empty() {
            break;
        }
        for frame in &batch {
            assert_eq!((frame.data().len(), frame.truncated()), (32 << 10, false));
            packets += 1;
        }
        batches += 1;
    }
    assert_eq!((packets, batches), (32, 4));
    assert_eq!(exchange.counts.truncated, 0);
}

#[test]
fn one_packet_beyond_the_scratch_buffer_is_cut_and_says_so() {
    let ring = 256;
    let mut exchange = exchange(ring, ring, CHUNK, Fragments::Assemble, [0; 2]);
    for index in 0..ring {
        let descriptor = Descriptor {
            address: take(exchange.fill.ring()).expect("a chunk"),
            length: CHUNK,
            continued: index + 1 < ring,
        };
        assert!(put(exchange.receive.ring(), descriptor));
    }
    let batch = exchange.receive(1);
    let found: Vec<_> = batch
        .iter()
        .map(|frame| (frame.data().len(), frame.truncated()))
        .collect();
    assert_eq!(found, [(256 << 10, true)]);
    drop(batch);
    assert_eq!(
        (exchange.counts.received, exchange.counts.truncated),
        (1, 1)
    );
}

/// A kernel on a thread of its own, over the same memory: whatever it hands over arrives, in order,
/// while both cursors wrap.
#[test]
#[cfg_attr(miri, ignore = "maps a file twice")]
fn two_threads_exchange_chunks_in_order() {
    const SIZE: u32 = 64;
    let packets: u32 = 200_000;
    let [ours, kernels] = shared(SIZE, Descriptor::WORDS, u32::MAX - 1000);
    let [our_fill, kernels_fill] = shared(SIZE, 1, u32::MAX - 900);
    let (mut receive, mut fill) = (Receive::new(ours), Fill::new(our_fill));
    for chunk in 0..SIZE {
        assert!(fill.writer().push(u64::from(chunk) * 4096));
    }
    assert!(!fill.writer().push(0), "it is full");
    fill.publish();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while number < packets {
                let Some(address) = take(&kernels_fill) else {
                    thread::yield_now();
                    continue;
                };
                let descriptor = Descriptor {
                    address,
                    length: number,
                    continued: number % 3 == 0,
                };
                while !put(&kernels, descriptor) {
                    thread::yield_now();
                }
                number += 1;
            }
        });
        let mut number = 0;
        let mut at = [0u64; SIZE as usize];
        while number < packets {
            let count = receive.available(16).min(16);
            if count == 0 {
                thread::yield_now();
            }
            assert!(fill.room(count) >= count, "what was taken out leaves room");
            for index in 0..count {
                let Descriptor {
                    address,
                    length,
                    continued,
                } = receive.descriptors().get(index);
                assert_eq!((length, continued), (number, number % 3 == 0));
                at[(address / 4096) as usize] += 1;
                assert!(fill.writer().push(address));
                number += 1;
            }
            fill.publish();
            receive.release(count);
        }
        assert!(at.iter().all(|&times| times > 0), "every chunk went round");
    });
}

#[test]
fn a_forgotten_batch_is_counted_once() {
    let ring = 256;
    let mut exchange = exchange(ring, ring, CHUNK, Fragments::Assemble, [0; 2]);
    for index in 0..ring {
        let descriptor = Descriptor {
            address: take(exchange.fill.ring()).expect("a chunk"),
            length: CHUNK,
            // A short packet, and one that is too long to be put together.
            continued: index > 0 && index + 1 < ring,
        };
        assert!(put(exchange.receive.ring(), descriptor));
    }
    std::mem::forget(exchange.receive(ring));
    assert_eq!(exchange.receive(1).iter().count(), 1);
    assert_eq!(exchange.receive(ring).iter().count(), 1);
    assert_eq!(
        (exchange.counts.received, exchange.counts.truncated),
        (2, 1)
    );
}

#[test]
fn the_flag_of_the_fill_ring_is_read() {
    let exchange = exchange(2, 2, CHUNK, Fragments::Refuse, [0; 2]);
    let ring = exchange.fill.ring();
    let flags = ring.memory.word(ring.flags);
    assert!(!exchange.fill.needs_wakeup());
    flags.store(
        libc::XDP_RING_NEED_WAKEUP,
        std::sync::atomic::Ordering::Relaxed,
    );
    assert!(exchange.fill.needs_wakeup());
}
