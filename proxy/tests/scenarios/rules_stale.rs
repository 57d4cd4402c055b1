//! Stale answers: while they are fetched anew, and when the shop fails (RFC 5861).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use crate::{
    origin::{Answer, Origin, page, raw},
    rules::{BOTH, Scene, Visitor, configured},
    tools::{Gate, eventually, free_address},
};

const WHILE_REVALIDATE: &str = "dhal; hit; detail=stale-while-revalidate";
const IF_ERROR: &str = "dhal; hit; detail=stale-if-error";

/// A page that is stale for ten seconds when it comes, with these directives.
fn stale(body: &str, directives: &str) -> Answer {
    page(body)
        .field("Cache-Control", format!("max-age=10{directives}"))
        .field("Age", "20")
        .field("ETag", "\"v\"")
}

/// RFC 5861 §3: many ask, nobody waits, and each page is fetched once.
#[test]
fn one_refresh_for_each_page_while_many_ask() {
    const PAGES: [&str; 4] = ["/a", "/b", "/a?x", "/c"];
    for protocol in BOTH {
        let gate = Gate::default();
        let closed = gate.clone();
        let mut scene = Scene::new(protocol, "", move |r| {
            if r.field("if-none-match").is_none() {
                return stale("old", ", stale-while-revalidate=600");
            }
            page("new").fresh(600).when(&closed)
        });
        for page in PAGES {
            assert_eq!(scene.get(page).text(), "old");
        }
        thread::scope(|scope| {
            for _ in 0..8 {
                let mut visitor = scene.another();
                scope.spawn(move || {
                    for path in PAGES.iter().cycle().take(40) {
                        let answer = visitor.get(path);
                        assert_eq!(answer.text(), "old");
                        assert_eq!(answer.cache(), WHILE_REVALIDATE);
                        assert!(answer.ttl() <= Some(-10), "{:?}", answer.ttl());
                    }
                });
            }
        });
        eventually("all are fetched anew", || scene.shop.seen().len() == 8);
        gate.open();
        for page in PAGES {
            eventually("the new one is stored", || scene.get(page).text() == "new");
            assert!(scene.get(page).is_hit());
        }
        assert_eq!(scene.shop.seen().len(), 8);
    }
}

/// RFC 5861 §3: without a window, or beyond it, everyone waits for the shop.
#[test]
fn beyond_the_window_nothing_stale_answers() {
    for protocol in BOTH {
        for directives in [
            "",
            ", stale-while-revalidate=5",
            ", stale-while-revalidate=x",
        ] {
            let mut scene = Scene::new(protocol, "", move |r| match r.field("if-none-match") {
                Some(_) => page("new").fresh(600),
                None => stale("old", directives),
            });
            scene.get("/");
            let answer = scene.get("/");
            assert_eq!(answer.text(), "new", "{directives}");
            assert_eq!(answer.cache(), "dhal; fwd=stale; stored");
        }
    }
}

/// RFC 5861 §4: 500, 502, 503 and 504 are errors; other statuses are answers.
#[test]
fn statuses_of_a_failing_shop() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let status = r.target[1..].parse().expect("a status");
            match r.nth {
                1 => stale("good", ", stale-if-error=600"),
                _ => page("bad").status(status),
            }
        });
        for status in [500, 502, 503, 504] {
            let path = format!("/{status}");
            scene.get(&path);
            for _ in 0..3 {
                let answer = scene.get(&path);
                assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
                assert_eq!(answer.cache(), IF_ERROR, "{status}");
                assert!(answer.ttl() <= Some(-10), "{:?}", answer.ttl());
            }
            assert!(scene.shop.count(&path) >= 2, "it was tried");
        }
        for status in [404, 403, 501, 429] {
            let path = format!("/{status}");
            scene.get(&path);
            assert_eq!(scene.get(&path).status, status);
        }
    }
}

/// RFC 5861 §4: so is a shop that is too slow, breaks off, or talks nonsense.
#[test]
fn a_shop_that_does_not_answer() {
    for protocol in BOTH {
        let shop = Origin::start(|r| match (r.nth, r.target.as_str()) {
            (1, _) => stale("good", ", stale-if-error=600"),
            (_, "/slow") => page("late").after(Duration::from_secs(3)),
            (_, "/closed") => raw(""),
            (_, "/in-head") => raw("HTTP/1.1 200 OK\r\nContent-Le"),
            (_, "/ambiguous") => {
                raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
            }
            _ => raw("nonsense\r\n\r\n"),
        });
        let config = configured(&shop, "").replace(
            "retry =",
            "timeouts = { response = \"300ms\" }\n        retry =",
        );
        let mut scene = Scene::at(protocol, shop, &config);
        for path in ["/slow", "/closed", "/in-head", "/ambiguous", "/nonsense"] {
            scene.get(path);
            let answer = scene.get(path);
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
            assert_eq!(answer.cache(), IF_ERROR, "{path}");
        }
    }
}

