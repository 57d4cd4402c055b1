//! Where the edge is, and connections to it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::fate::Fate;

/// What a visitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Http1,
    Http1Tls,
    H2,
    H2c,
}

impl Protocol {
    /// In the order of the scenario's shares.
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::H2, Self::H2c];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http1Tls => "http1-tls",
            Self::H2 => "h2",
            Self::H2c => "h2c",
        }
    }

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::H2c)
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::H2)
    }
}

/// The edge.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    /// The authority of all requests.
    pub(crate) host: String,
    name: ServerName<'static>,
    tls: ClientConfig,
}

/// Whose certificates are accepted.
pub(crate) enum Trust<'a> {
    Authority(&'a Path),
    Anybody,
}

impl Target {
    /// Checks nothing of the edge yet.
    pub(crate) fn new(
        http: Option<SocketAddr>,
        https: Option<SocketAddr>,
        host: &str,
        trust: &Trust<'_>,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let tls = match trust {
            Trust::Authority(file) => {
                let mut roots = RootCertStore::empty();
                let certificates = CertificateDer::pem_file_iter(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                for certificate in certificates {
                    roots.add(certificate.with_context(|| format!("in {}", file.display()))?)?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth(),
        };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Ok(Self {
            http,
            https,
            host: host.to_owned(),
            name: ServerName::try_from(name.to_owned())
                .with_context(|| format!("`{name}` is no name of a server"))?,
            tls,
        })
    }

    /// Where this protocol is spoken.
    pub(crate) fn address(&self, protocol: Protocol) -> Option<SocketAddr> {
        if protocol.is_tls() {
            self.https
        } else {
            self.http
        }
    }

    /// What a visitor makes handshakes with. Tickets are his own: he resumes nobody else's session.
    pub(crate) fn connector(&self, protocol: Protocol) -> Option<TlsConnector> {
        if !protocol.is_tls() {
            return None;
        }
        let mut config = self.tls.clone();
        config.resumption = Resumption::in_memory_sessions(2);
        config.alpn_protocols = match protocol.is_h2() {
            true => vec![b"h2".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Some(TlsConnector::from(Arc::new(config)))
    }

    /// A connection from this address.
    pub(crate) async fn tcp(&self, protocol: Protocol, from: Ipv4Addr) -> Result<TcpStream, Fate> {
        let to = self.address(protocol).ok_or(Fate::Own)?;
        let connected = connect(from, to, None).await;
        connected.map_err(|error| failed(&error))
    }

    /// The same for somebody whose system takes in this many bytes that he has not read, at most.
    pub(crate) async fn narrow_tcp(
        &self,
        protocol: Protocol,
        from: Ipv4Addr,
        taken_in: u32,
    ) -> Result<TcpStream, Fate> {
        let to = self.address(protocol).ok_or(Fate::Own)?;
        let connected = connect(from, to, Some(taken_in)).await;
        connected.map_err(|error| failed(&error))
    }

    /// A handshake on it.
    pub(crate) async fn tls(
        &self,
        connector: &TlsConnector,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Fate> {
        connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|_| Fate::Tls)
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr, taken_in: Option<u32>) -> io::Result<TcpStream> {
    if !to.ip().is_loopback() || !to.is_ipv4() {
        return TcpStream::connect(to).await;
    }
    let socket = TcpSocket::new_v4()?;
    if let Some(taken_in) = taken_in {
        socket.set_recv_buffer_size(taken_in)?;
    }
    // Ports of one address run out where connections are many and short.
    socket.set_reuseaddr(true)?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn failed(error: &io::Error) -> Fate {
    const NO_FILE_LEFT: [i32; 2] = [23, 24];
    match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => Fate::Own,
        _ if error
            .raw_os_error()
            .is_some_and(|code| NO_FILE_LEFT.contains(&code)) =>
        {
            Fate::Own
        }
        io::ErrorKind::ConnectionReset => Fate::Reset,
        io::ErrorKind::TimedOut => Fate::TimedOut,
        _ => Fate::Refused,
    }
}

/// For `--insecure`: signatures are checked, names and issuers are not.
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
