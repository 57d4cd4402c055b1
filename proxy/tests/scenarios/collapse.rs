//! Many visitors, one page, nothing stored yet.

use std::{thread, time::Duration};

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{H2, exchange, https, request},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

const VISITORS: usize = 200;

/// All visitors ask for `/`; the gate opens when the first of them has reached the shop.
fn rush(edge: &Edge, shop: &Origin, gate: &Gate, fields: fn(usize) -> String) -> Vec<Response> {
    let address = edge.site.http;
    let visitors: Vec<_> = (0..VISITORS)
        .map(|i| {
            thread::spawn(move || {
                let mut conn = Conn::open(address);
                conn.request("GET", "/", &[("Cookie", &fields(i))]);
                conn.response("GET")
            })
        })
        .collect();
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") >= Some(VISITORS as f64)
            && shop.count("/") >= 1
    });
    gate.open();
    let join = |visitor: thread::JoinHandle<Response>| visitor.join().expect("answered");
    visitors.into_iter().map(join).collect()
}

#[test]
fn one_request_answers_everyone() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        let content = "x".repeat(50_000);
        page(content)
            .field("Cache-Control", "public, max-age=60")
            .when(&closed)
    });
    let edge = Edge::start(&smallest(&shop));
    let answers = rush(&edge, &shop, &gate, |i| format!("id={i}"));
    for answer in &answers {
        assert_eq!((answer.status, answer.body.len()), (200, 50_000));
    }
    assert_eq!(shop.count("/"), 1);
    let stored = answers.iter().filter(|a| a.cache().ends_with("; stored"));
    assert_eq!(stored.count(), 1);
    let id = |a: &Response| a.field("x-request-id").map(str::to_owned);
    let mut ids: Vec<_> = answers.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), VISITORS, "everyone has an id of their own");
}

#[test]
fn uncacheable_answers_are_everyones_own() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| {
        let who = r.field("cookie").unwrap_or("nobody").to_owned();
        let answer = page(who).field("Cache-Control", "no-store");
        if r.nth == 1 {
            answer.when(&closed)
        } else {
            answer
        }
    });
    let edge = Edge::start(&smallest(&shop));
    let answers = rush(&edge, &shop, &gate, |i| format!("id={i}"));
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!((answer.status, answer.text()), (200, format!("id={i}")));
    }
    // Once on behalf of all, without any of the cookies, and then everyone in person.
    assert_eq!(shop.count("/"), VISITORS + 1);
}

#[test]
fn nobody_gets_anothers_cookie() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| {
        let who = r.field("cookie").unwrap_or("nobody").to_owned();
        let answer = page(who.clone())
            .field("Cache-Control", "public, max-age=60")
            .field("Set-Cookie", who)
            .after(Duration::from_millis(5));
        if r.nth == 1 {
            answer.when(&closed)
        } else {
            answer
        }
    });
    let edge = Edge::start(&smallest(&shop));
    let answers = rush(&edge, &shop, &gate, |i| format!("id={i}"));
    for (i, answer) in answers.iter().enumerate() {
        let own = format!("id={i}");
        assert_eq!((answer.status, answer.text()), (200, own.clone()));
        assert_eq!(answer.field("set-cookie"), Some(own.as_str()));
    }
    assert_eq!(
        edge.metric("dhal_cache_stored_responses{tier=\"memory\"}"),
        Some(0.0)
    );
}

/// A shop whose first answer breaks off after `short`, and a visitor for it with twenty behind.
fn broken_off(whole: &'static str) -> (usize, Vec<Result<String, String>>) {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => crate::origin::raw(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n\
             Content-Length: 9\r\n\r\nshort",
        )
        .then(&closed, ""),
        _ => page(whole).field("Cache-Control", "public, max-age=60"),
    });
    let edge = Edge::start(&smallest(&shop));
    let address = edge.site.http;
    let visit = move || {
        thread::spawn(move || {
            let mut conn = Conn::open(address);
            conn.request("GET", "/", &[]);
            conn.try_response("GET").map(|answer| answer.text())
        })
    };
    let mut visitors = vec![visit()];
    eventually("the first is under way", || shop.count("/") == 1);
    visitors.extend((0..20).map(|_| visit()));
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") >= Some(21.0)
    });
    gate.open();
    let answers = visitors.into_iter();
    let answers = answers.map(|v| v.join().expect("a result")).collect();
    (shop.count("/"), answers)
}

#[test]
fn an_answer_that_breaks_off_is_completed_for_everyone() {
    let (asked, answers) = broken_off("shortened");
    for answer in answers {
        assert_eq!(answer.as_deref(), Ok("shortened"));
    }
    assert_eq!(asked, 2);
}

#[test]
fn an_answer_that_cannot_be_completed_never_looks_whole() {
    let (_, answers) = broken_off("different");
    for answer in answers {
        // Who came late enough has the new one.
        assert!(
            answer.is_err() || answer == Ok("different".to_owned()),
            "{answer:?}"
        );
    }
}

#[test]
fn one_request_answers_everyone_whatever_their_protocol() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| {
        page("x".repeat(50_000))
            .field("Cache-Control", "public, max-age=60")
            .when(&closed)
    });
    let edge = Edge::start_tls(&plain(&shop));
    let address = edge.site.https;
    let streams: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let h2 = H2::connect(address);
                let asking = || exchange(h2.sender.clone(), request("GET", "/", &[]), None);
                let tasks: Vec<_> = (0..25).map(|_| h2.runtime.spawn(asking())).collect();
                let mut answers = Vec::new();
                for task in tasks {
                    let answer = h2.runtime.block_on(task).expect("a task");
                    answers.push(answer.expect("an answer"));
                }
                answers
            })
        })
        .collect();
    let lines: Vec<_> = (0..50)
        .map(|_| thread::spawn(move || vec![https(address, "shop.example").get("/")]))
        .collect();
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") == Some(54.0) && shop.count("/") >= 1
    });
    gate.open();
    let mut count = 0;
    for visitor in streams.into_iter().chain(lines) {
        for answer in visitor.join().expect("answered") {
            assert_eq!((answer.status, answer.body.len()), (200, 50_000));
            count += 1;
        }
    }
    assert_eq!((count, shop.count("/")), (150, 1));
}
