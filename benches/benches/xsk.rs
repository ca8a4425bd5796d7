//! What a packet costs the reader of an AF_XDP socket, without what the kernel does for it: a full
//! ring of the lab's link is drained, again and again. Needs root.
//!
//! And what it costs to keep one: copied, as `Frame::to_bytes` does, or in a chunk that is lent and
//! comes back when it is dropped, which was tried instead.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use darknet_benches::rounds::{Quartiles, Rounds};
use darknet_core::xsk::{Batch, Options, Queue};
use xtask::lab::{self, Frames, Limits, Preloaded, Program, Redirect, World};

const RING: u32 = 2048;
/// Packets of a batch.
const BATCH: u32 = 64;
/// Kept at a time, before the oldest is dropped.
const KEPT: usize = 256;

/// The same frame for ever.
struct Same(Vec<u8>);

impl Frames for Same {
    fn next(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }
}

/// Chunks that may be lent, and those that came back: a bit each.
struct Lender {
    memory: Vec<u8>,
    back: Vec<AtomicU64>,
}

/// One that is lent.
struct Lent {
    lender: Arc<Lender>,
    chunk: usize,
    length: usize,
}

const CHUNK: usize = 4096;

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.lender.memory[self.chunk * CHUNK + 256..][..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let word = &self.lender.back[self.chunk / 64];
        word.fetch_or(1 << (self.chunk % 64), Ordering::Release);
    }
}

impl Lender {
    fn new() -> Arc<Self> {
        let chunks = RING as usize;
        Arc::new(Self {
            memory: vec![1; chunks * CHUNK],
            back: (0..chunks / 64).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Takes back what came back.
    fn collect(&self, free: &mut Vec<usize>) {
        for (index, word) in self.back.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                free.push(index * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

/// Nanoseconds a packet, of draining a full ring.
fn drain(queue: &mut Queue, mut each: impl FnMut(&Batch<'_>)) -> f64 {
    assert_eq!(queue.pending(), RING, "the ring is full");
    let begun = Instant::now();
    for _ in 0..RING / BATCH {
        each(&queue.receive(BATCH));
    }
    let time = begun.elapsed();
    assert_eq!(queue.pending(), 0, "all was read");
    time.as_nanos() as f64 / f64::from(RING)
}

fn main() {
    let rounds = Rounds::of_process();
    let world = match World::new(1) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("AF_XDP sockets: NOT RUN, {error}");
            return;
        }
    };
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let options = Options {
        ring: RING,
        ..Options::default()
    };
    let queue = world
        .telescope()
        .enter(|| Queue::open(world.interface(), &options));
    let mut queue = queue.expect("the namespace").expect("a queue");
    redirect.set(0, &queue).expect("set");
    let limits = Limits {
        count: Some(u64::from(RING)),
        ..Limits::default()
    };
    println!("| frame | ring only, ns | first byte read | every byte read | copied | lent |");
    println!("|---|---|---|---|---|---|");
    for length in [64, 1500] {
        let mut frame = vec![2; 12];
        frame.extend([0x88, 0xb5]);
        frame.resize(length, 1);
        let frames = &mut Same(frame);
        let mut sender = Preloaded::new(&world, &lab::Options::default(), frames, RING as usize)
            .expect("a generator");
        let lender = Lender::new();
        let mut free: Vec<_> = (0..RING as usize).collect();
        let mut kept = std::collections::VecDeque::with_capacity(KEPT + 1);
        let mut keep = |bytes: Bytes| {
            kept.push_back(bytes);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        };
        let measured = rounds.measure(|| {
            let mut fill = || {
                let sent = sender.send(&limits).expect("sent");
                assert_eq!((sent.errors, sent.in_flight), (0, 0));
            };
            fill();
            let ring = drain(&mut queue, |batch| {
                black_box(batch.frames());
            });
            fill();
            let first = drain(&mut queue, |batch| {
                for frame in batch {
                    black_box(frame.data()[0]);
                }
            });
            fill();
            let every = drain(&mut queue, |batch| {
                for frame in batch {
                    let sum = frame.data().iter().fold(0u8, |sum, byte| sum ^ byte);
                    // All others are there an even number of times.
                    assert_eq!(sum, 0x88 ^ 0xb5);
                }
            });
            fill();
            let copied = drain(&mut queue, |batch| {
                for frame in batch {
                    keep(frame.to_bytes());
                }
            });
            fill();
            let lent = drain(&mut queue, |batch| {
                for frame in batch {
                    black_box(frame.data()[0]);
                    if free.is_empty() {
                        lender.collect(&mut free);
                    }
                    let chunk = free.pop().expect("less are kept than there are");
                    keep(Bytes::from_owner(Lent {
                        lender: Arc::clone(&lender),
                        chunk,
                        length,
                    }));
                }
            });
            [ring, first, every, copied, lent]
        });
        let columns = (0..5).map(|column| Quartiles::of(measured.iter().map(|row| row[column])));
        let columns: Vec<_> = columns.map(|figure| format!("{figure:.1}")).collect();
        println!("| {length} bytes | {} |", columns.join(" | "));
    }
    let statistics = queue.statistics().expect("statistics");
    assert_eq!((statistics.lost(), statistics.bad_descriptors), (0, 0));
}
