//! What is in the cache key reaches the shop; what is not reaches nobody.

use crate::{
    client::Response,
    origin::{Origin, Seen, page},
    rules::{BOTH, Protocol, Scene, Visitor, configured},
};

type Fields = &'static [(&'static str, &'static str)];

/// A page that repeats every field of the request, as a careless shop does.
fn echo(r: &Seen) -> String {
    r.head.to_ascii_lowercase()
}

/// Nobody's request shapes what others get: a fill is asked for with none of its fields.
#[test]
fn fields_outside_the_key_do_not_reach_the_shop() {
    let rows: [Fields; 27] = [
        &[("x-forwarded-host", "evil.example")],
        &[("x-forwarded-proto", "evil")],
        &[("x-forwarded-for", "evil")],
        &[
            ("x-forwarded-port", "evil"),
            ("x-forwarded-prefix", "/evil"),
        ],
        &[("forwarded", "host=evil.example")],
        &[("x-original-url", "/evil")],
        &[("x-rewrite-url", "/evil")],
        &[("x-host", "evil.example")],
        &[("x-http-method-override", "EVIL")],
        &[("x-real-ip", "evil")],
        &[("x-custom", "evil")],
        &[("x_custom", "evil")],
        &[("user-agent", "evil")],
        &[("accept-language", "evil")],
        &[("accept", "application/evil")],
        &[("accept-encoding", "evil")],
        &[("cookie", "session=evil")],
        &[("referer", "https://evil.example/")],
        &[("origin", "https://evil.example")],
        &[("via", "1.1 evil")],
        &[("te", "trailers"), ("traceparent", "00-evil")],
        &[("x-request-id", "evil-evil-evil")],
        &[("cache-control", "evil"), ("pragma", "evil")],
        &[("if-none-match", "\"evil\"")],
        &[("range", "bytes=0-0"), ("if-range", "\"evil\"")],
        &[("content-type", "text/evil")],
        &[("dhal-debug", "evil"), ("dhal-refresh", "evil")],
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| page(echo(r)).fresh(600));
        let mut other = scene.another();
        for (n, fields) in rows.into_iter().enumerate() {
            let path = format!("/{n}");
            let first = scene.ask("GET", &path, fields);
            assert!(first.cache().ends_with("; stored"), "{fields:?}");
            assert!(!first.text().contains("evil"), "{fields:?}");
            let seen = echo(&scene.shop.last());
            assert!(!seen.contains("evil"), "{seen}");
            let second = other.get(&path);
            assert!(second.is_hit(), "{fields:?}: {}", second.cache());
            assert!(!second.text().contains("evil"), "{fields:?}");
            assert_eq!(scene.shop.count(&path), 1);
        }
    }
}

/// What is not stored is each visitor's own, and then the shop hears all of it, but for what only a
/// proxy may say.
#[test]
fn what_is_not_shared_is_asked_for_whole() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            page(echo(r)).field("Cache-Control", "no-store")
        });
        for _ in 0..2 {
            let answer = scene.ask(
                "GET",
                "/",
                &[
                    ("cookie", "session=mine"),
                    ("accept-language", "bn"),
                    ("x-custom", "own"),
                    ("x-forwarded-host", "evil.example"),
                    ("x-original-url", "/evil"),
                ],
            );
            let told = answer.text();
            for own in ["session=mine", "accept-language: bn", "x-custom: own"] {
                assert!(told.contains(own), "{own} in {told}");
            }
            assert!(!told.contains("evil"), "{told}");
            assert!(told.contains("x-forwarded-host: shop.example"));
        }
    }
}

