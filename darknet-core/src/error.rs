use std::{io, path::PathBuf};

use ipnet::IpNet;

use crate::ledger::Mismatch;

/// What can go wrong. Each message names the thing and the way out, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A directory was given where a capture belongs.
    #[error("{}: is a directory; name the captures in it, for example {}/*.pcap", path.display(), path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },

    /// A file begins with no magic number of a capture.
    #[error("{}: not a capture: {found}; pcap, pcapng and gzip of either are read", path.display())]
    NotCapture {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },

    /// A capture none of whose interfaces has a link type that is read.
    #[error(
        "{}: no readable interface: {found}; Ethernet, raw IP, loopback and Linux cooked captures are read",
        path.display()
    )]
    NoReadableInterface {
        /// The file.
        path: PathBuf,
        /// The link types that it has.
        found: String,
    },

    /// No file to replay.
    #[error("no capture to replay: name one or more files, or - for standard input")]
    NoFiles,

    /// A prefix that is not one.
    #[error("{text:?} is not a prefix; write an address and a length, as 203.0.113.0/24")]
    Prefix {
        /// What was given.
        text: String,
    },

    /// A prefix with bits set beyond its length.
    #[error("{prefix} has host bits set; write {}", prefix.trunc())]
    HostBits {
        /// What was given.
        prefix: IpNet,
    },

    /// A prefix that is both dark and excluded.
    #[error("{prefix} is both dark and excluded; drop one of the two")]
    Contradiction {
        /// The prefix.
        prefix: IpNet,
    },

    /// An excluded prefix that lies in no dark one, so that it excludes nothing.
    #[error(
        "{prefix} is excluded but lies in no dark prefix; drop it, or add the prefix that holds it"
    )]
    ExcludesNothing {
        /// The excluded prefix.
        prefix: IpNet,
    },

    /// A setting outside its range.
    #[error("{name} is {value}; it must be {rule}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value given.
        value: String,
        /// The rule that it broke.
        rule: &'static str,
    },

    /// A thread could not be started.
    #[error("a worker thread could not be started: {0}; try fewer workers")]
    Thread(io::Error),

    /// A window whose ledger does not add up: a bug in Darknet.
    #[error("the ledger does not add up: {0}; this is a bug in Darknet, please report it")]
    Ledger(#[from] Mismatch),
}
