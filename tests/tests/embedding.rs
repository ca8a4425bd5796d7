//! Aggregates of embedders beside ours, over files and live. The live ones need root.

use std::{
    fs,
    io::Cursor,
    num::NonZeroUsize,
    ops::ControlFlow,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use darknet_core::{
    Captures, Error, Telescope, Window,
    aggregate::{Aggregate, Figures, Observation, PortDistinct, Profiles, Seed, TopSources},
    rules::{Cell, Class},
    window::{Length, Rolled, Rollup},
};
use jiff::tz::TimeZone;
use xtask::{
    cargo::root,
    scenario::{Scenario, Written},
};

/// A scenario as a capture.
fn generate(name: &str, count: u64) -> (Vec<u8>, Written) {
    let scenario = Scenario::read(root().join("xtask/scenarios").join(name));
    let mut scenario = scenario.expect(name);
    scenario.count = count;
    let mut bytes = Vec::new();
    let plan = scenario.compile().expect(name);
    let written = plan.write_pcap_with_truth(&mut bytes).expect("memory");
    (bytes, written)
}

fn captures(bytes: &[u8]) -> Captures {
    Captures::from_reader("scenario", Cursor::new(bytes.to_vec())).expect("a capture")
}

fn telescope(workers: usize, window: Duration) -> Telescope {
    Telescope::new()
        .with_seed(Seed::fixed(6))
        .with_workers(NonZeroUsize::new(workers).expect("not 0"))
        .and_then(|telescope| telescope.with_window(window))
        .expect("settings")
}

/// Counts packets, and panics at one of them, over all workers.
struct Counting {
    packets: u64,
    times: Option<(i64, i64)>,
    all: Arc<AtomicU64>,
    panic_at: u64,
}

impl Counting {
    fn new(all: &Arc<AtomicU64>, panic_at: u64) -> Self {
        Self {
            packets: 0,
            times: None,
            all: Arc::clone(all),
            panic_at,
        }
    }
}

impl Aggregate for Counting {
    fn observe(&mut self, observation: &Observation) {
        self.packets += 1;
        let (first, last) = self.times.unwrap_or((i64::MAX, i64::MIN));
        self.times = Some((first.min(observation.time), last.max(observation.time)));
        let number = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(number, self.panic_at, "the packet to panic at");
    }

    fn merge(&mut self, other: &mut Self) {
        self.packets += other.packets;
        let times = [self.times, other.times].into_iter().flatten();
        self.times = times.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }

    fn reset(&mut self) {
        (self.packets, self.times) = (0, None);
    }

    fn publish(&self, live: &mut Self) {
        (live.packets, live.times) = (self.packets, self.times);
    }
}

/// The documents of windows with bounded figures beside them, as text.
fn documents(bytes: &[u8], workers: usize) -> String {
    let telescope = telescope(workers, Duration::from_secs(20));
    // So little memory that sources give way, and hosts by port are estimates.
    let make = || {
        let seed = telescope.seed();
        let bounded = (TopSources::new(1 << 17, seed), Profiles::new(1 << 18, seed));
        (telescope.figures(), (bounded, PortDistinct::new(4 << 20)))
    };
    let mut text = String::new();
    let mut forgotten = 0;
    let run = telescope.run_windows_with(&mut captures(bytes), make, |window| {
        let snapshot = window.snapshot(telescope.dark(), 0);
        text += &serde_json::to_string(&snapshot).expect("JSON");
        let (_, ((top, profiles), ports)) = &window.aggregate;
        forgotten += top.forgotten().sources;
        text += &format!("{:?}\n{:?}\n", top.top(0), profiles.top(0));
        text += &format!("{:?}\n", ports.iter().collect::<Vec<_>>());
        ControlFlow::Continue(())
    });
    run.expect("figures");
    assert!(forgotten > 0, "the memory is to be too little");
    text
}

#[test]
fn under_a_fixed_seed_bounded_figures_don_t_depend_on_workers_or_runs() {
    let (bytes, _) = generate("bench-million.toml", 60_000);
    let one = documents(&bytes, 1);
    assert!(one.len() > 100_000);
    for workers in [1, 2, 8] {
        assert!(documents(&bytes, workers) == one, "{workers} workers");
    }
}

/// An example of the library, built.
fn example(name: &str) -> Command {
    let build = ["build", "--package", "darknet-core", "--example", name];
    Command::new(xtask::cargo::executable(&build, name).expect("it compiles"))
}

#[test]
fn the_example_of_an_own_aggregate_counts_over_captures() {
    let scenarios = root().join("xtask/scenarios");
    let mut command = example("own_aggregate");
    let output = command.arg(scenarios.join("first-light.pcap")).output();
    let output = output.expect("it starts");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("text");
    let numbers = |pattern: &str| -> (u64, u64) {
        let lines = printed
            .lines()
            .filter_map(|line| line.trim().strip_prefix(pattern));
        let numbers = lines.map(|line| {
            let words: Vec<u64> = line
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            (words[0], words[1])
        });
        numbers.fold((0, 0), |sum, line| (sum.0 + line.0, sum.1 + line.1))
    };
    let text = fs::read_to_string(scenarios.join("first-light.json")).expect("the truth");
    let written: Written = serde_json::from_str(&text).expect("the truth");
    for port in [23, 2323] {
        let (syns, marked) = numbers(&format!("tcp {port}: "));
        assert_eq!(
            Some(&syns),
            written.ports["tcp_syn"].get(&port),
            "{printed}"
        );
        assert!(0 < marked && marked <= syns, "{printed}");
    }
}

#[test]
fn windows_rolled_up_to_a_day_are_the_whole() {
    let (bytes, written) = generate("first-light.toml", 30_000);
    for (workers, zone) in [(1, "UTC0"), (2, "JST-9"), (8, "CET-1CEST,M3.5.0,M10.5.0/3")] {
        let telescope = telescope(workers, Duration::from_secs(10));
        let whole = telescope.run(&mut captures(&bytes)).expect("figures");
        let json = |window: &Window<Figures>| {
            let snapshot = window.snapshot(telescope.dark(), 0);
            serde_json::to_string(&snapshot).expect("JSON")
        };
        let mut rolled = Vec::new();
        let zone_is = TimeZone::posix(zone).expect("a zone");
        let mut rollup = Rollup::new(zone_is, |over: Rolled<'_, Figures>| {
            rolled.push((over.length, json(over.window)));
        });
        let run = telescope.run_windows(&mut captures(&bytes), |window| {
            rollup.add(window);
            ControlFlow::Continue(())
        });
        run.expect("figures");
        rollup.finish();
        assert!(whole.ledger.counted == written.counted);
        // Its two minutes are in one hour of one day, wherever.
        for (found, length) in rolled.iter().zip([Length::Hour, Length::Day]) {
            assert_eq!(found.0, length, "{zone}");
            assert!(found.1 == json(&whole), "{zone}, {length:?}");
        }
        assert_eq!(rolled.len(), 2, "{zone}");
    }
}

