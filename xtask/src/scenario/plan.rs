use std::io::{self, BufWriter, Write};

use jiff::{SignedDuration, Timestamp};

use super::alias::AliasTable;
use super::check::Problem;
use super::config::{Link, Resolution, Scenario};
use super::flow::{FlowPlan, Ranks};
use super::frame::FrameBuffer;
use super::meaning::Meaning;
use super::random::{Draws, Field};
use super::tally::Tally;
use super::written::Written;

const SECOND: u64 = 1_000_000_000;

// The file format: draft-ietf-opsawg-pcap sections 4 and 5; link types: its registry.
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const SNAPSHOT_LENGTH: u32 = 65_535;
const LINK_TYPE_ETHERNET: u32 = 1;
const LINK_TYPE_RAW: u32 = 101;

/// Enough that the system calls of a long capture cost nothing.
const WRITE_BUFFER: usize = 1 << 20;

/// A scenario checked and compiled. It is never changed, so that threads can share it.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    count: u64,
    rate: u64,
    /// Nanoseconds since the Unix epoch.
    start: u64,
    link: Link,
    resolution: Resolution,
    size: usize,
    flows: Vec<FlowPlan>,
    segments: Vec<Segment>,
}

/// Packets from `first` on (to the next segment) with the same flows active.
#[derive(Debug, Clone)]
struct Segment {
    first: u64,
    flows: Vec<u32>,
    choice: AliasTable,
}

impl Plan {
    pub(super) fn new(scenario: &Scenario) -> Result<Self, Problem> {
        let Scenario {
            seed,
            count,
            rate,
            start,
            link,
            resolution,
            size,
            ref flows,
            ..
        } = *scenario;
        if count == 0 {
            return Err(Problem::new("count", "0 packets; write 1 or more"));
        }
        if !(1..=SECOND).contains(&rate) {
            let advice = format!("{rate} is not possible; write 1 to 10^9 packets per second");
            return Err(Problem::new("rate", advice));
        }
        let size = size.unwrap_or(match link {
            Link::Ethernet => 60,
            Link::Raw => 0,
        });
        if size > 1514 {
            let advice = format!("{size} bytes are no Ethernet frame; write 0 to 1514");
            return Err(Problem::new("size", advice));
        }
        if flows.is_empty() {
            let advice = "there is none; write at least one [[flow]]";
            return Err(Problem::new("flow", advice));
        }
        let start = check_start(start, (count - 1) / rate)?;
        let mut ranks = Ranks::new();
        let mut active = Vec::with_capacity(flows.len());
        let mut plans = Vec::with_capacity(flows.len());
        for (number, flow) in flows.iter().enumerate() {
            let in_flow = |problem: Problem| {
                let key = format!("flow[{number}] {:?}.{}", flow.name, problem.key);
                Problem::new(key, problem.advice)
            };
            plans.push(FlowPlan::new(flow, seed, link, &mut ranks).map_err(in_flow)?);
            active.push(interval(flow.from, flow.to, rate).map_err(in_flow)?);
        }
        let shares: Vec<u64> = flows.iter().map(|flow| flow.share).collect();
        Ok(Self {
            seed,
            count,
            rate,
            start,
            link,
            resolution,
            size: size.into(),
            flows: plans,
            segments: segments(&active, &shares, count)?,
        })
    }

    /// Packets of the capture.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Makes packet `index` in `frame` and says what is meant by it.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Plan::count`].
    pub fn packet(&self, index: u64, frame: &mut FrameBuffer) -> Meaning {
        assert!(index < self.count, "packet {index} of {}", self.count);
        let draws = Draws::new(self.seed, index);
        let segment = match &*self.segments {
            [only] => only,
            segments => &segments[segments.partition_point(|s| s.first <= index) - 1],
        };
        let flow = segment.flows[segment.choice.pick(draws.draw(Field::Flow)) as usize];
        let meaning = self.flows[flow as usize].packet(self.time(index), flow, draws, frame);
        frame.pad(self.size);
        meaning
    }

