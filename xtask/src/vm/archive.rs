use std::collections::BTreeSet;

/// A cpio archive in the "newc" format, the one that Linux unpacks
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    names: BTreeSet<String>,
}

/// File types in the upper bits of a mode (`S_IFDIR`, `S_IFREG`: include/uapi/linux/stat.h).
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Archive {
    /// Adds a file under an absolute path, and the folders above it. The first of two files with
    /// one name stays.
    ///
    /// # Panics
    ///
    /// With contents of 4 GiB or more, which the format has no room for.
    pub(super) fn add(&mut self, path: &str, contents: &[u8]) {
        let name = path.trim_start_matches('/');
        for (end, _) in name.match_indices('/') {
            self.entry(&name[..end], FOLDER | 0o755, &[]);
        }
        self.entry(name, FILE | 0o755, contents);
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        if self.names.insert(name.to_owned()) {
            self.write(name, mode, contents);
        }
    }

    fn write(&mut self, name: &str, mode: u32, contents: &[u8]) {
        let length = u32::try_from(contents.len()).expect("a file of less than 4 GiB");
        let name_length = u32::try_from(name.len() + 1).expect("a name");
        self.entries += 1;
        // In this order: ino, mode, uid, gid, nlink, mtime, filesize, maj, min, rmaj, rmin,
        // namesize, chksum.
        #[rustfmt::skip]
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    /// The header with its name, and the contents, end at a multiple of four.
    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive as the kernel does (init/initramfs.c): name, mode, contents.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * number..][..8]).expect("text");
                u32::from_str_radix(text, 16).expect("hexadecimal")
            };
            let (mode, length) = (field(1), field(6) as usize);
            let name_end = 110 + field(11) as usize;
            assert_eq!(bytes[name_end - 1], 0, "a name ends in a zero");
            let name = std::str::from_utf8(&bytes[110..name_end - 1]).expect("text");
            let start = name_end.next_multiple_of(4);
            let contents = bytes[start..start + length].to_vec();
            if name == "TRAILER!!!" {
                assert_eq!(start + length, bytes.len());
                return entries;
            }
            entries.push((name.to_owned(), mode, contents));
            bytes = &bytes[(start + length).next_multiple_of(4)..];
        }
    }

    #[test]
    fn a_reader_finds_each_file_and_the_folders_above_it_once() {
        let mut archive = Archive::default();
        archive.add("/init", b"");
        archive.add("/lib/x/one", b"1");
        archive.add("/lib/x/four", b"4444");
        archive.add("/lib/x/one", b"another");
        let entries = read(&archive.finish());
        let expected: [(&str, u32, &[u8]); 5] = [
            ("init", 0o100_755, b""),
            ("lib", 0o040_755, b""),
            ("lib/x", 0o040_755, b""),
            ("lib/x/one", 0o100_755, b"1"),
            ("lib/x/four", 0o100_755, b"4444"),
        ];
        let expected = expected.map(|(name, mode, contents)| (name.into(), mode, contents.into()));
        assert_eq!(entries, expected);
    }

    #[test]
    fn an_empty_archive_is_its_end() {
        assert_eq!(read(&Archive::default().finish()), []);
    }
}
