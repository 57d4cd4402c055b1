//! A finished request, told once to the counters and to the access log.

use std::{net::IpAddr, time::Duration};

use http::Method;
use http_caching::Fields;

use crate::{
    admit::{state::LimitState, waiting_room::Note},
    cache::status::Outcome,
    edge::{Own, Rejection, decide::Now},
    shared::Shared,
    snapshot::Route,
};

/// The protocol a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// As it stands in a log line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// All that is told of a request.
pub struct Record<'a> {
    /// When its head was complete.
    pub began: Now,
    /// Until the last byte was handed to the connection.
    pub duration: Duration,
    /// The visitor.
    pub client: IpAddr,
    /// How it came.
    pub protocol: Protocol,
    /// `GET` where the head was unreadable.
    pub method: &'a Method,
    /// As sent; may be empty.
    pub host: &'a str,
    /// `path[?query]` as sent; may be empty.
    pub target: &'a str,
    /// What the client got.
    pub status: u16,
    /// Content bytes sent.
    pub bytes: u64,
    /// Where it belongs, if anywhere.
    pub route: Option<&'a Route>,
    /// The store's part.
    pub outcome: Outcome,
    /// The server that answered or failed last.
    pub upstream: Option<&'a str>,
    /// From asking the server to its last byte.
    pub upstream_time: Option<Duration>,
    /// Servers that were asked.
    pub attempts: u32,
    /// Why the last of them but one failed.
    pub retried: Option<&'static str>,
    /// `X-Request-ID`.
    pub request_id: &'a str,
    /// The strictest limit it met.
    pub limit: Option<&'a LimitState>,
    /// The waiting room it met.
    pub room: Option<Note>,
    /// Why it was refused or failed.
    pub reason: Option<&'a str>,
    /// For `Referer` and `User-Agent`.
    pub fields: Option<&'a dyn Fields>,
    /// The subject of the visitor's certificate.
    pub client_cert: Option<&'a str>,
}

/// What is told of an answer that was composed here.
#[derive(Clone, Copy, Default)]
pub struct Told<'a> {
    /// Where it belongs, if anywhere.
    pub route: Option<&'a Route>,
    /// The strictest limit it met.
    pub limit: Option<&'a LimitState>,
    /// The waiting room it met.
    pub room: Option<Note>,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// The connection is of no use afterwards.
    pub close: bool,
}

impl<'a> From<&'a Rejection> for Told<'a> {
    fn from(rejection: &'a Rejection) -> Self {
        Self {
            route: rejection.route.as_deref(),
            limit: rejection.limit.as_ref(),
            room: rejection.room,
            reason: Some(rejection.reason),
            close: rejection.close,
        }
    }
}

impl<'a> From<&'a Own> for Told<'a> {
    fn from(own: &'a Own) -> Self {
        Self {
            route: Some(&own.route),
            limit: own.limit.as_ref(),
            ..Self::default()
        }
    }
}

impl Shared {
    /// Counts a request and writes its line.
    pub fn finish(&self, record: &Record<'_>) {
        let route = record
            .route
            .map_or(&self.metrics.no_route, |route| &route.metrics);
        route.count(record.method, record.status, record.duration);
        if record.route.is_some_and(|route| route.policy.is_some()) {
            self.metrics.cache_outcome(record.outcome);
        }
        if let Some(limit) = record.limit.filter(|limit| limit.retry_after > 0) {
            self.metrics.rate_limited(limit.rule);
        }
        if let Some(log) = &*self.access_log.load() {
            log.write(record);
        }
    }
}
