//! AF_XDP sockets on a link of the lab, fed by the smallest program that does. Needs root.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    net::UdpSocket,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use darknet_core::{
    Error,
    xsk::{BusyPoll, Fragments, Interface, Mode, Options, Queue, ZeroCopy},
};
use darknet_tests::privileged;
use xtask::lab::{
    self, Frames, Generator, LONGEST_FRAME, Limits, Mark, Program, Redirect, SHORTEST_FRAME, World,
};

/// How long anything may take before it hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// `ETH_P_802_EX1`: for experiments; nobody else sends it, and nobody merges it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// One world at a time: each opens every queue, and huge pages are the machine's.
fn alone(test: &str) -> Option<MutexGuard<'static, ()>> {
    static LAB: Mutex<()> = Mutex::new(());
    privileged(test).then(|| LAB.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Frames that carry their number at the end, the first `length` bytes long, each next one of these
/// lengths longer by one, and over again.
struct Numbered {
    next: u32,
    count: u32,
    lengths: Vec<usize>,
    tagged: bool,
    frame: Vec<u8>,
}

impl Numbered {
    fn new(count: u32, lengths: impl IntoIterator<Item = usize>, tagged: bool) -> Self {
        Self {
            next: 0,
            count,
            lengths: lengths.into_iter().collect(),
            tagged,
            frame: Vec::new(),
        }
    }

    fn frame(&self, number: u32) -> Vec<u8> {
        let length = self.lengths[number as usize % self.lengths.len()];
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if self.tagged {
            frame.extend([0x81, 0x00, 0x00, 0x07]);
        }
        frame.extend(EXPERIMENT);
        frame.resize(length.max(SHORTEST_FRAME), number as u8);
        if let Some((rest, last)) = frame.split_last_chunk_mut::<4>()
            && rest.len() >= 18
        {
            *last = number.to_be_bytes();
        }
        frame
    }

    fn all(&self) -> Vec<Vec<u8>> {
        (0..self.count).map(|number| self.frame(number)).collect()
    }
}

impl Frames for Numbered {
    fn next(&mut self) -> Option<&[u8]> {
        if self.next == self.count {
            return None;
        }
        self.frame = self.frame(self.next);
        self.next += 1;
        Some(&self.frame)
    }
}

/// Opens a queue of the telescope's interface.
fn try_open(world: &World, options: &Options) -> Result<Queue, Error> {
    let interface = world.interface();
    let opened = world.telescope().enter(|| Queue::open(interface, options));
    opened.expect("the namespace")
}

fn open(world: &World, options: &Options) -> Queue {
    try_open(world, options).expect("a queue")
}

/// Sends frames from a CPU; the driver takes all of them.
fn send(world: &World, cpu: usize, mut frames: Numbered) -> u64 {
    let options = lab::Options {
        cpu,
        ..lab::Options::default()
    };
    let mut generator = Generator::new(world, &options).expect("a generator");
    let sent = generator
        .send(&mut frames, &Limits::default())
        .expect("sent");
    assert_eq!((sent.errors, sent.in_flight), (0, 0));
    sent.sent
}

/// All packets that come until there were `count`, or nothing more does.
fn receive(queue: &mut Queue, count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let begun = Instant::now();
    while packets.len() < count && begun.elapsed() < PATIENCE {
        if !queue.wait(Duration::from_millis(200)).expect("it is there") {
            break;
        }
        packets.extend(queue.receive(64).iter().map(|frame| frame.data().to_vec()));
    }
    packets
}

/// Gives both ends addresses, and says how to send datagrams to the telescope's: they go through
/// the network stack, in socket buffers, as those of a generator don't.
fn datagrams(world: &World, count: usize) -> Vec<UdpSocket> {
    let wire = world.sender_interface();
    let sender = world.sender();
    let _ = sender.ip(&["address", "add", "198.51.100.1/24", "dev", wire]);
    let sockets = sender.enter(|| {
        let sockets = (0..count).map(|_| {
            let socket = UdpSocket::bind("198.51.100.1:0").expect("a socket");
            socket.connect("198.51.100.2:9").expect("a route");
            socket
        });
        sockets.collect()
    });
    sockets.expect("the namespace")
}

fn set_mtu(world: &World, mtu: &str) {
    for (side, interface) in [
        (world.telescope(), world.interface()),
        (world.sender(), world.sender_interface()),
    ] {
        side.ip(&["link", "set", interface, "mtu", mtu])
            .expect("an MTU");
    }
}

#[test]
fn packets_arrive_as_they_were_sent() {
    let Some(_guard) = alone("packets_arrive_as_they_were_sent") else {
        return;
    };
    for queues in [1, 2, 4] {
        let world = World::new(queues).expect("a world");
        let found = world
            .telescope()
            .enter(|| Interface::find(world.interface()));
        let found = found.expect("the namespace").expect("an interface");
        assert_eq!((found.queues, found.mtu), (Some(queues), 1500));
        for mode in [lab::Mode::Driver, lab::Mode::Generic] {
            let mut redirect = Redirect::attach(&world, mode, Program::Bare).expect("attached");
            let mut opened: Vec<_> = (0..queues)
                .map(|queue| {
                    let options = Options {
                        queue,
                        ..Options::default()
                    };
                    open(&world, &options)
                })
                .collect();
            for (queue, number) in opened.iter().zip(0..) {
                redirect.set(number, queue).expect("set");
                let outcome = queue.outcome();
                // veth has no zero-copy, and says so.
                assert_eq!(outcome.mode, Mode::Copy);
                assert!(outcome.multi_buffer && outcome.need_wakeup && !outcome.huge_pages);
                assert_eq!(outcome.refusals.len(), 2, "{:?}", outcome.refusals);
            }
            for (cpu, tagged) in [(0, false), (1, true)] {
                let name = format!("{queues} queues, {mode:?}, CPU {cpu}");
                let lengths = [
                    SHORTEST_FRAME,
                    60,
                    61,
                    64,
                    255,
                    256,
                    1024,
                    LONGEST_FRAME - 4,
                ];
                let frames = || Numbered::new(1500, lengths, tagged);
                let sent = frames().all();
                assert_eq!(send(&world, cpu, frames()), 1500);
                let number = match mode {
                    lab::Mode::Driver => world.queue_of(cpu) as usize,
                    // Behind the driver nobody knows by which queue a redirected frame came
                    // (`veth_xdp_rcv_bulk_skb`, drivers/net/veth.c), so it is the first.
                    lab::Mode::Generic => 0,
                };
                let queue = &mut opened[number];
                assert!(receive(queue, 1500) == sent, "{name}");
                let statistics = queue.statistics().expect("statistics");
                assert_eq!((statistics.pending, statistics.lost()), (0, 0), "{name}");
            }
            let received = opened
                .iter()
                .map(|queue| queue.statistics().expect("statistics").received);
            assert_eq!(received.sum::<u64>(), 3000);
        }
    }
}

#[test]
fn flows_spread_over_queues_and_none_is_lost() {
    let Some(_guard) = alone("flows_spread_over_queues_and_none_is_lost") else {
        return;
    };
    let world = World::new(4).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let mut opened: Vec<_> = (0..4)
        .map(|queue| {
            let options = Options {
                queue,
                ..Options::default()
            };
            let opened = open(&world, &options);
            redirect.set(queue, &opened).expect("set");
            opened
        })
        .collect();
    let mut expected = BTreeMap::new();
    for (index, socket) in datagrams(&world, 64).iter().enumerate() {
        for number in 0..10u8 {
            socket.send(&[index as u8, number]).expect("sent");
            *expected.entry([index as u8, number]).or_insert(0) += 1;
        }
    }
    let mut found = BTreeMap::new();
    let mut used = 0;
    for queue in &mut opened {
        let packets = receive(queue, usize::MAX);
        used += u32::from(!packets.is_empty());
        for packet in packets {
            // Ethernet, IPv4, UDP.
            *found.entry([packet[42], packet[43]]).or_insert(0) += 1;
        }
    }
    assert_eq!(found, expected);
    assert!(used > 1, "{used} queues used");
}

#[test]
fn metadata_is_what_the_program_left() {
    let Some(_guard) = alone("metadata_is_what_the_program_left") else {
        return;
    };
    let world = World::new(1).expect("a world");
    for mode in [lab::Mode::Driver, lab::Mode::Generic] {
        let mut redirect = Redirect::attach(&world, mode, Program::Mark).expect("attached");
        let mut queue = open(&world, &Options::default());
        redirect.set(0, &queue).expect("set");
        let lengths = || [60, 300, 1000];
        assert_eq!(send(&world, 0, Numbered::new(999, lengths(), false)), 999);
        let mut number = 0;
        while queue.wait(Duration::from_millis(200)).expect("it is there") {
            for frame in &queue.receive(100) {
                let mark = Mark {
                    queue: 0,
                    length: lengths()[number % 3] as u32,
                };
                assert_eq!(
                    Mark::read(frame.metadata()),
                    Some(mark),
                    "{mode:?} {number}"
                );
                assert_eq!(frame.data().len() as u32, mark.length);
                number += 1;
            }
        }
        assert_eq!(number, 999);
    }
}

#[test]
fn what_a_stalled_reader_misses_is_counted_to_the_packet() {
    let Some(_guard) = alone("what_a_stalled_reader_misses_is_counted_to_the_packet") else {
        return;
    };
    let world = World::new(1).expect("a world");
    for mode in [lab::Mode::Driver, lab::Mode::Generic] {
        for (ring, frames) in [(64, 64), (64, 256), (2, 2)] {
            let name = format!("{mode:?}, ring of {ring}, {frames} frames");
            let mut redirect = Redirect::attach(&world, mode, Program::Bare).expect("attached");
            let options = Options {
                ring,
                frames,
                ..Options::default()
            };
            let mut queue = open(&world, &options);
            redirect.set(0, &queue).expect("set");
            assert_eq!(queue.statistics().expect("statistics").fill, ring, "{name}");
            let mut sent = 0;
            let mut received = 0;
            for round in 0..5 {
                sent += send(&world, 0, Numbered::new(1000, [60], false));
                let statistics = queue.statistics().expect("statistics");
                assert_eq!(statistics.pending, ring, "{name}: the ring is full");
                assert_eq!(queue.pending(), ring);
                assert_eq!(queue.produced(), queue.consumed().wrapping_add(ring));
                assert_eq!(
                    received + u64::from(statistics.pending) + statistics.lost(),
                    sent,
                    "{name}, round {round}: {statistics:?}"
                );
                assert_eq!(statistics.received, received);
                // The first that came are those that are there.
                let packets = receive(&mut queue, ring as usize);
                let first = Numbered::new(ring, [60], false).all();
                assert!(packets == first, "{name}, round {round}");
                received += packets.len() as u64;
            }
        }
    }
}

#[test]
fn a_mark_is_reached_while_more_comes() {
    let Some(_guard) = alone("a_mark_is_reached_while_more_comes") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let mut queue = open(&world, &Options::default());
    redirect.set(0, &queue).expect("set");
    send(&world, 0, Numbered::new(300, [60], false));
    let mark = queue.produced();
    send(&world, 0, Numbered::new(300, [60], false));
    let mut count = 0;
    while mark.wrapping_sub(queue.consumed()) != 0 {
        let left = mark.wrapping_sub(queue.consumed());
        count += queue.receive(left.min(64)).iter().count();
    }
    assert_eq!((count, queue.pending()), (300, 300));
}

#[test]
fn jumbo_frames_are_put_together_cut_or_refused() {
    let Some(_guard) = alone("jumbo_frames_are_put_together_cut_or_refused") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    set_mtu(&world, "9000");
    let [socket] = &datagrams(&world, 1)[..] else {
        unreachable!("one")
    };
    let payload = |length: usize| (0..length).map(|at| (at * 7) as u8).collect::<Vec<_>>();
    for chunk in [4096, 2048] {
        for fragments in [Fragments::Assemble, Fragments::Truncate] {
            let options = Options {
                chunk: Some(chunk),
                fragments,
                ..Options::default()
            };
            let mut queue = open(&world, &options);
            redirect.set(0, &queue).expect("set");
            // Around the edge of one frame, of two, and the longest.
            let edge = chunk as usize - 280 - 42;
            let lengths = [100, edge - 1, edge, edge + 1, 2 * edge, 5000, 8972];
            for length in lengths {
                socket.send(&payload(length)).expect("sent");
            }
            let mut found = Vec::new();
            while queue.wait(Duration::from_millis(200)).expect("it is there") {
                for frame in &queue.receive(1) {
                    found.push((frame.data()[42..].to_vec(), frame.truncated()));
                }
            }
            assert_eq!(found.len(), lengths.len(), "{options:?}");
            let mut cut = 0;
            for ((data, truncated), length) in found.into_iter().zip(lengths) {
                let name = format!("{length} bytes, {options:?}");
                match fragments {
                    Fragments::Assemble => assert!(data == payload(length) && !truncated, "{name}"),
                    _ => {
                        assert!(data == payload(length)[..data.len()], "{name}");
                        assert_eq!(truncated, data.len() < length, "{name}");
                        assert!(truncated || length <= edge, "{name}");
                        cut += u64::from(truncated);
                    }
                }
            }
            let statistics = queue.statistics().expect("statistics");
            assert_eq!(statistics.received, lengths.len() as u64);
            assert_eq!(statistics.truncated, cut, "{options:?}");
            assert_eq!((statistics.lost(), statistics.bad_descriptors), (0, 0));
        }
    }
    let options = Options {
        fragments: Fragments::Refuse,
        ..Options::default()
    };
    let error = try_open(&world, &options).expect_err("too long");
    assert!(
        matches!(
            error,
            Error::FrameSize {
                mtu: 9000,
                most: 3794,
                ..
            }
        ),
        "{error}"
    );
    // If the MTU grows later, the kernel drops what is too long, and says so.
    set_mtu(&world, "1500");
    let mut queue = open(&world, &options);
    assert!(!queue.outcome().multi_buffer);
    redirect.set(0, &queue).expect("set");
    set_mtu(&world, "9000");
    for length in [100, 8000, 101] {
        socket.send(&payload(length)).expect("sent");
    }
    let packets = receive(&mut queue, 3);
    let lengths: Vec<_> = packets.iter().map(|packet| packet.len() - 42).collect();
    assert_eq!(lengths, [100, 101]);
    let statistics = queue.statistics().expect("statistics");
    assert_eq!((statistics.rx_dropped, statistics.lost()), (1, 1));
}

/// Huge pages of the machine, put back on drop.
struct HugePages(String);

const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    fn set(count: &str) -> Self {
        let before = fs::read_to_string(HUGE_PAGES).expect("proc");
        fs::write(HUGE_PAGES, count).expect("root");
        Self(before)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        fs::write(HUGE_PAGES, self.0.trim()).expect("root");
    }
}

