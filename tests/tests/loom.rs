//! Every order in which two threads can run what hands something over without a lock, and every old
//! value that a load may still see: loom tries them.
//!
//! These are the modules of `darknet-core` themselves, over loom's atomics instead of the standard
//! library's. The kernel is played. A queue of crossbeam's is trusted, and stands here as a lock.
#![cfg(target_os = "linux")]

/// In the place of `darknet-core/src/sync.rs`.
mod sync {
    use std::collections::VecDeque;

    use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    pub(crate) struct ArrayQueue<T> {
        entries: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            let entries = Mutex::new(VecDeque::new());
            Self { entries, capacity }
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.entries.lock().expect("no panic").pop_front()
        }

        pub(crate) fn force_push(&self, value: T) -> Option<T> {
            let mut entries = self.entries.lock().expect("no panic");
            entries.push_back(value);
            (entries.len() > self.capacity).then(|| entries.pop_front())?
        }

        pub(crate) fn is_full(&self) -> bool {
            self.entries.lock().expect("no panic").len() == self.capacity
        }
    }
}

/// In the place of `darknet-core/src/xsk/mmap.rs`.
mod mmap {
    use std::sync::Arc;

    use super::sync::{AtomicU32, AtomicU64};

    /// Clones are views of the same memory: three words, and entries.
    #[derive(Clone, Debug)]
    pub(super) struct RingMemory(Arc<([AtomicU32; 3], Vec<AtomicU64>)>);

    impl RingMemory {
        pub(super) fn new(cursor: u32, entries: Vec<AtomicU64>) -> Self {
            let words = [cursor, cursor, 0].map(AtomicU32::new);
            Self(Arc::new((words, entries)))
        }

        /// By number, where the kernel's are by bytes.
        pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
            &self.0.0[offset]
        }

        pub(super) fn entries(&self, _: usize, count: usize) -> &[AtomicU64] {
            &self.0.1[..count]
        }
    }
}

#[path = "../../darknet-core/src/xsk/played.rs"]
#[expect(dead_code, reason = "not all of it is needed here")]
mod played;
#[path = "../../darknet-core/src/live/publication.rs"]
mod publication;
#[path = "../../darknet-core/src/kernel/records/reader.rs"]
mod reader;
#[path = "../../darknet-core/src/xsk/ring.rs"]
#[expect(dead_code, reason = "not all of it is needed here")]
#[expect(unexpected_cfgs, reason = "the features are those of its own crate")]
mod ring;

use std::mem::offset_of;

use darknet_ebpf::{Header, abi::Cursor};
use loom::{cell::UnsafeCell, sync::Arc, thread};

use mmap::RingMemory;
use publication::Publication;
use reader::{CURSOR, RECORD, Reader};
use ring::{Descriptor, Fill, Receive, Ring};
use sync::{AtomicU64, Ordering};

/// A place that may be read by several threads or written by one. Loom fails where one writes that has
/// not been told, by whatever it acquired, that another has left: a value alone does not show it.
struct Place(UnsafeCell<()>);

// SAFETY: there is nothing in it. Loom looks at who comes, and runs one thread at a time.
unsafe impl Sync for Place {}

impl Place {
    fn read(&self) {
        self.0.with(|_| ());
    }

    fn write(&self) {
        self.0.with_mut(|_| ());
    }
}

