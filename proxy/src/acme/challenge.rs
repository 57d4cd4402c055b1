//! What a running order has to show: a text at a well-known path (RFC 8555 §8.3), or a certificate in a handshake
//! of its own (RFC 8737).

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use http::Method;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use crate::edge::RequestView;

/// The protocol of the handshake that proves a name (RFC 8737 §3).
pub const ALPN: &[u8] = b"acme-tls/1";

/// Where tokens are asked for.
const PATH: &str = "/.well-known/acme-challenge/";

/// What is to be shown at the moment, by who asks for it. Orders run one at a time, and their names are bounded.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Key authorizations by token.
    tokens: HashMap<String, Arc<str>>,
    /// Certificates by name.
    handshakes: HashMap<String, Arc<CertifiedKey>>,
}

/// The place for it; threads read it without a lock.
#[derive(Debug, Default)]
pub(super) struct Showcase(ArcSwap<Shown>);

/// One thing in it; dropping this takes it away.
pub(super) struct Exhibit {
    case: Arc<Showcase>,
    /// A token or a name.
    name: String,
}

impl Showcase {
    pub(super) fn token(&self, token: &str) -> Option<Arc<str>> {
        self.0.load().tokens.get(token).cloned()
    }

    pub(super) fn handshake(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        let found = shown.handshakes.get(name);
        found
            .or_else(|| shown.handshakes.get(&name.to_ascii_lowercase()))
            .cloned()
    }

    fn change(&self, change: impl Fn(&mut Shown)) {
        self.0.rcu(|shown| {
            let mut next = Shown {
                tokens: shown.tokens.clone(),
                handshakes: shown.handshakes.clone(),
            };
            change(&mut next);
            next
        });
    }

    /// Shows a key authorization to who asks for its token.
    pub(super) fn show_token(self: &Arc<Self>, token: &str, text: &str) -> Exhibit {
        let text: Arc<str> = text.into();
        self.change(|shown| {
            shown.tokens.insert(token.to_owned(), Arc::clone(&text));
        });
        self.exhibit(token)
    }

    /// Shows a certificate to who makes the handshake for its name.
    pub(super) fn show_handshake(self: &Arc<Self>, name: &str, key: &Arc<CertifiedKey>) -> Exhibit {
        self.change(|shown| {
            shown.handshakes.insert(name.to_owned(), Arc::clone(key));
        });
        self.exhibit(name)
    }

    fn exhibit(self: &Arc<Self>, name: &str) -> Exhibit {
        Exhibit {
            case: Arc::clone(self),
            name: name.to_owned(),
        }
    }
}

impl Drop for Exhibit {
    fn drop(&mut self) {
        self.case.change(|shown| {
            shown.tokens.remove(&self.name);
            shown.handshakes.remove(&self.name);
        });
    }
}

/// The token that a request asks for. Only GET and HEAD ask.
pub(super) fn asked<'a>(request: &RequestView<'a>) -> Option<&'a str> {
    let token = token(request.target)?;
    (request.method == Method::GET || request.method == Method::HEAD).then_some(token)
}

/// The token in a target: base64url (RFC 8555 §8.1), and what does not matter after it.
fn token(target: &str) -> Option<&str> {
    let rest = target.strip_prefix(PATH)?;
    let token = rest.split('?').next().unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!token.is_empty() && token.bytes().all(plain)).then_some(token)
}

/// Whether a client would get the challenge's protocol, which it may only offer alone: `None` where it would not,
/// else whether it is alone.
pub(super) fn is_asked<'a>(offered: impl Iterator<Item = &'a [u8]>) -> Option<bool> {
    let (mut challenge, mut count, mut ours) = (false, 0_usize, false);
    for protocol in offered {
        count += 1;
        challenge |= protocol == ALPN;
        // Those go before it.
        ours |= protocol == b"h2" || protocol == b"http/1.1";
    }
    (challenge && !ours).then_some(count == 1)
}

/// The certificate of a handshake: for one name, with the digest of the key authorization in it (RFC 8737 §3).
/// `digest` has 32 bytes.
pub(super) fn certificate(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    if digest.len() != 32 {
        return Err("the digest of the key authorization has a wrong length".to_owned());
    }
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let cert = params.self_signed(&key)?;
        Ok((cert, key))
    };
    let (cert, key) = made().map_err(|why: rcgen::Error| why.to_string())?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = aws_lc_rs::sign::any_supported_type(&private).map_err(|why| why.to_string())?;
    Ok(Arc::new(CertifiedKey::new(
        vec![cert.der().clone()],
        signer,
    )))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn tokens_in_targets() {
        for (target, wanted) in [
            (
                "/.well-known/acme-challenge/abc_DEF-123",
                Some("abc_DEF-123"),
            ),
            ("/.well-known/acme-challenge/abc?x=/y", Some("abc")),
            ("/.well-known/acme-challenge/", None),
            ("/.well-known/acme-challenge", None),
            ("/.well-known/acme-challenge/a/b", None),
            ("/.well-known/acme-challenge/../a", None),
            ("/.well-known/acme-challenge/a%62", None),
            ("/.Well-Known/acme-challenge/a", None),
            ("/shop/.well-known/acme-challenge/a", None),
            ("/", None),
        ] {
            assert_eq!(token(target), wanted, "{target}");
        }
    }

    #[test]
    fn protocols_of_a_handshake() {
        for (offered, wanted) in [
            (&["acme-tls/1"][..], Some(true)),
            (&["acme-tls/1", "acme-tls/1"], Some(false)),
            (&["acme-tls/1", "spdy/3"], Some(false)),
            (&["acme-tls/1", "h2"], None),
            (&["http/1.1", "acme-tls/1"], None),
            (&["h2", "http/1.1"], None),
            (&[], None),
        ] {
            let protocols = offered.iter().map(|p| p.as_bytes());
            assert_eq!(is_asked(protocols), wanted, "{offered:?}");
        }
    }

    #[test]
    fn shown_only_while_somebody_holds_it() {
        let case = Arc::<Showcase>::default();
        let one = case.show_token("t1", "t1.thumb");
        let two = case.show_token("t2", "t2.thumb");
        assert_eq!(case.token("t1").as_deref(), Some("t1.thumb"));
        drop(one);
        assert_eq!(case.token("t1"), None);
        assert_eq!(case.token("t2").as_deref(), Some("t2.thumb"));
        drop(two);
        assert_eq!(case.token("t2"), None);
        let key = certificate("shop.example", &[7; 32]).unwrap();
        let shown = case.show_handshake("shop.example", &key);
        assert!(case.handshake("SHOP.example").is_some());
        assert!(case.handshake("www.shop.example").is_none());
        drop(shown);
        assert!(case.handshake("shop.example").is_none());
    }

    #[test]
    fn a_certificate_that_proves_a_name() {
        let key = certificate("shop.example", &[7; 32]).unwrap();
        let (_, parsed) = X509Certificate::from_der(&key.cert[0]).unwrap();
        // 1.3.6.1.5.5.7.1.31, critical, an OCTET STRING of 32 bytes.
        let oid = "1.3.6.1.5.5.7.1.31";
        let extension = parsed
            .extensions()
            .iter()
            .find(|e| e.oid.to_id_string() == oid);
        let extension = extension.unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value[..2], [4, 32]);
        assert_eq!(extension.value[2..], [7; 32]);
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(certificate("shop.example", &[7; 31]).is_err());
    }
}
