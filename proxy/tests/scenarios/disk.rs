//! The disk tier: what was stored answers after the process is gone.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::Response,
    edge::Edge,
    h2::H2,
    origin::{Origin, page},
    tools::eventually,
};

const LISTENER: &str = "[[listeners]]\naddress = \"@http\"\n";

/// One shop, the built-in policy, a disk, and what else is to stand under `[cache]`.
pub(crate) fn with_disk(shop: &Origin, cache: &str) -> String {
    format!("{LISTENER}{}", plain_with_disk(shop, cache))
}

/// The same without a listener.
pub(crate) fn plain_with_disk(shop: &Origin, cache: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        retry = {{ attempts = 0 }}

        [cache]
        disk = {{ path = "@dir/store", size = "1GiB" }}
        {cache}

        [[routes]]
        upstream = "shop"
        cache = "default"
        "#
    )
}

/// Waits until everything that is to be written has been, and there are so many entries at least.
pub(crate) fn kept(edge: &Edge, entries: u32) {
    eventually("it is on the disk", || {
        edge.metric("dhal_cache_stored_responses{tier=\"disk\"}") >= Some(f64::from(entries))
            && edge.metric("dhal_cache_jobs_waiting") == Some(0.0)
    });
}

/// Bytes that no two places share and nobody can compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Waits until so much time has passed since then.
pub(crate) fn passed(since: Instant, time: Duration) {
    eventually("time passes", || since.elapsed() > time);
}

fn age(answer: &Response) -> u64 {
    let age = answer.field("age").and_then(|age| age.parse().ok());
    age.expect("an age")
}

/// Fields but those that differ from answer to answer.
fn lasting(answer: &Response) -> Vec<(String, String)> {
    let fields = answer.fields.iter().filter(|(name, _)| {
        !["age", "x-request-id", "cache-status", "connection"].contains(&name.as_str())
    });
    let mut fields: Vec<_> = fields.cloned().collect();
    fields.sort();
    fields
}

const PATHS: [&str; 6] = ["/text", "/chunked", "/none", "/moved", "/empty", "/large"];

fn variety() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/text" => page("word ".repeat(1_000)).fresh(600),
        "/chunked" => page(noise(50_000, 1)).fresh(600).chunked(),
        "/none" => page("no such page").status(404).fresh(600),
        "/moved" => page("").status(301).fresh(600).field("Location", "/text"),
        "/empty" => page("").fresh(600).field("ETag", "\"empty\""),
        "/large" => page(noise(300_000, 2))
            .fresh(600)
            .field("Content-Type", "image/jpeg"),
        other => page(other),
    })
}

#[test]
fn what_was_stored_answers_after_the_end() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let shop = variety();
        let mut edge = Edge::start_tls(&plain_with_disk(&shop, "max_object = \"100KiB\""));
        for path in PATHS {
            edge.get(path);
        }
        kept(&edge, PATHS.len() as u32);
        let before = PATHS.map(|path| edge.get(path));
        edge.restart(signal);
        let mut h2 = H2::connect(edge.site.https);
        for round in 0..2 {
            for (path, before) in PATHS.iter().zip(&before) {
                let after = edge.get(path);
                assert!(after.is_hit(), "{signal} {round} {path}: {}", after.cache());
                assert_eq!(after.status, before.status, "{path}");
                assert!(after.body == before.body, "{path}");
                assert_eq!(lasting(&after), lasting(before), "{path}");
            }
        }
        assert!(!h2.get("/text").is_hit(), "another scheme is another page");
        for path in PATHS {
            let wanted = if path == "/text" { 2 } else { 1 };
            assert_eq!(shop.count(path), wanted, "{path}");
        }
    }
}

