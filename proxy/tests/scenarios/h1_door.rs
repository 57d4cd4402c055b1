//! The door for HTTP/1.1: requests in any pieces and any number at once.

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::https,
    measure::{has_read, memory},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

const LARGE: usize = 100 * 1024;

fn large(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(LARGE).collect()
}

/// Pages that are stored, large ones, and what is for one visitor alone.
fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        target if target.starts_with("/large") => page(large(target)).fresh(600),
        "/own" => page(format!("{} {}", r.method, r.body.len())),
        target => page(format!("this is {target}"))
            .fresh(600)
            .field("ETag", "\"v\""),
    })
}

/// What does not differ from answer to answer.
fn lasting(answer: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let differs = ["age", "x-request-id", "cache-status"];
    let mut fields = answer.fields.clone();
    fields.retain(|(name, _)| !differs.contains(&name.as_str()));
    (answer.status, fields, answer.body.clone())
}

#[test]
fn hits_torn_at_every_byte() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let first = "GET /page?a=b HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n";
    let second = "GET /page?c=d HTTP/1.1\r\nHost: shop.example\r\nRange: bytes=0-3\r\n\r\n";
    edge.get("/page?a=b");
    edge.get("/page?c=d");
    let both = format!("{first}{second}");
    let mut whole = edge.connect();
    whole.send(&both);
    let wanted = [whole.response("GET"), whole.response("GET")];
    assert!(wanted[0].is_hit() && wanted[1].is_hit());
    assert_eq!((wanted[0].status, wanted[1].status), (200, 206));
    let wanted = wanted.map(|answer| lasting(&answer));
    for at in 1..both.len() {
        let mut conn = edge.connect();
        conn.send(&both[..at]);
        has_read(edge.site.http, conn.address());
        conn.send(&both[at..]);
        for wanted in &wanted {
            let answer = conn.response("GET");
            assert!(answer.is_hit(), "cut at {at}");
            assert_eq!(lasting(&answer), *wanted, "cut at {at}");
        }
    }
}

#[test]
fn records_torn_like_the_requests_in_them() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let text = "GET /page HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut conn = https(edge.site.https, "shop.example");
    let wanted = lasting(&conn.get("/page"));
    // One connection for all: each request but the first begins in the record that ends the one before.
    for at in 1..text.len() {
        conn.send(&text[..at]);
        has_read(edge.site.https, conn.address());
        conn.send(format!("{}{text}{}", &text[at..], &text[..at]));
        for _ in 0..2 {
            assert_eq!(lasting(&conn.response("GET")), wanted, "cut at {at}");
        }
        conn.send(&text[at..]);
        assert_eq!(lasting(&conn.response("GET")), wanted, "cut at {at}");
    }
}

/// A request, and what its answer must be.
struct Row {
    bytes: String,
    method: &'static str,
    status: u16,
    content: Vec<u8>,
}

fn row(method: &'static str, path: &str, more: &str, status: u16, content: &str) -> Row {
    Row {
        bytes: format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\n{more}"),
        method,
        status,
        content: content.as_bytes().to_vec(),
    }
}

/// Forty requests of all kinds; `round` makes the misses ones that nobody has asked for.
fn rows(round: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..4 {
        let path = format!("/page?{n}");
        let this = format!("this is {path}");
        let length = this.len();
        rows.extend([
            row("GET", &path, "\r\n", 200, &this),
            row("HEAD", &path, "\r\n", 200, ""),
            row("GET", &path, "Range: bytes=0-3\r\n\r\n", 206, "this"),
            row("GET", &path, "If-None-Match: \"v\"\r\n\r\n", 304, ""),
            row("GET", &path, "Range: bytes=999-\r\n\r\n", 416, ""),
        ]);
        let miss = format!("/page?round={round}-{n}");
        rows.push(row("GET", &miss, "\r\n", 200, &format!("this is {miss}")));
        let post = "Content-Length: 5\r\n\r\nabcde";
        rows.push(row("POST", "/own", post, 200, "POST 5"));
        rows.push(row("GET", "/own", "\r\n", 200, "GET 0"));
        let mut nowhere = row("GET", &path, "\r\n", 404, "");
        nowhere.bytes = nowhere.bytes.replace("shop.example", "nowhere.example");
        rows.push(nowhere);
        let mut last = row("GET", "/large", "\r\n", 200, "");
        last.content = large("/large");
        rows.push(last);
        assert!(length > 4);
    }
    assert_eq!(rows.len(), 40);
    rows
}

