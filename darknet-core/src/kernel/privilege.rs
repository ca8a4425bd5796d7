use std::{fs, io};

use crate::Error;

/// What loading and attaching takes; numbers of `include/uapi/linux/capability.h`. Without
/// CAP_PERFMON the verifier refuses arithmetic on packet pointers.
const CAPABILITIES: [(u32, &str); 3] = [
    (39, "CAP_BPF"),
    (NET_ADMIN, "CAP_NET_ADMIN"),
    (38, "CAP_PERFMON"),
];
const NET_ADMIN: u32 = 12;
/// Stands for CAP_BPF and CAP_PERFMON.
pub(super) const SYS_ADMIN: u32 = 21;

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
pub(crate) fn absent(held: u64) -> String {
    let has = |number: u32| held >> number & 1 == 1;
    let absent = CAPABILITIES
        .iter()
        .filter(|(number, _)| !has(*number) && (*number == NET_ADMIN || !has(SYS_ADMIN)));
    let names: Vec<_> = absent.map(|(_, name)| *name).collect();
    names.join(", ")
}

/// The effective capabilities of this thread.
pub(super) fn held() -> Option<u64> {
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
            (0, "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
            (1 << 39, "CAP_NET_ADMIN, CAP_PERFMON"),
            (1 << 12, "CAP_BPF, CAP_PERFMON"),
            (1 << 39 | 1 << 12, "CAP_PERFMON"),
            (1 << 39 | 1 << 38 | 1 << 12, ""),
            (1 << 21 | 1 << 12, ""),
            (1 << 21, "CAP_NET_ADMIN"),
        ] {
            assert_eq!(absent(held), expected, "{held:#x}");
        }
    }
}
