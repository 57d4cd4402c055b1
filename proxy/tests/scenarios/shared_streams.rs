//! Visitors who share a connection to a server that speaks HTTP/2: what one does, or meets, is no matter of the
//! others.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    edge::Edge,
    h2::{Frames, frame, headers},
    h2_shop::{H2Shop, by_hand},
    tools::{Gate, PATIENCE, eventually},
};

fn config(server: &impl std::fmt::Display, more: &str) -> String {
    format!(
        r#"
        [server]
        threads = 1

        [upstreams.shop]
        servers = ["{server}"]
        protocol = "h2"
        {more}

        [[routes]]
        upstream = "shop"
        "#
    )
}

/// The answer to a request whose visitor has most likely left by then.
fn answer_late(out: &Mutex<TcpStream>, asked: &mpsc::Receiver<(u32, Instant)>) {
    while let Ok((stream, at)) = asked.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let mut bytes = frame(1, 4, stream, b"\x88");
        bytes.extend(frame(0, 0, stream, &[b'x'; 4_000]));
        bytes.extend(frame(0, 1, stream, &[b'x'; 4_000]));
        if out.lock().expect("lock").write_all(&bytes).is_err() {
            return;
        }
    }
}

/// `:status 200` and the first piece of a page whose rest comes when the gate opens.
fn begin_long(out: &Arc<Mutex<TcpStream>>, stream: u32, gate: &Gate) {
    let (out, gate) = (Arc::clone(out), gate.clone());
    let send = move |bytes: &[u8]| {
        let _ = out.lock().expect("lock").write_all(bytes);
    };
    send(&frame(1, 4, stream, b"\x88"));
    send(&frame(0, 0, stream, b"one, "));
    thread::spawn(move || {
        gate.wait(PATIENCE);
        send(&frame(0, 1, stream, b"two"));
    });
}

#[test]
fn who_cancels_cuts_nobody_else_off() {
    let (gate, begun) = (Gate::default(), Gate::default());
    let (closed, first_is_here) = (gate.clone(), begun.clone());
    let shop = by_hand(move |mut wire, _| {
        let out = Arc::new(Mutex::new(wire.stream.try_clone().expect("a handle")));
        let (ask, asked) = mpsc::channel();
        let late = Arc::clone(&out);
        thread::spawn(move || answer_late(&late, &asked));
        let mut first = true;
        while let Some((kind, _, stream, _)) = wire.next() {
            if kind == 1 && std::mem::take(&mut first) {
                begin_long(&out, stream, &closed);
                first_is_here.open();
            } else if kind == 1 {
                let _ = ask.send((stream, Instant::now() + Duration::from_millis(3)));
            }
        }
    });
    let edge = Edge::start_tls(&config(&shop, "eject = { consecutive_failures = 5 }"));
    let mut patient = edge.connect();
    patient.request("GET", "/long", &[]);
    begun.wait(PATIENCE);
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/page"),
    ];
    let fickle = || {
        for _ in 0..10 {
            let mut frames = Frames::connect(edge.site.https);
            for round in 0..6 {
                let streams = (0..40).map(|n| 1 + 80 * round + 2 * n);
                let asked = streams.clone().flat_map(|n| headers(n, &get, true));
                frames.send(&asked.collect::<Vec<_>>());
                thread::sleep(Duration::from_micros(3_500));
                let left = streams.flat_map(|n| frame(3, 0, n, &8u32.to_be_bytes()));
                frames.send(&left.collect::<Vec<_>>());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(fickle);
        }
    });
    gate.open();
    assert_eq!(patient.response("GET").text(), "one, two");
    assert!(!edge.stderr().contains("ejected"), "nobody is to blame");
}

#[test]
fn a_second_connection_that_is_refused_costs_nobody() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = by_hand(move |mut wire, nth| {
        if nth > 1 {
            return;
        }
        // One stream at once.
        wire.frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]);
        while let Some(stream) = wire.request() {
            if stream > 1 {
                closed.wait(PATIENCE);
            }
            wire.head(stream, &[("content-length", "0")], true);
        }
    });
    let edge = Edge::start(&config(&shop, "eject = { consecutive_failures = 1 }"));
    assert_eq!(edge.get("/first").status, 200);
    thread::scope(|scope| {
        let asked = ["/a", "/b", "/c"].map(|path| {
            let edge = &edge;
            scope.spawn(move || edge.get(path).status)
        });
        let tried = "dhal_upstream_connections_opened_total{upstream=\"shop\"}";
        eventually("they are under way", || {
            let (_, text) = edge.admin("GET", "/status");
            edge.metric(tried) >= Some(1.0) && text.contains("\"in_flight\":3")
        });
        gate.open();
        for status in asked {
            assert_eq!(status.join().expect("an answer"), 200);
        }
    });
}

#[test]
fn a_slow_page_does_not_cost_the_connection_on_which_others_are_answered() {
    let shop = H2Shop::start(|mut asked| async move {
        if asked.path() == "/slow" {
            tokio::time::sleep(PATIENCE).await;
        }
        asked.page("x").await
    });
    let limits = "timeouts = { response = \"1s\" }\nretry = { attempts = 0 }";
    let edge = Edge::start(&config(&shop, limits));
    assert_eq!(edge.get("/quick").status, 200);
    thread::scope(|scope| {
        let slow = scope.spawn(|| edge.get("/slow").status);
        let mut quick = 0;
        while !slow.is_finished() {
            assert_eq!(edge.get("/quick").status, 200);
            quick += 1;
        }
        assert!(quick > 0);
        assert_eq!(slow.join().expect("an answer"), 504);
    });
    assert_eq!(edge.get("/quick").status, 200);
    assert_eq!(shop.connections(), 1);
}
