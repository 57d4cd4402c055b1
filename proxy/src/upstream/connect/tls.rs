//! How a group of servers is reached: plain TCP, or TLS over it, whose certificates are verified.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    sign::SingleCertAndKey,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::upstream::{Server, connect::socket::Socket};
use crate::{
    config::model::{self, CheckKind, UpstreamProtocol, UpstreamTls},
    listen::tls::read_identity,
    respond::fault::Fault,
};

/// How the servers of an upstream are reached. One for all threads, so that a TLS session resumes wherever
/// the next connection is made.
pub struct Transport {
    /// What the servers speak.
    pub protocol: UpstreamProtocol,
    tls: Option<Tls>,
    /// Of checks over HTTPS, where only they speak TLS.
    checks: Option<Tls>,
}

/// Of checks over HTTPS of servers that are asked in plain otherwise.
const CHECKS: UpstreamTls = UpstreamTls {
    ca: None,
    identity: None,
    name: None,
    verify: true,
};

struct Tls {
    connector: TlsConnector,
    /// What is asked for and verified, where the file says so.
    name: Option<ServerName<'static>>,
}

impl Transport {
    /// Reads the files that the configuration names; an error is a sentence about one of them.
    pub fn new(upstream: &model::Upstream) -> Result<Self, String> {
        let tls = match &upstream.tls {
            Some(tls) => Some(Tls::new(tls, &upstream.name)?),
            None => None,
        };
        let check = upstream.health_check.as_ref().map(|check| check.kind);
        let checks = match (&tls, check) {
            (None, Some(CheckKind::Https)) => Some(Tls::new(&CHECKS, &upstream.name)?),
            _ => None,
        };
        Ok(Self {
            protocol: upstream.protocol,
            tls,
            checks,
        })
    }

    /// Encrypts the connection of a check. An error is a sentence.
    pub(in crate::upstream) async fn check(
        &self,
        tcp: TcpStream,
        server: &Server,
        protocol: UpstreamProtocol,
    ) -> Result<TlsStream<TcpStream>, String> {
        let tls = self.tls.as_ref().or(self.checks.as_ref());
        let tls = tls.ok_or("the upstream has no TLS")?;
        let name = tls.name(server);
        let name = name.ok_or("it has no name that a certificate could have")?;
        let connected = tls.connect(name, tcp, protocol).await;
        connected.map_err(|why| format!("TLS: {why}"))
    }

    /// Whether the servers are spoken to through TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects to a server, the TLS handshake included, within a time limit.
    pub async fn connect(&self, server: &Server, limit: Duration) -> Result<Socket, Fault> {
        const LATE: Fault = Fault::CONNECTING_LATE;
        let until = Instant::now() + limit;
        let opened = timeout_at(until, TcpStream::connect(server.address)).await;
        let connected = opened.map_err(|_| LATE)?.and_then(|tcp| {
            // A head that is followed by content must not wait for an acknowledgement.
            tcp.set_nodelay(true)?;
            Ok(tcp)
        });
        let tcp = connected.map_err(|why| Fault::connecting(&why))?;
        let Some(tls) = &self.tls else {
            return Ok(Socket::Tcp(tcp));
        };
        let handshake = tls.handshake(tcp, server, self.protocol);
        timeout_at(until, handshake).await.map_err(|_| LATE)?
    }
}

impl Tls {
    fn new(tls: &UpstreamTls, upstream: &str) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|why| why.to_string())?;
        let builder = if tls.verify {
            builder.with_root_certificates(roots(tls.ca.as_deref(), upstream)?)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        // Sessions resume by default, by the server's name.
        let config = match &tls.identity {
            Some(pair) => {
                let identity = read_identity(&pair.cert, &pair.key)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => builder.with_no_client_auth(),
        };
        let name = match &tls.name {
            Some(name) => Some(server_name(name).ok_or_else(|| {
                format!("upstream {upstream}: {name} is no name that a certificate could have")
            })?),
            None => None,
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    /// What is asked for and verified.
    fn name(&self, server: &Server) -> Option<ServerName<'static>> {
        let by_server = || match server.host() {
            Some(host) => server_name(host),
            None => Some(ServerName::IpAddress(server.address.ip().into())),
        };
        self.name.clone().or_else(by_server)
    }

    async fn connect(
        &self,
        name: ServerName<'static>,
        tcp: TcpStream,
        protocol: UpstreamProtocol,
    ) -> io::Result<TlsStream<TcpStream>> {
        let alpn = vec![alpn(protocol).to_vec()];
        self.connector.with_alpn(alpn).connect(name, tcp).await
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        server: &Server,
        protocol: UpstreamProtocol,
    ) -> Result<Socket, Fault> {
        let name = self.name(server).ok_or(Fault::NO_TLS_NAME)?;
        let stream = self.connect(name, tcp, protocol).await.map_err(|why| {
            // The log of the request has no room for names and dates.
            tracing::warn!(server = server.name, error = %why, "TLS handshake with a server failed");
            Fault::handshaking(&why)
        })?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if protocol == UpstreamProtocol::Http2 && agreed != Some(alpn(protocol)) {
            return Err(Fault::NO_HTTP2);
        }
        Ok(Socket::Tls(Box::new(stream)))
    }
}

fn alpn(protocol: UpstreamProtocol) -> &'static [u8] {
    match protocol {
        UpstreamProtocol::Http1 => b"http/1.1",
        UpstreamProtocol::Http2 => b"h2",
    }
}

fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

/// The authorities that are believed: those of a file, else the system's. Not a list that is built in: what a
/// host trusts is its operator's to say, and a list within a program is as old as the program. The system's are
/// found by rustls-native-certs, of the rustls project, which also looks at `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn roots(ca: Option<&Path>, upstream: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let listed = CertificateDer::pem_file_iter(path).map_err(|why| wrong(&why))?;
        for certificate in listed {
            let certificate = certificate.map_err(|why| wrong(&why))?;
            roots.add(certificate).map_err(|why| wrong(&why))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"holds no certificate"));
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    // Old ones that cannot be read are common, and none of our business.
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        return Err(format!(
            "upstream {upstream}: the system has no certificate authorities; name a file with `ca`"
        ));
    }
    Ok(roots)
}

/// Encrypts towards servers whose certificates are not verified.
pub(crate) fn any_certificate() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// For `verify = false`: takes any certificate, but no signature that the certificate's key has not made.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
