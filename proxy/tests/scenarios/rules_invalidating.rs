//! What a successful change makes untrue (RFC 9111 §4.4).

use crate::{
    origin::{Answer, page},
    rules::{BOTH, Protocol, Scene},
};

const EMPTY: &[(&str, &str)] = &[("content-length", "0")];

/// A scene whose pages are fresh and say how often they were asked for; `change` answers every other
/// method.
fn scene(protocol: Protocol, change: fn(&str, Answer) -> Answer) -> Scene {
    Scene::new(protocol, "", move |r| match r.method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => page(format!("{}", r.nth)).fresh(600),
        _ => change(&r.target, page("done")),
    })
}

fn store(scene: &mut Scene, path: &str) {
    scene.get(path);
    assert!(scene.get(path).is_hit(), "{path}");
}

#[test]
fn unsafe_methods_and_unknown_ones() {
    for protocol in BOTH {
        let mut scene = scene(protocol, |_, a| a);
        for method in ["POST", "PUT", "DELETE", "PATCH", "PROPPATCH", "FROBNICATE"] {
            let path = format!("/{method}?a=1");
            let beside = format!("/{method}?a=2");
            store(&mut scene, &path);
            store(&mut scene, &beside);
            let done = scene.ask(method, &path, EMPTY);
            assert_eq!((done.status, done.cache()), (200, "dhal; fwd=method"));
            assert_eq!(scene.get(&path).cache(), "dhal; fwd=uri-miss; stored");
            assert!(scene.get(&beside).is_hit(), "another URI: {method}");
        }
        store(&mut scene, "/safe");
        for method in ["HEAD", "OPTIONS"] {
            scene.ask(method, "/safe", &[]);
            assert!(scene.get("/safe").is_hit(), "{method}");
        }
    }
}

/// Only answers without an error count.
#[test]
fn statuses() {
    for protocol in BOTH {
        let mut scene = scene(protocol, |target, answer| {
            answer.status(target[1..].parse().expect("a status"))
        });
        for status in [200, 201, 202, 204, 205, 206, 301, 302, 303, 307, 308] {
            let path = format!("/{status}");
            store(&mut scene, &path);
            assert_eq!(scene.ask("POST", &path, EMPTY).status, status);
            assert!(!scene.get(&path).is_hit(), "{status}");
        }
        for status in [400, 403, 404, 405, 409, 412, 422, 429, 500, 502, 503] {
            let path = format!("/{status}");
            store(&mut scene, &path);
            assert_eq!(scene.ask("POST", &path, EMPTY).status, status);
            assert!(scene.get(&path).is_hit(), "{status}");
        }
    }
}

/// A change that reached no shop has changed nothing.
#[test]
fn a_change_that_is_refused_here() {
    for protocol in BOTH {
        let mut scene = scene(protocol, |_, a| a);
        store(&mut scene, "/");
        scene.shop.stop();
        assert_eq!(scene.ask("POST", "/", EMPTY).status, 502);
        assert!(scene.get("/").is_hit());
    }
}

/// `Location` and `Content-Location` count within the origin of the request, and nowhere else.
#[test]
fn where_a_change_leads() {
    for protocol in BOTH {
        for name in ["Location", "Content-Location"] {
            let mut scene = Scene::new(protocol, "", move |r| match r.method.as_str() {
                "GET" => page(format!("{}", r.nth)).fresh(600),
                _ => {
                    let leads = r.field("x-leads").unwrap_or_default();
                    page("done").status(201).field(name, leads)
                }
            });
            for (reference, leads) in [
                ("/list?page=1", true),
                ("/list?page=1#top", true),
                ("/%6cist?page=1", true),
                ("//shop.example/list?page=1", true),
                ("https://shop.example/list?page=1", true),
                ("HTTPS://SHOP.example:443/list?page=1", true),
                ("http://shop.example/list?page=1", false),
                ("https://other.example/list?page=1", false),
                ("https://shop.example:8443/list?page=1", false),
                ("https://shop.example.evil/list?page=1", false),
                ("https://shop.example@other.example/list?page=1", false),
                ("//other.example/list?page=1", false),
                ("/list", false),
            ] {
                store(&mut scene, "/list?page=1");
                let fields = [("x-leads", reference), ("content-length", "0")];
                assert_eq!(scene.ask("POST", "/add", &fields).status, 201);
                let hit = scene.get("/list?page=1").is_hit();
                assert_eq!(hit, !leads, "{name}: {reference}");
            }
        }
    }
}

/// All that is stored for the URI goes: each variant, and what chosen fields and cookies tell apart.
#[test]
fn all_variants() {
    for protocol in BOTH {
        let policy = "key_headers = [\"x-country\"]\nkey_cookies = [\"currency\"]";
        let mut scene = Scene::new(protocol, policy, |r| match r.method.as_str() {
            "GET" => page(format!("{}", r.nth))
                .fresh(600)
                .field("Vary", "Accept-Language"),
            _ => page("done"),
        });
        let visitors: [&[(&str, &str)]; 6] = [
            &[],
            &[("accept-language", "bn")],
            &[("accept-language", "en")],
            &[("accept-language", "bn"), ("x-country", "bd")],
            &[("accept-language", "bn"), ("cookie", "currency=BDT")],
            &[("x-country", "bd"), ("cookie", "currency=BDT")],
        ];
        for visitor in visitors {
            scene.ask("GET", "/", visitor);
        }
        for visitor in visitors {
            assert!(scene.ask("GET", "/", visitor).is_hit(), "{visitor:?}");
        }
        scene.ask("POST", "/", EMPTY);
        for visitor in visitors {
            assert!(!scene.ask("GET", "/", visitor).is_hit(), "{visitor:?}");
        }
    }
}

/// A change is a change for all, whatever their protocol, and whatever the policy leaves out of the key.
#[test]
fn for_all_who_share() {
    for [one, other] in [BOTH, [BOTH[1], BOTH[0]]] {
        let mut scene = Scene::new(one, "ignore_query = [\"utm_*\"]", |r| {
            page(format!("{} {}", r.method, r.nth)).fresh(600)
        });
        store(&mut scene, "/p?id=1");
        let mut other = crate::rules::Visitor::new(&scene.edge, other);
        other.ask("POST", "/p?utm_source=x&id=1", EMPTY);
        assert_eq!(scene.get("/p?id=1").text(), "GET 3");
    }
}
