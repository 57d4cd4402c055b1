//! Servers that speak HTTP/2 and leave, refuse, break off or fall silent.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use h2::Reason;

use crate::{
    edge::{Edge, Site},
    h2::{End, Frames},
    h2_shop::{H2Shop, by_hand},
    h2_upstream::{POST, config, shop},
    origin::{Origin, page},
    secure::Authority,
    tools::{eventually, free_address},
};

#[test]
fn servers_that_leave_in_peace_lose_nothing() {
    let shop = H2Shop::start(|mut asked| async move {
        let content = asked.content().await.unwrap_or_default();
        asked.page(content).await;
    });
    let edge = Edge::start(&config(&shop, ""));
    let running = Arc::new(AtomicUsize::new(1));
    let visitors: Vec<_> = (0..4)
        .map(|n| {
            let running = Arc::clone(&running);
            let mut conn = edge.connect();
            thread::spawn(move || {
                let mut served = 0;
                while running.load(Ordering::SeqCst) == 1 {
                    let method = if n % 2 == 0 { "GET" } else { "POST" };
                    let body = if n % 2 == 0 { "" } else { "content" };
                    conn.send(format!(
                        "{method} / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ));
                    let answer = conn.response(method);
                    assert_eq!((answer.status, answer.text().as_str()), (200, body));
                    served += 1;
                }
                served
            })
        })
        .collect();
    for n in 1..=10 {
        let before = shop.count("/");
        eventually("the load goes on", || shop.count("/") > before + 20);
        let connections = shop.connections();
        shop.leave();
        eventually("another connection is made", || {
            shop.connections() > connections
        });
        assert!(n > 0);
    }
    running.store(0, Ordering::SeqCst);
    for visitor in visitors {
        assert!(visitor.join().expect("no failed request") > 10);
    }
}

/// Turns the first connections away in some manner, and answers on later ones.
fn turning_away(
    turn: impl Fn(&mut crate::h2_shop::Wire, u32) + Send + Sync + 'static,
) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let address = by_hand(move |mut wire, _| {
        while let Some(stream) = wire.request() {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                turn(&mut wire, stream);
            } else {
                wire.head(stream, &[("content-length", "2")], false);
                wire.data(stream, b"ok", true);
            }
        }
    });
    (address, asked)
}

#[test]
fn what_a_server_has_not_looked_at_is_asked_again() {
    // A POST, which could not be repeated if anyone had seen it.
    let leaving = turning_away(|wire, _| {
        wire.goaway(0);
        wire.linger();
    });
    let refusing = turning_away(|wire, stream| wire.reset(stream, Reason::REFUSED_STREAM));
    for (address, asked) in [leaving, refusing] {
        let edge = Edge::start(&config(&address, ""));
        let mut conn = edge.connect();
        conn.send(POST);
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        eventually("it is in the log", || edge.log().len() == 1);
        assert_eq!(edge.log()[0]["attempts"], 2);
    }
}

#[test]
fn a_reset_before_the_answer() {
    for (method, statuses, asked) in [("GET", 200, 2), ("POST", 502, 1)] {
        let (address, count) =
            turning_away(|wire, stream| wire.reset(stream, Reason::INTERNAL_ERROR));
        let edge = Edge::start(&config(&address, ""));
        let mut conn = edge.connect();
        conn.send(POST.replace("POST", method));
        assert_eq!(conn.response(method).status, statuses, "{method}");
        assert_eq!(count.load(Ordering::SeqCst), asked, "{method}");
    }
}

#[test]
fn a_reset_on_a_connection_that_was_used_is_a_failure() {
    let shop = by_hand(|mut wire, _| {
        let mut n = 0;
        while let Some(stream) = wire.request() {
            n += 1;
            match n {
                2 => wire.reset(stream, Reason::INTERNAL_ERROR),
                _ => wire.head(stream, &[("content-length", "0")], true),
            }
        }
    });
    let edge = Edge::start(&config(&shop, "retry = { attempts = 0 }"));
    let statuses = [(); 3].map(|()| edge.get("/own").status);
    assert_eq!(statuses, [200, 502, 200]);
}

