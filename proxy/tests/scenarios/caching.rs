//! What is stored, what is not, and what becomes of it when it is no longer fresh.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::Edge,
    origin::{Answer, Origin, page, raw},
    serving::smallest,
    tools::{Gate, eventually},
};

/// A path, and what the shop does to its page there.
type Case = (&'static str, fn(Answer) -> Answer);

/// A route with a policy of this content.
fn with_policy(shop: &Origin, policy: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        retry = {{ attempts = 0 }}

        [cache.policies.pages]
        {policy}

        [[routes]]
        upstream = "shop"
        cache = "pages"
        "#
    )
}

#[test]
fn what_must_not_be_stored_is_not() {
    let cases: [Case; 12] = [
        ("/no-store", |a| {
            a.field("Cache-Control", "no-store, max-age=60")
        }),
        ("/private", |a| {
            a.field("Cache-Control", "private, max-age=60")
        }),
        ("/cookie", |a| a.fresh(60).field("Set-Cookie", "id=1")),
        ("/vary", |a| a.fresh(60).field("Vary", "*")),
        ("/silent", |a| a),
        ("/validator-only", |a| a.field("ETag", "\"v\"")),
        ("/expired", |a| a.field("Cache-Control", "max-age=0")),
        ("/old", |a| a.fresh(60).field("Age", "61")),
        ("/bad-expires", |a| a.field("Expires", "0")),
        ("/status", |a| a.status(400).fresh(60)),
        ("/partial", |a| {
            a.status(206)
                .fresh(60)
                .field("Content-Range", "bytes 0-0/10")
        }),
        ("/contradiction", |a| {
            a.fresh(60).field("Cache-Control", "no-store")
        }),
    ];
    let shop = Origin::start(move |r| {
        let case = cases.iter().find(|(path, _)| *path == r.target);
        let (_, script) = case.expect("a path of the table");
        script(page(format!("{}", r.nth)))
    });
    let edge = Edge::start(&smallest(&shop));
    for (path, _) in cases {
        for nth in 1..=2 {
            let answer = edge.get(path);
            assert_eq!(answer.text(), nth.to_string(), "{path}");
            assert_eq!(answer.cache(), "dhal; fwd=uri-miss", "{path}");
        }
        assert_eq!(shop.count(path), 2, "{path}");
    }
}

#[test]
fn what_may_be_stored_is() {
    let cases: [Case; 6] = [
        ("/max-age", |a| a.fresh(60)),
        ("/s-maxage", |a| {
            a.field("Cache-Control", "max-age=0, s-maxage=60")
        }),
        ("/expires", |a| {
            let later = std::time::SystemTime::now() + Duration::from_secs(60);
            a.field("Expires", httpdate::fmt_http_date(later))
        }),
        ("/missing", |a| a.status(404).fresh(60)),
        ("/moved", |a| {
            a.status(301).fresh(60).field("Location", "/max-age")
        }),
        ("/chunked", |a| a.fresh(60).chunked()),
    ];
    let shop = Origin::start(move |r| {
        let case = cases.iter().find(|(path, _)| *path == r.target);
        let (_, script) = case.expect("a path of the table");
        script(page(format!("page {}", r.target)))
    });
    let edge = Edge::start(&smallest(&shop));
    for (path, _) in cases {
        let first = edge.get(path);
        let second = edge.get(path);
        assert!(second.is_hit(), "{path}: {}", second.cache());
        assert_eq!((first.status, &first.body), (second.status, &second.body));
        assert_eq!(second.text(), format!("page {path}"));
        assert_eq!(second.count("content-length"), 1, "{path}");
        assert_eq!(second.field("location"), first.field("location"));
        assert_eq!(shop.count(path), 1, "{path}");
    }
}

#[test]
fn hosts_and_queries_are_kept_apart() {
    let shop = Origin::start(|r| {
        let host = r.field("host").unwrap_or_default().to_owned();
        page(format!("{host}{}", r.target)).fresh(60)
    });
    let edge = Edge::start(&smallest(&shop));
    for _ in 0..2 {
        for (host, target) in [
            ("shop.example", "/a"),
            ("other.example", "/a"),
            ("shop.example:8080", "/a"),
            ("shop.example", "/a?x=1"),
            ("shop.example", "/a?x=2"),
            ("shop.example", "/a?"),
        ] {
            let mut conn = edge.connect();
            conn.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(conn.response("GET").text(), format!("{host}{target}"));
        }
    }
    assert_eq!(shop.seen().len(), 6);
    let mut conn = edge.connect();
    conn.send("GET /%61 HTTP/1.1\r\nHost: SHOP.example:80\r\n\r\n");
    assert!(
        conn.response("GET").is_hit(),
        "another spelling of the same"
    );
}