/// The fields and cookies that the policy names are told apart, and reach the shop.
#[test]
fn chosen_fields_and_cookies() {
    let policy = "key_headers = [\"X-Country\"]\nkey_cookies = [\"currency\", \"theme\"]";
    let rows: [(Fields, &str); 12] = [
        (&[], "None None"),
        (&[("x-country", "bd")], "Some(\"bd\") None"),
        (&[("x-country", "in")], "Some(\"in\") None"),
        (&[("x-country", "")], "Some(\"\") None"),
        (&[("cookie", "currency=BDT")], "None Some(\"currency=BDT\")"),
        (
            &[("cookie", "id=1; currency=BDT; x")],
            "None Some(\"currency=BDT\")",
        ),
        (
            &[("cookie", "theme=dark; id=2; currency=BDT")],
            "None Some(\"currency=BDT; theme=dark\")",
        ),
        (
            &[("cookie", "currency=BDT"), ("cookie", "theme=dark")],
            "None Some(\"currency=BDT; theme=dark\")",
        ),
        (&[("cookie", "currency=")], "None Some(\"currency=\")"),
        (&[("cookie", "Currency=BDT")], "None None"),
        (&[("cookie", "currency")], "None None"),
        (
            &[("x-country", "bd"), ("cookie", "currency=USD")],
            "Some(\"bd\") Some(\"currency=USD\")",
        ),
    ];
    let different = 8;
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, policy, |r| {
            let cookies = r.fields("cookie");
            assert!(cookies.len() < 2, "one line: {cookies:?}");
            page(format!(
                "{:?} {:?}",
                r.field("x-country"),
                r.field("cookie")
            ))
            .fresh(600)
        });
        for round in 0..2 {
            for (fields, told) in rows {
                let answer = scene.ask("GET", "/", fields);
                assert_eq!(answer.text(), told, "{fields:?}");
                assert!(answer.is_hit() || round == 0, "{fields:?}");
            }
        }
        assert_eq!(scene.shop.count("/"), different);
    }
}

/// The order of parameters means nothing where the policy says so; that of one name's values always
/// does.
#[test]
fn sorted_queries() {
    let rows = [
        ("/p?a=1&b=2", "/p?a=1&b=2"),
        ("/p?b=2&a=1", "/p?a=1&b=2"),
        ("/p?b=2&a=2&a=1", "/p?a=2&a=1&b=2"),
        ("/p?a=1&b=2&a=2", "/p?a=1&a=2&b=2"),
        ("/p?b&a", "/p?a&b"),
        // In the order of what names mean, each as it is spelt.
        ("/p?b=2&%61=1", "/p?%61=1&b=2"),
        ("/p?", "/p?"),
        ("/p", "/p"),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "sort_query = true", |r| {
            page(r.target.clone()).fresh(600)
        });
        for (target, asked) in rows {
            assert_eq!(scene.get(target).text(), asked, "{target}");
        }
        assert_eq!(scene.shop.seen().len(), 7);
        let mut scene = Scene::new(protocol, "", |r| page(r.target.clone()).fresh(600));
        for target in ["/p?a=1&b=2", "/p?b=2&a=1"] {
            assert_eq!(scene.get(target).text(), target);
        }
        assert_eq!(scene.shop.seen().len(), 2);
    }
}

/// Parameters that are ignored are neither in the key nor told to the shop, however they are spelt.
#[test]
fn ignored_parameters() {
    let policy = "ignore_query = [\"utm_*\", \"fbclid\"]";
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, policy, |r| page(r.target.clone()).fresh(600));
        for (n, target) in [
            "/p?id=1&utm_source=x",
            "/p?utm_campaign=y&id=1",
            "/p?id=1&fbclid=z",
            "/p?fbclid&id=1&utm_",
            "/p?%75tm_source=x&id=1",
            "/p?id=1",
        ]
        .into_iter()
        .enumerate()
        {
            let answer = scene.get(target);
            assert_eq!(answer.text(), "/p?id=1", "{target}");
            assert_eq!(answer.is_hit(), n > 0, "{target}");
        }
        for target in ["/p?id=1&fbclid2=z", "/p?id=1&FBCLID=z", "/p?id=1&xutm_=1"] {
            assert_eq!(scene.get(target).text(), target);
        }
        assert_eq!(scene.get("/q?utm_source=x").text(), "/q");
        assert!(scene.get("/q").is_hit());
    }
}

/// The URL that a trusted proxy says the visitor asked for is told apart, and reaches the shop; of
/// others it is no news.
#[test]
fn forwarded_urls() {
    let rows: [(Fields, &str); 4] = [
        (&[], "https shop.example"),
        (&[("x-forwarded-proto", "http")], "http shop.example"),
        (&[("x-forwarded-host", "www.example")], "https www.example"),
        (
            &[
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "www.example"),
            ],
            "http www.example",
        ),
    ];
    for protocol in BOTH {
        for trusted in [true, false] {
            let shop = Origin::start(|r| {
                let told = |name| r.fields(name).join("|");
                let (proto, host) = (told("x-forwarded-proto"), told("x-forwarded-host"));
                page(format!("{proto} {host}")).fresh(600)
            });
            let mut config = configured(&shop, "");
            if trusted {
                config = format!("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{config}");
            }
            let mut scene = Scene::at(protocol, shop, &config);
            for _ in 0..2 {
                for (fields, told) in rows {
                    let wanted = if trusted { told } else { rows[0].1 };
                    let answer = scene.ask("GET", "/", fields);
                    assert_eq!(answer.text(), wanted, "{trusted}: {fields:?}");
                }
            }
            assert_eq!(scene.shop.count("/"), if trusted { 4 } else { 1 });
        }
    }
}