#[test]
fn the_first_request_after_a_kill_may_ask_for_any_form() {
    let shop = Origin::start(|_| page(noise(100_000, 3)).fresh(600).field("ETag", "\"v\""));
    type Ask = (&'static str, &'static str, &'static str, u16);
    let asks: [Ask; 4] = [
        ("GET", "Range", "bytes=70000-70009", 206),
        ("GET", "If-None-Match", "\"v\"", 304),
        ("HEAD", "X", "", 200),
        ("GET", "Range", "bytes=100000-", 416),
    ];
    for memory in ["8MiB", "64KiB"] {
        let mut edge = Edge::start(&with_disk(&shop, &format!("max_object = \"{memory}\"")));
        edge.get("/");
        kept(&edge, 1);
        let asked = shop.count("/");
        for (method, name, value, status) in asks {
            edge.restart(Signal::SIGKILL);
            let answer = edge.ask(method, "/", &[(name, value)]);
            assert_eq!(answer.status, status, "{method} {name} {memory}");
            assert!(answer.is_hit(), "{method} {name} {memory}: {answer:?}");
            if status == 206 {
                assert_eq!(answer.body, noise(100_000, 3)[70_000..70_010]);
            }
        }
        assert_eq!(shop.count("/"), asked, "{memory}");
    }
}

#[test]
fn http2_is_answered_from_the_disk() {
    let shop = variety();
    let mut edge = Edge::start_tls(&plain_with_disk(&shop, "max_object = \"100KiB\""));
    let mut h2 = H2::connect(edge.site.https);
    let before = PATHS.map(|path| h2.get(path));
    kept(&edge, PATHS.len() as u32);
    edge.restart(Signal::SIGKILL);
    let mut h2 = H2::connect(edge.site.https);
    for (path, before) in PATHS.iter().zip(&before) {
        let after = h2.get(path);
        assert!(after.is_hit(), "{path}: {}", after.cache());
        assert_eq!(after.status, before.status, "{path}");
        assert!(after.body == before.body, "{path}");
        assert_eq!(shop.count(path), 1, "{path}");
    }
}

#[test]
fn variants_survive() {
    let shop = Origin::start(|r| {
        let language = r.field("accept-language").unwrap_or("none").to_owned();
        page(format!("in {language}"))
            .fresh(600)
            .field("Vary", "Accept-Language")
    });
    let mut edge = Edge::start(&with_disk(&shop, ""));
    let get = |edge: &Edge, language| edge.ask("GET", "/", &[("Accept-Language", language)]);
    for language in ["bn", "en", "de"] {
        get(&edge, language);
    }
    let asked = shop.count("/");
    kept(&edge, 4);
    edge.restart(Signal::SIGKILL);
    for language in ["de", "bn", "en"] {
        let answer = get(&edge, language);
        assert_eq!(answer.text(), format!("in {language}"));
        assert!(answer.is_hit(), "{language}: {}", answer.cache());
    }
    let other = get(&edge, "fr");
    assert_eq!(other.text(), "in fr");
    assert_eq!(other.cache(), "dhal; fwd=vary-miss; stored");
    assert_eq!(shop.count("/"), asked + 1);
}

#[test]
fn compressed_forms_survive() {
    let text = "all of this has been said before. ".repeat(2_000);
    let whole = text.clone();
    let shop = Origin::start(move |_| page(text.clone()).fresh(600));
    let mut edge = Edge::start(&with_disk(&shop, ""));
    let forms = ["gzip", "br", "zstd"];
    let get = |edge: &Edge, coding| edge.ask("GET", "/", &[("Accept-Encoding", coding)]);
    edge.get("/");
    kept(&edge, 1);
    let before = forms.map(|coding| get(&edge, coding));
    edge.restart(Signal::SIGKILL);
    for (coding, before) in forms.into_iter().zip(before) {
        let after = get(&edge, coding);
        assert!(after.is_hit(), "{coding}: {}", after.cache());
        assert_eq!(after.field("content-encoding"), Some(coding));
        assert_eq!(before.field("content-encoding"), Some(coding));
        assert!(after.body.len() < 5_000 && after.body == before.body);
        assert_eq!(lasting(&after), lasting(&before), "{coding}");
    }
    assert_eq!(edge.get("/").text(), whole);
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn ages_go_on_counting() {
    let shop = Origin::start(|_| page("x").fresh(600).field("Age", "100"));
    let mut edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/");
    let first = edge.get("/");
    assert!((100..110).contains(&age(&first)), "{first:?}");
    kept(&edge, 1);
    edge.restart(Signal::SIGKILL);
    let second = edge.get("/");
    assert!(second.is_hit());
    assert!(age(&second) >= age(&first), "{second:?}");
    assert_eq!(second.field("date"), first.field("date"));
    eventually("it grows older", || {
        let answer = edge.get("/");
        assert_eq!(answer.ttl(), Some(600 - age(&answer) as i64));
        age(&answer) > age(&second)
    });
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn what_expired_meanwhile_is_validated_and_what_changes_is_written_down() {
    let shop = Origin::start(|r| match (r.nth, r.field("if-none-match")) {
        (1, _) => page(noise(20_000, 4))
            .fresh(1)
            .field("ETag", "\"v1\"")
            .field("X-Stock", "7"),
        (2, Some("\"v1\"")) => page("")
            .status(304)
            .field("ETag", "\"v1\"")
            .fresh(600)
            .field("X-Stock", "6"),
        _ => page("not asked for").status(400),
    });
    let mut edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/");
    let stored = Instant::now();
    kept(&edge, 1);
    passed(stored, Duration::from_millis(1_100));
    edge.restart(Signal::SIGKILL);
    let answer = edge.get("/");
    let status = answer.cache();
    assert!(status.ends_with("; fwd-status=304; stored"), "{status}");
    assert!(answer.body == noise(20_000, 4));
    assert_eq!(answer.field("x-stock"), Some("6"));
    kept(&edge, 1);
    for _ in 0..2 {
        edge.restart(Signal::SIGKILL);
        let answer = edge.get("/");
        assert!(answer.is_hit(), "{:?}", answer.fields);
        assert!(answer.body == noise(20_000, 4));
        assert_eq!(answer.field("x-stock"), Some("6"));
        assert_eq!(answer.count("via"), 1);
    }
    assert_eq!(shop.count("/"), 2);
}

#[test]
fn a_confirmation_is_not_written_over_earlier_content() {
    // The second page takes long to compress, and is confirmed meanwhile.
    let digits = |byte: u8| [byte & 7, byte >> 3 & 7].map(|digit| digit + b'0');
    let second: Vec<u8> = noise(2_000_000, 5).into_iter().flat_map(digits).collect();
    let whole = second.clone();
    let shop = Origin::start(move |r| {
        let answer = match (r.nth, r.field("if-none-match")) {
            (1, _) => page("first").field("ETag", "\"v1\""),
            (_, Some("\"v2\"")) => page("").status(304).field("ETag", "\"v2\""),
            _ => page(second.clone()).field("ETag", "\"v2\""),
        };
        answer.field("Cache-Control", "no-cache, max-age=600")
    });
    let mut edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/");
    kept(&edge, 1);
    assert!(edge.get("/").body == whole);
    let confirmed = edge.ask("HEAD", "/", &[]);
    assert!(
        confirmed.cache().contains("fwd-status=304"),
        "{confirmed:?}"
    );
    kept(&edge, 1);
    for _ in 0..2 {
        edge.restart(Signal::SIGKILL);
        let answer = edge.get("/");
        assert_eq!(answer.field("etag"), Some("\"v2\""));
        assert!(answer.body == whole);
        kept(&edge, 1);
    }
}

#[test]
fn what_the_shop_takes_back_does_not_return() {
    // A 304 that forbids storing, and a new answer that is not to be stored.
    let shop = Origin::start(|r| match (r.target.as_str(), r.nth) {
        (_, 1) => page("first").fresh(1).field("ETag", "\"v1\""),
        ("/confirmed", 2) => page("")
            .status(304)
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "no-store"),
        _ => page("second").field("Cache-Control", "no-store"),
    });
    let mut edge = Edge::start(&with_disk(&shop, ""));
    let paths = ["/confirmed", "/replaced"];
    for path in paths {
        edge.get(path);
    }
    let stored = Instant::now();
    kept(&edge, 2);
    passed(stored, Duration::from_millis(1_100));
    assert_eq!(edge.get("/confirmed").text(), "first");
    assert_eq!(edge.get("/replaced").text(), "second");
    kept(&edge, 0);
    edge.restart(Signal::SIGKILL);
    for path in paths {
        assert_eq!(edge.get(path).text(), "second", "{path}");
    }
}

#[test]
fn what_does_not_fit_in_memory_is_on_the_disk() {
    let shop = Origin::start(|r| {
        let seed = r.target.len() as u64 + u64::from(r.target.as_bytes()[1]);
        page(noise(100_000, seed)).fresh(600)
    });
    let edge = Edge::start(&with_disk(&shop, "memory = \"1MiB\""));
    let paths: Vec<_> = (10..40).map(|n| format!("/{n}")).collect();
    let mut conn = edge.connect();
    let first: Vec<_> = paths.iter().map(|path| conn.get(path)).collect();
    kept(&edge, 30);
    eventually("memory is within its bound", || {
        edge.metric("dhal_cache_stored_bytes{tier=\"memory\"}") <= Some(1_048_576.0)
    });
    for (path, first) in paths.iter().zip(&first) {
        let again = conn.get(path);
        assert!(again.is_hit(), "{path}: {}", again.cache());
        assert!(again.body == first.body, "{path}");
        assert_eq!(shop.count(path), 1, "{path}");
    }
    assert!(edge.metric("dhal_cache_evictions{tier=\"memory\"}") > Some(0.0));
}

#[test]
fn the_disk_is_bounded() {
    let shop = Origin::start(|_| page(noise(100_000, 5)).fresh(600));
    let config = with_disk(&shop, "").replace("1GiB", "1MiB");
    let mut edge = Edge::start(&config);
    let mut conn = edge.connect();
    for n in 0..50 {
        assert_eq!(conn.get(&format!("/{n}")).body.len(), 100_000);
    }
    kept(&edge, 1);
    let bytes = edge.metric("dhal_cache_stored_bytes{tier=\"disk\"}");
    assert!(bytes <= Some(1_048_576.0), "{bytes:?}");
    assert!(edge.metric("dhal_cache_evictions{tier=\"disk\"}") >= Some(30.0));
    let files = objects(&edge);
    let sum: u64 = files
        .iter()
        .map(|f| f.metadata().map_or(0, |m| m.len()))
        .sum();
    assert!(sum <= 1_048_576, "{sum}");
    edge.restart(Signal::SIGKILL);
    assert!(edge.get("/49").is_hit(), "the newest is there");
    assert!(!edge.get("/0").is_hit(), "the oldest is not");
}

#[test]
fn many_restarts_lose_nothing() {
    let shop = Origin::start(|r| page(format!("page {}", r.target)).fresh(600));
    let mut edge = Edge::start(&with_disk(&shop, ""));
    for round in 0..5 {
        for n in 0..20 {
            edge.get(&format!("/{round}-{n}"));
        }
        kept(&edge, (round + 1) * 20);
        edge.restart(Signal::SIGKILL);
    }
    let address = edge.site.http;
    let ask = |round: u32| {
        thread::spawn(move || {
            let mut conn = crate::client::Conn::open(address);
            for n in 0..20 {
                let path = format!("/{round}-{n}");
                let answer = conn.get(&path);
                assert_eq!(answer.text(), format!("page {path}"));
                assert!(answer.is_hit(), "{path}: {}", answer.cache());
            }
        })
    };
    let visitors: Vec<_> = (0..5).map(ask).collect();
    for visitor in visitors {
        visitor.join().expect("answered");
    }
    assert_eq!(shop.seen().len(), 100);
}

/// The files of all stored objects.
pub(crate) fn objects(edge: &Edge) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(edge.site.path("store")).expect("the folder");
    for part in entries.flatten().map(|entry| entry.path()) {
        let name = part.file_name().and_then(|name| name.to_str());
        if part.is_dir() && name.is_some_and(|name| name.len() == 2) {
            let inside = std::fs::read_dir(&part).expect("a part");
            files.extend(inside.flatten().map(|entry| entry.path()));
        }
    }
    files
}
