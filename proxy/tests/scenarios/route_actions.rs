//! Routes that do more than pass on: redirects, fixed answers, rewrites, expressions, methods, changes of fields.

use crate::{
    client::Response,
    edge::{Edge, Site},
    h2::{H2, both},
    origin::{Origin, page},
    tools::eventually,
};

#[test]
fn redirects_lead_where_the_configuration_says() {
    let edge = Edge::start_tls(
        r#"
        [limits.few]
        rate = "1/h"
        burst = 4
        [address_lists.me]
        entries = ["127.0.0.0/8"]
        [[routes]]
        name = "moved"
        path = "/old/*"
        redirect = { to = "/new{rest}{?query}", status = 301 }
        limits = ["few"]
        [[routes]]
        path = "/mirror/*"
        redirect = { to = "{rest}" }
        [[routes]]
        path = "/www/*"
        redirect = { to = "https://www.{host}{path}{?query}", status = 308 }
        [[routes]]
        path_regex = "^/p/([0-9]+)-(?<slug>[a-z]+)$"
        redirect = { to = "/product?id={1}&slug={slug}", status = 303 }
        [[routes]]
        path = "/secret"
        deny = ["me"]
        redirect = { to = "/" }
        "#,
    );
    for (path, status, wanted) in [
        ("/mirror//evil.example/x", 302, "/evil.example/x"),
        ("/mirror/%2F%2Fevil.example", 302, "/evil.example"),
        ("/mirror/x%2F..%2F", 302, "/"),
        ("/www/a?b=c", 308, "https://www.shop.example/www/a?b=c"),
        ("/p/17-lamp", 303, "/product?id=17&slug=lamp"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.field("location"), Some(wanted), "{path}");
            assert_eq!(answer.field("content-length"), Some("0"), "{path}");
            assert!(answer.field("x-request-id").is_some());
        }
    }
    // Nothing that could end a line comes through.
    for path in ["/old/a%0d%0aset-cookie:x", "/old/%0a", "/www/%00"] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, 400, "{path}");
            assert_eq!(answer.field("location"), None);
        }
    }
    for answer in both(&edge, "GET", "/secret", &[]) {
        assert_eq!((answer.status, answer.field("location")), (403, None));
    }
    // Limits, counters and the log know the route.
    for (method, path) in [("GET", "/old/a?b=c"), ("POST", "/old/a?b=c")] {
        for answer in both(&edge, method, path, &[]) {
            assert_eq!(answer.status, 301);
            assert_eq!(answer.field("location"), Some("/new/a?b=c"));
            assert!(answer.field("ratelimit").is_some());
        }
    }
    for answer in both(&edge, "GET", "/old/a", &[]) {
        assert_eq!((answer.status, answer.field("location")), (429, None));
    }
    eventually("the log has them", || {
        let log = edge.log();
        let of = |status: u64| {
            let lines = log.iter();
            lines
                .filter(|line| line["route"] == "moved" && line["status"] == status)
                .count()
        };
        of(301) == 4 && of(429) == 2
    });
}

