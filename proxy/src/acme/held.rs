//! A certificate with its key, as it lies in one file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use instant_acme::CertificateIdentifier;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::renewal::Validity;

/// A certificate that was issued, and its key.
#[derive(Debug)]
pub struct Held {
    /// Its file, for logs and metrics.
    pub path: PathBuf,
    /// From when to when it is valid.
    pub validity: Validity,
    /// The same for this certificate wherever it is read, 0 to 1.
    pub jitter: f64,
    /// Tells it from others.
    pub(super) fingerprint: String,
    pub(super) key: Arc<CertifiedKey>,
}

impl Held {
    /// Reads a chain, the leaf first, and its key out of one PEM text. An error says what is wrong with it: it must
    /// be for all of `names`.
    pub fn read(pem: &[u8], path: &Path, names: &[String]) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|why| format!("its certificates cannot be read: {why}"))?;
        let leaf = chain.first().ok_or("it holds no certificate")?;
        let private = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|why| format!("its key cannot be read: {why}"))?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|why| format!("its first certificate cannot be read: {why}"))?;
        let alternative = parsed
            .subject_alternative_name()
            .map_err(|why| format!("its names cannot be read: {why}"))?;
        let covered: Vec<String> = alternative.map_or_else(Vec::new, |names| {
            let names = names.value.general_names.iter();
            names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                })
                .collect()
        });
        if let Some(missing) = names.iter().find(|name| !covered.contains(name)) {
            return Err(format!("it is not for {missing}"));
        }
        let time = |time: x509_parser::time::ASN1Time| {
            UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
        };
        let validity = Validity {
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
        };
        let hash = blake3::hash(leaf);
        let [high, low, ..] = *hash.as_bytes();
        let jitter = f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
        let signer = aws_lc_rs::sign::any_supported_type(&private)
            .map_err(|why| format!("its key cannot be used: {why}"))?;
        let key = CertifiedKey::new(chain, signer);
        key.keys_match()
            .map_err(|_| "its key does not belong to its certificate")?;
        Ok(Self {
            path: path.to_owned(),
            validity,
            jitter,
            fingerprint: hash.to_hex()[..32].to_owned(),
            key: Arc::new(key),
        })
    }

    /// What the authority knows it by, where it says so (RFC 9773 §4.1).
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let leaf = self.key.end_entity_cert().ok()?;
        let identifier = CertificateIdentifier::try_from(leaf).ok()?;
        Some(identifier.into_owned())
    }
}
