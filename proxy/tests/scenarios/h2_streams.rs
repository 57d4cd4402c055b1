//! The door for HTTP/2: what goes up and down a stream, and how streams and connections end.

use std::{io::Write, thread, time::Duration};

use crate::{
    edge::Edge,
    h2::{End, Frames, H2},
    origin::{Origin, page, raw},
    relaying::{own_shop, read_head},
    serving::plain,
    tools::{Gate, eventually},
};

const NO_ERROR: u32 = 0;
const LARGE: usize = 8 * 1024 * 1024;

fn asking<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ]
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n / 7) as u8).collect()
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let shop = Origin::start(|r| match r.target.as_str() {
        "/stored" => page(large()).fresh(600),
        "/chunked" => page(large()).chunked(),
        _ => page(large()),
    });
    let edge = Edge::start_tls(&(plain(&shop) + "[cache]\nmax_object = \"16MiB\"\n"));
    let wanted = large();
    for path in ["/stored", "/stored", "/streamed", "/chunked"] {
        for (window, step) in [(10_000, 10_000), (65_535, 30_001), (1, 50_000)] {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(window);
            frames.headers(1, &asking("GET", path), true);
            if window < step {
                frames.more(1, step);
            }
            let answer = frames.answer_in_steps(1, Some(step.min(window).max(5_000)));
            assert_eq!(answer.end, End::Stream, "{path} {window}");
            assert!(answer.content == wanted, "{path} {window}");
        }
    }
    assert_eq!(shop.count("/stored"), 1);
}

#[test]
fn interim_answers_reach_the_client() {
    let shop = Origin::start(|r| {
        let stored = if r.target == "/stored" {
            "max-age=60"
        } else {
            "no-store"
        };
        raw(format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
             HTTP/1.1 200 OK\r\nCache-Control: {stored}\r\nContent-Length: 2\r\n\r\nok"
        ))
    });
    let edge = Edge::start_tls(&plain(&shop));
    for (method, path, statuses) in [
        ("GET", "/stored", &[103, 200][..]),
        ("GET", "/stored", &[200]),
        ("GET", "/own", &[103, 200]),
        ("GET", "/own", &[103, 200]),
        ("POST", "/own", &[103, 200]),
    ] {
        let mut frames = Frames::connect(edge.site.https);
        frames.headers(1, &asking(method, path), true);
        let answer = frames.answer(1);
        assert_eq!(answer.statuses, statuses, "{method} {path}");
        assert_eq!((answer.end, &answer.content[..]), (End::Stream, &b"ok"[..]));
    }
}

/// Some clients take a reset behind the answer for the loss of it, so that none comes if they just finish.
#[test]
fn who_finishes_after_an_early_answer_is_not_reset() {
    let shop = Origin::start(|_| page("page"));
    let nobody = "[[routes]]\npath = \"/down\"\nupstream = \"down\"\n[upstreams.down]\n\
                  servers = [\"127.0.0.1:1\"]\nretry = { wait = \"0s\" }\n[[routes]]";
    let config = plain(&shop).replacen("[[routes]]", nobody, 1);
    let edge = Edge::start_tls(&config);
    for (path, method, statuses) in [("/", "TRACE", [405; 2]), ("/down", "POST", [502, 503])] {
        let mut frames = Frames::connect(edge.site.https);
        for (nth, status) in statuses.into_iter().enumerate() {
            let stream = 1 + 4 * nth as u32;
            frames.headers(stream, &asking(method, path), false);
            let answer = frames.answer(stream);
            assert_eq!(
                (&answer.statuses[..], answer.end),
                (&[status][..], End::Stream)
            );
            frames.frame(0, 0, stream, b"a=b");
            frames.frame(0, 1, stream, b"");
            frames.headers(stream + 2, &asking("GET", "/"), true);
            // What comes next is of the next stream, and nothing of this one.
            let (_, _, next, _) = std::iter::from_fn(|| frames.next())
                .find(|(kind, ..)| matches!(kind, 1 | 3))
                .expect("a frame");
            assert_eq!(next, stream + 2);
            assert_eq!(frames.answer(stream + 2).content, b"page");
        }
    }
}

