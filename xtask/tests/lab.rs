//! The lab, on a real kernel: what is sent is what arrives, to the frame and to the byte, and
//! nothing of it stays behind. Needs root; without it the tests say that they were skipped, and
//! fail if `DARKNET_PRIVILEGED` is 1.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use xtask::{
    lab::{
        CaptureFrames, Error, Frames, Generator, Limits, Mode, Namespace, Options, PlanFrames,
        Preloaded, Sink, World,
    },
    scenario::{FrameBuffer, Plan, Scenario, Tally},
};

/// One world at a time: what is measured here has only two cores. `None` without root.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static LAB: Mutex<()> = Mutex::new(());
    if !rustix::process::geteuid().is_root() {
        assert!(
            env::var("DARKNET_PRIVILEGED").as_deref() != Ok("1"),
            "DARKNET_PRIVILEGED is 1, but this is not root"
        );
        // Not by eprintln!, which the test harness keeps for itself.
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
        return None;
    }
    Some(
        LAB.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}

fn scenario(name: &str) -> Scenario {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    Scenario::read(directory.join(name)).expect("a scenario")
}

fn plan(name: &str, count: u64) -> Plan {
    let mut scenario = scenario(name);
    scenario.count = count;
    scenario.compile().expect("a plan")
}

fn limits() -> Limits {
    Limits::default()
}

fn exists(namespace: &Namespace) -> bool {
    Path::new("/run/netns").join(namespace.name()).exists()
}

#[test]
fn a_world_has_a_link_and_leaves_nothing_behind() {
    let Some(_guard) = alone() else { return };
    let world = World::new(2).expect("a world");
    let links = world.telescope().ip(&["-o", "link"]).expect("links");
    let link = links.lines().find(|line| line.contains(world.interface()));
    let link = link.expect("the telescope's interface");
    assert!(link.contains("LOWER_UP"), "{link}");
    assert!(link.contains("NOARP"), "{link}");
    let addresses = world.telescope().ip(&["-o", "-6", "address"]);
    assert_eq!(addresses.expect("addresses"), "", "no IPv6 of its own");

    let mut inside = world.telescope().command("ls");
    let inside = inside
        .arg("/sys/class/net/dark0/queues")
        .output()
        .expect("ls");
    let queues = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert_eq!(queues.lines().filter(|q| q.starts_with("rx-")).count(), 2);
    let name = world
        .sender()
        .enter(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let name = name.expect("a thread in it").expect("interfaces");
    assert!(name.contains(world.sender_interface()), "{name}");

    let names = [world.telescope(), world.sender()].map(|side| side.name().to_owned());
    drop(world);
    for name in names {
        assert!(!Path::new("/run/netns").join(&name).exists(), "{name}");
    }
}

#[test]
fn a_panic_removes_the_world_too() {
    let Some(_guard) = alone() else { return };
    let names = Mutex::new(Vec::new());
    let outcome = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let world = World::new(1).expect("a world");
            assert!(exists(world.telescope()));
            names
                .lock()
                .expect("names")
                .push(world.telescope().name().to_owned());
            panic!("on purpose");
        });
        thread.join()
    });
    assert!(outcome.is_err());
    let names = names.into_inner().expect("names");
    assert!(!Path::new("/run/netns").join(&names[0]).exists());
}

#[test]
fn the_worlds_of_dead_processes_are_removed() {
    let Some(_guard) = alone() else { return };
    // The number of a process that is certainly no more.
    let mut child = Command::new("true")
        .stdin(Stdio::null())
        .spawn()
        .expect("true");
    child.wait().expect("its end");
    let left = format!("darknet-lab-{}-0-telescope", child.id());
    let of_others = format!("darknet-not-the-lab-{}", std::process::id());
    for name in [&left, &of_others] {
        let status = Command::new("ip").args(["netns", "add", name]).status();
        assert!(status.expect("ip").success());
    }
    let world = World::new(1).expect("a world");
    let (left, others) = (
        Path::new("/run/netns").join(&left),
        Path::new("/run/netns").join(&of_others),
    );
    let found = (left.exists(), others.exists(), exists(world.telescope()));
    let status = Command::new("ip")
        .args(["netns", "delete", &of_others])
        .status();
    assert!(status.expect("ip").success());
    assert_eq!(found, (false, true, true));
}

