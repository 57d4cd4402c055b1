//! Names and their certificates, as tables.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use super::*;
use crate::{
    config::{Anchor, model::ClientAuthMode},
    listen::tls::pair::Facts,
};

fn key() -> Arc<CertifiedKey> {
    let key = rcgen::KeyPair::generate().unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
    Arc::new(CertifiedKey::new(Vec::new(), signer))
}

fn auth(ca: &str) -> Arc<ClientAuth> {
    Arc::new(ClientAuth {
        ca: PathBuf::from(ca),
        mode: ClientAuthMode::Require,
        crl: None,
        place: Anchor::nowhere(),
    })
}

struct World(Arc<CertifiedKey>);

impl World {
    fn entry(&self, source: usize, days: u64, names: &[&str], ca: Option<&str>) -> Entry {
        let now = SystemTime::now();
        Entry {
            path: format!("{source}: {} {days}", names.join(" ")),
            pair: Arc::new(Pair {
                facts: Facts {
                    names: names.iter().map(|name| (*name).to_owned()).collect(),
                    issuer: String::new(),
                    not_before: now,
                    not_after: now + Duration::from_secs(days * 86_400),
                    weak_bits: None,
                },
                loaded: now,
                key: Arc::clone(&self.0),
            }),
            source,
            client_auth: ca.map(auth),
        }
    }
}

fn path(entry: Option<&Entry>) -> &str {
    entry.map_or("none", |entry| &entry.path)
}

#[test]
fn names_lead_to_certificates() {
    let world = World(key());
    let table = Table::new(
        vec![
            world.entry(0, 1, &["shop.example", "www.shop.example"], None),
            world.entry(1, 1, &["*.shop.example"], None),
            world.entry(2, 9, &["shop.example", "other.example"], None),
            // Of one folder: the one that lasts longer has the name.
            world.entry(3, 1, &["old.example", "both.example"], None),
            world.entry(3, 2, &["both.example"], None),
            world.entry(3, 1, &["both.example"], None),
        ],
        None,
    );
    for (name, wanted) in [
        ("shop.example", "0: shop.example www.shop.example 1"),
        ("SHOP.example.", "0: shop.example www.shop.example 1"),
        ("www.shop.example", "0: shop.example www.shop.example 1"),
        ("any.shop.example", "1: *.shop.example 1"),
        ("a.b.shop.example", "none"),
        (".shop.example", "1: *.shop.example 1"),
        ("other.example", "2: shop.example other.example 9"),
        ("both.example", "3: both.example 2"),
        ("old.example", "3: old.example both.example 1"),
        ("unknown.example", "none"),
        ("*.shop.example", "1: *.shop.example 1"),
        ("example", "none"),
        ("", "none"),
        ("127.0.0.1", "none"),
    ] {
        assert_eq!(path(table.named(name)), wanted, "{name}");
    }
    assert_eq!(path(table.fallback()), "0: shop.example www.shop.example 1");
    let issued = Issued::default();
    assert!(table.same("unknown.example", "www.shop.example", &issued));
    assert!(!table.same("any.shop.example", "shop.example", &issued));
    assert!(!table.is_guarded());
    assert_eq!(table.guard(Some("shop.example")), None);
}

#[test]
fn ten_thousand_names() {
    let world = World(key());
    let names: Vec<(String, String)> = (0..10_000)
        .map(|n| (format!("shop{n}.example"), format!("*.shop{n}.example")))
        .collect();
    let entries = names.iter().enumerate();
    let entries = entries.map(|(n, (exact, wild))| world.entry(n, 1, &[exact, wild], None));
    let table = Table::new(entries.collect(), None);
    for (n, (exact, wild)) in names.iter().enumerate() {
        let wanted = format!("{n}: {exact} {wild} 1");
        assert_eq!(path(table.named(exact)), wanted);
        assert_eq!(path(table.named(&format!("www.{exact}"))), wanted);
    }
    assert_eq!(path(table.named("shop10000.example")), "none");
}

#[test]
fn who_is_asked_for_a_certificate() {
    let world = World(key());
    let guarded = |names: &[&str]| world.entry(0, 1, names, Some("a"));
    let before = Table::new(
        vec![
            world.entry(1, 1, &["shop.example", "open.api.example"], None),
            guarded(&["admin.example", "*.api.example", "shop.example"]),
            world.entry(2, 1, &["*.open.example"], Some("b")),
        ],
        None,
    );
    // The pair of the guarded names is replaced by one for fewer, and one goes away.
    let after = Table::new(
        vec![
            world.entry(1, 1, &["shop.example", "admin.example"], None),
            guarded(&["new.example"]),
        ],
        Some(&before),
    );
    for (name, then, now) in [
        ("admin.example", Some("a"), Some("a")),
        ("ADMIN.example.", Some("a"), Some("a")),
        ("x.api.example", Some("a"), Some("a")),
        ("open.api.example", None, Some("a")),
        // Who asks for certificates goes before who does not.
        ("shop.example", Some("a"), Some("a")),
        ("x.open.example", Some("b"), Some("b")),
        ("y.x.api.example", None, None),
        ("new.example", None, Some("a")),
        ("unknown.example", None, None),
    ] {
        let ca = |table: &Table| {
            let auth = table.guard(Some(name));
            auth.map(|auth| auth.ca.display().to_string())
        };
        assert_eq!(ca(&before).as_deref(), then, "{name} before");
        assert_eq!(ca(&after).as_deref(), now, "{name} after");
    }
    assert_eq!(before.guard(None), None);
    let guarded_default = Table::new(vec![guarded(&["shop.example"])], None);
    for name in [None, Some("unknown.example"), Some("shop.example")] {
        assert!(guarded_default.guard(name).is_some(), "{name:?}");
    }
    let other = vec![world.entry(1, 1, &["shop.example", "more.example"], None)];
    let other = Table::new(other, Some(&guarded_default));
    for (name, is_guarded) in [
        (None, true),
        (Some("shop.example"), true),
        (Some("unknown.example"), true),
        (Some("more.example"), false),
    ] {
        assert_eq!(other.guard(name).is_some(), is_guarded, "{name:?}");
    }
}
