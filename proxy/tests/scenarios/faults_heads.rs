//! Faults before and within the head of an answer.

use std::{io::Write, thread, time::Duration};

use crate::{
    edge::Edge,
    faults::{
        Guest,
        Outcome::{Clear, Whole},
        Row, Shop, Then, answers, config, control, holds_nothing, right, says, ways,
    },
    h2::{End, Frames, https},
    rules::Protocol,
};

const CLOSED: &str = "connection_terminated";
const BAD: &str = "http_protocol_error";
const LATE: &str = "http_response_timeout";

/// A head that ends too early, or cannot be read in one way only. Nothing of it has reached the visitor, so that
/// another server may answer.
fn refused(head: impl Into<Vec<u8>>, then: Then, reason: &'static str) -> Row {
    Row::new(says(head, then), Clear(502))
        .reason(reason)
        .another_answers()
        .blames_the_server()
}

#[test]
fn fin_before_the_head() {
    refused("", Then::Close, CLOSED).holds();
}

#[test]
fn rst_before_the_head() {
    refused("", Then::Reset, CLOSED).holds();
}

const PART: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Le";

#[test]
fn fin_within_the_head() {
    refused(PART, Then::Close, CLOSED).holds();
}

#[test]
fn rst_within_the_head() {
    refused(PART, Then::Reset, CLOSED).holds();
}

#[test]
fn silence() {
    Row::new(says("", Then::Stay), Clear(504))
        .timeouts("response = \"2s\"")
        .reason(LATE)
        .another_answers()
        .blames_the_server()
        .holds();
}

/// The response timeout is for the whole head, however it comes.
#[test]
fn a_head_byte_by_byte() {
    Row::new(
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while stream.write_all(b"y").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            Then::Close
        },
        Clear(504),
    )
    .timeouts("response = \"2s\"")
    .reason(LATE)
    .blames_the_server()
    .holds();
}

/// A head that begins so and goes on with this.
fn endless(piece: &'static [u8]) -> Row {
    Row::new(
        move |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while stream.write_all(piece).is_ok() {}
            Then::Close
        },
        Clear(502),
    )
    .reason(BAD)
    .another_answers()
    .blames_the_server()
}

#[test]
fn a_field_line_without_end() {
    endless(&[b'y'; 1_000]).holds();
}

#[test]
fn field_lines_without_end() {
    endless(b"y\r\nAnother-Field: of-many\r\nX: ").holds();
}

/// As many as fit into the bytes of a head, and more than fit.
#[test]
fn ten_thousand_fields() {
    for line in ["A:\r\n", "X-Some-Field: with a value\r\n"] {
        let fields = line.repeat(10_000);
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        refused(head, Then::Stay, BAD).holds();
    }
}

#[test]
fn bytes_that_no_field_may_hold() {
    for field in [
        "X: a\0b",
        "X: a\rb",
        "X: a\nb",
        "X: a\r\n folded",
        "X\0: a",
        "X : a",
        ": a",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 0\r\n\r\n");
        refused(head, Then::Stay, BAD).holds();
    }
}

#[test]
fn no_http_1_1() {
    for head in [
        "<html>HTTP/0.9 has no head</html>\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
    ] {
        refused(head, Then::Stay, BAD).holds();
    }
}

#[test]
fn framing_that_contradicts_itself() {
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        refused(head, Then::Stay, BAD).holds();
    }
}

#[test]
fn another_protocol_unasked() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    refused(switch, Then::Stay, BAD).holds();
}

#[test]
fn seventeen_interim_answers() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(17)
        + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    refused(head, Then::Stay, BAD).holds();
}

#[test]
fn sixteen_interim_answers() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(16)
        + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    Row::new(says(head, Then::Next), Whole(200, "ok")).holds();
}

/// RFC 9110 §15.2: 103 goes on to who knows interim answers; a 100 that nobody waits for does no harm.
#[test]
fn interim_answers_reach_who_knows_them() {
    let shop = Shop::start(|stream, asked| {
        let hints =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        let _ = stream.write_all(hints.as_bytes());
        answers(stream, asked)
    });
    let spare = Shop::start(answers);
    let edge = Edge::start_tls(&config(&shop, &spare, "response = \"10s\""));
    for way in ways() {
        // Each is asked for anew.
        let target = |version: &str| format!("/{way}/alone/fault-{version}");
        let old = target("1.0");
        let mut conn = https(edge.site.https, "shop.example");
        conn.send(format!("GET {old} HTTP/1.0\r\nHost: shop.example\r\n\r\n"));
        let (status, _) = conn.head().expect("an answer");
        assert_eq!(status, 200, "{way}: HTTP/1.0 knows no others");
        let content = right(&old).into_bytes();
        assert_eq!(conn.take(content.len()), Ok(content), "{way}");

        let mut told = match way.protocol {
            Protocol::H1 => {
                let mut conn = https(edge.site.https, "shop.example");
                conn.request("GET", &target("1.1"), &[]);
                let mut statuses = Vec::new();
                while statuses.last() != Some(&200) {
                    statuses.push(conn.head().expect("a head").0);
                }
                let content = right(&target("1.1")).into_bytes();
                assert_eq!(conn.take(content.len()), Ok(content), "{way}");
                statuses
            }
            Protocol::H2 => {
                let mut frames = Frames::connect(edge.site.https);
                let target = target("2");
                let fields = [
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", "shop.example"),
                    (":path", target.as_str()),
                ];
                frames.headers(1, &fields, true);
                let answered = frames.answer(1);
                assert_eq!(answered.end, End::Stream, "{way}");
                assert_eq!(answered.content, right(&target).into_bytes(), "{way}");
                answered.statuses
            }
        };
        told.retain(|status| *status != 100);
        assert_eq!(told, [103, 200], "{way}");
        control(
            &mut Guest::new(&edge, way.protocol),
            &way,
            &["alone", "beside"],
            1,
        );
    }
    holds_nothing(&edge, &shop);
}
