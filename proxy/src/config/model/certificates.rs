//! Certificates: those of files, and those that are ordered.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Anchor, ClientAuth};

/// `[[certificates]]`: a pair, or a folder of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSource {
    /// Where the files are.
    pub files: CertificateFiles,
    /// Whether who comes for its names is asked for a certificate.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// Where it stands.
    pub place: Anchor,
}

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFiles {
    /// In two files.
    Pair(Certificate),
    /// All pairs of a folder.
    Folder(PathBuf),
}

/// A certificate: paths only, the files are read when the edge is built.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// PEM chain, the leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[acme]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// URL of the authority's directory.
    pub directory: String,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// Folder for the account and the certificates.
    pub storage: PathBuf,
    /// Names of each certificate, lower case, A-labels; each name once.
    pub certificates: Vec<Vec<String>>,
    /// How names are shown to lead here.
    pub challenge: ChallengeKind,
    /// Authorities that are believed when the directory is asked; the system's where absent.
    pub ca_file: Option<PathBuf>,
    /// One of the authority's profiles.
    pub profile: Option<String>,
    /// The account that orders count for.
    pub binding: Option<AccountBinding>,
    /// How long before its end a certificate is renewed.
    pub renew_before: Option<Duration>,
    /// Pause after the first failure.
    pub retry: Duration,
}

/// A challenge of RFC 8555.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file at a well-known path (RFC 8555 §8.3).
    Http01,
    /// A certificate in a handshake of its own (RFC 8737).
    TlsAlpn01,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBinding {
    /// Identifies the key.
    pub key_id: String,
    /// Holds the key, in base64url.
    pub hmac_file: PathBuf,
}
