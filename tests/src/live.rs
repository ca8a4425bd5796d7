use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use xtask::{
    cargo::{self, root},
    lab::{Frames, Limits, Namespace, Options, PlanFrames, Preloaded, Sent, World},
    scenario::{Plan, Scenario, Written},
};

pub use rustix::process::Signal;

/// How long anything may take before it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, built.
pub static DARKNET: LazyLock<PathBuf> =
    LazyLock::new(|| cargo::darknet(false).expect("darknet is built"));

/// A world whose link has one queue.
///
/// # Panics
///
/// If there can be none.
pub fn world() -> World {
    World::new(1).expect("a world")
}

/// The flows of a scenario file, so many frames of them.
///
/// # Panics
///
/// If there is no such scenario.
pub fn plan(name: &str, count: u64) -> Plan {
    let mut scenario = Scenario::read(root().join("xtask/scenarios").join(name)).expect(name);
    scenario.count = count;
    scenario.compile().expect(name)
}

/// SYN packets, a flow of equal share for each port and destination.
///
/// # Panics
///
/// If a destination is no prefix.
pub fn syns(count: u64, flows: &[(u16, &str)]) -> Plan {
    let mut text = format!("seed = 7\ncount = {count}\nrate = 1000\n");
    text.push_str("start = \"2021-05-01T00:00:00Z\"\n");
    for (port, destination) in flows {
        let sources = match destination.contains(':') {
            true => "2001:db8::/33",
            false => "198.18.0.0/15",
        };
        text.push_str(&format!(
            "[[flow]]\nname = \"{port}\"\nkind = \"syn\"\n\
             sources = {{ prefix = \"{sources}\", count = 50 }}\n\
             destinations = [\"{destination}\"]\nports = [{{ port = {port} }}]\n"
        ));
    }
    let scenario = Scenario::from_toml(&text).expect("a scenario");
    scenario.compile().expect("a plan")
}

/// Sends all frames of a plan, so many a second at most, and says what was meant by them.
///
/// # Panics
///
/// If the driver did not take each of them.
pub fn send(world: &World, plan: &Plan, rate: Option<u64>) -> (Sent, Written) {
    let mut frames = PlanFrames::new(plan).with_later_truth();
    // Made before: a generator changes its program with the size of the frames, and finds the
    // place taken while a thread of another test starts a process, which holds a copy of its link.
    let count = usize::try_from(plan.count()).expect("frames fit into memory");
    let preloaded = Preloaded::new(world, &Options::default(), &mut frames, count);
    let limits = Limits {
        count: Some(plan.count()),
        rate,
        ..Limits::default()
    };
    let sent = preloaded.expect("a generator").send(&limits);
    let sent = sent.expect("frames");
    assert_eq!(
        (sent.asked, sent.errors, sent.in_flight),
        (plan.count(), 0, 0)
    );
    (sent, frames.truth().expect("a truth").finish())
}

/// Whether an interface has an XDP program.
///
/// # Panics
///
/// If there is no such interface.
pub fn has_program(namespace: &Namespace, interface: &str) -> bool {
    let link = namespace.ip(&["-d", "link", "show", interface]);
    link.expect(interface).contains("prog/xdp")
}

/// Waits for something that takes a moment.
///
/// # Panics
///
/// If it takes ten seconds.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A run of the program, in a process of its own; it is killed when this is dropped.
#[derive(Debug)]
pub struct Run {
    child: Child,
    started: Duration,
    printed: Option<JoinHandle<String>>,
    said: Option<JoinHandle<String>>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub printed: String,
    /// Standard error.
    pub said: String,
}

impl Run {
    /// Starts `darknet run` on the telescope's interface, and returns when it watches.
    ///
    /// # Panics
    ///
    /// If it says something else first.
    pub fn watching(world: &World, arguments: &[&str]) -> Self {
        Self::of(&mut watch(world, arguments))
    }

    /// Starts a command that runs `darknet run`, and returns when it watches.
    ///
    /// # Panics
    ///
    /// If it says something else first.
    pub fn of(command: &mut Command) -> Self {
        let begun = Instant::now();
        Self::begun(begun, spawn(command))
    }

    /// As [`watching`](Self::watching); who reads its standard output takes so many lines, and leaves.
    ///
    /// # Panics
    ///
    /// If it says something else first, or does not print text.
    pub fn left_by_reader(world: &World, arguments: &[&str], lines: usize) -> Self {
        let begun = Instant::now();
        let mut child = spawn(&mut watch(world, arguments));
        let mut reader = BufReader::new(child.stdout.take().expect("piped"));
        let mut run = Self::begun(begun, child);
        let mut printed = String::new();
        for _ in 0..lines {
            reader.read_line(&mut printed).expect("standard output");
        }
        drop(reader);
        run.printed = Some(thread::spawn(|| printed));
        run
    }

    /// Returns when a child watches.
    fn begun(begun: Instant, mut child: Child) -> Self {
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut first = String::new();
        let read = said.read_line(&mut first);
        let started = begun.elapsed();
        let mut run = Self::new(child, started);
        run.said = Some(read_from(said, first.clone()));
        read.expect("standard error");
        assert!(first.starts_with("watching "), "{first}");
        run
    }

    fn new(mut child: Child, started: Duration) -> Self {
        let out = child.stdout.take();
        Self {
            printed: out.map(|out| read_from(out, String::new())),
            said: child
                .stderr
                .take()
                .map(|error| read_from(error, String::new())),
            child,
            started,
        }
    }

    /// From starting the process until it said that it watches.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(process, signal).expect("it runs");
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn end(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Ends it as an operator does: it has to succeed.
    ///
    /// # Panics
    ///
    /// If it does not, or does not print one JSON document.
    pub fn document(self) -> Value {
        let ended = self.end(Signal::TERM);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        ended.documents().pop().expect("a document")
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "darknet hangs");
            thread::sleep(Duration::from_millis(5));
        };
        let text = |thread: Option<JoinHandle<String>>| {
            thread.map_or_else(String::new, |thread| thread.join().expect("text"))
        };
        Ended {
            code: status.code(),
            printed: text(self.printed.take()),
            said: text(self.said.take()),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already, or a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The JSON documents that were printed, one a line.
    ///
    /// # Panics
    ///
    /// If a line is none.
    pub fn documents(&self) -> Vec<Value> {
        let lines = self.printed.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a document"))
            .collect()
    }

    /// That it refused with one line, which says why, and printed nothing.
    ///
    /// # Panics
    ///
    /// If it did not.
    pub fn assert_refused(&self, name: &str, code: i32, hints: &[&str]) {
        let Self { printed, said, .. } = self;
        assert_eq!(self.code, Some(code), "{name}: {said}");
        assert!(said.starts_with("error: "), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        for hint in hints {
            assert!(said.contains(hint), "{name}: no {hint} in {said}");
        }
        assert_eq!(printed, "", "{name}");
    }
}

/// Runs the program in a namespace to its end.
pub fn darknet<A: AsRef<OsStr>>(namespace: &Namespace, arguments: &[A]) -> Ended {
    run(namespace.command(&*DARKNET).args(arguments))
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    Run::new(spawn(command), Duration::ZERO).wait()
}

/// `darknet run` on the telescope's interface.
fn watch(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.telescope().command(&*DARKNET);
    command.args(["run", "--interface", world.interface()]);
    command.args(arguments);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Reads what comes, so that the writer never waits.
fn read_from(mut from: impl Read + Send + 'static, mut text: String) -> JoinHandle<String> {
    thread::spawn(move || {
        from.read_to_string(&mut text).expect("UTF-8");
        text
    })
}
