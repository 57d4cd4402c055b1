//! Visitors who leave or stop reading, and shops that do.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    client::Conn,
    edge::Edge,
    origin::{Origin, page, raw},
    relaying::{own_shop, passing, read_head},
    tools::{Gate, PATIENCE, eventually},
};

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "3")]);
    conn.send("abc");
    conn.finish();
    eventually("it is asked", || shop.count("/") == 1);
    gate.open();
    assert_eq!(conn.response("POST").text(), "late");
    conn.ends();
}

#[test]
fn a_client_that_is_gone_is_not_waited_for() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start(&passing(&shop));
    let mut stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .expect("sent");
    eventually("it is asked", || shop.count("/") == 1);
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(stream);
    eventually("it is logged", || edge.log().len() == 1);
    let line = edge.log().remove(0);
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    gate.open();
}

#[test]
fn who_leaves_takes_the_work_along() {
    let gate = Gate::default();
    let closed = gate.clone();
    // The shop sees the end of its connection before it has answered.
    let left = Gate::default();
    let seen = left.clone();
    let shop = own_shop(move |mut stream| {
        read_head(&stream);
        closed.open();
        if matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)) {
            seen.open();
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    gate.wait(PATIENCE);
    // As a browser leaves: both sides closed, and no reset.
    drop(conn);
    left.wait(PATIENCE);
    eventually("it is logged", || edge.log().len() == 1);
    assert_eq!(edge.log()[0]["status"], 499);
    assert!(left.is_open());
}

#[test]
fn a_shop_that_reads_nothing() {
    let shop = own_shop(|stream| {
        read_head(&stream);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&passing(&shop).replace("5s", "500ms"));
    let mut conn = edge.connect();
    let most = 50 * 1024 * 1024;
    conn.request("POST", "/", &[("Content-Length", &most.to_string())]);
    let mut other = edge.connect();
    let sending = thread::spawn(move || {
        conn.send(vec![b'x'; most]);
        conn
    });
    // The others do not notice.
    other.send("BAD\r\n\r\n");
    assert_eq!(other.response("GET").status, 400);
    let mut conn = sending.join().expect("sent or refused");
    let answer = conn.try_response("POST").map(|a| a.status);
    // What is still under way when the connection ends may cost the answer.
    assert!(answer.is_err() || answer == Ok(504), "{answer:?}");
    eventually("it is logged", || {
        edge.log()
            .iter()
            .any(|line| line["reason"] == "connection_write_timeout")
    });
}

/// Memory of the edge in KiB, without that of files.
fn memory(edge: &Edge) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("a process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// A connection that takes little before it is read from.
fn narrow(edge: &Edge) -> Conn {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("an option");
    socket
        .connect(&edge.site.http.into())
        .expect("the edge accepts");
    Conn::plain(socket.into())
}

#[test]
fn readers_who_stop_hold_little() {
    const READERS: u64 = 32;
    const FILM: u64 = 100 * 1024 * 1024;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let shop = own_shop(move |mut stream| {
        let piece = [b'x'; 8 * 1024];
        while let Some(head) = read_head(&stream) {
            let length = if head.starts_with("GET /film ") {
                FILM
            } else {
                8 * 1024
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
            for _ in 0..length / piece.len() as u64 {
                if stream.write_all(&piece).is_err() {
                    return;
                }
                counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut readers: Vec<Conn> = (0..READERS).map(|_| narrow(&edge)).collect();
    for conn in &mut readers {
        assert_eq!(conn.get("/page").body.len(), 8 * 1024);
    }
    let before = memory(&edge);
    for conn in &mut readers {
        conn.request("GET", "/film", &[]);
        assert_eq!(conn.head().expect("a head").0, 200);
    }
    let mut last = 0;
    // What trickles into the kernel's buffers is not the edge's.
    eventually("all of them are stuck", || {
        thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        now - std::mem::replace(&mut last, now) < 1024 * 1024
    });
    let grown = memory(&edge).saturating_sub(before);
    assert!(grown <= READERS * 32, "{grown} KiB for {READERS} readers");
    // They go on where they stopped.
    let mut patient = readers.swap_remove(0);
    drop(readers);
    let rest = patient.take(FILM as usize).expect("all of it");
    assert!(rest.iter().all(|byte| *byte == b'x'));
    assert_eq!(patient.get("/page").body.len(), 8 * 1024);
}

#[test]
fn a_tunnel_outlives_a_reload() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let shop = Origin::start(|_| {
        raw(SWITCH).take(|mut stream| {
            let mut chunk = [0; 64 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                if stream.write_all(&chunk[..n]).is_err() {
                    return;
                }
            }
            let _ = stream.write_all(b"bye");
        })
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    conn.request("GET", "/", &fields);
    assert_eq!(conn.head().expect("an answer").0, 101);
    conn.send("one");
    assert_eq!(conn.take(3).expect("an echo"), b"one");
    assert!(edge.reload(&passing(&shop)).status.success());
    let much = vec![b'y'; 300_000];
    conn.send(&much);
    assert!(conn.take(much.len()).expect("an echo") == much);
    // What the client says last is heard, and what the shop says to it.
    conn.finish();
    assert_eq!(conn.take(3).expect("a word"), b"bye");
}