/// RFC 5861 §4: a connection that is refused.
#[test]
fn a_shop_that_is_gone() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |_| stale("good", ", stale-if-error=600"));
        scene.get("/");
        scene.shop.stop();
        for _ in 0..2 {
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
            assert_eq!(answer.cache(), IF_ERROR);
        }
        assert_eq!(scene.get("/other").status, 502);
        scene.shop.restart();
        eventually("the shop is asked again", || {
            !scene.get("/").cache().contains("detail")
        });
    }
}

/// A shop whose first answer is good; every further request gets its connection reset.
fn resetting() -> SocketAddr {
    let listener = TcpListener::bind(free_address()).expect("the address is free");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut answered = false;
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            if !std::mem::replace(&mut answered, true) {
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nAge: 20\r\nContent-Length: 4\r\n\
                      Cache-Control: max-age=10, stale-if-error=600\r\n\r\ngood",
                );
            } else {
                let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                linger.expect("an option");
            }
        }
    });
    address
}

/// RFC 5861 §4: a connection that is reset.
#[test]
fn a_shop_that_resets_its_connections() {
    for protocol in BOTH {
        let other = Origin::start(|_| page(""));
        let config = configured(&other, "").replace(&other.to_string(), &resetting().to_string());
        let mut scene = Scene::at(protocol, other, &config);
        assert_eq!(scene.get("/").text(), "good");
        let answer = scene.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
        assert_eq!(answer.cache(), IF_ERROR);
        assert_eq!(scene.get("/other").status, 502);
    }
}

/// Beyond its window a stale answer is none, and the failure is told.
#[test]
fn beyond_the_window_failures_are_told() {
    for protocol in BOTH {
        for directives in ["", ", stale-if-error=5", ", stale-if-error"] {
            let mut scene = Scene::new(protocol, "", move |r| match r.nth {
                1 => stale("good", directives),
                _ => page("bad").status(503),
            });
            scene.get("/");
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (503, "bad"));
            scene.shop.stop();
            assert_eq!(scene.get("/").status, 502, "{directives}");
        }
    }
}

/// The wider of the policy's and the shop's windows counts.
#[test]
fn a_policy_widens_the_windows() {
    for protocol in BOTH {
        for (policy, directives, cache) in [
            ("stale_if_error = \"1h\"", "", IF_ERROR),
            ("stale_if_error = \"1h\"", ", stale-if-error=5", IF_ERROR),
            ("stale_if_error = \"1s\"", ", stale-if-error=600", IF_ERROR),
            ("stale_while_revalidate = \"1h\"", "", WHILE_REVALIDATE),
            (
                "stale_while_revalidate = \"1h\"",
                ", stale-while-revalidate=1",
                WHILE_REVALIDATE,
            ),
            (
                "stale_while_revalidate = \"1s\"",
                ", stale-while-revalidate=600",
                WHILE_REVALIDATE,
            ),
        ] {
            let mut scene = Scene::new(protocol, policy, move |r| match r.nth {
                1 => stale("good", directives),
                _ => page("bad").status(503),
            });
            scene.get("/");
            let answer = scene.get("/");
            assert_eq!(answer.text(), "good", "{policy} {directives}");
            assert_eq!(answer.cache(), cache, "{policy} {directives}");
        }
    }
}

/// RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.8, §5.2.2.10: the shop's prohibition goes before its own permission
/// and before the policy.
#[test]
fn what_must_be_validated_never_answers_stale() {
    let policy = "stale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
    for protocol in BOTH {
        for directive in [
            "must-revalidate",
            "proxy-revalidate",
            "s-maxage=10",
            "no-cache",
        ] {
            let mut scene = Scene::new(protocol, policy, move |r| match r.nth {
                1 => stale(
                    "good",
                    &format!(", {directive}, stale-if-error=600, stale-while-revalidate=600"),
                ),
                2 => page("bad").status(503),
                _ => stale("", "").without("Cache-Control").status(304),
            });
            assert_eq!(scene.get("/").cache(), "dhal; fwd=uri-miss; stored");
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (503, "bad"));
            let answer = scene.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
            assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
            scene.shop.stop();
            assert_eq!(scene.get("/").status, 502, "{directive}");
        }
        // RFC 8246: `immutable` promises that it stays while it is fresh, and nothing beyond.
        let mut scene = Scene::new(protocol, "", |r| match r.nth {
            1 => stale("good", ", immutable"),
            _ => page("new").fresh(60),
        });
        scene.get("/");
        assert_eq!(scene.get("/").text(), "new");
    }
}

/// A refresh that fails takes nothing away, and is begun by visitors of either protocol.
#[test]
fn a_refresh_that_fails() {
    for [one, other] in [BOTH, [BOTH[1], BOTH[0]]] {
        let mut scene = Scene::new(one, "", |r| match r.nth {
            1 => stale("old", ", stale-while-revalidate=600, stale-if-error=600"),
            2 => page("bad").status(500),
            _ => page("new").fresh(60),
        });
        scene.get("/");
        let mut other = Visitor::new(&scene.edge, other);
        eventually("the new one is stored", || {
            let answer = other.get("/");
            assert!(answer.status == 200 && answer.text() != "bad", "{answer:?}");
            answer.text() == "new"
        });
        assert_eq!(scene.shop.count("/"), 3);
    }
}
