//! All that needs an upstream: Pingora's proxy with our phases.
//!
//! A door hands over one request with what was decided about it; `phases.rs` reads in the order in
//! which Pingora calls it.

mod exchange;
mod phases;
pub(crate) mod request;
pub(crate) mod response;

use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pingora::{
    apps::HttpServerApp,
    protocols::http::ServerSession,
    proxy::HttpProxy,
    server::{ShutdownWatch, configuration::ServerConf},
};

use tokio::time::sleep;

use self::phases::Phases;
use crate::{
    cache::status::Outcome,
    edge::{Forward, Scheme, decide::Now},
    observe::{Protocol, Record},
    shared::Shared,
    snapshot::Snapshot,
};

/// Idle connections to upstreams that a thread keeps.
const POOL: usize = 512;

/// A request and what was decided about it.
pub struct Handover {
    /// The configuration it began under.
    pub snapshot: Arc<Snapshot>,
    /// Where it goes.
    pub forward: Forward,
    /// When its head was complete.
    pub began: Now,
    /// The visitor.
    pub client: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
    /// The scheme it came by.
    pub scheme: Scheme,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// `X-Request-ID`.
    pub request_id: String,
    /// Authority as sent, for the log.
    pub host: String,
    /// Target as sent, for the log.
    pub target: String,
    /// How its body is coming along.
    pub upload: Upload,
}

/// The progress of a request body. Over HTTP/1.1 reads have a time limit of their own; over HTTP/2
/// nobody but the door can see that a client has stopped sending.
#[derive(Default)]
pub struct Upload {
    ended: AtomicBool,
    /// Milliseconds since the process began.
    last: AtomicU64,
}

impl Upload {
    fn progress(&self, tick: Duration, ended: bool) {
        let millis = u64::try_from(tick.as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
        self.ended.fetch_or(ended, Ordering::Relaxed);
    }
}

impl Handover {
    /// Returns once nothing has come of the body for so long.
    pub async fn upload_stalled(&self, started: Instant, limit: Duration) {
        loop {
            sleep(limit).await;
            if self.upload.ended.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            let last = Duration::from_millis(self.upload.last.load(Ordering::Relaxed));
            let since = last.max(self.began.tick);
            if started.elapsed().saturating_sub(since) >= limit {
                return;
            }
        }
    }
}

tokio::task_local! {
    /// The way from the door into Pingora's phases, which begin without arguments.
    static HANDOVER: RefCell<Option<Arc<Handover>>>;
}

/// Takes requests to upstreams; one per thread.
pub struct Forwarder {
    proxy: Arc<HttpProxy<Phases>>,
    shared: Arc<Shared>,
    shutdown: ShutdownWatch,
    started: Instant,
}

impl Forwarder {
    /// A forwarder with a pool of its own.
    pub fn new(shared: &Arc<Shared>, started: Instant) -> Self {
        let conf = ServerConf {
            upstream_keepalive_pool_size: POOL,
            ..ServerConf::default()
        };
        let mut proxy = HttpProxy::new(Phases::new(Arc::clone(shared), started), Arc::new(conf));
        proxy.handle_init_modules();
        Self {
            proxy: Arc::new(proxy),
            shared: Arc::clone(shared),
            shutdown: shared.drain_signal(),
            started,
        }
    }

    /// Answers an HTTP/2 request.
    pub async fn http2(&self, session: ServerSession, handover: Arc<Handover>) {
        self.run(session, handover).await;
    }

    async fn run(
        &self,
        session: ServerSession,
        handover: Arc<Handover>,
    ) -> Option<pingora::apps::ReusedHttpStream> {
        let slot = RefCell::new(Some(Arc::clone(&handover)));
        HANDOVER
            .scope(slot, async {
                let reused = self.proxy.process_new_http(session, &self.shutdown).await;
                if HANDOVER.with(|slot| slot.borrow().is_some()) {
                    // Pingora found fault with a head that our parser let through.
                    self.cut_short(&handover, 400, "refused while forwarding");
                }
                reused
            })
            .await
    }

    /// Tells of a request that never reached the phase in which requests are told of.
    pub fn cut_short(&self, handover: &Handover, status: u16, reason: &str) {
        self.shared.finish(&Record {
            began: handover.began,
            duration: self.started.elapsed().saturating_sub(handover.began.tick),
            client: handover.client,
            protocol: handover.protocol,
            method: &http::Method::GET,
            host: &handover.host,
            target: &handover.target,
            status,
            bytes: 0,
            route: Some(&handover.forward.route),
            outcome: Outcome::None,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            request_id: &handover.request_id,
            limit: handover.forward.limit.as_ref(),
            reason: Some(reason),
            fields: None,
        });
    }
}
