//! Corners of caching: validation that changes its mind, variants, ranges, and visitors who leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    client::Conn,
    edge::Edge,
    h2::H2,
    origin::{Answer, Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

#[test]
fn a_cookie_on_a_304_is_for_one_visitor() {
    let shop = Origin::start(|r| match r.field("if-none-match") {
        Some(_) => page("")
            .status(304)
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=60")
            .field("Set-Cookie", format!("visitor={}", r.nth)),
        None => page("content")
            .field("Cache-Control", "max-age=1")
            .field("ETag", "\"v1\""),
    });
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    eventually("it is validated", || {
        edge.get("/");
        shop.count("/") >= 2
    });
    for _ in 0..3 {
        let asked = shop.count("/");
        let answer = edge.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
        if shop.count("/") == asked {
            assert_eq!(answer.field("set-cookie"), None, "{answer:?}");
        }
    }
}

#[test]
fn a_304_may_forbid_further_use() {
    for control in ["no-store", "private"] {
        let shop = Origin::start(move |r| match r.field("if-none-match") {
            Some(_) => page("")
                .status(304)
                .field("ETag", "\"v1\"")
                .field("Cache-Control", control),
            None => page(format!("{}", r.nth))
                .field("Cache-Control", "max-age=1")
                .field("ETag", "\"v1\""),
        });
        let edge = Edge::start(&smallest(&shop));
        edge.get("/");
        eventually("it is validated", || {
            edge.get("/");
            shop.count("/") >= 2
        });
        assert!(!edge.get("/").is_hit(), "{control}");
    }
}

#[test]
fn an_error_while_validating_replaces_nothing_by_default() {
    let shop = Origin::start(|r| match r.nth {
        1 => page("content")
            .field("Cache-Control", "max-age=1")
            .field("ETag", "\"v1\""),
        2 => page("broken").status(500),
        _ => page("content").fresh(60).field("ETag", "\"v1\""),
    });
    let edge = Edge::start(&smallest(&shop));
    let mut answer = edge.get("/");
    eventually("it is validated", || {
        answer = edge.get("/");
        !answer.is_hit()
    });
    assert_eq!((answer.status, answer.text().as_str()), (500, "broken"));
    assert_eq!(edge.get("/").text(), "content");
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let shop = Origin::start(|_| {
        page("x")
            .fresh(60)
            .field("Connection", "X-Hop, keep-alive")
            .field("X-Hop", "1")
            .field("Keep-Alive", "timeout=5")
            .field("Proxy-Authenticate", "Basic")
            .field("X-End", "2")
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    for answer in [edge.get("/"), edge.get("/"), h2.get("/"), h2.get("/")] {
        assert_eq!(answer.status, 200);
        for name in ["x-hop", "keep-alive", "proxy-connection"] {
            assert_eq!(answer.field(name), None, "{name} in {answer:?}");
        }
        assert_eq!(answer.field("x-end"), Some("2"));
    }
}

#[test]
fn fields_of_the_shop_stay_as_they_are() {
    let shop = Origin::start(|_| {
        page("x")
            .fresh(60)
            .field("Link", "</a.css>; rel=preload")
            .field("Link", "</b.css>; rel=preload")
            .field("Via", "1.1 inner")
            .field("Cache-Status", "inner; hit")
            .field("X-Empty", "")
    });
    let edge = Edge::start(&smallest(&shop));
    for answer in [edge.get("/"), edge.get("/")] {
        let all = |name: &str| -> Vec<String> {
            let lines = answer.fields.iter().filter(|(n, _)| n == name);
            lines.map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(
            all("link"),
            ["</a.css>; rel=preload", "</b.css>; rel=preload"]
        );
        assert_eq!(all("via").join(", "), "1.1 inner, 1.1 dhal");
        let statuses = all("cache-status");
        assert_eq!(statuses.first().map(String::as_str), Some("inner; hit"));
        assert!(statuses.last().is_some_and(|s| s.starts_with("dhal; ")));
        assert_eq!(all("x-empty"), [""]);
    }
}

#[test]
fn an_unsafe_request_invalidates_all_variants() {
    let shop = Origin::start(|r| match r.method.as_str() {
        "POST" => page("done"),
        _ => page(format!("{:?} {}", r.field("accept-language"), r.nth))
            .fresh(60)
            .field("Vary", "Accept-Language"),
    });
    let edge = Edge::start(&smallest(&shop));
    let get = |language| edge.ask("GET", "/", &[("Accept-Language", language)]);
    for language in ["bn", "en"] {
        get(language);
        assert!(get(language).is_hit());
    }
    edge.ask("POST", "/", &[("Content-Length", "0")]);
    for language in ["bn", "en"] {
        assert!(!get(language).is_hit(), "{language}");
    }
}

#[test]
fn preconditions_of_writers_go_to_the_shop() {
    let shop = Origin::start(|r| match r.field("if-match") {
        Some("\"old\"") => page("changed").status(412),
        _ => page("content").fresh(60).field("ETag", "\"new\""),
    });
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    let fits = edge.ask("GET", "/", &[("If-Match", "\"new\"")]);
    assert_eq!(fits.status, 200);
    let old = edge.ask("GET", "/", &[("If-Match", "\"old\"")]);
    assert_eq!(old.status, 412, "{old:?}");
    assert!(edge.get("/").is_hit(), "and nothing is lost");
}

#[test]
fn several_ranges() {
    let shop = Origin::start(|_| page("0123456789").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    let parts = edge.ask("GET", "/", &[("Range", "bytes=0-1,8-9")]);
    match parts.status {
        200 => assert_eq!(parts.text(), "0123456789"),
        206 => {
            let kind = parts.field("content-type").expect("a type");
            assert!(
                kind.starts_with("multipart/byteranges; boundary="),
                "{kind}"
            );
            assert!(parts.text().contains("01") && parts.text().contains("89"));
        }
        status => unreachable!("{status}"),
    }
    let many = format!("bytes=0-0{}", ",0-".repeat(1_000));
    let answer = edge.ask("GET", "/", &[("Range", &many)]);
    assert!(
        answer.body.len() < 1_000,
        "a small request makes no large answer"
    );
    assert_eq!(shop.seen().len(), 1);
}

#[test]
fn a_stale_page_is_refreshed_whoever_asks() {
    type Ask = fn(&Edge) -> u16;
    let ask: [(&str, Ask); 3] = [
        ("HEAD", |edge| edge.ask("HEAD", "/", &[]).status),
        ("Range", |edge| {
            edge.ask("GET", "/", &[("Range", "bytes=0-0")]).status
        }),
        ("If-None-Match", |edge| {
            edge.ask("GET", "/", &[("If-None-Match", "\"v1\"")]).status
        }),
    ];
    for (name, ask) in ask {
        let shop = Origin::start(|r| {
            let answer =
                page(format!("content {}", r.nth)).field("ETag", format!("\"v{}\"", r.nth));
            match r.nth {
                1 => answer.field("Cache-Control", "max-age=1, stale-while-revalidate=60"),
                _ => answer.fresh(60),
            }
        });
        let edge = Edge::start(&smallest(&shop));
        edge.get("/");
        eventually("it is refreshed", || {
            let status = ask(&edge);
            assert!(matches!(status, 200 | 206 | 304), "{name}: {status}");
            shop.count("/") == 2
        });
        eventually("the new one is stored", || {
            let answer = edge.get("/");
            answer.is_hit() && answer.text() == "content 2"
        });
        assert_eq!(shop.count("/"), 2, "{name}");
    }
}

#[test]
fn a_failed_refresh_is_tried_again() {
    let shop = Origin::start(|r| match r.nth {
        1 => page("1").field("Cache-Control", "max-age=1, stale-while-revalidate=60"),
        2 => raw(""),
        3 => page("broken").status(500),
        _ => page("4").fresh(60),
    });
    let config = smallest(&shop).replace("[[routes]]", "retry = { attempts = 0 }\n[[routes]]");
    let edge = Edge::start(&config);
    edge.get("/");
    eventually("a refresh succeeds", || {
        let answer = edge.get("/");
        assert!(["1", "4"].contains(&answer.text().as_str()), "{answer:?}");
        answer.text() == "4"
    });
    assert_eq!(shop.count("/"), 4);
}

#[test]
fn a_visitor_who_leaves_does_not_keep_others_waiting() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => page("first").fresh(60).when(&closed),
        _ => page("second").fresh(60),
    });
    let edge = Edge::start(&smallest(&shop));
    let mut first = edge.connect();
    first.request("GET", "/", &[]);
    eventually("the first is under way", || shop.count("/") == 1);
    let address = edge.site.http;
    let others: Vec<_> = (0..10)
        .map(|_| thread::spawn(move || Conn::open(address).get("/")))
        .collect();
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") == Some(11.0)
    });
    drop(first);
    gate.open();
    for other in others {
        let answer = other.join().expect("answered");
        assert_eq!(answer.status, 200);
    }
    assert!(shop.count("/") <= 2, "{}", shop.count("/"));
    assert!(edge.get("/").is_hit());
    eventually("nothing is left behind", || {
        let (_, status) = edge.admin("GET", "/status");
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["upstreams"][0]["servers"][0]["in_flight"] == 0
    });
}

