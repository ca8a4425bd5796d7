use std::{
    sync::mpsc::{Receiver, Sender as Channel, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    error::Error,
    frames::Frames,
    limits::{Limits, Pace},
    link::Passage,
    memory::Memory,
    sender::{Options, Piece, Sender},
    slots::Size,
    world::World,
};
use crate::scenario::Tally;

/// Bytes of the slots that one chunk of frames takes: enough that the system call per chunk costs
/// nothing, few enough that a chunk is still in the cache when it is sent.
const CHUNK: usize = 1 << 20;

/// Sends frames over the link of a world: while one thread hands a chunk of them to the driver,
/// the one that calls makes the next. Several may send at once if their CPUs' queues differ.
pub struct Generator<'a> {
    world: &'a World,
    sender: Sender,
    memory: [Memory; Size::ALL.len()],
}

/// What was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Frames that were made.
    pub asked: u64,
    /// Frames that the driver took: the telescope's interface received exactly these.
    pub sent: u64,
    /// Frames that the driver did not take. Which ones is not known: unless it is 0, `truth` is of
    /// frames that were made, not of those that were sent.
    pub errors: u64,
    /// Frames that were sent and had not been worked off by the telescope's end a second later;
    /// 0 unless it was stopped or changed its program meanwhile.
    pub in_flight: u64,
    /// From before the first chunk was handed over until after the last.
    pub duration: Duration,
    /// What was meant by the frames that were made, if the source of the frames says so.
    pub truth: Option<Tally>,
}

impl Sent {
    pub(super) fn new(asked: u64, duration: Duration, before: Passage, after: Passage) -> Self {
        let sent = after.taken - before.taken;
        Self {
            asked,
            sent,
            errors: asked.saturating_sub(sent),
            in_flight: sent.saturating_sub(after.arrived - before.arrived),
            duration,
            truth: None,
        }
    }

    /// Whether `truth` is that of the frames that were sent.
    pub const fn is_exact(&self) -> bool {
        self.errors == 0
    }

    /// Frames sent per second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.duration.as_secs_f64()
    }
}

/// Half of the slots of each size: one is filled while the other is sent.
struct Half<'a> {
    /// 0 or 1.
    index: usize,
    slots: [&'a mut [u8]; Size::ALL.len()],
}

impl<'a> Generator<'a> {
    /// Loads the generator program for a world.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it.
    pub fn new(world: &'a World, options: &Options) -> Result<Self, Error> {
        let slots = Size::ALL.map(|size| 2 * CHUNK / size.bytes());
        let (sender, memory) = Sender::new(world, options, slots)?;
        Ok(Self {
            world,
            sender,
            memory,
        })
    }

    /// Sends frames until they or the limits end, and waits until they have arrived.
    ///
    /// # Errors
    ///
    /// If a frame does not fit the link, or the kernel refuses to send.
    ///
    /// # Panics
    ///
    /// If `frames` does.
    pub fn send(&mut self, frames: &mut dyn Frames, limits: &Limits) -> Result<Sent, Error> {
        let world = self.world;
        let (sender, memory) = (&mut self.sender, &mut self.memory);
        let queue = world.queue_of(sender.cpu());
        let before = world.passage(queue)?;
        let pace = Pace::begin(limits)?;
        let (filled, to_send) = channel();
        let (emptied, to_fill) = channel();
        for half in halves(memory) {
            // The receiver is here.
            let _ = emptied.send(half);
        }
        let (filling, sending) = thread::scope(|scope| {
            let pace = &pace;
            let sending = scope.spawn(move || send(sender, world, pace, &to_send, &emptied));
            let filling = fill(frames, pace, &to_fill, &filled);
            drop(filled);
            let sending = sending.join();
            (
                filling,
                sending.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        let (made, duration) = sending?;
        filling?;
        let after = world.settle(queue, before)?;
        let mut sent = Sent::new(made, duration, before, after);
        sent.truth = frames.truth();
        Ok(sent)
    }
}

fn halves(memory: &mut [Memory; Size::ALL.len()]) -> [Half<'_>; 2] {
    let [small, medium, large] = memory;
    let (small_0, small_1) = small.bytes().split_at_mut(CHUNK);
    let (medium_0, medium_1) = medium.bytes().split_at_mut(CHUNK);
    let (large_0, large_1) = large.bytes().split_at_mut(CHUNK);
    [[small_0, medium_0, large_0], [small_1, medium_1, large_1]]
        .into_iter()
        .enumerate()
        .map(|(index, slots)| Half { index, slots })
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| unreachable!("two"))
}

type Filled<'a> = (Piece, Half<'a>);

/// Makes frames until they or the limits end, or the sender does.
fn fill<'a>(
    frames: &mut dyn Frames,
    pace: &Pace<'_>,
    to_fill: &Receiver<Half<'a>>,
    filled: &Channel<Filled<'a>>,
) -> Result<(), Error> {
    let mut made = 0;
    let mut size = Size::Small;
    // A frame that did not fit into the slots of the last chunk.
    let mut left_over: Vec<u8> = Vec::new();
    for mut half in to_fill {
        let most = pace.chunk(made, (CHUNK / size.bytes()) as u64);
        // What was asked for is sent.
        let most = most.max(u64::from(!left_over.is_empty()));
        let slots = &mut half.slots[size as usize];
        let mut count = 0;
        if !left_over.is_empty() {
            size.write(slots, 0, &left_over);
            left_over.clear();
            count = 1;
        }
        let mut next_size = size;
        while (count as u64) < most {
            let Some(frame) = frames.next() else { break };
            let fits = Size::of(frame.len()).ok_or(Error::Frame {
                index: made + count as u64,
                length: frame.len(),
            })?;
            if fits > size {
                next_size = fits;
                left_over.extend_from_slice(frame);
                break;
            }
            size.write(slots, count, frame);
            count += 1;
        }
        if count == 0 && left_over.is_empty() {
            break;
        }
        let piece = Piece {
            size,
            first: half.index * CHUNK / size.bytes(),
            frames: count as u32,
        };
        made += count as u64;
        size = next_size;
        if filled.send((piece, half)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Sends what is filled; gives the number of frames and the time they took.
fn send<'a>(
    sender: &mut Sender,
    world: &World,
    pace: &Pace<'_>,
    to_send: &Receiver<Filled<'a>>,
    emptied: &Channel<Half<'a>>,
) -> Result<(u64, Duration), Error> {
    sender.take_thread(world)?;
    let mut made = 0;
    let mut begin = None;
    for (piece, half) in to_send {
        let _: &mut Instant = begin.get_or_insert_with(Instant::now);
        pace.wait(made);
        sender.send(piece)?;
        made += u64::from(piece.frames);
        // It may have made its last frame.
        let _ = emptied.send(half);
    }
    Ok((made, begin.map_or(Duration::ZERO, |begin| begin.elapsed())))
}
