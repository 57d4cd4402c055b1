use std::{
    cell::RefCell,
    collections::HashMap,
    io::Write,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use clap::Parser;
use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::{
    admit::state::{LimitDecision, LimitState},
    observe::{
        Record,
        testing::{json_line, record, routes},
    },
    snapshot::Route,
};

#[derive(Parser)]
struct Wrapped {
    #[command(flatten)]
    suggest: Suggest,
}

/// Requests of a made-up log: seconds since its beginning, client, route, status.
type Request<'a> = (f64, &'a str, &'a str, u16);

const BEGIN: u64 = 1_795_300_000;

thread_local! {
    static ROUTES: RefCell<HashMap<String, Arc<Route>>> = RefCell::default();
}

fn route(name: &str) -> Arc<Route> {
    ROUTES.with_borrow_mut(|known| {
        let route = known.entry(name.to_owned());
        Arc::clone(route.or_insert_with(|| routes(&[name]).remove(0)))
    })
}

fn decided(decision: LimitDecision) -> LimitState {
    LimitState {
        rule: "api",
        quota: 1,
        window: 1,
        remaining: 0,
        retry_after: u64::from(decision == LimitDecision::Rejected),
        is_told: true,
        decision,
        decided_by: "api",
        reason: None,
        delay: Duration::ZERO,
        charged: 0,
    }
}

/// As the edge writes it.
fn line_of((at, client, path, status): Request<'_>, limit: Option<LimitDecision>) -> String {
    let limit = limit.map(decided);
    let known = (!path.is_empty()).then(|| route(path));
    let mut record = record("/\"x", "0");
    record.began.wall = UNIX_EPOCH + Duration::from_secs(BEGIN) + Duration::from_secs_f64(at);
    json_line(&Record {
        client: client.parse().unwrap(),
        status,
        route: known.as_deref(),
        limit: limit.as_ref(),
        ..record
    })
}

fn line(request: Request<'_>) -> String {
    line_of(
        request,
        (request.3 == 429).then_some(LimitDecision::Rejected),
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

#[test]
fn limits_that_log_or_delay_are_seen() {
    use LimitDecision::{Admitted, Delayed, WouldReject};
    let request = (0.0, "192.0.2.1", "/api/*", 200);
    let decisions = [WouldReject, WouldReject, Delayed, Admitted];
    let log: String = decisions
        .iter()
        .map(|decision| line_of(request, Some(*decision)) + "\n")
        .collect();
    let report = report(log.as_bytes(), &[]).unwrap();
    let limits = report.limits.iter();
    let mut seen: Vec<_> = limits.map(|l| (&*l.verdict, l.requests)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("delayed", 1), ("would_reject", 2)]);
    let shown = report.to_string();
    for part in [
        "2 requests of 1 client would have been rejected",
        "1 request of 1 client delayed",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_line_of_another_millennium_spoils_nothing() {
    let far = 31_000_000_000.0;
    for place in [0, 1, 50, 119, 120] {
        let mut requests: Vec<Request<'_>> = (0..120)
            .map(|at| (f64::from(at), "192.0.2.1", "/", 200))
            .collect();
        requests.insert(place, (far, "192.0.2.9", "/", 200));
        let report = report(text(&requests).as_bytes(), &[]).unwrap();
        assert_eq!(report.requests, 120, "{place}");
        let passed_over = &report.passed_over;
        assert_eq!((passed_over.broken_lines, passed_over.late_lines), (1, 0));
        assert_eq!(report.routes[0].worst[0].peaks, [1, 10, 60]);
    }
    // A quiet night is none, nor are hours between all of them.
    for pause in [0.0, 40_000.0] {
        let times = [
            0.0,
            1.0,
            50_000.0 + pause,
            50_001.0 + 2.0 * pause,
            50_002.0 + 3.0 * pause,
        ];
        let requests = times.map(|at| (at, "192.0.2.1", "/", 200));
        let report = report(text(&requests).as_bytes(), &[]).unwrap();
        let unsure = if pause > 0.0 { 2 } else { 0 };
        assert_eq!(report.requests, 5 - unsure);
        assert_eq!(report.passed_over.broken_lines, unsure);
    }
}

#[test]
fn a_log_in_the_combined_format_is_named_as_such() {
    let path = std::env::temp_dir().join(format!("dhal-combined-{}.toml", std::process::id()));
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.shop]\nservers = [\"127.0.0.1:1\"]\n\
        [[routes]]\nupstream = \"shop\"\n[access_log]\npath = \"access.log\"\nformat = \"combined\"\n";
    std::fs::write(&path, text).unwrap();
    let why = configured_log(&path);
    std::fs::remove_file(&path).unwrap();
    let why = why.unwrap_err().to_string();
    assert!(
        why.contains("combined") && why.contains("format = \"json\""),
        "{why}"
    );
}
