use std::{fs, os::fd::AsFd as _, process::Command, thread};

use super::privileged;

/// A network namespace with a pair of interfaces, for one test.
struct Namespace(String);

impl Namespace {
    /// Makes it and moves this thread into it.
    fn enter(test: &str) -> Self {
        let name = format!("darknet-{test}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self(name);
        let file = fs::File::open(format!("/run/netns/{}", namespace.0)).expect("it is there");
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind)).expect("entered");
        // Without IPv6, whose neighbour discovery would be counted among what was sent.
        for interfaces in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6");
            if fs::exists(&path).expect("proc is mounted") {
                fs::write(&path, "1").expect("root");
            }
        }
        ip(&[
            "link", "add", "watched0", "type", "veth", "peer", "name", "sender0",
        ]);
        for interface in ["watched0", "sender0"] {
            ip(&["link", "set", interface, "up"]);
        }
        ip(&["addr", "add", "198.51.100.7/24", "dev", "sender0"]);
        for (network, address) in [
            ("203.0.113.0/24", "203.0.113.9"),
            ("192.0.2.0/24", "192.0.2.1"),
        ] {
            ip(&["route", "add", network, "dev", "sender0"]);
            ip(&[
                "neigh",
                "add",
                address,
                "lladdr",
                "02:00:00:00:00:01",
                "dev",
                "sender0",
            ]);
        }
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.0]);
    }
}

/// Runs `ip` in the namespace of this thread.
///
/// # Panics
///
/// If it fails.
pub fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a test on a thread of its own, as the namespace is the thread's: `watched0` and `sender0`
/// are up, and what leaves `sender0` for 203.0.113.0/24 and 192.0.2.0/24 arrives at `watched0`.
///
/// # Panics
///
/// As `body` does; or without privilege, where [`privileged`] does.
pub fn in_namespace(test: &'static str, body: impl FnOnce() + Send + 'static) {
    if !privileged(test) {
        return;
    }
    let thread = thread::spawn(move || {
        let _namespace = Namespace::enter(test);
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
