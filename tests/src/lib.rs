//! What the end-to-end tests share.
#![forbid(unsafe_code)]

/// Capture files, made byte by byte.
pub mod file;
/// A second opinion on every packet: a naive reference of the definitions.
pub mod naive;
/// Snapshots beside the truth.
pub mod truth;

use std::{env, io::Write, path::PathBuf};

/// The folder of real captures that `DARKNET_TESTDATA` names. Where it names none, this says on
/// standard error, past the test runner's capture, that `test` checks nothing.
pub fn testdata(test: &str) -> Option<PathBuf> {
    let folder = env::var_os("DARKNET_TESTDATA").map(PathBuf::from);
    if folder.is_none() {
        let message = format!("{test}: NOT RUN, DARKNET_TESTDATA names no folder of captures\n");
        std::io::stderr()
            .write_all(message.as_bytes())
            .expect("standard error is open");
    }
    folder
}
