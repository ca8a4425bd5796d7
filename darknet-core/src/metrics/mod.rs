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

/// The text of a snapshot.
mod page;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tiny_http::{Header, Method, Request, Response, Server};

use crate::{Error, Snapshot};

/// For how long a telescope is well that shows nothing: it does once a second, and less often where
/// its tables are large.
const PATIENCE: Duration = Duration::from_secs(30);
/// What `/metrics` is: `application/openmetrics-text` of the OpenMetrics specification, 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers Prometheus over HTTP, on a thread of its own, until it is dropped.
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
    server: Arc<Listener>,
    shown: Arc<Shown>,
}

/// Its debug form is its address.
struct Listener(Server);

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.server_addr().fmt(out)
    }
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
        let failed = |source| Error::Listen { address, source };
        // Its errors are those of the system in a box.
        let server = Server::http(address).map_err(|error| {
            failed(match error.downcast::<io::Error>() {
                Ok(source) => *source,
                Err(other) => io::Error::other(other),
            })
        })?;
        let server = Arc::new(Listener(server));
        let shown = Arc::new(Shown::default());
        let (listener, answers) = (Arc::clone(&server), Arc::clone(&shown));
        let answering = move || {
            for request in listener.0.incoming_requests() {
                // Whoever asked may have gone.
                let _ = answer(request, &answers);
            }
        };
        let named = thread::Builder::new().name("metrics".into());
        named.spawn(answering).map_err(failed)?;
        Ok(Self { server, shown })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.0.server_addr().to_ip()
    }

    /// From now on these are the latest figures. They are counters, so each snapshot is to hold what
    /// the ones before it held: the whole run. Hosts, which an open window has none of, stay those of
    /// the last snapshot that had some.
    pub fn show(&self, snapshot: &Snapshot) {
        let mut latest = self.shown.latest();
        let hosts = latest.snapshot.take().and_then(|before| before.hosts);
        latest.snapshot = Some(Snapshot {
            hosts: snapshot.hosts.or(hosts),
            ..snapshot.clone()
        });
        latest.alive = Some(Instant::now());
    }

    /// Says that there is nothing new to show, but somebody watches.
    pub fn keep_alive(&self) {
        self.shown.latest().alive = Some(Instant::now());
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.server.0.unblock();
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

fn answer(request: Request, shown: &Shown) -> io::Result<()> {
    let plain = |text: String, status: u16| Response::from_string(text).with_status_code(status);
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(plain("only GET\n".into(), 405));
    }
    let path = request.url().split('?').next();
    match path.unwrap_or_default() {
        "/metrics" => {
            // A copy, so that the telescope does not wait for the text.
            let snapshot = shown.latest().snapshot.clone();
            let text = page::text(snapshot);
            let kind = Header::from_bytes("Content-Type", OPEN_METRICS).expect("a header");
            request.respond(Response::from_string(text).with_header(kind))
        }
        "/healthz" => {
            let illness = shown.latest().illness(Instant::now());
            request.respond(match illness {
                None => plain("well\n".into(), 200),
                Some(why) => plain(format!("{why}\n"), 503),
            })
        }
        _ => request.respond(plain("there are /metrics and /healthz\n".into(), 404)),
    }
}

#[cfg(test)]
mod tests;
