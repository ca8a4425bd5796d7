use crate::scenario::{FrameBuffer, Meaning, Plan, Tally};

/// Anything that has frames to send.
pub trait Frames {
    /// The next frame, from the destination address of Ethernet on, without the checksum at the
    /// end; `None` when there is no more. Every frame that was asked for is sent.
    fn next(&mut self) -> Option<&[u8]>;

    /// Takes the tally of what was meant by the frames since the last call, if that is known.
    fn truth(&mut self) -> Option<Tally> {
        None
    }
}

/// The frames of a scenario, in order.
#[derive(Debug)]
pub struct PlanFrames<'a> {
    plan: &'a Plan,
    /// Frames made so far.
    made: u64,
    repeated: bool,
    buffer: FrameBuffer,
    truth: Truth,
}

/// Who wants to know what was meant.
#[derive(Debug)]
enum Truth {
    Nobody,
    AtOnce(Box<Tally>),
    /// Of the frames from this one on.
    Later(u64),
}

impl<'a> PlanFrames<'a> {
    /// All frames of the plan, once.
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            made: 0,
            repeated: false,
            buffer: FrameBuffer::new(),
            truth: Truth::Nobody,
        }
    }

    /// Starts again after the last one, without end.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    /// Adds up what was meant by each frame, as it is made. Costs more than making the frame, and
    /// holds back a sender of a few million a second.
    #[must_use]
    pub fn with_truth(mut self) -> Self {
        self.truth = Truth::AtOnce(Box::default());
        self
    }

    /// Adds up what was meant by each frame when all are sent, by making them a second time: half
    /// a second per million or so, and no core that is busy while something is measured.
    #[must_use]
    pub fn with_later_truth(mut self) -> Self {
        self.truth = Truth::Later(self.made);
        self
    }

    fn packet(&mut self, number: u64) -> Meaning {
        let index = number % self.plan.count();
        self.plan.packet(index, &mut self.buffer)
    }
}

impl Frames for PlanFrames<'_> {
    fn next(&mut self) -> Option<&[u8]> {
        if self.made >= self.plan.count() && !self.repeated {
            return None;
        }
        let meaning = self.packet(self.made);
        self.made += 1;
        if let Truth::AtOnce(tally) = &mut self.truth {
            tally.add(&meaning);
        }
        Some(self.buffer.as_slice())
    }

    fn truth(&mut self) -> Option<Tally> {
        match &mut self.truth {
            Truth::Nobody => None,
            Truth::AtOnce(tally) => Some(*std::mem::take(tally)),
            Truth::Later(first) => {
                let numbers = *first..self.made;
                *first = self.made;
                let mut tally = Tally::new();
                numbers.for_each(|number| tally.add(&self.packet(number)));
                Some(tally)
            }
        }
    }
}
