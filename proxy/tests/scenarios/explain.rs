//! What `dhal explain` says, against what then happens; and that asking changes nothing.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    client::Response,
    edge::{Edge, Site},
    origin::{Origin, page},
    tools::eventually,
    waiting_room_order::date,
};

/// A shop with a page of every kind.
fn shop() -> Origin {
    Origin::start(|seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        match path {
            "/own" => page("own").field("cache-control", "private"),
            "/varies" => page("varies")
                .field("cache-control", "max-age=60")
                .field("vary", "accept-language"),
            "/stale" => {
                page("stale").field("cache-control", "max-age=0, stale-while-revalidate=600")
            }
            fill if fill.starts_with("/fill/") => page(vec![b'x'; 32 << 10]).fresh(600),
            "/open" => page("open").field("cache-control", "public, max-age=60"),
            _ => page("page").fresh(60).field("cache-tag", "one, two"),
        }
    })
}

/// Routes of many kinds over one shop.
fn config(shop: &Origin) -> String {
    let soon = date(SystemTime::now() + Duration::from_secs(1_800));
    format!(
        r#"
        [server]
        max_target_bytes = "2KiB"
        [address_lists.local]
        entries = ["127.0.0.0/8"]
        [address_lists.far]
        entries = ["203.0.113.0/24"]
        [limits.wide]
        rate = "1000/h"
        burst = 1000
        [limits.two]
        rate = "1/h"
        burst = 2
        [limits.log]
        rate = "1/h"
        burst = 1
        action = "log"
        [limits.misses]
        rate = "1/h"
        burst = 1
        count = "origin"
        [limits.exempt]
        rate = "1/h"
        burst = 1
        exempt = ["local"]
        [upstreams.shop]
        servers = ["{shop}"]
        [cache.policies.pages]
        ignore_query = ["utm_*"]
        key_cookies = ["currency"]
        bypass_cookies = ["session"]
        [cache.policies.heard]
        client_cache_control = "honour"
        [waiting_rooms.closed]
        capacity = 1
        opens = {soon}
        early = "1h"

        [[routes]]
        name = "pages"
        host = "shop.example"
        upstream = "shop"
        cache = "pages"
        limits = ["wide"]
        [[routes]]
        name = "heard"
        host = "shop.example"
        path = "/heard/*"
        upstream = "shop"
        cache = "heard"
        [[routes]]
        name = "person"
        host = "shop.example"
        path = "/person/*"
        upstream = "shop"
        max_body = "10B"
        [[routes]]
        name = "read"
        host = "shop.example"
        path = "/read"
        methods = ["GET"]
        upstream = "shop"
        [[routes]]
        name = "old"
        host = "shop.example"
        path = "/old/*"
        redirect = {{ to = "/new{{rest}}", status = 301 }}
        [[routes]]
        name = "gone"
        host = "shop.example"
        path_regex = "[.]php$"
        respond = {{ status = 410 }}
        [[routes]]
        name = "two"
        host = "shop.example"
        path = "/two"
        upstream = "shop"
        limits = ["wide", "two"]
        [[routes]]
        name = "log"
        host = "shop.example"
        path = "/log"
        upstream = "shop"
        limits = ["log"]
        [[routes]]
        name = "misses"
        host = "shop.example"
        path = "/misses/*"
        upstream = "shop"
        cache = "pages"
        limits = ["misses"]
        [[routes]]
        name = "exempt"
        host = "shop.example"
        path = "/exempt"
        upstream = "shop"
        limits = ["exempt"]
        [[routes]]
        name = "denied"
        host = "shop.example"
        path = "/denied"
        upstream = "shop"
        deny = ["local"]
        [[routes]]
        name = "staff"
        host = "shop.example"
        path = "/staff"
        upstream = "shop"
        allow = ["far"]
        [[routes]]
        name = "sale"
        host = "shop.example"
        path = "/sale/*"
        upstream = "shop"
        waiting_room = "closed"
        "#
    )
}

fn explain(edge: &Edge, method: &str, path: &str, fields: &[(&str, &str)]) -> Value {
    let question = json!({
        "url": format!("http://shop.example{path}"),
        "method": method,
        "headers": fields,
    });
    let (status, text) = edge.admin_json("/explain", &question.to_string());
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).expect("an explanation")
}

fn steps<'a>(explanation: &'a Value, step: &str) -> Vec<&'a Value> {
    let all = explanation["steps"].as_array().expect("steps");
    all.iter().filter(|one| one["step"] == step).collect()
}

