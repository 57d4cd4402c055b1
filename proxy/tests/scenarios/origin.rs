//! A shop that follows a script and remembers every byte it was sent.

use std::{
    collections::HashMap,
    fmt,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use crate::tools::{Gate, PATIENCE, eventually, free_address};

/// A request as the shop got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The head, byte for byte.
    pub(crate) head: String,
    /// The content, chunked framing included.
    pub(crate) body: Vec<u8>,
    /// Counts the requests for this path, from 1.
    pub(crate) nth: usize,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1);
        lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Until(Gate),
    Take(Box<dyn FnOnce(TcpStream) + Send>),
    Close,
}

/// What the shop does in answer to a request.
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
    before: Vec<Step>,
    /// Instead of a composed answer.
    raw: Option<Vec<Step>>,
    close: bool,
}

/// `200` with this content.
pub(crate) fn page(body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status: 200,
        fields: vec![
            (
                "Date".to_owned(),
                httpdate::fmt_http_date(SystemTime::now()),
            ),
            ("Content-Type".to_owned(), "text/html".to_owned()),
        ],
        body: body.into(),
        chunked: false,
        before: Vec::new(),
        raw: None,
        close: false,
    }
}

/// These bytes, and the end of the connection.
pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer {
        raw: Some(vec![Step::Send(bytes.into()), Step::Close]),
        ..page("")
    }
}

impl Answer {
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn field(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    /// In the place of a field that pages have.
    pub(crate) fn instead(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.field(name, value)
    }

    /// Without a field that pages have.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Fresh for so many seconds.
    pub(crate) fn fresh(self, seconds: u32) -> Self {
        self.field("Cache-Control", format_args!("max-age={seconds}"))
    }

    /// Without `Content-Length`.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.before.push(Step::Wait(pause));
        self
    }

    /// Not before the gate opens.
    pub(crate) fn when(mut self, gate: &Gate) -> Self {
        self.before.push(Step::Until(gate.clone()));
        self
    }

    /// Of a raw answer: further bytes once the gate opens.
    pub(crate) fn then(mut self, gate: &Gate, bytes: impl Into<Vec<u8>>) -> Self {
        let steps = self.raw.get_or_insert_default();
        let end = steps.len() - 1;
        steps.insert(end, Step::Send(bytes.into()));
        steps.insert(end, Step::Until(gate.clone()));
        self
    }

    /// Of a raw answer: the connection is then someone else's.
    pub(crate) fn take(mut self, own: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let steps = self.raw.get_or_insert_default();
        let end = steps.len() - 1;
        steps[end] = Step::Take(Box::new(own));
        self
    }

    pub(crate) fn close(mut self) -> Self {
        self.close = true;
        self
    }

    fn steps(self, head_only: bool) -> Vec<Step> {
        let mut steps = self.before;
        if let Some(raw) = self.raw {
            steps.extend(raw);
            return steps;
        }
        let mut out = format!("HTTP/1.1 {} Word\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            out.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        let bodyless = matches!(self.status, 204 | 304);
        if self.chunked {
            out.extend(b"Transfer-Encoding: chunked\r\n");
        } else if !bodyless {
            out.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        out.extend(b"\r\n");
        if !head_only && !bodyless {
            if self.chunked {
                for part in self.body.chunks(10_000) {
                    out.extend(format!("{:x}\r\n", part.len()).into_bytes());
                    out.extend(part);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n\r\n");
            } else {
                out.extend(&self.body);
            }
        }
        steps.push(Step::Send(out));
        if self.close {
            steps.push(Step::Close);
        }
        steps
    }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

struct State {
    script: Box<Script>,
    running: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    counts: Mutex<HashMap<String, usize>>,
    bytes: AtomicUsize,
    malformed: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

/// The shop.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Origin {
    pub(crate) fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(free_address(), script)
    }

    /// On the host of another one, which nobody else uses.
    pub(crate) fn start_near(
        other: &Self,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let port = other.address.port() + 10_000;
        Self::start_at((other.address.ip(), port).into(), script)
    }

    pub(crate) fn start_at(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let mut origin = Self {
            address,
            state: Arc::new(State {
                script: Box::new(script),
                running: AtomicBool::new(false),
                seen: Mutex::default(),
                counts: Mutex::default(),
                bytes: AtomicUsize::new(0),
                malformed: Mutex::default(),
                open: Mutex::default(),
            }),
            accepting: None,
        };
        origin.restart();
        origin
    }

    /// Listens again where it was.
    pub(crate) fn restart(&mut self) {
        let mut listener = TcpListener::bind(self.address);
        // A process that was started meanwhile may hold the old socket for a moment.
        eventually("the shop's address is free", || {
            if listener.is_err() {
                listener = TcpListener::bind(self.address);
            }
            listener.is_ok()
        });
        let listener = listener.expect("the shop's address is free");
        self.state.running.store(true, Ordering::SeqCst);
        let state = Arc::clone(&self.state);
        self.accepting = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if !state.running.load(Ordering::SeqCst) {
                    return;
                }
                let kept = stream.try_clone().expect("a second handle");
                state.open.lock().expect("lock").push(kept);
                let state = Arc::clone(&state);
                thread::spawn(move || serve(&state, stream));
            }
        }));
    }

    /// Closes everything at once, as a crash does.
    pub(crate) fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        self.state.running.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        accepting.join().expect("the shop accepts until it stops");
        for stream in self.state.open.lock().expect("lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("lock").clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request reached the shop")
    }

    /// Requests for a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        let counts = self.state.counts.lock().expect("lock");
        counts.get(path).copied().unwrap_or(0)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.open.lock().expect("lock").len()
    }

    /// Bytes that arrived, whatever they were.
    pub(crate) fn bytes(&self) -> usize {
        self.state.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
        let malformed = self.state.malformed.lock().expect("lock");
        if !thread::panicking() {
            assert!(
                malformed.is_empty(),
                "the shop got malformed requests: {malformed:?}"
            );
        }
    }
}

