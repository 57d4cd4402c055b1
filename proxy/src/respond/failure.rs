//! From a failed exchange with a server to what the client is told: one match, nothing left out.

use pingora::{Error, ErrorSource, ErrorType};

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
}

/// Our own error types, carried through Pingora.
pub mod kind {
    /// No server may be asked.
    pub const UNAVAILABLE: &str = "destination_unavailable";
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
        }
    }

    /// A server that answers with this status, which says that it is in trouble.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            reason: "http_status",
            side: Side::Upstream,
        }
    }

    /// Judges an error of the forward path.
    pub fn of(error: &Error) -> Self {
        let side = match error.esource() {
            ErrorSource::Downstream => Side::Downstream,
            ErrorSource::Upstream => Side::Upstream,
            ErrorSource::Internal | ErrorSource::Unset => Side::Internal,
        };
        let (status, reason) = match error.etype() {
            ErrorType::Custom(kind::UNAVAILABLE) => (503, kind::UNAVAILABLE),
            ErrorType::Custom(kind::BODY_TOO_LARGE) => (413, kind::BODY_TOO_LARGE),
            ErrorType::Custom(kind::BAD_BODY) => (400, kind::BAD_BODY),
            ErrorType::Custom(kind::BAD_ANSWER) => (502, kind::BAD_ANSWER),
            ErrorType::HTTPStatus(code) => (*code, "http_status"),
            kind if side == Side::Downstream => downstream(kind),
            kind if side == Side::Upstream => upstream(kind),
            _ => (500, "proxy_internal_error"),
        };
        Self {
            status,
            reason,
            side,
        }
    }
}

fn downstream(kind: &ErrorType) -> (u16, &'static str) {
    match kind {
        ErrorType::ReadTimedout => (408, "client_timeout"),
        ErrorType::InvalidHTTPHeader => (400, "http_request_error"),
        // The client is gone, or does not read: nobody would see an answer.
        ErrorType::WriteError
        | ErrorType::WriteTimedout
        | ErrorType::ReadError
        | ErrorType::ConnectError
        | ErrorType::ConnectionClosed => (0, "client_gone"),
        _ => (400, "http_request_error"),
    }
}

fn upstream(kind: &ErrorType) -> (u16, &'static str) {
    match kind {
        ErrorType::ConnectTimedout => (504, "connection_timeout"),
        ErrorType::ReadTimedout => (504, "http_response_timeout"),
        ErrorType::WriteTimedout => (504, "connection_write_timeout"),
        ErrorType::ConnectRefused => (502, "connection_refused"),
        ErrorType::ConnectError | ErrorType::ConnectNoRoute | ErrorType::SocketError => {
            (502, "destination_ip_unroutable")
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            (502, "connection_terminated")
        }
        _ => (502, "http_protocol_error"),
    }
}
