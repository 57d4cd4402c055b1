//! A request as the decision sees it, whichever door it came through.

use std::net::{IpAddr, SocketAddr};

use http::Method;
use http_caching::Fields;

use crate::listen::tls::Proof;

/// The scheme of the target URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// As it stands in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URI of this scheme need not name.
    pub fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

/// The facts of a connection that a decision may rest on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// Whether TLS ended here.
    pub scheme: Scheme,
    /// The listener only redirects to this port.
    pub redirect_to_https: Option<u16>,
    /// The name that the client asked a certificate for.
    pub sni: Option<Box<str>>,
    /// The listener it came by, as the configuration has it.
    pub listener: SocketAddr,
    /// What the visitor was asked for, where it was asked for a certificate.
    pub proof: Option<Box<Proof>>,
}

impl Connection {
    /// The subject of the visitor's certificate.
    pub fn client_cert(&self) -> Option<&str> {
        let certificate = self.proof.as_ref()?.certificate.as_ref()?;
        Some(&certificate.subject)
    }
}

/// A request, borrowed from its door.
pub struct RequestView<'a> {
    /// The method; unknown ones are allowed.
    pub method: &'a Method,
    /// `Host` or `:authority` as sent; empty where HTTP/1.0 gave none.
    pub authority: &'a str,
    /// Origin-form target as sent.
    pub target: &'a str,
    /// Field lines.
    pub fields: &'a dyn Fields,
    /// What the framing says of the body.
    pub body: http1_wire::Body,
    /// The visitor: the connection's peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// The connection it came on.
    pub connection: &'a Connection,
}
