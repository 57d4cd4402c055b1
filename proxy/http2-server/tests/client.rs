//! The client of the h2 crate against a connection, over a transport that cuts wherever it likes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

use std::{
    collections::HashMap,
    future::Future,
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Method, Request, Version};
use http2_server::{Config, Connection, ErrorCode, Event, Head, INPUT_BUFFER, StreamId, hpack};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Sizes of reads and writes: always the same, or of a plain generator.
#[derive(Clone, Copy)]
enum Cuts {
    Of(usize),
    Random(u64),
}

impl Cuts {
    fn next(&mut self) -> usize {
        match self {
            Self::Of(size) => *size,
            Self::Random(state) => {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                1 + (*state >> 40) as usize % if *state >> 63 == 0 { 20 } else { 5000 }
            }
        }
    }
}

/// What a request is answered with: its path says how much, its content comes back.
struct Server {
    connection: Connection,
    head: Head,
    /// Uploads that are echoed, and what of a long answer is still to be sent.
    left: HashMap<StreamId, usize>,
    seen: Vec<String>,
}

impl Server {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Request { stream, end } => self.answer(stream, end),
            Event::Content { stream, content, end } => {
                self.connection.release(stream, content.len());
                self.connection.send_content(stream, content, end);
            }
            Event::Trailers { stream, fields } => {
                let mut block = BytesMut::new();
                for (name, value) in &fields {
                    hpack::put_field(&mut block, name.as_str().as_bytes(), value.as_bytes());
                }
                self.connection.send_trailers(stream, &block);
            }
            Event::Reset { stream, .. } => {
                self.left.remove(&stream);
            }
            event => panic!("{event:?}"),
        }
    }

    fn answer(&mut self, stream: StreamId, end: bool) {
        let head = &self.head;
        self.seen.push(format!("{} {}{}", head.method(), head.authority(), head.target()));
        assert_eq!(head.scheme(), "https");
        let mut block = BytesMut::new();
        hpack::put_status(&mut block, 200);
        for (name, value) in head.iter() {
            hpack::put_field(&mut block, &[b"x-", name].concat(), value);
        }
        if !end {
            return self.connection.send_head(stream, &block, false);
        }
        let size: usize = head.target()[1..].parse().unwrap();
        if size <= 100_000 {
            self.connection.respond(stream, &block, Some(content(size)), true);
        } else {
            self.connection.send_head(stream, &block, false);
            self.left.insert(stream, size);
            self.more(stream);
        }
    }

    /// As much as is good to have queued at a time.
    fn more(&mut self, stream: StreamId) {
        while let Some(left) = self.left.get_mut(&stream)
            && self.connection.unsent(stream) <= LOW_WATER
        {
            let now = (*left).min(PART);
            *left -= now;
            let end = *left == 0;
            if end {
                self.left.remove(&stream);
            }
            self.connection.send_content(stream, content(now), end);
        }
    }
}

/// Content unsent on a stream, from which on there may be more.
const LOW_WATER: usize = 16 * 1024;
/// Where the pattern begins anew.
const PART: usize = 251 * 120;

fn content(size: usize) -> Bytes {
    (0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>().into()
}

async fn serve(io: DuplexStream, config: Config, mut cuts: Cuts) -> Vec<String> {
    let (mut reader, mut writer) = tokio::io::split(io);
    let began = Instant::now();
    let (connection, head) = (Connection::new(&config), Head::new());
    let mut server = Server { connection, head, left: HashMap::new(), seen: Vec::new() };
    let mut input = BytesMut::with_capacity(INPUT_BUFFER);
    loop {
        let mut rest = &input[..];
        while let Some(event) =
            server.connection.next(&mut rest, &mut server.head, began.elapsed()).unwrap()
        {
            server.handle(event);
        }
        let left = rest.len();
        let used = input.len() - left;
        let _ = input.split_to(used);
        assert!(input.len() < INPUT_BUFFER);
        if server.connection.is_finished() {
            return server.seen;
        }
        for stream in server.left.keys().copied().collect::<Vec<_>>() {
            server.more(stream);
        }
        let mut out = Vec::new();
        let mut slices = [IoSlice::new(&[]); 7];
        let filled = server.connection.gather(&mut slices);
        let size = cuts.next();
        for slice in &slices[..filled] {
            out.extend_from_slice(&slice[..slice.len().min(size - out.len())]);
        }
        let mut chunk = vec![0; cuts.next()];
        tokio::select! {
            read = reader.read(&mut chunk) => match read.unwrap() {
                0 => return server.seen,
                read => input.extend_from_slice(&chunk[..read]),
            },
            written = writer.write(&out), if !out.is_empty() => {
                server.connection.advance(written.unwrap());
            }
        }
    }
}

/// Runs a client against a connection; returns what the server has seen.
fn run<F>(cuts: Cuts, pipe: usize, client: impl FnOnce(SendRequest<Bytes>) -> F) -> Vec<String>
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let (near, far) = duplex(pipe);
        let server = tokio::task::spawn_local(serve(far, Config::default(), cuts));
        let test = async {
            // Answers are read one after the other: what waits must not use up the connection's window.
            let mut client_side = h2::client::Builder::new();
            client_side.initial_connection_window_size(1 << 24);
            let (send, connection) = client_side.handshake(near).await.unwrap();
            let connection = tokio::task::spawn_local(connection);
            client(send).await;
            connection.await.unwrap().unwrap();
            server.await.unwrap()
        };
        tokio::time::timeout(Duration::from_secs(60), test).await.unwrap()
    })
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("https://shop.example{path}"))
}

