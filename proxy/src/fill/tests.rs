//! What comes between a decision and its fetch.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::{
    cache::{purge::Stamp, stored::Judged},
    config,
    edge::{
        Body, Connection, Decision, Fetch, RequestView, Scheme,
        decide::{self, Now},
    },
    snapshot::Snapshot,
};

struct World {
    filler: Arc<Filler>,
    snapshot: Arc<Snapshot>,
    now: Now,
}

impl World {
    fn new(shop: SocketAddr) -> Self {
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.shop]\nservers = [\"{shop}\"]\n\
             [[routes]]\nupstream = \"shop\"\ncache = \"default\"\n"
        );
        let surroundings = config::Surroundings {
            folder: Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("test", &text, &surroundings).expect("valid");
        let (shared, _) = Shared::new(&config.config.cache, 1);
        let shared = Arc::new(shared);
        let snapshot = Arc::new(Snapshot::build(config.config, 1, &shared).expect("built"));
        let started = shared.started();
        Self {
            filler: Arc::new(Filler::new(&shared, started, shared.new_pool())),
            snapshot,
            now: Now {
                wall: SystemTime::now(),
                tick: started.elapsed(),
            },
        }
    }

    /// Stores the page as a shop would have answered it so long ago.
    fn store(&self, control: &str, ago: Duration) -> Stored {
        let mut header = ResponseHeader::build(200, None).expect("header");
        header
            .append_header("cache-control", control)
            .expect("field");
        let route = self.snapshot.router.find("shop.example", "/");
        let came = self.now.wall - ago;
        let rules = http_caching::storable(
            &Method::GET,
            &HeaderMap::new(),
            header.status,
            &header.headers,
            &route.expect("a route").policy.as_ref().expect("one").rules,
            came,
            came,
        )
        .expect("storable");
        let judged = Judged {
            rules,
            response_time: came,
            stamp: Stamp::default(),
            is_told_aside: false,
        };
        let mut key = Vec::new();
        http_caching::cache_key("http", "shop.example", "/", None, &mut key);
        let content = [Bytes::from("0123456789")];
        let stored = Stored::new(&key, &header, Some(&content), 10, judged);
        self.filler.shared.store.put(stored.clone());
        stored
    }

    fn decide(&self) -> Decision {
        let local = Ipv4Addr::LOCALHOST;
        let view = RequestView {
            method: &Method::GET,
            authority: "shop.example",
            target: "/",
            fields: &HeaderMap::new(),
            body: Body::None,
            client: local.into(),
            connection: &Connection {
                peer: (local, 1).into(),
                scheme: Scheme::Http,
                redirect_to_https: None,
                sni: None,
                listener: (local, 80).into(),
                proof: None,
            },
        };
        decide::decide_without_limits(&self.snapshot, &self.filler.shared, &view, self.now)
    }

    fn order(&self, fetch: Fetch) -> Arc<Order> {
        let local = Ipv4Addr::LOCALHOST.into();
        Arc::new(Order {
            fetch,
            snapshot: Arc::clone(&self.snapshot),
            method: Method::GET,
            fields: HeaderMap::new(),
            client: local,
            peer: local,
            trusted: false,
            scheme: Scheme::Http,
            request_id: "test".to_owned(),
            began: self.now,
            shows_key: false,
        })
    }
}

/// It would have joined the fetch, had its thread gone on at once. The head of what was fetched came before it.
#[tokio::test]
async fn what_landed_behind_a_decision_is_not_asked_for_again() {
    // Nobody is there to be asked.
    let world = World::new((Ipv4Addr::LOCALHOST, 1).into());
    world.store("max-age=1", Duration::from_secs(100));
    let Decision::Fetch(fetch) = world.decide() else {
        panic!("it is stale")
    };
    assert!(fetch.validate);
    let (interim, _) = mpsc::channel(1);
    let order = world.order(fetch);
    let answered = world.filler.get(&order, &interim).await;
    assert!(matches!(answered.served, Served::Failed(_)));
    assert_ne!(answered.asked.attempts, 0);
    world.store("max-age=60", Duration::from_millis(5));
    let answered = world.filler.get(&order, &interim).await;
    assert!(matches!(answered.served, Served::Stored(_)));
    // Nor is it what may answer because nobody is there.
    assert!(matches!(answered.outcome, Outcome::Hit));
    assert_eq!(answered.asked.attempts, 0);
}

/// What is popular is fetched anew before it is stale.
#[tokio::test]
async fn what_is_refreshed_is_fetched_although_it_is_fresh() {
    let shop = tokio::net::TcpListener::bind("127.0.0.1:0");
    let shop = shop.await.expect("an address");
    let world = World::new(shop.local_addr().expect("an address"));
    let Decision::Fetch(fetch) = world.decide() else {
        panic!("nothing is stored")
    };
    let stored = world.store("max-age=60", Duration::from_secs(50));
    let order = world.order(fetch);
    world.filler.refresh(&order, &stored, SystemTime::now());
    let asked = tokio::time::timeout(Duration::from_secs(20), shop.accept()).await;
    assert!(asked.is_ok_and(|asked| asked.is_ok()), "the shop is asked");
}

/// What others wait for may have been purged elsewhere after it was asked for.
#[tokio::test]
async fn nobody_waits_for_others_where_purges_are_not_heard_of() {
    let world = World::new((Ipv4Addr::LOCALHOST, 1).into());
    let Decision::Fetch(fetch) = world.decide() else {
        panic!("nothing is stored")
    };
    world.store("max-age=60", Duration::ZERO);
    world.filler.shared.store.purges.go_deaf();
    let (interim, _) = mpsc::channel(1);
    let order = world.order(fetch);
    let answered = world.filler.get(&order, &interim).await;
    assert!(matches!(answered.served, Served::Own));
    world.filler.shared.store.purges.hear_again(false);
    let answered = world.filler.get(&order, &interim).await;
    assert!(matches!(answered.served, Served::Stored(_)));
}
