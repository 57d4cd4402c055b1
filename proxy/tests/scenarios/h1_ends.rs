//! How connections over HTTP/1.1 end: told, in time, and not before the last answer is there.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::Edge,
    h2::{H2, https},
    origin::{Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

const LARGE: usize = 1024 * 1024;

fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/large" => page("x".repeat(LARGE)).fresh(600),
        target => page(format!("this is {target}")).fresh(600),
    })
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n")
}

#[test]
fn close_in_the_middle_of_a_pipeline() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    // A hit, a miss, and what only the shop can answer; behind it more than is read at once.
    for more in [
        "",
        "Cookie: a=b\r\n",
        "Expect: 100-continue\r\nContent-Length: 0\r\n",
    ] {
        for mut conn in [edge.connect(), https(edge.site.https, "shop.example")] {
            let first = get("/page", "").repeat(20) + &get("/large", "").repeat(3);
            let last = get("/large", &format!("Connection: close\r\n{more}"));
            conn.send(format!("{first}{last}{}", get("/behind", "").repeat(2_000)));
            for _ in 0..20 {
                assert_eq!(conn.response("GET").text(), "this is /page");
            }
            for nth in 0..4 {
                let answer = conn.response("GET");
                assert_eq!(answer.body.len(), LARGE);
                let close = (nth == 3).then_some("close");
                assert_eq!(answer.field("connection"), close);
            }
            conn.ends();
        }
    }
    assert_eq!(shop.count("/behind"), 0);
}

/// The last byte of a request comes with the first of the next one, so that the edge never has none at hand.
#[test]
fn each_head_has_its_own_time() {
    const LIMIT: Duration = Duration::from_secs(4);
    let shop = shop();
    let edge = Edge::start(&(smallest(&shop) + "[server]\nheader_timeout = \"4s\"\n"));
    let text = get("/page", "");
    let (first, rest) = text.split_at(7);
    let mut conn = edge.connect();
    conn.send(first);
    let began = Instant::now();
    while began.elapsed() < 2 * LIMIT {
        conn.send(format!("{rest}{first}"));
        assert_eq!(conn.response("GET").status, 200, "{:?}", began.elapsed());
        // Never long enough for one head.
        assert!(conn.is_quiet(LIMIT / 40));
    }
    assert_eq!(conn.response("GET").status, 408, "which is then told");
    conn.ends();
}

#[test]
fn idle_connections_end_with_a_word() {
    let shop = shop();
    let limits = "[server]\nkeepalive_timeout = \"4s\"\nheader_timeout = \"4s\"\n";
    let edge = Edge::start_tls(&(plain(&shop) + limits));
    let mut used: Vec<Conn> = Vec::new();
    for _ in 0..5 {
        used.push(edge.connect());
        used.push(https(edge.site.https, "shop.example"));
    }
    for conn in &mut used {
        assert_eq!(conn.get("/page").status, 200);
    }
    let unused = [edge.connect(), https(edge.site.https, "shop.example")];
    // Over TLS an end without close_notify would be an error.
    used.into_iter()
        .chain(unused)
        .for_each(|mut conn| conn.ends());
    let h2 = H2::connect(edge.site.https);
    h2.runtime
        .block_on(h2.connection)
        .expect("a task")
        .expect("a clean end");
    eventually("nothing stays open", || {
        edge.metric("dhal_connections") == Some(0.0)
    });
}

#[test]
fn a_drain_ends_who_waits_and_nobody_else() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("complete").when(&closed),
        "/streamed" => {
            raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").then(&closed, "-last")
        }
        _ => page("page").fresh(600),
    });
    let mut edge = Edge::start_tls(&(plain(&shop) + "[server]\nshutdown_grace = \"60s\"\n"));
    let mut idle: Vec<Conn> = Vec::new();
    let mut idle_h2 = Vec::new();
    for _ in 0..20 {
        idle.push(edge.connect());
        idle.push(https(edge.site.https, "shop.example"));
    }
    for conn in &mut idle {
        assert_eq!(conn.get("/").status, 200);
    }
    for _ in 0..5 {
        let mut h2 = H2::connect(edge.site.https);
        assert_eq!(h2.get("/").status, 200);
        idle_h2.push(h2);
    }
    let mut running = Vec::new();
    for path in ["/slow", "/streamed"] {
        for mut conn in [edge.connect(), https(edge.site.https, "shop.example")] {
            conn.request("GET", path, &[]);
            running.push((path, conn));
        }
    }
    eventually("they are under way", || {
        shop.count("/slow") + shop.count("/streamed") == 4
    });
    edge.signal(Signal::SIGTERM);
    for conn in &mut idle {
        conn.ends();
    }
    for h2 in idle_h2 {
        let ended = h2.runtime.block_on(h2.connection).expect("a task");
        ended.expect("a clean end");
    }
    // All of that while the shop says nothing, and long before the grace is over.
    gate.open();
    for (path, conn) in &mut running {
        let wanted = match *path {
            "/slow" => "complete",
            _ => "first-last",
        };
        assert_eq!(conn.response("GET").text(), wanted);
        conn.ends();
    }
    assert!(edge.wait().success());
    assert!(!edge.stderr().contains("grace is over"));
}
