//! Where visitors come in, and how they are spoken to.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::Anchor;

/// `[[listeners]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Terminate TLS here, with ALPN `h2` and `http/1.1`.
    pub tls: bool,
    /// Answer everything with a redirect to `https`, except an unusable request.
    pub redirect_to_https: bool,
    /// Port written into that redirect; `443` is left out of the URL.
    pub https_port: u16,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// What is spoken, where there is TLS.
    pub tls_profile: TlsProfile,
    /// Whether visitors are asked for a certificate.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// Where its address stands.
    pub place: Anchor,
}

/// Versions and suites of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3, forward secrecy and authenticated encryption only.
    #[default]
    Intermediate,
    /// TLS 1.3.
    Modern,
}

/// `client_auth`: paths only, the files are read when the edge is built, and when they change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientAuth {
    /// PEM file of the authorities that are believed.
    pub ca: PathBuf,
    /// Whether a certificate must be shown.
    pub mode: ClientAuthMode,
    /// PEM file of revocation lists.
    pub crl: Option<PathBuf>,
    /// Where it stands.
    pub place: Anchor,
}

/// Whether visitors must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClientAuthMode {
    /// Who shows none is refused.
    #[default]
    Require,
    /// Who shows none may come in.
    Optional,
}

impl ClientAuthMode {
    /// As it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Optional => "optional",
        }
    }
}

/// `hsts`: what `Strict-Transport-Security` says (RFC 6797 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers are to ask over TLS only.
    pub max_age: Duration,
    /// The same for the names below.
    pub include_subdomains: bool,
    /// Consent to lists that browsers come with.
    pub preload: bool,
}
