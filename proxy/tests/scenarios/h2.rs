//! HTTP/2 clients: a proper one, and one that writes its own frames.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use tokio::{net::TcpStream as AsyncTcp, runtime::Runtime, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{client::Response, edge::Edge, tools::PATIENCE};

pub(crate) use crate::tls_client::{client_config, https, showing, tls, tls_over};

/// Asks over HTTP/1.1 and over HTTP/2, each on a connection of its own.
pub(crate) fn both(
    edge: &Edge,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> [Response; 2] {
    let plain = edge.ask(method, path, fields);
    let mut h2 = H2::connect(edge.site.https);
    let second = h2.ask(method, path, fields, None);
    [plain, second.expect("an answer over HTTP/2")]
}

/// A proper HTTP/2 connection on a runtime of its own.
pub(crate) struct H2 {
    pub(crate) runtime: Runtime,
    pub(crate) sender: h2::client::SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

impl H2 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_as(address, "shop.example")
    }

    pub(crate) fn connect_as(address: SocketAddr, name: &str) -> Self {
        Self::connect_with(address, name, client_config(rustls::ALL_VERSIONS, &["h2"]))
    }

    pub(crate) fn connect_with(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let (sender, connection) = runtime.block_on(async {
            let socket = AsyncTcp::connect(address).await.expect("the edge accepts");
            let connector = TlsConnector::from(config);
            let stream = connector.connect(name, socket).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            (sender, tokio::spawn(connection))
        });
        Self {
            runtime,
            sender,
            connection,
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[], None).expect("an answer")
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&[&'static str]>,
    ) -> Result<Response, h2::Error> {
        let sender = self.sender.clone();
        let request = request(method, path, fields);
        let exchange = exchange(sender, request, body.map(<[_]>::to_vec));
        self.runtime.block_on(async {
            timeout(PATIENCE, exchange)
                .await
                .expect("an answer in time")
        })
    }
}

/// A request to `https://shop.example`.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> http::Request<()> {
    let uri = match path.starts_with('/') {
        true => format!("https://shop.example{path}"),
        false => path.to_owned(),
    };
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request")
}

/// Sends a request, its body in these frames and an empty last one, and reads the whole answer.
pub(crate) async fn exchange(
    sender: h2::client::SendRequest<Bytes>,
    request: http::Request<()>,
    body: Option<Vec<&'static str>>,
) -> Result<Response, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, body.is_none())?;
    if let Some(frames) = body {
        let mut sent = Ok(());
        for frame in frames {
            sent =
                sent.and_then(|()| stream.send_data(Bytes::from_static(frame.as_bytes()), false));
        }
        // Who is answered before it has sent all cannot send the rest.
        let _ = sent.and_then(|()| stream.send_data(Bytes::new(), true));
    }
    let (head, mut content) = response.await?.into_parts();
    let fields = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let mut response = Response {
        status: head.status.as_u16(),
        fields: fields.collect(),
        body: Vec::new(),
    };
    while let Some(part) = content.data().await {
        let part = part?;
        content.flow_control().release_capacity(part.len())?;
        response.body.extend_from_slice(&part);
    }
    Ok(response)
}

/// A frame as it is sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HEADERS of literal fields, as they stand.
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend(text.bytes());
        }
    }
    frame(1, 4 | u8::from(end), stream, &block)
}

/// All that came on a stream.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Of the interim answers, and of the final one.
    pub(crate) statuses: Vec<u16>,
    pub(crate) content: Vec<u8>,
    pub(crate) end: End,
}

/// How a stream ended, with the code of the error if there was one.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum End {
    /// By END_STREAM.
    Stream,
    Reset(u32),
    /// The connection came to its end first.
    Connection(Option<u32>),
}

impl Default for End {
    fn default() -> Self {
        Self::Connection(None)
    }
}

