//! What can go wrong in an exchange, and who is to blame.

use nix::errno::Errno;

use super::failure::{Failure, Side, kind};

/// Why an exchange broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What the visitor and the log are told.
    pub failure: Failure,
    /// Somebody's time was up.
    pub timed_out: bool,
    /// More for the log.
    pub detail: &'static str,
}

impl Fault {
    const fn server(status: u16, reason: &'static str, detail: &'static str) -> Self {
        Self {
            failure: Failure {
                status,
                reason,
                side: Side::Upstream,
            },
            timed_out: status == 504,
            detail,
        }
    }

    const fn visitor(status: u16, reason: &'static str, timed_out: bool) -> Self {
        Self {
            failure: Failure {
                status,
                reason,
                side: Side::Downstream,
            },
            timed_out,
            detail: "",
        }
    }

    /// No server may be asked.
    pub const UNAVAILABLE: Self = Self::server(503, kind::UNAVAILABLE, "no server is available");
    /// The server ended the connection before its answer was complete.
    pub const CLOSED: Self = Self::server(
        502,
        "connection_terminated",
        "the server closed the connection",
    );
    /// No answer, or no more of one.
    pub const SILENT: Self = Self::server(504, "http_response_timeout", "the server says nothing");
    /// All attempts together took longer than they may.
    pub const TOO_LONG: Self = Self::server(
        504,
        "http_response_timeout",
        "the exchange took longer than it may",
    );
    /// The server takes nothing.
    pub const DEAF: Self =
        Self::server(504, "connection_write_timeout", "the server reads nothing");
    /// The client is gone, or does not read: nobody would see an answer.
    pub const GONE: Self = Self::visitor(0, "client_gone", false);
    /// The same after a while.
    pub const UNREAD: Self = Self::visitor(0, "client_gone", true);
    /// The request's content does not come.
    pub const SLOW_UPLOAD: Self = Self::visitor(408, "client_timeout", true);
    /// It is more than the route takes.
    pub const TOO_LARGE: Self = Self::visitor(413, kind::BODY_TOO_LARGE, false);
    /// Its framing is broken.
    pub const MALFORMED: Self = Self::visitor(400, kind::BAD_BODY, false);
    /// What its head says of its connection cannot be followed.
    pub const fn refused(reason: &'static str) -> Self {
        Self::visitor(400, reason, false)
    }

    /// The answer breaks HTTP.
    pub const fn bad_answer(detail: &'static str) -> Self {
        Self::server(502, kind::BAD_ANSWER, detail)
    }

    /// We lack what a connection takes: descriptors, ports or memory. No server is the worse for it, and
    /// another would not help.
    const EXHAUSTED: Self = Self {
        failure: Failure {
            status: 503,
            reason: kind::EXHAUSTED,
            side: Side::Internal,
        },
        timed_out: false,
        detail: "no descriptor, port or memory is left for a connection",
    };

    /// The connection does not come about.
    pub fn connecting(why: &std::io::Error) -> Self {
        if is_ours(why) {
            return Self::EXHAUSTED;
        }
        match why.kind() {
            std::io::ErrorKind::TimedOut => {
                Self::server(504, "connection_timeout", "connecting took too long")
            }
            std::io::ErrorKind::ConnectionRefused => {
                Self::server(502, "connection_refused", "connection refused")
            }
            _ => Self::server(502, "destination_ip_unroutable", "cannot connect"),
        }
    }

    /// Whether the server is to blame.
    pub fn is_by_server(&self) -> bool {
        self.failure.side == Side::Upstream
    }
}

/// Whether it is on our side that a connection fails.
pub(crate) fn is_ours(why: &std::io::Error) -> bool {
    let code = why.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOMEM | Errno::ENOBUFS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_no_failure_of_a_server() {
        let fault =
            |code: Errno| Fault::connecting(&std::io::Error::from_raw_os_error(code as i32));
        for ours in [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::EADDRNOTAVAIL,
            Errno::ENOMEM,
            Errno::ENOBUFS,
        ] {
            let fault = fault(ours);
            assert_eq!(
                (fault.failure.status, fault.failure.side),
                (503, Side::Internal),
                "{ours}"
            );
            assert!(!fault.is_by_server(), "{ours}");
        }
        for theirs in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ETIMEDOUT] {
            assert!(fault(theirs).is_by_server(), "{theirs}");
        }
    }
}
