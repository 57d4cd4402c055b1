//! Where answers end, over both doors: what has no content, what is not whole, and who does not wait.

use crate::{
    client::Response,
    disk::{noise, plain_with_disk},
    edge::Edge,
    h2::{Frames, H2},
    measure::has_read,
    origin::{Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

/// RFC 9110 §6.4.1, §8.6, §15.3.5, §15.3.6, §15.4.5; RFC 9112 §6.3.
fn is_framed(what: &str, method: &str, length: usize, answer: &Response) {
    let empty = method == "HEAD" || matches!(answer.status, 204 | 205 | 304);
    let whole = if empty { 0 } else { length };
    assert_eq!(answer.body.len(), whole, "{what}: content");
    let told = answer.field("content-length");
    let chunked = answer.count("transfer-encoding") > 0;
    match answer.status {
        204 => assert!(told.is_none() && !chunked, "{what}: {told:?}"),
        205 => assert!(told == Some("0") || chunked, "{what}: {told:?}"),
        304 => assert!(!chunked, "{what}"),
        _ => {}
    }
    if let Some(told) = told {
        assert!(!chunked, "{what}");
        assert_eq!(told, length.to_string(), "{what}");
    }
}

#[test]
fn answers_end_where_they_say() {
    const SMALL: usize = 5_000;
    const LARGE: usize = 150_000;
    let shop = Origin::start(|r| {
        let path = r
            .target
            .split_once('?')
            .map_or(&r.target[..], |(path, _)| path);
        let path = &path[2..];
        let answer = match path {
            "204" => page("").status(204),
            "205" => page("").status(205),
            "empty" => page(""),
            "chunked" => page("x".repeat(SMALL)).chunked(),
            "large" => page(noise(LARGE, 1)),
            "large-chunked" => page(noise(LARGE, 2)).chunked(),
            _ => page("x".repeat(SMALL)),
        };
        answer.fresh(600).field("ETag", "\"v\"")
    });
    let edge = Edge::start_tls(&plain_with_disk(&shop, "max_object = \"100KiB\""));
    let mut h2 = H2::connect(edge.site.https);
    let table = [
        ("204", 204, 0),
        ("205", 205, 0),
        ("empty", 200, 0),
        ("page", 200, SMALL),
        ("chunked", 200, SMALL),
        ("large", 200, LARGE),
        ("large-chunked", 200, LARGE),
    ];
    for (path, status, length) in table {
        // The first letter makes each order of methods meet a store without the page.
        for (letter, methods) in [
            ("a", ["GET", "HEAD", "GET"]),
            ("b", ["HEAD", "GET", "HEAD"]),
        ] {
            let mut conn = edge.connect();
            for (nth, method) in methods.into_iter().enumerate() {
                for conditional in [false, true] {
                    let target = format!("/{letter}{path}");
                    let fields: &[_] = if conditional {
                        &[("If-None-Match", "\"v\"")]
                    } else {
                        &[]
                    };
                    let status = if conditional && status == 200 {
                        304
                    } else {
                        status
                    };
                    let what = format!("{method} {target} {conditional} ({nth})");
                    conn.request(method, &target, fields);
                    // Bytes that do not belong there would be in the way of the next answer.
                    let answer = conn.response(method);
                    assert_eq!(answer.status, status, "{what}");
                    is_framed(&what, method, length, &answer);
                    let target = format!("/{letter}{path}?h2");
                    let answer = h2.ask(method, &target, fields, None);
                    let answer = answer.unwrap_or_else(|why| panic!("{what} over HTTP/2: {why}"));
                    assert_eq!(answer.status, status, "{what} over HTTP/2");
                    assert_eq!(answer.count("transfer-encoding"), 0, "{what}");
                    is_framed(&what, method, length, &answer);
                }
            }
        }
    }
}

#[test]
fn a_page_that_breaks_off_never_looks_whole() {
    let broken = |length: usize| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        bytes.extend(format!("{length:x}\r\n").into_bytes());
        bytes.extend(vec![b'x'; length]);
        bytes.extend(b"\r\n");
        bytes
    };
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/broken" => raw(broken(5)),
        "/long" => page(noise(1_500_000, 3)).chunked().fresh(60),
        _ => page("hello").chunked().fresh(60),
    });
    let edge = Edge::start(&smallest(&shop));
    let ask = |target: &str| {
        let mut conn = edge.connect();
        conn.send(format!(
            "GET {target} HTTP/1.0\r\nHost: shop.example\r\n\r\n"
        ));
        conn.response("GET")
    };
    assert_eq!(ask("/broken").status, 502);
    let whole = ask("/whole");
    assert_eq!((whole.status, whole.text().as_str()), (200, "hello"));
    assert_eq!(whole.field("content-length"), Some("5"));
    let long = ask("/long");
    assert!(long.status == 200 && long.body == noise(1_500_000, 3));
    // HTTP/1.1 has chunks, and the last one is missing.
    let mut conn = edge.connect();
    conn.request("GET", "/broken", &[]);
    assert!(conn.try_response("GET").is_err());
}

