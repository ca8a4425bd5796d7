//! What this folder's tests that need root share.

use std::{
    env,
    io::{self, Write as _},
    panic,
    path::Path,
    process::Command,
    thread,
};

use nix::sched::{CloneFlags, unshare};

use super::privilege;

/// Whether this process may load kernel programs and make namespaces. If not, this says on standard
/// error, past the test runner's capture, that `test` checks nothing; where `DARKNET_PRIVILEGED=1`
/// promises the privilege, it panics.
pub(super) fn privileged(test: &str) -> bool {
    let all = privilege::missing_capabilities().is_some_and(|missing| missing.is_empty());
    if all && privilege::held().is_some_and(|held| held >> privilege::SYS_ADMIN & 1 == 1) {
        return true;
    }
    assert!(
        env::var_os("DARKNET_PRIVILEGED").is_none_or(|value| value != "1"),
        "{test}: DARKNET_PRIVILEGED=1, and no privilege"
    );
    let message = format!("{test}: NOT RUN, needs root\n");
    let said = io::stderr().write_all(message.as_bytes());
    said.expect("standard error is open");
    false
}

/// Runs a test on a thread with namespaces of its own, which are gone when it ends: a BPF file
/// system at the folder that `body` gets, and the interfaces `watched0` and `sender0`.
pub(super) fn alone(test: &str, body: impl FnOnce(&Path) + Send) {
    if !privileged(test) {
        return;
    }
    let ended = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let new = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
            unshare(new).expect("CAP_SYS_ADMIN");
            let folder = Path::new("/sys/fs/bpf");
            run("mount --make-rprivate /");
            run("mount -t bpf bpf /sys/fs/bpf");
            run("ip link add watched0 type veth peer name sender0");
            body(folder);
        });
        thread.join()
    });
    if let Err(panic) = ended {
        panic::resume_unwind(panic);
    }
}

/// Runs a command, in the namespaces of this thread.
pub(super) fn run(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().expect(program);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}
