//! HTTP/2: the same strictness, stream by stream.

use crate::{
    client::Response,
    edge::Edge,
    h2::{Fate, Frames, H2, exchange, request},
    origin::{Origin, page},
    serving::plain,
    tools::{Gate, eventually},
};

fn shop() -> Origin {
    Origin::start(|r| page(format!("{} {}", r.method, r.target)).fresh(60))
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "shop.example"),
    (":path", "/"),
];

/// GET with one pseudo field replaced.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let replace = |f: (&'static str, &'static str)| if f.0 == name { (name, value) } else { f };
    GET.into_iter().map(replace).collect()
}

/// GET with further fields.
fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GET.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn hits_and_forwards() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    let miss = h2.get("/page?a=1");
    assert_eq!((miss.status, miss.text().as_str()), (200, "GET /page?a=1"));
    assert_eq!(miss.cache(), "dhal; fwd=uri-miss; stored");
    let hit = h2.get("/page?a=1");
    assert!(hit.is_hit() && hit.text() == "GET /page?a=1");
    for name in ["via", "age", "x-request-id", "content-length", "date"] {
        assert_eq!(hit.count(name), 1, "{name}");
    }
    assert_eq!(
        (hit.field("connection"), hit.field("transfer-encoding")),
        (None, None)
    );
    let head = h2.ask("HEAD", "/page?a=1", &[], None).expect("an answer");
    assert!(head.is_hit() && head.body.is_empty());
    let part = h2
        .ask("GET", "/page?a=1", &[("range", "bytes=0-2")], None)
        .expect("an answer");
    assert_eq!((part.status, part.text().as_str()), (206, "GET"));
    let none = h2
        .ask("GET", "/page?a=1", &[("range", "bytes=99-")], None)
        .expect("an answer");
    assert_eq!(none.status, 416);
    let same = h2
        .ask(
            "GET",
            "/page?a=1",
            &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")],
            None,
        )
        .expect("an answer");
    assert!(matches!(same.status, 200 | 304));
    assert!(
        crate::h2::https(edge.site.https, "shop.example")
            .get("/page?a=1")
            .is_hit()
    );
    assert_eq!(shop.seen().len(), 1);
    let seen = shop.last();
    assert_eq!(seen.fields("host"), ["shop.example"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert!(
        !edge.get("/page?a=1").is_hit(),
        "another scheme, another response"
    );
}

#[test]
fn a_body_arrives_once_and_ends_once() {
    let shop = Origin::start(|r| page(format!("{:?}", String::from_utf8_lossy(&r.body))));
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    for (body, wanted) in [
        (&["abc", "de"][..], "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (&["abc"][..], "3\r\nabc\r\n0\r\n\r\n"),
        (&[][..], "0\r\n\r\n"),
    ] {
        for _ in 0..3 {
            let answer = h2.ask("POST", "/", &[], Some(body)).expect("an answer");
            assert_eq!(answer.status, 200);
            let seen = shop.last();
            let got = String::from_utf8_lossy(&seen.body).into_owned();
            let joined = body.concat();
            assert!(
                got == wanted
                    || got == format!("{:x}\r\n{joined}\r\n0\r\n\r\n", joined.len())
                    || got.is_empty() && joined.is_empty(),
                "{got:?}"
            );
        }
    }
    let answer = h2.ask(
        "POST",
        "/",
        &[("content-length", "5")],
        Some(&["abc", "de"]),
    );
    assert_eq!(answer.expect("an answer").text(), "\"abcde\"");
    assert_eq!(shop.seen().len(), 10);
}

#[test]
fn malformed_requests() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("upper case", and(&[("X-Upper", "a")])),
        ("connection", and(&[("connection", "keep-alive")])),
        ("keep-alive", and(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", and(&[("proxy-connection", "close")])),
        (
            "transfer-encoding",
            and(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", and(&[("upgrade", "websocket")])),
        ("te", and(&[("te", "gzip")])),
        ("CR LF in a value", and(&[("x", "a\r\nhost: evil.example")])),
        ("LF in a value", and(&[("x", "a\nb")])),
        ("NUL in a value", and(&[("x", "a\0b")])),
        ("space in a name", and(&[("x y", "a")])),
        ("colon in a name", and(&[("x:y", "a")])),
        ("empty name", and(&[("", "a")])),
        ("unknown pseudo field", and(&[(":proxy", "a")])),
        (
            "pseudo field behind others",
            vec![GET[0], GET[1], GET[2], ("x", "y"), GET[3]],
        ),
        ("second path", and(&[(":path", "/other")])),
        ("second method", and(&[(":method", "POST")])),
        ("no method", vec![GET[1], GET[2], GET[3]]),
        ("no scheme", vec![GET[0], GET[2], GET[3]]),
        ("no path", vec![GET[0], GET[1], GET[2]]),
        ("empty path", with(":path", "")),
        ("relative path", with(":path", "index.html")),
        ("asterisk", with(":path", "*")),
        ("absolute path", with(":path", "https://shop.example/")),
        ("space in the path", with(":path", "/a b HTTP/1.1")),
        ("CR LF in the path", with(":path", "/ HTTP/1.1\r\nX: y")),
        ("backslash", with(":path", "/a\\b")),
        ("bad escape", with(":path", "/%zz")),
        ("encoded NUL", with(":path", "/%00")),
        ("above the root", with(":path", "/../a")),
        ("no authority", vec![GET[0], GET[1], GET[3]]),
        ("empty authority", with(":authority", "")),
        ("odd authority", with(":authority", "a b")),
        ("userinfo", with(":authority", "user@shop.example")),
        ("odd port", with(":authority", "shop.example:x")),
        (
            "two hosts",
            and(&[("host", "shop.example"), ("host", "evil.example")]),
        ),
        ("host contradicts", and(&[("host", "evil.example")])),
        ("method with a space", with(":method", "GET /evil")),
        ("method with CR LF", with(":method", "GET / HTTP/1.1\r\n")),
        ("odd content-length", and(&[("content-length", "1x")])),
        (
            "two content-lengths",
            and(&[("content-length", "0"), ("content-length", "1")]),
        ),
        (
            "content-length without content",
            and(&[("content-length", "5")]),
        ),
        ("TRACE", with(":method", "TRACE")),
        (
            "CONNECT",
            vec![(":method", "CONNECT"), (":authority", "shop.example:443")],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, fields) in rows {
        let mut frames = Frames::connect(edge.site.https);
        frames.headers(1, &fields, true);
        let fate = frames.fate(1);
        if !matches!(
            fate,
            Fate::Status(400 | 405) | Fate::Reset | Fate::ConnectionEnded
        ) {
            wrong.push((name, fate));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(shop.bytes(), 0, "{:?}", shop.seen());
}

#[test]
fn a_bad_stream_leaves_the_others_alone() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    frames.headers(1, &GET, true);
    eventually("the first is under way", || shop.seen().len() == 1);
    frames.headers(3, &and(&[("connection", "close")]), true);
    assert_eq!(frames.fate(3), Fate::Reset);
    frames.headers(5, &with(":path", "/../a"), true);
    assert_eq!(frames.fate(5), Fate::Status(400));
    gate.open();
    assert_eq!(frames.fate(1), Fate::Status(200));
}

#[test]
fn content_must_have_its_length() {
    let shop = Origin::start(|r| page(format!("{}", r.body.len())));
    let edge = Edge::start_tls(&plain(&shop));
    for (length, sent) in [("5", "abc"), ("2", "abc")] {
        let mut frames = Frames::connect(edge.site.https);
        let mut fields = with(":method", "POST");
        fields.push(("content-length", length));
        frames.headers(1, &fields, false);
        frames.frame(0, 1, 1, sent.as_bytes());
        assert_ne!(frames.fate(1), Fate::Status(200), "{length}");
    }
    assert_eq!(shop.seen().len(), 0, "never a complete request");
}

#[test]
fn header_lists_are_bounded() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    let large = "x".repeat(40_000);
    let refused = |answer: Result<Response, h2::Error>| match answer {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(why) => assert!(why.is_reset() || why.is_go_away() || why.is_io(), "{why}"),
    };
    refused(h2.ask("GET", "/", &[("x", &large)], None));
    let mut h2 = H2::connect(edge.site.https);
    let many: Vec<(String, String)> = (0..150)
        .map(|i| (format!("x-{i}"), "y".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    refused(h2.ask("GET", "/", &many, None));
    let long = format!("/{}", "x".repeat(9_000));
    assert_eq!(h2.get(&long).status, 414);
    assert_eq!(shop.bytes(), 0);
    assert_eq!(h2.get("/").status, 200, "the connection lives on");
}

#[test]
fn bodies_are_bounded() {
    let shop = Origin::start(|r| page(format!("{}", r.body.len())));
    let config = plain(&shop).replace("[[routes]]", "[[routes]]\nmax_body = \"10B\"");
    let edge = Edge::start_tls(&config);
    let mut h2 = H2::connect(edge.site.https);
    let declared = h2.ask(
        "POST",
        "/",
        &[("content-length", "11")],
        Some(&["01234567890"]),
    );
    assert_eq!(declared.expect("an answer").status, 413);
    let counted = h2.ask("POST", "/", &[], Some(&["0123456789", "0"]));
    assert_eq!(counted.expect("an answer").status, 413);
    assert_eq!(shop.seen().len(), 0);
    let enough = h2.ask("POST", "/", &[], Some(&["0123456789"]));
    assert_eq!(enough.expect("an answer").status, 200);
}

#[test]
fn authorities_of_other_certificates_are_misdirected() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!(h2.get("https://shop.example:443/").status, 200);
    let other = h2
        .ask("GET", "https://other.example/", &[], None)
        .expect("an answer");
    assert_eq!(other.status, 200, "one certificate serves all names here");
}

#[test]
fn many_streams_at_once() {
    let shop = Origin::start(|r| page(r.target.repeat(500)));
    let edge = Edge::start_tls(&plain(&shop));
    let h2 = H2::connect(edge.site.https);
    // No more at once than any client opens before it knows the edge's bound.
    for first in [0, 100, 200] {
        let tasks: Vec<_> = (first..first + 100)
            .map(|i| {
                let path = format!("/{i}");
                let exchange = exchange(h2.sender.clone(), request("GET", &path, &[]), None);
                (path, h2.runtime.spawn(exchange))
            })
            .collect();
        for (path, task) in tasks {
            let answer = h2
                .runtime
                .block_on(task)
                .expect("a task")
                .expect("an answer");
            assert_eq!((answer.status, answer.text()), (200, path.repeat(500)));
        }
    }
}

#[test]
fn a_client_that_resets_its_streams_costs_little() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("late").when(&closed),
        _ => page("ok"),
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    let slow = with(":path", "/slow");
    for stream in 0..2_000 {
        frames.headers(2 * stream + 1, &slow, true);
        frames.frame(3, 0, 2 * stream + 1, &8u32.to_be_bytes());
    }
    let mut other = H2::connect(edge.site.https);
    assert_eq!(other.get("/").status, 200, "others are served meanwhile");
    gate.open();
    eventually("nothing is left behind", || {
        let (_, status) = edge.admin("GET", "/status");
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["upstreams"][0]["servers"][0]["in_flight"] == 0
    });
}

#[test]
fn a_fragment_never_reaches_the_shop() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    frames.headers(1, &with(":path", "/a#b"), true);
    assert_eq!(frames.fate(1), Fate::Status(400));
    assert_eq!(shop.count("/a"), 0);
}