#[test]
fn fixed_answers_are_the_same_for_everybody() {
    let site = Site::new_tls(
        r#"
        [server]
        error_pages = { 403 = "403.html", 404 = "404.html" }
        [[routes]]
        path = "/robots.txt"
        respond = { body = "User-agent: *\nDisallow: /cart\n" }
        [[routes]]
        path = "/page"
        respond = { status = 503, body_file = "busy.html" }
        [[routes]]
        path = "/empty"
        respond = { status = 204 }
        [[routes]]
        path = "/plain"
        respond = {}
        [[routes]]
        path = "/closed"
        respond = { status = 403 }
        [[routes]]
        path = "/gone"
        respond = { status = 410 }
        "#,
    );
    for name in ["403", "404", "busy"] {
        let written = std::fs::write(site.path(&format!("{name}.html")), format!("<p>{name}</p>"));
        written.expect("a page");
    }
    let edge = Edge::start_at(site);
    let html = Some("text/html; charset=utf-8");
    for (path, status, content_type, body) in [
        (
            "/robots.txt?x",
            200,
            Some("text/plain; charset=utf-8"),
            "User-agent: *\nDisallow: /cart\n",
        ),
        ("/page", 503, html, "<p>busy</p>"),
        ("/empty", 204, None, ""),
        ("/plain", 200, None, ""),
        ("/closed", 403, html, "<p>403</p>"),
        ("/nowhere", 404, html, "<p>404</p>"),
    ] {
        let length = body.len().to_string();
        for method in ["GET", "HEAD", "POST"] {
            for answer in both(&edge, method, path, &[]) {
                assert_eq!(answer.status, status, "{method} {path}");
                assert_eq!(answer.field("content-type"), content_type, "{path}");
                let told = answer.field("content-length");
                let wanted = (status != 204).then_some(length.as_str());
                assert_eq!(told, wanted, "{method} {path}");
                let content = if method == "HEAD" { "" } else { body };
                assert_eq!(answer.text(), content, "{method} {path}");
            }
        }
    }
    for answer in both(&edge, "GET", "/gone", &[]) {
        assert!(answer.status == 410 && answer.text().contains("410"));
    }
    // Programs keep their JSON.
    for answer in both(&edge, "GET", "/nowhere", &[("accept", "application/json")]) {
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
    // A connection goes on behind them, also where content was sent along.
    let mut conn = edge.connect();
    for _ in 0..2 {
        conn.send("POST /plain HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(conn.response("POST").status, 200);
    }
    conn.request("HEAD", "/page", &[]);
    assert_eq!(conn.response("HEAD").status, 503);
    assert_eq!(conn.get("/robots.txt").status, 200);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let before = "[[routes]]\nrespond = { body = 'before' }\n";
    let edge = Edge::start(before);
    for (config, wanted) in [
        (
            "[[routes]]\nrespond = { body_file = 'none.html' }\n",
            "none.html",
        ),
        (
            "[server]\nerror_pages = { 404 = 'large.html' }\n[[routes]]\nrespond = {}\n",
            "larger than",
        ),
    ] {
        let large = vec![b'x'; 300 * 1024];
        std::fs::write(edge.site.path("large.html"), large).expect("a page");
        let refused = edge.reload(config);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(wanted), "{said}");
        assert_eq!(edge.get("/").text(), "before");
    }
}

#[test]
fn shops_are_asked_for_the_rewritten_target_and_the_store_by_the_visitors() {
    let shop = Origin::start(|r| page(r.target.clone()).fresh(600));
    let edge = Edge::start_tls(&format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        [cache.policies.pages]
        ignore_query = ["utm_*"]
        [[routes]]
        path = "/api/*"
        upstream = "shop"
        cache = "pages"
        strip_prefix = "/api"
        [[routes]]
        path = "/in/*"
        upstream = "shop"
        cache = "pages"
        rewrite = "/internal{{rest}}"
        upstream_host = "inner.example"
        [[routes]]
        path_regex = "^/p/([0-9]+)$"
        upstream = "shop"
        cache = "pages"
        rewrite = "/product?id={{1}}{{&query}}"
        [[routes]]
        path = "/plain/*"
        upstream = "shop"
        rewrite = {{ pattern = "^/plain/x(..)$", to = "/{{1}}/y" }}
        "#
    ));
    for (path, wanted) in [
        ("/api/a?b=c&utm_source=mail", "/a?b=c"),
        ("/api/", "/"),
        ("/in/a", "/internal/a"),
        ("/in/a?b=c", "/internal/a?b=c"),
        ("/p/17?c=red&utm_x=1", "/product?id=17&c=red"),
        ("/p/17?utm_x=1", "/product?id=17"),
    ] {
        let miss = edge.get(path);
        assert!(miss.text() == wanted && !miss.is_hit(), "{path}: {miss:?}");
        eventually(path, || edge.get(path).is_hit());
        // Another scheme is another page.
        let mut h2 = H2::connect(edge.site.https);
        let miss = h2.get(path);
        assert!(miss.text() == wanted && !miss.is_hit(), "{path}: {miss:?}");
        eventually(path, || h2.get(path).is_hit());
    }
    let seen = shop.seen();
    let host = |target: &str| {
        let request = seen.iter().find(|r| r.target == target).expect(target);
        (
            request.field("host").map(str::to_owned),
            request.field("x-forwarded-host").map(str::to_owned),
        )
    };
    assert_eq!(
        host("/internal/a"),
        (Some("inner.example".into()), Some("shop.example".into()))
    );
    assert_eq!(host("/a?b=c").0.as_deref(), Some("shop.example"));
    // What is purged is what visitors see.
    let order = r#"{"urls": ["http://shop.example/in/a"]}"#;
    assert_eq!(edge.admin_json("/purge", order).0, 200);
    assert!(!edge.get("/in/a").is_hit() && edge.get("/in/a?b=c").is_hit());
    // A form that was sent makes the visitors' page untrue.
    assert!(edge.get("/api/").is_hit());
    edge.ask("POST", "/api/", &[("content-length", "0")]);
    assert!(!edge.get("/api/").is_hit());
    // In person, and never above the root.
    for (path, wanted) in [
        ("/plain/xab?q", (200, "/ab/y?q")),
        ("/plain/z", (200, "/plain/z")),
    ] {
        let answer = edge.get(path);
        assert_eq!((answer.status, answer.text().as_str()), wanted);
    }
    for answer in both(&edge, "GET", "/plain/x..", &[]) {
        assert_eq!(answer.status, 400);
    }
    assert!(shop.seen().iter().all(|r| !r.target.contains("..")));
}

