//! Capture files as a source: pcap and pcapng, gzip or not, recognised by content.

mod buffer;
mod input;
mod pcap;
mod pcapng;

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    vec,
};

use darknet_ebpf::Link;

use super::{Record, Source};
use crate::{Error, time::Nanoseconds};
use buffer::Buffer;
use input::Input;
use pcap::Pcap;
use pcapng::Pcapng;

/// Capture files, replayed one after the other as one stream.
///
/// pcap (micro- and nanoseconds, either byte order) and pcapng, each as it is or in gzip, told
/// apart by their content. `-` is standard input. Memory does not depend on their size.
#[derive(Debug)]
pub struct Captures {
    paths: vec::IntoIter<PathBuf>,
    current: Option<Capture>,
    damages: Vec<Damage>,
    /// Whether any capture had an interface that is read.
    readable: bool,
    /// The first capture that had none, and the link types that it has.
    unreadable: Option<(PathBuf, String)>,
    progress: Progress,
}

/// How far a replay is, for other threads to look at.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes of the files that have been read, before decompression.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes of the files together; `None` where one is a pipe.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

/// A capture that could not be read to its end. What came before was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it (after decompression) the record begins that could not be read.
    pub offset: u64,
    /// Packets of the file that were read.
    pub packets: u64,
    /// What is wrong, if the file does not just end too early.
    pub corrupt: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            offset,
            packets,
            corrupt,
        } = self;
        let path = path.display();
        match corrupt {
            None => write!(
                out,
                "{path}: cut short in the record at byte {offset}; {packets} packets read before it"
            ),
            Some(why) => write!(
                out,
                "{path}: corrupt at byte {offset}: {why}; {packets} packets read before it, the rest of the file left out"
            ),
        }
    }
}

/// A file that is being read.
#[derive(Debug)]
struct Capture {
    path: PathBuf,
    buffer: Buffer,
    format: Format,
    packets: u64,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// A packet record as a file has it; its bytes are in the buffer, before its start.
struct Found {
    time: Option<Nanoseconds>,
    link: Option<Link>,
    data: std::ops::Range<usize>,
}

/// Why a file yields no more packets.
#[derive(Debug)]
enum Stop {
    /// Its end, between two records.
    End,
    /// Its end, in the middle of a record.
    Cut,
    /// A record that cannot be, or bytes that could not be read.
    Corrupt(String),
}

impl Captures {
    /// The captures at `paths`, of which the plain files are opened once to see what they are.
    ///
    /// # Errors
    ///
    /// No path; a file that is missing, a directory, empty, or no capture; a pcap file whose
    /// link type is not read.
    pub fn open<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        if paths.is_empty() {
            return Err(Error::NoFiles);
        }
        let mut total = Some(0);
        for path in &paths {
            let size = input::size(path)?;
            if size.is_some() {
                Capture::open(path, &Arc::default())?;
            }
            total = total.zip(size).map(|(total, size)| total + size);
        }
        let read = Arc::default();
        Ok(Self::new(paths, None, Progress { read, total }))
    }