/// What an answer adds to what could be known before.
fn cache(answer: &Response) -> String {
    answer
        .cache()
        .replace("; stored", "")
        .replace("; collapsed", "")
}

#[test]
fn what_is_explained_is_what_happens() {
    let shop = shop();
    let edge = Edge::start(&config(&shop));
    let long = format!("/{}", "x".repeat(3_000));
    type Fields = &'static [(&'static str, &'static str)];
    let rows: &[(&str, &str, Fields)] = &[
        // From nothing to a hit, in all its forms.
        ("GET", "/a", &[]),
        ("GET", "/a", &[]),
        ("HEAD", "/a", &[]),
        ("GET", "/a?utm_source=x", &[]),
        ("GET", "/a?b=1", &[]),
        ("GET", "/a?b=1&utm_x=2", &[]),
        ("GET", "/./x/../a", &[]),
        ("GET", "/%61", &[]),
        ("GET", "/a", &[("cookie", "currency=bdt")]),
        ("GET", "/a", &[("cookie", "currency=bdt")]),
        ("GET", "/a", &[("cookie", "session=1")]),
        ("GET", "/a", &[("cookie", "other=1")]),
        ("GET", "/a", &[("range", "bytes=0-1")]),
        ("GET", "/a", &[("range", "bytes=90-")]),
        ("GET", "/a", &[("cache-control", "no-cache")]),
        ("GET", "/a", &[("cache-control", "only-if-cached")]),
        ("GET", "/a", &[("authorization", "Basic eDp5")]),
        ("GET", "/a", &[("if-match", "\"x\"")]),
        ("GET", "/a", &[("connection", "x-own"), ("x-own", "1")]),
        ("GET", "/open", &[]),
        ("GET", "/open", &[("authorization", "Basic eDp5")]),
        ("POST", "/a", &[("content-length", "0")]),
        ("DELETE", "/unknown", &[]),
        // What cannot be stored, what varies, what is stale.
        ("GET", "/own", &[]),
        ("GET", "/own", &[]),
        ("GET", "/varies", &[("accept-language", "bn")]),
        ("GET", "/varies", &[("accept-language", "bn")]),
        ("GET", "/varies", &[("accept-language", "en")]),
        ("GET", "/stale", &[]),
        ("GET", "/stale", &[]),
        // Visitors who are heard.
        ("GET", "/heard/a", &[("cache-control", "only-if-cached")]),
        ("GET", "/heard/a", &[]),
        ("GET", "/heard/a", &[("cache-control", "no-cache")]),
        ("GET", "/heard/a", &[("cache-control", "no-store")]),
        ("GET", "/heard/a", &[("cache-control", "max-age=0")]),
        // Routes.
        ("GET", "/person/a", &[]),
        ("POST", "/person/a", &[("content-length", "11")]),
        ("GET", "/read", &[]),
        ("POST", "/read", &[("content-length", "0")]),
        ("GET", "/old/a?b", &[]),
        ("GET", "/x.php", &[]),
        ("GET", "/x", &[("host", "elsewhere.example")]),
        // Limits.
        ("GET", "/two", &[]),
        ("GET", "/two", &[]),
        ("GET", "/two", &[]),
        ("GET", "/log", &[]),
        ("GET", "/log", &[]),
        ("GET", "/misses/a", &[]),
        ("GET", "/misses/a", &[]),
        ("GET", "/misses/b", &[]),
        ("GET", "/exempt", &[]),
        ("GET", "/exempt", &[]),
        // Lists, the waiting room, and what is no request.
        ("GET", "/denied", &[]),
        ("GET", "/staff", &[]),
        ("GET", "/sale/a", &[]),
        ("GET", "/sale/a", &[("accept", "text/html")]),
        ("GET", "/.dhal/rooms/closed", &[]),
        ("TRACE", "/a", &[]),
        ("GET", "/%zz", &[]),
        ("GET", "/../a", &[]),
        ("GET", "/a", &[("host", "a"), ("host", "b")]),
        ("GET", "/a", &[("connection", "host")]),
        ("POST", "/a", &[("content-length", "x")]),
    ];
    let rows = rows
        .iter()
        .map(|(method, path, fields)| (*method, *path, *fields));
    for (method, path, fields) in rows.chain([("GET", long.as_str(), &[][..])]) {
        let what = format!("{method} {path} {fields:?}");
        let told = explain(&edge, method, path, fields);
        let outcome = &told["outcome"];
        let logged = edge.log().len();
        let answer = ask(&edge, method, path, fields);
        if let Some(status) = outcome["status"].as_u64() {
            assert_eq!(u64::from(answer.status), status, "{what}: {told:#}");
        } else {
            assert_eq!(answer.status, 200, "{what}: {told:#}");
        }
        let wanted = outcome["cache"].as_str().unwrap_or_default();
        assert_eq!(cache(&answer), wanted, "{what}: {told:#}");
        assert_eq!(
            answer.field("location"),
            outcome["location"].as_str(),
            "{what}"
        );
        // The log has the route and what the limits said.
        eventually("the line is written", || edge.log().len() > logged);
        let line = edge.log().swap_remove(logged);
        let route = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(
            route(&line["route"]),
            route(&outcome["route"]),
            "{what}: {line} {told:#}"
        );
        let limit = outcome["limit"].as_str();
        assert_eq!(
            line["limit_decision"].as_str(),
            limit,
            "{what}: {line} {told:#}"
        );
        // What is fetched or refreshed behind the answer has arrived.
        eventually("nothing is on its way", || {
            edge.metric("dhal_cache_fetches_in_flight")
                .is_none_or(|n| n == 0.0)
        });
    }
}