#[test]
fn methods_have_routes_of_their_own() {
    let shop = Origin::start(|r| page(format!("{} {}", r.method, r.target)).fresh(600));
    let edge = Edge::start_tls(&format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/cart"
        methods = ["GET"]
        upstream = "shop"
        [[routes]]
        path = "/cart"
        methods = ["POST"]
        upstream = "shop"
        rewrite = "/cart/add"
        [[routes]]
        path = "/page"
        methods = ["GET"]
        upstream = "shop"
        cache = "default"
        [[routes]]
        path = "/page"
        upstream = "shop"
        [[routes]]
        host = ["shop.example", "*.shop.example"]
        path_regex = "(?i)\\.php$"
        respond = {{ status = 404, body = "no" }}
        [[routes]]
        upstream = "shop"
        "#
    ));
    for (method, path, status, text) in [
        ("GET", "/cart", 200, "GET /cart"),
        ("POST", "/cart", 200, "POST /cart/add"),
        ("GET", "/a/b.PHP", 404, "no"),
        ("GET", "/a/b.php5", 200, "GET /a/b.php5"),
    ] {
        for answer in both(&edge, method, path, &[]) {
            assert_eq!((answer.status, answer.text().as_str()), (status, text));
        }
    }
    // What is stored for one route becomes untrue by another of its path.
    eventually("it is stored", || edge.get("/page").is_hit());
    edge.ask("POST", "/page", &[("content-length", "0")]);
    assert!(!edge.get("/page").is_hit());
    for answer in both(&edge, "DELETE", "/cart", &[]) {
        assert_eq!(answer.status, 405);
        assert_eq!(answer.field("allow"), Some("GET, HEAD, POST"));
        assert_eq!(answer.count("allow"), 1);
    }
}