/// A GET with content is the shop's alone: what it answers is for nobody else, and nothing stored
/// answers it (RFC 9110 §9.3.1).
#[test]
fn get_with_content() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let body = String::from_utf8_lossy(&r.body).into_owned();
            page(format!("{} {body}", r.nth)).fresh(600)
        });
        for nth in 1..=2 {
            let answer = scene.visitor.send("GET", "/", &[], Some("evil"));
            assert_eq!(answer.cache(), "dhal; fwd=bypass");
            assert!(answer.text().starts_with(&format!("{nth} ")));
            assert!(answer.text().contains("evil"));
        }
        assert_eq!(scene.get("/").text(), "3 ");
        let answer = scene.visitor.send("GET", "/", &[], Some("more"));
        assert!(answer.text().starts_with("4 ") && !answer.is_hit());
        assert_eq!(scene.get("/").text(), "3 ");
    }
}

fn shown_key(answer: &Response) -> Option<&str> {
    let status = answer.field("cache-status")?;
    status.split_once("; key=\"")?.1.strip_suffix('"')
}

/// The key is shown to operators: to trusted peers who ask for it (RFC 9211 §2.7).
#[test]
fn the_key_is_shown_to_operators() {
    let debug = ("dhal-debug", "1");
    for protocol in BOTH {
        for trusted in [true, false] {
            let shop = Origin::start(|_| page("0123456789").fresh(600));
            let policy = "ignore_query = [\"utm_*\"]\nkey_cookies = [\"currency\"]";
            let mut config = configured(&shop, policy);
            if trusted {
                config = format!("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{config}");
            }
            let mut scene = Scene::at(protocol, shop, &config);
            let target = "/p?utm_source=x&b=1";
            let key = "https://shop.example/p?b=1";
            for (n, method) in ["GET", "GET", "HEAD"].into_iter().enumerate() {
                let answer = scene.ask(method, target, &[debug]);
                let shown = shown_key(&answer);
                match trusted {
                    true => assert!(shown.is_some_and(|k| k.starts_with(key)), "{shown:?}"),
                    false => assert_eq!(shown, None),
                }
                assert_eq!(answer.cache() == "dhal; hit", n > 0);
                assert_eq!(shown_key(&scene.get(target)), None, "nobody asked");
            }
            let part = scene.ask("GET", target, &[debug, ("range", "bytes=0-1")]);
            assert_eq!((part.status, part.text().as_str()), (206, "01"));
            assert_eq!(shown_key(&part).is_some(), trusted);
            let own = scene.ask("GET", target, &[debug, ("cookie", "currency=BDT")]);
            assert!(!trusted || shown_key(&own).is_some_and(|key| key.contains("BDT")));
            assert_eq!(scene.shop.count("/p"), 2);
        }
    }
}

/// RFC 9113 §8.2.3: a cookie in several lines is one cookie, in one line for HTTP/1.1.
#[test]
fn cookies_in_several_lines() {
    let mut scene = Scene::new(Protocol::H2, "", |r| {
        let answer = page(format!("{:?}", r.fields("cookie")));
        match r.target.as_str() {
            "/own" => answer.field("Cache-Control", "no-store"),
            _ => answer.fresh(600).field("Vary", "Cookie"),
        }
    });
    let lines = [("cookie", "a=1"), ("cookie", "b=2")];
    for path in ["/", "/own"] {
        for _ in 0..2 {
            let answer = scene.ask("GET", path, &lines);
            assert_eq!(answer.text(), "[\"a=1; b=2\"]", "{path}");
        }
    }
    let mut other = Visitor::new(&scene.edge, Protocol::H1);
    let answer = other.ask("GET", "/", &[("cookie", "a=1; b=2")]);
    assert!(answer.is_hit());
    assert_eq!(answer.text(), "[\"a=1; b=2\"]");
}
