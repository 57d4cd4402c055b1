//! Purges, the disk and what limits remember, from one process to the next.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use crate::{
    client::Conn,
    disk::{kept, plain_with_disk},
    edge::Edge,
    handover::{Service, is_alive},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{Gate, eventually},
    waiting_room::Browser,
};

/// A shop that counts versions, visitors that know what they may not see any more, and purges in between.
#[test]
fn no_purge_is_lost_between_two_processes() {
    let version = Arc::new(AtomicU64::new(1));
    let sells = Arc::clone(&version);
    let shop = Origin::start(move |_| page(sells.load(SeqCst).to_string()).fresh(600));
    for config in [
        plain(&shop) + "[server]\nkeepalive_timeout = \"1s\"\n",
        plain_with_disk(&shop, "") + "[server]\nkeepalive_timeout = \"1s\"\n",
    ] {
        purges_go_on(&config, &version);
    }
}

fn purges_go_on(config: &str, version: &Arc<AtomicU64>) {
    let mut service = Service::of(Edge::start(config));
    let floor = Arc::new(AtomicU64::new(0));
    let running = Arc::new(AtomicBool::new(true));
    let purges = Arc::new(AtomicUsize::new(0));
    let http = service.edge.site.http;
    let visitors: Vec<_> = (0..3)
        .map(|_| {
            let (running, floor) = (Arc::clone(&running), Arc::clone(&floor));
            thread::spawn(move || {
                let mut kept: Option<Conn> = None;
                while running.load(SeqCst) {
                    let least = floor.load(SeqCst);
                    let conn = kept.get_or_insert_with(|| Conn::open(http));
                    let answer = conn.get("/");
                    let seen: u64 = answer.text().parse().expect("a version");
                    assert!(
                        seen >= least,
                        "{seen} after {least} was purged for: {answer:?}"
                    );
                    if answer.field("connection") == Some("close") {
                        kept = None;
                    }
                }
            })
        })
        .collect();
    let socket = service.edge.site.path("admin.sock");
    let (more, raised, least, count) = (
        Arc::clone(&running),
        Arc::clone(version),
        Arc::clone(&floor),
        Arc::clone(&purges),
    );
    let purger = thread::spawn(move || {
        while more.load(SeqCst) {
            let sold = raised.fetch_add(1, SeqCst) + 1;
            if purged(&socket) {
                least.fetch_max(sold, SeqCst);
                count.fetch_add(1, SeqCst);
            }
        }
    });
    for _ in 0..3 {
        let until = purges.load(SeqCst) + 20;
        eventually("purges are confirmed", || {
            purges.load(SeqCst) > until || visitors.iter().any(JoinHandle::is_finished)
        });
        service.upgrade();
    }
    running.store(false, SeqCst);
    purger.join().expect("no fault of its own");
    for visitor in visitors {
        visitor.join().expect("nobody sees what was purged");
    }
}

/// Purges everything; `true` where that is confirmed.
fn purged(socket: &Path) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else {
        return false;
    };
    let json = "{\"all\": true}";
    let order = format!(
        "POST /purge HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    let mut answer = String::new();
    stream.write_all(order.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn both_use_the_disk_and_what_was_stored_last_is_there() {
    let shop = Origin::start(|r| page(format!("page {}", r.target)).fresh(600));
    let config = plain_with_disk(&shop, "") + "[server]\nupgrade_handover = \"0B\"\n";
    let mut service = Service::of(Edge::start(&config));
    for n in 0..20 {
        service.edge.get(&format!("/{n}"));
    }
    kept(&service.edge, 20);
    let asked = shop.seen().len();
    service.upgrade();
    for n in 0..20 {
        assert_eq!(
            service.edge.get(&format!("/{n}")).cache(),
            "dhal; hit",
            "{n}"
        );
    }
    assert_eq!(shop.seen().len(), asked);
    assert!(service.edge.wait().success());
    // The end of the old one takes nothing away from the new one.
    service.edge.get("/new");
    kept(&service.edge, 21);
    assert_eq!(service.edge.metric("dhal_cache_disk_damaged"), Some(0.0));
}

#[test]
fn a_purge_reaches_the_connections_of_the_old_process() {
    let gate = Gate::default();
    let sells = gate.clone();
    let shop = Origin::start(move |_| page(if sells.is_open() { "new" } else { "old" }).fresh(600));
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    let mut kept = service.edge.connect();
    assert_eq!(kept.get("/").text(), "old");
    service.upgrade();
    gate.open();
    assert!(purged(&service.edge.site.path("admin.sock")));
    assert_eq!(
        kept.get("/").text(),
        "new",
        "although it is connected to the one before"
    );
    assert_eq!(service.edge.get("/").text(), "new");
}

/// The process that stood between the first and the third is gone, and with it the way that purges took.
#[test]
fn who_hears_of_no_purges_answers_nothing_that_was_stored() {
    let gate = Gate::default();
    let sells = gate.clone();
    let shop = Origin::start(move |_| page(if sells.is_open() { "new" } else { "old" }).fresh(600));
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    let [mut first, mut second] = [service.edge.connect(), service.edge.connect()];
    for conn in [&mut first, &mut second] {
        assert_eq!(conn.get("/").text(), "old");
    }
    service.upgrade();
    let (between, _) = service.upgrade();
    eventually("the second process is gone", || !is_alive(between));
    eventually("the first one knows", || {
        service.edge.stderr().contains("nobody tells of purges")
    });
    let answer = first.get("/");
    assert_eq!(answer.text(), "old");
    assert_eq!(answer.cache(), "dhal; fwd=uri-miss");
    gate.open();
    assert!(purged(&service.edge.site.path("admin.sock")));
    assert_eq!(second.get("/").text(), "new");
}

#[test]
fn who_is_beyond_its_rate_stays_there_and_tickets_stay_good() {
    let shop = crate::waiting_room::shop();
    let config = crate::waiting_room::config(&shop, "capacity = 1")
        + "limits = [\"few\"]\n[limits.few]\nrate = \"1/m\"\nburst = 3\n";
    let mut service = Service::of(Edge::start(&config));
    let mut inside = Browser::default();
    assert_eq!(inside.comes(&service.edge, "/p").text(), "a product");
    let mut waits = Browser::default();
    assert_ne!(waits.get(&service.edge, "/p").text(), "a product");
    assert!(inside.cookie.is_some() && waits.cookie.is_some());
    for status in [200, 200, 200, 429] {
        assert_eq!(service.edge.get("/free/").status, status);
    }
    service.upgrade();
    assert_eq!(service.edge.get("/free/").status, 429);
    assert_eq!(inside.get(&service.edge, "/p").text(), "a product");
    assert_ne!(waits.get(&service.edge, "/p").text(), "a product");
    let (_, metrics) = service.edge.admin("GET", "/metrics");
    let mut refused = metrics
        .lines()
        .filter(|line| line.starts_with("dhal_room_tickets_refused_total{"));
    assert!(refused.all(|line| line.ends_with(" 0")), "{metrics}");
}
