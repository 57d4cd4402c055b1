use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use super::*;
use crate::connect::Trust;

/// A shop with one product, which answers nothing from 600 to 1,000 ms after the first request for `/x`.
fn stalling_shop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let began = std::sync::Arc::new(std::sync::OnceLock::new());
        for stream in listener.incoming().map_while(Result::ok) {
            let began = std::sync::Arc::clone(&began);
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
