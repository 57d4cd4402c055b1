//! The admin endpoint, the metrics and the access log.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;

use crate::{
    client::{Conn, Response},
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::smallest,
    tools::eventually,
};

const TOKEN: &str = "a-token-of-sufficient-length";

fn shop() -> Origin {
    Origin::start(|r| {
        if r.target == "/kept" {
            page("ok").fresh(60)
        } else {
            page("ok")
        }
    })
}

fn ask(address: SocketAddr, method: &str, path: &str, token: Option<&str>) -> Response {
    let mut conn = Conn::open(address);
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut fields = vec![("Content-Length", "0"), ("Connection", "close")];
    if token.is_some() {
        fields.push(("Authorization", &bearer));
    }
    conn.request(method, path, &fields);
    conn.response(method)
}

#[test]
fn reading_is_free_and_changing_is_not() {
    let shop = shop();
    let without = Edge::start(
        &(smallest(&shop) + "[admin]\naddress = [\"@admin\", \"unix:@dir/admin.sock\"]\n"),
    );
    let address = without.site.admin_tcp;
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(ask(address, "GET", path, None).status, 200, "{path}");
        assert_eq!(without.admin("GET", path).0, 200, "{path}");
    }
    for token in [None, Some(TOKEN), Some("")] {
        assert_eq!(ask(address, "POST", "/reload", token).status, 403);
    }
    assert_eq!(
        without.admin("POST", "/reload").0,
        200,
        "the socket's mode guards it"
    );
    assert_eq!(ask(address, "GET", "/reload", None).status, 405);
    assert_eq!(ask(address, "GET", "/none", None).status, 404);
    let metadata = std::fs::metadata(without.site.path("admin.sock")).expect("a socket");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    let site = Site::new(
        &(smallest(&shop) + "[admin]\naddress = \"@admin\"\ntoken_file = \"@dir/token\"\n"),
    );
    std::fs::write(site.path("token"), format!("{TOKEN}\n")).expect("a file");
    let with = Edge::start_at(site);
    let address = with.site.admin_tcp;
    for wrong in [None, Some(""), Some("wrong"), Some(&TOKEN[1..])] {
        assert_eq!(
            ask(address, "POST", "/reload", wrong).status,
            401,
            "{wrong:?}"
        );
    }
    assert_eq!(ask(address, "POST", "/reload", Some(TOKEN)).status, 200);
    let reload = with.site.dhal(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    assert_eq!(
        with.get("/metrics").text(),
        "ok",
        "visitors do not reach it"
    );
}

#[test]
fn the_socket_of_a_dead_edge_is_replaced() {
    let shop = shop();
    let site = Site::new(&smallest(&shop));
    drop(std::os::unix::net::UnixListener::bind(site.path("admin.sock")).expect("a socket"));
    let edge = Edge::start_at(site);
    assert_eq!(edge.admin("GET", "/healthz").0, 200);
}

