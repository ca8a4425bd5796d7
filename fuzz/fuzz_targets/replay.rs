//! Any file: every packet in it can be walked, or it is refused in one line.
#![no_main]

use std::io::Cursor;

use darknet_core::{
    Captures,
    rules::{Outer, outer},
    source::Source,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut packets = 0;
    let captures = Captures::from_reader("fuzzed", Cursor::new(input.to_vec()));
    let replayed = captures.and_then(|mut captures| {
        while let Some(record) = captures.next()? {
            packets += 1;
            if let Some(Outer::Ip(ip)) = record.link.map(|link| outer(record.data, link)) {
                let _ = ip.packet(record.data);
            }
        }
        Ok(captures.damages().len())
    });
    match replayed {
        Ok(damages) => assert!(damages <= 1, "one file, one damage"),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    // A record has a header of 16 bytes, a block one of 12: no more packets than that.
    let gzip = input.starts_with(&[0x1f, 0x8b]);
    assert!(gzip || packets <= input.len() / 12, "{packets} packets");
});
