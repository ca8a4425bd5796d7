use std::{
    net::UdpSocket,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use xtask::lab::World;

use crate::{
    documents::{assert_adds_up, cell, number},
    privileged,
    reload::Configuration,
};

/// One telescope at a time, as each needs the processors; `None` where there is no privilege.
pub fn alone(test: &str) -> Option<MutexGuard<'static, ()>> {
    static LAB: Mutex<()> = Mutex::new(());
    privileged(test).then(|| LAB.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Rings in which a third of a second of 100,000 frames a second may wait: a busy machine has time
/// for its worker again before they are full.
pub const PATIENT: &str = "[frames]\nring = 32768\nframes = 32768\nchunk = 2048\n";

/// A configuration with [`PATIENT`] rings, after keys of its own.
pub fn patient(keys: &str) -> Configuration {
    Configuration::new(&format!("{keys}{PATIENT}"))
}

/// Packets of the documents of windows that were lost at a stage.
///
/// # Panics
///
/// If there is no such stage.
pub fn lost_at(documents: &[Value], stage: &str) -> u64 {
    let lost = documents.iter();
    lost.map(|document| number(&document["ledger"]["lost"][stage]))
        .sum()
}

/// A cell of the ledger, over documents that each add up.
///
/// # Panics
///
/// If one does not.
pub fn sum(documents: &[Value], name: &str) -> u64 {
    documents.iter().for_each(assert_adds_up);
    documents.iter().map(|document| cell(document, name)).sum()
}

/// Sockets that send datagrams to 203.0.113.9 over the link: through the network stack, in socket
/// buffers, as those of a generator are not. Each is a flow of its own, from another port.
///
/// # Panics
///
/// If there can be none.
pub fn datagrams(world: &World, count: u16) -> Vec<UdpSocket> {
    let (wire, sender) = (world.sender_interface(), world.sender());
    // There already, if this is called again.
    let _ = sender.ip(&["address", "add", "198.51.100.1/24", "dev", wire]);
    let _ = sender.ip(&["route", "add", "203.0.113.0/24", "dev", wire]);
    let sockets = sender.enter(|| {
        let sockets = (0..count).map(|_| {
            let socket = UdpSocket::bind("198.51.100.1:0").expect("a socket");
            socket.connect("203.0.113.9:9").expect("a route");
            socket
        });
        sockets.collect()
    });
    sockets.expect("the namespace")
}
