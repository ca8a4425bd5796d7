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
        let make = move |telescope: &Telescope| (telescope.survey(), Counting::new(&all, panic_at));
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
