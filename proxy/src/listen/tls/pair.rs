//! A certificate with its key, and what it says of itself.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    prelude::{FromDer, GeneralName, X509Certificate},
    public_key::PublicKey,
};

use super::{names, watched::FILE_MAX};
use crate::{config::model, regular};

/// RSA keys of fewer bits are not believed by browsers.
const RSA_LEAST: usize = 2048;

/// A certificate that can be served.
pub struct Pair {
    /// What it says of itself.
    pub facts: Facts,
    /// Since when it is served.
    pub loaded: SystemTime,
    pub(super) key: Arc<CertifiedKey>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// DNS names of the leaf, lower case.
    pub names: Vec<String>,
    /// Who issued it (RFC 4514).
    pub issuer: String,
    /// Beginning of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
    /// Bits of an RSA key that is too short.
    pub weak_bits: Option<usize>,
}

impl Pair {
    /// From the content of both files; an error is a sentence about one of them.
    pub(super) fn parse(
        paths: &model::Certificate,
        cert: &[u8],
        key: &[u8],
    ) -> Result<Self, String> {
        let certified = identity(&paths.cert, cert, &paths.key, key)?;
        let leaf = certified
            .end_entity_cert()
            .map_err(|why| wrong(&paths.cert, &why))?;
        Ok(Self {
            facts: facts(leaf).map_err(|why| wrong(&paths.cert, &why))?,
            loaded: SystemTime::now(),
            key: Arc::new(certified),
        })
    }
}

pub(super) fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// A chain and its private key, from two PEM files; an error is a sentence about one of them.
pub(crate) fn read_identity(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let read = |path: &Path| regular::read(path, FILE_MAX).map_err(|why| wrong(path, &why));
    identity(cert, &read(cert)?, key, &read(key)?)
}

fn identity(cert: &Path, chain: &[u8], key: &Path, private: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|why| wrong(cert, &why))?;
    if chain.is_empty() {
        return Err(wrong(cert, &"holds no certificate"));
    }
    let is_locked = memchr::memmem::find(private, b"ENCRYPTED").is_some();
    let private = PrivateKeyDer::from_pem_slice(private).map_err(|why| match is_locked {
        true => wrong(
            key,
            &"the key is encrypted, and nobody is there to type its passphrase",
        ),
        false => wrong(key, &why),
    })?;
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

pub(super) fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn facts(leaf: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|why| format!("not a certificate: {why}"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|why| format!("its names cannot be read: {why}"))?
        .map(|san| {
            let names = san.value.general_names.iter();
            let dns = names.filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            });
            dns.collect()
        })
        .unwrap_or_default();
    let weak_bits = match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()).filter(|bits| *bits < RSA_LEAST),
        _ => None,
    };
    Ok(Facts {
        names,
        issuer: names::distinguished(parsed.issuer()),
        not_before: time(parsed.validity().not_before.timestamp()),
        not_after: time(parsed.validity().not_after.timestamp()),
        weak_bits,
    })
}
