//! Validation (RFC 9111 §4.3), answers to HEAD, and interim answers on their way.

use crate::{
    client::Conn,
    edge::Edge,
    origin::{Answer, page, raw},
    rules::{BOTH, Protocol, Scene, age, date},
    serving::smallest,
    tools::Gate,
};

const CONFIRMED: &str = "dhal; fwd=stale; fwd-status=304; stored";

/// Stale when it comes.
fn old(body: &str) -> Answer {
    page(body)
        .field("Cache-Control", "max-age=10")
        .field("Age", "20")
}

/// RFC 9111 §3.2: a 304 updates what is stored, but nothing that describes the content that is stored.
#[test]
fn what_a_304_updates() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| match r.nth {
            1 => old("the content")
                .field("ETag", "\"v\"")
                .field("Last-Modified", date(-1000))
                .field("X-Kept", "kept")
                .field("X-Replaced", "one")
                .field("X-Replaced", "two")
                .field("Link", "</old>"),
            _ => page("")
                .status(304)
                .instead("Content-Type", "text/plain")
                .instead("Date", date(-5))
                .field("Cache-Control", "max-age=600, must-revalidate")
                .field("Expires", date(500))
                .field("ETag", "\"v\"")
                .field("X-Replaced", "three")
                .field("X-New", "new")
                .field("Link", "</a>")
                .field("Link", "</b>")
                .field("Content-Length", "99")
                .field("Content-Encoding", "gzip")
                .field("Content-Range", "bytes 0-1/2")
                .field("Set-Cookie", "id=mine")
                .field("Connection", "X-Hop")
                .field("X-Hop", "1")
                .field("Dhal-Cache-Control", "max-age=600"),
        });
        scene.get("/");
        let confirmed = scene.get("/");
        assert_eq!(confirmed.cache(), CONFIRMED);
        let hit = scene.another().get("/");
        assert!(hit.is_hit());
        for answer in [confirmed, hit] {
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "the content")
            );
            let all = |name: &str| -> Vec<String> {
                let lines = answer.fields.iter().filter(|(n, _)| n == name);
                lines.map(|(_, value)| value.clone()).collect()
            };
            assert_eq!(all("x-kept"), ["kept"]);
            assert_eq!(all("x-replaced"), ["three"]);
            assert_eq!(all("x-new"), ["new"]);
            assert_eq!(all("link"), ["</a>", "</b>"]);
            assert_eq!(all("content-type"), ["text/plain"]);
            assert_eq!(all("content-length"), ["11"]);
            assert_eq!(all("cache-control"), ["max-age=600, must-revalidate"]);
            assert_eq!(all("etag"), ["\"v\""]);
            assert_eq!((all("date").len(), all("expires").len()), (1, 1));
            assert_eq!(all("last-modified").len(), 1);
            assert_eq!(all("via"), ["1.1 dhal"]);
            for name in [
                "content-encoding",
                "content-range",
                "set-cookie",
                "x-hop",
                "dhal-cache-control",
            ] {
                assert_eq!(all(name), [""; 0], "{name}");
            }
            assert!((5..25).contains(&age(&answer)), "counted anew");
            assert!(answer.ttl() > Some(500));
        }
    }
}

/// RFC 9111 §4.3.1: the shop is asked with the validators of what is stored, whatever the visitor has.
#[test]
fn conditions_are_those_of_the_store() {
    for protocol in BOTH {
        let modified = date(-1000);
        let told = modified.clone();
        let mut scene = Scene::new(protocol, "", move |r| match r.target.as_str() {
            "/both" => old("x")
                .field("ETag", "\"v\"")
                .field("Last-Modified", &told),
            "/tag" => old("x").field("ETag", "W/\"v\""),
            _ => old("x").field("Last-Modified", &told),
        });
        for (path, tag, since) in [
            ("/both", Some("\"v\""), Some(modified.as_str())),
            ("/tag", Some("W/\"v\""), None),
            ("/date", None, Some(modified.as_str())),
        ] {
            for own in [
                &[][..],
                &[("if-none-match", "\"mine\"")],
                &[("if-modified-since", &*date(-5)), ("range", "bytes=0-0")],
            ] {
                scene.get(path);
                scene.ask("GET", path, own);
                let seen = scene.shop.last();
                assert_eq!(seen.field("if-none-match"), tag, "{path} {own:?}");
                assert_eq!(seen.field("if-modified-since"), since, "{path} {own:?}");
                assert_eq!(seen.field("range"), None);
            }
        }
    }
}