#[test]
fn a_million_frames_are_counted_exactly() {
    let Some(_guard) = alone() else { return };
    const FRAMES: u64 = 1_000_000;
    let plan = plan("bench.toml", FRAMES);
    for mode in [Mode::Driver, Mode::Generic] {
        let world = World::new(1).expect("a world");
        let sink = Sink::counting(&world, mode).expect("a sink");
        let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
        let mut frames = match mode {
            Mode::Driver => PlanFrames::new(&plan).with_truth(),
            Mode::Generic => PlanFrames::new(&plan).with_later_truth(),
        };
        let sent = generator.send(&mut frames, &limits()).expect("to send");
        let counts = sink.counts().expect("counts");
        assert_eq!(sent.asked, FRAMES, "{mode:?}");
        assert_eq!(sent.sent + sent.errors, FRAMES, "{mode:?}");
        assert_eq!(sent.in_flight, 0, "{mode:?}");
        assert_eq!(counts.packets, sent.sent, "{mode:?}");
        assert_eq!(counts.bytes, sent.sent * 60, "{mode:?}");
        assert_eq!(sent.is_exact(), sent.errors == 0);

        let truth = sent.truth.expect("a truth").finish();
        let mut tally = Tally::new();
        let mut buffer = FrameBuffer::new();
        (0..FRAMES).for_each(|index| tally.add(&plan.packet(index, &mut buffer)));
        assert!(
            truth == tally.finish(),
            "{mode:?}: the truth of another scenario"
        );
    }
}

#[test]
fn frames_arrive_as_they_were_made() {
    let Some(_guard) = alone() else { return };
    let plan = plan("first-light.toml", 2_000);
    let world = World::new(1).expect("a world");
    let mut sink = Sink::keeping(&world, Mode::Driver).expect("a sink");
    let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
    let mut frames = PlanFrames::new(&plan);
    let sent = generator.send(&mut frames, &limits()).expect("to send");
    assert_eq!((sent.sent, sent.errors), (2_000, 0));
    let mut buffer = FrameBuffer::new();
    for index in 0..2_000 {
        plan.packet(index, &mut buffer);
        assert_eq!(
            sink.frame().as_deref(),
            Some(buffer.as_slice()),
            "frame {index}"
        );
    }
    assert_eq!(sink.frame(), None);

    // The same from the capture, and from slots that keep frames of all sizes.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/first-light.pcap");
    let mut capture = CaptureFrames::read(path).expect("a capture");
    assert_eq!((capture.len(), capture.skipped()), (2_000, 0));
    let sent = generator.send(&mut capture, &limits()).expect("to send");
    assert_eq!((sent.sent, sent.errors), (2_000, 0));
    assert!(sent.truth.is_none());
    capture.rewind();
    let options = Options::default();
    let mut preloaded = Preloaded::new(&world, &options, &mut capture, 10_000).expect("frames");
    assert_eq!(preloaded.frames(), 2_000);
    let count = Limits {
        count: Some(3_000),
        ..limits()
    };
    let sent = preloaded.send(&count).expect("to send");
    assert_eq!((sent.sent, sent.errors), (3_000, 0));
    for index in (0..2_000).chain((0..3_000).map(|index| index % 2_000)) {
        plan.packet(index, &mut buffer);
        assert_eq!(
            sink.frame().as_deref(),
            Some(buffer.as_slice()),
            "frame {index}"
        );
    }
    assert_eq!(sink.counts().expect("counts").missed, 0);
}

