//! TLS: certificates by name, session tickets, and what is offered in a handshake.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{acme::challenge::ALPN, config::model, snapshot::Snapshot};

/// A certificate and what it says of itself.
pub struct Certificate {
    /// The chain's file, for logs and metrics.
    pub path: String,
    /// DNS names of the leaf, lower case.
    pub names: Vec<String>,
    /// End of its validity.
    pub not_after: SystemTime,
    key: Arc<CertifiedKey>,
}

/// Certificates by the name a client asks for.
pub struct CertificateTable {
    /// The first is the default.
    certificates: Vec<Certificate>,
    exact: HashMap<String, usize, ahash::RandomState>,
    /// Names below `*.`, without it.
    wildcard: HashMap<String, usize, ahash::RandomState>,
}

impl CertificateTable {
    /// Reads and checks every pair; an error is a sentence about one file.
    pub fn load(configured: &[model::Certificate]) -> Result<Self, String> {
        let mut table = Self {
            certificates: Vec::with_capacity(configured.len()),
            exact: HashMap::default(),
            wildcard: HashMap::default(),
        };
        for pair in configured {
            let certificate = load(&pair.cert, &pair.key)?;
            let index = table.certificates.len();
            for name in &certificate.names {
                // The first pair that claims a name keeps it.
                match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.to_owned()).or_insert(index),
                    None => table.exact.entry(name.clone()).or_insert(index),
                };
            }
            table.certificates.push(certificate);
        }
        Ok(table)
    }

    /// All certificates, for metrics.
    pub fn all(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Which certificate is for a name, if one is.
    pub fn named(&self, name: &str) -> Option<usize> {
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let below = || {
            name.split_once('.')
                .and_then(|(_, parent)| self.wildcard.get(parent))
        };
        self.exact.get(name).or_else(below).copied()
    }
}

fn load(cert: &Path, key: &Path) -> Result<Certificate, String> {
    let certified = read_identity(cert, key)?;
    let leaf = certified
        .end_entity_cert()
        .map_err(|why| wrong(cert, &why))?;
    let (names, not_after) = facts(leaf).map_err(|why| wrong(cert, &why))?;
    Ok(Certificate {
        path: cert.display().to_string(),
        names,
        not_after,
        key: Arc::new(certified),
    })
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// A chain and its private key, from two PEM files; an error is a sentence about one of them.
pub(crate) fn read_identity(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|why| wrong(cert, &why))?;
    if chain.is_empty() {
        return Err(wrong(cert, &"holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| wrong(key, &why))?;
    let signer = aws_lc_rs::sign::any_supported_type(&private).map_err(|why| wrong(key, &why))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|_| {
        format!(
            "{}: the private key does not belong to the certificate {}",
            key.display(),
            cert.display()
        )
    })?;
    Ok(certified)
}

/// DNS names and the end of validity.
fn facts(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, SystemTime), String> {
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|why| format!("not a certificate: {why}"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|why| format!("its names cannot be read: {why}"))?
        .map(|san| {
            let dns = san
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                });
            dns.collect()
        })
        .unwrap_or_default();
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok((names, UNIX_EPOCH + Duration::from_secs(end)))
}

/// Answers handshakes from the configuration in force, so that a reload changes certificates without
/// touching connections.
struct Resolver {
    current: Arc<ArcSwap<Snapshot>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.current.load();
        if let Some(challenge) = snapshot.acme.challenge(&hello) {
            return challenge;
        }
        let table = snapshot.certificates.as_ref()?;
        let name = hello.server_name();
        let of_file = name.and_then(|name| table.named(name));
        if let (None, Some(name)) = (of_file, name)
            && let Some(issued) = snapshot.acme.find(name)
        {
            return Some(issued);
        }
        match table.certificates.get(of_file.unwrap_or(0)) {
            Some(certificate) => Some(Arc::clone(&certificate.key)),
            None => snapshot.acme.first().filter(|_| name.is_none()),
        }
    }
}

/// TLS 1.2 and 1.3 with hybrid post-quantum key exchange, ALPN, and tickets whose keys rotate. One
/// for all threads, so that a session resumes wherever its next connection lands.
pub fn server_config(current: &Arc<ArcSwap<Snapshot>>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver {
            current: Arc::clone(current),
        }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ALPN.to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Tickets carry the session; nothing needs to be kept here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    // One ticket is enough for a browser, and each costs bytes and a signature's worth of time.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
