//! Answers that come before the request is complete, and content that goes up while they come down.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    edge::Edge,
    h2::{Frames, H2, request},
    relaying::{own_shop, passing, read_head},
    tools::PATIENCE,
};

#[test]
fn an_early_answer_does_not_wait_for_the_content() {
    let shop = own_shop(|stream| {
        read_head(&stream).expect("a head");
        (&stream)
            .write_all(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nearly")
            .expect("sent");
        // It stays open and reads nothing.
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "1000")]);
    conn.send("a beginning");
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (403, "early"));
    assert_eq!(answer.field("connection"), Some("close"));
    conn.ends();
}

/// A shop that answers at once and in pieces, and lets more time pass than an upload may pause.
fn slow_early_answer() -> String {
    let shop = own_shop(|stream| {
        read_head(&stream).expect("a head");
        (&stream)
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
            .expect("sent");
        for piece in ["sl", "ow", "ly"] {
            thread::sleep(Duration::from_secs(1));
            let _ = (&stream).write_all(piece.as_bytes());
        }
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    passing(&shop) + "body_timeout = \"2500ms\"\n"
}

#[test]
fn an_answer_in_full_flow_does_not_need_the_content() {
    let edge = Edge::start(&slow_early_answer());
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "1000")]);
    conn.send("a beginning");
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "slowly"));
}

#[test]
fn an_answer_in_full_flow_does_not_need_the_content_over_h2() {
    let edge = Edge::start_tls(&slow_early_answer());
    let client = H2::connect(edge.site.https);
    let content = client.runtime.block_on(async {
        let asked = async {
            let mut sender = client.sender.clone().ready().await?;
            let (answer, mut upload) = sender.send_request(request("POST", "/", &[]), false)?;
            upload.send_data(Bytes::from_static(b"a beginning"), false)?;
            let mut content = answer.await?.into_body();
            let mut all = Vec::new();
            while let Some(piece) = content.data().await {
                all.extend_from_slice(&piece?);
            }
            Ok::<_, h2::Error>(all)
        };
        timeout(PATIENCE, asked).await
    });
    let content = content.expect("in time").expect("a complete answer");
    assert_eq!(content, b"slowly");
}

#[test]
fn a_server_that_does_not_say_continue_is_not_slow() {
    let shop = own_shop(|stream| {
        read_head(&stream);
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let config = passing(&shop).replace("5s", "600ms") + "body_timeout = \"200ms\"\n";
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    let fields = [("Content-Length", "10"), ("Expect", "100-continue")];
    conn.request("POST", "/", &fields);
    assert_eq!(conn.head().expect("a word of the edge").0, 100);
    assert_eq!(conn.response("POST").status, 408);
    // Who was told to go on and does not is slow itself.
    let shop = own_shop(|stream| {
        read_head(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&(passing(&shop) + "body_timeout = \"200ms\"\n"));
    let mut conn = edge.connect();
    conn.request("POST", "/", &fields);
    assert_eq!(conn.head().expect("an interim answer").0, 100);
    assert_eq!(conn.response("POST").status, 408);
}

#[test]
fn a_server_that_does_not_say_continue_is_not_slow_over_h2_either() {
    for (says_so, wanted) in [(false, vec![100, 408]), (true, vec![100, 408])] {
        let shop = own_shop(move |stream| {
            read_head(&stream);
            if says_so {
                let _ = (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let _ = stream.peek(&mut [0]);
            thread::sleep(PATIENCE);
        });
        let limit = if says_so { "5s" } else { "600ms" };
        let config = passing(&shop).replace("5s", limit) + "body_timeout = \"200ms\"\n";
        let edge = Edge::start_tls(&config);
        let mut frames = Frames::connect(edge.site.https);
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "shop.example"),
            (":path", "/"),
            ("content-length", "10"),
            ("expect", "100-continue"),
        ];
        frames.headers(1, &fields, false);
        assert_eq!(frames.answer(1).statuses, wanted);
    }
}

#[test]
fn content_goes_up_while_the_answer_comes_down() {
    let shop = own_shop(|mut stream| {
        let head = read_head(&stream).expect("a head");
        assert!(head.contains("content-length: 9") || head.contains("Content-Length: 9"));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .expect("sent");
        for _ in 0..3 {
            let mut piece = [0; 3];
            stream.read_exact(&mut piece).expect("a piece");
            stream.write_all(b"3\r\n").expect("sent");
            stream.write_all(&piece).expect("sent");
            stream.write_all(b"\r\n").expect("sent");
        }
        stream.write_all(b"0\r\n\r\n").expect("sent");
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "9")]);
    assert_eq!(conn.head().expect("before any content").0, 200);
    let mut echo = Vec::new();
    for piece in ["abc", "def", "ghi"] {
        conn.send(piece);
        let mut got = Vec::new();
        while got.len() < 3 {
            // However it is cut into chunks.
            let size = conn.take(3).expect("a size");
            let n = usize::from(size[0] - b'0');
            got.extend(conn.take(n).expect("content"));
            conn.take(2).expect("its end");
        }
        echo.extend(got);
    }
    assert_eq!(echo, b"abcdefghi");
    assert_eq!(conn.take(5).expect("the last chunk"), b"0\r\n\r\n");
}
