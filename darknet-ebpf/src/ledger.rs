/// Where a packet ends. Every packet that the telescope received is in exactly one cell.
///
/// ```text
/// received = Passed + Filtered + counted
/// counted  = Delivered + SampledOut + NotRequested + every lost stage
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cell {
    /// Not for a dark prefix, or not IP.
    Passed = 0,
    /// From a source on the filter list.
    Filtered = 1,
    /// Counted and handed to a worker.
    Delivered = 2,
    /// Counted, and left out of delivery by sampling.
    SampledOut = 3,
    /// Counted, and nobody asked for packets.
    NotRequested = 4,
    /// Lost: the AF_XDP receive ring was full.
    RingFull = 5,
    /// Lost: the AF_XDP fill ring was empty.
    FillEmpty = 6,
    /// Lost: no AF_XDP socket on the queue.
    NoSocket = 7,
    /// Lost: the redirect failed.
    RedirectFailed = 8,
    /// Lost: the ring of header records was full.
    HeadersFull = 9,
    /// Lost: the frame did not fit.
    Truncated = 10,
    /// Lost: the worker died or was stopped with records unread.
    Abandoned = 11,
    /// Lost: the kernel described a frame that is not where frames can be.
    BadDescriptor = 12,
}

impl Cell {
    /// Every cell, in the order of the numbers.
    pub const ALL: [Self; 13] = [
        Self::Passed,
        Self::Filtered,
        Self::Delivered,
        Self::SampledOut,
        Self::NotRequested,
        Self::RingFull,
        Self::FillEmpty,
        Self::NoSocket,
        Self::RedirectFailed,
        Self::HeadersFull,
        Self::Truncated,
        Self::Abandoned,
        Self::BadDescriptor,
    ];

    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Filtered => "filtered",
            Self::Delivered => "delivered",
            Self::SampledOut => "sampled_out",
            Self::NotRequested => "not_requested",
            Self::RingFull => "ring_full",
            Self::FillEmpty => "fill_empty",
            Self::NoSocket => "no_socket",
            Self::RedirectFailed => "redirect_failed",
            Self::HeadersFull => "headers_full",
            Self::Truncated => "truncated",
            Self::Abandoned => "abandoned",
            Self::BadDescriptor => "bad_descriptor",
        }
    }

    /// Whether packets in this cell were counted: all but those that passed or were filtered.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Passed | Self::Filtered)
    }

    /// Whether packets in this cell were counted but lost on their way to a worker.
    pub const fn is_lost(self) -> bool {
        match self {
            Self::Passed
            | Self::Filtered
            | Self::Delivered
            | Self::SampledOut
            | Self::NotRequested => false,
            Self::RingFull
            | Self::FillEmpty
            | Self::NoSocket
            | Self::RedirectFailed
            | Self::HeadersFull
            | Self::Truncated
            | Self::Abandoned
            | Self::BadDescriptor => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_that_of_the_numbers() {
        for (number, cell) in Cell::ALL.into_iter().enumerate() {
            assert_eq!(cell as usize, number, "{}", cell.name());
        }
    }
}