#[test]
fn huge_pages_are_used_where_there_are_enough() {
    let Some(_guard) = alone("huge_pages_are_used_where_there_are_enough") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let options = Options {
        huge_pages: true,
        zero_copy: ZeroCopy::Never,
        ..Options::default()
    };
    // 16 MiB are eight pages.
    for (reserved, expected) in [("0", false), ("7", false), ("12", true)] {
        let _pages = HugePages::set(reserved);
        let mut queue = open(&world, &options);
        let outcome = queue.outcome();
        assert_eq!(outcome.huge_pages, expected, "{reserved} reserved");
        let refused: Vec<_> = outcome
            .refusals
            .iter()
            .map(|refusal| refusal.what)
            .collect();
        let refusals: &[&str] = if expected { &[] } else { &["huge pages"] };
        assert_eq!(refused, refusals, "{reserved} reserved");
        redirect.set(0, &queue).expect("set");
        send(&world, 0, Numbered::new(500, [60], false));
        let packets = receive(&mut queue, 500);
        assert!(packets == Numbered::new(500, [60], false).all());
    }
}

#[test]
fn an_interface_may_go_down_and_up_and_change_its_name_and_mtu() {
    let Some(_guard) = alone("an_interface_may_go_down_and_up_and_change_its_name_and_mtu") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let mut queue = open(&world, &Options::default());
    redirect.set(0, &queue).expect("set");
    let [socket] = &datagrams(&world, 1)[..] else {
        unreachable!("one")
    };
    let ip = |arguments: &[&str]| {
        world.telescope().ip(arguments).expect("ip");
    };
    let check = |queue: &mut Queue, name: &str| {
        // The link may take a moment to carry again.
        let begun = Instant::now();
        loop {
            let _ = socket.send(b"here");
            if queue.wait(Duration::from_millis(100)).expect(name) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{name}");
        }
        for frame in &queue.receive(64) {
            assert_eq!(&frame.data()[42..46], b"here", "{name}");
        }
    };
    check(&mut queue, "at first");
    ip(&["link", "set", "dark0", "down"]);
    let _ = socket.send(b"lost");
    assert!(
        !queue
            .wait(Duration::from_millis(50))
            .expect("down is not gone")
    );
    ip(&["link", "set", "dark0", "up"]);
    check(&mut queue, "up again");
    ip(&["link", "set", "dark0", "name", "other0"]);
    check(&mut queue, "with another name");
    ip(&["link", "set", "other0", "mtu", "1400"]);
    check(&mut queue, "with another MTU");
    ip(&["link", "set", "other0", "name", "dark0"]);
}

