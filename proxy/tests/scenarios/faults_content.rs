//! Faults within the content of an answer, and behind its end.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    edge::Edge,
    faults::{
        Guest,
        Outcome::{Cut, Right, Whole},
        Row, Shop, Then, Upload, answers, config, control, holds_nothing, says, ways,
    },
    tools::{Gate, PATIENCE, eventually},
};

const CLOSED: &str = "connection_terminated";

/// An answer that may be stored, with these fields and this content.
fn answer(fields: &str, content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}\r\n\r\n{content}")
}

/// Content that breaks off.
fn cut(fields: &str, content: &str, then: Then) -> Row {
    Row::new(says(answer(fields, content), then), Cut)
        .reason(CLOSED)
        .blames_the_server()
}

#[test]
fn fin_within_content_with_a_length() {
    cut("Content-Length: 10", "0123", Then::Close).holds();
}

#[test]
fn rst_within_content_with_a_length() {
    cut("Content-Length: 10", "0123", Then::Reset).holds();
}

#[test]
fn fin_within_chunks() {
    for content in ["4\r\n0123\r\n", "4\r\n01", "4\r\n0123\r\n0\r\n"] {
        cut("Transfer-Encoding: chunked", content, Then::Close).holds();
    }
}

#[test]
fn rst_within_chunks() {
    cut("Transfer-Encoding: chunked", "4\r\n0123\r\n", Then::Reset).holds();
}

/// Only a FIN ends what has no other end.
#[test]
fn rst_within_content_until_close() {
    cut("X: y", "0123", Then::Reset).holds();
}

#[test]
fn fin_behind_content_until_close() {
    let whole = says(answer("X: y", "0123"), Then::Close);
    Row::new(whole, Whole(200, "0123")).holds();
}

#[test]
fn content_that_stops() {
    Row::new(says(answer("Content-Length: 10", "0123"), Then::Stay), Cut)
        .timeouts("response = \"2s\"")
        .blames_the_server()
        .holds();
}

#[test]
fn chunks_that_are_none() {
    let content = "4\r\n0123\r\nxyz\r\n";
    Row::new(
        says(answer("Transfer-Encoding: chunked", content), Then::Stay),
        Cut,
    )
    .blames_the_server()
    .holds();
}

/// RFC 9112 §6.3: chunks win, and the connection is of no use any more.
#[test]
fn a_length_beside_chunks() {
    let fields = "Content-Length: 7\r\nTransfer-Encoding: chunked";
    let whole = answer(fields, "3\r\nabc\r\n0\r\n\r\n");
    Row::new(says(whole, Then::Stay), Whole(200, "abc")).holds();
}

const EVIL: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil";

#[test]
fn more_content_than_was_told() {
    let more = answer("Content-Length: 3", &format!("abcdefghi{EVIL}"));
    Row::new(says(more, Then::Next), Whole(200, "abc")).holds();
}

#[test]
fn two_answers_at_once() {
    for first in [
        answer("Content-Length: 3", "abc"),
        answer("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
    ] {
        Row::new(says(first + EVIL, Then::Next), Whole(200, "abc")).holds();
    }
}

#[test]
fn content_behind_answers_that_have_none() {
    for status in ["204 No Content", "304 Not Modified"] {
        let code = status[..3].parse().expect("a status");
        for fields in ["Content-Length: 3", "Transfer-Encoding: chunked", "X: y"] {
            let bytes = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\nabc{EVIL}");
            Row::new(says(bytes, Then::Next), Whole(code, "")).holds();
        }
    }
}

#[test]
fn content_of_an_answer_to_head() {
    let bytes = answer("Content-Length: 3", "abc");
    Row::new(says(bytes, Then::Next), Whole(200, ""))
        .method("HEAD", Upload::None)
        .holds();
}

#[test]
fn trailers() {
    let fields = "Trailer: X-Sum\r\nTransfer-Encoding: chunked";
    let bytes = answer(fields, "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n");
    Row::new(says(bytes, Then::Next), Whole(200, "abc")).holds();
}

#[test]
fn trailers_that_speak_of_framing() {
    let end = "3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n";
    let bytes = answer("Transfer-Encoding: chunked", end);
    Row::new(says(bytes, Then::Stay), Cut)
        .blames_the_server()
        .holds();
}

/// A server of which each answer breaks off is not well, though each begins well.
#[test]
fn who_always_breaks_off_is_put_out() {
    let shop = Shop::start(says(answer("Content-Length: 10", "0123"), Then::Close));
    let spare = Shop::start(answers);
    let config = config(&shop, &spare, "response = \"10s\"")
        .replace("consecutive_failures = 1", "consecutive_failures = 3");
    let edge = Edge::start_tls(&config);
    for way in ways() {
        let mut guest = Guest::new(&edge, way.protocol);
        let target = format!("/{way}/beside/fault");
        let broke_off = |_: &u32| guest.ask("GET", &target, Upload::None).is_err();
        let failures = (0..10).take_while(broke_off).count();
        assert!(failures <= 3, "{target}: {failures} in a row");
    }
}

/// A second answer on a connection that waits for its next request.
#[test]
fn an_answer_that_nobody_asked_for() {
    let (begun, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, tells) = (Arc::clone(&begun), Arc::clone(&told));
    Row::new(
        move |stream, asked| {
            begins.fetch_add(1, Ordering::SeqCst);
            let then = answers(stream, asked);
            if let Then::Next = then {
                // The edge has the answer, and keeps the connection.
                thread::sleep(Duration::from_millis(100));
                let _ = stream.write_all(EVIL.as_bytes());
            }
            tells.fetch_add(1, Ordering::SeqCst);
            then
        },
        Right,
    )
    .after(move || {
        eventually("the shop has said it", || {
            begun.load(Ordering::SeqCst) == told.load(Ordering::SeqCst)
        });
    })
    .holds();
}

/// A second for each byte: longer than a server may be silent, and nobody else waits.
#[test]
fn content_byte_by_byte() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Shop::start(move |stream, _| {
        let _ = stream.write_all(answer("Content-Length: 8", "").as_bytes());
        for byte in b"droplet" {
            let _ = stream.write_all(&[*byte]);
            thread::sleep(Duration::from_secs(1));
        }
        closed.wait(PATIENCE);
        let _ = stream.write_all(b"s");
        Then::Next
    });
    let spare = Shop::start(answers);
    let edge = Edge::start_tls(&config(&shop, &spare, "response = \"5s\""));
    thread::scope(|scope| {
        let slow = ways().map(|way| {
            let target = format!("/{way}/alone/fault");
            let mut guest = Guest::new(&edge, way.protocol);
            scope.spawn(move || guest.get(&target).text())
        });
        let slow: Vec<_> = slow.collect();
        eventually("all are under way", || {
            let asked = |way| shop.count(&format!("/{way}/alone/fault"));
            ways().map(asked).sum::<usize>() == 4
        });
        for way in ways() {
            let mut guest = Guest::new(&edge, way.protocol);
            control(&mut guest, &way, &["alone", "beside"], 1);
        }
        gate.open();
        for slow in slow {
            assert_eq!(slow.join().expect("all of it"), "droplets");
        }
    });
    holds_nothing(&edge, &shop);
}
