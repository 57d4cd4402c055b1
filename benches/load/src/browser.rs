//! The connections of one visitor, as browsers keep them: one over HTTP/2, up to two over HTTP/1.1.

use std::{
    cell::{Cell, RefCell},
    net::Ipv4Addr,
    rc::Rc,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, Semaphore},
};
use tokio_rustls::TlsConnector;

use crate::{
    connect::{Protocol, Target},
    fate::Fate,
};

/// Connections of one visitor over HTTP/1.1. Browsers open up to six; two are what a small page takes.
const HTTP1_MAX: usize = 2;

/// Nothing in the shop is longer; what is would not be right.
const BODY_MAX: usize = 1024 * 1024;

/// What a browser lets be on its way to it: a stream, and all of them.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// A request, whatever it travels by.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A failure, and whether the request may be sent once more on a new connection, as browsers do: a connection that
/// was kept turned out to be closed before anything of an answer came.
struct Broken {
    fate: Fate,
    again: bool,
}

impl Broken {
    fn for_good(fate: Fate) -> Self {
        Self { fate, again: false }
    }
}

/// The connections of one visitor.
pub(crate) struct Browser {
    target: Rc<Target>,
    protocol: Protocol,
    from: Ipv4Addr,
    tls: Option<TlsConnector>,
    turns: Semaphore,
    idle: RefCell<Vec<http1::SendRequest<Full<Bytes>>>>,
    h2: Mutex<Option<h2::client::SendRequest<Bytes>>>,
    /// Connections made.
    pub(crate) connections: Cell<u64>,
    /// Requests sent once more, because a kept connection was closed.
    pub(crate) repeated: Cell<u64>,
}

impl Browser {
    /// Without a connection yet.
    pub(crate) fn new(target: Rc<Target>, protocol: Protocol, from: Ipv4Addr) -> Self {
        Self {
            tls: target.connector(protocol),
            target,
            protocol,
            from,
            turns: Semaphore::new(HTTP1_MAX),
            idle: RefCell::default(),
            h2: Mutex::default(),
            connections: Cell::new(0),
            repeated: Cell::new(0),
        }
    }

