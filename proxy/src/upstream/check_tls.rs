//! TLS of checks: how a server is verified when it is asked whether it is well.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::Server;
use crate::config::model::UpstreamTls;

/// The settings of an upstream's checks; an error is a sentence.
pub(super) fn client_config(tls: Option<&UpstreamTls>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = tls.and_then(|tls| tls.ca.as_deref()) {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", ca.display());
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|why| wrong(&why))? {
            let certificate = certificate.map_err(|why| wrong(&why))?;
            roots.add(certificate).map_err(|why| wrong(&why))?;
        }
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// The name that is asked for and verified: what the file says, else the server's own.
pub(super) fn server_name(
    tls: Option<&UpstreamTls>,
    server: &Server,
) -> Option<ServerName<'static>> {
    let name = tls
        .and_then(|tls| tls.name.as_deref())
        .or_else(|| server.host());
    match name {
        Some(name) => ServerName::try_from(name.to_owned()).ok(),
        None => Some(ServerName::IpAddress(server.address.ip().into())),
    }
}
