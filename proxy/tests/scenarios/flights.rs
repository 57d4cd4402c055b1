//! Everyone who waits reads along while an answer arrives.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, time::timeout};

use crate::{
    client::Conn,
    disk::noise,
    edge::Edge,
    h2::{H2, exchange, request},
    origin::{Answer, Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, PATIENCE, eventually},
};

/// The head and the first part of an answer; the rest once the gate opens.
fn in_parts(gate: &Gate, fields: &str, whole: &[u8], first: usize) -> Answer {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}Content-Length: {}\r\n\r\n",
        whole.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&whole[..first]);
    raw(bytes).then(gate, &whole[first..])
}

/// So many visitors who have asked for `/` and got its head.
fn heads(edge: &Edge, count: usize) -> Vec<Conn> {
    let ask = |_| {
        let mut conn = edge.connect();
        conn.request("GET", "/", &[]);
        conn
    };
    let mut conns: Vec<_> = (0..count).map(ask).collect();
    for conn in &mut conns {
        assert_eq!(conn.head().expect("a head").0, 200);
    }
    conns
}

#[test]
fn the_first_part_reaches_all_before_the_rest_is_there() {
    let whole = noise(100_000, 1);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), whole.clone());
    let shop = Origin::start(move |_| in_parts(&closed, "", &source, 40_000));
    let edge = Edge::start(&smallest(&shop));
    let mut conns = heads(&edge, 50);
    for conn in &mut conns {
        assert!(conn.take(40_000).expect("the first part") == whole[..40_000]);
    }
    // One who comes now gets it, too.
    conns.extend(heads(&edge, 1));
    let late = conns.last_mut().expect("the last one");
    assert!(late.take(40_000).expect("the first part") == whole[..40_000]);
    gate.open();
    for conn in &mut conns {
        assert!(conn.take(60_000).expect("the rest") == whole[40_000..]);
    }
    assert!(edge.get("/").is_hit());
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn streams_read_along() {
    let whole = noise(100_000, 2);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), whole.clone());
    let shop = Origin::start(move |_| in_parts(&closed, "", &source, 40_000));
    let edge = Edge::start_tls(&plain(&shop));
    let h2 = H2::connect(edge.site.https);
    let all_have_the_first = Arc::new(Barrier::new(21));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (sender, barrier) = (h2.sender.clone(), Arc::clone(&all_have_the_first));
            h2.runtime.spawn(async move {
                let mut sender = sender.ready().await.expect("room");
                let sent = sender.send_request(request("GET", "/", &[]), true);
                let mut body = sent.expect("sent").0.await.expect("a head").into_body();
                let mut read = Vec::new();
                let mut met = false;
                while let Some(part) = body.data().await {
                    let part = part.expect("data");
                    let done = body.flow_control().release_capacity(part.len());
                    done.expect("capacity");
                    read.extend_from_slice(&part);
                    if read.len() == 40_000 && !met {
                        met = true;
                        barrier.wait().await;
                    }
                }
                read
            })
        })
        .collect();
    h2.runtime.block_on(async {
        let met = timeout(PATIENCE, all_have_the_first.wait()).await;
        met.expect("all have the first part");
        gate.open();
        for task in tasks {
            assert!(task.await.expect("read") == whole);
        }
    });
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn a_slow_reader_blocks_nobody() {
    let whole = noise(6_000_000, 3);
    let source = whole.clone();
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| in_parts(&closed, "", &source, 10));
    let edge = Edge::start_tls(&plain(&shop));
    let mut lazy = heads(&edge, 3);
    let fast = heads(&edge, 3);
    let h2 = H2::connect(edge.site.https);
    // A stream whose data nobody takes.
    let idle = h2.runtime.block_on(async {
        let mut sender = h2.sender.clone().ready().await.expect("room");
        let sent = sender.send_request(request("GET", "/", &[]), true);
        sent.expect("sent").0.await.expect("a head").into_body()
    });
    gate.open();
    for mut conn in fast {
        assert!(conn.take(6_000_000).expect("all of it") == whole);
    }
    eventually("it is stored", || edge.get("/").is_hit());
    for conn in &mut lazy {
        assert!(conn.take(6_000_000).expect("all of it, late") == whole);
    }
    drop(idle);
}

