//! Visitors who share a connection to a server that speaks HTTP/2: what one does, or meets, is no matter of the
//! others.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    edge::Edge,
    h2::{Frames, frame, headers},
    h2_shop::{H2Shop, by_hand},
    h2_upstream::config,
    tools::{Gate, PATIENCE, eventually},
};

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
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let shop = by_hand(move |mut wire, _| {
        let out = Arc::new(Mutex::new(wire.stream.try_clone().expect("a handle")));
        let mut first = true;
        while let Some((kind, _, stream, _)) = wire.next() {
            match kind {
                1 if std::mem::take(&mut first) => {
                    begin_long(&out, stream, &closed);
                    first_is_here.open();
                }
                1 => {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                // Its answer was on its way when the visitor left.
                3 => {
                    let answer = frame(1, 5, stream, b"\x88");
                    let _ = out.lock().expect("lock").write_all(&answer);
                }
                _ => {}
            }
        }
    });
    let edge = Edge::start_tls(&config(
        &shop,
        "timeouts = { read = \"60s\" }\neject = { consecutive_failures = 5 }",
    ));
    let mut patient = edge.connect();
    patient.request("GET", "/long", &[]);
    begun.wait(PATIENCE);
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/page"),
    ];
    let mut expected = 0;
    for _ in 0..10 {
        let mut fickle = Frames::connect(edge.site.https);
        for round in 0..5 {
            let streams = (0..40).map(|n| 1 + 80 * round + 2 * n);
            let requests = streams.clone().flat_map(|n| headers(n, &get, true));
            fickle.send(&requests.collect::<Vec<_>>());
            expected += 40;
            eventually("the shop has them", || {
                asked.load(Ordering::SeqCst) >= expected
            });
            let resets = streams.flat_map(|n| frame(3, 0, n, &8u32.to_be_bytes()));
            fickle.send(&resets.collect::<Vec<_>>());
        }
    }
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
    let limits = "timeouts = { response = \"4s\" }\nretry = { attempts = 0 }";
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
