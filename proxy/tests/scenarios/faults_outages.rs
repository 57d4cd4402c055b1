//! Servers that come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    disk::passed,
    edge::Edge,
    faults::Guest,
    origin::{Origin, page},
    rules::BOTH,
    tools::eventually,
};

/// How often half of the servers go and come back, how long each state lasts, and how many requests there are
/// in it at least.
const FLAPS: usize = 3;
const STATE: Duration = Duration::from_secs(1);
const ASKED: usize = 50;

/// Both ways to these servers.
fn routes(servers: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = [{servers}]
        [[routes]]
        path = "/passes/*"
        upstream = "shop"
        [[routes]]
        path = "/stores/*"
        upstream = "shop"
        cache = "default"
        "#
    )
}

#[test]
fn half_of_four_flap() {
    let mut servers: Vec<_> = (0..4)
        .map(|_| Origin::start(|r| page(r.target.clone()).fresh(60)))
        .collect();
    let list: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    let edge = Edge::start_tls(&routes(&list.join(", ")));
    let (running, served) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut visitors = Vec::new();
    for protocol in BOTH {
        for route in ["passes", "stores"] {
            let mut guest = Guest::new(&edge, protocol);
            let (running, served) = (Arc::clone(&running), Arc::clone(&served));
            visitors.push(thread::spawn(move || {
                let mut nth = 0;
                while running.load(Ordering::SeqCst) {
                    // Never one that is stored.
                    let target = format!("/{route}/{protocol:?}/{nth}");
                    let answer = guest.get(&target);
                    assert_eq!((answer.status, answer.text()), (200, target));
                    nth += 1;
                    served.fetch_add(1, Ordering::SeqCst);
                    // A steady visitor, who leaves the machine to others.
                    thread::sleep(Duration::from_millis(2));
                }
            }));
        }
    }
    let lasts = || {
        let before = served.load(Ordering::SeqCst);
        thread::sleep(STATE);
        eventually("visitors are served", || {
            let ended = visitors.iter().any(|visitor| visitor.is_finished());
            ended || served.load(Ordering::SeqCst) >= before + ASKED
        });
    };
    lasts();
    for _ in 0..FLAPS {
        servers[..2].iter_mut().for_each(Origin::stop);
        lasts();
        servers[..2].iter_mut().for_each(Origin::restart);
        lasts();
    }
    running.store(false, Ordering::SeqCst);
    for visitor in visitors {
        visitor.join().expect("no request fails");
    }
}

/// Pages that are kept answer, and say what they are; others get an error page; and all is well again without
/// anyone's hand once the shop is back.
#[test]
fn all_down_and_back() {
    let mut servers: Vec<_> = (0..2)
        .map(|_| {
            Origin::start(|r| {
                let answer = page(r.target.clone());
                match r.target.ends_with("kept") {
                    true => answer.field("Cache-Control", "max-age=1, stale-if-error=600"),
                    false => answer.fresh(600),
                }
            })
        })
        .collect();
    let list: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    let edge = Edge::start_tls(&routes(&list.join(", ")));
    for protocol in BOTH {
        let mut guest = Guest::new(&edge, protocol);
        for path in ["passes/fresh", "stores/fresh", "stores/kept"] {
            let target = format!("/{path}");
            assert_eq!(guest.get(&target).text(), target);
        }
    }
    let stored = Instant::now();
    servers.iter_mut().for_each(Origin::stop);
    // The second of its life.
    passed(stored, Duration::from_millis(1_200));
    for protocol in BOTH {
        let mut guest = Guest::new(&edge, protocol);
        let kept = guest.get("/stores/kept");
        assert_eq!((kept.status, kept.text().as_str()), (200, "/stores/kept"));
        assert_eq!(kept.cache(), "dhal; hit; detail=stale-if-error");
        let fresh = guest.get("/stores/fresh");
        assert!(fresh.is_hit() && fresh.text() == "/stores/fresh");
        for target in ["/passes/fresh", "/stores/new"] {
            let answer = guest.get(target);
            assert!(matches!(answer.status, 502 | 503), "{target}: {answer:?}");
            assert!(answer.text().contains("<!doctype html>"), "{target}");
        }
    }
    servers.iter_mut().for_each(Origin::restart);
    for protocol in BOTH {
        let mut guest = Guest::new(&edge, protocol);
        for path in ["passes/fresh", "stores/kept", "stores/new"] {
            let target = format!("/{path}");
            eventually("the shop answers again", || {
                let answer = guest.get(&target);
                answer.text() == target && !answer.cache().contains("stale")
            });
        }
    }
}