/// Frames of every length that the link takes, and others.
struct Lengths {
    lengths: Box<dyn Iterator<Item = usize>>,
    frame: Vec<u8>,
}

impl Lengths {
    fn new(lengths: impl Iterator<Item = usize> + 'static) -> Self {
        Self {
            lengths: Box::new(lengths),
            frame: Vec::new(),
        }
    }
}

impl Frames for Lengths {
    fn next(&mut self) -> Option<&[u8]> {
        let length = self.lengths.next()?;
        self.frame.clear();
        self.frame
            .extend((0..length).map(|index| (index * 7 + length) as u8));
        Some(&self.frame)
    }
}

#[test]
fn every_length_arrives_and_others_are_refused() {
    let Some(_guard) = alone() else { return };
    let world = World::new(1).expect("a world");
    let mut sink = Sink::keeping(&world, Mode::Driver).expect("a sink");
    let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
    // Up and down, so that long frames come before short ones in a chunk.
    let lengths = || (14..=1518).chain((14..=1518).rev());
    let sent = generator
        .send(&mut Lengths::new(lengths()), &limits())
        .expect("to send");
    assert_eq!((sent.sent, sent.errors), (3_010, 0));
    let mut expected = Lengths::new(lengths());
    while let Some(frame) = expected.next() {
        assert_eq!(
            sink.frame().as_deref(),
            Some(frame),
            "{} bytes",
            frame.len()
        );
    }
    for wrong in [0, 13, 1519, 9000] {
        let outcome = generator.send(&mut Lengths::new([60, wrong].into_iter()), &limits());
        let Err(Error::Frame { index: 1, length }) = outcome else {
            panic!("{wrong}: {outcome:?}");
        };
        assert_eq!(length, wrong);
    }
    let sent = generator
        .send(&mut Lengths::new(14..16), &limits())
        .expect("to send again");
    assert_eq!(sent.sent, 2);
}

#[test]
fn a_rate_holds() {
    let Some(_guard) = alone() else { return };
    let plan = plan("bench.toml", 10_000_000);
    let world = World::new(1).expect("a world");
    let sink = Sink::counting(&world, Mode::Driver).expect("a sink");
    let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
    for rate in [100, 20_000, 500_000] {
        let before = sink.counts().expect("counts").packets;
        let limits = Limits {
            rate: Some(rate),
            duration: Some(Duration::from_secs(1)),
            ..limits()
        };
        let sent = generator
            .send(&mut PlanFrames::new(&plan), &limits)
            .expect("to send");
        assert_eq!(sent.asked, rate);
        let seen = sent.rate() / rate as f64;
        assert!(
            (0.9..1.1).contains(&seen),
            "{} of {rate} per second",
            sent.rate()
        );
        assert_eq!(sink.counts().expect("counts").packets - before, sent.sent);
    }
}

#[test]
fn the_stop_flag_and_the_clock_end_it() {
    let Some(_guard) = alone() else { return };
    let plan = plan("bench.toml", 100_000);
    let world = World::new(1).expect("a world");
    let sink = Sink::counting(&world, Mode::Driver).expect("a sink");
    let mut generator = Generator::new(&world, &Options::default()).expect("a generator");
    for (rate, later) in [(None, false), (Some(3), false), (None, true)] {
        let stop = Arc::new(AtomicBool::new(false));
        let flagged = Limits {
            stop: Some(Arc::clone(&stop)),
            rate,
            ..limits()
        };
        let before = sink.counts().expect("counts").packets;
        let (sent, late) = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
                Instant::now()
            });
            let frames = PlanFrames::new(&plan).repeated();
            let mut frames = match later {
                false => frames.with_truth(),
                true => frames.with_later_truth(),
            };
            let sent = generator.send(&mut frames, &flagged).expect("to send");
            (sent, thread.join().expect("no panic").elapsed())
        });
        // The later truth takes its time after the last frame.
        assert!(
            later || late < Duration::from_secs(1),
            "{rate:?}: stopped after {late:?}"
        );
        assert!(sent.sent > 0, "{rate:?}");
        assert_eq!(
            sink.counts().expect("counts").packets - before,
            sent.sent,
            "{rate:?}"
        );
        let truth = sent.truth.expect("a truth").finish();
        assert_eq!(truth.received, sent.asked, "{rate:?}");
    }
    let timed = Limits {
        duration: Some(Duration::from_millis(300)),
        ..limits()
    };
    let mut frames = PlanFrames::new(&plan).repeated();
    let sent = generator.send(&mut frames, &timed).expect("to send");
    assert!(sent.asked > 100_000, "{}", sent.asked);
    assert!(
        (0.25..0.8).contains(&sent.duration.as_secs_f64()),
        "{:?}",
        sent.duration
    );
}

