use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use xtask::lab::World;

use crate::live::{DARKNET, Ended, Run, run, world};

/// A host of its own, on the telescope's side of a world: `/run/darknet` and `/sys/fs/bpf` are
/// there for nobody else, and gone with it, whatever is left in them.
#[derive(Debug)]
pub struct Host {
    world: World,
    keeper: Child,
}

/// Where telescopes of a [`Host`] are pinned.
pub const PINS: &str = "/sys/fs/bpf/telescope";

impl Host {
    /// Makes one, whose link has one queue.
    ///
    /// # Panics
    ///
    /// If there can be none.
    pub fn new() -> Self {
        let world = world();
        // It keeps the file systems as long as its input is open: as long as the test lives.
        let script = "mkdir -p /run/darknet && mount -t tmpfs tmpfs /run/darknet && \
             mount -t bpf bpf /sys/fs/bpf && echo ready && exec cat";
        let mut keeper = world.telescope().command("sh");
        keeper.args(["-c", script]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().expect("a shell");
        let mut said = String::new();
        let out = keeper.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("text");
        let host = Self { world, keeper };
        assert_eq!(said, "ready\n");
        host
    }

    /// Its world.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// A command that will run on it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let keeper = self.keeper.id().to_string();
        command.args(["--target", &keeper, "--mount", "--net"]);
        command.arg(program);
        command
    }

    /// Runs the program on it to its end.
    pub fn darknet(&self, arguments: &[&str]) -> Ended {
        run(self.command(&DARKNET).args(arguments))
    }

    /// Starts `darknet run` on its interface, and returns when it watches.
    ///
    /// # Panics
    ///
    /// If it says something else first.
    pub fn watching(&self, arguments: &[&str]) -> Run {
        let mut command = self.command(&DARKNET);
        command.args(["run", "--interface", self.world.interface()]);
        Run::of(command.args(arguments))
    }

    /// Starts `darknet run` on its interface, pinned, with a JSON line for each window.
    ///
    /// # Panics
    ///
    /// If it says something else first.
    pub fn pinned(&self, arguments: &[&str]) -> Run {
        let pinned = ["--pins", PINS, "--json", "--windows"];
        self.watching(&[&pinned, arguments].concat())
    }

    /// A path of it, as seen from here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.keeper.id()))
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // With its last process the file systems go, with what is pinned.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
