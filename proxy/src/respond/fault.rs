//! What can go wrong in an exchange, and who is to blame.

use std::io;

use nix::errno::Errno;

use super::failure::{Failure, Side, kind};
use crate::files::pieces::Changed;

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
                retry_after: None,
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
                retry_after: None,
            },
            timed_out,
            detail: "",
        }
    }

    /// There is no such file.
    pub const NO_FILE: Self = Self::visitor(404, "no_file", false);
    /// The file is none that visitors may have.
    pub const CLOSED_FILE: Self = Self::visitor(403, "file_closed", false);
    /// As many files are open as may be.
    pub const FILES_OPEN: Self = Self::ours(503, "no further file can be opened");
    /// The system does not let us read the file.
    pub const UNREADABLE: Self = Self::ours(500, "the file cannot be read");
    /// It is not any more what it was when the answer began.
    const FILE_CHANGED: Self = Self::ours(500, "the file changed while it was sent");

    const fn ours(status: u16, detail: &'static str) -> Self {
        Self {
            failure: Failure {
                status,
                reason: kind::EXHAUSTED,
                side: Side::Internal,
                retry_after: None,
            },
            timed_out: false,
            detail,
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
    /// The client is gone: nobody would see an answer.
    pub const GONE: Self = Self::visitor(0, "client_gone", false);
    /// It does not read, or too slowly.
    pub const UNREAD: Self = Self::visitor(0, "slow_read", true);
    /// The request's content does not come, or too slowly.
    pub const SLOW_UPLOAD: Self = Self::visitor(408, "client_timeout", true);
    /// It is more than the route takes.
    pub const TOO_LARGE: Self = Self::visitor(413, kind::BODY_TOO_LARGE, false);
    /// Its framing is broken.
    pub const MALFORMED: Self = Self::visitor(400, kind::BAD_BODY, false);
    /// What its head says of its connection cannot be followed.
    pub const fn refused(reason: &'static str) -> Self {
        Self::visitor(400, reason, false)
    }

    /// A connection did not come about in its time.
    pub const CONNECTING_LATE: Self =
        Self::server(504, "connection_timeout", "connecting took too long");
    /// The server has said that it has not looked at the request, so that nothing can happen twice (RFC 9113
    /// §8.7).
    pub const UNSEEN: Self = Self::server(
        502,
        "connection_terminated",
        "the server turned the request away unseen",
    );
    /// A server that is to speak HTTP/2 over TLS does not agree to (RFC 9113 §3.2).
    pub const NO_HTTP2: Self = Self::tls("the server does not agree to HTTP/2 (ALPN h2)");
    /// What a server is called can be in no certificate.
    pub const NO_TLS_NAME: Self =
        Self::tls("no certificate can have the server's name: set `tls.name`");

    const fn tls(detail: &'static str) -> Self {
        Self::server(502, "tls_protocol_error", detail)
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
            retry_after: None,
        },
        timed_out: false,
        detail: "no descriptor, port or memory is left for a connection",
    };

    /// The server has as many connections as it may have, and none became free in time. It does what it can.
    pub const CROWDED: Self = Self {
        failure: Failure {
            status: 503,
            reason: kind::CROWDED,
            side: Side::Internal,
            retry_after: None,
        },
        timed_out: false,
        detail: "no connection to the server became free",
    };

    /// It was turned away because there is too much to do.
    pub fn shed(failure: Failure) -> Self {
        Self {
            failure,
            timed_out: false,
            detail: "",
        }
    }

    /// The connection does not come about.
    pub fn connecting(why: &io::Error) -> Self {
        if is_ours(why) {
            return Self::EXHAUSTED;
        }
        match why.kind() {
            io::ErrorKind::TimedOut => Self::CONNECTING_LATE,
            io::ErrorKind::ConnectionRefused => {
                Self::server(502, "connection_refused", "connection refused")
            }
            _ => Self::server(502, "destination_ip_unroutable", "cannot connect"),
        }
    }

    /// The TLS handshake of a connection fails.
    pub fn handshaking(why: &io::Error) -> Self {
        if let Some(why) = inner::<rustls::Error>(why) {
            return Self::in_tls(why);
        }
        match why.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                Self::tls("the server closed the connection in the TLS handshake")
            }
            _ => Self::connecting(why),
        }
    }

    /// A connection fails that was there.
    pub fn broken(why: &io::Error) -> Self {
        if let Some(why) = inner::<rustls::Error>(why) {
            return Self::in_tls(why);
        }
        if inner::<Changed>(why).is_some() {
            return Self::FILE_CHANGED;
        }
        inner::<h2::Error>(why).map_or(Self::CLOSED, Self::in_http2)
    }

    /// Words of RFC 9209 §2.3 for what TLS finds wrong.
    fn in_tls(why: &rustls::Error) -> Self {
        use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error};
        let certificate = |detail| Self::server(502, "tls_certificate_error", detail);
        let alert = |detail| Self::server(502, "tls_alert_received", detail);
        match why {
            Error::InvalidCertificate(wrong) => certificate(match wrong {
                Wrong::Expired | Wrong::ExpiredContext { .. } => {
                    "the server's certificate has expired"
                }
                Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                    "the server's certificate is not valid yet"
                }
                Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
                    "the server's certificate is for another name"
                }
                Wrong::UnknownIssuer => "the server's certificate is of an unknown authority",
                Wrong::Revoked => "the server's certificate was revoked",
                _ => "the server's certificate is not valid",
            }),
            Error::NoCertificatesPresented => certificate("the server shows no certificate"),
            Error::AlertReceived(told) => alert(match told {
                Alert::CertificateRequired => "the server demands a client certificate",
                Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate
                | Alert::AccessDenied => "the server does not accept our client certificate",
                Alert::NoApplicationProtocol => "the server speaks none of our protocols (ALPN)",
                Alert::UnrecognisedName => "the server does not know the name it was asked for",
                Alert::ProtocolVersion => "the server speaks another version of TLS",
                _ => "the server refused the TLS connection",
            }),
            Error::InvalidMessage(_) => Self::tls("what the server speaks is not TLS"),
            _ => Self::tls("the server breaks TLS"),
        }
    }

    /// What became of a stream or of its connection.
    fn in_http2(why: &h2::Error) -> Self {
        let refused = why.is_reset() && why.reason() == Some(h2::Reason::REFUSED_STREAM);
        if why.is_remote() && (why.is_go_away() || refused) {
            // Streams up to the last one that GOAWAY names go on, and end otherwise.
            Self::UNSEEN
        } else if why.is_remote() {
            Self::server(502, "connection_terminated", "the server reset the stream")
        } else if why.is_library() {
            Self::bad_answer("the server breaks HTTP/2, or does not speak it")
        } else {
            Self::CLOSED
        }
    }

    /// Whether the server is to blame.
    pub fn is_by_server(&self) -> bool {
        self.failure.side == Side::Upstream
    }
}

/// What an error was made of.
fn inner<E: std::error::Error + 'static>(why: &io::Error) -> Option<&E> {
    why.get_ref()?.downcast_ref()
}

/// Whether it is on our side that a connection fails.
pub(crate) fn is_ours(why: &io::Error) -> bool {
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
        let fault = |code: Errno| Fault::connecting(&io::Error::from_raw_os_error(code as i32));
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
