//! The decision as a table.

mod admitted;
mod stored;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_http::ResponseHeader;

use super::{decide::Now, *};
use crate::{
    cache::{Stored, purge::Stamp, stored::Judged},
    config,
    shared::Shared,
    snapshot::Snapshot,
};

const CONFIG: &str = r#"
    [[listeners]]
    address = "127.0.0.1:0"
    [upstreams.shop]
    servers = ["127.0.0.1:1"]
    [cache.policies.pages]
    ignore_query = ["utm_*"]
    bypass_cookies = ["session"]
    [limits.one]
    rate = "1/m"
    burst = 1
    [address_lists.bad]
    entries = ["203.0.113.0/24"]
    [address_lists.worse]
    entries = ["203.0.113.128/25", "2001:db8::/32"]
    [address_lists.office]
    entries = ["198.51.100.0/24", "203.0.113.1"]
    [server]
    deny = ["worse"]
    [limits.session]
    key = "cookie:session"
    rate = "1/m"
    burst = 2
    exempt = ["office"]
    [limits.misses]
    rate = "1/m"
    burst = 1
    count = "origin"
    status = 503
    [limits.later]
    rate = "1/s"
    burst = 1
    action = "delay"
    max_delay = "1s"
    [limits.later-misses]
    rate = "1/s"
    burst = 1
    count = "origin"
    action = "delay"
    max_delay = "2s"
    [limits.slug]
    key = ["param:slug", "host"]
    rate = "1/m"
    burst = 1
    [[routes]]
    path = "/by-session"
    upstream = "shop"
    limits = ["session"]
    [[routes]]
    path = "/by/:slug/x"
    upstream = "shop"
    limits = ["slug"]
    [[routes]]
    path = "/misses/*"
    upstream = "shop"
    cache = "pages"
    limits = ["misses"]
    [[routes]]
    path = "/later/*"
    upstream = "shop"
    cache = "pages"
    limits = ["later", "later-misses"]
    [[routes]]
    path = "/office"
    upstream = "shop"
    allow = ["office"]
    deny = ["bad"]
    [[routes]]
    path = "/pages/*"
    upstream = "shop"
    cache = "pages"
    max_body = "10B"
    [[routes]]
    path = "/limited"
    upstream = "shop"
    limits = ["one"]
    [waiting_rooms.all]
    capacity = 1
    [waiting_rooms.origin]
    capacity = 1
    covers = "origin"
    [[routes]]
    path = "/all/*"
    upstream = "shop"
    cache = "pages"
    waiting_room = "all"
    [[routes]]
    path = "/origin/*"
    upstream = "shop"
    cache = "pages"
    waiting_room = "origin"
    [[routes]]
    host = "plain.example"
    upstream = "shop"
    [[routes]]
    path = "/moved/*"
    redirect = { to = "https://www.{host}/new{rest}{?query}", status = 301 }
    limits = ["one"]
    [[routes]]
    path = "/mirror/*"
    redirect = { to = "{rest}" }
    [[routes]]
    path = "/loud/*"
    redirect = { to = "{path}{path}{path}" }
    [[routes]]
    path = "/closed"
    respond = { status = 403 }
    deny = ["bad"]
    [[routes]]
    path_regex = "^/pages/[0-9]+/old$"
    respond = { status = 410 }
    [[routes]]
    path = "/read"
    methods = ["GET"]
    upstream = "shop"
    cache = "pages"
    rewrite = "/in{path}"
    [[routes]]
    path = "/read"
    methods = ["POST"]
    upstream = "shop"
"#;

/// A decision table's world: the configuration above, and what is stored.
struct World {
    shared: Shared,
    snapshot: Snapshot,
    start: SystemTime,
}

impl World {
    fn new() -> Self {
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("test", CONFIG, &surroundings)
            .expect("valid")
            .config;
        let (shared, _) = Shared::new(&config.cache, 1);
        let snapshot = Snapshot::build(config, 1, &shared).expect("built");
        shared.adopt(&snapshot);
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self {
            shared,
            snapshot,
            start,
        }
    }

    /// Stores a page of ten bytes as a shop would answer it.
    fn store(
        &self,
        path: &str,
        fields: &[(&'static str, &'static str)],
        request: &[(&'static str, &'static str)],
    ) {
        let mut header = ResponseHeader::build(200, None).expect("header");
        for (name, value) in fields {
            header.append_header(*name, *value).expect("field");
        }
        let request = map(request);
        let rules = http_caching::storable(
            &Method::GET,
            &request,
            header.status,
            &header.headers,
            &self
                .snapshot
                .router
                .find("shop.example", path)
                .expect("route")
                .policy
                .as_ref()
                .expect("policy")
                .rules,
            self.start,
            self.start,
        )
        .expect("storable");
        let mut key = Vec::new();
        http_caching::cache_key("http", "shop.example", path, None, &mut key);
        let store = &self.shared.store;
        if !rules.vary.is_empty() {
            let variation = store.learn(&key, &rules.vary).expect("few fields");
            key = variation.variant(&request);
        }
        let judged = Judged {
            rules,
            response_time: self.start,
            stamp: Stamp::default(),
            is_told_aside: false,
        };
        let content = [Bytes::from("0123456789")];
        let stored = Stored::new(&key, &header, Some(&content), 10, judged);
        store.put(stored);
    }

    fn ask(&self, seconds: u64, line: &str, fields: &[(&'static str, &'static str)]) -> String {
        self.ask_as("192.0.2.1", None, seconds, line, fields)
    }

    fn ask_as(
        &self,
        client: &str,
        redirect: Option<u16>,
        seconds: u64,
        line: &str,
        fields: &[(&'static str, &'static str)],
    ) -> String {
        let passed = Passed::default();
        describe(&self.decide(client, redirect, seconds, line, fields, passed))
    }

