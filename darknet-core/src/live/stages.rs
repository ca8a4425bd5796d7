//! What a worker does with a full ring of frames, stage by stage, without a kernel.

use std::sync::Arc;

use darknet_ebpf::{Class, Link, Metadata, Outer, abi::Walked, outer};

use super::{
    epochs::{BATCH, Epochs},
    inlet,
    pool::Pool,
};
use crate::{
    Telescope,
    aggregate::Survey,
    xsk::{
        Fragments,
        testing::{Played, played},
    },
};

const RING: u32 = 2048;
const CHUNK: u32 = 2048;
/// Where the kernel puts a packet in copy mode: behind `XDP_PACKET_HEADROOM` and room for metadata.
const HEADROOM: u64 = 256 + 24;

/// A queue that was filled by nobody but us, and the worker's tables.
pub struct Stages {
    queue: Played,
    frames: Vec<(Vec<u8>, Vec<u8>)>,
    next: usize,
    epochs: Epochs<Survey>,
}

impl Stages {
    /// A queue that gets these Ethernet frames in turn, with the program's metadata or without.
    ///
    /// # Panics
    ///
    /// If one of them is not a whole IP packet.
    pub fn new(frames: &[Vec<u8>], with_metadata: bool) -> Self {
        let with_metadata = |frame: &Vec<u8>| {
            let Outer::Ip(ip) = outer(&frame[..], Link::Ethernet) else {
                panic!("not IP");
            };
            let walked = Walked::of(&ip, &frame[..]);
            assert!(walked.packet.class != Class::Malformed, "whole headers");
            let metadata = match with_metadata {
                true => Metadata::new(&walked, 0, 0).to_bytes().to_vec(),
                false => Vec::new(),
            };
            (frame.clone(), metadata)
        };
        let telescope = Telescope::new();
        let pool = Arc::new(Pool::new(1, &telescope, Box::new(Telescope::survey)));
        Self {
            queue: played(RING, 2 * RING, CHUNK, Fragments::Assemble),
            frames: frames.iter().map(with_metadata).collect(),
            next: 0,
            epochs: Epochs::new(telescope.seed, pool),
        }
    }

    /// Plays the kernel, until the ring is full. Says how many frames that were.
    pub fn fill(&mut self) -> u64 {
        let mut filled = 0;
        loop {
            let (data, metadata) = &self.frames[self.next % self.frames.len()];
            if !self.queue.deliver(HEADROOM, metadata, data) {
                return filled;
            }
            self.next += 1;
            filled += 1;
        }
    }

    /// Takes the frames and gives them back.
    pub fn ring(&mut self) {
        loop {
            let batch = self.queue.receive(BATCH as u32);
            if batch.is_empty() {
                return;
            }
            for frame in &batch {
                std::hint::black_box(frame.data());
            }
        }
    }

    /// Takes the frames and says what each is.
    pub fn packets(&mut self) {
        loop {
            let batch = self.queue.receive(BATCH as u32);
            if batch.is_empty() {
                return;
            }
            for frame in &batch {
                std::hint::black_box(inlet::found(&frame));
            }
        }
    }

    /// All that a worker does.
    pub fn aggregates(&mut self) {
        loop {
            let batch = self.queue.receive(BATCH as u32);
            if batch.is_empty() {
                return self.epochs.flush();
            }
            inlet::observe(&batch, &mut self.epochs, 0);
        }
    }
}