#[test]
fn answers_that_come_before_the_request_is_complete() {
    let shop = Origin::start(|r| match r.target.as_str() {
        "/nothing" => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => page("page"),
    });
    let config = plain(&shop).replace(
        "[[routes]]",
        "[[routes]]\nhost = \"shop.example\"\nmax_body = \"10B\"",
    );
    let edge = Edge::start_tls(&config);
    let mut nowhere = asking("POST", "/");
    nowhere[2].1 = "nowhere.example";
    let mut long = asking("POST", "/");
    long.push(("content-length", "11"));
    let counted = asking("POST", "/");
    let traced = asking("TRACE", "/");
    let rows = [
        ("no route", &nowhere, 0, 404),
        ("declared too long", &long, 0, 413),
        ("counted too long", &counted, 11, 413),
        ("a method", &traced, 0, 405),
    ];
    for (what, fields, content, status) in rows {
        for window in [65_535, 0] {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(window);
            frames.headers(1, fields, false);
            if content > 0 {
                frames.frame(0, 0, 1, &vec![b'x'; content]);
            }
            if window == 0 {
                frames.more(1, 65_535);
            }
            let answer = frames.answer(1);
            assert_eq!(
                (&answer.statuses[..], answer.end),
                (&[status][..], End::Stream),
                "{what}"
            );
            assert!(!answer.content.is_empty(), "{what}");
            // The rest of the request is not wanted (RFC 9113 §8.1).
            let rest = frames.answer(1);
            assert_eq!(rest.end, End::Reset(NO_ERROR), "{what}");
            // What was on its way harms nobody.
            frames.frame(0, 0, 1, b"on its way");
            frames.frame(0, 1, 1, b"");
            frames.headers(3, &asking("GET", "/"), true);
            frames.more(3, 65_535);
            assert_eq!(frames.answer(3).content, b"page", "{what}");
        }
    }
    assert!(shop.seen().iter().all(|r| r.method == "GET"));
}

#[test]
fn uploads_larger_than_the_windows_flow() {
    const EACH: usize = 1024 * 1024;
    let shop = Origin::start(|r| {
        let content = r.body.iter().filter(|b| **b == b'u').count();
        page(content.to_string())
    });
    let edge =
        Edge::start_tls(&plain(&shop).replace("[[routes]]", "[[routes]]\nmax_body = \"64MiB\""));
    let piece: &'static str = "u".repeat(EACH).leak();
    let mut h2 = H2::connect(edge.site.https);
    let length = (6 * EACH).to_string();
    for fields in [&[][..], &[("content-length", length.as_str())]] {
        let answer = h2.ask("POST", "/", fields, Some(&[piece; 6]));
        assert_eq!(answer.expect("an answer").text(), length);
    }
    // The connection's window is what nobody reads; it opens again when the stream is gone.
    let mut frames = Frames::connect(edge.site.https);
    for nth in 0..20 {
        let stream = 2 * nth + 1;
        frames.headers(stream, &asking("POST", "/"), false);
        for _ in 0..4 {
            frames.frame(0, 0, stream, &[b'u'; 16_000]);
        }
        frames.frame(3, 0, stream, &8u32.to_be_bytes());
    }
    frames.headers(101, &asking("POST", "/"), false);
    for _ in 0..4 {
        frames.frame(0, 0, 101, &[b'u'; 16_000]);
    }
    frames.frame(0, 1, 101, b"");
    assert_eq!(frames.answer(101).content, b"64000");
}

#[test]
fn requests_reach_the_shop_as_one_message() {
    let shop = Origin::start(|r| page(String::from_utf8_lossy(&r.body).into_owned()));
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    let mut fields = asking("POST", "/");
    for cookie in ["a=b", "c=d", "e=f"] {
        fields.push(("cookie", cookie));
    }
    fields.push(("trailer", "x-sum"));
    frames.headers(1, &fields, false);
    frames.frame(0, 0, 1, b"abc");
    frames.frame(0, 0, 1, b"de");
    // Trailers: they end the content, and end here.
    frames.headers(1, &[("x-sum", "5")], true);
    let answer = frames.answer(1);
    assert_eq!(
        (&answer.statuses[..], answer.end),
        (&[200][..], End::Stream)
    );
    let seen = shop.last();
    assert_eq!(seen.fields("cookie"), ["a=b; c=d; e=f"]);
    assert_eq!(seen.fields("transfer-encoding"), ["chunked"]);
    assert_eq!(
        (seen.field("x-sum"), seen.field("content-length")),
        (None, None)
    );
    assert!(seen.body.ends_with(b"\r\n0\r\n\r\n"), "{:?}", seen.body);
    // Trailers that are short of the length that was told, and a head in the place of trailers.
    for (length, end) in [("9", true), ("3", false)] {
        let mut frames = Frames::connect(edge.site.https);
        let mut fields = asking("POST", "/short");
        fields.push(("content-length", length));
        frames.headers(1, &fields, false);
        frames.frame(0, 0, 1, b"abc");
        frames.headers(1, &[("x-sum", "5")], end);
        assert!(matches!(frames.answer(1).end, End::Reset(1)), "{length}");
    }
    assert_eq!(shop.count("/short"), 0);
}

