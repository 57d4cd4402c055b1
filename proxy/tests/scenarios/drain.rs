//! The end of the process: nobody who is being served is cut off.

use std::{net::TcpStream, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::Edge,
    h2::{H2, exchange, request},
    origin::{Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

#[test]
fn requests_under_way_complete() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("complete").when(&closed),
        _ => page("ok").fresh(60),
    });
    let mut edge = Edge::start(&smallest(&shop));
    let mut idle = edge.connect();
    assert_eq!(idle.get("/").status, 200);
    let mut untouched = edge.connect();
    let mut slow = edge.connect();
    slow.request("GET", "/slow", &[]);
    eventually("it is under way", || shop.count("/slow") == 1);
    assert_eq!(edge.admin("GET", "/readyz").0, 200);

    edge.signal(Signal::SIGTERM);
    eventually("it is not ready", || edge.admin("GET", "/readyz").0 == 503);
    assert_eq!(edge.admin("GET", "/healthz").0, 200);
    eventually("nobody listens", || {
        TcpStream::connect(edge.site.http).is_err()
    });
    idle.ends();
    untouched.ends();
    assert!(
        slow.is_quiet(Duration::from_millis(100)),
        "the slow one waits on"
    );
    gate.open();
    let answer = slow.response("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "complete"));
    slow.ends();
    assert!(edge.wait().success());
    assert!(!edge.stderr().contains("grace is over"));
}

#[test]
fn the_grace_has_an_end() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("never").when(&closed));
    let mut edge = Edge::start(&(smallest(&shop) + "[server]\nshutdown_grace = \"300ms\"\n"));
    let mut slow = edge.connect();
    slow.request("GET", "/", &[]);
    eventually("it is under way", || shop.seen().len() == 1);
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    assert!(slow.try_response("GET").is_err());
    assert!(edge.stderr().contains("grace is over"));
    gate.open();
}

#[test]
fn streams_under_way_complete() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/" => page("complete").when(&closed),
        _ => page("ok"),
    });
    let mut edge = Edge::start_tls(&plain(&shop));
    let h2 = H2::connect(edge.site.https);
    let slow = exchange(h2.sender.clone(), request("GET", "/", &[]), None);
    let slow = h2.runtime.spawn(slow);
    eventually("it is under way", || shop.seen().len() == 1);
    // The edge is done with a handshake later than the client.
    let mut idle = H2::connect(edge.site.https);
    assert_eq!(idle.get("/page").status, 200);
    edge.signal(Signal::SIGTERM);
    let H2 {
        runtime,
        connection,
        sender,
    } = idle;
    drop(sender);
    runtime
        .block_on(connection)
        .expect("a task")
        .expect("a clean end");
    gate.open();
    let answer = h2
        .runtime
        .block_on(slow)
        .expect("a task")
        .expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "complete"));
    assert!(edge.wait().success());
    assert!(!edge.stderr().contains("grace is over"));
}

#[test]
fn an_idle_http2_client_is_told_to_go() {
    let shop = Origin::start(|_| page("ok"));
    let mut edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!(h2.get("/").status, 200);
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success(), "although the client does not close");
    assert!(
        !edge.stderr().contains("grace is over"),
        "GOAWAY ends it before the grace does"
    );
    assert!(h2.ask("GET", "/", &[], None).is_err());
}

#[test]
fn a_download_under_way_completes() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").then(&closed, "-last")
    });
    let mut edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    assert_eq!(conn.head().expect("a head").0, 200);
    edge.signal(Signal::SIGINT);
    eventually("it drains", || edge.admin("GET", "/readyz").0 == 503);
    gate.open();
    assert_eq!(conn.take(10).expect("all of it"), b"first-last");
    conn.ends();
    assert!(edge.wait().success());
}

#[test]
fn visitors_under_load_see_no_broken_answer() {
    let shop = Origin::start(|_| page("x".repeat(10_000)));
    let mut edge = Edge::start(&smallest(&shop));
    let address = edge.site.http;
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut served = 0;
                while let Ok(stream) = TcpStream::connect(address) {
                    let mut conn = Conn::plain(stream);
                    loop {
                        conn.request("GET", "/", &[]);
                        match conn.try_response("GET") {
                            Ok(answer) => {
                                assert_eq!((answer.status, answer.body.len()), (200, 10_000));
                                served += 1;
                                if answer.field("connection") == Some("close") {
                                    break;
                                }
                            }
                            // Between two requests a connection may go (RFC 9112 §9.6), within an
                            // answer it may not.
                            Err(why) => {
                                assert!(why.ends_with("after \"\""), "cut: {why}");
                                break;
                            }
                        }
                    }
                }
                served
            })
        })
        .collect();
    eventually("they are served", || shop.seen().len() > 200);
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    for visitor in visitors {
        assert!(visitor.join().expect("no broken answer") > 0);
    }
    assert!(!edge.stderr().contains("grace is over"));
}
