//! Whom a stored answer is for: `Vary` (RFC 9111 §4.1), credentials (§3.5), and both protocols.

use crate::{
    origin::page,
    rules::{BOTH, Case, Scene, Visitor, are_not_stored, are_stored, pages},
};

/// RFC 9111 §4.1: nothing matches `*`, wherever it stands, and nobody can say what a list matches that
/// is none.
#[test]
fn vary_that_nothing_matches() {
    are_not_stored(
        "",
        &[
            ("/star", |a| a.fresh(60).field("Vary", "*")),
            ("/among", |a| {
                a.fresh(60).field("Vary", "Accept-Language, *, Accept")
            }),
            ("/line", |a| {
                a.fresh(60).field("Vary", "Accept").field("Vary", " * ")
            }),
            ("/malformed", |a| {
                a.fresh(60).field("Vary", "Accept Language")
            }),
            ("/many", |a| {
                let names: Vec<_> = (0..33).map(|n| format!("x-{n}")).collect();
                a.fresh(60).field("Vary", names.join(", "))
            }),
            // Fields that no shop is asked with, or that each visitor has.
            ("/forwarded", |a| a.fresh(60).field("Vary", "Forwarded")),
            ("/client", |a| a.fresh(60).field("Vary", "X-Forwarded-For")),
        ],
    );
    // What follows from the key, and the coding, which is our part.
    are_stored(
        "",
        &[
            ("/empty", |a| a.fresh(60).field("Vary", "")),
            ("/encoding", |a| {
                a.fresh(60).field("Vary", "Accept-Encoding")
            }),
            ("/url", |a| {
                a.fresh(60)
                    .field("Vary", "Host, X-Forwarded-Proto")
                    .field("Vary", ", X-Forwarded-Host")
            }),
        ],
    );
}

/// RFC 9111 §4.1: values match where they are the same, or the same list written in another way.
#[test]
fn values_of_varying_fields() {
    type Fields = &'static [(&'static str, &'static str)];
    let rows: [(&str, Fields, Fields, bool); 11] = [
        ("/x-kind", &[("x-kind", "a")], &[("x-kind", "a")], true),
        ("/x-kind", &[("x-kind", "a")], &[("x-kind", "A")], false),
        ("/x-kind", &[("x-kind", "")], &[], false),
        ("/x-kind", &[], &[("x-kind", "")], false),
        // Not known to be a list.
        (
            "/x-kind",
            &[("x-kind", "a, b")],
            &[("x-kind", "a,b")],
            false,
        ),
        (
            "/accept-language",
            &[("accept-language", "bn, en;q=0.5")],
            &[("accept-language", "bn,en;q=0.5 ,,")],
            true,
        ),
        (
            "/accept-language",
            &[("accept-language", "bn"), ("accept-language", "en")],
            &[("accept-language", "bn, en")],
            true,
        ),
        (
            "/accept-language",
            &[("accept-language", "bn, en")],
            &[("accept-language", "en, bn")],
            false,
        ),
        ("/accept", &[], &[("accept", "*/*")], false),
        (
            "/user-agent",
            &[("user-agent", "a")],
            &[("user-agent", "b")],
            false,
        ),
        ("/cookie", &[("cookie", "a=1")], &[("cookie", "a=2")], false),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let name = r.target[1..].split('?').next().unwrap_or_default();
            let told = r.fields(name).join(", ");
            page(format!("{told:?} {}", r.fields(name).len()))
                .fresh(60)
                .field("Vary", name)
        });
        for (n, (path, one, other, same)) in rows.into_iter().enumerate() {
            let path = format!("{path}?{n}");
            let first = scene.ask("GET", &path, one);
            assert_eq!(first.status, 200);
            assert!(scene.ask("GET", &path, one).is_hit(), "{path} {one:?}");
            let second = scene.ask("GET", &path, other);
            // Everyone gets the page that the shop makes of their own value.
            assert_eq!(second.body == first.body, same, "{path}: {other:?}");
            assert!(second.is_hit() || !same, "{path}: {other:?}");
        }
    }
}

/// RFC 9111 §3.5: an answer for those without credentials is for those with them only where the shop
/// says so.
#[test]
fn credentials() {
    let cases: &[Case] = &[
        ("/public", |a| {
            a.field("Cache-Control", "public, max-age=60")
        }),
        ("/s-maxage", |a| a.field("Cache-Control", "s-maxage=60")),
        ("/must-revalidate", |a| {
            a.field("Cache-Control", "must-revalidate, max-age=60")
        }),
        ("/plain", |a| a.fresh(60)),
    ];
    let own = [("authorization", "Basic YTpi")];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", pages(cases));
        for (path, _) in cases {
            // Nothing is fetched for all with one visitor's credentials.
            assert_eq!(scene.ask("GET", path, &own).cache(), "dhal; fwd=bypass");
            assert_eq!(scene.shop.last().field("authorization"), Some("Basic YTpi"));
            assert_eq!(scene.get(path).cache(), "dhal; fwd=uri-miss; stored");
            assert_eq!(scene.shop.last().field("authorization"), None);
            assert!(scene.get(path).is_hit());
            let answer = scene.ask("GET", path, &own);
            assert_eq!(answer.is_hit(), *path != "/plain", "{path}");
        }
    }
}

/// What came over one protocol answers the other: the scheme and the authority are the same.
#[test]
fn one_store_for_both_protocols() {
    for [one, other] in [BOTH, [BOTH[1], BOTH[0]]] {
        let mut scene = Scene::new(one, "", |_| page("ours").fresh(60).chunked());
        scene.get("/");
        let mut other = Visitor::new(&scene.edge, other);
        let answer = other.get("/");
        assert!(answer.is_hit() && answer.text() == "ours");
        assert_eq!(scene.shop.count("/"), 1);
    }
}
