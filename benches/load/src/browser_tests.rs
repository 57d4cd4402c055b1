use std::{
    future::Future,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use http::Response;

use super::*;
use crate::connect::Trust;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn browser(protocol: Protocol, at: SocketAddr) -> Browser {
    let target = Target::new(Some(at), None, "localhost", &Trust::Anybody).expect("a target");
    Browser::new(Rc::new(target), protocol, Ipv4Addr::new(127, 1, 2, 3))
}

fn get(target: &str) -> Ask {
    Ask {
        method: Method::GET,
        target: target.to_owned(),
        fields: Vec::new(),
        body: Bytes::new(),
    }
}

/// Answers each request with what its target says, and closes the connection after bytes that end with `!`.
fn http1_server(answers: fn(target: &str, nth_on_connection: u32) -> &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                for nth in 0.. {
                    let mut target = String::new();
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        if target.is_empty() {
                            target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                        }
                        line.clear();
                    }
                    let answer = answers(&target, nth);
                    let _ = reader
                        .get_mut()
                        .write_all(answer.trim_end_matches('!').as_bytes());
                    if target.is_empty() || answer.ends_with('!') {
                        return;
                    }
                }
            });
        }
    });
    at
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

#[test]
fn failures_over_http1_are_told_apart() {
    let at = http1_server(|target, _| match target {
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsix!",
        "/cut-chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab!",
        "/reset" => "!",
        "/nonsense" => "what?\r\n\r\n!",
        _ => FINE,
    });
    run(async move {
        for (target, fate) in [
            ("/cut", Fate::Cut),
            ("/cut-chunk", Fate::Cut),
            ("/reset", Fate::Reset),
            ("/nonsense", Fate::Protocol),
        ] {
            let browser = browser(Protocol::Http1, at);
            assert_eq!(
                browser.send(&get(target)).await.err(),
                Some(fate),
                "{target}"
            );
            assert_eq!(browser.repeated.get(), 0);
        }
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let browser = browser(Protocol::Http1, nobody.expect("a free port"));
        assert_eq!(browser.send(&get("/")).await.err(), Some(Fate::Refused));
    });
}

#[test]
fn http1_connections_are_kept_and_one_that_closes_is_followed_by_another() {
    let at = http1_server(|target, nth| match (target, nth) {
        ("/once", 1..) => "!",
        _ => FINE,
    });
    run(async move {
        let browser = browser(Protocol::Http1, at);
        for _ in 0..5 {
            let answer = browser.send(&get("/")).await.expect("an answer");
            assert_eq!(
                (answer.status, &answer.body[..]),
                (StatusCode::OK, &b"fine"[..])
            );
        }
        assert_eq!(browser.connections.get(), 1);
        browser.send(&get("/once")).await.expect("an answer");
        assert_eq!((browser.connections.get(), browser.repeated.get()), (2, 1));
        // What changes something is not sent twice.
        let post = Ask {
            method: Method::POST,
            ..get("/once")
        };
        assert_eq!(browser.send(&post).await.err(), Some(Fate::Reset));
    });
}

#[test]
fn no_more_than_two_http1_connections_at_once() {
    let at = http1_server(|_, _| FINE);
    run(async move {
        let browser = browser(Protocol::Http1, at);
        let ask = get("/");
        let all = futures_util::future::join_all((0..20).map(|_| browser.send(&ask))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(browser.connections.get(), 2);
    });
}

/// Ends `/cut` before its length, and says farewell after `/last`.
async fn h2_server(listener: tokio::net::TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut connection = h2::server::handshake(stream).await.expect("a handshake");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let length = if request.uri().path() == "/cut" {
                "10"
            } else {
                "4"
            };
            let head = Response::builder().header(header::CONTENT_LENGTH, length);
            let mut body = respond
                .send_response(head.body(()).expect("a head"), false)
                .expect("a head to go");
            body.send_data(Bytes::from_static(b"fine"), true)
                .expect("content to go");
            if request.uri().path() == "/last" {
                connection.graceful_shutdown();
            }
        }
    }
}

#[test]
fn one_h2_connection_carries_all_and_failures_are_told_apart() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::task::spawn_local(h2_server(listener));
        let browser = browser(Protocol::H2c, at);
        let ask = get("/");
        let all = futures_util::future::join_all((0..20).map(|_| browser.send(&ask))).await;
        assert!(
            all.iter()
                .all(|answer| answer.as_ref().is_ok_and(|a| a.body == b"fine"))
        );
        assert_eq!(browser.connections.get(), 1);
        assert_eq!(browser.send(&get("/cut")).await.err(), Some(Fate::Cut));
        // After a farewell there is a new connection, and nobody notices.
        for target in ["/last", "/", "/"] {
            browser.send(&get(target)).await.expect("an answer");
        }
        assert_eq!(browser.connections.get(), 2);
        assert_eq!(browser.repeated.get(), 0);
    });
}

#[test]
fn a_refused_stream_is_asked_again() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let at = listener.local_addr().expect("an address");
        let server = tokio::task::spawn_local(async move {
            let mut first = true;
            while let Ok((stream, _)) = listener.accept().await {
                let is_first = std::mem::take(&mut first);
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("a handshake");
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        if is_first {
                            respond.send_reset(h2::Reason::REFUSED_STREAM);
                        } else {
                            respond
                                .send_response(Response::new(()), true)
                                .expect("a head to go");
                        }
                    }
                });
            }
        });
        let browser = browser(Protocol::H2c, at);
        let answer = browser.send(&get("/")).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!((browser.connections.get(), browser.repeated.get()), (2, 1));
        server.abort();
    });
}
