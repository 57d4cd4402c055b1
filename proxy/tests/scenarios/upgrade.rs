//! Protocols that take the connection over.

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

use crate::{
    edge::Edge,
    h2::https,
    origin::{Origin, page, raw},
    serving::plain,
};

pub(crate) const ASK: &str = "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) fn echoing() -> Origin {
    Origin::start(|r| {
        match r.field("upgrade") {
        Some("websocket") if r.target == "/chat" => {
            raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome ")
                .take(|mut stream| {
                    let mut chunk = [0; 1024];
                    while let Ok(n @ 1..) = stream.read(&mut chunk) {
                        if stream.write_all(&chunk[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                })
        }
        _ => page("no chat"),
    }
    })
}

#[test]
fn bytes_flow_both_ways() {
    let shop = echoing();
    let edge = Edge::start_tls(&plain(&shop));
    for mut conn in [edge.connect(), https(edge.site.https, "shop.example")] {
        conn.send(ASK);
        let (status, fields) = conn.head().expect("an answer");
        assert_eq!(status, 101);
        assert!(fields.contains(&("upgrade".to_owned(), "websocket".to_owned())));
        assert_eq!(conn.take(8).expect("a welcome"), b"welcome ");
        for message in ["\x00\x7fone", "GET / HTTP/1.1\r\n\r\n", "three"] {
            conn.send(message);
            assert_eq!(
                conn.take(message.len()).expect("an echo"),
                message.as_bytes()
            );
        }
    }
    assert_eq!(shop.seen().len(), 2);
}

#[test]
fn bytes_sent_early_belong_to_the_new_protocol() {
    let shop = echoing();
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = edge.connect();
    conn.send(format!("{ASK}early"));
    assert_eq!(conn.head().expect("an answer").0, 101);
    assert_eq!(conn.take(13).expect("both"), b"welcome early");
}

#[test]
fn a_shop_that_declines_answers_as_ever() {
    let shop = echoing();
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = edge.connect();
    conn.send(ASK.replace("/chat", "/page"));
    assert_eq!(conn.response("GET").text(), "no chat");
}

#[test]
fn a_shop_that_switches_unasked_is_not_followed() {
    let shop = Origin::start(|_| {
        raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    let answer = conn.try_response("GET");
    assert_eq!(answer.map(|a| a.status), Ok(502));
    let _ = conn.is_quiet(Duration::from_millis(10));
}
