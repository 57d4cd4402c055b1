//! A thousand visitors at once for one page of a slow shop.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Conn, Response},
    disk::passed,
    edge::Edge,
    h2::{H2, exchange, request},
    origin::{Answer, Origin, page},
    serving::plain,
    tools::{Gate, eventually},
};

const LINES: usize = 600;
const CONNECTIONS: usize = 4;
const STREAMS: usize = 100;
const EVERYONE: usize = LINES + CONNECTIONS * STREAMS;

type Asked = tokio::task::JoinHandle<Result<Response, h2::Error>>;

/// A thousand requests on their way.
struct Crowd {
    lines: Vec<Conn>,
    streams: Vec<(H2, Vec<Asked>)>,
}

impl Crowd {
    /// Connects, but asks nothing yet.
    fn connect(edge: &Edge) -> Self {
        let connect = |_| (H2::connect(edge.site.https), Vec::new());
        Self {
            lines: (0..LINES).map(|_| edge.connect()).collect(),
            streams: (0..CONNECTIONS).map(connect).collect(),
        }
    }

    fn ask(&mut self, path: &str) {
        for (h2, tasks) in &mut self.streams {
            let asking = |_| {
                let asking = exchange(h2.sender.clone(), request("GET", path, &[]), None);
                h2.runtime.spawn(asking)
            };
            tasks.extend((0..STREAMS).map(asking));
        }
        for line in &mut self.lines {
            line.request("GET", path, &[]);
        }
    }

    fn answers(&mut self) -> Vec<Response> {
        let mut answers: Vec<_> = self
            .lines
            .iter_mut()
            .map(|line| line.response("GET"))
            .collect();
        for (h2, tasks) in &mut self.streams {
            for task in tasks.drain(..) {
                let answer = h2.runtime.block_on(task).expect("a task");
                answers.push(answer.expect("an answer"));
            }
        }
        assert_eq!(answers.len(), EVERYONE);
        answers
    }
}

#[test]
fn a_stale_page_answers_a_thousand_while_one_request_refreshes_it() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 | 2 => page("old").field("Cache-Control", "max-age=1, stale-while-revalidate=600"),
        _ => page("new").fresh(600).when(&closed),
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut crowd = Crowd::connect(&edge);
    expired(&edge, &shop);
    crowd.ask("/");
    for answer in crowd.answers() {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "old", "nobody waits");
        assert_eq!(answer.cache(), "dhal; hit; detail=stale-while-revalidate");
    }
    eventually("both schemes ask", || shop.count("/") == 4);
    gate.open();
    eventually("the new one is there", || edge.get("/").text() == "new");
    assert_eq!(shop.count("/"), 4, "one request for each scheme");
}

/// Asks for the page at `/` by both schemes, each of which has one of its own, and waits until its
/// second is over.
fn expired(edge: &Edge, shop: &Origin) {
    edge.get("/");
    H2::connect(edge.site.https).get("/");
    assert_eq!(shop.count("/"), 2);
    let stored = Instant::now();
    passed(stored, Duration::from_millis(1_200));
}

#[test]
fn a_thousand_wait_for_one_request_where_nothing_stale_may_answer() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 | 2 => page("old").fresh(1),
        _ => page("new".repeat(10_000)).fresh(600).when(&closed),
    });
    let edge = Edge::start_tls(&patient(&shop));
    let mut crowd = Crowd::connect(&edge);
    expired(&edge, &shop);
    crowd.ask("/");
    eventually("both schemes ask", || shop.count("/") == 4);
    gate.open();
    for answer in crowd.answers() {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.len(), 30_000, "{}", answer.cache());
    }
    assert_eq!(shop.count("/"), 4, "one request for each scheme");
}

/// Nobody's patience ends while a busy machine gets a thousand requests under way.
fn patient(shop: &Origin) -> String {
    let shop = plain(shop).replace("servers =", "timeouts = { response = \"60s\" }\nservers =");
    shop + "[cache]\nlock_timeout = \"60s\"\n"
}

#[test]
fn a_thousand_wait_for_one_revalidation() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.field("if-none-match") {
        Some("\"v\"") => page("")
            .status(304)
            .field("ETag", "\"v\"")
            .fresh(600)
            .when(&closed),
        _ => page("confirmed").field("ETag", "\"v\"").fresh(1),
    });
    let edge = Edge::start_tls(&patient(&shop));
    let mut crowd = Crowd::connect(&edge);
    expired(&edge, &shop);
    crowd.ask("/");
    eventually("both schemes ask", || shop.count("/") == 4);
    gate.open();
    for answer in crowd.answers() {
        assert_eq!((answer.status, answer.text().as_str()), (200, "confirmed"));
    }
    assert_eq!(shop.count("/"), 4, "one request for each scheme");
}

#[test]
fn nobody_waits_for_another_once_a_page_is_known_to_be_everyones_own() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| {
        let answer: Answer = page("yours").field("Cache-Control", "private");
        match r.field("cookie") {
            Some("slow=1") => answer.when(&closed),
            _ => answer,
        }
    });
    let edge = Edge::start_tls(&plain(&shop));
    edge.get("/");
    let mut slow: Vec<_> = (0..10).map(|_| edge.connect()).collect();
    for conn in &mut slow {
        conn.request("GET", "/", &[("Cookie", "slow=1")]);
    }
    let before = 1;
    eventually("they ask side by side", || shop.count("/") == before + 10);
    for _ in 0..20 {
        assert_eq!(edge.get("/").text(), "yours");
    }
    assert_eq!(shop.count("/"), before + 30);
    gate.open();
    for conn in &mut slow {
        assert_eq!(conn.response("GET").text(), "yours");
    }
}

#[test]
fn a_failing_shop_is_asked_by_few() {
    for status in [500, 503] {
        let gate = Gate::default();
        let closed = gate.clone();
        let shop = Origin::start(move |_| page("broken").status(status).when(&closed));
        let edge = Edge::start_tls(&plain(&shop));
        let address = edge.site.http;
        let visit = |_| thread::spawn(move || Conn::open(address).get("/"));
        let visitors: Vec<_> = (0..100).map(visit).collect();
        eventually("all are connected", || {
            edge.metric("dhal_connections_accepted_total") == Some(100.0) && shop.count("/") >= 1
        });
        // Accepted is not asked yet; those who come later are few.
        gate.open();
        for visitor in visitors {
            let answer = visitor.join().expect("answered");
            assert_eq!((answer.status, answer.text().as_str()), (status, "broken"));
        }
        assert!(shop.count("/") <= 3, "{status}: {}", shop.count("/"));
    }
}
