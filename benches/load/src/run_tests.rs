use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::*;
use crate::connect::Trust;

/// A shop with one product, which answers nothing from 600 to 1,000 ms after the first request for `/x`.
fn stalling_shop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let began = Arc::new(std::sync::OnceLock::new());
        for stream in listener.incoming().map_while(Result::ok) {
            let began = Arc::clone(&began);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let (mut target, mut line) = (String::new(), String::new());
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        if target.is_empty() {
                            target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                        }
                        line.clear();
                    }
                    let body = match target.split('?').next() {
                        None | Some("") => return,
                        Some("/api/products") => {
                            r#"{"products":[{"slug":"a","name":"A","category":"c","stock":9}],"pages":1}"#
                        }
                        Some("/") => r#"<link rel="stylesheet" href="/s.css">"#,
                        _ => "x",
                    };
                    if target == "/x" {
                        let began: Instant = *began.get_or_init(Instant::now);
                        if (600..1000).contains(&began.elapsed().as_millis()) {
                            thread::sleep(
                                (began + Duration::from_secs(1)).duration_since(Instant::now()),
                            );
                        }
                    }
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if reader
                        .get_mut()
                        .write_all((head + body).as_bytes())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    at
}

fn played(scenario: &str, at: SocketAddr) -> Done {
    let scenario = Scenario::parse(scenario).expect("a scenario");
    let target = Target::new(Some(at), None, "localhost", &Trust::Anybody).expect("a target");
    let settings = Settings {
        phases: Vec::new(),
        seed: 1,
        scale: 1.0,
        seconds: None,
        quiet: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    tasks
        .block_on(&runtime, run(scenario, target, &settings))
        .expect("a run")
}

/// Whoever comes while the server stalls has waited from when he came: a generator that waits for answers before it
/// asks again would have sent one request in that time, and called one in hundreds slow.
#[test]
fn a_stall_is_seen_by_all_who_come_meanwhile() {
    let scenario = r#"
        name = "stall"
        protocols = { http1 = 1 }
        [[phases]]
        seconds = 2
        rate = 200
        [[visitors]]
        name = "one"
        share = 1
        steps = [{ do = "get", path = "/x" }]
    "#;
    let report = played(scenario, stalling_shop()).report;
    let all = &report.by_step["get"];
    assert!((320..480).contains(&all.requests), "{}", all.requests);
    assert_eq!(all.failed, 0);
    // A fifth of all came during the stall, and waited from 0 to 400 ms, as they came.
    assert!(all.p50_ms < 100.0, "{}", all.p50_ms);
    assert!((150.0..450.0).contains(&all.p90_ms), "{}", all.p90_ms);
    assert!(all.p99_ms > 300.0, "{}", all.p99_ms);
    assert_eq!(
        (report.visitors, report.connections),
        (all.requests, all.requests)
    );
}

#[test]
fn who_finds_too_many_inside_is_turned_away_and_told() {
    let scenario = r#"
        name = "full"
        visitors_max = 5
        protocols = { http1 = 1 }
        [[phases]]
        seconds = 1
        rate = 100
        [[visitors]]
        name = "one"
        share = 1
        think = "20ms"
        steps = [{ do = "get", path = "/y", times = 1000 }]
    "#;
    let report = played(scenario, stalling_shop()).report;
    // Places become free shortly before the end.
    assert!((5..20).contains(&report.visitors), "{}", report.visitors);
    assert!(report.generator.turned_away > 50);
    assert!(!report.generator.kept_up);
}

/// A shop behind a waiting room, for `/x`: it lets in one visitor each tenth of a second, in the order in which they
/// came, and tells `place` of how many are before them. `tell` says what becomes of that number.
fn crowded_shop(tell: fn(u64, u64) -> u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let began = Instant::now();
    let last = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let last = Arc::clone(&last);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut asked = 0;
                loop {
                    let (mut head, mut line) = (String::new(), String::new());
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        head.push_str(&line);
                        line.clear();
                    }
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    let (fields, body) = match target.split('?').next() {
                        None | Some("") => return,
                        Some("/api/products") => (
                            String::new(),
                            r#"{"products":[{"slug":"a","name":"A","category":"c","stock":9}],"pages":1}"#,
                        ),
                        Some("/") => (String::new(), r#"<link rel="stylesheet" href="/s.css">"#),
                        Some("/x") => {
                            let ticket = head.split("dhal_room_sale=").nth(1);
                            let ticket = ticket.and_then(|text| text.split_whitespace().next());
                            let ticket = ticket.map(|text| text.parse().expect("ours"));
                            let ticket =
                                ticket.unwrap_or_else(|| 1 + last.fetch_add(1, Ordering::Relaxed));
                            let inside = began.elapsed().as_millis() as u64 / 100;
                            asked += 1;
                            let before = tell(ticket.saturating_sub(inside), asked);
                            let place = format!("sale;state=waiting;place={before};wait=1");
                            let fields = format!(
                                "Set-Cookie: dhal_room_sale={ticket}; Path=/\r\nRefresh: 0\r\nDhal-Room: {place}\r\n"
                            );
                            match ticket > inside {
                                true => (fields, "wait"),
                                false => (String::new(), "x"),
                            }
                        }
                        Some(_) => (String::new(), "x"),
                    };
                    let status = if body == "wait" { 503 } else { 200 };
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} S\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
                    );
                    if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

const CROWD: &str = r#"
    name = "crowd"
    protocols = { http1 = 1 }
    [[phases]]
    seconds = 1
    rate = 40
    [[phases]]
    seconds = 6
    rate = 0
    [[visitors]]
    name = "one"
    share = 1
    steps = [{ do = "get", path = "/x" }, { do = "get", path = "/y" }]
"#;

#[test]
fn who_is_told_to_wait_comes_again_and_goes_on() {
    let report = played(CROWD, crowded_shop(|place, _| place)).report;
    let (all, waiting) = (&report.by_step["get"], &report.waiting);
    assert_eq!((all.failed, all.refused), (0, 0));
    assert!(waiting.waited > 10, "{waiting:?}");
    assert_eq!(
        (waiting.admitted, waiting.still_waiting),
        (waiting.waited, 0)
    );
    assert!(all.fates["waiting"] > waiting.waited);
    // All went on with what they came for; those who waited are told by the time they did.
    assert_eq!(all.requests - all.fates["waiting"], 2 * report.visitors);
    assert!((0.4..6.0).contains(&waiting.max_s), "{waiting:?}");
    assert!(report.per_second.iter().any(|second| second.waiting > 0));
}

#[test]
fn a_place_that_rises_is_an_error() {
    let report = played(CROWD, crowded_shop(|place, asked| place + 100 * asked)).report;
    let rises = report.by_step["get"].fates["place-rose"];
    assert!(rises > 0 && report.by_step["get"].failed == rises);
    assert_eq!(report.waiting.admitted, report.waiting.waited);
}

#[test]
fn nobody_waits_longer_than_his_patience() {
    let scenario = CROWD.replace("protocols", "patience = \"1.2s\"\nprotocols");
    let report = played(&scenario, crowded_shop(|place, _| place)).report;
    let waiting = &report.waiting;
    assert!(waiting.gave_up > 0 && waiting.max_s <= 1.7, "{waiting:?}");
    assert_eq!(waiting.admitted + waiting.gave_up, waiting.waited);
}

#[test]
fn who_is_refused_comes_again_so_often_and_then_leaves() {
    let scenario = |retries: &str| {
        format!(
            r#"
            name = "refused"
            {retries}
            protocols = {{ http1 = 1 }}
            [[phases]]
            seconds = 0.2
            rate = 50
            [[phases]]
            seconds = 3
            rate = 0
            [[visitors]]
            name = "one"
            share = 1
            steps = [{{ do = "get", path = "/full" }}, {{ do = "get", path = "/y" }}]
            "#
        )
    };
    for (retries, asked_each) in [
        ("", 2),
        ("retries = 0", 1),
        ("retries = 1", 2),
        // Each comes again after half a second.
        ("retries = 100\npatience = \"1.3s\"", 3),
    ] {
        let report = played(&scenario(retries), refusing_shop()).report;
        let all = &report.by_step["get"];
        assert_eq!(all.requests, asked_each * report.visitors, "{retries}");
        assert_eq!(all.failed, 0, "{retries}");
        let answered = if retries.is_empty() {
            report.visitors
        } else {
            0
        };
        assert_eq!(all.requests - all.refused, answered, "{retries}");
    }
}

/// A shop that is full at `/full`.
fn refusing_shop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("another"));
                loop {
                    let (mut head, mut line) = (String::new(), String::new());
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        head.push_str(&line);
                        line.clear();
                    }
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    let (status, body) = match target.split('?').next() {
                        None | Some("") => return,
                        Some("/api/products") => (
                            200,
                            r#"{"products":[{"slug":"a","name":"A","category":"c","stock":9}],"pages":1}"#,
                        ),
                        Some("/") => (200, r#"<link rel="stylesheet" href="/s.css">"#),
                        Some("/full") => (503, "full"),
                        Some(_) => (200, "x"),
                    };
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} S\r\nRetry-After: 0\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