#[test]
fn forty_requests_of_all_kinds_in_one_write() {
    let shop = shop();
    let config = plain(&shop).replace("[[routes]]", "[[routes]]\nhost = \"shop.example\"");
    let edge = Edge::start_tls(&config);
    let mut conns = [edge.connect(), https(edge.site.https, "shop.example")];
    for (nth, conn) in conns.iter_mut().enumerate() {
        // The second time the pages are hits.
        for round in 0..3 {
            let rows = rows(10 * nth + round);
            let all: String = rows.iter().map(|row| row.bytes.as_str()).collect();
            conn.send(&all);
            for row in &rows {
                let what = format!("connection {nth}, round {round}: {}", row.bytes);
                let answer = conn.response(row.method);
                assert_eq!(answer.status, row.status, "{what}");
                if !matches!(row.status, 404 | 416) {
                    assert!(answer.body == row.content, "{what}");
                }
                assert_eq!(answer.field("connection"), None, "{what}");
            }
        }
    }
    eventually("each is told once", || edge.log().len() == 2 * 3 * 40);
    assert_eq!(shop.count("/large"), 2, "once for each scheme");
}

#[test]
fn readers_of_nothing_get_all_of_it_later() {
    const READERS: usize = 10;
    const EACH: usize = 100;
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let open = |nth: usize| match nth % 2 {
        0 => edge.connect(),
        _ => https(edge.site.https, "shop.example"),
    };
    for nth in 0..4 {
        assert_eq!(open(nth).get("/large?x").status, 200);
    }
    let before = memory(&edge);
    let mut readers: Vec<Conn> = (0..READERS).map(open).collect();
    for conn in &mut readers {
        (0..EACH).for_each(|_| conn.request("GET", "/large?x", &[]));
    }
    // Whoever reads is served meanwhile, and those are looked at before it.
    for nth in 0..4 {
        assert_eq!(open(nth).get("/large?x").body.len(), LARGE);
    }
    let grown = memory(&edge).saturating_sub(before);
    println!("{READERS} readers of nothing: {grown} KiB");
    // Of 100 MiB that they have asked for.
    assert!(grown < 8 * 1024, "{grown} KiB");
    for conn in &mut readers {
        for nth in 0..EACH {
            let answer = conn.response("GET");
            assert!(answer.body == large("/large?x"), "answer {nth}");
        }
    }
}

#[test]
fn the_end_of_the_requests_is_not_the_end_of_the_answers() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("slow").fresh(600).when(&closed),
        target if target.starts_with("/large") => page(large(target)).fresh(600),
        "/own" => page(format!("{} {}", r.method, r.body.len())),
        _ => page("page").fresh(600),
    });
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/").status + edge.get("/large").status, 400);
    let mut hits = edge.connect();
    (0..30).for_each(|_| hits.request("GET", "/large", &[]));
    hits.finish();
    let mut mixed = edge.connect();
    let many = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".repeat(20);
    let slow = "GET /slow HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let own = "POST /own HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nab";
    mixed.send(format!("{many}{slow}{many}{own}{many}"));
    mixed.finish();
    for _ in 0..30 {
        assert!(hits.response("GET").body == large("/large"));
    }
    hits.ends();
    eventually("the shop is asked", || shop.count("/slow") == 1);
    gate.open();
    for nth in 0..62 {
        let wanted = match nth {
            20 => "slow",
            41 => "POST 2",
            _ => "page",
        };
        assert_eq!(mixed.response("GET").text(), wanted, "answer {nth}");
    }
    mixed.ends();
}

#[test]
fn empty_lines_in_front_of_requests() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let get = "GET /page HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let post = "POST /own HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nab\r\n";
    for torn in [false, true] {
        let mut conn = edge.connect();
        let text = format!("\r\n{get}\r\n{get}{post}{get}\r\n{post}{get}");
        if torn {
            for byte in text.as_bytes().chunks(1) {
                conn.send(byte);
            }
        } else {
            conn.send(&text);
        }
        for wanted in ["page", "page", "own", "page", "own", "page"] {
            let answer = conn.response("GET");
            let content = answer.text();
            let right = match wanted {
                "own" => content == "POST 2",
                _ => content == "this is /page",
            };
            assert!(answer.status == 200 && right, "{content}");
        }
    }
    let mut two = edge.connect();
    two.send(format!("\r\n\r\n{get}"));
    assert_eq!(two.response("GET").status, 400, "one is passed over");
    two.ends();
}