    /// Sends a request and waits for the whole answer. Dropping it gives the request up.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer, Fate> {
        if self.protocol.is_h2() {
            self.send_h2(ask).await
        } else {
            self.send_http1(ask).await
        }
    }

    async fn send_http1(&self, ask: &Ask) -> Result<Answer, Fate> {
        let _turn = self.turns.acquire().await.map_err(|_| Fate::Own)?;
        if let Some(kept) = self.kept().await {
            match self.over_http1(kept, ask, true).await {
                Err(broken) if broken.again => self.repeated.set(self.repeated.get() + 1),
                settled => return settled.map_err(|broken| broken.fate),
            }
        }
        let stream = self.target.tcp(self.protocol, self.from).await?;
        let sender = match &self.tls {
            Some(tls) => http1_on(self.target.tls(tls, stream).await?).await?,
            None => http1_on(stream).await?,
        };
        self.connections.set(self.connections.get() + 1);
        self.over_http1(sender, ask, false)
            .await
            .map_err(|broken| broken.fate)
    }

    /// A kept connection that is still open.
    async fn kept(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        loop {
            let mut sender = self.idle.borrow_mut().pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn over_http1(
        &self,
        mut sender: http1::SendRequest<Full<Bytes>>,
        ask: &Ask,
        kept: bool,
    ) -> Result<Answer, Broken> {
        let request = self.request(ask, &ask.target, Full::new(ask.body.clone()))?;
        let response = sender.send_request(request).await.map_err(|error| Broken {
            fate: if error.is_parse() {
                Fate::Protocol
            } else {
                Fate::Reset
            },
            // Cancelled: not a byte of it was written.
            again: error.is_canceled() || kept && ask.method.is_safe() && !error.is_parse(),
        })?;
        let (head, mut content) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|_| Broken::for_good(Fate::Cut))?;
            if let Some(data) = frame.data_ref() {
                append(&mut body, data)?;
            }
        }
        self.idle.borrow_mut().push(sender);
        Ok(Answer {
            status: head.status,
            fields: head.headers,
            body,
        })
    }

    async fn send_h2(&self, ask: &Ask) -> Result<Answer, Fate> {
        let (sender, kept) = self.h2_sender().await?;
        match self.over_h2(sender, ask, kept).await {
            Err(broken) if broken.again => {
                self.repeated.set(self.repeated.get() + 1);
                *self.h2.lock().await = None;
                let (sender, _) = self.h2_sender().await?;
                let settled = self.over_h2(sender, ask, false).await;
                settled.map_err(|broken| broken.fate)
            }
            settled => settled.map_err(|broken| broken.fate),
        }
    }

    /// The connection, made now if need be, and whether it was there before. Whoever comes meanwhile waits for it.
    async fn h2_sender(&self) -> Result<(h2::client::SendRequest<Bytes>, bool), Fate> {
        let mut held = self.h2.lock().await;
        if let Some(sender) = held.take()
            && let Ok(sender) = sender.ready().await
        {
            *held = Some(sender.clone());
            return Ok((sender, true));
        }
        let stream = self.target.tcp(self.protocol, self.from).await?;
        let sender = match &self.tls {
            Some(tls) => {
                let stream = self.target.tls(tls, stream).await?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Fate::Tls);
                }
                h2_on(stream).await?
            }
            None => h2_on(stream).await?,
        };
        self.connections.set(self.connections.get() + 1);
        *held = Some(sender.clone());
        Ok((sender, false))
    }

    async fn over_h2(
        &self,
        sender: h2::client::SendRequest<Bytes>,
        ask: &Ask,
        kept: bool,
    ) -> Result<Answer, Broken> {
        let broken = |error: h2::Error| {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // A peer that says farewell names the last stream it takes; the library tells only those beyond it.
            let farewell = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            Broken {
                fate: if error.is_library() {
                    Fate::Protocol
                } else {
                    Fate::Reset
                },
                again: refused || farewell || kept && ask.method.is_safe() && error.is_io(),
            }
        };
        let scheme = if self.protocol.is_tls() {
            "https"
        } else {
            "http"
        };
        let uri = format!("{scheme}://{}{}", self.target.host, ask.target);
        let request = self.request(ask, &uri, ())?;
        let mut sender = sender.ready().await.map_err(broken)?;
        let (response, mut content) = sender
            .send_request(request, ask.body.is_empty())
            .map_err(broken)?;
        if !ask.body.is_empty() {
            // Forms are far below any window; what could not go would wait in the library.
            content.send_data(ask.body.clone(), true).map_err(broken)?;
        }
        let (head, mut content) = response.await.map_err(broken)?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = content.data().await {
            let data = data.map_err(|_| Broken::for_good(Fate::Cut))?;
            append(&mut body, &data)?;
            let _ = content.flow_control().release_capacity(data.remaining());
        }
        let length = head.headers.get(header::CONTENT_LENGTH);
        if length.is_some_and(|length| length.as_bytes() != body.len().to_string().as_bytes())
            && head.status != StatusCode::NOT_MODIFIED
        {
            return Err(Broken::for_good(Fate::Cut));
        }
        Ok(Answer {
            status: head.status,
            fields: head.headers,
            body,
        })
    }

    fn request<B>(&self, ask: &Ask, uri: &str, body: B) -> Result<Request<B>, Broken> {
        let mut request = Request::builder().method(ask.method.clone()).uri(uri);
        if let Some(fields) = request.headers_mut() {
            for (name, value) in &ask.fields {
                fields.append(name, value.clone());
            }
            if self.protocol.is_h2() {
                if !ask.body.is_empty() {
                    fields.insert(header::CONTENT_LENGTH, ask.body.len().into());
                }
            } else if let Ok(host) = HeaderValue::from_str(&self.target.host) {
                fields.insert(header::HOST, host);
            }
        }
        request.body(body).map_err(|_| Broken::for_good(Fate::Own))
    }
}

fn append(body: &mut Vec<u8>, data: &[u8]) -> Result<(), Broken> {
    if body.len() + data.len() > BODY_MAX {
        return Err(Broken::for_good(Fate::WrongContent));
    }
    body.extend_from_slice(data);
    Ok(())
}

async fn http1_on<S>(stream: S) -> Result<http1::SendRequest<Full<Bytes>>, Fate>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|_| Fate::Protocol)?;
    // Its failures are told to the request that meets them.
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn h2_on<S>(stream: S) -> Result<h2::client::SendRequest<Bytes>, Fate>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let made = builder.handshake(stream).await;
    let (sender, connection) = made.map_err(|_| Fate::Reset)?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

#[cfg(test)]
#[path = "browser_tests.rs"]
mod tests;
