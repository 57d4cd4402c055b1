//! `Strict-Transport-Security`: on every answer over TLS, on none without.

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{H2, https},
    origin::{Origin, page},
    tools::eventually,
};

const FIELD: &str = "strict-transport-security";

fn config(shop: &Origin) -> String {
    format!(
        r#"
        [server]
        hsts = {{ max_age = "1y", include_subdomains = true }}
        max_target_bytes = "1KiB"
        [upstreams.shop]
        servers = ["{shop}"]
        [upstreams.gone]
        servers = ["127.0.0.1:1"]
        [cache.policies.validated]
        compress = false
        [limits.once]
        rate = "1/h"
        burst = 1
        [[routes]]
        host = "shop.example"
        path = "/pages/*"
        upstream = "shop"
        cache = "validated"
        [[routes]]
        host = "shop.example"
        path = "/own"
        upstream = "shop"
        [[routes]]
        host = "shop.example"
        path = "/gone"
        upstream = "gone"
        [[routes]]
        host = "shop.example"
        path = "/gone/cached"
        upstream = "gone"
        cache = "default"
        [[routes]]
        host = "shop.example"
        path = "/limited"
        upstream = "shop"
        limits = ["once"]
        [[routes]]
        host = "short.example"
        path = "/pages/*"
        upstream = "shop"
        cache = "default"
        hsts = "0s"
        [[routes]]
        host = "silent.example"
        path = "/pages/*"
        upstream = "shop"
        cache = "default"
        hsts = false
        "#
    )
}

/// Method, path, further fields, and the status of the answer.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    u16,
);

/// Answers of all kinds.
const CASES: [Case; 14] = [
    ("GET", "/pages/a", &[], 200),
    ("GET", "/pages/a", &[], 200),
    ("HEAD", "/pages/a", &[], 200),
    ("GET", "/pages/a", &[("if-none-match", "\"v\"")], 304),
    ("GET", "/pages/a", &[("range", "bytes=1-2")], 206),
    ("GET", "/pages/a", &[("range", "bytes=0-0,2-3")], 206),
    ("GET", "/pages/a", &[("range", "bytes=900-")], 416),
    ("POST", "/pages/a", &[], 200),
    ("GET", "/own", &[], 200),
    ("GET", "/gone", &[], 502),
    ("GET", "/gone/cached", &[], 502),
    ("GET", "/nowhere", &[], 404),
    ("TRACE", "/pages/a", &[], 405),
    ("GET", "/%zz", &[], 400),
];

fn check(answer: &Response, wanted: Option<&str>, status: u16, what: &str) {
    let is_refused = status == 502 && answer.status == 503;
    assert!(
        answer.status == status || is_refused,
        "{what}: {}",
        answer.status
    );
    assert_eq!(answer.field(FIELD), wanted, "{what}");
    assert!(answer.count(FIELD) <= 1, "{what}");
}