    fn decide(
        &self,
        client: &str,
        redirect: Option<u16>,
        seconds: u64,
        line: &str,
        fields: &[(&'static str, &'static str)],
        passed: Passed,
    ) -> Decision {
        let (method, target) = line.split_once(' ').expect("method and target");
        let fields = map(fields);
        let length = fields
            .get("content-length")
            .and_then(|l| l.to_str().ok()?.parse().ok());
        let host = fields
            .get("host")
            .map_or("shop.example", |h| h.to_str().expect("text"));
        let request = RequestView {
            method: &Method::from_bytes(method.as_bytes()).expect("method"),
            authority: host,
            target,
            fields: &fields,
            body: length.map_or(Body::None, Body::Length),
            client: client.parse().expect("address"),
            connection: &Connection {
                peer: "192.0.2.1:1".parse().expect("address"),
                scheme: Scheme::Http,
                redirect_to_https: redirect,
                sni: None,
                listener: "192.0.2.9:80".parse().expect("address"),
                proof: None,
            },
        };
        let now = Now {
            wall: self.start + Duration::from_secs(seconds),
            tick: Duration::from_secs(1000 + seconds),
        };
        decide_after(&self.snapshot, &self.shared, &request, now, passed)
    }
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(pair).collect()
}

fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Respond(hit) => format!("{:?} age {}", hit.answer, hit.age),
        Decision::Redirect { status, location } => format!("{status} {location}"),
        Decision::Challenge(text) => format!("challenge {text}"),
        Decision::Own(own) => match &own.answer {
            OwnAnswer::Redirect { status, location } => format!("own {status} {location}"),
            OwnAnswer::Fixed(fixed) => format!("own {}", fixed.status),
        },
        Decision::Reject(rejection) => {
            format!(
                "{}{}",
                rejection.status,
                if rejection.close { " close" } else { "" }
            )
        }
        Decision::Delay(delay) => format!("delay {} ms", delay.wait.as_millis()),
        Decision::Wait(wait) => format!("{} wait", wait.rejection.status),
        Decision::Fetch(fetch) => {
            format!("{} {} fetch", fetch.own.reason.as_str(), fetch.target)
        }
        Decision::Forward(forward) => {
            format!("{} {}", forward.reason.as_str(), forward.target)
        }
    }
}

#[test]
fn routes_that_answer_by_themselves() {
    let world = World::new();
    let long = format!("GET /loud/{}", "a".repeat(6_000));
    for (line, fields, wanted) in [
        (
            "GET /moved/a?b=c",
            &[("host", "Shop.Example:8080")][..],
            "own 301 https://www.shop.example/new/a?b=c",
        ),
        ("GET /moved/a", &[], "429"),
        ("POST /mirror//evil.example", &[], "own 302 /evil.example"),
        ("GET /mirror/%0d%0aa", &[], "400 close"),
        (&long, &[], "414"),
        ("GET /closed", &[], "own 403"),
        ("DELETE /closed", &[("content-length", "10")], "own 403"),
        ("GET /closed", &[("content-length", "9999999")], "413 close"),
        ("GET /pages/17/old", &[], "own 410"),
        ("GET /pages/x/old", &[], "uri-miss /pages/x/old fetch"),
        // What a shop is asked for in its place is not the decision's.
        ("GET /read?a", &[], "uri-miss /read?a fetch"),
        ("HEAD /read", &[], "uri-miss /read fetch"),
        ("POST /read", &[], "bypass /read"),
        ("PUT /read", &[], "405"),
    ] {
        assert_eq!(world.ask(1, line, fields), wanted, "{line}");
    }
    let denied = world.ask_as("203.0.113.1", None, 1, "GET /closed", &[]);
    assert_eq!(denied, "403");
    // The page that is read is the page that a POST makes untrue, whichever route takes it.
    let get = world.snapshot.router.find("shop.example", "/read");
    let post = world
        .snapshot
        .router
        .route(&Method::POST, "shop.example", "/read");
    let name = |route: Option<&std::sync::Arc<crate::snapshot::Route>>| {
        let policy = route.and_then(|route| route.invalidates.as_ref());
        policy.map(|policy| policy.name.clone())
    };
    assert_eq!(name(get).as_deref(), Some("pages"));
    assert_eq!(name(post.ok()).as_deref(), Some("pages"));
}

#[test]
fn what_is_refused_before_any_route() {
    let world = World::new();
    for (line, fields, wanted) in [
        ("GET /pages/\u{e4}", &[][..], "400 close"),
        ("GET /../x", &[], "400 close"),
        ("GET /pages/a", &[("host", "a b")], "400 close"),
        ("TRACE /pages/a", &[], "405 close"),
        ("CONNECT /pages/a", &[], "405 close"),
        ("GET /nowhere", &[], "404"),
        ("POST /pages/a", &[("content-length", "11")], "413 close"),
        (
            "POST /pages/a",
            &[("content-length", "10")],
            "method /pages/a",
        ),
        ("GET /x", &[("host", "plain.example:80")], "bypass /x"),
    ] {
        assert_eq!(world.ask(0, line, fields), wanted, "{line} {fields:?}");
    }
}

#[test]
fn redirects_keep_host_and_target() {
    let world = World::new();
    for (port, line, wanted) in [
        (443, "GET /a?b", "301 https://shop.example/a?b"),
        (443, "HEAD /a/./b", "301 https://shop.example/a/b"),
        (8443, "POST /a", "308 https://shop.example:8443/a"),
    ] {
        let found = world.ask_as(
            "192.0.2.1",
            Some(port),
            0,
            line,
            &[("host", "Shop.Example:8080")],
        );
        assert_eq!(found, wanted);
    }
}