fn place() -> Arc<Place> {
    Arc::new(Place(UnsafeCell::new(())))
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn an_answer_is_of_the_window_that_is_open_and_was_asked_for() {
    loom::model(|| {
        let publication = Publication::new();
        assert!(!publication.was_asked());
        for (name, epoch, expected) in [
            ("of the open window", 7, Some("copy")),
            ("of the window before", 6, None),
        ] {
            publication.ask();
            let asked = [publication.was_asked(), publication.was_asked()];
            assert_eq!(asked, [true, false], "{name}");
            assert!(!publication.has_answered(), "{name}");
            publication.answer(epoch, "copy");
            assert!(publication.has_answered(), "{name}");
            assert_eq!(publication.take(7), expected, "{name}");
            assert_eq!(publication.take(7), None, "{name}, again");
        }
        publication.answer(7, "old");
        publication.ask();
        assert_eq!(publication.take(7), None, "asked anew");
    });
}

#[test]
fn who_asks_is_answered_whenever_the_worker_looks() {
    loom::model(|| {
        let publication = Arc::new(Publication::new());
        let workers = Arc::clone(&publication);
        let worker = thread::spawn(move || {
            let answers = [1, 2, 3].map(|number| {
                let asked = workers.was_asked();
                if asked {
                    workers.answer(7, number);
                }
                u32::from(asked)
            });
            answers.iter().sum::<u32>()
        });
        let mut taken = None;
        for _ in 0..2 {
            publication.ask();
            if publication.has_answered() {
                taken = publication.take(7);
                assert!(taken.is_some(), "an answer stays until it is taken");
            }
        }
        let mut answers = worker.join().expect("it ends");
        // It looks once more, now that there is nothing to be asked at the same time.
        if publication.was_asked() {
            publication.answer(7, 4);
            answers += 1;
        }
        assert!((1..=2).contains(&answers), "a question is answered once");
        assert!(taken.is_some() || publication.take(7).is_some());
    });
}

/// A ring of one record, so that each is written over the one before it.
#[test]
fn records_are_read_whole_and_in_order_while_the_program_writes() {
    const SLOTS: u64 = 1;
    const RECORDS: u64 = 2;
    loom::model(|| {
        let [records, cursor] =
            [SLOTS as usize * RECORD, CURSOR].map(|count| Arc::new(words(count)));
        let place = place();
        let (programs, programs_cursor) = (Arc::clone(&records), Arc::clone(&cursor));
        let programs_place = Arc::clone(&place);
        let program = thread::spawn(move || {
            let [head, tail] = [offset_of!(Cursor, head), offset_of!(Cursor, tail)];
            let [head, tail] = [head, tail].map(|at| &programs_cursor[at / 8]);
            let mut seen = 0;
            for number in 0..RECORDS {
                while number - seen >= SLOTS {
                    // What is written depends on it, so it comes after.
                    seen = tail.load(Ordering::Acquire);
                    if number - seen >= SLOTS {
                        thread::yield_now();
                    }
                }
                programs_place.write();
                for word in programs.iter() {
                    word.store(number + 1, Ordering::Relaxed);
                }
                head.store(number + 1, Ordering::Release);
            }
        });
        let reader = Reader {
            records: &records,
            cursor: &cursor,
        };
        let mut read = 0;
        while read < RECORDS {
            let waiting = reader.waiting();
            let taken = reader.take(SLOTS as usize, |header| {
                place.read();
                read += 1;
                let mut bytes = [0; size_of::<Header>()];
                bytes.as_chunks_mut().0.fill(read.to_ne_bytes());
                assert_eq!(header, Header::from_bytes(&bytes));
            });
            assert!(taken >= waiting, "{waiting} waited");
            if taken == 0 {
                thread::yield_now();
            }
        }
        program.join().expect("it ends");
        assert_eq!((reader.waiting(), read), (0, RECORDS));
    });
}

/// Two views of a ring of one entry: ours and the kernel's. Its cursors are about to wrap.
fn views(words_of_entry: usize) -> [Ring; 2] {
    const SIZE: u32 = 1;
    const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset {
        producer: 0,
        consumer: 1,
        flags: 2,
        desc: 0,
    };
    let memory = RingMemory::new(u32::MAX, words(SIZE as usize * words_of_entry));
    [(); 2].map(|()| Ring::new(memory.clone(), OFFSETS, SIZE, words_of_entry))
}

/// Two packets in two chunks, through one entry of the RX ring.
#[test]
fn packets_are_read_as_the_kernel_wrote_them_and_before_it_writes_the_next() {
    loom::model(|| {
        let [ours, kernels] = views(Descriptor::WORDS);
        let mut receive = Receive::new(ours);
        let (chunks, entry) = (Arc::new([place(), place()]), place());
        let (kernels_chunks, kernels_entry) = (Arc::clone(&chunks), Arc::clone(&entry));
        let kernel = thread::spawn(move || {
            for number in 0..2 {
                kernels_chunks[number as usize].write();
                while played::room(&kernels) == 0 {
                    thread::yield_now();
                }
                kernels_entry.write();
                let descriptor = Descriptor {
                    address: number,
                    length: number as u32 + 60,
                    continued: number == 0,
                };
                assert!(played::put(&kernels, descriptor), "there is room");
            }
        });
        let mut number = 0;
        while number < 2 {
            if receive.available(1) == 0 {
                thread::yield_now();
                continue;
            }
            let descriptor = receive.descriptors().get(0);
            let expected = Descriptor {
                address: number,
                length: number as u32 + 60,
                continued: number == 0,
            };
            assert_eq!(descriptor, expected);
            entry.read();
            chunks[number as usize].read();
            receive.release(1);
            number += 1;
        }
        kernel.join().expect("it ends");
        assert_eq!(receive.available(1), 0);
    });
}

/// Two chunks whose packets were read, through one entry of the FILL ring.
#[test]
fn the_kernel_writes_to_chunks_that_were_given_back_and_read() {
    loom::model(|| {
        let [ours, kernels] = views(1);
        let mut fill = Fill::new(ours);
        let (chunks, entry) = (Arc::new([place(), place()]), place());
        let (kernels_chunks, kernels_entry) = (Arc::clone(&chunks), Arc::clone(&entry));
        let kernel = thread::spawn(move || {
            let mut taken = 0;
            while taken < 2 {
                let Some(address) = played::peek(&kernels) else {
                    thread::yield_now();
                    continue;
                };
                kernels_entry.read();
                played::leave(&kernels);
                assert_eq!(address, taken);
                kernels_chunks[address as usize].write();
                taken += 1;
            }
        });
        for address in 0..2 {
            while fill.room(1) == 0 {
                thread::yield_now();
            }
            chunks[address as usize].read();
            entry.write();
            assert!(fill.writer().push(address));
            fill.publish();
        }
        kernel.join().expect("it ends");
        assert_eq!((fill.held(), fill.room(1)), (0, 1));
    });
}
