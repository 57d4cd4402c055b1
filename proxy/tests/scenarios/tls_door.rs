//! TLS below the doors: tickets, handshakes in numbers, keys that change, junk, and the last word.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rustls::{ClientConnection, HandshakeKind, pki_types::ServerName, version};

use crate::{
    edge::Edge,
    h2::{client_config, frame, https, tls},
    origin::{Origin, page},
    serving::plain,
    tools::{PATIENCE, eventually},
};

const LARGE: usize = 300_000;

fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/large" => page("x".repeat(LARGE)).fresh(600),
        _ => page("page").fresh(600),
    })
}

#[test]
fn sessions_resume_after_a_reload() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nthreads = 2\n"));
    for version in [&version::TLS12, &version::TLS13] {
        let config = client_config(&[version], &["http/1.1"]);
        for nth in 0..8 {
            let mut stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
            let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
            stream.write_all(request).expect("sent");
            stream.read_to_end(&mut Vec::new()).expect("a clean end");
            let kind = stream.conn.handshake_kind();
            if nth > 0 {
                assert_eq!(kind, Some(HandshakeKind::Resumed), "connection {nth}");
            }
            assert!(edge.site.dhal(&["reload"]).status.success());
        }
    }
}

#[test]
fn handshakes_do_not_stall_open_connections() {
    let shop = shop();
    let limits = "[server]\nthreads = 1\nhandshake_timeout = \"60s\"\n";
    let edge = Edge::start_tls(&(plain(&shop) + limits));
    let mut open = https(edge.site.https, "shop.example");
    assert_eq!(open.get("/large").status, 200);
    // Each says hello and nothing more.
    let config = client_config(&[&version::TLS13], &["http/1.1"]);
    let halves: Vec<TcpStream> = (0..300)
        .map(|_| {
            let name = ServerName::try_from("shop.example").expect("a name");
            let mut client = ClientConnection::new(config.clone(), name).expect("a client");
            let mut socket = TcpStream::connect(edge.site.https).expect("accepted");
            client.write_tls(&mut socket).expect("sent");
            socket
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(open.get("/large").body.len(), LARGE);
    }
    // And others that finish theirs, as fast as they can.
    let (is_over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    // Without a session to go on with, or it would cost nothing.
                    let config = client_config(&[&version::TLS13], &["http/1.1"]);
                    tls(edge.site.https, "shop.example", &config).expect("a handshake");
                    made.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while made.load(Ordering::SeqCst) < 200 {
            // Conn has a time limit of its own.
            assert_eq!(open.get("/large").body.len(), LARGE);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    drop(halves);
    eventually("only one is left", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
}

#[test]
fn keys_may_change_at_any_time() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let config = client_config(&[&version::TLS13], &["http/1.1"]);
    let mut stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
    let text = b"GET /large HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let read = |stream: &mut rustls::StreamOwned<ClientConnection, TcpStream>| {
        let mut answer = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while answer.len() < LARGE || !answer.ends_with(b"x") {
            let n = stream.read(&mut chunk).expect("more");
            assert!(n > 0);
            answer.extend_from_slice(&chunk[..n]);
            let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
            if head.is_some_and(|at| answer.len() == at + 4 + LARGE) {
                return;
            }
        }
    };
    for nth in 0..20 {
        // Between requests, and in the middle of one.
        stream.conn.refresh_traffic_keys().expect("TLS 1.3");
        stream.write_all(&text[..nth]).expect("sent");
        stream.conn.refresh_traffic_keys().expect("TLS 1.3");
        stream.write_all(&text[nth..]).expect("sent");
        read(&mut stream);
    }
    // As a flood they end the connection, and nothing else.
    for _ in 0..500 {
        stream.conn.refresh_traffic_keys().expect("TLS 1.3");
        if stream.flush().is_err() {
            break;
        }
    }
    assert_eq!(https(edge.site.https, "shop.example").get("/").status, 200);
    drop(stream);
    eventually("nothing stays open", || {
        edge.metric("dhal_connections") == Some(0.0)
    });
}

#[test]
fn junk_after_the_handshake_ends_the_connection() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut other = https(edge.site.https, "shop.example");
    let rows: [&[u8]; 4] = [
        &[0; 100],
        // A record of the right form that nobody has encrypted.
        &[
            0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
            20,
        ],
        // One that is longer than any may be.
        &[0x17, 3, 3, 0xff, 0xff, 0, 0, 0],
        b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ];
    for junk in rows {
        for alpn in ["http/1.1", "h2"] {
            for version in [&version::TLS12, &version::TLS13] {
                let config = client_config(&[version], &[alpn]);
                let mut stream =
                    tls(edge.site.https, "shop.example", &config).expect("a handshake");
                stream
                    .sock
                    .set_read_timeout(Some(PATIENCE))
                    .expect("an option");
                stream.sock.write_all(junk).expect("sent");
                // An alert, a reset, or the end.
                match stream.read_to_end(&mut Vec::new()) {
                    Ok(_) => {}
                    Err(why) => assert!(!matches!(
                        why.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut
                    )),
                }
                assert_eq!(other.get("/").status, 200);
            }
        }
    }
    eventually("one is left", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
    assert!(!edge.stderr().contains("panicked"));
}

#[test]
fn the_last_word_is_close_notify() {
    let shop = shop();
    let limits = "[server]\nkeepalive_timeout = \"3s\"\nheader_timeout = \"3s\"\n";
    let edge = Edge::start_tls(&(plain(&shop) + limits));
    let request =
        |more: &str| format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n").into_bytes();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let broken = [&preface[..], &frame(6, 0, 0, b"short")].concat();
    let rows: [(&str, &str, Vec<u8>); 7] = [
        ("asked to", "http/1.1", request("Connection: close\r\n")),
        ("idle", "http/1.1", request("")),
        ("never used", "http/1.1", Vec::new()),
        ("a slow head", "http/1.1", request("")[..20].to_vec()),
        ("malformed", "http/1.1", b"GET /\r\n\r\n".to_vec()),
        ("idle", "h2", preface),
        ("a broken frame", "h2", broken),
    ];
    // All at once, since most of them take their time.
    let address = edge.site.https;
    thread::scope(|scope| {
        for (what, alpn, bytes) in &rows {
            for version in [&version::TLS12, &version::TLS13] {
                scope.spawn(move || {
                    let config = client_config(&[version], &[alpn]);
                    let mut stream = tls(address, "shop.example", &config).expect("a handshake");
                    stream.write_all(bytes).expect("sent");
                    // An end of TCP alone would be an error.
                    let end = stream.read_to_end(&mut Vec::new());
                    assert!(end.is_ok(), "{what} {alpn}: {end:?}");
                });
            }
        }
    });
    // A client that says it first is answered, and gets the same.
    let config = client_config(&[&version::TLS13], &["http/1.1"]);
    let mut stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
    stream.write_all(&request("").repeat(5)).expect("sent");
    stream.conn.send_close_notify();
    stream.flush().expect("sent");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("a clean end");
    let count = answers.windows(4).filter(|w| *w == b"page").count();
    assert_eq!(count, 5);
}
