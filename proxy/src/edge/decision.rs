//! What the decision can be.

use std::{sync::Arc, time::Duration};

use http_caching::Coding;

use super::path;
use crate::{
    admit::{
        rate::Held,
        state::LimitState,
        waiting_room::{Note, Notice, Pass},
    },
    cache::{Stored, status::Outcome},
    respond::fault::Fault,
    route::action::{Action, Fixed},
    snapshot::Route,
    upstream::Upstream,
};

/// The answer to a request.
pub enum Decision {
    /// From the store, without asking anyone.
    Respond(Hit),
    /// To another URL.
    Redirect {
        /// `301` where the method may be repeated as GET, else `308`.
        status: u16,
        /// Absolute URL.
        location: String,
    },
    /// With the text that proves to an authority that a name leads here (RFC 8555 §8.3).
    Challenge(Arc<str>),
    /// By its route, which needs nobody for it.
    Own(Own),
    /// Not at all.
    Reject(Rejection),
    /// Later: it is held back, and then decided again.
    Delay(Delay),
    /// By the waiting room: not yet.
    Wait(Wait),
    /// With what is fetched for the store, for this request or for all who ask the same.
    Fetch(Fetch),
    /// By an upstream, past the store.
    Forward(Forward),
}

/// An answer that a route gives by itself.
pub struct Own {
    /// Which route.
    pub route: Arc<Route>,
    /// What it says.
    pub answer: OwnAnswer,
    /// The strictest limit that was met.
    pub limit: Option<LimitState>,
}

/// What a route says by itself.
#[derive(Debug)]
pub enum OwnAnswer {
    /// That something is elsewhere.
    Redirect {
        /// Status code.
        status: u16,
        /// A path or an absolute URL.
        location: String,
    },
    /// The same to everybody.
    Fixed(Fixed),
}

/// A request that waits for its turn at a limit. Nothing of the answer is known yet: what is stored may have
/// changed when the turn comes.
pub struct Delay {
    /// How long.
    pub wait: Duration,
    /// To take their turns when the wait is over, or to be dropped where the visitor is gone.
    pub held: Vec<Held>,
    /// The route, for the log.
    pub route: Arc<Route>,
    /// Which limits are behind it.
    pub passed: Passed,
}

/// The limits that a request has behind it.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// Those that count all requests.
    pub all: bool,
    /// Those that count what the store does not answer.
    pub origin: bool,
    /// What they said.
    pub limit: Option<LimitState>,
}

impl Passed {
    /// For operators, whom nothing counts and no list keeps out.
    pub(super) fn everything() -> Self {
        Self {
            all: true,
            origin: true,
            limit: None,
        }
    }
}

/// A stored response that may be reused as it is.
pub struct Hit {
    /// The route it was found on.
    pub route: Arc<Route>,
    /// The response.
    pub stored: Stored,
    /// Its current age in seconds (RFC 9111 §4.2.3).
    pub age: u64,
    /// Freshness left in seconds, negative when stale (RFC 9211 §2.6).
    pub ttl: i64,
    /// Fresh, or why it answers though it is not.
    pub outcome: Outcome,
    /// Which part of it is asked for.
    pub answer: Answer,
    /// The compressed form that the client likes best.
    pub coding: Option<Coding>,
    /// It is to be fetched anew behind the client's back.
    pub refresh: Option<Box<Fetch>>,
    /// The strictest limit that was met.
    pub limit: Option<LimitState>,
    /// The visitor's pass, where there is a waiting room.
    pub room: Option<Arc<Pass>>,
}

/// How a stored response answers a request (RFC 9110 §13, §14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Head and body.
    Whole,
    /// `206` with the bytes from `first` to `last`, both included.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// `206` with several parts, each from its first to its last byte.
    Parts(Vec<(u64, u64)>),
    /// `304`.
    NotModified,
    /// `416`.
    RangeNotSatisfiable,
}

/// A request that is refused here.
pub struct Rejection {
    /// Status code.
    pub status: u16,
    /// Why, for the log; clients get the general sentence of the status.
    pub reason: &'static str,
    /// The connection is of no use afterwards, because its framing cannot be trusted.
    pub close: bool,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// The methods of `Allow`, where they are known.
    pub allow: Option<Box<str>>,
    /// The route, where it was known by then.
    pub route: Option<Arc<Route>>,
    /// The limit that was hit.
    pub limit: Option<LimitState>,
    /// What a waiting room has to do with it.
    pub room: Option<Note>,
}

/// A visitor who is to wait, or asks how long.
pub struct Wait {
    /// As what it counts.
    pub rejection: Rejection,
    /// What the visitor is told.
    pub notice: Box<Notice>,
}

impl Rejection {
    /// A refusal that leaves the connection usable.
    pub fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            close: false,
            retry_after: None,
            allow: None,
            route: None,
            limit: None,
            room: None,
        }
    }

    /// A refusal after which the connection closes.
    pub fn closing(status: u16, reason: &'static str) -> Self {
        Self {
            close: true,
            ..Self::new(status, reason)
        }
    }
}

/// How a request goes on to an upstream.
#[derive(Clone)]
pub struct Forward {
    /// The route it takes.
    pub route: Arc<Route>,
    /// Who answers.
    pub upstream: Arc<Upstream>,
    /// Normalised `path[?query]`.
    pub target: String,
    /// Normalised `host[:port]`.
    pub authority: String,
    /// Why the store did not answer, by RFC 9211 (`fwd=`).
    pub reason: ForwardReason,
    /// The strictest limit that was met.
    pub limit: Option<LimitState>,
    /// The visitor's pass, where there is a waiting room. It goes with the answer, and into nothing that others
    /// read.
    pub room: Option<Arc<Pass>>,
    /// What everyone gets may answer in its place, should no server be there to answer (`shop_window`).
    pub instead: Option<Box<Fetch>>,
}

impl Forward {
    /// The upstream that may be out, where there is one: that behind the files of a route.
    pub fn shop(&self) -> &Arc<Upstream> {
        self.route.shop(&self.upstream)
    }

    /// The same for the upstream that answers where the route has no such file; `None` where it stays as it is.
    pub async fn otherwise(&self) -> Result<Option<Self>, Fault> {
        let (Some(route), Some(files)) = (&self.route.otherwise, &self.upstream.files) else {
            return Ok(None);
        };
        let Action::Upstream(upstream) = &route.action else {
            return Ok(None);
        };
        let path = self.target.split('?').next().unwrap_or_default();
        let path = path::matched(path, self.route.encoded_slashes);
        if !files.passes(&path).await? {
            return Ok(None);
        }
        let (route, upstream) = (Arc::clone(route), Arc::clone(upstream));
        Ok(Some(Self {
            route,
            upstream,
            ..self.clone()
        }))
    }
}

/// What is to be fetched for the store.
#[derive(Clone)]
pub struct Fetch {
    /// How the visitor's own request goes, should the answer be none to be shared.
    pub own: Forward,
    /// Primary key (RFC 9111 §2).
    pub key: Arc<[u8]>,
    /// Bytes of the key that are the URI.
    pub uri_length: usize,
    /// `path[?query]` that stands in the key.
    pub target: String,
    /// The client wants what is stored to be validated, and is heard.
    pub validate: bool,
}

/// Why a request goes to the upstream (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The route does not cache, or the request may not be answered from the store.
    Bypass,
    /// The method is not one the store answers.
    Method,
    /// Nothing is stored under the key.
    UriMiss,
    /// Something is stored, but not for these field values.
    VaryMiss,
    /// What is stored is not fresh.
    Stale,
}

impl ForwardReason {
    /// The token of RFC 9211.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}