#[test]
fn waiting_for_another_has_an_end() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => page("first").fresh(60).when(&closed),
        _ => page("second").fresh(60),
    });
    let edge = Edge::start(&(smallest(&shop) + "[cache]\nlock_timeout = \"1s\"\n"));
    let mut first = edge.connect();
    first.request("GET", "/", &[]);
    eventually("the first is under way", || shop.count("/") == 1);
    assert_eq!(edge.get("/").text(), "second", "it goes on its own");
    gate.open();
    assert_eq!(first.response("GET").text(), "first");
}

#[test]
fn a_ttl_is_for_where_the_shop_is_silent() {
    let shop = Origin::start(|r| {
        let answer = page(format!("{}", r.nth));
        match r.target.as_str() {
            "/says-no" => answer.field("Cache-Control", "no-store"),
            "/cookie" => answer.field("Set-Cookie", "a=b"),
            "/error" => answer.status(500),
            _ => answer,
        }
    });
    let config = format!(
        "[upstreams.shop]\nservers = [\"{shop}\"]\n[cache.policies.pages]\nttl = \"60s\"\n[[routes]]\nupstream = \"shop\"\ncache = \"pages\"\n"
    );
    let edge = Edge::start(&config);
    for (path, hit) in [
        ("/silent", true),
        ("/says-no", false),
        ("/cookie", false),
        ("/error", false),
    ] {
        edge.get(path);
        assert_eq!(edge.get(path).is_hit(), hit, "{path}");
    }
}

