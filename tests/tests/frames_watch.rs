//! What the library says of frames where something is amiss: drivers that leave no room for
//! metadata, and workers that die. Needs root.
#![cfg(target_os = "linux")]

use std::{
    sync::{Mutex, mpsc::channel},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use darknet_core::{
    Telescope, Window,
    live::{Control, Event, LiveFigures, Packets, Watch},
    rules::Cell,
};
use darknet_tests::{
    frames::alone,
    live::{plan, send, world},
    traffic::Traffic,
    truth::assert_truth,
};
use xtask::lab::World;

const RATE: u64 = 100_000;
/// How long it may take until a dead worker is missed: its panic is written first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Watches while something happens, and gives all windows that closed.
fn watched(
    world: &World,
    watch: &Watch,
    window: Duration,
    during: impl FnOnce(&Control, &Mutex<Vec<Window<LiveFigures>>>),
) -> Vec<Window<LiveFigures>> {
    let telescope = Telescope::new().with_window(window).expect("a window");
    let control = Control::new();
    let (started, has_started) = channel();
    let windows: Mutex<Vec<Window<LiveFigures>>> = Mutex::default();
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let watched = world.telescope().enter(|| {
                telescope.watch(watch, &control, |event| match event {
                    Event::Started(got) => {
                        started.send(got.packets).expect("somebody waits");
                    }
                    Event::Closed(window) => {
                        let window = window.clone();
                        windows.lock().expect("nobody panics").push(window);
                    }
                    Event::Open(_) | Event::Changed(_) => {}
                })
            });
            watched.expect("the namespace").expect("it watches");
        });
        assert_eq!(has_started.recv().expect("it starts"), watch.packets);
        during(&control, &windows);
        control.stop();
        watching.join().expect("it ends");
    });
    windows.into_inner().expect("nobody panics")
}

/// Every destination is dark, and frames may wait for long.
fn frames(world: &World) -> Watch {
    let mut watch = Watch::new(world.interface());
    watch.packets = Packets::Frames;
    watch.any = true;
    watch.sockets.ring = 32_768;
    watch.sockets.frames = 32_768;
    watch.sockets.chunk = Some(2048);
    watch
}

fn merged(windows: Vec<Window<LiveFigures>>) -> Window<LiveFigures> {
    let mut windows = windows.into_iter();
    let mut all = windows.next().expect("a window");
    windows.for_each(|mut window| all.merge(&mut window));
    all
}

#[test]
fn frames_without_metadata_are_walked_again_and_say_the_same() {
    let Some(_guard) = alone("frames_without_metadata_are_walked_again_and_say_the_same") else {
        return;
    };
    let world = world();
    let plan = plan("first-light.toml", 150_000);
    let watch = Watch {
        no_metadata: true,
        ..frames(&world)
    };
    for window in [Duration::from_secs(60), Duration::from_millis(200)] {
        let mut truth = None;
        let windows = watched(&world, &watch, window, |_, _| {
            truth = Some(send(&world, &plan, Some(RATE)).1);
            sleep(Duration::from_millis(300));
        });
        assert!(
            window.as_secs() > 0 || windows.len() > 5,
            "{}",
            windows.len()
        );
        for window in &windows {
            assert_eq!(window.ledger.check(), Ok(()));
            assert_eq!(window.faults, [""; 0]);
            assert_eq!(window.ledger.lost(), 0);
            assert_eq!(window.ledger.cut, 0);
        }
        let all = merged(windows);
        assert_eq!(all.ledger.observed, all.ledger.counted);
        assert_eq!(all.ledger.walked, all.ledger.observed);
        let telescope = Telescope::new();
        assert_truth(&truth.expect("sent"), &all.snapshot(telescope.dark(), 0));
    }
}

/// Of a ring that is too small, so that frames are lost.
#[test]
fn frames_without_metadata_are_lost_by_name_too() {
    let Some(_guard) = alone("frames_without_metadata_are_lost_by_name_too") else {
        return;
    };
    let world = world();
    let plan = plan("first-light.toml", 50_000);
    let mut watch = Watch {
        no_metadata: true,
        ..frames(&world)
    };
    watch.sockets.ring = 64;
    watch.sockets.frames = 64;
    let mut sent = 0;
    let windows = watched(&world, &watch, Duration::from_millis(200), |_, _| {
        for _ in 0..5 {
            sent += send(&world, &plan, Some(20 * RATE)).0.sent;
        }
    });
    let mut lost = 0;
    for window in &windows {
        assert_eq!(window.ledger.check(), Ok(()));
        assert_eq!(window.faults, [""; 0]);
        assert_eq!(window.ledger.cell(Cell::RedirectFailed), 0);
        lost += window.ledger.lost();
    }
    assert!(lost > 0);
    let all = merged(windows).ledger;
    assert_eq!(all.received, sent);
    assert_eq!(all.observed + all.lost(), all.counted);
}

#[test]
fn a_worker_that_dies_takes_its_packets_with_it_and_the_others_go_on() {
    let name = "a_worker_that_dies_takes_its_packets_with_it_and_the_others_go_on";
    let Some(_guard) = alone(name) else { return };
    let plan = plan("first-light.toml", 50_000);
    for (packets, queues, dying) in [
        (Packets::Frames, 1, 0),
        (Packets::Frames, 2, 0),
        (Packets::Frames, 2, 1),
        (Packets::Headers, 1, 0),
    ] {
        let name = format!("{packets:?}, {queues} queues, worker {dying} dies");
        let world = World::new(queues).expect("a world");
        let watch = Watch {
            packets,
            workers: Some(1),
            ..frames(&world)
        };
        let mut sent = 0;
        let is_partial = |window: &Window<LiveFigures>| !window.faults.is_empty();
        let windows = watched(
            &world,
            &watch,
            Duration::from_millis(200),
            |control, windows| {
                // By the first queue.
                thread::scope(|scope| {
                    let traffic = Traffic::begin(scope, &world, &plan, RATE);
                    sleep(Duration::from_millis(500));
                    control.end_worker(dying);
                    let begun = Instant::now();
                    while !windows
                        .lock()
                        .expect("nobody panics")
                        .iter()
                        .any(is_partial)
                    {
                        assert!(begun.elapsed() < PATIENCE, "{name}");
                        sleep(Duration::from_millis(50));
                    }
                    sent = traffic.end().sent;
                });
            },
        );
        let first = windows.iter().position(is_partial).expect("it is told");
        assert!(first >= 1, "{name}");
        for (number, window) in windows.iter().enumerate() {
            assert_eq!(window.ledger.check(), Ok(()), "{name}");
            let abandoned = window.ledger.cell(Cell::Abandoned);
            if number < first {
                assert_eq!(abandoned, 0, "{name}");
                continue;
            }
            // In every window, as long as it is so.
            let [fault] = &window.faults[..] else {
                panic!("{name}: {:?}", window.faults);
            };
            assert!(fault.starts_with("a worker has died"), "{fault}");
        }
        let all = merged(windows).ledger;
        assert_eq!(all.received, sent, "{name}");
        let abandoned = all.cell(Cell::Abandoned);
        match dying {
            0 => assert!(abandoned > 0 && all.observed > 0, "{name}: {all:?}"),
            _ => assert_eq!((abandoned, all.observed), (0, all.counted), "{name}"),
        }
    }
}
