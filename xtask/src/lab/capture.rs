use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};

use super::{
    error::Error,
    frames::Frames,
    slots::{LONGEST_FRAME, SHORTEST_FRAME},
};

/// The frames of a capture file, in order. What they mean is not known.
#[derive(Debug, Clone)]
pub struct CaptureFrames {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    next: usize,
    skipped: u64,
}

impl CaptureFrames {
    /// Reads a capture of Ethernet frames, pcap or pcapng, into memory. Frames that the link does
    /// not take, below 14 or above 1,518 bytes, are skipped.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another link type.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut frames = Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            next: 0,
            skipped: 0,
        };
        frames.fill(path).map_err(|message| Error::Capture {
            path: path.to_owned(),
            message,
        })?;
        Ok(frames)
    }

    /// Starts again.
    pub const fn rewind(&mut self) {
        self.next = 0;
    }

    /// Frames that can be sent.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Frames that were skipped.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn fill(&mut self, path: &Path) -> Result<(), String> {
        let mut file = File::open(path).map_err(|error| error.to_string())?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map_err(|_| "not a capture")?;
        file.rewind().map_err(|error| error.to_string())?;
        let file = BufReader::new(file);
        // The type of a section header: draft-ietf-opsawg-pcapng section 4.1.
        let read = match u32::from_be_bytes(magic) {
            0x0a0d_0d0a => self.pcapng(file),
            _ => self.pcap(file),
        };
        read.map_err(|error| error.to_string())
    }

    fn pcap(&mut self, file: impl Read) -> Result<(), PcapError> {
        let mut reader = PcapReader::new(file)?;
        ethernet(reader.header().datalink)?;
        while let Some(packet) = reader.next_raw_packet() {
            self.add(&packet?.data);
        }
        Ok(())
    }

    fn pcapng(&mut self, file: impl Read) -> Result<(), PcapError> {
        let mut reader = PcapNgReader::new(file)?;
        while let Some(block) = reader.next_block() {
            match block? {
                Block::InterfaceDescription(interface) => ethernet(interface.linktype)?,
                Block::EnhancedPacket(packet) => self.add(&packet.data),
                Block::SimplePacket(packet) => self.add(&packet.data),
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, frame: &[u8]) {
        if (SHORTEST_FRAME..=LONGEST_FRAME).contains(&frame.len()) {
            self.bytes.extend_from_slice(frame);
            self.ends.push(self.bytes.len());
        } else {
            self.skipped += 1;
        }
    }
}

fn ethernet(link: DataLink) -> Result<(), PcapError> {
    match link {
        DataLink::ETHERNET => Ok(()),
        _ => Err(PcapError::InvalidField(
            "not Ethernet; the lab's link takes nothing else",
        )),
    }
}

impl Frames for CaptureFrames {
    fn next(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.next += 1;
        Some(&self.bytes[start..end])
    }
}
