//! What visitors may ask of the store (RFC 9111 §5.2.1), and cookies that shops set (§7.3).

use crate::{
    origin::{Answer, page},
    rules::{BOTH, Scene},
    tools::eventually,
};

const HONOUR: &str = "client_cache_control = \"honour\"";

/// Fresh for a hundred seconds, ten of which have passed.
fn tenth(body: String) -> Answer {
    page(body).fresh(100).field("Age", "10")
}

/// By default a visitor who presses reload does not send everyone's page to the shop.
#[test]
fn directives_of_visitors_are_ignored_by_default() {
    let fields = [
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("cache-control", "max-age=0"),
        ("cache-control", "min-fresh=100000"),
        ("cache-control", "only-if-cached"),
        ("pragma", "no-cache"),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| tenth(format!("{}", r.nth)));
        for (n, field) in fields.into_iter().enumerate() {
            let path = format!("/{n}");
            let first = scene.ask("GET", &path, &[field]);
            assert_eq!(first.cache(), "dhal; fwd=uri-miss; stored", "{field:?}");
            assert_eq!(scene.shop.last().field(field.0), None, "{field:?}");
            assert!(scene.ask("GET", &path, &[field]).is_hit(), "{field:?}");
            assert_eq!(scene.shop.count(&path), 1);
        }
    }
}

/// RFC 9111 §5.2.1, §5.4: where the policy honours them, each does what it says.
#[test]
fn directives_of_visitors_where_they_are_honoured() {
    let validated = "dhal; fwd=stale; stored";
    let rows = [
        ("cache-control", "no-cache", validated),
        ("cache-control", "No-Cache", validated),
        ("cache-control", "no-cache=\"x\"", validated),
        ("cache-control", "max-age=0", validated),
        ("cache-control", "max-age=5", validated),
        ("cache-control", "max-age=5, max-stale", validated),
        ("cache-control", "max-age=50", "dhal; hit"),
        ("cache-control", "min-fresh=95", validated),
        ("cache-control", "min-fresh=50", "dhal; hit"),
        ("cache-control", "max-stale=0", "dhal; hit"),
        ("cache-control", "only-if-cached", "dhal; hit"),
        ("cache-control", "no-store", "dhal; fwd=bypass"),
        ("cache-control", "s-maxage=0, unknown", "dhal; hit"),
        ("pragma", "no-cache", validated),
        ("pragma", "other", "dhal; hit"),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, HONOUR, |r| tenth(format!("{}", r.nth)));
        for (n, (name, value, cache)) in rows.into_iter().enumerate() {
            let path = format!("/{n}");
            scene.get(&path);
            let answer = scene.ask("GET", &path, &[(name, value)]);
            assert_eq!(answer.cache(), cache, "{value}");
            let nth = if cache == "dhal; hit" { "1" } else { "2" };
            assert_eq!(answer.text(), nth, "{value}");
            // `no-store` neither takes from the store nor gives to it.
            let now = if cache == validated { "2" } else { "1" };
            assert_eq!(scene.get(&path).text(), now, "{value}");
        }
    }
    for protocol in BOTH {
        // §5.4: `Pragma` counts only where there is no `Cache-Control`.
        let mut scene = Scene::new(protocol, HONOUR, |_| tenth("x".into()));
        scene.get("/");
        let both = [("pragma", "no-cache"), ("cache-control", "max-age=50")];
        assert!(scene.ask("GET", "/", &both).is_hit());
        let lines = [
            ("cache-control", "max-age=50"),
            ("cache-control", "no-cache"),
        ];
        assert!(!scene.ask("GET", "/", &lines).is_hit());
    }
}

/// A page that is confirmed for one who wants it validated is not sent again by the shop.
#[test]
fn no_cache_validates() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, HONOUR, |r| {
            let answer = tenth("content".into()).field("ETag", "\"v\"");
            match r.field("if-none-match") {
                Some("\"v\"") => answer.status(304),
                _ => answer,
            }
        });
        scene.get("/");
        let answer = scene.ask("GET", "/", &[("cache-control", "no-cache")]);
        assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
        assert_eq!(answer.text(), "content");
        assert_eq!(scene.shop.count("/"), 2);
    }
}

/// RFC 9111 §5.2.1.2: `max-stale` takes what has been stale for so long, where the shop allows it.
#[test]
fn max_stale() {
    const ROWS: [(&str, &str, bool); 12] = [
        ("max-age=10", "max-stale=5", false),
        ("max-age=10", "max-stale=60", true),
        ("max-age=10", "max-stale", true),
        ("max-age=10", "max-stale=x", false),
        ("max-age=10", "max-stale=60, max-stale=5", false),
        ("max-age=10", "max-stale=60, max-age=5", false),
        ("max-age=10", "max-stale=60, max-age=60", true),
        ("max-age=10", "max-stale=60, no-cache", false),
        ("max-age=10, must-revalidate", "max-stale=60", false),
        ("max-age=10, proxy-revalidate", "max-stale=60", false),
        ("s-maxage=10", "max-stale=60", false),
        ("max-age=10, no-cache", "max-stale=60", false),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, HONOUR, |r| match r.nth {
            1 => {
                let row: usize = r.target[1..].parse().expect("a row");
                page("old")
                    .field("Cache-Control", ROWS[row].0)
                    .field("Age", "20")
                    .field("ETag", "\"v\"")
            }
            _ => page("new").fresh(600),
        });
        for (n, (control, value, stale)) in ROWS.into_iter().enumerate() {
            let path = format!("/{n}");
            scene.get(&path);
            let answer = scene.ask("GET", &path, &[("cache-control", value)]);
            let wanted = if stale { "old" } else { "new" };
            assert_eq!(answer.text(), wanted, "{control}: {value}");
            // What is so taken is fetched anew as well.
            eventually("the new one is stored", || scene.get(&path).text() == "new");
        }
    }
}

