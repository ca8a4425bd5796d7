use std::{fs, io};

use crate::Error;

/// Numbers of `include/uapi/linux/capability.h`.
const CAPABILITIES: [(u32, &str); 2] = [(39, "CAP_BPF"), (12, "CAP_NET_ADMIN")];
/// Stands for each of them.
const SYS_ADMIN: u32 = 21;

/// The error that says which capability is missing, if that is what `error` is about.
pub(super) fn missing(error: &io::Error, doing: &'static str) -> Option<Error> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let missing = missing_capabilities()?;
    // With all of them, the verifier's own refusal looks the same.
    (!missing.is_empty()).then_some(Error::Privilege { doing, missing })
}

/// The capabilities that a telescope needs and this thread has not, by name; empty if it has all,
/// `None` if the system does not say.
pub fn missing_capabilities() -> Option<String> {
    held().map(absent)
}

/// The capabilities that are needed and not there, by name.
fn absent(held: u64) -> String {
    let has = |number: u32| held >> number & 1 == 1;
    if has(SYS_ADMIN) && has(12) {
        return String::new();
    }
    let absent = CAPABILITIES.iter().filter(|(number, _)| !has(*number));
    let names: Vec<_> = absent.map(|(_, name)| *name).collect();
    names.join(" and ")
}

/// The effective capabilities of this thread.
fn held() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_capabilities_are_named() {
        for (held, expected) in [
            (0, "CAP_BPF and CAP_NET_ADMIN"),
            (1 << 39, "CAP_NET_ADMIN"),
            (1 << 12, "CAP_BPF"),
            (1 << 39 | 1 << 12, ""),
            (1 << 21 | 1 << 12, ""),
            (1 << 21, "CAP_BPF and CAP_NET_ADMIN"),
        ] {
            assert_eq!(absent(held), expected, "{held:#x}");
        }
    }
}