#[test]
fn variants_are_kept_apart() {
    let shop = Origin::start(|r| {
        let language = r.field("accept-language").unwrap_or("none").to_owned();
        page(language).fresh(60).field("Vary", "Accept-Language")
    });
    let edge = Edge::start(&smallest(&shop));
    let get = |language: Option<&str>| {
        let field = language.map(|l| ("Accept-Language", l));
        edge.ask("GET", "/", field.as_slice())
    };
    for (language, status) in [
        (Some("bn"), "dhal; fwd=uri-miss; stored"),
        (Some("en"), "dhal; fwd=vary-miss; stored"),
        // Nobody knew of the languages when the first one asked, so none was told to the shop, and its
        // answer is the one for those without.
        (None, "dhal; hit"),
        (Some("bn"), "dhal; hit"),
        (Some("en"), "dhal; hit"),
    ] {
        let answer = get(language);
        assert_eq!(answer.text(), language.unwrap_or("none"));
        assert_eq!(answer.cache(), status, "{language:?}");
        assert_eq!(answer.field("vary"), Some("Accept-Language"));
    }
    assert_eq!(shop.count("/"), 3);
}

#[test]
fn credentials_keep_a_response_from_others() {
    let shop = Origin::start(|r| {
        let who = r.field("authorization").or_else(|| r.field("cookie"));
        let body = who.unwrap_or("nobody").to_owned();
        let control = match r.target.as_str() {
            "/public" => "public, max-age=60",
            _ => "max-age=60",
        };
        page(body).field("Cache-Control", control)
    });
    let edge = Edge::start(&smallest(&shop));
    for (who, seen) in [
        (("Authorization", "Basic YTpi"), "Basic YTpi"),
        // The shop says that the page may be stored, so it is asked for the one that is for all.
        (("Cookie", "basket=7"), "nobody"),
    ] {
        let path = format!("/plain-{}", who.0);
        assert_eq!(edge.ask("GET", &path, &[who]).text(), seen);
        let anonymous = edge.get(&path);
        assert_eq!(anonymous.text(), "nobody", "{}", who.0);
    }
    edge.ask("GET", "/public", &[("Cookie", "basket=7")]);
    assert!(edge.get("/public").is_hit(), "the shop said public");
    // What anyone may see is also for those with a cookie, but not for those with credentials.
    assert!(
        edge.ask("GET", "/plain-Cookie", &[("Cookie", "other=1")])
            .is_hit()
    );
    let own = edge.ask("GET", "/plain-Cookie", &[("Authorization", "Basic Yjpj")]);
    assert_eq!(own.text(), "Basic Yjpj");
    assert!(
        edge.ask("GET", "/public", &[("Authorization", "Basic Yjpj")])
            .is_hit()
    );
}

#[test]
fn age_of_the_origin_counts() {
    let shop = Origin::start(|_| page("old").fresh(1000).field("Age", "900"));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    let hit = edge.get("/");
    let age: u64 = hit.field("age").and_then(|a| a.parse().ok()).expect("age");
    assert!(hit.is_hit() && (900..960).contains(&age), "{age}");
    assert_eq!(hit.count("age"), 1);
}

#[test]
fn always_validated() {
    let shop = Origin::start(|r| {
        let answer = page("content")
            .field("Cache-Control", "no-cache")
            .field("ETag", "\"v1\"")
            .field("X-Count", r.nth);
        match r.field("if-none-match") {
            Some("\"v1\"") => answer.status(304),
            _ => answer,
        }
    });
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/").cache(), "dhal; fwd=uri-miss; stored");
    for nth in 2..=4 {
        let answer = edge.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
        assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
        assert_eq!(
            answer.field("x-count"),
            Some(nth.to_string().as_str()),
            "updated"
        );
        assert_eq!(answer.count("x-count"), 1);
        assert_eq!(shop.count("/"), nth);
    }
    let same = edge.ask("GET", "/", &[("If-None-Match", "\"v1\"")]);
    assert_eq!(same.status, 304);
}

#[test]
fn a_stale_response_is_validated_or_replaced() {
    let changed = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&changed);
    let shop = Origin::start(move |r| {
        let tag = if script.load(Ordering::SeqCst) {
            "\"v2\""
        } else {
            "\"v1\""
        };
        let answer = page(tag).field("ETag", tag);
        match r.field("if-none-match") == Some(tag) {
            true => answer.fresh(5).status(304),
            false => answer.fresh(1),
        }
    });
    let edge = Edge::start(&smallest(&shop));
    let mut answer = edge.get("/");
    eventually("it is no longer fresh", || {
        answer = edge.get("/");
        !answer.is_hit()
    });
    assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
    assert_eq!(answer.text(), "\"v1\"");
    assert!(edge.get("/").is_hit(), "fresh again");
    changed.store(true, Ordering::SeqCst);
    eventually("the new one is there", || {
        answer = edge.get("/");
        !answer.is_hit()
    });
    assert_eq!(answer.text(), "\"v2\"");
    assert_eq!(answer.cache(), "dhal; fwd=stale; stored");
}

