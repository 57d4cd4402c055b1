//! Bodies larger than memory takes: to the disk while they stream, and back from it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::{Conn, Response},
    disk::{kept, noise, passed, plain_with_disk, with_disk},
    edge::Edge,
    h2::{H2, exchange, request},
    origin::{Answer, Origin, page, raw},
    serving::smallest,
    tools::{Gate, eventually},
};

const MIB: usize = 1024 * 1024;
const FILM: usize = 64 * MIB;
const SMALL_MEMORY: &str = "max_object = \"1MiB\"";

/// Memory of a process in KiB: now, or at its peak.
fn memory(edge: &Edge, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// A head for so much content, and the first part of it.
fn begun(whole: &[u8], first: usize, fields: &str) -> Answer {
    let length = whole.len();
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{fields}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(&whole[..first]);
    raw(bytes)
}

#[test]
fn a_film_is_stored_while_it_streams() {
    let film = noise(FILM, 1);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), film.clone());
    let shop = Origin::start(move |_| {
        begun(&source, FILM / 2, "ETag: \"film\"\r\n").then(&closed, &source[FILM / 2..])
    });
    let mut edge = Edge::start_tls(&plain_with_disk(&shop, SMALL_MEMORY));
    let at_first = memory(&edge, "VmRSS:");

    // One who began, one who joined, and one who reads nothing for now.
    let mut early: Vec<_> = (0..3).map(|_| edge.connect()).collect();
    for conn in &mut early {
        conn.request("GET", "/", &[]);
        let (status, fields) = conn.head().expect("a head");
        let field = |name: &str| fields.iter().find(|(n, _)| n == name);
        assert_eq!(status, 200);
        assert_eq!(
            field("content-length").map(|(_, value)| value.as_str()),
            Some("67108864")
        );
    }
    let mut slow = early.pop().expect("the third");
    for conn in &mut early {
        let first = conn.take(FILM / 4).expect("before the rest is there");
        assert!(first == film[..FILM / 4]);
    }
    assert!(
        !edge
            .metric("dhal_cache_disk_hits_total")
            .is_some_and(|n| n > 0.0)
    );
    gate.open();
    let others: Vec<_> = early
        .into_iter()
        .map(|mut conn| thread::spawn(move || conn.take(FILM - FILM / 4).expect("the rest")))
        .collect();
    for other in others {
        assert!(other.join().expect("read") == film[FILM / 4..]);
    }
    kept(&edge, 1);

    // From the disk.
    let hit = edge.get("/");
    assert!(hit.is_hit(), "{:?}", hit.fields);
    assert!(hit.body == film);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=65535-65536", 65_535, 65_536),
        ("bytes=1000000-5000000", 1_000_000, 5_000_000),
        ("bytes=-10", FILM - 10, FILM - 1),
        ("bytes=67108863-", FILM - 1, FILM - 1),
    ] {
        let part = edge.ask("GET", "/", &[("Range", range)]);
        assert_eq!(part.status, 206, "{range}");
        assert!(part.is_hit(), "{range}: {}", part.cache());
        assert!(part.body == film[first..=last], "{range}");
        let wanted = format!("bytes {first}-{last}/{FILM}");
        assert_eq!(part.field("content-range"), Some(wanted.as_str()));
    }
    assert_eq!(edge.ask("HEAD", "/", &[]).status, 200);
    assert_eq!(
        edge.ask("GET", "/", &[("If-None-Match", "\"film\"")])
            .status,
        304
    );
    assert!(slow.take(FILM).expect("all of it") == film);
    assert_eq!(shop.count("/"), 1);
    eventually("all are counted", || {
        edge.metric("dhal_cache_disk_hits_total") >= Some(6.0)
    });
    let peak = memory(&edge, "VmHWM:");
    let grown = peak.saturating_sub(at_first);
    assert!(grown < 64 * 1024, "{grown} KiB more than {at_first}");

    edge.restart(Signal::SIGKILL);
    let after = edge.get("/");
    assert!(after.is_hit() && after.body == film);
    let part = edge.ask("GET", "/", &[("Range", "bytes=40000000-40000009")]);
    assert!(part.status == 206 && part.body == film[40_000_000..40_000_010]);
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn a_film_over_http2() {
    let film = noise(4 * MIB, 2);
    let gate = Gate::default();
    let (closed, source) = (gate.clone(), film.clone());
    let shop =
        Origin::start(move |_| begun(&source, 2 * MIB, "").then(&closed, &source[2 * MIB..]));
    let edge = Edge::start_tls(&plain_with_disk(&shop, SMALL_MEMORY));
    let mut h2 = H2::connect(edge.site.https);
    let asking = || exchange(h2.sender.clone(), request("GET", "/", &[]), None);
    let streams: Vec<_> = (0..5).map(|_| h2.runtime.spawn(asking())).collect();
    eventually("it is under way", || shop.count("/") == 1);
    gate.open();
    for stream in streams {
        let answer = h2.runtime.block_on(stream).expect("a task");
        let answer = answer.expect("an answer");
        assert!(answer.status == 200 && answer.body == film);
    }
    kept(&edge, 1);
    let hit = h2.get("/");
    assert!(hit.is_hit() && hit.body == film);
    let part = h2.ask("GET", "/", &[("Range", "bytes=3000000-3000009")], None);
    let part = part.expect("an answer");
    assert!(part.status == 206 && part.body == film[3_000_000..3_000_010]);
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn a_film_of_unknown_length() {
    let shop = Origin::start(|_| page(noise(5_000_000, 3)).fresh(600).chunked());
    let edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
    let address = edge.site.http;
    let visit = || thread::spawn(move || Conn::open(address).get("/"));
    let visitors: Vec<_> = (0..5).map(|_| visit()).collect();
    for visitor in visitors {
        let answer = visitor.join().expect("answered");
        assert!(answer.status == 200 && answer.body == noise(5_000_000, 3));
    }
    kept(&edge, 1);
    let hit = edge.get("/");
    assert!(hit.is_hit() && hit.body == noise(5_000_000, 3));
    assert_eq!(hit.field("content-length"), Some("5000000"));
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn without_a_disk_it_passes() {
    for known in [true, false] {
        let shop = Origin::start(move |_| {
            let film = page(noise(6 * MIB, 4)).fresh(600);
            if known { film } else { film.chunked() }
        });
        let config = smallest(&shop) + "[cache]\nmax_object = \"1MiB\"\n";
        let edge = Edge::start(&config);
        let address = edge.site.http;
        let visit = |_| thread::spawn(move || Conn::open(address).get("/"));
        let visitors: Vec<_> = (0..20).map(visit).collect();
        for visitor in visitors {
            let answer = visitor.join().expect("answered");
            assert_eq!(answer.status, 200);
            assert!(answer.body == noise(6 * MIB, 4), "known: {known}");
        }
        let again = edge.get("/");
        assert!(!again.is_hit() && again.body == noise(6 * MIB, 4));
        assert_eq!(
            edge.metric("dhal_cache_stored_responses{tier=\"memory\"}"),
            Some(0.0)
        );
        let part = edge.ask("GET", "/", &[("Range", "bytes=0-9")]);
        assert!(matches!(part.status, 200 | 206), "{}", part.status);
    }
}

#[test]
fn what_is_too_large_for_the_disk_passes() {
    let shop = Origin::start(|r| {
        let film = page(noise(3_000_000, 5)).fresh(600);
        if r.target == "/chunked" {
            film.chunked()
        } else {
            film
        }
    });
    let config = with_disk(&shop, SMALL_MEMORY).replace("1GiB", "8MiB");
    let edge = Edge::start(&config);
    for path in ["/known", "/chunked", "/known", "/chunked"] {
        let answer = edge.get(path);
        assert!(answer.body == noise(3_000_000, 5), "{path}");
        assert!(!answer.is_hit(), "{path}");
    }
    kept(&edge, 0);
    assert_eq!(edge.metric("dhal_cache_disk_errors"), Some(0.0));
    assert_eq!(
        edge.metric("dhal_cache_stored_responses{tier=\"disk\"}"),
        Some(0.0)
    );
}

/// A film that is stale after a second, and what the shop says of it then.
fn expiring(then: impl Fn() -> Answer + Send + Sync + 'static) -> Origin {
    Origin::start(move |r| match r.nth {
        1 => page(noise(3_000_000, 6))
            .field("Cache-Control", "max-age=1, stale-if-error=600")
            .field("ETag", "\"film\""),
        _ => then(),
    })
}

#[test]
fn an_expired_film_is_confirmed_and_not_fetched_again() {
    for _ in 0..5 {
        let shop = expiring(|| page("").status(304).fresh(600).field("ETag", "\"film\""));
        let mut edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
        edge.get("/");
        let stored = Instant::now();
        kept(&edge, 1);
        passed(stored, Duration::from_millis(1_100));
        let answer = edge.get("/");
        assert_eq!(answer.status, 200, "{:?}", answer.fields);
        assert!(answer.body == noise(3_000_000, 6));
        assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
        let hit = edge.get("/");
        assert!(hit.is_hit() && hit.body == noise(3_000_000, 6));
        kept(&edge, 1);
        edge.restart(Signal::SIGKILL);
        let hit = edge.get("/");
        assert!(hit.is_hit() && hit.body == noise(3_000_000, 6));
        assert_eq!(shop.count("/"), 2);
        assert_eq!(shop.last().field("if-none-match"), Some("\"film\""));
    }
}

#[test]
fn an_expired_film_answers_while_the_shop_fails() {
    let shop = expiring(|| page("broken").status(503));
    let edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
    edge.get("/");
    let stored = Instant::now();
    kept(&edge, 1);
    passed(stored, Duration::from_millis(1_100));
    let began = Instant::now();
    for _ in 0..20 {
        let answer = edge.get("/");
        assert_eq!(answer.cache(), "dhal; hit; detail=stale-if-error");
        assert!(answer.body == noise(3_000_000, 6));
    }
    let most = 2 + began.elapsed().as_secs() as usize;
    let asked = shop.count("/") - 1;
    assert!(asked <= most, "asked {asked} times, at most {most}");
}

#[test]
fn a_film_that_breaks_off_is_not_stored() {
    let gate = Gate::default();
    let closed = gate.clone();
    let whole = noise(4_000_000, 7);
    let source = whole.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => begun(&source, 3_000_000, "").then(&closed, ""),
        _ => page(source.clone()).fresh(600),
    });
    let edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
    let mut visitors: Vec<_> = (0..3).map(|_| edge.connect()).collect();
    for visitor in &mut visitors {
        visitor.request("GET", "/", &[]);
        assert_eq!(visitor.head().expect("a head").0, 200);
    }
    gate.open();
    for mut visitor in visitors {
        match visitor.take(4_000_000) {
            Ok(body) => assert!(body == whole, "completed, and right"),
            Err(why) => assert!(why.contains("end of connection"), "{why}"),
        }
    }
    let answer: Response = edge.get("/");
    assert!(answer.status == 200 && answer.body == whole);
}

