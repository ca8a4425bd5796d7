//! Any frame on any link: the walk says what the naive reference says.
//!
//! The first byte picks the link (its number in `naive::LINKS`, modulo their count), the rest is
//! the frame. A mismatch prints a test that can be pasted and run.
#![no_main]

use darknet_tests::naive::{LINKS, assert_agreement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((&link, frame)) = input.split_first() {
        assert_agreement(frame, LINKS[usize::from(link) % LINKS.len()]);
    }
});