#[test]
fn what_a_deleted_interface_had_received_can_still_be_read() {
    let Some(_guard) = alone("what_a_deleted_interface_had_received_can_still_be_read") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    let mut queue = open(&world, &Options::default());
    redirect.set(0, &queue).expect("set");
    send(&world, 0, Numbered::new(100, [60], false));
    world
        .telescope()
        .ip(&["link", "delete", "dark0"])
        .expect("deleted");
    let packets = receive(&mut queue, 100);
    assert!(packets == Numbered::new(100, [60], false).all());
    // And then it says so, each time.
    for _ in 0..3 {
        let error = queue
            .wait(Duration::from_millis(10))
            .expect_err("it is gone");
        assert!(
            matches!(&error, Error::InterfaceGone { name } if name == "dark0"),
            "{error}"
        );
        assert!(queue.receive(64).is_empty());
    }
    let statistics = queue.statistics().expect("statistics");
    assert_eq!((statistics.received, statistics.pending), (100, 0));
    let error = try_open(&world, &Options::default()).expect_err("it is gone");
    assert!(matches!(error, Error::UnknownInterface { .. }), "{error}");
}

#[test]
fn a_queue_is_waited_for_while_another_socket_has_it() {
    let Some(_guard) = alone("a_queue_is_waited_for_while_another_socket_has_it") else {
        return;
    };
    let world = World::new(1).expect("a world");
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    // Opened again at once, many times.
    for _ in 0..20 {
        let mut queue = open(&world, &Options::default());
        redirect.set(0, &queue).expect("set");
        send(&world, 0, Numbered::new(10, [60], false));
        assert_eq!(receive(&mut queue, 10).len(), 10);
    }
    let held = open(&world, &Options::default());
    let impatient = Options {
        patience: Duration::from_millis(30),
        ..Options::default()
    };
    let begun = Instant::now();
    let error = try_open(&world, &impatient)
        .expect_err("it is held")
        .to_string();
    assert!(begun.elapsed() >= impatient.patience);
    assert!(
        error.contains("queue 0 of dark0") && error.contains("another socket has it"),
        "{error}"
    );
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            drop(held);
        });
        open(&world, &Options::default());
    });
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let Some(_guard) = alone("what_cannot_be_is_refused_by_name") else {
        return;
    };
    let world = World::new(2).expect("a world");
    let right = Options::default();
    for (options, expected) in [
        (
            Options {
                queue: 2,
                ..right.clone()
            },
            "queue is 2 of dark0, which has 2",
        ),
        (
            Options {
                ring: 100,
                ..right.clone()
            },
            "ring is 100",
        ),
        (
            Options {
                chunk: Some(1024),
                ..right.clone()
            },
            "chunk is 1024",
        ),
        (
            Options {
                frames: 1,
                ..right.clone()
            },
            "frames is 1",
        ),
        (
            Options {
                frames: u32::MAX,
                ..right.clone()
            },
            "frames is 4294967295",
        ),
        (
            Options {
                zero_copy: ZeroCopy::Require,
                ..right
            },
            "zero-copy",
        ),
    ] {
        let error = try_open(&world, &options).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// Busy polling changes two settings of the interface while a queue is open. They are seen in the
/// sysfs of the namespace, which `ip netns exec` mounts: so a part of this is a process of its own.
#[test]
fn busy_polling_puts_back_what_it_sets() {
    const INSIDE: &str = "DARKNET_TEST_INSIDE";
    let name = "busy_polling_puts_back_what_it_sets";
    if env::var_os(INSIDE).is_some() {
        return busy_polling("dark0");
    }
    let Some(_guard) = alone(name) else { return };
    let world = World::new(2).expect("a world");
    // Here sysfs is that of another namespace: the socket polls, and says what was refused.
    let options = Options {
        busy_poll: Some(BusyPoll::default()),
        ..Options::default()
    };
    let mut queue = open(&world, &options);
    let mut redirect =
        Redirect::attach(&world, lab::Mode::Driver, Program::Bare).expect("attached");
    redirect.set(0, &queue).expect("set");
    assert!(queue.outcome().busy_poll);
    let last = queue.outcome().refusals.last().expect("one");
    assert!(
        last.what.contains("interrupts") && last.source.kind() == std::io::ErrorKind::NotFound,
        "{last}"
    );
    send(&world, 0, Numbered::new(500, [60], false));
    assert_eq!(receive(&mut queue, 500).len(), 500);
    drop((queue, redirect));

    let mut inside = world.telescope().command(env::current_exe().expect("this"));
    let inside = inside
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let output = inside.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    std::io::stderr()
        .write_all(&output.stderr)
        .expect("standard error");
    assert!(output.status.success(), "{said}");
}

fn busy_polling(interface: &str) {
    let files = ["napi_defer_hard_irqs", "gro_flush_timeout"];
    let path = |file| format!("/sys/class/net/{interface}/{file}");
    let read = || {
        files.map(|file| {
            fs::read_to_string(path(file))
                .expect(file)
                .trim()
                .to_owned()
        })
    };
    let open = |queue| {
        let options = Options {
            queue,
            busy_poll: Some(BusyPoll::default()),
            ..Options::default()
        };
        let queue = Queue::open(interface, &options).expect("a queue");
        assert!(queue.outcome().busy_poll);
        let refusals = &queue.outcome().refusals;
        assert!(
            refusals
                .iter()
                .all(|refusal| refusal.what.contains("zero-copy")),
            "{refusals:?}"
        );
        queue
    };
    assert_eq!(read(), ["0", "0"]);
    let first = open(0);
    assert_eq!(read(), ["2", "200000"]);
    let second = open(1);
    drop(first);
    assert_eq!(read(), ["2", "200000"], "the second queue is open");
    drop(second);
    assert_eq!(read(), ["0", "0"]);
    // What somebody has set stays as it is.
    fs::write(path("napi_defer_hard_irqs"), "7").expect("root");
    let queue = open(0);
    assert_eq!(read(), ["7", "200000"]);
    drop(queue);
    assert_eq!(read(), ["7", "0"]);
}
