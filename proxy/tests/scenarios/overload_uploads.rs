//! Content and places among the requests at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    client::Conn,
    edge::Edge,
    origin::{Origin, page},
    overload::{config, held, nobody_is_at_work, of, one, shed, undisturbed},
    tools::{Gate, eventually},
};

#[test]
fn content_that_drips_holds_no_place() {
    let shop = held(&Gate::default());
    let edge = Edge::start(&config(&shop, &one(8)));
    let mut drips: Vec<_> = (0..3).map(|_| edge.connect()).collect();
    for conn in &mut drips {
        conn.request("POST", "/checkout/", &[("Content-Length", "100000")]);
        conn.send("ab");
    }
    assert_eq!(edge.get("/own").status, 200);
    assert_eq!(edge.metric(&of("uploads")), Some(0.0));
    for mut conn in drips {
        conn.send("c".repeat(99_998));
        assert_eq!(conn.response("POST").status, 200);
    }
    let form = [("Content-Length", "0")];
    assert_eq!(edge.ask("POST", "/checkout/", &form).status, 200);
    nobody_is_at_work(&edge);
}

#[test]
fn an_upload_is_at_work_when_it_is_whole() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        // Two at once, as many uploads, and nobody waits.
        let edge = Edge::start(&config(&shop, "{ min = 2, max = 2, queue = 0 }"));
        let upload = |length: usize| {
            let mut conn = edge.connect();
            conn.request("POST", "/held", &[("Content-Length", &length.to_string())]);
            conn.send(vec![b'u'; LARGE - 1]);
            conn
        };
        let uploads = |n: f64| {
            eventually(&format!("{n} upload"), || {
                edge.metric(&of("uploads")) == Some(n)
            });
        };
        let (mut first, second) = (upload(LARGE), upload(LARGE));
        uploads(2.0);
        nobody_is_at_work(&edge);
        // A third would be one too many; pages are not concerned.
        assert_eq!(upload(LARGE).response("POST").status, 503);
        assert_eq!(edge.metric(&shed("bot", "uploads")), Some(1.0));
        assert_eq!(edge.get("/page").status, 200);
        // Who gives up holds nothing, neither there nor at work.
        drop(second);
        uploads(1.0);
        nobody_is_at_work(&edge);
        first.send("u");
        uploads(0.0);
        eventually("it is at work", || edge.metric(&of("at_work")) == Some(1.0));
        gate.open();
        assert_eq!(first.response("POST").status, 200);
        nobody_is_at_work(&edge);
    });
}

/// Whatever the way in which content is told of, the shop works on no more at once than it should.
#[test]
fn uploads_wait_for_a_place_with_their_end_in_hand() {
    let at_once = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = Arc::clone(&at_once);
    let shop = Origin::start(move |r| {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        counts.0.fetch_sub(1, Ordering::SeqCst);
        page("done").field("X-Body", r.body.len())
    });
    let bounds = "{ min = 2, max = 2, queue = 64, queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, bounds));
    let chunked = |content: &str| {
        let head = "POST /checkout/ HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
        // This shop counts the framing, too.
        (head.to_owned() + &chunk, chunk.len())
    };
    let told = |length: usize| {
        let head =
            format!("POST /checkout/ HTTP/1.1\r\nHost: shop\r\nContent-Length: {length}\r\n\r\n");
        (head + &"u".repeat(length), length)
    };
    thread::scope(|scope| {
        for n in 0..24 {
            let (request, length) = match n % 4 {
                0 => chunked("a"),
                1 => chunked(&"b".repeat(LARGE)),
                2 => told(LARGE),
                _ => told(300),
            };
            let edge = &edge;
            scope.spawn(move || {
                let mut conn = edge.connect();
                conn.send(request);
                let answer = conn.response("POST");
                let length = length.to_string();
                assert_eq!(
                    (answer.status, answer.field("x-body")),
                    (200, Some(&*length))
                );
            });
        }
    });
    assert!(at_once.1.load(Ordering::SeqCst) <= 2);
    nobody_is_at_work(&edge);
    assert_eq!(edge.metric(&of("uploads")), Some(0.0));
}

/// More than is taken in beforehand.
const LARGE: usize = 40_000;

#[test]
fn a_form_that_drips_takes_no_place_before_it_is_whole() {
    let shop = Origin::start(|r| page("done").field("X-Body", r.body.len()));
    let edge = Edge::start(&config(&shop, &one(0)));
    let forms: Vec<Conn> = (0..20)
        .map(|_| {
            let mut conn = edge.connect();
            conn.send("POST /cart/items HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\nabc");
            conn
        })
        .collect();
    // All are there, and hold nothing that somebody else could need.
    eventually("the edge has all of them", || {
        edge.metric("dhal_connections") >= Some(20.0)
    });
    let mut visitor = edge.connect();
    for _ in 0..20 {
        assert_eq!(visitor.get("/page").status, 200);
    }
    nobody_is_at_work(&edge);
    for mut conn in forms {
        conn.send("def");
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.field("x-body")), (200, Some("6")));
    }
}
