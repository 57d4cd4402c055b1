//! Uploads whose end waits for a place among the requests at work, and those for whom the wait loses its reason.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    client::Conn,
    edge::Edge,
    h2::Frames,
    overload::{config, of, one, waits},
    tools::{Gate, PATIENCE, eventually},
};

/// More than is taken in beforehand.
const LARGE: usize = 40_000;

/// A shop that works on `/held` until one gate opens, and answers uploads by their head alone once another one does, with
/// half of its word before the first opens.
fn shop(held: &Gate, early: &Gate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (held, early) = (held.clone(), early.clone());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (held, early) = (held.clone(), early.clone());
            thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                if head.starts_with(b"POST") {
                    early.wait(PATIENCE);
                    let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nwo");
                    held.wait(PATIENCE);
                    let _ = stream.write_all(b"rd");
                } else {
                    held.wait(PATIENCE);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword");
                }
                // What else comes is read until the other side has had it.
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

/// An edge whose only place is taken, and who has taken it.
fn occupied(shop: SocketAddr) -> (Edge, Conn) {
    let edge = Edge::start_tls(&config(&shop, &one(4)));
    let mut first = edge.connect();
    first.request("GET", "/held", &[]);
    eventually("it is at work", || edge.metric(&of("at_work")) == Some(1.0));
    (edge, first)
}

/// All of an upload; the end of the connection will be a reset.
fn upload(edge: &Edge) -> Conn {
    let stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    let mut conn = Conn::plain(stream);
    let head = format!("POST /checkout/ HTTP/1.1\r\nHost: shop\r\nContent-Length: {LARGE}\r\n\r\n");
    conn.send(head + &"u".repeat(LARGE));
    conn
}

#[test]
fn who_leaves_with_the_end_in_hand_does_not_wait_any_longer() {
    let (held, early) = (Gate::default(), Gate::default());
    let (edge, mut first) = occupied(shop(&held, &early));
    let leaves = upload(&edge);
    waits(&edge, 1);
    drop(leaves);
    waits(&edge, 0);
    edge.counts(&of("uploads"), 0.0);
    let mut frames = Frames::connect(edge.site.https);
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/checkout/"),
    ];
    frames.headers(1, &fields, false);
    for _ in 0..4 {
        frames.frame(0, 0, 1, &[b'u'; LARGE / 4]);
    }
    frames.frame(0, 1, 1, b"");
    waits(&edge, 1);
    frames.frame(3, 0, 1, &8u32.to_be_bytes());
    waits(&edge, 0);
    held.open();
    assert_eq!(first.response("GET").status, 200);
    edge.counts(&of("at_work"), 0.0);
}

#[test]
fn who_is_answered_before_its_turn_does_not_wait_any_longer() {
    let (held, early) = (Gate::default(), Gate::default());
    let (edge, mut first) = occupied(shop(&held, &early));
    let mut answered = upload(&edge);
    waits(&edge, 1);
    early.open();
    assert_eq!(answered.head().expect("an answer").0, 403);
    // Its content is yet to come, and nobody is in the queue.
    waits(&edge, 0);
    edge.counts(&of("at_work"), 1.0);
    held.open();
    assert_eq!(answered.take(4).expect("all of it"), b"word");
    assert_eq!(first.response("GET").status, 200);
    edge.counts(&of("at_work"), 0.0);
}