#[test]
fn what_went_out_of_a_broken_page_is_logged() {
    let shop = Origin::start(|_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
            Content-Length: 100000\r\n\r\n"
            .to_vec();
        bytes.extend(noise(40_000, 4));
        raw(bytes)
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/1", &[]);
    assert!(conn.try_response("GET").is_err());
    let mut h2 = H2::connect(edge.site.https);
    assert!(h2.ask("GET", "/2", &[], None).is_err());
    eventually("both are logged", || edge.log().len() == 2);
    for line in edge.log() {
        assert_eq!(
            (&line["status"], &line["bytes"]),
            (&200.into(), &40_000.into()),
            "{line}"
        );
        assert_eq!(line["reason"], "connection_terminated", "{line}");
    }
}

#[test]
fn who_reads_along_has_asked_nobody() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("hello").fresh(60).when(&closed));
    let edge = Edge::start(&smallest(&shop));
    let mut visitors: Vec<_> = (0..5).map(|_| edge.connect()).collect();
    for conn in &mut visitors {
        conn.request("GET", "/", &[]);
    }
    for conn in &visitors {
        has_read(edge.site.http, conn.address());
    }
    eventually("it is fetched", || shop.count("/") == 1);
    gate.open();
    let caches: Vec<_> = visitors
        .iter_mut()
        .map(|conn| conn.response("GET").cache().to_owned())
        .collect();
    let collapsed = caches.iter().filter(|c| c.ends_with("; collapsed")).count();
    assert!(collapsed >= 1, "{caches:?}");
    eventually("all are logged", || edge.log().len() == 5);
    let asked = edge
        .log()
        .into_iter()
        .filter(|line| line["upstream"].is_string());
    assert_eq!(asked.count(), 1);
}

#[test]
fn streams_that_are_reset_wait_for_nothing() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("hello").fresh(60).when(&closed));
    let edge = Edge::start_tls(&plain(&shop));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/slow"),
    ];
    let mut connections: Vec<_> = (0..4).map(|_| Frames::connect(edge.site.https)).collect();
    for frames in &mut connections {
        for n in 0..15 {
            frames.headers(2 * n + 1, &fields, true);
        }
    }
    // A sign behind them comes back when they have been taken in.
    for frames in &mut connections {
        frames.frame(6, 0, 0, b"a sign o");
        while frames
            .next()
            .is_some_and(|(kind, flags, _, _)| (kind, flags) != (6, 1))
        {}
    }
    eventually("it is fetched", || shop.count("/slow") == 1);
    // RST_STREAM, CANCEL; and one connection that ends as a whole.
    let gone = connections.pop();
    for frames in &mut connections {
        for n in 0..15 {
            frames.frame(3, 0, 2 * n + 1, &[0, 0, 0, 8]);
        }
    }
    drop(gone);
    eventually("they are given up", || edge.log().len() == 60);
    for line in edge.log() {
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&499.into(), &"client_gone".into())
        );
    }
    assert_eq!(shop.count("/slow"), 1);
    gate.open();
    eventually("it was fetched all the same", || edge.get("/slow").is_hit());
}