struct Reader<'a> {
    stream: &'a TcpStream,
    state: &'a State,
    buf: Vec<u8>,
}

impl Reader<'_> {
    fn more(&mut self) -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        let n = self.stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        self.state.bytes.fetch_add(n, Ordering::SeqCst);
        self.buf.extend_from_slice(&chunk[..n]);
        Some(())
    }

    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buf.len() < n {
            self.more()?;
        }
        Some(self.buf.drain(..n).collect())
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buf.windows(end.len()).position(|w| w == end) {
                return self.take(at + end.len());
            }
            self.more()?;
        }
    }

    fn request(&mut self) -> Option<Seen> {
        let head = String::from_utf8_lossy(&self.until(b"\r\n\r\n")?).into_owned();
        let mut words = head.split("\r\n").next().unwrap_or_default().split(' ');
        let (method, target) = (words.next()?, words.next().unwrap_or_default());
        let mut seen = Seen {
            method: method.to_owned(),
            target: target.to_owned(),
            body: Vec::new(),
            nth: 0,
            head: head.clone(),
        };
        if words.next() != Some("HTTP/1.1") || !target.starts_with('/') {
            self.state.malformed.lock().expect("lock").push(head);
            return None;
        }
        if seen.fields("transfer-encoding") == ["chunked"] {
            seen.body = self.chunked()?;
        } else if let Some(length) = seen.field("content-length") {
            seen.body = self.take(length.parse().ok()?)?;
        }
        Some(seen)
    }

    fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let digits = text.trim_end().split(';').next().unwrap_or_default();
            let Ok(size) = usize::from_str_radix(digits, 16) else {
                let what = format!("chunk size {text:?}");
                self.state.malformed.lock().expect("lock").push(what);
                return None;
            };
            body.extend_from_slice(&line);
            if size == 0 {
                loop {
                    let line = self.until(b"\r\n")?;
                    body.extend_from_slice(&line);
                    if line == b"\r\n" {
                        return Some(body);
                    }
                }
            }
            body.extend(self.take(size + 2)?);
        }
    }
}

fn serve(state: &State, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader {
        stream: &stream,
        state,
        buf: Vec::new(),
    };
    while let Some(mut seen) = reader.request() {
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        {
            let mut counts = state.counts.lock().expect("lock");
            let count = counts.entry(path).or_insert(0);
            *count += 1;
            seen.nth = *count;
        }
        state.seen.lock().expect("lock").push(seen.clone());
        let leave = seen.field("connection").is_some_and(|c| c == "close");
        for step in (state.script)(&seen).steps(seen.method == "HEAD") {
            match step {
                Step::Send(bytes) => {
                    if (&stream).write_all(&bytes).is_err() {
                        return;
                    }
                }
                Step::Wait(pause) => thread::sleep(pause),
                Step::Until(gate) => gate.wait(PATIENCE),
                Step::Take(own) => {
                    own(stream.try_clone().expect("a second handle"));
                    return;
                }
                Step::Close => {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
        if leave {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
