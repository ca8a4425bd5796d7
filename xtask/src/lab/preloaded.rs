use std::{thread, time::Instant};

use super::{
    error::Error,
    frames::Frames,
    generator::Sent,
    limits::{Limits, Pace},
    memory::Memory,
    sender::{Options, Piece, Sender},
    slots::Size,
    world::World,
};

/// Frames that are sent in one system call.
const CHUNK: usize = 1 << 14;

/// What a page of the array has to be a multiple of.
const PAGE: usize = 4096;

/// Frames made before the first is sent, then sent again and again, so that making them costs
/// nothing while something is measured, and no CPU but the sender's is busy.
pub struct Preloaded<'a> {
    world: &'a World,
    sender: Sender,
    /// The slots; the kernel keeps them too.
    _memory: [Memory; Size::ALL.len()],
    size: Size,
    frames: usize,
    /// The slot to begin with.
    next: usize,
}

impl<'a> Preloaded<'a> {
    /// Makes the first `count` frames, or as many as there are. Each takes 64 bytes of the
    /// kernel's memory, or 256 or 2,048 if the longest is above 60 or 252 bytes.
    ///
    /// # Errors
    ///
    /// If there is none, or one does not fit the link; if the kernel refuses the program.
    pub fn new(
        world: &'a World,
        options: &Options,
        frames: &mut dyn Frames,
        count: usize,
    ) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        let mut size = Size::Small;
        while ends.len() < count
            && let Some(frame) = frames.next()
        {
            let fits = Size::of(frame.len()).ok_or(Error::Frame {
                index: ends.len() as u64,
                length: frame.len(),
            })?;
            size = size.max(fits);
            bytes.extend_from_slice(frame);
            ends.push(bytes.len());
        }
        if ends.is_empty() {
            return Err(Error::NoFrames);
        }
        let slots = Size::ALL.map(|other| match other {
            _ if other == size => ends.len().next_multiple_of(PAGE / size.bytes()),
            other => PAGE / other.bytes(),
        });
        let (sender, mut memory) = Sender::new(world, options, slots)?;
        let mut start = 0;
        for (index, &end) in ends.iter().enumerate() {
            size.write(memory[size as usize].bytes(), index, &bytes[start..end]);
            start = end;
        }
        Ok(Self {
            world,
            sender,
            _memory: memory,
            size,
            frames: ends.len(),
            next: 0,
        })
    }

    /// How many different frames there are.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// Sends them in order, from where the last call ended, until the limits end it, and waits
    /// until they have arrived. Without a limit it never returns.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to send.
    pub fn send(&mut self, limits: &Limits) -> Result<Sent, Error> {
        let queue = self.world.queue_of(self.sender.cpu());
        let before = self.world.passage(queue)?;
        let pace = Pace::begin(limits)?;
        let (made, duration) = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                self.sender.take_thread(self.world)?;
                let begin = Instant::now();
                let mut made = 0;
                loop {
                    let most = CHUNK.min(self.frames - self.next) as u64;
                    let frames = pace.chunk(made, most) as u32;
                    if frames == 0 {
                        return Ok((made, begin.elapsed()));
                    }
                    pace.wait(made);
                    self.sender.send(Piece {
                        size: self.size,
                        first: self.next,
                        frames,
                    })?;
                    made += u64::from(frames);
                    self.next = (self.next + frames as usize) % self.frames;
                }
            });
            let sending = sending.join();
            sending.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let after = self.world.settle(queue, before)?;
        Ok(Sent::new(made, duration, before, after))
    }
}