#[test]
fn a_kill_in_the_midst_leaves_nothing_behind() {
    let gate = Gate::default();
    let closed = gate.clone();
    let whole = noise(4_000_000, 8);
    let source = whole.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => begun(&source, 3_000_000, "").then(&closed, &source[3_000_000..]),
        _ => page(source.clone()).fresh(600),
    });
    let mut edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    conn.head().expect("a head");
    conn.take(2_000_000).expect("the first part");
    edge.restart(Signal::SIGKILL);
    assert!(conn.take(2_000_000).is_err());
    gate.open();
    let answer = edge.get("/");
    assert!(!answer.is_hit() && answer.body == whole);
    kept(&edge, 1);
    assert!(edge.get("/").is_hit());
}

#[test]
fn a_film_of_another_variant_is_told_apart() {
    let shop = Origin::start(|r| match r.field("if-none-match") {
        Some(_) => page("")
            .status(304)
            .fresh(600)
            .field("ETag", "\"film\"")
            .field("Vary", "Accept-Language"),
        None => page(noise(3_000_000, 9))
            .fresh(600)
            .field("ETag", "\"film\"")
            .field("Vary", "Accept-Language"),
    });
    let edge = Edge::start(&with_disk(&shop, SMALL_MEMORY));
    let get = |language| edge.ask("GET", "/", &[("Accept-Language", language)]);
    for language in ["bn", "en"] {
        for _ in 0..2 {
            let answer = get(language);
            assert_eq!(answer.status, 200, "{language}");
            assert!(answer.body == noise(3_000_000, 9), "{language}");
        }
        let asked = shop.count("/");
        let answer = get(language);
        assert!(
            answer.is_hit() && answer.body == noise(3_000_000, 9),
            "{language}"
        );
        assert_eq!(shop.count("/"), asked, "{language}");
    }
}
