//! Connections that live long: WebSocket across reloads, limits and the end, and events that arrive one by one.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::{
    client::Conn,
    edge::Edge,
    grpc::in_time,
    h2::{H2, request},
    h2_shop::{H2Shop, answer},
    h2_upstream,
    origin::{Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, PATIENCE, eventually},
    upgrade::{ASK, echoing},
};

const OPEN: &str = "dhal_tunnels_open{upstream=\"shop\"}";

fn tunnel(edge: &Edge) -> Conn {
    let mut conn = edge.connect();
    conn.send(ASK);
    assert_eq!(conn.head().expect("an answer").0, 101);
    assert_eq!(conn.take(8).expect("a welcome"), b"welcome ");
    conn
}

fn says(conn: &mut Conn, word: &str) {
    conn.send(word);
    assert_eq!(conn.take(word.len()).expect("an echo"), word.as_bytes());
}

#[test]
fn tunnels_survive_reloads_and_are_counted() {
    let (shop, other) = (echoing(), Origin::start(|_| page("other")));
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.metric(OPEN), None);
    let mut one = tunnel(&edge);
    let mut two = tunnel(&edge);
    edge.counts(OPEN, 2.0);
    // Another server, and another way to reach it.
    assert!(edge.reload(&smallest(&other)).status.success());
    assert_eq!(edge.get("/page").text(), "other");
    says(&mut one, "after a reload");
    assert!(edge.reload(&smallest(&shop)).status.success());
    says(&mut two, "after another");
    edge.counts(OPEN, 2.0);
    drop(one);
    eventually("it is counted out", || edge.metric(OPEN) == Some(1.0));
    says(&mut two, "still here");
    two.finish();
    two.ends();
    eventually("none is left", || edge.metric(OPEN) == Some(0.0));
}

#[test]
fn tunnels_that_fall_silent_are_closed() {
    let shop = echoing();
    let limits =
        "timeouts = { tunnel = \"3s\", response = \"2s\" }\neject = { consecutive_failures = 1 }";
    let edge =
        Edge::start(&smallest(&shop).replace("[[routes]]", &format!("{limits}\n[[routes]]")));
    let mut busy = tunnel(&edge);
    let mut quiet = tunnel(&edge);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(4500) {
        says(&mut busy, "word");
        assert!(busy.is_quiet(Duration::from_millis(100)));
    }
    quiet.ends();
    assert!(began.elapsed() >= Duration::from_secs(3));
    says(&mut busy, "still here");
    busy.ends();
    eventually("both are in the log", || edge.log().len() == 2);
    for line in edge.log() {
        assert_eq!(line["status"], 101);
        assert!(line["reason"].is_null(), "nobody is to blame: {line}");
    }
    assert!(!edge.stderr().contains("ejected"));
    assert_eq!(edge.get("/page").text(), "no chat");
}

#[test]
fn tunnels_end_with_the_process() {
    let shop = echoing();
    let mut edge = Edge::start(&(smallest(&shop) + "[server]\nshutdown_grace = \"4s\"\n"));
    let mut conn = tunnel(&edge);
    edge.signal(Signal::SIGTERM);
    eventually("it is not ready", || edge.admin("GET", "/readyz").0 == 503);
    says(&mut conn, "within the grace");
    assert!(edge.wait().success());
    assert!(conn.rest().is_ok_and(|rest| rest.is_empty()));
}

/// Sends an event whenever it is told to, over HTTP/1.1.
fn http1_events(orders: Vec<Gate>) -> Origin {
    let orders = Arc::new(Mutex::new(orders.into_iter()));
    Origin::start(move |_| {
        let gates: Vec<Gate> = (0..3)
            .filter_map(|_| orders.lock().expect("lock").next())
            .collect();
        raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n")
            .take(move |mut stream| {
                for (n, gate) in gates.iter().enumerate() {
                    gate.wait(PATIENCE);
                    let _ = stream.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes());
                }
                let _ = stream.write_all(b"0\r\n\r\n");
                let _ = stream.read(&mut [0; 1]);
            })
    })
}

/// The same over HTTP/2.
fn http2_events(orders: Vec<Gate>) -> H2Shop {
    let orders = Arc::new(Mutex::new(orders.into_iter()));
    H2Shop::start(move |mut asked| {
        let gates: Vec<Gate> = (0..3)
            .filter_map(|_| orders.lock().expect("lock").next())
            .collect();
        async move {
            let fields = [
                ("content-type", "text/event-stream"),
                ("cache-control", "no-store"),
            ];
            let head = answer(200, &fields);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            let (tell, mut told) = mpsc::unbounded_channel();
            std::thread::spawn(move || {
                for gate in gates {
                    gate.wait(PATIENCE);
                    let _ = tell.send(());
                }
            });
            let mut n = 0;
            while told.recv().await.is_some() {
                let event = format!("data: {n}\n\n");
                let _ = send.send_data(event.into(), false);
                n += 1;
            }
            let _ = send.send_data(Bytes::new(), true);
        }
    })
}

/// Each event arrives before the next is sent, whatever the visitor speaks; on a route with a cache, too.
fn events_come_one_by_one(edge: &Edge, gates: &[Gate]) {
    let mut visits = gates.chunks(3);
    for path in ["/own/events", "/stored/events"] {
        let gates = visits.next().expect("gates");
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        assert_eq!(conn.head().expect("an answer").0, 200);
        for (n, gate) in gates.iter().enumerate() {
            gate.open();
            let event = conn.take(14).expect("an event");
            assert_eq!(
                event,
                format!("9\r\ndata: {n}\n\n\r\n").into_bytes(),
                "{path}"
            );
        }
        assert_eq!(conn.take(5).expect("the end"), b"0\r\n\r\n");

        let gates = visits.next().expect("gates");
        let h2 = H2::connect(edge.site.https);
        let mut sender = h2.sender.clone();
        let visit = async {
            let asked = request("GET", path, &[]);
            let (response, _) = sender.send_request(asked, true).expect("a stream");
            let mut body = response.await.expect("an answer").into_body();
            for (n, gate) in gates.iter().enumerate() {
                gate.open();
                let event = body.data().await.expect("an event").expect("an event");
                assert_eq!(event, format!("data: {n}\n\n"), "{path}");
            }
            assert!(
                body.data()
                    .await
                    .is_none_or(|end| end.is_ok_and(|end| end.is_empty()))
            );
        };
        h2.runtime.block_on(in_time(visit));
    }
}

#[test]
fn events_come_one_by_one_from_http1() {
    let gates: Vec<Gate> = (0..12).map(|_| Gate::default()).collect();
    let shop = http1_events(gates.clone());
    let own = "[[routes]]\npath = \"/own/*\"\nupstream = \"shop\"\n";
    let edge = Edge::start_tls(&(plain(&shop) + own));
    events_come_one_by_one(&edge, &gates);
}

#[test]
fn events_come_one_by_one_from_http2() {
    let gates: Vec<Gate> = (0..12).map(|_| Gate::default()).collect();
    let shop = http2_events(gates.clone());
    let edge = Edge::start_tls(&h2_upstream::config(&shop, ""));
    events_come_one_by_one(&edge, &gates);
}