#[test]
fn answers_that_break_off_never_look_whole() {
    type Break = fn(&mut crate::h2_shop::Wire, u32);
    let breaks: [(&str, Break); 7] = [
        ("reset", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::INTERNAL_ERROR);
        }),
        ("reset without an error", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::NO_ERROR);
        }),
        ("reset of a known length", |wire, stream| {
            wire.head(stream, &[("content-length", "20")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::CANCEL);
        }),
        ("too little", |wire, stream| {
            let fields = [("content-length", "20"), ("cache-control", "max-age=60")];
            wire.head(stream, &fields, false);
            wire.data(stream, b"the beginning", true);
        }),
        ("too much", |wire, stream| {
            let fields = [("content-length", "5"), ("cache-control", "max-age=60")];
            wire.head(stream, &fields, false);
            wire.data(stream, b"the beginning", true);
        }),
        ("goaway and the end", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.goaway(stream);
        }),
        ("no end", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
        }),
    ];
    for (what, broken) in breaks {
        let address = by_hand(move |mut wire, _| {
            while let Some(stream) = wire.request() {
                broken(&mut wire, stream);
                if what == "no end" || what == "goaway and the end" {
                    return;
                }
            }
        });
        let edge = Edge::start_tls(&config(&address, "eject = { max_percent = 0 }"));
        for path in ["/own", "/stored/page"] {
            let mut conn = edge.connect();
            conn.request("GET", path, &[]);
            let answer = conn.try_response("GET");
            let whole = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            assert!(!whole, "{what}: {path}: {answer:?}");
            let mut frames = Frames::connect(edge.site.https);
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "shop.example"),
                (":path", path),
            ];
            frames.headers(1, &fields, true);
            let answer = frames.answer(1);
            let whole = answer.end == End::Stream && answer.statuses == [200];
            assert!(!whole, "{what}: {path}: {answer:?}");
        }
    }
}

#[test]
fn servers_that_do_not_speak_it() {
    let authority = Authority::new("ours");
    let identity = authority.server(&["inner.example"]);
    let old = Origin::start(|_| page("page"));
    let settings = r#"tls = { ca = "@dir/ca.pem", name = "inner.example" }"#;
    for alpn in [&["http/1.1"][..], &[]] {
        let front = crate::secure::Front::start(identity.config(alpn, None), old.address);
        let site = Site::new(&config(&front, settings));
        authority.write(&site.path("ca.pem"));
        let edge = Edge::start_at(site);
        assert_eq!(edge.get("/own").status, 502, "{alpn:?}");
        edge.says("ALPN");
    }
    assert!(old.seen().is_empty());
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let edge = Edge::start(&config(&address, ""));
    assert_eq!(edge.get("/own").status, 502);
    edge.says("before the server spoke HTTP/2");
}

#[test]
fn connections_that_have_ended_are_not_used() {
    let shop = H2Shop::start(shop);
    let address = shop.address;
    let edge = Edge::start(&config(&shop, ""));
    assert_eq!(edge.get("/one").status, 200);
    assert_eq!(edge.get("/two").status, 200);
    assert_eq!(shop.connections(), 1);
    shop.leave();
    eventually("another connection is made", || {
        assert_eq!(edge.get("/more").status, 200);
        shop.connections() > 1
    });
    drop(shop);
    assert!(matches!(edge.get("/gone").status, 502..=504), "{address}");
}

#[test]
fn an_answer_that_is_complete_survives_a_reset_behind_it() {
    let shop = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            let mut bytes = crate::h2::frame(1, 4, stream, b"\x88");
            bytes.extend(crate::h2::frame(0, 1, stream, b"enough"));
            bytes.extend(crate::h2::frame(3, 0, stream, &[0; 4]));
            wire.send(&bytes);
        }
    });
    let edge = Edge::start(&config(&shop, ""));
    for _ in 0..20 {
        let mut conn = edge.connect();
        conn.send(
            "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5000000\r\n\r\nthe beginning",
        );
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "enough"));
    }
}

#[test]
fn a_server_that_falls_silent_is_not_asked_on_the_same_connection() {
    let shop = by_hand(|mut wire, n| {
        while let Some(stream) = wire.request() {
            if n > 1 {
                wire.head(stream, &[("content-length", "2")], false);
                wire.data(stream, b"ok", true);
            }
        }
    });
    let more = "timeouts = { response = \"2s\" }\nretry = { attempts = 0 }";
    let edge = Edge::start(&config(&shop, more));
    assert_eq!(edge.get("/one").status, 504);
    assert_eq!(edge.get("/two").text(), "ok");
}
