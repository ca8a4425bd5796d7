//! Figures for [Prometheus](https://prometheus.io), and whether the telescope is well.
//!
//! A [`Metrics`] is shown a [`Snapshot`] whenever there is a newer one, and answers over HTTP:
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the latest figures, in the text format of OpenMetrics |
//! | `/healthz` | 200 while snapshots come and no ledger is wrong, else 503; and why |
//!
//! Whoever may ask learns what the telescope sees, so it belongs on a loopback address.

/// Requests and answers.
mod http;
/// The text of a snapshot.
mod page;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Error, Snapshot};
use http::{Answer, PLAIN, Server};

/// For how long a telescope is well that shows nothing: it does once a second, and less often where
/// its tables are large.
const PATIENCE: Duration = Duration::from_secs(30);
/// What `/metrics` is: `application/openmetrics-text` of the OpenMetrics specification, 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers Prometheus over HTTP, on a thread of its own, until it is dropped. Connections are answered one
/// after the other, and one that says nothing is closed after a second.
///
/// # Examples
///
/// ```no_run
/// use darknet_core::{
///     Telescope,
///     live::{Control, Event, Watch},
///     metrics::Metrics,
/// };
///
/// let telescope = Telescope::new();
/// let metrics = Metrics::listen(([127, 0, 0, 1], 9431).into())?;
/// telescope.watch(&Watch::new("eth1"), &Control::new(), |event| {
///     // Only the open window: whoever wants the whole run adds the closed ones.
///     if let Event::Open(window) = event {
///         metrics.show(&window.snapshot(telescope.dark(), 20));
///     }
/// })?;
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Metrics {
    server: Server,
    shown: Arc<Shown>,
}

/// What is answered.
#[derive(Debug, Default)]
struct Shown(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    snapshot: Option<Snapshot>,
    /// When it was known last that somebody watches.
    alive: Option<Instant>,
}

impl Metrics {
    /// Listens on an address; port 0 takes one that is free.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`]: the address is not one of this host, or is taken.
    pub fn listen(address: SocketAddr) -> Result<Self, Error> {
        let shown = Arc::new(Shown::default());
        let answers = Arc::clone(&shown);
        let server = Server::listen(address, move |method, path| answer(method, path, &answers));
        let server = server.map_err(|source| Error::Listen { address, source })?;
        Ok(Self { server, shown })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on these are the latest figures. They are counters, so each snapshot is to hold what
    /// the ones before it held: the whole run. Hosts, which an open window has none of, stay those of
    /// the last snapshot that had some.
    pub fn show(&self, snapshot: &Snapshot) {
        let mut latest = self.shown.latest();
        let before = latest.snapshot.take().and_then(|before| before.hosts);
        latest.snapshot = Some(Snapshot {
            // Whatever has overflowed, times to live are there where a window has closed.
            hosts: match snapshot.ttls {
                Some(_) => snapshot.hosts,
                None => snapshot.hosts.or(before),
            },
            ..snapshot.clone()
        });
        latest.alive = Some(Instant::now());
    }

    /// Says that there is nothing new to show, but somebody watches.
    pub fn keep_alive(&self) {
        self.shown.latest().alive = Some(Instant::now());
    }
}

impl Shown {
    fn latest(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    /// Why the telescope is not well, if it is not.
    fn illness(&self, now: Instant) -> Option<String> {
        let Some(alive) = self.alive else {
            return Some("it has not begun to watch".into());
        };
        let silent = now.saturating_duration_since(alive);
        if silent > PATIENCE {
            return Some(format!(
                "nothing was heard of it for {} s",
                silent.as_secs()
            ));
        }
        let faults = self.snapshot.iter().flat_map(|snapshot| &snapshot.faults);
        faults.last().cloned()
    }
}

fn answer(method: &str, path: &str, shown: &Shown) -> Answer {
    let plain = |status, text: String| Answer {
        status,
        kind: PLAIN,
        text,
    };
    if !matches!(method, "GET" | "HEAD") {
        return plain("405 Method Not Allowed", "only GET\n".into());
    }
    match path.split('?').next().unwrap_or_default() {
        "/metrics" => {
            // A copy, so that the telescope does not wait for the text.
            let snapshot = shown.latest().snapshot.clone();
            Answer {
                status: OK,
                kind: OPEN_METRICS,
                text: page::text(snapshot),
            }
        }
        "/healthz" => match shown.latest().illness(Instant::now()) {
            None => plain(OK, "well\n".into()),
            Some(why) => plain("503 Service Unavailable", format!("{why}\n")),
        },
        _ => plain("404 Not Found", "there are /metrics and /healthz\n".into()),
    }
}

const OK: &str = "200 OK";

#[cfg(test)]
mod tests;