#[test]
fn stale_while_revalidate_refreshes_once() {
    let gate = Gate::default();
    let opened = gate.clone();
    let shop = Origin::start(move |r| {
        let answer = page(format!("{}", r.nth));
        match r.nth {
            1 => answer.field("Cache-Control", "max-age=1, stale-while-revalidate=60"),
            _ => answer.fresh(60).when(&opened),
        }
    });
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    let mut stale = edge.get("/");
    eventually("it is stale", || {
        stale = edge.get("/");
        !stale.is_hit()
    });
    assert_eq!(stale.cache(), "dhal; hit; detail=stale-while-revalidate");
    assert_eq!(stale.text(), "1");
    for _ in 0..10 {
        let answer = edge.get("/");
        assert_eq!(answer.text(), "1", "nobody waits for the refresh");
        assert_eq!(answer.cache(), "dhal; hit; detail=stale-while-revalidate");
    }
    eventually("the refresh has begun", || shop.count("/") == 2);
    gate.open();
    eventually("the refresh is stored", || edge.get("/").text() == "2");
    assert!(edge.get("/").is_hit());
    assert_eq!(shop.count("/"), 2);
}

#[test]
fn stale_if_error() {
    let mut shop = Origin::start(|r| match r.nth {
        1 => page("good").fresh(1),
        2 => page("broken").status(503),
        _ => page("new").fresh(60),
    });
    let policy = "stale_if_error = \"1h\"";
    let edge = Edge::start(&with_policy(&shop, policy));
    assert_eq!(edge.get("/").text(), "good");
    shop.stop();
    let mut answer = edge.get("/");
    eventually("it is stale", || {
        answer = edge.get("/");
        !answer.is_hit()
    });
    assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
    assert_eq!(answer.cache(), "dhal; hit; detail=stale-if-error");
    assert_eq!(edge.get("/other").status, 502, "nothing to fall back on");
    shop.restart();
    let answer = edge.get("/");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "good"),
        "RFC 5861 §4: 503 is an error"
    );
    assert_eq!(answer.cache(), "dhal; hit; detail=stale-if-error");
    // A shop in trouble is left alone for a moment.
    eventually("the shop is asked again", || edge.get("/").text() == "new");
}

#[test]
fn an_unsafe_request_invalidates() {
    let shop = Origin::start(|r| match (r.method.as_str(), r.target.as_str()) {
        ("POST", "/failing") => page("no").status(500),
        ("POST" | "PUT" | "DELETE", _) => page("done"),
        _ => page(format!("{}", r.nth)).fresh(60),
    });
    let edge = Edge::start(&smallest(&shop));
    for method in ["POST", "PUT", "DELETE"] {
        edge.get("/page?a=1");
        assert!(edge.get("/page?a=1").is_hit());
        let done = edge.ask(method, "/page?a=1", &[("Content-Length", "0")]);
        assert_eq!((done.status, done.cache()), (200, "dhal; fwd=method"));
        let again = edge.get("/page?a=1");
        assert_eq!(again.cache(), "dhal; fwd=uri-miss; stored", "{method}");
    }
    edge.get("/failing");
    edge.ask("POST", "/failing", &[("Content-Length", "0")]);
    assert!(
        edge.get("/failing").is_hit(),
        "RFC 9111 §4.4: errors invalidate nothing"
    );
    edge.ask("OPTIONS", "/failing", &[]);
    assert!(edge.get("/failing").is_hit(), "a safe method neither");
}

