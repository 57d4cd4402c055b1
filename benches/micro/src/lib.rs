//! What every hit runs through, step by step and apart from sockets: parse a head, decide, look up, write a head.
//!
//! Both harnesses in `benches/` run the same steps: `time.rs` (criterion) tells nanoseconds, `instructions.rs`
//! (callgrind) counts instructions, which do not depend on what else the machine does.

#![allow(
    clippy::expect_used,
    reason = "a fixture that cannot be made must stop the run"
)]

mod http2;
mod lists;

pub use http2::Http2;
pub use lists::MillionNetworks;

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use dhal::{
    cache::{Found, Stored, purge::Stamp, stored::Judged},
    config,
    door::h1::hit_head,
    edge::{self, Connection, Decision, Hit, RequestView, Scheme, decide::Now},
    shared::Shared,
    snapshot::Snapshot,
};
use http::{HeaderMap, Method};
use http1_wire::request::Head;
use pingora_http::ResponseHeader;

/// A shop's policy with all that a hit may have to look at, and a limit that nobody reaches.
const CONFIG: &str = r#"
    [[listeners]]
    address = "127.0.0.1:0"
    [upstreams.shop]
    servers = ["127.0.0.1:1"]
    [cache.policies.pages]
    ignore_query = ["utm_*", "fbclid", "gclid"]
    bypass_cookies = ["session"]
    [limits.browse]
    key = "client-ip"
    rate = "1000000/s"
    burst = 1000000
    [[routes]]
    host = "shop.example"
    path = "/products/*"
    upstream = "shop"
    cache = "pages"
    limits = ["browse"]
    [[routes]]
    upstream = "shop"
"#;

/// Pages that are stored.
pub const PAGES: usize = 10_000;
/// Bytes of their content.
const CONTENT: usize = 1024;
/// As by default.
const MAX_TARGET: usize = 8 * 1024;
const HOST: &str = "shop.example";
const REQUEST_ID: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A head as a load generator sends it.
pub fn short_head() -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        page(PAGES as u64 / 2)
    )
    .into_bytes()
}

/// A head as a browser sends it.
pub fn browser_head() -> Vec<u8> {
    format!(
        "GET {}?utm_source=mail&page=2 HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"142\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n\
         sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/142.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
         Sec-Fetch-Dest: document\r\nReferer: https://{HOST}/products\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: bn-BD,bn;q=0.9,en;q=0.8\r\n\
         Cookie: theme=dark; consent=all; visitor=4f2a9c0d17\r\n\r\n",
        page(PAGES as u64 / 2)
    )
    .into_bytes()
}

fn page(number: u64) -> String {
    format!("/products/phone-{number:06}")
}

/// A configuration in force, a store of [`PAGES`] pages, and a connection.
pub struct World {
    snapshot: Snapshot,
    shared: Shared,
    connection: Connection,
    now: Now,
    tick: Cell<Duration>,
    keys: Vec<Vec<u8>>,
}

impl Default for World {
    fn default() -> Self {
        let surroundings = config::Surroundings {
            folder: Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("micro", CONFIG, &surroundings)
            .expect("valid")
            .config;
        let (shared, _) = Shared::new(&config.cache, 1);
        let snapshot = Snapshot::build(config, 1, &shared).expect("built");
        let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut world = Self {
            snapshot,
            shared,
            connection: Connection {
                peer: somewhere,
                scheme: Scheme::Http,
                redirect_to_https: None,
                sni: None,
                listener: somewhere,
                proof: None,
            },
            now: Now {
                wall: SystemTime::now(),
                tick: Duration::ZERO,
            },
            tick: Cell::new(Duration::from_secs(1)),
            keys: Vec::with_capacity(PAGES),
        };
        for number in 0..PAGES as u64 {
            world.store(&page(number), None);
        }
        world.store(&page(PAGES as u64 / 2), Some("page=2"));
        world.shared.store.tidy();
        world
    }
}

impl World {
    fn store(&mut self, path: &str, query: Option<&str>) {
        let mut header = ResponseHeader::build(200, None).expect("header");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "public, max-age=3600"),
            ("etag", "\"5f3a-1024\""),
            ("content-length", "1024"),
            ("via", "1.1 dhal"),
        ] {
            header.append_header(name, value).expect("field");
        }
        let route = self.snapshot.router.find(HOST, path).expect("route");
        let rules = http_caching::storable(
            &Method::GET,
            &HeaderMap::new(),
            header.status,
            &header.headers,
            &route.policy.as_ref().expect("policy").rules,
            self.now.wall,
            self.now.wall,
        )
        .expect("storable");
        let mut key = Vec::new();
        http_caching::cache_key("http", HOST, path, query, &mut key);
        let judged = Judged {
            rules,
            response_time: self.now.wall,
            stamp: Stamp::default(),
            is_told_aside: false,
        };
        let content = [Bytes::from(vec![b'x'; CONTENT])];
        let stored = Stored::new(&key, &header, Some(&content), CONTENT as u64, judged);
        self.shared.store.put(stored);
        self.keys.push(key);
    }

    /// The decision about a head that was parsed from these bytes.
    pub fn decide(&self, head: &Head, bytes: &[u8]) -> Decision {
        let fields = head.fields(bytes);
        let view = RequestView {
            method: &head.method,
            authority: head.host(bytes),
            target: head.target(bytes),
            fields: &fields,
            body: head.body,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            connection: &self.connection,
        };
        // Each a microsecond after the last, or the limit would be reached after all.
        let tick = self.tick.get() + Duration::from_micros(1);
        self.tick.set(tick);
        let now = Now { tick, ..self.now };
        edge::decide(&self.snapshot, &self.shared, &view, now)
    }

    /// The hit that answers a head; without one there is nothing to measure.
    pub fn hit(&self, bytes: &[u8]) -> Hit {
        match self.decide(&parsed(bytes), bytes) {
            Decision::Respond(hit) => hit,
            _ => panic!("the page is stored and fresh"),
        }
    }

    /// Looks up one of the stored pages by its key.
    pub fn look_up(&self, number: usize) -> Found {
        let fields = HeaderMap::new();
        self.shared
            .store
            .find(&self.keys[number % self.keys.len()], &fields)
    }
}

/// The head in these bytes.
pub fn parsed(bytes: &[u8]) -> Head {
    let mut head = Head::default();
    parse(&mut head, bytes);
    head
}

/// Parses into a head that is used again and again, as a connection does.
pub fn parse(head: &mut Head, bytes: &[u8]) {
    head.parse(bytes, MAX_TARGET).expect("well-formed");
}

/// Writes the fields that a hit's head has beyond the stored one.
pub fn patch(hit: &Hit, out: &mut BytesMut) {
    hit_head(hit, REQUEST_ID, out);
}