#[test]
fn the_senders_cpu_chooses_the_queue() {
    let Some(_guard) = alone() else { return };
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let plan = plan("bench.toml", 10_000);
    let world = World::new(2).expect("a world");
    let _sink = Sink::counting(&world, Mode::Driver).expect("a sink");
    for cpu in [0, 1] {
        let options = Options {
            cpu,
            ..Options::default()
        };
        let mut generator = Generator::new(&world, &options).expect("a generator");
        let sent = generator
            .send(&mut PlanFrames::new(&plan), &limits())
            .expect("to send");
        assert_eq!(sent.sent, 10_000);
        let mut ethtool = world.telescope().command("ethtool");
        let output = ethtool
            .args(["-S", world.interface()])
            .output()
            .expect("ethtool");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = format!("rx_queue_{cpu}_xdp_packets: 10000\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn two_cpus_send_at_once() {
    let Some(_guard) = alone() else { return };
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let plan = plan("bench.toml", 300_000);
    let world = World::new(2).expect("a world");
    let sink = Sink::counting(&world, Mode::Driver).expect("a sink");
    let send = |cpu| {
        let options = Options {
            cpu,
            ..Options::default()
        };
        let mut generator = Generator::new(&world, &options).expect("a generator");
        let sent = generator.send(&mut PlanFrames::new(&plan), &limits());
        let sent = sent.expect("to send");
        assert_eq!((sent.asked, sent.in_flight), (300_000, 0), "CPU {cpu}");
        sent.sent
    };
    let sent = thread::scope(|scope| {
        let other = scope.spawn(|| send(1));
        send(0) + other.join().expect("no panic")
    });
    assert_eq!(sink.counts().expect("counts").packets, sent);
}

#[test]
fn mistakes_are_one_line() {
    let Some(_guard) = alone() else { return };
    let error = World::new(0).expect_err("no queue");
    assert!(error.to_string().contains("1 to 64"), "{error}");
    let world = World::new(1).expect("a world");
    let _first = Sink::counting(&world, Mode::Driver).expect("a sink");
    let error = Sink::counting(&world, Mode::Driver)
        .err()
        .expect("one is there");
    let text = error.to_string();
    assert!(text.starts_with("attaching to dark0: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let options = Options {
        cpu: 1000,
        ..Options::default()
    };
    let mut generator = Generator::new(&world, &options).expect("a generator");
    let plan = plan("bench.toml", 1);
    let error = generator
        .send(&mut PlanFrames::new(&plan), &limits())
        .expect_err("no such CPU");
    assert!(
        error
            .to_string()
            .starts_with("pinning the sender to CPU 1000: "),
        "{error}"
    );
    let rate = Limits {
        rate: Some(0),
        ..limits()
    };
    assert!(generator.send(&mut PlanFrames::new(&plan), &rate).is_err());
    let error = CaptureFrames::read("/no/such/file").expect_err("no file");
    assert!(error.to_string().starts_with("/no/such/file: "), "{error}");
}
