use super::{
    batch::Batch,
    options::Fragments,
    ring::{Fill, Receive},
    umem::Umem,
};

/// Frames exchanged with the kernel: chunks go out by the FILL ring and come back, with packets in
/// them, by the RX ring. All that happens to a packet is here and in `batch.rs`; neither knows of
/// sockets.
///
/// **Invariant:** each chunk is in the FILL ring or with the kernel, in the RX ring, or spare. Only
/// those between the RX ring's two cursors are read, and only by a [`Batch`], which puts them into
/// the FILL ring or among the spares when it is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) receive: Receive,
    pub(super) fill: Fill,
    pub(super) umem: Umem,
    /// What becomes of packets of several frames.
    pub(super) fragments: Fragments,
    /// Packets of several frames, put together, one behind the other. Its capacity is its bound.
    pub(super) scratch: Vec<u8>,
    /// One for each packet of several frames in this batch. Its capacity is its bound too.
    pub(super) assembled: Vec<Assembled>,
    pub(super) counts: Counts,
}

/// What a queue has counted itself, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) truncated: u64,
    pub(super) bad_descriptors: u64,
}

/// A packet of several frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assembled {
    /// Its bytes in the scratch buffer; `None` if one of its descriptors is bad.
    pub(super) length: Option<usize>,
    pub(super) truncated: bool,
}

/// What the scratch buffer holds: three of the longest packets at least, which are of 18 frames
/// (`MAX_SKB_FRAGS` and the first one, `include/linux/skbuff.h`).
const SCRATCH: usize = 256 << 10;

impl Exchange {
    /// Puts together rings and a umem, and fills the FILL ring: before the socket is bound, as ice
    /// and i40e leak the entries that come later.
    pub(super) fn new(receive: Receive, fill: Fill, umem: Umem, fragments: Fragments) -> Self {
        let (scratch, packets) = match fragments {
            Fragments::Assemble => (SCRATCH, receive.ring().size() as usize / 2 + 1),
            Fragments::Truncate | Fragments::Refuse => (0, 0),
        };
        let mut exchange = Self {
            receive,
            fill,
            umem,
            fragments,
            scratch: Vec::with_capacity(scratch),
            assembled: Vec::with_capacity(packets),
            counts: Counts::default(),
        };
        exchange.refill();
        exchange
    }

    /// Lets the kernel have spare chunks, as many as there is room for.
    #[inline]
    pub(super) fn refill(&mut self) {
        let spares = self.umem.spares();
        if spares == 0 {
            return;
        }
        let count = self.fill.room(spares).min(spares);
        if count > 0 {
            let mut writer = self.fill.writer();
            for chunk in self.umem.take_spares(count) {
                writer.push(chunk);
            }
            self.fill.publish();
        }
    }

    /// The next packets, of `most` descriptors or fewer; more only where the first packet alone has
    /// more.
    #[inline]
    pub(super) fn receive(&mut self, most: u32) -> Batch<'_> {
        let mut count = self.receive.available(most).min(most);
        // Packets of several frames come only where they were asked for.
        if self.fragments != Fragments::Refuse && count > 0 {
            count = self.whole(count);
            if self.fragments == Fragments::Assemble {
                count = self.assemble(count);
            }
        }
        Batch::new(self, count)
    }

    /// So many descriptors, or as many fewer as make whole packets; if the first packet has more,
    /// all of it. None if the kernel has not handed over the end of that yet.
    fn whole(&mut self, count: u32) -> u32 {
        let descriptors = self.receive.descriptors();
        for whole in (1..=count).rev() {
            if !descriptors.is_continued(whole - 1) {
                return whole;
            }
        }
        let size = self.receive.ring().size();
        let available = self.receive.available(size);
        let descriptors = self.receive.descriptors();
        for whole in count + 1..=available {
            if !descriptors.is_continued(whole - 1) {
                return whole;
            }
        }
        // A ring full of one packet will never have its end.
        if available == size { size } else { 0 }
    }

    /// Puts together the packets of several frames among the next `count` descriptors, as far as
    /// they fit into the scratch buffer. Says how many descriptors that was.
    #[inline]
    fn assemble(&mut self, count: u32) -> u32 {
        // What a batch that was forgotten has left.
        self.scratch.clear();
        self.assembled.clear();
        let descriptors = self.receive.descriptors();
        if (0..count).any(|index| descriptors.is_continued(index)) {
            self.assemble_each(count)
        } else {
            count
        }
    }

    #[cold]
    fn assemble_each(&mut self, count: u32) -> u32 {
        let mut start = 0;
        for index in 0..count {
            // The last one is an end, or the ring is full of it.
            if self.receive.descriptors().is_continued(index) && index + 1 < count {
                continue;
            }
            let is_several = index > start || self.receive.descriptors().is_continued(index);
            if is_several && !self.assemble_one(start, index) {
                return start;
            }
            start = index + 1;
        }
        count
    }

    /// Puts together the packet from one descriptor to another. `false` if there is no room for it
    /// behind those that are there.
    fn assemble_one(&mut self, first: u32, last: u32) -> bool {
        let begin = self.scratch.len();
        if self.assembled.len() == self.assembled.capacity() {
            return false;
        }
        let mut assembled = Assembled {
            length: None,
            truncated: false,
        };
        for index in first..=last {
            let Some(frame) = super::batch::received(&self.receive, &self.umem, index) else {
                self.scratch.truncate(begin);
                self.assembled.push(assembled);
                return true;
            };
            let room = self.scratch.capacity() - self.scratch.len();
            if frame.data().len() > room && begin > 0 {
                self.scratch.truncate(begin);
                return false;
            }
            assembled.truncated |= frame.data().len() > room;
            let taken = frame.data().len().min(room);
            self.scratch.extend_from_slice(&frame.data()[..taken]);
        }
        assembled.length = Some(self.scratch.len() - begin);
        self.assembled.push(assembled);
        true
    }

    /// Takes the next `count` descriptors out of the RX ring, gives their chunks back to the
    /// kernel, and counts.
    #[inline]
    pub(super) fn give_back(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        let Self {
            receive,
            fill,
            umem,
            fragments,
            scratch: _,
            assembled,
            counts,
        } = self;
        let descriptors = receive.descriptors();
        fill.room(count);
        let mut writer = fill.writer();
        let several = *fragments != Fragments::Refuse;
        let (mut packets, mut bad, mut cut) = (0u32, 0u32, 0u32);
        // Of the packet that goes on: how many frames, and whether one is bad.
        let (mut frames, mut is_bad) = (0u32, false);
        for index in 0..count {
            let descriptor = descriptors.get(index);
            // One that points nowhere leaves its chunk unknown: it is lost. One that points over
            // the edge of a chunk says whose it is.
            if let Some(chunk) = umem.chunk_of(descriptor.address)
                && !writer.push(chunk)
            {
                umem.keep_spare(chunk);
            }
            if umem.place(descriptor).is_none() {
                bad += 1;
                is_bad = true;
            }
            frames += 1;
            if descriptor.continued && several && index + 1 < count {
                continue;
            }
            if !is_bad {
                packets += 1;
                cut += u32::from(frames > 1);
            }
            (frames, is_bad) = (0, false);
        }
        counts.received += u64::from(packets);
        counts.bad_descriptors += u64::from(bad);
        counts.truncated += match fragments {
            Fragments::Truncate => u64::from(cut),
            Fragments::Assemble => {
                let cut = assembled.iter().filter(|packet| packet.truncated);
                cut.count() as u64
            }
            Fragments::Refuse => 0,
        };
        assembled.clear();
        fill.publish();
        receive.release(count);
    }
}