#[test]
fn who_leaves_takes_nothing_away() {
    let whole = noise(1_000_000, 4);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), whole.clone());
    let shop = Origin::start(move |_| in_parts(&closed, "", &source, 300_000));
    let edge = Edge::start(&smallest(&shop));
    let mut conns = heads(&edge, 10);
    for conn in &mut conns {
        conn.take(1_000).expect("a beginning");
    }
    // The first, and others in the midst of it.
    conns.drain(..5);
    gate.open();
    for conn in &mut conns {
        assert!(conn.take(999_000).expect("the rest") == whole[1_000..]);
    }
    assert!(edge.get("/").is_hit());
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn when_everyone_leaves_it_is_stored_all_the_same() {
    let whole = noise(500_000, 5);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), whole.clone());
    let shop = Origin::start(move |_| in_parts(&closed, "", &source, 100_000));
    let edge = Edge::start(&smallest(&shop));
    drop(heads(&edge, 3));
    gate.open();
    eventually("it is stored", || {
        let answer = edge.get("/");
        assert!(answer.body == whole);
        answer.is_hit()
    });
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn of_unknown_length_and_too_large_it_reaches_all() {
    let whole = noise(3_000_000, 6);
    let source = whole.clone();
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        let chunks = source.chunks(50_000).map(|part| {
            let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
            chunk.extend_from_slice(part);
            chunk.extend_from_slice(b"\r\n");
            chunk
        });
        let chunks: Vec<_> = chunks.collect();
        let mut first = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        first.extend_from_slice(&chunks[0]);
        let mut rest = chunks[1..].concat();
        rest.extend_from_slice(b"0\r\n\r\n");
        raw(first).then(&closed, rest)
    });
    let config = plain(&shop) + "[cache]\nmax_object = \"256KiB\"\n";
    let edge = Edge::start_tls(&config);
    let address = edge.site.http;
    let visit = |_| thread::spawn(move || vec![Conn::open(address).get("/")]);
    let lines: Vec<_> = (0..20).map(visit).collect();
    let secure = edge.site.https;
    let streams = thread::spawn(move || {
        let h2 = H2::connect(secure);
        let asking = |_| {
            h2.runtime
                .spawn(exchange(h2.sender.clone(), request("GET", "/", &[]), None))
        };
        let tasks: Vec<_> = (0..10).map(asking).collect();
        let mut answers = Vec::new();
        for task in tasks {
            let answer = h2.runtime.block_on(task).expect("a task");
            answers.push(answer.expect("an answer"));
        }
        answers
    });
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") == Some(21.0) && shop.count("/") >= 1
    });
    gate.open();
    for visitor in lines.into_iter().chain([streams]) {
        for answer in visitor.join().expect("answered") {
            assert_eq!(answer.status, 200);
            assert!(answer.body == whole, "{} bytes", answer.body.len());
        }
    }
    let again = edge.get("/");
    assert!(!again.is_hit() && again.body == whole);
}

#[test]
fn ranges_and_heads_of_what_arrives() {
    let whole = noise(200_000, 7);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), whole.clone());
    let shop = Origin::start(move |_| in_parts(&closed, "ETag: \"v\"\r\n", &source, 50_000));
    let edge = Edge::start(&smallest(&shop));
    let _first = heads(&edge, 1);
    let head = edge.ask("HEAD", "/", &[]);
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("200000"))
    );
    let part = edge.ask("GET", "/", &[("Range", "bytes=10000-10009")]);
    assert!(part.status == 206 && part.body == whole[10_000..10_010]);
    assert_eq!(
        edge.ask("GET", "/", &[("If-None-Match", "\"v\"")]).status,
        304
    );
    assert_eq!(
        edge.ask("GET", "/", &[("Range", "bytes=200000-")]).status,
        416
    );
    let mut late = edge.connect();
    late.request("GET", "/", &[("Range", "bytes=-10")]);
    let (status, _) = late.head().expect("a head");
    assert_eq!(status, 206);
    assert!(
        late.is_quiet(Duration::from_millis(50)),
        "it is not there yet"
    );
    gate.open();
    assert!(late.take(10).expect("the end") == whole[199_990..]);
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn a_flight_that_stalls_hands_over() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => page("first").fresh(60).when(&closed),
        _ => page("second").fresh(60),
    });
    let edge = Edge::start(&(smallest(&shop) + "[cache]\nlock_timeout = \"3s\"\n"));
    let mut first = edge.connect();
    first.request("GET", "/", &[]);
    eventually("the first is under way", || shop.count("/") == 1);
    let began = Instant::now();
    let address = edge.site.http;
    let visit = |_| thread::spawn(move || Conn::open(address).get("/"));
    let others: Vec<_> = (0..50).map(visit).collect();
    for other in others {
        assert_eq!(other.join().expect("answered").text(), "second");
    }
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(shop.count("/"), 2, "one of them asked for all");
    gate.open();
    assert_eq!(first.response("GET").text(), "first");
    for _ in 0..3 {
        let answer = edge.get("/");
        assert!(answer.is_hit());
        assert_eq!(answer.text(), "second", "what was asked for later stays");
    }
}

#[test]
fn a_shop_that_hangs_up_on_nobody_is_asked_by_few() {
    // Accepts and answers nothing at all, to whomever.
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").fresh(60).when(&closed));
    let config = smallest(&shop).replace(
        "[[routes]]",
        "retry = { attempts = 0 }\ntimeouts = { response = \"2s\" }\n[[routes]]",
    );
    let edge = Edge::start(&(config + "[cache]\nlock_timeout = \"500ms\"\n"));
    let address = edge.site.http;
    let visit = |_| thread::spawn(move || Conn::open(address).get("/"));
    let visitors: Vec<_> = (0..30).map(visit).collect();
    for visitor in visitors {
        let answer = visitor.join().expect("answered");
        assert!(matches!(answer.status, 502..=504), "{}", answer.status);
    }
    gate.open();
    eventually("it recovers", || edge.get("/").status == 200);
}
