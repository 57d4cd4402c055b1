//! Certificates of visitors: whom we believe, and what a shop is told of them.

use std::{fmt::Write, path::Path, sync::Arc, time::SystemTime};

use rustls::{
    CertificateError, Error, RootCertStore, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};

use super::{names, pair};
use crate::config::model::{ClientAuth, ClientAuthMode};

/// Who is believed.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of the authorities expires, or of the revocation lists goes out of date.
    pub(super) not_after: Option<SystemTime>,
}

impl Trust {
    /// From the content of the files; an error is a sentence about one of them.
    pub(super) fn parse(auth: &ClientAuth, contents: &[Vec<u8>]) -> Result<Self, String> {
        let (ca, crl) = match contents {
            [ca, crl] => (ca, Some(crl)),
            [ca] => (ca, None),
            _ => return Err("no file of authorities".to_owned()),
        };
        let mut ends = Vec::new();
        let roots = roots(&auth.ca, ca, &mut ends)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let (Some(path), Some(content)) = (&auth.crl, crl) {
            // One that is out of date tells nothing of those who were revoked since.
            builder = builder
                .with_crls(lists(path, content, &mut ends)?)
                .enforce_revocation_expiration();
        }
        if auth.mode == ClientAuthMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|why| {
            let path = auth.crl.as_ref().unwrap_or(&auth.ca);
            pair::wrong(path, &why)
        })?;
        Ok(Self {
            verifier,
            not_after: ends.into_iter().min(),
        })
    }
}

fn roots(path: &Path, content: &[u8], ends: &mut Vec<SystemTime>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(content) {
        let certificate = certificate.map_err(|why| pair::wrong(path, &why))?;
        if let Ok((_, parsed)) = X509Certificate::from_der(&certificate) {
            ends.push(pair::time(parsed.validity().not_after.timestamp()));
        }
        roots
            .add(certificate)
            .map_err(|why| pair::wrong(path, &why))?;
    }
    match roots.is_empty() {
        true => Err(pair::wrong(path, &"holds no certificate")),
        false => Ok(roots),
    }
}

fn lists(
    path: &Path,
    content: &[u8],
    ends: &mut Vec<SystemTime>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(content) {
        let list = list.map_err(|why| pair::wrong(path, &why))?;
        let (_, parsed) = CertificateRevocationList::from_der(&list)
            .map_err(|why| pair::wrong(path, &format!("not a revocation list: {why}")))?;
        ends.extend(parsed.next_update().map(|end| pair::time(end.timestamp())));
        lists.push(list);
    }
    match lists.is_empty() {
        true => Err(pair::wrong(path, &"holds no revocation list")),
        false => Ok(lists),
    }
}

/// What a connection's visitor was asked for, and has shown.
#[derive(Debug, Clone)]
pub struct Proof {
    /// What was asked.
    pub(super) asked: Arc<ClientAuth>,
    /// What the listener asks of those whose name asks nothing of its own.
    pub(super) listener: Option<Arc<ClientAuth>>,
    /// What was shown, and verified.
    pub certificate: Option<ClientCertificate>,
}

/// A visitor's certificate, as a shop and the log are told of it. All of it is printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject (RFC 4514).
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Alternative names: `DNS:`, `URI:`, `email:` and `IP:`, parted by commas.
    pub names: String,
    /// All of it, as a byte sequence (RFC 9440 §2.1).
    pub whole: String,
}

impl Proof {
    /// What the visitor of a finished handshake has shown.
    pub(crate) fn of(
        session: &ServerConnection,
        asked: Arc<ClientAuth>,
        listener: Option<Arc<ClientAuth>>,
    ) -> Self {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        Self {
            asked,
            listener,
            certificate: leaf.map(ClientCertificate::of),
        }
    }

    /// `SUCCESS` or `NONE`, as shops behind nginx know it.
    pub fn verdict(&self) -> &'static str {
        match self.certificate {
            Some(_) => "SUCCESS",
            None => "NONE",
        }
    }
}

impl ClientCertificate {
    fn of(leaf: &CertificateDer<'_>) -> Self {
        let fingerprint = aws_lc_digest(leaf);
        let whole = byte_sequence(leaf);
        // It was verified, so it can be read; what cannot is left empty.
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            return Self {
                subject: String::new(),
                issuer: String::new(),
                serial: String::new(),
                fingerprint,
                names: String::new(),
                whole,
            };
        };
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map_or_else(String::new, |san| {
            alternative_names(&san.value.general_names)
        });
        Self {
            subject: names::distinguished(parsed.subject()),
            issuer: names::distinguished(parsed.issuer()),
            serial: hexadecimal(parsed.tbs_certificate.raw_serial()),
            fingerprint,
            names,
            whole,
        }
    }
}

fn aws_lc_digest(octets: &[u8]) -> String {
    hexadecimal(::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, octets).as_ref())
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut out, octet| {
        // Writing to memory does not fail.
        let _ = write!(out, "{octet:02x}");
        out
    })
}

/// `:BASE64:` (RFC 8941 §3.3.5)
fn byte_sequence(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(octets.len().div_ceil(3) * 4 + 2);
    out.push(':');
    for group in octets.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(match digit <= group.len() {
                true => char::from(ALPHABET[index as usize]),
                false => '=',
            });
        }
    }
    out.push(':');
    out
}

/// One after the other; what could be misread is left out.
fn alternative_names(names: &[GeneralName<'_>]) -> String {
    let mut out = String::new();
    for name in names {
        let (kind, text) = match name {
            GeneralName::DNSName(name) => ("DNS", (*name).to_owned()),
            GeneralName::URI(uri) => ("URI", (*uri).to_owned()),
            GeneralName::RFC822Name(address) => ("email", (*address).to_owned()),
            GeneralName::IPAddress(octets) => match address(octets) {
                Some(address) => ("IP", address),
                None => continue,
            },
            _ => continue,
        };
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b',') {
            continue;
        }
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(kind);
        out.push(':');
        out.push_str(&text);
    }
    out
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(octets).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

/// Why a visitor was refused who was asked for a certificate, in a word; `None` where it is not for that.
pub(crate) fn refusal(why: &Error) -> Option<&'static str> {
    Some(match why {
        Error::NoCertificatesPresented => "none",
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "not_valid_yet"
            }
            CertificateError::Revoked => "revoked",
            CertificateError::UnknownIssuer => "unknown_issuer",
            CertificateError::UnknownRevocationStatus => "unknown_revocation_status",
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => "expired_crl",
            _ => "invalid",
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_in_fields() {
        for (octets, wanted) in [
            (&b""[..], "::"),
            (b"f", ":Zg==:"),
            (b"fo", ":Zm8=:"),
            (b"foo", ":Zm9v:"),
            (b"foobar", ":Zm9vYmFy:"),
            (&[0xff, 0xfe, 0xfd], "://79:"),
        ] {
            assert_eq!(byte_sequence(octets), wanted);
        }
        assert_eq!(hexadecimal(&[0, 0x0a, 0xff]), "000aff");
    }

    #[test]
    fn names_that_cannot_be_misread() {
        let names = [
            GeneralName::DNSName("client.example"),
            GeneralName::URI("spiffe://shop/a"),
            GeneralName::DNSName("a,DNS:admin.example"),
            GeneralName::RFC822Name("a\r\nb@example"),
            GeneralName::IPAddress(&[192, 0, 2, 1]),
            GeneralName::IPAddress(&[1, 2]),
        ];
        assert_eq!(
            alternative_names(&names),
            "DNS:client.example,URI:spiffe://shop/a,IP:192.0.2.1"
        );
    }
}
