//! Shops that answer badly, late or not at all.

use std::time::Duration;

use crate::{
    edge::Edge,
    origin::{Origin, page, raw},
    serving::smallest,
    tools::Gate,
};

fn without_retries(shop: &Origin) -> String {
    smallest(shop).replace("[[routes]]", "retry = { attempts = 0 }\n[[routes]]")
}

/// The same where the shop has two seconds.
fn in_time(shop: &Origin) -> String {
    without_retries(shop).replace("[[routes]]", "timeouts = { response = \"2s\" }\n[[routes]]")
}

#[test]
fn answers_that_break_http_are_not_passed_on() {
    const OK: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let rows: Vec<(&str, String)> = vec![
        (
            "/two-cl",
            format!("{OK}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ),
        (
            "/listed-cl",
            format!("{OK}Content-Length: 3, 4\r\n\r\nabcd"),
        ),
        ("/odd-cl", format!("{OK}Content-Length: x\r\n\r\nabcd")),
        (
            "/negative-cl",
            format!("{OK}Content-Length: -1\r\n\r\nabcd"),
        ),
        (
            "/te-gzip",
            format!("{OK}Transfer-Encoding: gzip\r\n\r\nabcd"),
        ),
        (
            "/te-list",
            format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("/garbage", "I am not HTTP\r\n\r\n".to_owned()),
        ("/status", "HTTP/1.1 abc OK\r\n\r\n".to_owned()),
        ("/nul", format!("{OK}X: a\0b\r\nContent-Length: 0\r\n\r\n")),
        ("/name", format!("{OK}X Y: a\r\nContent-Length: 0\r\n\r\n")),
        ("/nothing", String::new()),
        ("/half", "HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
        ("/line", "HTTP/1.1 200".to_owned()),
    ];
    let script = rows.clone();
    let shop = Origin::start(move |r| {
        let row = script.iter().find(|(path, _)| *path == r.target);
        row.map_or_else(|| page("fine"), |(_, bytes)| raw(bytes.as_str()))
    });
    let edge = Edge::start(&without_retries(&shop));
    for (path, _) in &rows {
        for nth in 1..=2 {
            let answer = edge.get(path);
            assert_eq!(answer.status, 502, "{path}");
            assert!(answer.text().contains("<!doctype html>"), "{path}");
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert!(
                answer
                    .text()
                    .contains(answer.field("x-request-id").expect("an id"))
            );
            assert_eq!(shop.count(path), nth, "{path} is not stored");
        }
        let json = edge.ask("GET", path, &[("Accept", "application/json")]);
        assert_eq!(
            (json.status, json.field("content-type")),
            (502, Some("application/json"))
        );
        let error: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
        assert_eq!(error["error"]["status"], 502);
        assert_eq!(edge.ask("HEAD", path, &[]).status, 502, "{path}");
    }
    assert_eq!(
        edge.metric("dhal_cache_stored_responses{tier=\"memory\"}"),
        Some(0.0)
    );
    assert_eq!(edge.get("/fine").status, 200);
}

#[test]
fn a_head_that_does_not_come() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/silent" => page("late").when(&closed),
        "/dripped" => raw("HTTP/1.1 200 OK\r\n").then(&closed, "\r\n"),
        _ => page("fine"),
    });
    let edge = Edge::start(&in_time(&shop));
    for path in ["/silent", "/dripped"] {
        let answer = edge.get(path);
        assert_eq!(answer.status, 504, "{path}");
        assert!(answer.text().contains("took too long"), "{path}");
    }
    gate.open();
    assert_eq!(edge.get("/fine").status, 200);
}

#[test]
fn a_body_that_stops_coming_is_seen_to_be_cut() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nabc")
            .then(&closed, "defghij")
    });
    let edge = Edge::start(&in_time(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    assert!(conn.try_response("GET").is_err());
    gate.open();
    assert_eq!(
        edge.metric("dhal_cache_stored_responses{tier=\"memory\"}"),
        Some(0.0)
    );
}

#[test]
fn informational_answers_pass() {
    let shop = Origin::start(|_| {
        raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    assert_eq!(conn.head().expect("hints").0, 103);
    assert_eq!(conn.response("GET").text(), "ok");
}

#[test]
fn a_slow_body_is_passed_on_as_it_comes() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .then(&closed, "4\r\nlast\r\n0\r\n\r\n")
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    assert_eq!(conn.head().expect("a head").0, 200);
    assert_eq!(conn.take(10).expect("the first chunk"), b"5\r\nfirst\r\n");
    gate.open();
    assert_eq!(conn.take(14).expect("the last"), b"4\r\nlast\r\n0\r\n\r\n");
}

#[test]
fn nobody_there() {
    let mut shop = Origin::start(|_| page("fine"));
    let edge = Edge::start(&smallest(&shop).replace(
        "[[routes]]",
        "health_check = { path = \"/\", interval = \"100ms\", timeout = \"5s\", unhealthy = 1, healthy = 1 }\n[[routes]]",
    ));
    assert_eq!(edge.get("/").status, 200);
    shop.stop();
    crate::tools::eventually("it is down", || edge.get("/").status == 503);
    let answer = edge.get("/");
    assert!(
        answer
            .field("retry-after")
            .is_some_and(|s| s.parse::<u32>().is_ok())
    );
    assert!(answer.text().contains("busy"));
    shop.restart();
    crate::tools::eventually("it is up", || edge.get("/").status == 200);
}

#[test]
fn a_large_upload_to_a_shop_that_answers_early() {
    let shop = Origin::start(|_| page("unused"));
    drop(shop);
    let listener = std::net::TcpListener::bind(crate::tools::free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write;
            let _ = (&stream)
                .write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let edge = Edge::start(&format!(
        "[upstreams.shop]\nservers = [\"{address}\"]\n[[routes]]\nupstream = \"shop\"\nmax_body = \"100MiB\"\n"
    ));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "1000000")]);
    conn.send("x".repeat(1_000_000));
    let answer = conn.response("POST");
    assert!(
        answer.status == 403 || answer.status == 502,
        "{}",
        answer.status
    );
}

#[test]
fn a_length_beside_chunks_is_dropped() {
    let shop = Origin::start(|_| {
        raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
    });
    let edge = Edge::start(&smallest(&shop));
    let answer = edge.get("/");
    // RFC 9112 §6.3: an intermediary that forwards it removes the length.
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.field("content-length"), None);
}