async fn read(mut body: h2::RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    all
}

async fn several(send: SendRequest<Bytes>) {
    let mut send = send.ready().await.unwrap();
    let mut answers = Vec::new();
    for n in 0..40_usize {
        let size = [0, 1, 1000, 16_384, 16_385, 70_000, 150_000][n % 7];
        let request = request(Method::GET, &format!("/{size}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("accept", "text/html")
            .header("x-number", n.to_string());
        let (answer, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
        answers.push((n, size, answer));
        send = send.ready().await.unwrap();
    }
    for (n, size, answer) in answers {
        let (head, body) = answer.await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers["x-cookie"], "a=1; b=2");
        assert_eq!(head.headers["x-accept"], "text/html");
        assert_eq!(head.headers["x-x-number"], n.to_string());
        assert!(read(body).await == content(size), "{size} octets");
    }
}

#[test]
fn every_cut_gives_the_same_answers() {
    for size in [1, 2, 3, 5, 8, 9, 10, 17, 100, 1023, 1024, 4096, 16_393, 100_000] {
        if size < 17 {
            // Octet by octet, a little is enough.
            let seen = run(Cuts::Of(size), 64, async |send| {
                let mut send = send.ready().await.unwrap();
                let request = request(Method::GET, "/2000").body(()).unwrap();
                let (answer, _) = send.send_request(request, true).unwrap();
                assert!(read(answer.await.unwrap().into_body()).await == content(2000));
            });
            assert_eq!(seen, ["GET shop.example/2000"]);
        } else {
            assert_eq!(run(Cuts::Of(size), 1 << 16, several).len(), 40);
        }
    }
}

#[test]
fn random_cuts() {
    for seed in 1..20 {
        assert_eq!(run(Cuts::Random(seed), 1 << (4 + seed), several).len(), 40);
    }
}

#[test]
fn uploads_with_trailers_come_back() {
    for (seed, pipe) in [(1, 100), (2, 5000), (3, 1 << 17)] {
        run(Cuts::Random(seed), pipe, async |send| {
            let mut send = send.ready().await.unwrap();
            let request = request(Method::POST, "/echo").body(()).unwrap();
            let (answer, mut upload) = send.send_request(request, false).unwrap();
            let sending = async {
                let mut left = content(600_000);
                while !left.is_empty() {
                    upload.reserve_capacity(left.len());
                    let free = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
                    let part = left.split_to(free.unwrap().unwrap().min(left.len()));
                    upload.send_data(part, false).unwrap();
                }
                let trailers =
                    [("x-sum", "7")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
                upload.send_trailers(trailers.into_iter().collect()).unwrap();
            };
            let receiving = async {
                let mut body = answer.await.unwrap().into_body();
                let mut all = Vec::new();
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    all.extend_from_slice(&data);
                }
                assert!(all == content(600_000), "{} octets", all.len());
                assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "7");
            };
            tokio::join!(sending, receiving);
        });
    }
}

#[test]
fn a_reset_leaves_the_others_alone() {
    run(Cuts::Random(7), 1 << 14, async |send| {
        let mut send = send.ready().await.unwrap();
        let long = request(Method::GET, "/10000000").body(()).unwrap();
        let (answer, mut stream) = send.send_request(long, true).unwrap();
        let body = answer.await.unwrap().into_body();
        stream.send_reset(h2::Reason::CANCEL);
        drop(body);
        several(send).await;
    });
}

#[test]
fn a_stream_that_is_not_read_does_not_hold_up_another() {
    run(Cuts::Random(9), 1 << 14, async |send| {
        let mut send = send.ready().await.unwrap();
        let long = request(Method::GET, "/10000000").body(()).unwrap();
        let (answer, _stream) = send.send_request(long, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        // It gets what its window holds, and no more.
        let mut held = 0;
        while held < 65_535 {
            held += body.data().await.unwrap().unwrap().len();
        }
        several(send).await;
        drop(body);
    });
}

#[test]
fn error_codes_are_those_of_the_registry() {
    for code in 0..14 {
        assert_eq!(ErrorCode(code).name(), h2_name(code));
    }
}

/// The h2 crate writes the names in its own way.
fn h2_name(code: u32) -> String {
    format!("{:?}", h2::Reason::from(code))
}