#[test]
fn ignored_parameters_reach_nobody() {
    let shop = Origin::start(|r| page(r.target.clone()).fresh(60));
    let policy = r#"ignore_query = ["utm_*", "fbclid"]"#;
    let edge = Edge::start(&with_policy(&shop, policy));
    for (n, (target, wanted)) in [
        ("/p?utm_source=x&id=1&fbclid=y", "/p?id=1"),
        ("/p?id=1", "/p?id=1"),
        ("/p?id=1&utm_campaign=z", "/p?id=1"),
        ("/q?fbclid=1", "/q"),
        ("/q", "/q"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = edge.get(target);
        assert_eq!(answer.text(), wanted);
        assert_eq!(answer.is_hit(), !matches!(n, 0 | 3), "{target}");
    }
    // What is not cached keeps its parameters.
    let form = edge.ask("POST", "/p?utm_source=x", &[("Content-Length", "0")]);
    assert_eq!(form.text(), "/p?utm_source=x");
    // Invalidation goes by what was stored.
    edge.ask("POST", "/p?id=1&utm_source=x", &[("Content-Length", "0")]);
    assert!(!edge.get("/p?id=1").is_hit());
}

#[test]
fn bypass_cookies_keep_the_store_out() {
    let shop = Origin::start(|r| {
        let cookie = r.field("cookie").unwrap_or("none").to_owned();
        page(cookie).field("Cache-Control", "public, max-age=60")
    });
    let edge = Edge::start(&with_policy(&shop, r#"bypass_cookies = ["session"]"#));
    assert_eq!(edge.get("/").text(), "none");
    for cookie in ["session=1", "a=b; session=2", "session"] {
        let own = edge.ask("GET", "/", &[("Cookie", cookie)]);
        assert_eq!(
            (own.text().as_str(), own.cache()),
            (cookie, "dhal; fwd=bypass")
        );
    }
    for cookie in ["a=session", "sessions=1", "Session=1"] {
        assert!(
            edge.ask("GET", "/", &[("Cookie", cookie)]).is_hit(),
            "{cookie}"
        );
    }
    assert_eq!(edge.get("/").text(), "none");
}

#[test]
fn too_large_to_store_passes_through_whole() {
    let body: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let content = body.clone();
    let shop = Origin::start(move |r| {
        let answer = page(content.clone()).fresh(60);
        if r.target.starts_with("/chunked") {
            answer.chunked()
        } else {
            answer
        }
    });
    let config = smallest(&shop) + "[cache]\nmax_object = \"100KiB\"\n";
    let edge = Edge::start(&config);
    for path in ["/length", "/chunked"] {
        for nth in 1..=3 {
            let answer = edge.get(path);
            assert_eq!(answer.body.len(), body.len(), "{path}");
            assert!(answer.body == body, "{path}");
            assert!(!answer.is_hit() && !answer.cache().contains("collapsed"));
            assert_eq!(shop.count(path), nth, "{path}");
        }
    }
    assert_eq!(
        edge.metric("dhal_cache_stored_responses{tier=\"memory\"}"),
        Some(0.0)
    );
    let first = edge.get("/length-2");
    assert_eq!(
        first.cache(),
        "dhal; fwd=uri-miss",
        "it is not stored and does not say so"
    );
}

#[test]
fn a_truncated_response_is_not_stored() {
    let shop = Origin::start(|r| {
        let body = "x".repeat(20_000);
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
        match r.target.as_str() {
            "/length" => raw(format!("{head}Content-Length: 30000\r\n\r\n{body}")),
            "/chunked" => raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n4e20\r\n{body}\r\n"
            )),
            "/in-chunk" => raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n5000\r\n{body}"
            )),
            _ => raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n4e20\r\n{body}\r\nzz\r\n"
            )),
        }
    });
    let edge = Edge::start(&smallest(&shop));
    for path in ["/length", "/chunked", "/in-chunk", "/junk"] {
        for nth in 1..=2 {
            let mut conn = edge.connect();
            conn.request("GET", path, &[]);
            let answer = conn.try_response("GET");
            match answer {
                Err(why) => assert!(why.contains("end of connection"), "{path}: {why}"),
                Ok(answer) => assert_eq!(answer.status, 502, "{path}"),
            }
            // Each time the shop is asked once more for the rest.
            assert_eq!(shop.count(path), 2 * nth, "{path}");
        }
    }
    eventually("nothing is stored", || {
        edge.metric("dhal_cache_stored_responses{tier=\"memory\"}") == Some(0.0)
    });
}

#[test]
fn close_delimited_answers_are_complete() {
    let shop =
        Origin::start(|_| raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nto the end"));
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    assert_eq!(conn.get("/").text(), "to the end");
    assert_eq!(conn.get("/").text(), "to the end");
}

#[test]
fn what_clients_ask_of_the_store_does_not_hurt_the_shop() {
    let shop = Origin::start(|_| page("x").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    for field in [
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "max-age=0"),
        ("Cache-Control", "no-store"),
        ("Pragma", "no-cache"),
    ] {
        assert!(edge.ask("GET", "/", &[field]).is_hit(), "{field:?}");
    }
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn a_range_fills_the_store_with_the_whole() {
    let shop = Origin::start(|_| page("0123456789").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    let part = edge.ask("GET", "/", &[("Range", "bytes=2-4")]);
    assert!(
        (part.status, part.text().as_str()) == (206, "234") || part.body.len() == 10,
        "{part:?}"
    );
    assert_eq!(part.count("content-range"), usize::from(part.status == 206));
    let whole = edge.get("/");
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
}

#[test]
fn head_does_not_store_an_empty_page() {
    let shop = Origin::start(|_| page("0123456789").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    let head = edge.ask("HEAD", "/", &[]);
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("10"))
    );
    assert_eq!(edge.get("/").text(), "0123456789");
    assert_eq!(edge.get("/").text(), "0123456789");
}