#[test]
fn shops_hear_what_the_route_says() {
    let shop = Origin::start(|r| {
        let answer = page(format!("{}", r.nth)).fresh(600);
        match r.target.as_str() {
            "/kept/by-address" => answer.field("Vary", "X-Real-IP"),
            "/kept/by-edge" => answer.field("Vary", "X-Edge"),
            _ => answer,
        }
    });
    let changes = r#"
        request_headers = { set = { x-real-ip = "{client_ip}", x-edge = "{scheme} {host} {path}" }, add = { x-more = ["1", "2"] }, remove = ["x-secret", "cookie"] }
        "#;
    let edge = Edge::start_tls(&format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/kept/*"
        upstream = "shop"
        cache = "default"
        {changes}
        [[routes]]
        upstream = "shop"
        {changes}
        "#
    ));
    let fields = [
        ("x-real-ip", "9.9.9.9"),
        ("x-edge", "mine"),
        ("x-more", "0"),
        ("x-secret", "s"),
        ("cookie", "a=b"),
    ];
    for (path, more) in [
        ("/in-person", vec!["0", "1", "2"]),
        ("/kept/a", vec!["1", "2"]),
    ] {
        for (scheme, _) in ["http", "https"].iter().zip(0..) {
            match *scheme {
                "http" => edge.ask("GET", path, &fields),
                _ => H2::connect(edge.site.https)
                    .ask("GET", path, &fields, None)
                    .expect("an answer"),
            };
            let seen = shop.last();
            assert_eq!(seen.fields("x-real-ip"), ["127.0.0.1"], "{path}");
            assert_eq!(
                seen.fields("x-edge"),
                [format!("{scheme} shop.example {path}")]
            );
            assert_eq!(seen.fields("x-more"), more, "{path}");
            assert!(seen.field("x-secret").is_none() && seen.field("cookie").is_none());
            assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
        }
    }
    // What varies by who asks is nobody else's; what the route says alike is everybody's.
    for _ in 0..3 {
        assert!(!edge.get("/kept/by-address").is_hit());
    }
    eventually("it is stored", || edge.get("/kept/by-edge").is_hit());
    let other = edge.ask("GET", "/kept/by-edge", &[("x-edge", "another")]);
    assert!(other.is_hit());
}

#[test]
fn visitors_get_the_changed_fields() {
    let shop = Origin::start(|r| {
        let answer = page("0123456789")
            .field("Server", "secret/1.0")
            .field("X-Powered-By", "PHP")
            .field("X-Both", "shop");
        match r.target.as_str() {
            "/kept/missing" => answer.status(404).fresh(600),
            "/missing" => answer.status(404),
            path if path.starts_with("/kept/") => answer.fresh(600).field("ETag", "\"v1\""),
            _ => answer,
        }
    });
    let edge = Edge::start_tls(&format!(
        r#"
        [server.response_headers]
        set = {{ x-frame-options = "DENY", x-server = "all" }}
        remove = ["server", "x-powered-by"]
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/kept/*"
        upstream = "shop"
        cache = "default"
        response_headers = [
            {{ set = {{ x-server = "route" }}, add = {{ x-both = "edge" }} }},
            {{ on = "success", set = {{ cache-control = "max-age=1" }} }},
        ]
        [[routes]]
        path = "/missing"
        upstream = "shop"
        response_headers = {{ on = "success", add = {{ x-only = "yes" }} }}
        [[routes]]
        path = "/elsewhere"
        redirect = {{ to = "/" }}
        [[routes]]
        path = "/only"
        methods = ["POST"]
        respond = {{}}
        "#
    ));
    let plain = |answer: &Response, path: &str| {
        assert_eq!(answer.field("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.count("x-frame-options"), 1, "{path}");
        for name in ["server", "x-powered-by"] {
            assert_eq!(answer.field(name), None, "{path} {name}");
        }
    };
    // Misses, hits, parts, and what is the same as before.
    for round in 0..3 {
        for answer in both(&edge, "GET", "/kept/a", &[]) {
            plain(&answer, "/kept/a");
            assert_eq!(answer.text(), "0123456789");
            assert_eq!(answer.is_hit(), round > 0);
            assert_eq!(answer.field("x-server"), Some("route"));
            assert_eq!(answer.count("x-server"), 1);
            assert_eq!(answer.count("x-both"), 2);
            assert_eq!(answer.field("cache-control"), Some("max-age=1"));
            assert_eq!(answer.count("cache-control"), 1);
            assert_eq!(answer.field("content-length"), Some("10"));
        }
        eventually("both are stored", || {
            both(&edge, "GET", "/kept/a", &[])
                .iter()
                .all(Response::is_hit)
        });
    }
    for (fields, status, length) in [
        (("range", "bytes=2-4"), 206, Some("3")),
        (("range", "bytes=2-4,6-7"), 206, None),
        (("if-none-match", "\"v1\""), 304, None),
        (("range", "bytes=20-"), 416, Some("0")),
    ] {
        for answer in both(&edge, "GET", "/kept/a", &[fields]) {
            assert_eq!(answer.status, status);
            plain(&answer, "/kept/a");
            if let Some(length) = length {
                assert_eq!(answer.field("content-length"), Some(length));
            }
            assert!(answer.count("content-length") <= 1 && answer.count("content-type") <= 1);
        }
    }
    // Failures have what is for every answer, and no more.
    for _ in 0..2 {
        for answer in both(&edge, "GET", "/kept/missing", &[]) {
            plain(&answer, "/kept/missing");
            assert_eq!(answer.status, 404);
            assert_eq!(answer.field("cache-control"), Some("max-age=600"));
        }
    }
    for (method, path, status) in [
        ("GET", "/missing", 404),
        ("GET", "/elsewhere", 302),
        ("GET", "/nowhere", 404),
        ("GET", "/only", 405),
        ("POST", "/only", 200),
    ] {
        for answer in both(&edge, method, path, &[]) {
            assert_eq!(answer.status, status, "{path}");
            plain(&answer, path);
            assert_eq!(answer.field("x-only"), None);
            assert_eq!(answer.field("x-server"), Some("all"), "{path}");
        }
    }
    // Refused before it is understood, and in pipelines.
    let mut conn = edge.connect();
    conn.send("GET /kept/a HTTP/1.1\r\nHost: shop.example\r\n\r\nGET /kept/a HTTP/1.1\r\nHost: shop.example\r\n\r\nGET  / HTTP/1.1\r\n\r\n");
    for status in [200, 200, 400] {
        let answer = conn.response("GET");
        assert_eq!(answer.status, status);
        plain(&answer, "pipelined");
    }
    // Another configuration says something else of what is stored.
    let changed = format!(
        "[upstreams.shop]\nservers = [\"{shop}\"]\n[[routes]]\nupstream = \"shop\"\ncache = \"default\"\n\
         response_headers = {{ set = {{ x-new = \"1\" }} }}\n"
    );
    let changed = format!(
        "{changed}[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\n\
         [[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n"
    );
    let done = edge.reload(&changed);
    assert!(done.status.success(), "{done:?}");
    for answer in both(&edge, "GET", "/kept/a", &[]) {
        assert!(answer.is_hit());
        assert_eq!(answer.field("x-new"), Some("1"));
        assert_eq!(answer.field("server"), Some("secret/1.0"));
        assert_eq!(answer.field("x-frame-options"), None);
    }
}