/// RFC 9111 §4.3.3: the visitor's own condition is judged by what came of the validation.
#[test]
fn a_visitors_condition_after_a_validation() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| match r.field("if-none-match") {
            None => old("first").field("ETag", "\"v1\""),
            Some("\"v1\"") if r.target == "/same" => old("").status(304).field("ETag", "\"v1\""),
            Some(_) => old("second").field("ETag", "\"v2\""),
        });
        for (path, tag, status) in [
            ("/same", "\"v1\"", 304),
            ("/same", "\"v2\"", 200),
            ("/changed", "\"v1\"", 200),
            ("/changed", "\"v2\"", 304),
        ] {
            scene.get(path);
            let answer = scene.ask("GET", path, &[("if-none-match", tag)]);
            assert_eq!(answer.status, status, "{path} {tag}");
        }
    }
}

/// RFC 9111 §4.3.4: a 304 that speaks of something else confirms nothing; the shop is asked again
/// without conditions.
#[test]
fn a_304_that_does_not_confirm() {
    type Fields = fn(Answer) -> Answer;
    let pairs: [(Fields, Fields); 4] = [
        (|a| a.field("ETag", "\"v1\""), |a| a.field("ETag", "\"v2\"")),
        (
            |a| a.field("ETag", "W/\"v1\""),
            |a| a.field("ETag", "\"v1\""),
        ),
        (
            |a| a.field("ETag", "W/\"v1\""),
            |a| a.field("ETag", "W/\"v2\""),
        ),
        (
            |a| a.field("Last-Modified", date(-86_400)),
            |a| a.field("Last-Modified", date(-60)),
        ),
    ];
    for protocol in BOTH {
        for (n, (stored, told)) in pairs.into_iter().enumerate() {
            let mut scene = Scene::new(protocol, "", move |r| {
                let is_conditional =
                    r.field("if-none-match").is_some() || r.field("if-modified-since").is_some();
                match r.nth {
                    1 => stored(old("old")),
                    _ if is_conditional => told(page("").status(304).fresh(600)),
                    _ => told(page("new").fresh(600)),
                }
            });
            scene.get("/");
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (200, "new"), "{n}");
            assert!(scene.get("/").is_hit(), "{n}");
            assert_eq!(scene.shop.count("/"), 3, "{n}");
        }
    }
}

/// RFC 9111 §3.2, §4.1: a 304 that names fields by which pages are told apart from now on. What it
/// confirms was for those without such a field.
#[test]
fn a_304_that_varies() {
    let bengali = [("accept-language", "bn")];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let language = r.field("accept-language").unwrap_or("none");
            let answer = match r.nth {
                1 => old(language),
                _ => page(language).fresh(600).field("Vary", "Accept-Language"),
            };
            let confirmed = r.field("if-none-match").is_some() && language == "none";
            let answer = answer.field("ETag", format!("\"{language}\""));
            if confirmed {
                answer.status(304)
            } else {
                answer
            }
        });
        scene.get("/");
        assert_eq!(scene.get("/").text(), "none");
        for _ in 0..2 {
            assert_eq!(scene.ask("GET", "/", &bengali).text(), "bn");
            assert_eq!(scene.get("/").text(), "none");
        }
        assert!(scene.ask("GET", "/", &bengali).is_hit() && scene.get("/").is_hit());

        // The same where it is told to one who has the field.
        scene.get("/other");
        assert_eq!(scene.ask("GET", "/other", &bengali).text(), "bn");
        assert_eq!(scene.get("/other").text(), "none");
    }
}

/// RFC 9111 §4.3.3: anything but a 304 or a failure replaces what is stored.
#[test]
fn other_answers_replace() {
    for protocol in BOTH {
        for (status, stored) in [(200, true), (404, true), (410, true), (400, false)] {
            let mut scene = Scene::new(protocol, "stale_if_error = \"1h\"", move |r| match r.nth {
                1 => old("old").field("ETag", "\"v\""),
                _ => page(format!("new {}", r.nth)).status(status).fresh(600),
            });
            scene.get("/");
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text()), (status, "new 2".into()));
            let next = scene.get("/");
            assert_eq!((next.status, next.is_hit()), (status, stored));
        }
    }
}