    /// One capture from any reader, called `name` in messages.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use darknet_core::{Captures, Telescope};
    ///
    /// // A pcap file of Ethernet frames, without any.
    /// let mut bytes = Vec::from(0xa1b2_c3d4u32.to_be_bytes());
    /// bytes.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    ///
    /// let mut captures = Captures::from_reader("empty", std::io::Cursor::new(bytes))?;
    /// let window = Telescope::new().run(&mut captures)?;
    /// assert_eq!(window.ledger.received, 0);
    /// # Ok::<(), darknet_core::Error>(())
    /// ```
    pub fn from_reader(
        name: impl Into<PathBuf>,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, Error> {
        let read = Arc::default();
        let capture = Capture::new(name.into(), Box::new(reader), &read)?;
        Ok(Self::new(
            Vec::new(),
            Some(capture),
            Progress { read, total: None },
        ))
    }

    fn new(paths: Vec<PathBuf>, current: Option<Capture>, progress: Progress) -> Self {
        Self {
            paths: paths.into_iter(),
            current,
            damages: Vec::new(),
            readable: false,
            unreadable: None,
            progress,
        }
    }

    /// What could not be read to its end, so far.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The first capture without an interface that is read, if there was one.
    pub fn unreadable(&self) -> Option<Error> {
        let (path, found) = self.unreadable.clone()?;
        Some(Error::NoReadableInterface { path, found })
    }

    /// How far the replay is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Leaves the current file.
    fn leave(&mut self, stop: Stop) {
        let Some(capture) = self.current.take() else {
            return;
        };
        let corrupt = match stop {
            Stop::End => None,
            Stop::Cut => Some(None),
            Stop::Corrupt(why) => Some(Some(why)),
        };
        match capture.format.unreadable() {
            None => self.readable = true,
            // A file that is corrupt before its first interface is corrupt.
            Some(_) if matches!(corrupt, Some(Some(_))) => self.readable = true,
            Some(found) => {
                self.unreadable.get_or_insert((capture.path.clone(), found));
            }
        }
        if let Some(corrupt) = corrupt {
            self.damages.push(Damage {
                path: capture.path,
                offset: capture.buffer.offset(),
                packets: capture.packets,
                corrupt,
            });
        }
    }
}

impl Source for Captures {
    #[inline]
    fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        let found = loop {
            let Some(capture) = &mut self.current else {
                match self.paths.next() {
                    Some(path) => {
                        self.current = Some(Capture::open(&path, &self.progress.read)?);
                        continue;
                    }
                    None => break None,
                }
            };
            match capture.format.next(&mut capture.buffer) {
                Ok(found) => {
                    capture.packets += 1;
                    break Some(found);
                }
                Err(stop) => self.leave(stop),
            }
        };
        match (found, &self.current) {
            (Some(Found { time, link, data }), Some(capture)) => Ok(Some(Record {
                time,
                link,
                data: capture.buffer.bytes(data),
            })),
            _ => match self.unreadable() {
                Some(error) if !self.readable => Err(error),
                _ => Ok(None),
            },
        }
    }

    #[inline]
    fn is_complete(&self) -> bool {
        self.unreadable.is_none() && self.damages.iter().all(|damage| damage.corrupt.is_none())
    }
}

impl Capture {
    fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Self, Error> {
        Self::new(path.to_owned(), input::open(path)?, read)
    }

    fn new(path: PathBuf, raw: Input, read: &Arc<AtomicU64>) -> Result<Self, Error> {
        let mut buffer = Buffer::new(input::decompress(&path, raw, read)?);
        let format = Format::recognise(&path, &mut buffer)?;
        Ok(Self {
            path,
            buffer,
            format,
            packets: 0,
        })
    }
}

impl Format {
    fn recognise(path: &Path, buffer: &mut Buffer) -> Result<Self, Error> {
        let fail = |found: String| Error::NotCapture {
            path: path.to_owned(),
            found,
        };
        // Longer than any header that is looked at; what there is, is enough to tell.
        if let Err(why) = buffer.fill(32) {
            return Err(fail(format!("it could not be read: {why}")));
        }
        let header = buffer.available();
        if Pcapng::begins(header) {
            return Ok(Self::Pcapng(Pcapng::default()));
        }
        if let Some(pcap) = Pcap::begin(header).map_err(fail)? {
            if let Err(number) = pcap.link() {
                return Err(Error::NoReadableInterface {
                    path: path.to_owned(),
                    found: format!("link type {number}"),
                });
            }
            buffer.consume(pcap::HEADER);
            return Ok(Self::Pcap(pcap));
        }
        Err(fail(input::describe(header).into()))
    }

    #[inline]
    fn next(&mut self, buffer: &mut Buffer) -> Result<Found, Stop> {
        match self {
            Self::Pcap(pcap) => pcap.next(buffer),
            Self::Pcapng(pcapng) => pcapng.next(buffer),
        }
    }

    /// What the interfaces are, if none of them is read.
    fn unreadable(&self) -> Option<String> {
        match self {
            Self::Pcap(_) => None,
            Self::Pcapng(pcapng) => pcapng.unreadable(),
        }
    }
}
