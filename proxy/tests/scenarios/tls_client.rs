//! TLS clients, which take any certificate.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};

use crate::{client::Conn, secure::Identity, tools::PATIENCE};

/// Takes any certificate, but no wrong signature, if it looks at signatures.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    /// A certificate with a critical extension that nobody knows can sign nothing for those who do.
    looks_at_signatures: bool,
}

impl AnyCertificate {
    fn among(
        looks_at_signatures: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Self {
                provider,
                looks_at_signatures,
            }))
    }
}

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
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.looks_at_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.looks_at_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// A client's settings for these versions and protocols.
pub(crate) fn client_config(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    showing(versions, alpn, None)
}

/// The same for a client that has a certificate of its own.
pub(crate) fn showing(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
    identity: Option<&Identity>,
) -> Arc<ClientConfig> {
    let builder = AnyCertificate::among(true, versions);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivatePkcs8KeyDer::from(identity.key.serialize_der());
            let chain = vec![identity.cert.der().clone()];
            let shown = builder.with_client_auth_cert(chain, key.into());
            shown.expect("a pair")
        }
    };
    speaking(config, alpn)
}

/// For whoever looks at certificates of challenges, which have an extension that verifiers refuse as one that they do
/// not know (RFC 8737 §3).
pub(crate) fn unverified(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let config = AnyCertificate::among(false, versions).with_no_client_auth();
    speaking(config, alpn)
}

fn speaking(mut config: ClientConfig, alpn: &[&str]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A blocking TLS connection after its handshake.
pub(crate) fn tls(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    tls_over(TcpStream::connect(address)?, name, config)
}

/// The same over a connection that is open.
pub(crate) fn tls_over(
    socket: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(Arc::clone(config), name).expect("a client");
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(client, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// An HTTP/1.1 connection over TLS.
pub(crate) fn https(address: SocketAddr, name: &str) -> Conn {
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let stream = tls(address, name, &config).expect("a handshake");
    let socket = stream.sock.try_clone().expect("a second handle");
    Conn::over(stream, socket)
}