fn ask(edge: &Edge, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let mut conn = edge.connect();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| *name == "host") {
        head += "Host: shop.example\r\n";
    }
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    let length = fields.iter().find(|(name, _)| *name == "content-length");
    let length = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    conn.send(format!("{head}\r\n{}", "x".repeat(length)));
    conn.response(method)
}

/// Everything that counts, but for what tells of the process itself and of questions.
fn counted(edge: &Edge) -> Vec<String> {
    let (_, text) = edge.admin("GET", "/metrics");
    let ours = text.lines().filter(|line| line.starts_with("dhal_"));
    let apart = ["_seconds ", "memory", "cpu", "uptime"];
    ours.filter(|line| !apart.iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_thousand_questions_change_nothing() {
    let shops = [shop(), shop(), shop()];
    let names = shops.iter().map(|shop| format!("\"{shop}\""));
    let servers = names.collect::<Vec<_>>().join(", ");
    let site = config(&shops[0]).replace(
        &format!("\"{}\"", shops[0]),
        &(servers + "]\nbalance = \"round-robin\"\n#"),
    );
    let site = site + "[cache]\nmemory = \"1MiB\"\n";
    let edge = Edge::start(&site);
    // A store that is full, of pages that nobody has asked for twice.
    for n in 0..40 {
        edge.get(&format!("/fill/{n}"));
    }
    edge.get("/a");
    edge.get("/two");
    eventually("nothing of what came before is under way", || {
        ["dhal_cache_jobs_waiting", "dhal_connections"].map(|gauge| edge.metric(gauge))
            == [Some(0.0); 2]
    });
    let before = counted(&edge);
    let status = |edge: &Edge| -> Value {
        let text = edge.admin("GET", "/status").1;
        serde_json::from_str(&text).expect("a status")
    };
    let first = status(&edge);
    let next = |path: &str| explain(&edge, "GET", path, &[])["outcome"]["server"].clone();
    let server = next("/person/a");
    assert!(server.is_string());
    for n in 0..125 {
        for path in [
            "/a",
            "/fill/3",
            "/two",
            "/person/a",
            "/denied",
            "/misses/a",
            "/sale/a",
            "/.dhal/rooms/closed",
        ] {
            let told = explain(&edge, "GET", path, &[]);
            assert!(told["outcome"]["decision"].is_string(), "{n} {told:#}");
        }
    }
    let after = counted(&edge);
    let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    let second = status(&edge);
    for part in ["limits", "waiting_rooms", "cache", "upstreams"] {
        assert!(!first[part].is_null(), "{part}");
        assert_eq!(second[part], first[part], "{part}");
    }
    // The balancer's turn has not moved, and the one who was foreseen is asked.
    assert_eq!(next("/person/a"), server);
    let counts = || {
        shops
            .iter()
            .map(|shop| shop.seen().len())
            .collect::<Vec<_>>()
    };
    let asked = counts();
    edge.get("/person/a");
    let who = counts()
        .iter()
        .zip(&asked)
        .position(|(now, then)| now > then);
    let who = who.expect("somebody was asked");
    assert_eq!(server, shops[who].to_string(), "{asked:?}");
    // One of the two that the limit allows is left.
    let told = explain(&edge, "GET", "/two", &[]);
    let two = steps(&told, "limit").pop().expect("a limit");
    assert_eq!(
        (&two["facts"]["limit"], &two["facts"]["left"]),
        (&json!("two"), &json!(1))
    );
    assert_eq!(edge.get("/two").status, 200);
    assert_eq!(edge.get("/two").status, 429);
}

#[test]
fn questions_that_cannot_be_meant_are_refused_with_a_proposal() {
    let shop = shop();
    let edge = Edge::start(&config(&shop));
    for (url, wanted) in [
        ("shop.example/a", "did you mean \"http://shop.example/a\"?"),
        ("/a", "did you mean \"http://shop.example/a\"?"),
        ("", "did you mean \"http://shop.example/\"?"),
        ("ftp://shop.example/", "it is http or https"),
        ("http:///a", "names no host"),
        (
            "http://me@shop.example/a",
            "did you mean \"http://shop.example/a\"?",
        ),
        ("http://shop.example/a b", "percent-encoded"),
        ("http://shop.example/a\r\nX: y", "percent-encoded"),
        ("http://shop.example/\u{9b2}", "percent-encoded"),
    ] {
        let question = json!({ "url": url }).to_string();
        let (status, text) = edge.admin_json("/explain", &question);
        assert_eq!(status, 422, "{url}: {text}");
        assert!(text.contains(wanted), "{url}: {text}");
    }
    let many = vec![("a", "b"); 200];
    for question in [
        json!({}),
        json!({ "url": 1 }),
        json!({ "url": "http://shop.example/", "else": 1 }),
        json!({ "url": "http://shop.example/", "method": "A B" }),
        json!({ "url": "http://shop.example/", "headers": [["a b", "c"]] }),
        json!({ "url": "http://shop.example/", "headers": [["a", "b\r\nc: d"]] }),
        json!({ "url": "http://shop.example/", "headers": many }),
        json!({ "url": "http://shop.example/", "client": "me" }),
        json!({ "url": format!("http://shop.example/{}", "x".repeat(100_000)) }),
    ] {
        let (status, text) = edge.admin_json("/explain", &question.to_string());
        assert_eq!(status, 422, "{question}: {text}");
    }
    // The byte that is too many is the last one, so that all of it has been read when the answer comes.
    let huge = " ".repeat((1 << 20) + 1);
    assert_eq!(edge.admin_json("/explain", &huge).0, 413);
    // A host that nobody has is a good question.
    let question = json!({ "url": "http://shpo.example/a" }).to_string();
    let (status, text) = edge.admin_json("/explain", &question);
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("did you mean \\\"shop.example\\\"?"),
        "{text}"
    );
}

#[test]
fn the_command_asks_the_edge_or_the_file() {
    let shop = shop();
    let edge = Edge::start(&config(&shop));
    edge.get("/a");
    let text = |site: &Site, arguments: &[&str]| {
        let output = site.dhal(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let told = text(
        &edge.site,
        &["explain", "http://shop.example/a?utm_source=x"],
    );
    for line in [
        "by         the running edge, configuration 1",
        "route      \"pages\": host shop.example, path /*",
        "ignored parameters: utm_source",
        "in memory: fresh for",
        "2 tags",
        "answer     200 from the store; Cache-Status: dhal; hit",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "no colour in a pipe");
    let arguments = [
        "explain",
        "-X",
        "POST",
        "-H",
        "Content-Length: 0",
        "--client",
        "203.0.113.7",
    ];
    let told = text(
        &edge.site,
        &[&arguments[..], &["http://shop.example/staff"]].concat(),
    );
    assert!(told.contains("route allow: on \"far\""), "{told}");
    assert!(told.contains("+ x-forwarded-for: 203.0.113.7"), "{told}");
    let told = text(
        &edge.site,
        &["explain", "--json", "http://shop.example/old/x"],
    );
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&told["version"], &told["source"]),
        (&json!(1), &json!("running"))
    );
    assert_eq!(told["outcome"]["location"], "/new/x");
    let told = text(&edge.site, &["explain", "--file", "http://shop.example/a"]);
    assert!(
        told.contains("unknown: only the running edge knows"),
        "{told}"
    );
    let wrong = edge.site.dhal(&["explain", "shop.example/a"]);
    assert!(!wrong.status.success());
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(
        why.trim(),
        "\"shop.example/a\" has no scheme; did you mean \"http://shop.example/a\"?"
    );
    assert_eq!(
        edge.site
            .dhal(&["explain", "-H", "x", "http://a/"])
            .status
            .code(),
        Some(2)
    );

    let alone = Site::new(&config(&shop));
    let told = text(&alone, &["explain", "http://shop.example/a"]);
    assert!(told.contains("the file alone"), "{told}");
    assert!(
        !alone
            .dhal(&["explain", "--running", "http://shop.example/a"])
            .status
            .success()
    );
}
