use std::{
    fs::{self, File},
    io::{self, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;

use crate::Error;

/// The bytes of a capture, decompressed.
pub(super) type Input = Box<dyn Read + Send>;

/// RFC 1952 section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The size of a file; `None` if it is a pipe, a device or standard input.
///
/// # Errors
///
/// A file that cannot be looked at, a directory.
pub(super) fn size(path: &Path) -> Result<Option<u64>, Error> {
    if is_standard_input(path) {
        return Ok(None);
    }
    let fail = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(fail)?;
    if metadata.is_dir() {
        return Err(Error::Directory {
            path: path.to_owned(),
        });
    }
    Ok(metadata.is_file().then_some(metadata.len()))
}

/// Opens a file, or standard input.
pub(super) fn open(path: &Path) -> Result<Input, Error> {
    if is_standard_input(path) {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Undoes gzip, if that is what it is. Bytes are added to `read` as they are read.
pub(super) fn decompress(path: &Path, raw: Input, read: &Arc<AtomicU64>) -> Result<Input, Error> {
    let mut counted = Counted {
        input: raw,
        read: Arc::clone(read),
    };
    let mut begin = Vec::new();
    let mut first = (&mut counted).take(GZIP.len() as u64);
    first
        .read_to_end(&mut begin)
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    let is_gzip = begin == GZIP;
    let whole = Cursor::new(begin).chain(counted);
    if !is_gzip {
        return Ok(Box::new(whole));
    }
    let buffered = io::BufReader::with_capacity(1 << 16, whole);
    Ok(Box::new(MultiGzDecoder::new(buffered)))
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Counts what is read.
struct Counted {
    input: Input,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What a file that is no capture seems to be, by how it begins.
pub(super) fn describe(begin: &[u8]) -> &'static str {
    match begin {
        [] => "it is empty",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed by zstd; pipe it through zstd -dc",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "it is compressed by xz; pipe it through xz -dc",
        [b'B', b'Z', b'h', ..] => "it is compressed by bzip2; pipe it through bzip2 -dc",
        [b's', b'n', b'o', b'o', b'p', 0, ..] => {
            "it is a snoop file; convert it by editcap -F pcap"
        }
        [0x1f, 0x8b, ..] => "it is gzip twice; pipe it through gzip -dc",
        [_] | [_, _] | [_, _, _] => "it ends within 4 bytes",
        _ => "it does not begin as one",
    }
}
