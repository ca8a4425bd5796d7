use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Map, MapType},
};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::kernel::{
    Settings, attach, object, sizes,
    sys::{Ends, Link, interface_index},
    testing::{alone, run},
};

const PARTS: &str = "PARTS";

fn object() -> Ebpf {
    let processors = sizes::processors().expect("counted");
    object::load(&Settings::default(), processors).expect("maps")
}

/// Some of the maps: those that hold what is counted, in two shapes.
fn maps(loaded: &mut Ebpf) -> Vec<(&'static str, MapData)> {
    let names = ["STATE", PARTS, "WIDE"];
    let map = |name| match loaded.take_map(name) {
        Some(Map::Array(map) | Map::HashMap(map)) => (name, map),
        other => panic!("{name}: {other:?}"),
    };
    names.map(map).into()
}

fn pin(pins: &Pins, generation: u64, maps: &[(&'static str, MapData)]) {
    let maps = maps.iter().map(|(name, map)| (*name, map));
    pins.pin_maps(generation, maps).expect("pinned");
}

/// A telescope that counts on `watched0`, pinned as the first generation of a new folder.
fn counting(folder: &Path) -> (Pins, Ebpf, Link) {
    let mut loaded = object();
    let pins = open(folder).expect("made");
    assert!(pins.link().expect("looked").is_none());
    let (_, name, link) = attach::attach(&mut loaded, "watched0").expect("attached");
    assert_eq!(name, object::FRAGMENTS);
    pin(&pins, 1, &maps(&mut loaded));
    pins.pin_link(&link).expect("pinned");
    (pins, loaded, link)
}

/// What the pinned link is between.
fn pinned(pins: &Pins) -> Ends {
    let link = pins.link().expect("looked").expect("it is there");
    link.ends().expect("an answer")
}

fn program_id(loaded: &mut Ebpf) -> u32 {
    let program = attach::program(loaded, object::FRAGMENTS).expect("a program");
    program.info().expect("loaded").id()
}

/// The program that `watched0` has.
fn on_watched() -> Option<u32> {
    let index = interface_index("watched0").expect("it is there");
    netlink::link(index).expect("an answer").program
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.sort_unstable();
    names
}

/// What comes of it once the lock is free that this process has just let go of: a child that
/// another test starts holds what its parent has open, until it is the other program.
fn once_free<T>(attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..100 {
        match attempt() {
            Err(Error::PinsInUse { .. }) => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
    attempt()
}

fn open(folder: &Path) -> Result<Pins, Error> {
    once_free(|| Pins::open(folder))
}

fn detach(folder: &Path) -> Result<Option<Ended>, Error> {
    once_free(|| super::detach(folder))
}

#[test]
fn maps_are_found_again_and_have_to_be_of_the_same_shape() {
    alone("maps_are_found_again", |bpffs| {
        let folder = bpffs.join("some/where");
        let maps = maps(&mut object());
        let pins = open(&folder).expect("made, with what it is in");
        assert_eq!(pins.generations().expect("read"), [0; 0]);
        for generation in [10, 9] {
            pin(&pins, generation, &maps);
        }
        drop(pins);
        let pins = open(&folder).expect("opened again");
        assert_eq!(pins.generations().expect("read"), [9, 10]);
        assert_eq!(names(&folder.join("9")), ["PARTS", "STATE", "WIDE"]);

        let [_, (_, parts), _] = &maps[..] else {
            panic!("three maps")
        };
        let shape = Shape::of(parts).expect("known");
        let found = pins.open_map(9, PARTS, &shape).expect("the same");
        let id = |map: &MapData| map.info().expect("known").id();
        assert_eq!(id(&found), id(parts));
        let any = Shape {
            entries: None,
            ..shape
        };
        pins.open_map(9, PARTS, &any).expect("as many as there are");

        let Shape {
            kind,
            key,
            value,
            entries,
        } = shape;
        let entries = entries.expect("known");
        let (more, fewer) = (Some(entries + 1), entries + 1);
        let other = MapType::PerCpuHash;
        for (wrong, difference) in [
            (
                Shape {
                    kind: other,
                    ..shape
                },
                format!("map PARTS has the kind {kind:?}, not PerCpuHash"),
            ),
            (
                Shape { key: 8, ..shape },
                format!("map PARTS has keys of {key} bytes, not 8"),
            ),
            (
                Shape { value: 1, ..shape },
                format!("map PARTS has values of {value} bytes, not 1"),
            ),
            (
                Shape {
                    entries: more,
                    ..shape
                },
                format!("map PARTS has room for {entries} entries, not {fewer}"),
            ),
        ] {
            let error = pins.open_map(9, PARTS, &wrong).expect_err(&difference);
            let path = folder.display();
            let expected = format!(
                "{path}: the telescope pinned there is of another version ({difference}); end it with darknet detach --pins {path}, or run the version that made it"
            );
            assert_eq!(error.to_string(), expected);
        }
        let error = pins
            .open_map(10, "DIGESTS", &shape)
            .expect_err("no such map");
        let error = error.to_string();
        assert!(error.contains("no map DIGESTS in generation 10"), "{error}");

        pins.remove(9).expect("removed");
        assert_eq!(pins.generations().expect("read"), [10]);
        pins.clear().expect("cleared");
        assert_eq!(names(&bpffs.join("some")), [""; 0]);
        assert_eq!(detach(&folder).expect("looked"), None);

        // Where it is mounted, it can be emptied and not removed.
        let mounted = bpffs.join("mounted");
        fs::create_dir(&mounted).expect("made");
        run("mount --bind /sys/fs/bpf/mounted /sys/fs/bpf/mounted");
        pin(&open(&mounted).expect("opened"), 1, &maps);
        open(&mounted)
            .expect("opened again")
            .clear()
            .expect("cleared");
        assert_eq!(names(&mounted), [""; 0]);
        assert_eq!(detach(&mounted).expect("looked"), None);
    });
}

#[test]
fn a_generation_is_whole_or_absent() {
    alone("a_generation_is_whole_or_absent", |bpffs| {
        let folder = bpffs.join("one");
        let maps = maps(&mut object());
        let pins = open(&folder).expect("made");
        let twice = maps.iter().map(|(_, map)| ("TWICE", map));
        let error = pins.pin_maps(1, twice).expect_err("the name is taken");
        assert!(
            error.to_string().contains("one/unfinished/TWICE: "),
            "{error}"
        );
        assert_eq!(names(&folder), [""; 0], "nothing is left");

        pin(&pins, 1, &maps);
        let again = maps.iter().map(|(name, map)| (*name, map));
        let error = pins.pin_maps(1, again).expect_err("the number is taken");
        assert!(error.to_string().contains("making"), "{error}");
        assert_eq!(names(&folder), ["1"]);

        // As a process leaves it that is killed in the middle.
        fs::create_dir(folder.join("unfinished")).expect("made");
        maps[0]
            .1
            .pin(folder.join("unfinished/STATE"))
            .expect("pinned");
        assert_eq!(pins.generations().expect("read"), [1]);
        drop(pins);
        let pins = open(&folder).expect("opened again");
        assert_eq!(names(&folder), ["1"]);
        pins.remove(1).expect("removed");
        fs::create_dir(folder.join("unfinished")).expect("made");
        drop(pins);
        drop(open(&folder).expect("opened again"));
        fs::create_dir(folder.join("unfinished")).expect("made");
        assert_eq!(detach(&folder).expect("looked"), None);
        assert_eq!(names(&folder), [""; 0]);
    });
}

#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    alone("what_is_not_ours_is_named_and_left_alone", |bpffs| {
        let (_, map) = maps(&mut object()).remove(0);
        for (number, name) in ["other", "01", "+1", "-1", "Link"].into_iter().enumerate() {
            let folder = bpffs.join(number.to_string());
            fs::create_dir_all(folder.join("1")).expect("made");
            fs::create_dir(folder.join(name)).expect("made");
            for error in [
                open(&folder).expect_err(name),
                detach(&folder).expect_err(name),
            ] {
                let expected = format!("{}: holds {name}, which", folder.display());
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
            assert!(
                folder.join(name).exists() && folder.join("1").exists(),
                "{name}"
            );
        }
        let folder = bpffs.join("files");
        fs::create_dir(&folder).expect("made");
        map.pin(folder.join("7")).expect("pinned");
        let error = open(&folder).expect_err("a map is no generation");
        assert!(error.to_string().contains("holds 7, which"), "{error}");
        fs::rename(folder.join("7"), folder.join("link")).expect("renamed");
        let error = detach(&folder).expect_err("a link alone is of another program");
        assert!(error.to_string().contains("holds link, which"), "{error}");
        fs::create_dir(folder.join("1")).expect("made");
        let error = detach(&folder).expect_err("a map is no link");
        assert!(error.to_string().contains("holds link, which"), "{error}");
        assert_eq!(names(&folder), ["1", "link"]);
    });
}

#[test]
fn a_link_outlives_its_program_is_moved_and_taken_off_at_once() {
    alone("a_link_outlives_its_program", |bpffs| {
        let folder = bpffs.join("one");
        let (pins, mut first, link) = counting(&folder);
        let first_program = program_id(&mut first);
        let interface = interface_index("watched0");
        let program = first_program;
        assert_eq!(pinned(&pins), Ends { interface, program });
        drop((link, first));
        assert_eq!(on_watched(), Some(first_program), "it stays");

        let mut second = object();
        let program = attach::program(&mut second, object::FRAGMENTS).expect("a program");
        attach::ready(program).expect("loaded");
        let link = pins.link().expect("looked").expect("it is there");
        let fd = program.fd().expect("loaded").as_fd();
        link.update(fd).expect("moved");
        let second_program = program_id(&mut second);
        pin(&pins, 2, &maps(&mut second));
        pins.remove(1).expect("removed");
        drop((link, second));
        let program = second_program;
        assert_eq!(pinned(&pins), Ends { interface, program });
        assert_eq!(on_watched(), Some(second_program));
        drop(pins);

        let ended = detach(&folder).expect("detached");
        let interface = Some("watched0".into());
        assert_eq!(ended, Some(Ended { interface }));
        assert_eq!(on_watched(), None, "at once");
        assert!(!folder.exists());
    });
}

#[test]
fn an_interface_that_disappears_leaves_a_link_to_nothing() {
    alone("an_interface_that_disappears", |bpffs| {
        let folder = bpffs.join("one");
        let (pins, mut loaded, _link) = counting(&folder);
        run("ip link delete watched0");
        let program = program_id(&mut loaded);
        let interface = None;
        assert_eq!(pinned(&pins), Ends { interface, program });
        pins.clear().expect("cleared");
        assert!(!folder.exists());
    });
}

/// Numbers of interfaces are those of their namespace: here another has the same.
#[test]
fn a_telescope_in_another_namespace_is_ended_and_its_interface_not_guessed() {
    alone("a_telescope_in_another_namespace", |bpffs| {
        let folder = bpffs.join("one");
        let (pins, loaded, link) = counting(&folder);
        let index = pinned(&pins).interface;
        drop((pins, link, loaded));
        let elsewhere = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("CAP_SYS_ADMIN");
                run("ip link add watched0 type veth peer name sender0");
                assert_eq!(interface_index("watched0"), index);
                detach(&folder).expect("detached")
            });
            thread.join().expect("no panic")
        });
        assert_eq!(elsewhere, Some(Ended { interface: None }));
        assert_eq!(on_watched(), None);
    });
}

