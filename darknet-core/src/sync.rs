//! What threads hand over by, in one place: `tests/tests/loom.rs` takes the modules that name it and
//! puts loom's in its place, which tries every order in which two threads can run.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

pub(crate) use crossbeam::queue::ArrayQueue;
