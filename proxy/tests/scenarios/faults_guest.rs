//! A visitor of either protocol to whom bad things may happen.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{H2, https, request},
    rules::Protocol,
    tools::PATIENCE,
};

/// Content of a visitor's request.
#[derive(Clone, Copy)]
pub(crate) enum Upload {
    None,
    Whole(&'static str),
    /// So many bytes are told of, a few come, and the visitor waits.
    Unfinished(usize),
    /// So many bytes, sent as fast as they are taken.
    Much(usize),
}

/// A visitor's connection; another is opened where an answer has ended it.
pub(crate) struct Guest {
    address: SocketAddr,
    plain: SocketAddr,
    line: Line,
}

enum Line {
    H1(Conn),
    H2(Box<H2>),
}

impl Guest {
    pub(crate) fn new(edge: &Edge, protocol: Protocol) -> Self {
        let address = edge.site.https;
        let line = match protocol {
            Protocol::H1 => Line::H1(https(address, "shop.example")),
            Protocol::H2 => Line::H2(Box::new(H2::connect(address))),
        };
        let plain = edge.site.http;
        Self {
            address,
            plain,
            line,
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        let got = self.ask("GET", target, Upload::None);
        got.unwrap_or_else(|why| panic!("{target}: {why}"))
    }

    /// A whole answer, or how it broke off. One that does neither in time is a failure of the test.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        target: &str,
        upload: Upload,
    ) -> Result<Response, String> {
        match &mut self.line {
            Line::H1(conn) => {
                if let Upload::Much(_) = upload {
                    // TLS hides an answer that is here from who cannot write any more.
                    *conn = Conn::open(self.plain);
                }
                let got = ask_h1(conn, method, target, upload);
                if let Err(why) = &got {
                    let hangs = why.contains("os error 11");
                    assert!(!hangs, "{method} {target} is not answered: {why}");
                }
                let lives =
                    matches!(&got, Ok(answer) if answer.field("connection") != Some("close"));
                if !lives || matches!(upload, Upload::Much(_)) {
                    *conn = https(self.address, "shop.example");
                }
                got
            }
            Line::H2(h2) => {
                let asked = ask_h2(h2.sender.clone(), method, target, upload);
                let got = h2
                    .runtime
                    .block_on(async { timeout(PATIENCE, asked).await });
                let got = got.unwrap_or_else(|_| panic!("{method} {target} is not answered"));
                assert!(!h2.connection.is_finished(), "the connection lives on");
                got.map_err(|why| why.to_string())
            }
        }
    }
}

fn ask_h1(conn: &mut Conn, method: &str, target: &str, upload: Upload) -> Result<Response, String> {
    let (length, content) = content(upload);
    let length = length.map(|length| length.to_string());
    let fields = length.as_deref().map(|length| ("content-length", length));
    conn.request(method, target, fields.as_slice());
    conn.send(content);
    conn.try_response(method)
}

/// What is told of, and what of it is sent.
fn content(upload: Upload) -> (Option<usize>, Vec<u8>) {
    match upload {
        Upload::None => (None, Vec::new()),
        Upload::Whole(text) => (Some(text.len()), text.into()),
        Upload::Unfinished(length) => (Some(length), b"a beginning".to_vec()),
        Upload::Much(length) => (Some(length), vec![b'u'; length]),
    }
}

async fn ask_h2(
    sender: h2::client::SendRequest<Bytes>,
    method: &str,
    target: &str,
    upload: Upload,
) -> Result<Response, h2::Error> {
    let (length, bytes) = content(upload);
    let text = length.map(|length| length.to_string());
    let fields = text.as_deref().map(|length| ("content-length", length));
    let request = request(method, target, fields.as_slice());
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, length.is_none())?;
    if let Some(length) = length {
        let whole = bytes.len() == length;
        // Who is answered before all is sent cannot send the rest.
        let _ = stream.send_data(Bytes::from(bytes), whole);
    }
    let (head, mut content) = response.await?.into_parts();
    let fields = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let mut answer = Response {
        status: head.status.as_u16(),
        fields: fields.collect(),
        body: Vec::new(),
    };
    while let Some(part) = content.data().await {
        let part = part?;
        content.flow_control().release_capacity(part.len())?;
        answer.body.extend_from_slice(&part);
    }
    Ok(answer)
}
