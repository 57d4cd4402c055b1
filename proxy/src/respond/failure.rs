//! What the client and the log are told of a failure.

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The server's.
    Upstream,
    /// Ours.
    Internal,
}

/// A failure as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Status for the client; `0` where it is gone.
    pub status: u16,
    /// Word for the log (RFC 9209 §2.3 where it has one).
    pub reason: &'static str,
    /// Whose fault it is.
    pub side: Side,
    /// Seconds for `Retry-After`, where more is known than that it failed.
    pub retry_after: Option<u64>,
}

/// Words for failures that have several causes.
pub mod kind {
    /// No server may be asked.
    pub const UNAVAILABLE: &str = "destination_unavailable";
    /// As many connections are open as may be, and no other server has room.
    pub const CROWDED: &str = "connection_limit_reached";
    /// The shop has as much to do as it can, and others matter more.
    pub const SHED: &str = "shed";
    /// We lack descriptors, ports or memory.
    pub const EXHAUSTED: &str = "proxy_internal_error";
    /// The body exceeds the route's bound.
    pub const BODY_TOO_LARGE: &str = "http_request_error";
    /// The server's answer breaks HTTP.
    pub const BAD_ANSWER: &str = "http_protocol_error";
    /// The chunked framing of the request body is broken.
    pub const BAD_BODY: &str = "http_request_error_body";
}

impl Failure {
    /// No server may be asked.
    pub fn unavailable() -> Self {
        Self {
            status: 503,
            reason: kind::UNAVAILABLE,
            side: Side::Upstream,
            retry_after: None,
        }
    }

    /// There is more to do than a shop can, and others matter more or came first.
    pub fn shed(retry_after: u64) -> Self {
        Self {
            status: 503,
            reason: kind::SHED,
            side: Side::Internal,
            retry_after: Some(retry_after),
        }
    }

    /// Whether it was turned away because there is too much to do, which is no news to anybody.
    pub fn is_shed(&self) -> bool {
        self.reason == kind::SHED
    }

    /// A server that answers with this status, which says that it is in trouble.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            reason: "http_status",
            side: Side::Upstream,
            retry_after: None,
        }
    }
}