#[test]
fn who_leaves_is_not_waited_for() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").fresh(60).when(&closed));
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    // Fetched for all; for one alone; for one alone who is still sending.
    frames.headers(1, &asking("GET", "/"), true);
    frames.headers(3, &asking("POST", "/own"), true);
    frames.headers(5, &asking("POST", "/own"), false);
    frames.frame(0, 0, 5, b"a part");
    eventually("the shop is asked", || {
        shop.bytes() > 0 && shop.count("/own") == 1
    });
    for stream in [1, 3, 5] {
        frames.frame(3, 0, stream, &8u32.to_be_bytes());
    }
    eventually("all are told of", || edge.log().len() == 3);
    for line in edge.log() {
        assert_eq!(line["status"], 499, "{line}");
    }
    // Another who leaves with its whole connection.
    let mut gone = Frames::connect(edge.site.https);
    gone.headers(1, &asking("POST", "/own"), true);
    eventually("the shop is asked", || shop.count("/own") == 2);
    drop(gone);
    eventually("it is told of", || edge.log().len() == 4);
    // The fetch for all goes on.
    gate.open();
    let mut h2 = H2::connect(edge.site.https);
    eventually("it is stored", || h2.get("/").is_hit());
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/length" => raw(format!("{head}Content-Length: 9\r\n\r\nabc")),
        "/large" => {
            let mut bytes = format!("{head}Content-Length: 900000\r\n\r\n").into_bytes();
            bytes.resize(500_000, b'x');
            raw(bytes)
        }
        _ => raw(format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )),
    });
    let edge = Edge::start_tls(&plain(&shop));
    for method in ["GET", "POST"] {
        for path in ["/length", "/large", "/chunked"] {
            let mut frames = Frames::connect(edge.site.https);
            frames.headers(1, &asking(method, path), true);
            let answer = frames.answer_in_steps(1, Some(30_000));
            let is_told = matches!(answer.end, End::Reset(code) if code != NO_ERROR && code != 8);
            let is_failure = answer.statuses == [502] && answer.end == End::Stream;
            assert!(
                is_told || is_failure,
                "{method} {path}: {:?} {:?}",
                answer.statuses,
                answer.end
            );
            frames.headers(3, &asking("GET", "/\\"), true);
            assert_eq!(frames.answer(3).statuses, [400], "the connection lives on");
        }
    }
}

#[test]
fn a_connection_is_idle_after_whatever_it_asked_for() {
    const IDLE: Duration = Duration::from_secs(2);
    let shop = Origin::start(|r| match r.target.as_str() {
        // Longer than a connection may be idle.
        "/own" => page("own").after(2 * IDLE),
        "/miss" => page("miss").fresh(60).after(2 * IDLE),
        _ => page("page").fresh(60),
    });
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nkeepalive_timeout = \"2s\"\n"));
    H2::connect(edge.site.https).get("/hit");
    let https = edge.site.https;
    thread::scope(|scope| {
        for (method, path) in [
            ("GET", "/hit"),
            ("GET", "/miss"),
            ("GET", "/own"),
            ("POST", "/own"),
        ] {
            scope.spawn(move || {
                let mut frames = Frames::connect(https);
                frames.headers(1, &asking(method, path), true);
                assert_eq!(frames.answer(1).end, End::Stream);
                assert_eq!(frames.error(), Some(NO_ERROR), "{method} {path}");
                while frames.next().is_some() {}
            });
        }
    });
    eventually("nothing stays open", || {
        edge.metric("dhal_connections") == Some(0.0)
    });
}

#[test]
fn streams_share_a_connection() {
    const STREAMS: usize = 8;
    const READ: usize = 24 * 1024 * 1024;
    static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let shop = own_shop(|stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        if read_head(&stream).is_some() && (&stream).write_all(head.as_bytes()).is_ok() {
            while (&stream).write_all(&PIECE).is_ok() {}
        }
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    frames.window(0x7fff_ffff);
    frames.more(0, 0x7fff_0000);
    for nth in 0..STREAMS as u32 {
        frames.headers(2 * nth + 1, &asking("POST", "/"), true);
    }
    // From the time on that all are under way.
    let (mut of_each, mut began) = ([0; STREAMS], 0);
    while of_each.iter().sum::<usize>() < READ {
        let (kind, _, stream, payload) = frames.next().expect("more content");
        began += usize::from(kind == 1);
        if kind == 0 && began == STREAMS {
            of_each[stream as usize / 2] += payload.len();
        }
    }
    let least = of_each.iter().min().expect("streams");
    assert!(*least > READ / STREAMS / 4, "{of_each:?}");
}
