//! An authority for certificates, and TLS in front of a scripted shop.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SerialNumber,
};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use crate::tools::free_address;

/// A runtime with a thread of its own.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

/// A certificate that an authority has signed, and its key.
pub(crate) struct Identity {
    pub(crate) cert: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("signed");
        Self {
            pem: cert.pem(),
            der: cert.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// For these names or addresses; `valid_for` a time from now, or over since then.
    pub(crate) fn identity(&self, names: &[&str], valid: Result<Duration, Duration>) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(86_400)).into();
        params.not_after = match valid {
            Ok(left) => (now + left).into(),
            Err(since) => (now - since).into(),
        };
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { cert, key }
    }

    /// One that is right for a server with these names.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        self.identity(names, Ok(Duration::from_secs(3600)))
    }

    /// A list of revoked serial numbers.
    pub(crate) fn revocations(&self, serials: &[&[u8]], lasts: Duration) -> String {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: (now - Duration::from_secs(60)).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: (now - Duration::from_secs(7200)).into(),
            next_update: (now - Duration::from_secs(3600) + lasts).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        list.pem().expect("PEM")
    }

    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, &self.pem).expect("written");
    }
}

impl Identity {
    pub(crate) fn write(&self, cert: &Path, key: &Path) {
        std::fs::write(cert, self.cert.pem()).expect("written");
        std::fs::write(key, self.key.serialize_pem()).expect("written");
    }

    /// Settings of a server that shows it, and takes clients of an authority, or any.
    pub(crate) fn config(&self, alpn: &[&str], clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).expect("an authority");
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![self.cert.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// TLS in front of a shop that does not speak it.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    seen: Arc<Shook>,
    _runtime: Runtime,
}

/// What the handshakes said.
#[derive(Default)]
struct Shook {
    names: Mutex<Vec<Option<String>>>,
    alpn: Mutex<Vec<Option<Vec<u8>>>>,
    clients: AtomicUsize,
    resumed: AtomicUsize,
}

impl std::fmt::Display for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Front {
    pub(crate) fn start(config: Arc<ServerConfig>, shop: SocketAddr) -> Self {
        Self::start_at(free_address(), config, shop)
    }

    pub(crate) fn start_at(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        shop: SocketAddr,
    ) -> Self {
        let runtime = runtime();
        let seen = Arc::<Shook>::default();
        let listener = runtime.block_on(TcpListener::bind(address)).expect("free");
        let told = Arc::clone(&seen);
        runtime.spawn(async move {
            let acceptor = TlsAcceptor::from(config);
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    told.note(stream.get_ref().1);
                    let mut shop = TcpStream::connect(shop).await.expect("the shop");
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut shop).await;
                });
            }
        });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// The names that were asked for.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.seen.names.lock().expect("lock").clone()
    }

    /// What was agreed to be spoken.
    pub(crate) fn alpn(&self) -> Vec<Option<Vec<u8>>> {
        self.seen.alpn.lock().expect("lock").clone()
    }

    /// Handshakes with a client certificate, and resumed ones.
    pub(crate) fn clients_and_resumed(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (load(&self.seen.clients), load(&self.seen.resumed))
    }
}

impl Shook {
    fn note(&self, session: &rustls::ServerConnection) {
        let name = session.server_name().map(str::to_owned);
        self.names.lock().expect("lock").push(name);
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        self.alpn.lock().expect("lock").push(alpn);
        if session.peer_certificates().is_some() {
            self.clients.fetch_add(1, Ordering::SeqCst);
        }
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::SeqCst);
        }
    }
}