#[test]
fn a_route_without_cache_knows_nothing_of_it() {
    let shop = Origin::start(|r| page(format!("{}", r.nth)).fresh(60));
    let edge = Edge::start(&smallest(&shop).replace("cache = \"default\"", ""));
    for nth in ["1", "2"] {
        let answer = edge.get("/");
        assert_eq!(
            (answer.text().as_str(), answer.field("cache-status")),
            (nth, None)
        );
    }
}

#[test]
fn memory_is_bounded() {
    let shop = Origin::start(|_| page(vec![b'x'; 100_000]).fresh(60));
    let edge = Edge::start(&(smallest(&shop) + "[cache]\nmemory = \"1MiB\"\n"));
    let mut conn = edge.connect();
    for i in 0..50 {
        assert_eq!(conn.get(&format!("/{i}")).body.len(), 100_000);
    }
    eventually("the store is within its bound", || {
        edge.metric("dhal_cache_stored_bytes{tier=\"memory\"}") <= Some(1_048_576.0)
    });
    assert!(conn.get("/49").is_hit(), "the newest is kept");
    assert!(!conn.get("/0").is_hit(), "the oldest is not");
}

#[test]
fn a_pooled_connection_that_the_shop_closes_fails_nobody() {
    let closing = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closing);
    let shop = Origin::start(move |r| {
        count.fetch_add(1, Ordering::SeqCst);
        // Closes without having said so.
        let answer: Answer = page(format!("{}", r.body.len()));
        answer.close()
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    for n in 0..100 {
        assert_eq!(conn.get("/").status, 200, "request {n}");
        conn.request("POST", "/form", &[("Content-Length", "3")]);
        conn.send("abc");
        let answer = conn.response("POST");
        // The shop may close while the request is on its way: then nobody can know whether it was done.
        assert!(
            matches!(answer.status, 200 | 502),
            "request {n}: {}",
            answer.status
        );
        if answer.status == 502 {
            conn = edge.connect();
        }
    }
    assert!(closing.load(Ordering::SeqCst) >= 100);
}

#[test]
fn requests_behind_a_close_are_not_answered() {
    let shop = Origin::start(|r| page(r.target.clone()));
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.send(
        "GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n\
         GET /b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    );
    assert_eq!(conn.response("GET").text(), "/a");
    conn.ends();
    assert_eq!(shop.count("/b"), 0);
}

#[test]
fn trailers_and_extensions_of_chunks_do_no_harm() {
    let shop = Origin::start(|r| page(format!("{}", r.body.len())));
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    for _ in 0..3 {
        conn.request("POST", "/", &[("Transfer-Encoding", "chunked")]);
        conn.send("3;name=\"value\"\r\nabc\r\n0\r\nX-Trailer: a\r\n\r\n");
        assert_eq!(conn.response("POST").status, 200);
        assert!(shop.last().body.starts_with(b"3\r\nabc\r\n0\r\n"));
    }
}

#[test]
fn a_shop_that_says_100_continue() {
    let shop = Origin::start(|r| match r.field("expect") {
        Some(_) => {
            raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        None => page("none"),
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request(
        "POST",
        "/",
        &[("Content-Length", "3"), ("Expect", "100-continue")],
    );
    // The scripted shop reads the body first, so it has to be sent unasked.
    assert!(conn.is_quiet(Duration::from_millis(50)));
    conn.send("abc");
    assert_eq!(conn.response("POST").text(), "ok");
}

#[test]
fn a_visitor_who_leaves_is_logged_as_such() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start(&smallest(&shop).replace("cache = \"default\"", ""));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    eventually("it is under way", || shop.seen().len() == 1);
    drop(conn);
    gate.open();
    eventually("it is logged", || edge.log().len() == 1);
    eventually("nothing is left open", || {
        edge.metric("dhal_connections") == Some(0.0)
    });
}