#[test]
fn what_is_counted() {
    let shop = shop();
    let edge = Edge::start(&(smallest(&shop) + "name = \"pages\"\n"));
    let mut conn = edge.connect();
    conn.get("/kept");
    conn.get("/kept");
    conn.get("/other");
    conn.request("POST", "/form", &[("Content-Length", "0")]);
    conn.response("POST");
    edge.ask("GET", "/\\", &[]);
    for (series, wanted) in [
        (
            "dhal_http_requests_total{code=\"200\",method=\"GET\",route=\"pages\"}",
            3.0,
        ),
        (
            "dhal_http_requests_total{code=\"200\",method=\"POST\",route=\"pages\"}",
            1.0,
        ),
        (
            "dhal_http_requests_total{code=\"400\",method=\"GET\",route=\"\"}",
            1.0,
        ),
        (
            "dhal_http_request_duration_seconds_count{route=\"pages\"}",
            4.0,
        ),
        ("dhal_cache_requests_total{outcome=\"hit\"}", 1.0),
        ("dhal_cache_requests_total{outcome=\"miss\"}", 2.0),
        ("dhal_cache_requests_total{outcome=\"bypass\"}", 1.0),
        ("dhal_cache_stored_responses{tier=\"memory\"}", 1.0),
        ("dhal_connections_accepted_total", 2.0),
        ("dhal_config_last_reload_successful", 1.0),
    ] {
        eventually(series, || edge.metric(series) == Some(wanted));
    }
    eventually("one connection is open", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
    assert!(edge.metric("dhal_cache_stored_bytes{tier=\"memory\"}") > Some(100.0));
    let (_, text) = edge.admin("GET", "/metrics");
    for name in [
        "dhal_build_info",
        "dhal_upstream_up",
        "dhal_config_last_reload_success_timestamp_seconds",
        "dhal_tls_handshake_failures_total",
        "dhal_access_log_dropped_lines",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

#[test]
fn the_access_log_in_json() {
    let shop = shop();
    let edge = Edge::start(&(smallest(&shop) + "name = \"pages\"\n"));
    let mut conn = edge.connect();
    let mut ids = Vec::new();
    for (method, path) in [
        ("GET", "/kept"),
        ("GET", "/kept"),
        ("HEAD", "/kept"),
        ("POST", "/form?a=1"),
    ] {
        conn.request(
            method,
            path,
            &[("User-Agent", "scenario \"1\""), ("Content-Length", "0")],
        );
        ids.push(
            conn.response(method)
                .field("x-request-id")
                .map(str::to_owned),
        );
    }
    conn.send("GET /none HTTP/1.1\r\nHost: shop.example\r\nX: \0\r\n\r\n");
    assert_eq!(conn.response("GET").status, 400);
    eventually("all are logged", || edge.log().len() == 5);
    let log = edge.log();
    let first = &log[0];
    for key in [
        "time",
        "client",
        "method",
        "host",
        "path",
        "status",
        "bytes",
        "duration_ms",
        "route",
        "cache",
        "upstream",
        "upstream_ms",
        "attempts",
        "request_id",
        "protocol",
        "limit",
        "user_agent",
    ] {
        assert!(!first[key].is_null(), "{key} in {first}");
    }
    assert_eq!(first["client"], "127.0.0.1");
    assert_eq!(first["host"], "shop.example");
    assert_eq!(first["upstream"], shop.to_string());
    assert_eq!(first["user_agent"], "scenario \"1\"");
    let row = |line: &serde_json::Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| line[key].as_u64().unwrap_or_default();
        (
            text("method"),
            text("path"),
            number("status"),
            number("bytes"),
            text("cache"),
        )
    };
    let wanted = [
        ("GET", "/kept", 200, 2, "miss"),
        ("GET", "/kept", 200, 2, "hit"),
        ("HEAD", "/kept", 200, 0, "hit"),
        ("POST", "/form?a=1", 200, 2, "bypass"),
        ("GET", "", 400, 0, "none"),
    ];
    for (line, (method, path, status, bytes, cache)) in log.iter().zip(wanted) {
        let (m, p, s, b, c) = row(line);
        assert_eq!(
            (m.as_str(), p.as_str(), s, c.as_str()),
            (method, path, status, cache)
        );
        assert!(b == bytes || status == 400, "{line}");
    }
    let logged: Vec<_> = log
        .iter()
        .map(|l| l["request_id"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(logged[..4], ids);
}

#[test]
fn the_access_log_in_combined_form_and_anew() {
    let shop = shop();
    let edge = Edge::start(
        &(smallest(&shop) + "[access_log]\npath = \"@dir/access.log\"\nformat = \"combined\"\n"),
    );
    let mut conn = edge.connect();
    conn.request(
        "GET",
        "/a?b",
        &[("User-Agent", "x\"y"), ("Referer", "https://a.example/")],
    );
    conn.response("GET");
    eventually("it is logged", || {
        edge.site.read("access.log").ends_with('\n')
    });
    let line = edge.site.read("access.log");
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains("] \"GET /a?b HTTP/1.1\" 200 2 \"https://a.example/\" \"x\\x22y\""),
        "{line}"
    );

    let moved = edge.site.path("access.log.1");
    std::fs::rename(edge.site.path("access.log"), &moved).expect("moved");
    edge.signal(Signal::SIGUSR1);
    eventually("the new file is written", || {
        edge.get("/after");
        edge.site.read("access.log").contains("/after")
    });
    assert_eq!(
        std::fs::read_to_string(moved)
            .expect("it is there")
            .lines()
            .next(),
        Some(line.trim_end())
    );
}

#[test]
fn the_access_log_is_whole_when_the_edge_has_ended() {
    let shop = shop();
    let mut edge = Edge::start(&smallest(&shop));
    let mut conns = [edge.connect(), edge.connect(), edge.connect()];
    for n in 0..100 {
        for (i, conn) in conns.iter_mut().enumerate() {
            assert_eq!(conn.get(&format!("/kept?{i}-{n}")).status, 200);
        }
    }
    // At once, and before the last lines are due.
    edge.signal(Signal::SIGTERM);
    drop(conns);
    assert!(edge.wait().success());
    let log = edge.log();
    assert_eq!(log.len(), 300);
    for i in 0..3 {
        let paths = log.iter().filter_map(|line| line["path"].as_str());
        let own = paths.filter(|path| path.starts_with(&format!("/kept?{i}-")));
        assert!(
            own.eq((0..100).map(|n| format!("/kept?{i}-{n}"))),
            "in order"
        );
    }
}

#[test]
fn a_request_that_fails_is_told_once_with_its_reason() {
    let mut shop = shop();
    let edge = Edge::start(&smallest(&shop));
    shop.stop();
    let id = edge.get("/").field("x-request-id").map(str::to_owned);
    eventually("it is logged", || edge.log().len() == 1);
    let log = edge.log();
    assert_eq!(
        (&log[0]["status"], &log[0]["reason"]),
        (&502.into(), &"connection_refused".into())
    );
    assert_eq!(log[0]["request_id"].as_str().map(str::to_owned), id);
    edge.says(&id.expect("an id"));
}