/// An edge that has no patience with heads of HTTP/1.1, and all the patience with silence over HTTP/2.
#[test]
fn attackers_are_counted_by_what_became_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let shop = refusing_shop();
    // The generator learns from a shop; attackers, who come from elsewhere, meet this.
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let from = stream.peer_addr().expect("somebody").ip();
            if from == std::net::Ipv4Addr::LOCALHOST {
                let mut to = std::net::TcpStream::connect(shop).expect("the shop");
                let (mut back, mut there) = (
                    to.try_clone().expect("another"),
                    stream.try_clone().expect("another"),
                );
                thread::spawn(move || std::io::copy(&mut back, &mut there));
                thread::spawn(move || std::io::copy(&mut stream, &mut to));
                continue;
            }
            let mut first = [0; 512];
            let read = stream.read(&mut first).expect("something");
            if first[..read].starts_with(b"GET") {
                let answer = b"HTTP/1.1 408 S\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(answer);
            } else {
                kept.push(stream);
            }
        }
    });
    let scenario = r#"
        name = "attack"
        protocols = { http1 = 1 }
        [[phases]]
        seconds = 2.5
        rate = 1
        [[attackers]]
        way = "slow-head"
        protocol = "http1"
        connections = 20
        ramp = "500ms"
        interval = "100ms"
        pause = "1h"
        [[attackers]]
        way = "hold"
        protocol = "h2c"
        connections = 20
        ramp = "500ms"
        pause = "1h"
    "#;
    let report = played(scenario, at).report;
    let [slow, hold] = report.attackers.as_slice() else {
        panic!("{:?}", report.attackers);
    };
    assert_eq!(
        (slow.way.as_str(), hold.way.as_str()),
        ("slow-head http1", "hold h2c")
    );
    assert_eq!((slow.opened, slow.closed_by_edge, slow.left), (20, 20, 0));
    assert_eq!((hold.opened, hold.closed_by_edge, hold.left), (20, 0, 20));
    assert!(slow.statuses[&408] > 0, "{slow:?}");
    assert_eq!((slow.open_by_second[1], hold.open_by_second[1]), (0, 20));
}
