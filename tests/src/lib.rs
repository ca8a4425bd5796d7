//! What the end-to-end tests share.
#![forbid(unsafe_code)]

/// Frames to a telescope, made field by field.
pub mod craft;
/// Documents of windows, one and all of a telescope's life.
pub mod documents;
/// Capture files, made byte by byte.
pub mod file;
/// Telescopes whose packets come as frames.
#[cfg(target_os = "linux")]
pub mod frames;
/// A host of its own for telescopes that are pinned and reloaded.
#[cfg(target_os = "linux")]
pub mod host;
/// The telescope on the wire: the program as its users run it, in a world of the lab.
#[cfg(target_os = "linux")]
pub mod live;
/// A second opinion on every packet: a naive reference of the definitions.
pub mod naive;
/// A network namespace with a pair of interfaces, for one test.
#[cfg(target_os = "linux")]
pub mod netns;
/// Kernel programs, and what holds of all that one has counted.
#[cfg(target_os = "linux")]
pub mod program;
/// Telescopes that read their configuration again.
#[cfg(target_os = "linux")]
pub mod reload;
/// Traffic that flows while telescopes come and go.
#[cfg(target_os = "linux")]
pub mod traffic;
/// Snapshots beside the truth.
pub mod truth;

use std::{env, fs, io::Write, path::PathBuf};

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

/// Whether this process may load kernel programs. If not, this says on standard error, past the
/// test runner's capture, that `test` checks nothing.
///
/// # Panics
///
/// Instead of saying so, where `DARKNET_PRIVILEGED=1` promises the privilege.
pub fn privileged(test: &str) -> bool {
    // CAP_SYS_ADMIN, CAP_NET_ADMIN: `include/uapi/linux/capability.h`.
    const NEEDED: u64 = 1 << 21 | 1 << 12;
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok());
    if held.is_some_and(|held| held & NEEDED == NEEDED) {
        return true;
    }
    assert!(
        env::var_os("DARKNET_PRIVILEGED").is_none_or(|value| value != "1"),
        "{test}: DARKNET_PRIVILEGED=1, and no privilege"
    );
    let message = format!("{test}: NOT RUN, needs root\n");
    std::io::stderr()
        .write_all(message.as_bytes())
        .expect("standard error is open");
    false
}