#[test]
fn over_files_an_aggregate_that_panics_costs_its_part_of_a_window() {
    let (bytes, written) = generate("first-light.toml", 50_000);
    for workers in [1, 2, 8] {
        let telescope = telescope(workers, Duration::from_secs(10));
        let all = Arc::new(AtomicU64::new(0));
        let make = || (telescope.figures(), Counting::new(&all, 20_000));
        let (mut counted, mut abandoned, mut faulty) = (0, 0, Vec::new());
        let run = telescope.run_windows_with(&mut captures(&bytes), make, |window| {
            assert_eq!(window.ledger.check(), Ok(()));
            let (figures, own) = &window.aggregate;
            assert_eq!(own.packets, window.ledger.observed);
            let ours = Class::ALL.map(|class| figures.totals.class(class).packets);
            assert_eq!(ours.iter().sum::<u64>(), window.ledger.observed);
            let lost = window.ledger.cell(Cell::Abandoned);
            assert_eq!(lost > 0, !window.faults.is_empty());
            counted += window.ledger.counted;
            abandoned += lost;
            faulty.extend(window.faults.clone());
            ControlFlow::Continue(())
        });
        let error = run.expect_err("it panicked");
        assert!(matches!(error, Error::Panicked { .. }), "{error}");
        let said = "the packet to panic at";
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(counted, written.counted, "{workers} workers: all windows");
        assert_eq!(faulty.len(), 1, "{workers} workers: {faulty:?}");
        assert!(faulty[0].contains("\"worker ") && faulty[0].contains(said));
        assert!(0 < abandoned && abandoned < counted / 2, "{abandoned}");
    }
}