/// RFC 9111 §5.2.1.7: only what is stored and may answer; else 504, and the shop hears nothing of it.
#[test]
fn only_if_cached() {
    let only = [("cache-control", "only-if-cached")];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, HONOUR, |r| match r.target.as_str() {
            "/stale" => page("old")
                .fresh(10)
                .field("Age", "20")
                .field("ETag", "\"v\""),
            _ => tenth("fresh".into()),
        });
        assert_eq!(scene.ask("GET", "/", &only).status, 504);
        assert_eq!(scene.ask("HEAD", "/", &only).status, 504);
        assert_eq!(scene.shop.seen().len(), 0);
        scene.get("/");
        scene.get("/stale");
        assert!(scene.ask("GET", "/", &only).is_hit());
        assert_eq!(scene.ask("GET", "/stale", &only).status, 504);
        let both = [("cache-control", "only-if-cached, max-age=5")];
        assert_eq!(scene.ask("GET", "/", &both).status, 504);
        assert_eq!(scene.shop.seen().len(), 2);
    }
}

/// One visitor's wish shapes nobody else's answer.
#[test]
fn a_wish_is_ones_own() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, HONOUR, |r| {
            let wish = r.field("cache-control").unwrap_or("none");
            tenth(format!("{wish} {}", r.nth))
        });
        let own = scene.ask("GET", "/", &[("cache-control", "no-store")]);
        assert_eq!(own.text(), "no-store 1", "it reaches the shop");
        assert_eq!(scene.get("/").text(), "none 2");
        assert_eq!(
            scene
                .ask("GET", "/", &[("cache-control", "no-cache")])
                .text(),
            "none 3"
        );
        assert!(scene.get("/").is_hit());
    }
}

/// A page with a cookie that depends on who asks.
fn with_cookie(policy: &'static str, protocol: crate::rules::Protocol) -> Scene {
    Scene::new(protocol, policy, |r| {
        let answer = page("content")
            .field("Set-Cookie", format!("id={}", r.nth))
            .field("Set-Cookie", "theme=light");
        match r.target.as_str() {
            "/named" => answer.field("Cache-Control", "max-age=60, no-cache=\"set-cookie\""),
            "/silent" => answer,
            _ => answer.fresh(60),
        }
    })
}

/// RFC 9111 §7.3: by default an answer that sets a cookie is its visitor's own.
#[test]
fn cookies_are_refused_by_default() {
    for policy in ["", "set_cookie = \"refuse\"", "ttl = \"60s\""] {
        for protocol in BOTH {
            let mut scene = with_cookie(policy, protocol);
            for path in ["/", "/silent"] {
                for nth in 1..=3 {
                    let answer = scene.another().get(path);
                    assert_eq!(answer.cache(), "dhal; fwd=uri-miss", "{path}");
                    let id = format!("id={nth}");
                    assert_eq!(answer.field("set-cookie"), Some(id.as_str()));
                    assert_eq!(answer.count("set-cookie"), 2);
                }
            }
            // §5.2.2.4: where the shop says that the cookie alone is not to be shared, the rest is.
            scene.get("/named");
            let answer = scene.get("/named");
            assert!(answer.is_hit());
            assert_eq!(answer.count("set-cookie"), 0);
        }
    }
}

/// `strip`: what is stored sets no cookie, for nobody.
#[test]
fn cookies_are_stripped() {
    for protocol in BOTH {
        let mut scene = with_cookie("set_cookie = \"strip\"", protocol);
        assert_eq!(scene.get("/").cache(), "dhal; fwd=uri-miss; stored");
        for _ in 0..2 {
            let answer = scene.get("/");
            assert!(answer.is_hit());
            assert_eq!(answer.count("set-cookie"), 0);
        }
        // What is not stored keeps them.
        assert_eq!(scene.get("/silent").count("set-cookie"), 2);
    }
}

/// `store`: everyone gets them, as the operator wanted.
#[test]
fn cookies_are_stored() {
    for protocol in BOTH {
        let mut scene = with_cookie("set_cookie = \"store\"", protocol);
        scene.get("/");
        for _ in 0..2 {
            let answer = scene.another().get("/");
            assert!(answer.is_hit());
            assert_eq!(answer.field("set-cookie"), Some("id=1"));
            assert_eq!(answer.count("set-cookie"), 2);
        }
        scene.get("/named");
        assert_eq!(scene.get("/named").count("set-cookie"), 0);
    }
}
