//! A shop that speaks HTTP/2, and one that writes its frames by hand.

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Response, request::Parts};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener as AsyncListener,
    runtime::Runtime,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{secure::runtime, tools::free_address};

/// A request as the shop got it, and the way to answer it.
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
}

/// What the shop has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) heads: Mutex<Vec<Parts>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

/// What the shop is told to do with its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    /// GOAWAY, and what is under way to its end.
    Leave(usize),
}

type Script = dyn Fn(Asked) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The shop.
pub(crate) struct H2Shop {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    order: watch::Sender<Order>,
    runtime: Option<Runtime>,
}

impl std::fmt::Display for H2Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for H2Shop {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl H2Shop {
    /// Without TLS, and with the settings that the library has.
    pub(crate) fn start<F>(script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(None, Builder::new(), script)
    }

    pub(crate) fn start_with<F>(
        tls: Option<Arc<ServerConfig>>,
        settings: Builder,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = runtime();
        let address = free_address();
        let listener = runtime
            .block_on(AsyncListener::bind(address))
            .expect("free");
        let seen = Arc::<Seen>::default();
        let (order, orders) = watch::channel(Order::Serve);
        let script: Arc<Script> = Arc::new(move |asked| Box::pin(script(asked)));
        let told = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, told) = (Arc::clone(&script), Arc::clone(&told));
                let (settings, tls, orders) = (settings.clone(), tls.clone(), orders.clone());
                told.connections.fetch_add(1, Ordering::SeqCst);
                socket.set_nodelay(true).expect("an option");
                let ending = Arc::clone(&told);
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, settings, script, told, orders).await,
                        Some(config) => {
                            let accepted = TlsAcceptor::from(config).accept(socket).await;
                            if let Ok(stream) = accepted {
                                serve(stream, settings, script, told, orders).await;
                            }
                        }
                    }
                    ending.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            seen,
            order,
            runtime: Some(runtime),
        }
    }

    /// Leaves every connection in peace; those that come now stay.
    pub(crate) fn leave(&self) {
        self.order.send_modify(|order| {
            *order = match order {
                Order::Serve => Order::Leave(1),
                Order::Leave(n) => Order::Leave(*n + 1),
            }
        });
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that have come to their end.
    pub(crate) fn ended(&self) -> usize {
        self.seen.ended.load(Ordering::SeqCst)
    }

    /// Streams at once, over all connections.
    pub(crate) fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    /// Streams under way.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests for a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        let heads = self.seen.heads.lock().expect("lock");
        heads.iter().filter(|h| h.uri.path() == path).count()
    }

    pub(crate) fn last(&self) -> Parts {
        let heads = self.seen.heads.lock().expect("lock");
        heads.last().expect("a request reached the shop").clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    settings: Builder,
    script: Arc<Script>,
    seen: Arc<Seen>,
    mut orders: watch::Receiver<Order>,
) {
    orders.borrow_and_update();
    let Ok(mut connection) = settings.handshake::<_, Bytes>(socket).await else {
        return;
    };
    let mut may_leave = true;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            changed = orders.changed(), if may_leave => {
                may_leave = changed.is_ok();
                if may_leave {
                    connection.graceful_shutdown();
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let (head, body) = request.into_parts();
        seen.heads.lock().expect("lock").push(head.clone());
        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(open, Ordering::SeqCst);
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        tokio::spawn(async move {
            script(Asked {
                head,
                body,
                respond,
            })
            .await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Something to send in the way of an answer.
pub(crate) fn answer(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut builder = Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a response")
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Reads the content to its end.
    pub(crate) async fn content(&mut self) -> Result<Vec<u8>, h2::Error> {
        let mut all = Vec::new();
        while let Some(piece) = self.body.data().await {
            let piece = piece?;
            self.body.flow_control().release_capacity(piece.len())?;
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Answers with these fields, this content, no faster than it is taken, and then these trailers. Says how
    /// much of it was taken.
    pub(crate) async fn send(
        &mut self,
        head: Response<()>,
        content: impl Into<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<(), h2::Error> {
        let mut content: Bytes = content.into();
        let nothing = content.is_empty() && trailers.is_none();
        let mut send = self.respond.send_response(head, nothing)?;
        if nothing {
            return Ok(());
        }
        while !content.is_empty() {
            let some = room(&mut send, content.len()).await?;
            let piece = content.split_to(some.min(content.len()));
            let end = content.is_empty() && trailers.is_none();
            send.send_data(piece, end)?;
        }
        match trailers {
            Some(trailers) => send.send_trailers(trailers),
            None => Ok(()),
        }
    }

    /// Answers `200` with this content.
    pub(crate) async fn page(&mut self, content: impl Into<Bytes>) {
        let content = content.into();
        let length = content.len().to_string();
        let head = answer(200, &[("content-length", &length)]);
        let _ = self.send(head, content, None).await;
    }
}

/// Waits until something may be sent; says how much.
pub(crate) async fn room(
    send: &mut h2::SendStream<Bytes>,
    wanted: usize,
) -> Result<usize, h2::Error> {
    send.reserve_capacity(wanted);
    loop {
        if send.capacity() > 0 {
            return Ok(send.capacity());
        }
        match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(why)) => return Err(why),
            None => return Err(Reason::CANCEL.into()),
        }
    }
}

/// A connection of which each frame is written by hand.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
}

/// A shop of such connections; `script` gets each with its number, from 1.
pub(crate) fn by_hand(script: impl Fn(Wire, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    let script = Arc::new(script);
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let stream = stream.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let script = Arc::clone(&script);
            thread::spawn(move || {
                let mut wire = Wire { stream };
                let mut preface = [0; 24];
                if wire.stream.read_exact(&mut preface).is_ok() {
                    wire.frame(4, 0, 0, &[]);
                    script(wire, n + 1);
                }
            });
        }
    });
    address
}

impl Wire {
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&crate::h2::frame(kind, flags, stream, payload));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Type, flags and stream of the next frame; settings are acknowledged.
    pub(crate) fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).ok()?;
            if head[3] == 4 && head[4] == 0 {
                self.frame(4, 1, 0, &[]);
                continue;
            }
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            return Some((head[3], head[4], stream, payload));
        }
    }

    /// The stream of the next request.
    pub(crate) fn request(&mut self) -> Option<u32> {
        loop {
            let (kind, _, stream, _) = self.next()?;
            if kind == 1 {
                return Some(stream);
            }
        }
    }

    /// HEADERS of `200` with these fields.
    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let mut block = vec![0x88];
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend(text.bytes());
            }
        }
        self.frame(1, 4 | u8::from(end), stream, &block);
    }

    pub(crate) fn data(&mut self, stream: u32, content: &[u8], end: bool) {
        self.frame(0, u8::from(end), stream, content);
    }

    pub(crate) fn reset(&mut self, stream: u32, reason: Reason) {
        self.frame(3, 0, stream, &u32::from(reason).to_be_bytes());
    }

    pub(crate) fn goaway(&mut self, last: u32) {
        self.frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    }

    /// Reads until the other side has ended the connection.
    pub(crate) fn linger(&mut self) {
        while self.next().is_some() {}
    }
}
