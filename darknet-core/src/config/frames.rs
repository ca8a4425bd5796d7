use serde::Deserialize;

use super::given::{FragmentsName, ZeroCopyName};
use crate::{
    Error,
    xsk::{BusyPoll, Fragments, Options, ZeroCopy},
};

/// How frames are taken from the queues of an interface, where frames are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[non_exhaustive]
pub struct FrameConfig {
    /// Entries of the two rings of each queue: as many frames may wait to be read. A power of two,
    /// from 2 to 65,536. Default: 8,192.
    pub ring: u32,
    /// Chunks of memory of each queue; at least `ring`. A driver that writes into them itself
    /// keeps as many as its own ring has. Default: as many as `ring`.
    pub frames: Option<u32>,
    /// Bytes of a chunk: 2,048 or 4,096, of which 280 stay free at most. A queue takes `frames`
    /// times as many. Default: 2,048 where frames are copied and fit, else 4,096.
    pub chunk: Option<u32>,
    /// Whether chunks are on huge pages of 2 MiB, where enough are reserved
    /// (`/proc/sys/vm/nr_hugepages`). Default: false.
    pub huge_pages: bool,
    /// Whether the driver writes frames into chunks itself, in a file `"prefer"`, `"never"` or
    /// `"require"`. Default: prefer.
    #[serde(with = "ZeroCopyName")]
    pub zero_copy: ZeroCopy,
    /// What becomes of frames longer than a chunk, in a file `"assemble"`, `"truncate"` or
    /// `"refuse"`. Default: assemble.
    #[serde(with = "FragmentsName")]
    pub fragments: Fragments,
    /// Whether queues are polled busily, with the times of [`BusyPoll`]. Default: false.
    pub busy_poll: bool,
}

impl Default for FrameConfig {
    fn default() -> Self {
        let Options {
            queue: _,
            frames: _,
            chunk,
            ring,
            huge_pages,
            zero_copy,
            fragments,
            busy_poll,
            patience: _,
        } = Options::default();
        Self {
            ring,
            frames: None,
            chunk,
            huge_pages,
            zero_copy,
            fragments,
            busy_poll: busy_poll.is_some(),
        }
    }
}

impl FrameConfig {
    /// The same for one queue, whichever.
    pub(super) fn options(&self) -> Options {
        let Self {
            ring,
            frames,
            chunk,
            huge_pages,
            zero_copy,
            fragments,
            busy_poll,
        } = *self;
        Options {
            frames: frames.unwrap_or(ring),
            chunk,
            ring,
            huge_pages,
            zero_copy,
            fragments,
            busy_poll: busy_poll.then(BusyPoll::default),
            ..Options::default()
        }
    }

    /// Refuses what no type does.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.options().check().map_err(|error| match error {
            Error::Setting { name, value, rule } => Error::Setting {
                name: match name {
                    "ring" => "frames.ring",
                    "chunk" => "frames.chunk",
                    _ => "frames.frames",
                },
                value,
                rule,
            },
            other => other,
        })
    }
}