/// RFC 9111 §4, RFC 9110 §9.3.2: HEAD is answered from what a GET has brought, and is itself reason
/// enough to fetch it.
#[test]
fn head_fills_by_get() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| match r.target.as_str() {
            "/chunked" => page("0123456789").fresh(600).chunked(),
            "/own" => page("0123456789").field("Cache-Control", "no-store"),
            _ => page("0123456789").fresh(600).field("X-Own", "1"),
        });
        let miss = scene.ask("HEAD", "/", &[]);
        assert_eq!(miss.cache(), "dhal; fwd=uri-miss; stored");
        let hit = scene.ask("HEAD", "/", &[]);
        assert!(hit.is_hit());
        for answer in [miss, hit] {
            assert_eq!((answer.status, answer.body.len()), (200, 0));
            assert_eq!(answer.field("content-length"), Some("10"));
            assert_eq!(answer.field("x-own"), Some("1"));
        }
        assert_eq!(scene.get("/").text(), "0123456789");
        assert_eq!(scene.shop.count("/"), 1);
        assert_eq!(scene.shop.last().method, "GET");

        assert!(scene.ask("HEAD", "/chunked", &[]).body.is_empty());
        let whole = scene.get("/chunked");
        assert_eq!(whole.text(), "0123456789");
        assert_eq!(scene.shop.count("/chunked"), 1);
        // What is not for all is asked for as the visitor did.
        for _ in 0..2 {
            let own = scene.ask("HEAD", "/own", &[]);
            assert_eq!((own.status, own.body.len()), (200, 0));
            assert_eq!(own.field("content-length"), Some("10"));
        }
        assert_eq!(scene.shop.last().method, "HEAD");
    }
}

const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n";

/// RFC 9110 §15.2: interim answers reach HTTP/1.1 visitors at once, on routes with a cache and without.
#[test]
fn interim_answers_pass() {
    for (cache, control) in [
        (true, "max-age=60"),
        (true, "no-store"),
        (false, "max-age=60"),
    ] {
        let gate = Gate::default();
        let closed = gate.clone();
        let shop = crate::origin::Origin::start(move |_| {
            raw(INTERIM).then(
                &closed,
                format!("{FINAL}Cache-Control: {control}\r\n\r\nok"),
            )
        });
        let mut config = smallest(&shop);
        if !cache {
            config = config.replace("cache = \"default\"", "");
        }
        let edge = Edge::start(&config);
        let mut conn = edge.connect();
        conn.request("GET", "/", &[]);
        let mut told = Vec::new();
        while told.len() < 3 {
            let (status, fields) = conn.head().expect("an interim answer");
            assert!(
                !fields
                    .iter()
                    .any(|(n, _)| n == "x-hop" || n == "content-length")
            );
            let link = fields.into_iter().find(|(n, _)| n == "link");
            told.push((status, link.map(|(_, value)| value)));
        }
        let link = |name| Some(format!("</{name}.css>; rel=preload"));
        assert_eq!(told, [(100, None), (103, link("a")), (103, link("b"))]);
        gate.open();
        let answer = conn.response("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.count("link"), 0);
        if cache && control == "max-age=60" {
            let mut conn = edge.connect();
            conn.request("GET", "/", &[]);
            assert_eq!(conn.head().expect("an answer").0, 200, "none on a hit");
        }
        // HTTP/1.0 knows none.
        let mut old = Conn::open(edge.site.http);
        old.send("GET /old HTTP/1.0\r\nHost: shop.example\r\n\r\n");
        assert_eq!(old.head().expect("an answer").0, 200);
    }
}

/// Nor do they hurt those to whom they are not passed.
#[test]
fn interim_answers_and_http2() {
    let mut scene = Scene::new(Protocol::H2, "", |r| {
        let control = r.target[1..].to_owned();
        raw(format!(
            "{INTERIM}{FINAL}Cache-Control: {control}\r\n\r\nok"
        ))
    });
    for path in ["/max-age=60", "/no-store"] {
        for _ in 0..2 {
            let answer = scene.get(path);
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            assert_eq!(answer.count("link"), 0);
        }
    }
    assert!(scene.get("/max-age=60").is_hit());
}