#[test]
fn an_aggregate_that_always_panics_leaves_empty_figures_and_a_ledger_that_adds_up() {
    let (bytes, written) = generate("first-light.toml", 20_000);
    struct Broken;
    impl Aggregate for Broken {
        fn observe(&mut self, _: &Observation) {
            panic!("always");
        }
        fn merge(&mut self, _: &mut Self) {}
        fn reset(&mut self) {}
    }
    let telescope = telescope(2, Duration::from_secs(10));
    let make = || (telescope.figures(), Broken);
    let mut abandoned = 0;
    let run = telescope.run_windows_with(&mut captures(&bytes), make, |window| {
        assert_eq!((window.ledger.check(), window.ledger.observed), (Ok(()), 0));
        assert_eq!(
            window
                .snapshot(telescope.dark(), 0)
                .sources
                .map_or(0, |rows| rows.len()),
            0
        );
        abandoned += window.ledger.cell(Cell::Abandoned);
        ControlFlow::Continue(())
    });
    assert!(run.is_err());
    assert_eq!(abandoned, written.counted);
}

#[cfg(target_os = "linux")]
mod live {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
        sync::mpsc::channel,
        thread::{self, sleep},
        time::Instant,
    };

    use darknet_core::{
        aggregate::Survey,
        live::{Control, Event, LiveFigures, Packets, Watch},
    };
    use darknet_tests::{
        documents::number,
        live::{plan, send, syns},
        privileged,
    };
    use jiff::Timestamp;
    use serde_json::Value;
    use xtask::lab::World;

    use super::*;

    type Beside = (Survey, Counting);

    /// The open window, once the telescope has got this far.
    fn live_until(
        control: &Control<Beside>,
        what: &str,
        done: impl Fn(&LiveFigures<Beside>) -> bool,
    ) -> Arc<Window<LiveFigures<Beside>>> {
        let begun = Instant::now();
        loop {
            if let Some(window) = control.live()
                && done(&window.aggregate)
            {
                return window;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
            sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_example_of_a_window_stream_prints_lines_until_its_reader_goes() {
        let name = "the_example_of_a_window_stream_prints_lines_until_its_reader_goes";
        if !privileged(name) {
            return;
        }
        let world = World::new(1).expect("a world");
        let mut command = world
            .telescope()
            .command(example("windows_to_json").get_program());
        command.args([world.interface(), "203.0.113.0/24"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next = || -> Value {
            let line = lines.next().expect("a line").expect("text");
            serde_json::from_str(&line).expect("JSON")
        };
        // It has begun when the first window has closed.
        assert_eq!(next()["schema"], "darknet.snapshot/1");
        let (sent, _) = send(&world, &syns(1000, &[(23, "203.0.113.0/24")]), Some(50_000));
        let counted = |document: Value| number(&document["ledger"]["counted"]);
        assert_eq!(counted(next()) + counted(next()), sent.sent);
        drop(lines);
        assert!(child.wait().expect("it ends").success());
    }

    #[test]
    fn live_any_thread_reads_the_open_window_and_what_aggregates_publish() {
        if !privileged("live_any_thread_reads_the_open_window_and_what_aggregates_publish") {
            return;
        }
        let world = World::new(1).expect("a world");
        let plan = plan("first-light.toml", 50_000);
        for (publish, workers) in [(true, 1), (true, 3), (false, 1)] {
            let name = format!("{workers} workers, publish: {publish}");
            let mut watch = Watch::new(world.interface());
            (watch.any, watch.publish) = (true, publish);
            (watch.packets, watch.workers) = (Packets::Headers, Some(workers));
            watch.duration = Some(Duration::from_secs(60));
            // No window closes but the last, unless the hour is over.
            let telescope = Telescope::new()
                .with_window(Duration::from_secs(3600))
                .expect("a window");
            let all = Arc::new(AtomicU64::new(0));
            let make = move |telescope: &Telescope| (telescope.survey(), Counting::new(&all, 0));
            let control = Control::new();
            assert!(control.live().is_none(), "{name}: before it begins");
            let open = thread::scope(|scope| {
                let watching = scope.spawn(|| {
                    let watch = || telescope.watch_with(&watch, &control, make, |_| {});
                    world.telescope().enter(watch)
                });
                live_until(&control, "it begins", |_| true);
                let (_, truth) = send(&world, &plan, Some(50_000));
                let counted = |live: &LiveFigures<Beside>| -> u64 {
                    let classes = Class::ALL.map(|class| live.totals.class(class).packets);
                    classes.iter().sum()
                };
                let open = live_until(&control, &name, |live| {
                    let own = live.published.as_ref().map(|(_, own)| own.packets);
                    counted(live) == truth.counted && own == publish.then_some(truth.counted)
                });
                control.stop();
                watching
                    .join()
                    .expect("a thread")
                    .expect("a namespace")
                    .expect("it watches");
                open
            });
            // Who has one keeps it.
            assert!(open.aggregate.observed.is_none(), "{name}");
            let snapshot = open.snapshot(telescope.dark(), 0);
            assert!(snapshot.hosts.is_none(), "{name}: ours publish nothing");
            assert!(control.live().is_none(), "{name}: after its end");
        }
    }

    fn close(window: &mut Window<LiveFigures<Beside>>) -> Option<Beside> {
        window.aggregate.observed.take()
    }

    #[test]
    fn live_an_aggregate_runs_beside_ours_and_may_panic() {
        if !privileged("live_an_aggregate_runs_beside_ours_and_may_panic") {
            return;
        }
        // By both queues of the link, and by one thread or two.
        let plan = plan("first-light.toml", 50_000);
        for (packets, workers, panic_at) in [
            (Packets::Headers, 1, 0),
            (Packets::Headers, 2, 0),
            (Packets::Frames, 2, 0),
            (Packets::Headers, 2, 20_000),
            (Packets::Frames, 1, 20_000),
        ] {
            let name = format!("{packets:?}, {workers} workers, panics at {panic_at}");
            let world = World::new(workers).expect("a world");
            let mut watch = Watch::new(world.interface());
            watch.packets = packets;
            watch.any = true;
            // If something goes wrong here.
            watch.duration = Some(Duration::from_secs(60));
            watch.workers = Some(workers as usize);
            watch.sockets.ring = 32_768;
            watch.sockets.frames = 32_768;
            let telescope = Telescope::new()
                .with_window(Duration::from_millis(200))
                .expect("a window");
            let all = Arc::new(AtomicU64::new(0));
            let make =
                move |telescope: &Telescope| (telescope.survey(), Counting::new(&all, panic_at));
            let control = Control::new();
            let (started, has_started) = channel();
            let begun = Timestamp::now();
            let mut truth = None;
            let windows = thread::scope(|scope| {
                let watching = scope.spawn(|| {
                    let mut windows = Vec::new();
                    let watched = world.telescope().enter(|| {
                        telescope.watch_with(&watch, &control, make, |event| match event {
                            Event::Started(_) => started.send(()).expect("somebody waits"),
                            Event::Closed(window) => {
                                assert_eq!(window.ledger.check(), Ok(()));
                                let json = window.snapshot(telescope.dark(), 0);
                                windows.push((json, window.ledger.clone(), close(window)));
                            }
                            Event::Open(_) | Event::Changed(_) => {}
                        })
                    });
                    watched.expect("the namespace").expect("it watches");
                    windows
                });
                has_started.recv().expect("it starts");
                let (_, written) = send(&world, &plan, Some(50_000));
                truth = Some(written);
                sleep(Duration::from_millis(300));
                control.stop();
                watching.join().expect("windows")
            });
            let truth = truth.expect("sent");
            let (mut counted, mut abandoned, mut faults) = (0, 0, Vec::new());
            let mut own: Option<Beside> = None;
            for (json, ledger, observed) in windows {
                counted += ledger.counted;
                abandoned += ledger.cell(Cell::Abandoned);
                assert_eq!(ledger.lost(), ledger.cell(Cell::Abandoned), "{name}");
                assert_eq!(
                    !json.faults.is_empty(),
                    ledger.cell(Cell::Abandoned) > 0,
                    "{name}"
                );
                faults.extend(json.faults);
                let packets = observed.as_ref().map_or(0, |(_, own)| own.packets);
                assert_eq!(packets, ledger.observed, "{name}");
                match (&mut own, observed) {
                    (Some(own), Some(mut observed)) => own.merge(&mut observed),
                    (own, observed) => *own = own.take().or(observed),
                }
            }
            let (survey, own) = own.expect("packets");
            assert_eq!(counted, truth.counted, "{name}");
            assert_eq!(own.packets + abandoned, truth.counted, "{name}");
            // The time of day, not that of the kernel.
            let (first, last) = own.times.expect("packets");
            let [begun, now] = [begun, Timestamp::now()].map(Timestamp::as_nanosecond);
            assert!(begun < first.into() && i128::from(last) < now, "{name}");
            match panic_at {
                0 => {
                    assert_eq!((abandoned, faults.len()), (0, 0), "{name}: {faults:?}");
                    let hosts = survey.sources.hosts().map(|hosts| hosts.all);
                    assert_eq!(hosts.as_ref(), truth.hosts.get("all"), "{name}");
                }
                _ => {
                    assert!(
                        0 < abandoned && abandoned < counted / 2,
                        "{name}: {abandoned}"
                    );
                    let [fault] = &faults[..] else {
                        panic!("{name}: {faults:?}");
                    };
                    assert!(fault.contains("the packet to panic at"), "{fault}");
                }
            }
        }
    }
}
