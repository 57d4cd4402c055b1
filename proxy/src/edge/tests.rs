//! The decision as a table.

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
fn who_waits() {
    let world = World::new();
    for path in ["/all/stored", "/origin/stored"] {
        world.store(path, &[("cache-control", "max-age=60")], &[]);
    }
    let page = &[("accept", "text/html")][..];
    for (line, fields, wanted) in [
        // Programs are not counted while there is a place.
        ("GET /all/stored", &[][..], "Whole age 1"),
        ("POST /all/x", &[], "method /all/x"),
        // Nor are browsers, before they bring back what they were given.
        ("GET /all/stored", page, "Whole age 1"),
        ("GET /all/stored", page, "Whole age 1"),
        ("GET /all/stored again", page, "Whole age 1"),
        ("GET /all/stored", page, "503 wait"),
        ("GET /all/x", page, "503 wait"),
        ("HEAD /all/x", page, "503 wait"),
        ("GET /all/stored", &[], "503 wait"),
        ("POST /all/x", &[], "503 wait"),
        // Each room has its own places, and this one only for what the store does not answer.
        ("GET /origin/stored", page, "Whole age 1"),
        ("GET /origin/x again", page, "uri-miss /origin/x fetch"),
        ("GET /origin/x", page, "503 wait"),
        ("POST /origin/x", &[], "503 wait"),
        ("GET /origin/stored", page, "Whole age 1"),
        // What is refused anyway is refused, and no route has more than it had.
        ("TRACE /all/x", page, "405 close"),
        ("GET /pages/x", page, "uri-miss /pages/x fetch"),
        ("GET /.dhal/rooms/all", &[], "200 wait"),
        ("GET /.dhal/rooms/all?x", page, "200 wait"),
        ("GET /.dhal/rooms/none", &[], "404"),
        ("POST /.dhal/rooms/all", &[], "404"),
    ] {
        let mut fields = fields.to_vec();
        let (line, again) = line
            .strip_suffix(" again")
            .map_or((line, false), |l| (l, true));
        if again {
            let first = world.decide("192.0.2.1", None, 1, line, &fields, Passed::default());
            let room = match &first {
                Decision::Respond(hit) => &hit.room,
                Decision::Fetch(fetch) => &fetch.own.room,
                _ => panic!("{line}: {}", describe(&first)),
            };
            let cookie = room
                .as_ref()
                .and_then(|pass| pass.cookie())
                .expect("a ticket");
            let cookie: &'static str = cookie.to_owned().leak();
            fields.push(("cookie", cookie.split(';').next().expect("a pair")));
        }
        assert_eq!(world.ask(1, line, &fields), wanted, "{line} {fields:?}");
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

#[test]
fn limits_count_by_client() {
    let world = World::new();
    assert_eq!(world.ask(0, "GET /limited", &[]), "bypass /limited");
    assert_eq!(world.ask(1, "GET /limited", &[]), "429");
    assert_eq!(
        world.ask_as("192.0.2.2", None, 1, "GET /limited", &[]),
        "bypass /limited"
    );
    assert_eq!(world.ask(60, "GET /limited", &[]), "bypass /limited");
}

#[test]
fn limits_count_by_what_they_are_told() {
    let world = World::new();
    let session = |value: &'static str| [("cookie", value)];
    for (client, line, fields, wanted) in [
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session=a")[..],
            "bypass /by-session",
        ),
        (
            "192.0.2.2",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        ("192.0.2.3", "GET /by-session", &session("session=a"), "429"),
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session=b"),
            "bypass /by-session",
        ),
        // Without it the address counts.
        ("192.0.2.1", "GET /by-session", &[], "bypass /by-session"),
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session="),
            "bypass /by-session",
        ),
        ("192.0.2.1", "GET /by-session", &[], "429"),
        ("192.0.2.9", "GET /by-session", &[], "bypass /by-session"),
        // Whom the rule does not count.
        (
            "198.51.100.7",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        (
            "::ffff:198.51.100.7",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        // A parameter as it is normalised, together with the host.
        ("192.0.2.1", "GET /by/a/x", &[], "bypass /by/a/x"),
        (
            "192.0.2.2",
            "GET /by/%61/x?y",
            &[("host", "SHOP.example:80")],
            "429",
        ),
        ("192.0.2.2", "GET /by/b/x", &[], "bypass /by/b/x"),
        (
            "192.0.2.2",
            "GET /by/a/x",
            &[("host", "other.example")],
            "bypass /by/a/x",
        ),
    ] {
        assert_eq!(
            world.ask_as(client, None, 0, line, fields),
            wanted,
            "{client} {line} {fields:?}"
        );
    }
}

#[test]
fn what_the_store_answers_can_be_free() {
    let world = World::new();
    world.store("/misses/a", &[("cache-control", "max-age=60")], &[]);
    for (seconds, line, wanted) in [
        (0, "GET /misses/a", "Whole age 0"),
        (0, "GET /misses/b", "uri-miss /misses/b fetch"),
        (0, "GET /misses/b", "503"),
        (1, "POST /misses/a", "503"),
        (1, "GET /misses/a", "Whole age 1"),
        (2, "GET /misses/a", "Whole age 2"),
        (61, "GET /misses/a", "stale /misses/a fetch"),
        (61, "GET /misses/a", "503"),
    ] {
        assert_eq!(world.ask(seconds, line, &[]), wanted, "{seconds} {line}");
    }
}

#[test]
fn who_is_held_back_is_decided_again() {
    let world = World::new();
    let ask =
        |seconds, passed| world.decide("192.0.2.1", None, seconds, "GET /later/a", &[], passed);
    let first = ask(0, Passed::default());
    assert_eq!(describe(&first), "uri-miss /later/a fetch");
    let second = ask(0, Passed::default());
    assert_eq!(describe(&second), "delay 1000 ms");
    assert_eq!(describe(&ask(0, Passed::default())), "429");
    let Decision::Delay(delay) = second else {
        panic!("held back")
    };
    assert!(delay.passed.all && !delay.passed.origin);
    assert_eq!(delay.held.len(), 1);
    assert_eq!(world.snapshot.limits[3].waiting(), 1);
    drop(delay.held);
    // Its turn at the other rule has come meanwhile; for the next one it has not.
    let again = ask(1, delay.passed.clone());
    assert_eq!(describe(&again), "uri-miss /later/a fetch");
    let Decision::Fetch(fetch) = again else {
        panic!("fetched")
    };
    let limit = fetch.own.limit.expect("both rules");
    assert_eq!(limit.delay.as_millis(), 1000);
    assert_eq!(limit.decision.as_str(), "delayed");
    let held = ask(1, delay.passed.clone());
    assert_eq!(describe(&held), "delay 1000 ms");
    let Decision::Delay(held) = held else {
        panic!("held back")
    };
    assert_eq!(
        held.passed.limit.as_ref().map(|l| l.delay.as_millis()),
        Some(2000)
    );
    assert_eq!(describe(&ask(2, held.passed)), "uri-miss /later/a fetch");
    // What was stored while it waited answers it, and the rule for misses does not count it.
    world.store("/later/a", &[("cache-control", "max-age=60")], &[]);
    assert_eq!(describe(&ask(2, delay.passed)), "Whole age 2");
}

#[test]
fn who_is_kept_out() {
    let world = World::new();
    for (client, line, wanted) in [
        ("203.0.113.200", "GET /pages/a", "403"),
        ("::ffff:203.0.113.200", "GET /nowhere", "403"),
        ("2001:db8::7", "TRACE /pages/a", "403"),
        ("203.0.113.2", "GET /pages/a", "uri-miss /pages/a fetch"),
        ("198.51.100.7", "GET /office", "bypass /office"),
        ("192.0.2.1", "GET /office", "403"),
        // On both lists: `deny` goes before `allow`.
        ("203.0.113.1", "GET /office", "403"),
    ] {
        assert_eq!(
            world.ask_as(client, None, 0, line, &[]),
            wanted,
            "{client} {line}"
        );
    }
    let redirected = world.ask_as("203.0.113.200", Some(443), 0, "GET /", &[]);
    assert_eq!(redirected, "403");
    let text = String::from_utf8(world.shared.metrics.render()).expect("text");
    for line in [
        r#"dhal_address_list_refused_total{list="worse",why="denied"} 4"#,
        r#"dhal_address_list_refused_total{list="bad",why="denied"} 1"#,
        r#"dhal_address_list_refused_total{list="office",why="not_allowed"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn the_store_answers_while_fresh() {
    let world = World::new();
    let etag = ("etag", "\"v1\"");
    world.store("/pages/a", &[("cache-control", "max-age=60"), etag], &[]);
    for (seconds, line, fields, wanted) in [
        (0, "GET /pages/a", &[][..], "Whole age 0"),
        (59, "HEAD /pages/a", &[], "Whole age 59"),
        (60, "GET /pages/a", &[], "stale /pages/a fetch"),
        (1, "GET /pages/b", &[], "uri-miss /pages/b fetch"),
        (1, "POST /pages/a", &[], "method /pages/a"),
        (1, "GET /pages/%61", &[], "Whole age 1"),
        (1, "GET /pages/A", &[], "uri-miss /pages/A fetch"),
        (1, "GET /pages/a?utm_source=x", &[], "Whole age 1"),
        (
            1,
            "GET /pages/b?utm_source=x&q=1",
            &[],
            "uri-miss /pages/b?q=1 fetch",
        ),
        (
            1,
            "GET /pages/b?utm_source=x",
            &[],
            "uri-miss /pages/b fetch",
        ),
        (1, "GET /pages/a?", &[], "uri-miss /pages/a? fetch"),
        (
            1,
            "GET /pages/a",
            &[("host", "other.example")],
            "uri-miss /pages/a fetch",
        ),
        (
            1,
            "GET /pages/a",
            &[("cookie", "a=1; session=2")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("cookie", "a=1; xsession=2")],
            "Whole age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("content-length", "3")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-none-match", "\"v1\"")],
            "NotModified age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-none-match", "\"v2\"")],
            "Whole age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-match", "\"v2\"")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=2-4")],
            "Part { first: 2, last: 4 } age 1",
        ),
        (1, "HEAD /pages/a", &[("range", "bytes=2-4")], "Whole age 1"),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=10-")],
            "RangeNotSatisfiable age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=0-0,2-3")],
            "Parts([(0, 0), (2, 3)]) age 1",
        ),
        (1, "HEAD /pages/b", &[], "uri-miss /pages/b fetch"),
        (61, "HEAD /pages/a", &[], "stale /pages/a fetch"),
        (
            1,
            "GET /pages/a",
            &[("connection", "close, accept-language")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("connection", "Keep-Alive")],
            "Whole age 1",
        ),
        // RFC 9111 §3.5: the origin did not say that it may be shared with credentials.
        (
            1,
            "GET /pages/a",
            &[("authorization", "Basic eA==")],
            "bypass /pages/a",
        ),
    ] {
        assert_eq!(
            world.ask(seconds, line, fields),
            wanted,
            "{line} {fields:?}"
        );
    }
}

#[test]
fn variants_are_kept_apart() {
    let world = World::new();
    let vary = [
        ("cache-control", "public, max-age=60"),
        ("vary", "Accept-Language"),
    ];
    world.store("/pages/v", &vary, &[("accept-language", "bn")]);
    world.store("/pages/v", &vary, &[]);
    for (fields, wanted) in [
        (&[("accept-language", "bn")][..], "Whole age 1"),
        (&[], "Whole age 1"),
        (&[("accept-language", "en")], "vary-miss /pages/v fetch"),
        (&[("accept-language", "")], "vary-miss /pages/v fetch"),
        (
            &[("accept-language", "bn"), ("authorization", "Basic eA==")],
            "Whole age 1",
        ),
    ] {
        assert_eq!(world.ask(1, "GET /pages/v", fields), wanted, "{fields:?}");
    }
}

#[test]
fn what_must_be_validated_is_not_reused() {
    let world = World::new();
    world.store(
        "/pages/n",
        &[("cache-control", "no-cache, max-age=60"), ("etag", "\"v\"")],
        &[],
    );
    assert_eq!(world.ask(0, "GET /pages/n", &[]), "stale /pages/n fetch");
}