/// Names a folder to the process that the next test starts, and kills.
const FOLDER: &str = "DARKNET_TEST_PINS";

#[test]
fn killed_is_unlocked_and_still_counting() {
    if let Some(folder) = env::var_os(FOLDER) {
        let (_pins, mut loaded, _link) = counting(Path::new(&folder));
        // Past the test runner's capture.
        let said = format!("pinned {}\n", program_id(&mut loaded));
        std::io::stderr().write_all(said.as_bytes()).expect("said");
        loop {
            thread::sleep(Duration::from_secs(60));
        }
    }
    alone("killed_is_unlocked_and_still_counting", |bpffs| {
        struct Killed(Child);
        impl Drop for Killed {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
        let folder = bpffs.join("one");
        let name = format!("{}::killed_is_unlocked_and_still_counting", module_path!());
        let (_, name) = name.split_once("::").expect("a crate");
        let child = Command::new(env::current_exe().expect("known"))
            .args(["--exact", name])
            .env(FOLDER, &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Killed(child.expect("it starts"));
        let mut lines = BufReader::new(child.0.stderr.take().expect("piped")).lines();
        let said = lines.next().expect("a line").expect("text");
        let program = said.strip_prefix("pinned ").expect(&said);
        let program = program.parse().expect("a number");
        for error in [
            Pins::open(&folder).expect_err("locked"),
            super::detach(&folder).expect_err("locked"),
        ] {
            let expected = "another telescope runs with these pins";
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert_eq!(on_watched(), Some(program));

        drop(child);
        let pins = open(&folder).expect("opened again");
        assert_eq!(pins.generations().expect("read"), [1]);
        assert_eq!(pinned(&pins).program, program);
        assert_eq!(on_watched(), Some(program), "it is still there");
        pins.clear().expect("cleared");
        assert_eq!(on_watched(), None);
    });
}
