//! Visitors of servers that speak HTTP/2: what they get early, and what is told of those who leave or stop reading.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::Reason;

use crate::{
    edge::Edge,
    h2::{End, Frames, H2, exchange, request},
    h2_shop::{H2Shop, answer, by_hand, room},
    h2_upstream::config,
    tools::eventually,
};

#[test]
fn interim_answers_reach_visitors() {
    let shop = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            // 103 with a literal field.
            let block = b"\x08\x03103\x00\x04link\x08</a.css>";
            wire.frame(1, 4, stream, block);
            wire.head(stream, &[("content-length", "2")], false);
            wire.data(stream, b"ok", true);
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    for path in ["/own", "/stored/page"] {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        let (status, fields) = conn.head().expect("an interim answer");
        assert_eq!(status, 103, "{path}");
        assert!(fields.contains(&("link".to_owned(), "</a.css>".to_owned())));
        assert_eq!(conn.response("GET").text(), "ok");
    }
    // Too many of them are no answer.
    let flood = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            for _ in 0..100 {
                wire.frame(1, 4, stream, b"\x08\x03103");
            }
        }
    });
    let edge = Edge::start(&config(&flood, ""));
    let mut conn = edge.connect();
    conn.request("GET", "/own", &[]);
    let mut last = 103;
    while last == 103 {
        last = conn.head().expect("an answer").0;
    }
    assert_eq!(last, 502);
}

#[test]
fn answers_that_come_before_the_request_is_complete() {
    // The library resets a stream whose request is left unread, with NO_ERROR.
    let shop = H2Shop::start(|mut asked| async move { asked.page("enough").await });
    let edge = Edge::start_tls(&config(&shop, ""));
    let mut conn = edge.connect();
    conn.send(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5000000\r\n\r\nthe beginning",
    );
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "enough"));
    let mut frames = Frames::connect(edge.site.https);
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/"),
    ];
    frames.headers(1, &fields, false);
    let answer = frames.answer(1);
    assert_eq!(
        (answer.end, &answer.content[..]),
        (End::Stream, &b"enough"[..])
    );
    assert_eq!(edge.get("/").text(), "enough", "the connection lives on");
    assert_eq!(shop.connections(), 1);
}

#[test]
fn visitors_who_leave_are_told_of() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let ends = Arc::clone(&ended);
    let shop = H2Shop::start(move |mut asked| {
        let ends = Arc::clone(&ends);
        async move {
            if asked.path() == "/page" {
                return asked.page("page").await;
            }
            let head = answer(200, &[]);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            let _ = send.send_data(Bytes::from_static(b"beginning"), false);
            let reset = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
            ends.lock().expect("lock").push(reset.ok());
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    let mut conn = edge.connect();
    conn.request("GET", "/waits", &[]);
    assert_eq!(conn.head().expect("an answer").0, 200);
    drop(conn);
    let h2 = H2::connect(edge.site.https);
    let asked = exchange(h2.sender.clone(), request("GET", "/waits", &[]), None);
    let asked = h2.runtime.spawn(asked);
    eventually("both are under way", || shop.count("/waits") == 2);
    asked.abort();
    drop(h2);
    let cancelled = vec![Some(Reason::CANCEL); 2];
    eventually("both are reset", || {
        *ended.lock().expect("lock") == cancelled
    });
    assert_eq!(edge.get("/page").text(), "page", "the connection lives on");
    assert_eq!(shop.connections(), 1);
}

#[test]
fn visitors_who_do_not_read_hold_little_and_stop_nobody() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let shop = H2Shop::start(move |mut asked| {
        let taken = Arc::clone(&count);
        async move {
            if asked.path() != "/endless" {
                return asked.page("page").await;
            }
            let head = answer(200, &[]);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            while let Ok(some) = room(&mut send, 16_000).await {
                let piece = vec![b'x'; some.min(16_000)];
                taken.fetch_add(piece.len(), Ordering::SeqCst);
                let _ = send.send_data(piece.into(), false);
            }
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    let visitors: Vec<_> = (0..20)
        .map(|_| {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(0);
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "shop.example"),
                (":path", "/endless"),
            ];
            frames.headers(1, &fields, true);
            frames
        })
        .collect();
    eventually("all have begun", || shop.count("/endless") == 20);
    eventually("the windows are full", || {
        taken.load(Ordering::SeqCst) >= 20 * 64 * 1000
    });
    for _ in 0..50 {
        assert_eq!(edge.get("/page").text(), "page");
    }
    let held = taken.load(Ordering::SeqCst);
    // A window, a buffer and a frame each.
    assert!(
        held <= 20 * (64 + 16 + 16) * 1024,
        "{held} bytes for 20 visitors"
    );
    assert_eq!(shop.connections(), 1);
    drop(visitors);
}