/// A connection whose frames are written by hand.
pub(crate) struct Frames {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Fate {
    Status(u16),
    Reset,
    ConnectionEnded,
}

impl Frames {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let config = client_config(rustls::ALL_VERSIONS, &["h2"]);
        let mut stream = tls(address, "shop.example", &config).expect("a handshake");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .expect("preface");
        Self { stream }
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload));
    }

    /// Sends frames; an edge that has closed already is no failure here.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self
            .stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush());
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE: what the edge may send on a stream before it hears more.
    pub(crate) fn window(&mut self, octets: u32) {
        let value = octets.to_be_bytes();
        self.frame(4, 0, 0, &[&[0, 4][..], &value].concat());
    }

    /// WINDOW_UPDATE.
    pub(crate) fn more(&mut self, stream: u32, octets: u32) {
        self.frame(8, 0, stream, &octets.to_be_bytes());
    }

    /// Our end of the connection.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("a connected socket")
    }

    /// How long reading waits.
    pub(crate) fn patience(&self, limit: Duration) {
        let set = self.stream.sock.set_read_timeout(Some(limit));
        set.expect("an option");
    }

    /// Type, flags, stream and payload of the next frame; nothing at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// Reads up to the end of a stream. Its windows stay as they are.
    pub(crate) fn answer(&mut self, wanted: u32) -> Answered {
        self.answer_in_steps(wanted, None)
    }

    /// The same, and opens both windows by so many octets when as many have come.
    pub(crate) fn answer_in_steps(&mut self, wanted: u32, step: Option<u32>) -> Answered {
        let mut answered = Answered::default();
        let mut owed = 0;
        while let Some((kind, flags, stream, payload)) = self.next() {
            let code = |at: usize| {
                let octets = payload[at..at + 4].try_into().expect("four octets");
                u32::from_be_bytes(octets)
            };
            match kind {
                0 if stream == wanted => {
                    owed += payload.len() as u32;
                    answered.content.extend(payload);
                    if let Some(step) = step
                        && owed >= step
                    {
                        self.more(0, owed);
                        self.more(wanted, owed);
                        owed = 0;
                    }
                }
                1 if stream == wanted => answered.statuses.push(status(&payload)),
                3 if stream == wanted => {
                    answered.end = End::Reset(code(0));
                    return answered;
                }
                7 if code(4) != 0 => {
                    answered.end = End::Connection(Some(code(4)));
                    return answered;
                }
                _ => {}
            }
            if stream == wanted && kind < 2 && flags & 1 == 1 {
                answered.end = End::Stream;
                return answered;
            }
        }
        answered
    }

    /// The code of the GOAWAY that ends the connection; nothing where it ends without one.
    pub(crate) fn error(&mut self) -> Option<u32> {
        while let Some((kind, _, _, payload)) = self.next() {
            if kind == 7 {
                let octets = payload[4..8].try_into().expect("four octets");
                return Some(u32::from_be_bytes(octets));
            }
        }
        None
    }

    /// HEADERS of literal fields, as they stand.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        self.send(&headers(stream, fields, end));
    }

    /// Reads until something is decided about a stream.
    pub(crate) fn fate(&mut self, wanted: u32) -> Fate {
        while let Some((kind, _, stream, payload)) = self.next() {
            match kind {
                1 if stream == wanted => return Fate::Status(status(&payload)),
                3 if stream == wanted => return Fate::Reset,
                7 => return Fate::ConnectionEnded,
                _ => {}
            }
        }
        Fate::ConnectionEnded
    }
}

/// `:status`, which is the first field of a block (RFC 7541 §6, Appendix A).
fn status(block: &[u8]) -> u16 {
    let block = match block[0] >> 5 {
        // A change of the table's size may come first.
        1 => &block[1..],
        _ => block,
    };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        0x48 | 0x08 => {
            let length = usize::from(block[1] & 0x7f);
            let value = &block[2..2 + length];
            if block[1] & 0x80 == 0 {
                let text = String::from_utf8_lossy(value);
                return text.parse().expect("a status");
            }
            // Huffman: 0, 1 and 2 take five bits, the other digits six.
            let bits = value.iter().fold(0u32, |all, b| all << 8 | u32::from(*b));
            let (mut left, mut status) = (value.len() as u32 * 8, 0);
            for _ in 0..3 {
                let five = (bits >> (left - 5)) & 0x1f;
                if five < 3 {
                    status = status * 10 + five;
                    left -= 5;
                } else {
                    status = status * 10 + ((bits >> (left - 6)) & 0x3f) - 0x16;
                    left -= 6;
                }
            }
            status as u16
        }
        other => panic!("first field {other:#x}"),
    }
}