    /// Writes the capture.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    pub fn write_pcap(&self, writer: impl Write) -> io::Result<()> {
        self.write(writer, |_| ())
    }

    /// Writes the capture and adds up what was meant. `file` of the result is empty.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    pub fn write_pcap_with_truth(&self, writer: impl Write) -> io::Result<Written> {
        let mut tally = Tally::new();
        self.write(writer, |meaning| tally.add(meaning))?;
        Ok(tally.finish())
    }

    fn write(&self, writer: impl Write, mut each: impl FnMut(&Meaning)) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
        let (magic, unit) = match self.resolution {
            Resolution::Microseconds => (MAGIC_MICROSECONDS, 1000),
            Resolution::Nanoseconds => (MAGIC_NANOSECONDS, 1),
        };
        let link_type = match self.link {
            Link::Ethernet => LINK_TYPE_ETHERNET,
            Link::Raw => LINK_TYPE_RAW,
        };
        // Version 2.4, in the low half the major number.
        for word in [magic, 4 << 16 | 2, 0, 0, SNAPSHOT_LENGTH, link_type] {
            writer.write_all(&word.to_le_bytes())?;
        }
        let mut frame = FrameBuffer::new();
        for index in 0..self.count {
            let meaning = self.packet(index, &mut frame);
            let length = frame.len() as u32;
            let mut header = [0; 16];
            for (field, value) in header.as_chunks_mut::<4>().0.iter_mut().zip([
                (meaning.time / SECOND) as u32,
                (meaning.time % SECOND / unit) as u32,
                length,
                length,
            ]) {
                *field = value.to_le_bytes();
            }
            writer.write_all(&header)?;
            writer.write_all(frame.as_slice())?;
            each(&meaning);
        }
        writer.flush()
    }

    /// Nanoseconds since the Unix epoch, cut to the resolution.
    fn time(&self, index: u64) -> u64 {
        // `rate` is at most 10^9, so that the product stays below 10^18.
        let offset = index / self.rate * SECOND + index % self.rate * SECOND / self.rate;
        let time = self.start + offset;
        match self.resolution {
            Resolution::Microseconds => time - time % 1000,
            Resolution::Nanoseconds => time,
        }
    }
}

/// Nanoseconds since the Unix epoch, if the capture's last second fits into 32 bits.
fn check_start(start: Timestamp, seconds: u64) -> Result<u64, Problem> {
    let first = u64::try_from(start.as_nanosecond()).map_err(|_| {
        Problem::new(
            "start",
            format!("{start} is before 1970; write a later time"),
        )
    })?;
    // Plus one for the fractions of both.
    let last = (first / SECOND).saturating_add(seconds).saturating_add(1);
    if last > u32::MAX.into() {
        let advice = "the capture ends after 2106-02-07, where pcap's 32 bits of seconds end; \
                      write an earlier start, a smaller count or a higher rate";
        return Err(Problem::new("start", advice));
    }
    Ok(first)
}

/// The packets at offsets from `from` to before `to`.
fn interval(
    from: Option<SignedDuration>,
    to: Option<SignedDuration>,
    rate: u64,
) -> Result<(u64, u64), Problem> {
    let first_at = |key, offset: SignedDuration| {
        let nanoseconds = u128::try_from(offset.as_nanos())
            .map_err(|_| Problem::new(key, "negative; write an offset from start as \"2s\""))?;
        // The first index with index / rate >= offset.
        let index = nanoseconds
            .saturating_mul(rate.into())
            .div_ceil(SECOND.into());
        Ok(u64::try_from(index).unwrap_or(u64::MAX))
    };
    let first = from.map_or(Ok(0), |from| first_at("from", from))?;
    let end = to.map_or(Ok(u64::MAX), |to| first_at("to", to))?;
    if first >= end {
        let advice = "the flow ends before its first packet; write a later `to`";
        return Err(Problem::new("to", advice));
    }
    Ok((first, end))
}

/// Cuts the packets where flows start and end.
fn segments(active: &[(u64, u64)], shares: &[u64], count: u64) -> Result<Vec<Segment>, Problem> {
    let mut cuts: Vec<u64> = active
        .iter()
        .flat_map(|&(first, end)| [first, end])
        .chain([0])
        .filter(|&cut| cut < count)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let segment = |first: u64| {
        let flows: Vec<u32> = (0..)
            .zip(active)
            .filter(|(_, (start, end))| (start..end).contains(&&first))
            .map(|(flow, _)| flow)
            .collect();
        if flows.is_empty() {
            let advice = format!("none is active at packet {first}; let one have no from and to");
            return Err(Problem::new("flow", advice));
        }
        let weights: Vec<u64> = flows.iter().map(|&flow| shares[flow as usize]).collect();
        Ok(Segment {
            first,
            choice: AliasTable::new(&weights),
            flows,
        })
    };
    cuts.into_iter().map(segment).collect()
}