#[test]
fn every_answer_over_tls_says_so() {
    // The shop has a policy of its own, of which nobody hears.
    let shop = Origin::start(|r| {
        page(format!("content of {}", r.target))
            .fresh(60)
            .field("ETag", "\"v\"")
            .field("Strict-Transport-Security", "max-age=1")
    });
    let edge = Edge::start_tls(&config(&shop));
    let ours = Some("max-age=31536000; includeSubDomains");
    for (method, path, fields, status) in CASES {
        let what = format!("{method} {path} {fields:?}");
        let mut conn = https(edge.site.https, "shop.example");
        conn.request(method, path, fields);
        check(&conn.response(method), ours, status, &what);
    }
    // Several hits that were asked for at once.
    let mut conn = https(edge.site.https, "shop.example");
    check(&conn.get("/pages/a"), ours, 200, "stored once more");
    conn.send("GET /pages/a HTTP/1.1\r\nHost: shop.example\r\n\r\n".repeat(3));
    for _ in 0..3 {
        let answer = conn.response("GET");
        assert!(answer.is_hit());
        assert_eq!(answer.text(), "content of /pages/a");
        check(&answer, ours, 200, "together");
    }
    let limited = [200, 429].map(|status| {
        let answer = conn.get("/limited");
        check(&answer, ours, status, "limited");
    });
    assert_eq!(limited.len(), 2);
    // What cannot be read at all.
    let mut broken = https(edge.site.https, "shop.example");
    broken.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    check(&broken.response("GET"), ours, 400, "broken");
    for (method, path, fields, status) in CASES {
        let what = format!("h2 {method} {path} {fields:?}");
        let mut h2 = H2::connect(edge.site.https);
        let answer = h2.ask(method, path, fields, None).expect("an answer");
        check(&answer, ours, status, &what);
    }
    let mut other = https(edge.site.https, "shop.example");
    for (host, wanted) in [
        ("short.example", Some("max-age=0")),
        // The shop's own is left alone where nothing is said.
        ("silent.example", Some("max-age=1")),
    ] {
        for _ in 0..2 {
            other.send(format!("GET /pages/b HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            check(&other.response("GET"), wanted, 200, host);
        }
    }
}

#[test]
fn nothing_is_said_without_tls() {
    let shop = Origin::start(|r| page(r.target.clone()).fresh(60).field("ETag", "\"v\""));
    let text = config(&shop) + "[[listeners]]\naddress = \"@admin\"\nredirect_to_https = true\n";
    let edge = Edge::start_tls(&text);
    for (method, path, fields, status) in CASES {
        let answer = edge.ask(method, path, fields);
        check(
            &answer,
            None,
            status,
            &format!("{method} {path} {fields:?}"),
        );
    }
    let mut conn = Conn::open(edge.site.admin_tcp);
    check(&conn.get("/pages/a"), None, 301, "the redirect");
    // The stored answer is the same one.
    let answer = https(edge.site.https, "shop.example").get("/pages/a");
    check(
        &answer,
        Some("max-age=31536000; includeSubDomains"),
        200,
        "over TLS",
    );
    eventually("it is in the log", || !edge.log().is_empty());
}

/// Fields are changed beside it on answers of every kind, and where both would say it, `hsts` does.
#[test]
fn changes_of_fields_stand_beside_it() {
    let shop = Origin::start(|r| {
        page(format!("content of {}", r.target))
            .fresh(60)
            .field("ETag", "\"v\"")
            .field("X-Powered-By", "shop")
            .field("Strict-Transport-Security", "max-age=1")
    });
    let text = config(&shop)
        + r#"
        [[routes]]
        host = "shop.example"
        path = "/moved/*"
        redirect = { to = "/pages{rest}", status = 301 }
        [[routes]]
        host = "shop.example"
        path = "/fixed"
        respond = { body = "fixed" }
        [[routes]]
        host = "shop.example"
        path = "/ended"
        respond = { status = 410 }
        [[routes]]
        host = "silent.example"
        path = "/fixed"
        respond = { status = 403 }
        hsts = false
        [[server.response_headers]]
        set = { x-frame-options = "DENY", strict-transport-security = "max-age=2" }
        remove = ["x-powered-by"]
        "#;
    let edge = Edge::start_tls(&text);
    let ours = Some("max-age=31536000; includeSubDomains");
    let dressed = |answer: &Response, what: &str| {
        assert_eq!(answer.field("x-frame-options"), Some("DENY"), "{what}");
        assert_eq!(answer.count("x-frame-options"), 1, "{what}");
        assert_eq!(answer.field("x-powered-by"), None, "{what}");
    };
    let own: [Case; 4] = [
        ("GET", "/moved/a", &[], 301),
        ("GET", "/fixed", &[], 200),
        ("HEAD", "/fixed", &[], 200),
        ("GET", "/ended", &[], 410),
    ];
    for (method, path, fields, status) in CASES.into_iter().chain(own) {
        let what = format!("{method} {path} {fields:?}");
        let mut conn = https(edge.site.https, "shop.example");
        conn.request(method, path, fields);
        let answer = conn.response(method);
        check(&answer, ours, status, &what);
        dressed(&answer, &what);
        let mut h2 = H2::connect(edge.site.https);
        let answer = h2.ask(method, path, fields, None).expect("an answer");
        check(&answer, ours, status, &format!("h2 {what}"));
        dressed(&answer, &format!("h2 {what}"));
        let answer = edge.ask(method, path, fields);
        let said = answer.field(FIELD);
        assert!(matches!(said, None | Some("max-age=1")), "{what}: {said:?}");
        dressed(&answer, &format!("plain {what}"));
    }
    // Where `hsts` says nothing, the change does.
    let mut conn = https(edge.site.https, "shop.example");
    for (path, status) in [("/pages/b", 200), ("/pages/b", 200), ("/fixed", 403)] {
        conn.send(format!(
            "GET {path} HTTP/1.1\r\nHost: silent.example\r\n\r\n"
        ));
        let answer = conn.response("GET");
        check(&answer, Some("max-age=2"), status, path);
        dressed(&answer, path);
    }
}
