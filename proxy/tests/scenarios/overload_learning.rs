//! What the limit learns.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    edge::Edge,
    origin::{Origin, page},
    overload::{
        BROWSER, ask, config, held, nobody_is_at_work, occupy, of, shed, status, undisturbed, waits,
    },
    tools::{Gate, eventually},
};

#[test]
fn a_short_burst_is_absorbed() {
    let shop = Origin::start(|_| page("ok").after(Duration::from_millis(5)));
    let concurrency = "{ min = 4, max = 4, queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, concurrency));
    let visitors: Vec<_> = (0..100).map(|_| ask(&edge, "/", &[BROWSER])).collect();
    for visitor in visitors {
        assert_eq!(status(visitor), 200);
    }
    assert_eq!(shop.count("/"), 100);
    nobody_is_at_work(&edge);
    assert!(edge.metric(&of("latency_seconds")) >= Some(0.005));
}

#[test]
fn a_reload_keeps_what_was_learned() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start(&config(&shop, "true"));
        let learning = edge.metric(&of("limit")).expect("a limit");
        let first = occupy(&edge, &shop);
        assert!(learning > 4.0);
        let reload = |concurrency: &str| {
            let reloaded = edge.reload(
                &("[[listeners]]\naddress = \"@http\"\n".to_owned() + &config(&shop, concurrency)),
            );
            assert!(reloaded.status.success(), "{reloaded:?}");
        };
        reload("{ max = 4 }");
        assert_eq!(edge.metric(&of("limit")), Some(4.0));
        // Other bounds let it grow again, and are not what it begins anew from.
        reload("true");
        assert!(edge.metric(&of("limit")) <= Some(5.0));
        assert_eq!(edge.metric(&of("at_work")), Some(1.0));
        // Those who wait when there is no limit any more wait no longer.
        reload("{ min = 1, max = 1 , queue_timeout = \"20s\" }");
        let waiting = ask(&edge, "/waiting", &[]);
        waits(&edge, 1);
        reload("false");
        assert_eq!(status(waiting), 200);
        assert_eq!(edge.metric(&of("limit")), None);
        gate.open();
        assert_eq!(status(first), 200);
    });
}

#[test]
fn a_shop_that_says_it_has_too_much_is_given_less() {
    let shop = Origin::start(|_| page("busy").status(503).field("Retry-After", "1"));
    let edge = Edge::start(&config(&shop, "true"));
    let before = edge.metric(&of("limit"));
    eventually("the limit has shrunk to the least", || {
        assert_eq!(edge.get("/").status, 503);
        edge.metric(&of("limit")) <= Some(3.0)
    });
    assert!(before >= Some(10.0));
    // It was the shop that said so, and nobody was shed.
    assert_eq!(edge.metric(&shed("bot", "queue-full")), Some(0.0));
}

/// Workers of a shop, of which there may be more later.
#[derive(Default)]
struct Workers {
    free: Mutex<isize>,
    freed: Condvar,
}

impl Workers {
    fn add(&self, n: isize) {
        *self.free.lock().expect("lock") += n;
        self.freed.notify_all();
    }

    fn work(&self, time: Duration) {
        let free = self.free.lock().expect("lock");
        let free = self.freed.wait_while(free, |free| *free <= 0);
        *free.expect("lock") -= 1;
        thread::sleep(time);
        self.add(1);
    }
}

/// Ends what runs while it is true.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn the_limit_follows_the_shop() {
    let workers = Arc::new(Workers::default());
    workers.add(2);
    let shop = {
        let workers = Arc::clone(&workers);
        Origin::start(move |_| {
            workers.work(Duration::from_millis(20));
            page("ok")
        })
    };
    let concurrency = "{ queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, concurrency));
    let (running, served) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Also where the scenario fails, or it would never end.
        let _ends = Ends(&running);
        for _ in 0..60 {
            scope.spawn(|| {
                let mut conn = edge.connect();
                while running.load(Ordering::SeqCst) {
                    assert_eq!(conn.get("/").status, 200);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        eventually("two workers are given little", || {
            edge.metric(&of("limit")) <= Some(8.0)
        });
        workers.add(60);
        eventually("more workers are given more", || {
            edge.metric(&of("limit")) >= Some(16.0)
        });
    });
    assert!(served.load(Ordering::SeqCst) > 100);
}
