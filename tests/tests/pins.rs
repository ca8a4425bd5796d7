//! `darknet detach` and the library's `detach`, as an operator meets them. Needs root.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use darknet_core::{Error, kernel::detach};
use darknet_tests::{
    live::{DARKNET, Ended, run},
    privileged,
};
use tempfile::TempDir;

/// A BPF file system of the test's own; it is gone when this is dropped.
struct Bpffs(TempDir);

impl Bpffs {
    fn mount(test: &str) -> Option<Self> {
        if !privileged(test) {
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = run(mount.args(["-t", "bpf", "bpf"]).arg(folder.path()));
        assert_eq!(mounted.code, Some(0), "{}", mounted.said);
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a telescope leaves that was on no interface: a generation without maps.
    fn telescope(&self, name: &str) -> String {
        let folder = self.path().join(name);
        fs::create_dir_all(folder.join("1")).expect("made");
        folder.display().to_string()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Lazily: a child that another test starts may have a file of it open for a moment.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

fn detached(folder: &str) -> Ended {
    run(Command::new(&*DARKNET).args(["detach", "--pins", folder]))
}

#[test]
fn what_was_left_is_ended_once() {
    let Some(bpffs) = Bpffs::mount("what_was_left_is_ended_once") else {
        return;
    };
    let folder = bpffs.telescope("some");
    let ended = detached(&folder);
    let said = format!(
        "ended the telescope that was pinned in {folder}; it was on no interface of this network namespace\n"
    );
    let found = (ended.code, ended.printed.as_str(), ended.said);
    assert_eq!(found, (Some(0), "", said));
    assert!(!Path::new(&folder).exists());
    detached(&folder).assert_refused("again", 1, &[&folder, "no telescope is pinned there"]);
    let empty = bpffs.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert_eq!(detach(&empty).expect("looked"), None);
    assert!(empty.exists(), "nobody's, so it stays");
}

#[test]
fn only_a_bpf_file_system_holds_pins() {
    let Some(bpffs) = Bpffs::mount("only_a_bpf_file_system_holds_pins") else {
        return;
    };
    let plain = TempDir::new().expect("a folder");
    let plain = plain.path().display();
    for folder in [plain.to_string(), format!("{plain}/a/b")] {
        let hints = [&folder, "not on a BPF file system", "mount -t bpf bpf"];
        detached(&folder).assert_refused("another file system", 1, &hints);
    }
    let bpffs = bpffs.path().display();
    for folder in [format!("{bpffs}/eth0.100"), format!("{bpffs}/a.b/c")] {
        let hints = [&folder, "has no dot"];
        detached(&folder).assert_refused("a dot", 1, &hints);
    }
    let relative = Command::new(&*DARKNET)
        .args(["detach", "--pins", "some"])
        .current_dir(bpffs.to_string())
        .output();
    let said = String::from_utf8(relative.expect("it runs").stderr).expect("text");
    assert_eq!(said, "error: some: no telescope is pinned there\n");
}

#[test]
fn a_folder_that_a_process_has_locked_is_left_alone() {
    let Some(bpffs) = Bpffs::mount("a_folder_that_a_process_has_locked_is_left_alone") else {
        return;
    };
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let folder = bpffs.telescope("some");
    // The lock is flock's (2), and so anybody's; `--no-fork`, so that one process has it.
    let holder = Command::new("flock")
        .args(["--exclusive", "--no-fork", &folder])
        .args(["sh", "-c", "echo locked; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn();
    let mut holder = Killed(holder.expect("util-linux"));
    let mut said = String::new();
    let out = holder.0.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut said).expect("text");
    assert_eq!(said, "locked\n");
    let hints = [folder.as_str(), "another telescope runs with these pins"];
    detached(&folder).assert_refused("locked", 1, &hints);
    assert!(Path::new(&folder).join("1").exists());
    drop(holder);
    assert_eq!(detached(&folder).code, Some(0), "it went with its process");
}

#[test]
fn what_is_not_a_telescopes_is_named() {
    let Some(bpffs) = Bpffs::mount("what_is_not_a_telescopes_is_named") else {
        return;
    };
    let folder = bpffs.telescope("some");
    fs::create_dir(bpffs.path().join("some/firewall")).expect("made");
    let hints = [
        folder.as_str(),
        "holds firewall, which is not of a telescope",
    ];
    detached(&folder).assert_refused("foreign", 1, &hints);
    let error = detach(Path::new(&folder)).expect_err("foreign");
    assert!(matches!(error, Error::ForeignPin { name, .. } if name == "firewall"));
    assert!(Path::new(&folder).join("1").exists(), "nothing was removed");
    run(Command::new(&*DARKNET).arg("detach")).assert_refused("no folder", 2, &["--pins"]);
}
