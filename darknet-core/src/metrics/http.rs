use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long one connection may take: others wait meanwhile, so that nobody can have many of them.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a request, of which Prometheus sends some 300.
const REQUEST: usize = 8 << 10;
/// Header fields of a request.
const FIELDS: usize = 64;

/// What is answered to a request.
pub(super) struct Answer {
    /// As in the first line: the number and the name.
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Answers GET and HEAD over HTTP/1.1, one connection after the other and one request in each, until it is
/// dropped. So it holds one descriptor and one thread, whatever others do.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Server {
    /// Listens on an address; `answer` is given the method and the path.
    pub(super) fn listen(
        address: SocketAddr,
        answer: impl Fn(&str, &str) -> Answer + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let is_closed = Arc::clone(&closed);
        let answering = move || {
            while !is_closed.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Whoever asked may have gone.
                    Ok((stream, _)) => drop(serve(stream, &answer)),
                    // No descriptor is left, or the connection has ended already.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        };
        thread::Builder::new()
            .name("metrics".into())
            .spawn(answering)?;
        Ok(Self { address, closed })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str, &str) -> Answer) -> io::Result<()> {
    let asked = Instant::now();
    let mut request = Vec::new();
    let Answer { status, kind, text } = loop {
        let left = PATIENCE.checked_sub(asked.elapsed());
        let left = left.filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let mut more = [0; 1024];
        let length = stream.read(&mut more)?;
        request.extend_from_slice(&more[..length]);
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        let is_whole = parsed.parse(&request).map(|status| status.is_complete());
        match (is_whole, parsed.method, parsed.path) {
            (Ok(true), Some(method), Some(path)) => break answer(method, path),
            (Ok(_), ..) if length > 0 && request.len() < REQUEST => {}
            _ => {
                break Answer {
                    status: "400 Bad Request",
                    kind: PLAIN,
                    text: "no request\n".into(),
                };
            }
        }
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(head.as_bytes())?;
    if !request.starts_with(b"HEAD ") {
        stream.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// What an answer is that says a word to people.
pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
