use std::{
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use clap::Parser;
use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::observe::process_log::timestamp;

#[derive(Parser)]
struct Wrapped {
    #[command(flatten)]
    suggest: Suggest,
}

/// Requests of a made-up log: seconds since its beginning, client, route, status.
type Request<'a> = (f64, &'a str, &'a str, u16);

const BEGIN: u64 = 1_795_300_000;

fn line((at, client, route, status): Request<'_>) -> String {
    let time = timestamp(UNIX_EPOCH + Duration::from_secs(BEGIN) + Duration::from_secs_f64(at));
    let limit = match status {
        429 => r#""limit":"rejected","limit_rule":"api""#,
        _ => r#""limit":"none""#,
    };
    let route = match route {
        "" => "null".into(),
        route => format!("\"{route}\""),
    };
    format!(
        r#"{{"time":"{time}","client":"{client}","method":"GET","host":"shop.example","path":"/\"x","status":{status},"bytes":5,"duration_ms":0.1,"route":{route},"cache":"hit","upstream":null,"upstream_ms":null,"attempts":0,"request_id":"0","protocol":"HTTP/2.0",{limit},"user_agent":""}}"#
    )
}

fn report(log: &[u8], arguments: &[&str]) -> anyhow::Result<Report> {
    let options = Wrapped::parse_from(["suggest"].iter().chain(arguments)).suggest;
    let mut reading = Reading::new(&options)?;
    let mut reader: Box<dyn BufRead> = Box::new(log);
    if log.starts_with(&GZIP) {
        reader = Box::new(BufReader::new(MultiGzDecoder::new(log)));
    }
    lines::for_each(&mut reader, |line| reading.line(line))?;
    reading.report(&options)
}

fn text(requests: &[Request<'_>]) -> String {
    requests
        .iter()
        .map(|request| line(*request) + "\n")
        .collect()
}

/// So many visitors who look at three pages within ten seconds each, one after the other.
fn visitors(count: u32, route: &'static str) -> Vec<(f64, String, &'static str, u16)> {
    let mut all = Vec::new();
    for visitor in 0..count {
        let [_, b, c, d] = visitor.to_be_bytes();
        for page in 0..3 {
            let at = f64::from(visitor) * 0.1 + f64::from(page) * 4.0;
            all.push((at, format!("10.{b}.{c}.{d}"), route, 200));
        }
    }
    all.sort_by(|one, two| one.0.total_cmp(&two.0));
    all
}

#[test]
fn windows_are_counted_exactly() {
    // What one client does, and the most it asked for in 1, 10 and 60 seconds.
    let table: [(&[f64], [u32; 3]); 6] = [
        (&[0.0], [1, 1, 1]),
        (&[0.0, 0.999], [2, 2, 2]),
        (&[0.0, 1.0], [1, 2, 2]),
        (&[0.0, 0.1, 0.2, 5.0, 5.1, 59.9, 60.0], [3, 5, 6]),
        (&[0.9, 1.0, 1.1, 1.2], [4, 4, 4]),
        (&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0], [1, 1, 6]),
    ];
    for (times, wanted) in table {
        let requests: Vec<Request<'_>> = times
            .iter()
            .map(|at| (*at, "192.0.2.1", "/", 200))
            .collect();
        // Others do not mix with it.
        let other = (0.05, "192.0.2.2", "/", 200);
        let report = report(text(&[&requests[..], &[other]].concat()).as_bytes(), &[]).unwrap();
        let worst = &report.routes[0].worst;
        let one = worst.iter().find(|c| c.client == "192.0.2.1").unwrap();
        assert_eq!(one.peaks, wanted, "{times:?}");
        assert_eq!(one.requests, times.len() as u64);
    }
}

#[test]
fn a_proposal_spares_visitors_and_refuses_who_floods() {
    let visitors = visitors(2_000, "/products/*");
    let mut requests: Vec<Request<'_>> = visitors
        .iter()
        .map(|(at, client, route, status)| (*at, client.as_str(), *route, *status))
        .collect();
    for i in 0..600 {
        requests.push((
            100.0 + f64::from(i) * 0.01,
            "203.0.113.9",
            "/products/*",
            if i % 3 == 0 { 404 } else { 200 },
        ));
    }
    requests.sort_by(|one, two| one.0.total_cmp(&two.0));
    let report = report(text(&requests).as_bytes(), &["--headroom", "2"]).unwrap();
    assert_eq!((report.requests, report.clients), (6_600, 2_001));
    let route = &report.routes[0];
    let minute = &route.peaks[2];
    assert_eq!(
        (
            minute.half_of_clients,
            minute.percentile_of_clients,
            minute.greediest_client
        ),
        (3, 3, 600)
    );
    // Three in a minute, twice, is less than what nobody is held to; and so is the burst.
    assert_eq!((&*route.proposal.rate, route.proposal.burst), ("10/m", 10));
    assert_eq!((route.refused_clients, route.refused_requests), (1, 590));
    let worst = &route.worst[0];
    assert_eq!(
        (&*worst.client, worst.refused, worst.peaks),
        ("203.0.113.9", 590, [100, 600, 600])
    );
    assert_eq!(
        worst.statuses.iter().collect::<Vec<_>>(),
        [(&200, &400), (&404, &200)]
    );
    assert_eq!(route.worst.len(), 10);

    let toml: toml::Table = report.toml.parse().unwrap();
    let limit = &toml["limits"]["products"];
    assert_eq!(limit["key"].as_str(), Some("client-ip"));
    assert_eq!(
        (limit["rate"].as_str(), limit["burst"].as_integer()),
        (Some("10/m"), Some(10))
    );
    let shown = report.to_string();
    for part in [
        "590 requests (8.94 %) of 1 client",
        "203.0.113.9",
        "200 (400), 404 (200)",
        "[limits.products]",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(
        !shown.contains("CAUTION") && !shown.contains("passed over"),
        "{shown}"
    );
}

#[test]
fn what_is_proposed_is_what_would_have_refused_nobody() {
    // Twenty at once each minute, as a page with pictures asks for them.
    let times = (0..10)
        .flat_map(|minute| (0..20).map(move |i| f64::from(minute) * 60.0 + f64::from(i) * 0.02));
    let requests: Vec<Request<'_>> = times.map(|at| (at, "2001:db8::1", "/", 200)).collect();
    let report = report(
        text(&requests).as_bytes(),
        &["--percentile", "100", "--headroom", "1"],
    )
    .unwrap();
    let route = &report.routes[0];
    assert_eq!((&*route.proposal.rate, route.proposal.burst), ("20/m", 20));
    assert_eq!(route.refused_requests, 0);
    assert_eq!(route.worst[0].client, "2001:db8::/64");
    assert!(report.toml.contains("[limits.root]"), "{}", report.toml);
}

#[test]
fn limits_in_force_and_lines_that_are_passed_over() {
    let mut log = text(&[
        (0.0, "192.0.2.1", "/api/*", 200),
        (0.1, "192.0.2.1", "/api/*", 429),
        (0.2, "192.0.2.1", "/api/*", 429),
        (0.3, "192.0.2.2", "/api/*", 429),
        (0.4, "192.0.2.2", "", 404),
    ]);
    log += "192.0.2.1 - - [22/Nov/2026:02:22:11 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n";
    log += "{\"time\":\"2026-11-22T0";
    let plain = report(log.as_bytes(), &[]).unwrap();
    assert_eq!(plain.requests, 4);
    assert_eq!(plain.passed_over.broken_lines, 2);
    assert_eq!(plain.passed_over.requests_without_route, 1);
    let [limit] = &plain.limits[..] else {
        panic!("{:?}", plain.limits);
    };
    assert_eq!((&*limit.limit, &*limit.verdict), ("api", "rejected"));
    assert_eq!((limit.requests, limit.clients), (3, 2));
    assert_eq!(limit.worst[0], ("192.0.2.1".to_owned(), 2));
    let shown = plain.to_string();
    assert!(
        shown.contains("limit api in force: 3 requests of 2 clients rejected, most of 192.0.2.1 (2), 192.0.2.2 (1)"),
        "{shown}"
    );
    assert!(shown.contains("2 lines of no JSON"), "{shown}");
    assert!(shown.contains("CAUTION: of so few clients"), "{shown}");

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(log.as_bytes()).unwrap();
    let compressed = report(&gzip.finish().unwrap(), &[]).unwrap();
    assert_eq!(compressed.to_string(), shown);
    assert_eq!(
        serde_json::to_value(&compressed).unwrap(),
        serde_json::to_value(&plain).unwrap()
    );
}

#[test]
fn more_clients_than_are_kept_apart() {
    let visitors = visitors(20, "/");
    let requests: Vec<Request<'_>> = visitors
        .iter()
        .map(|(at, client, route, status)| (*at, client.as_str(), *route, *status))
        .collect();
    let report = report(text(&requests).as_bytes(), &["--max-keys", "5"]).unwrap();
    assert_eq!((report.requests, report.clients), (15, 5));
    assert_eq!(report.passed_over.requests_beyond_max_keys, 45);
    assert!(
        report.to_string().contains("more than 5 clients"),
        "{report}"
    );
}

#[test]
fn a_log_by_host_and_one_of_nothing() {
    let log = text(&[(0.0, "192.0.2.1", "/", 200), (0.1, "192.0.2.2", "/", 200)]);
    let by_host = report(log.as_bytes(), &["--key", "host"]).unwrap();
    assert_eq!(by_host.routes[0].worst[0].client, "shop.example");
    assert_eq!(by_host.routes[0].worst[0].requests, 2);
    assert!(by_host.toml.contains("key = \"host\""));
    for empty in ["", "nothing\n"] {
        let why = report(empty.as_bytes(), &[]).unwrap_err().to_string();
        assert!(why.contains("no request"), "{why}");
    }
}
