use prometheus::{Encoder, Histogram, HistogramOpts, IntCounterVec, Opts, Registry, TextEncoder};

use super::*;

fn text(registry: &Registry) -> String {
    let mut out = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut out)
        .expect("encoded");
    String::from_utf8(out).expect("text")
}

#[test]
fn the_bounds_are_the_buckets() {
    for (bound, bucket) in BOUNDS.iter().zip(BUCKETS) {
        assert_eq!(Duration::from_nanos(*bound).as_secs_f64(), bucket);
    }
}

/// The text is the one that Prometheus' own collectors would write.
#[test]
fn the_text_is_that_of_plain_counters() {
    let (ours, theirs) = (Registry::new(), Registry::new());
    let requests = Requests::new().expect("described");
    ours.register(Box::new(requests.clone()))
        .expect("registered");
    let opts = Opts::new("dhal_http_requests_total", "Requests answered.");
    let counters = IntCounterVec::new(opts, &["route", "method", "code"]).expect("made");
    theirs
        .register(Box::new(counters.clone()))
        .expect("registered");
    let help = "From the request's head to the last byte of its answer.";
    let opts =
        HistogramOpts::new("dhal_http_request_duration_seconds", help).buckets(BUCKETS.to_vec());
    let histograms = prometheus::HistogramVec::new(opts, &["route"]).expect("made");
    theirs
        .register(Box::new(histograms.clone()))
        .expect("registered");
    let purge = Method::from_bytes(b"PURGE").expect("a token");
    let rows = [
        ("shop \"1\"\\", Method::GET, "GET", 200, 99_999),
        ("shop \"1\"\\", Method::GET, "GET", 200, 100_000),
        ("shop \"1\"\\", Method::GET, "GET", 304, 100_001),
        ("shop \"1\"\\", purge, "other", 599, 20_000_000_000),
        ("", Method::HEAD, "HEAD", 100, 0),
        ("b", Method::OPTIONS, "OPTIONS", 404, 2_500_000),
        ("b", Method::POST, "POST", 503, 10_000_000_000),
        ("b", Method::PUT, "PUT", 201, 10_000_000_001),
        ("b", Method::PATCH, "PATCH", 204, 1),
        ("b", Method::DELETE, "DELETE", 200, 1),
    ];
    requests.route("idle");
    histograms.with_label_values(&["idle"]);
    for (route, method, label, status, nanoseconds) in rows {
        let duration = Duration::from_nanos(nanoseconds);
        requests.route(route).count(&method, status, duration);
        let code = status.to_string();
        counters.with_label_values(&[route, label, &code]).inc();
        let histogram: Histogram = histograms.with_label_values(&[route]);
        histogram.observe(duration.as_secs_f64());
    }
    assert!(!text(&ours).contains("idle"), "nothing is in force");
    requests.tell(["idle", "shop \"1\"\\", "", "b"].into_iter());
    let sum = |line: &str| line.contains("_sum");
    let (ours, theirs) = (text(&ours), text(&theirs));
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        if sum(ours) {
            // Nanoseconds add up exactly, doubles nearly.
            let value = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok());
            let (ours, theirs) = (value(ours).expect("a sum"), value(theirs).expect("a sum"));
            assert!((ours - theirs).abs() < 1e-9, "{ours} and {theirs}");
        } else {
            assert_eq!(ours, theirs);
        }
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
}

#[test]
fn what_many_threads_count_adds_up() {
    let requests = Requests::new().expect("described");
    let route = requests.route("shop");
    std::thread::scope(|scope| {
        for thread in 0..100 {
            let route = &route;
            scope.spawn(move || {
                for n in 0..1_000 {
                    let status = if thread % 2 == 0 { 200 } else { 404 };
                    route.count(&Method::GET, status, Duration::from_micros(n));
                }
            });
        }
    });
    let mut told = Vec::new();
    route.for_each_code(|method, status, count| told.push((method, status, count)));
    assert_eq!(told, [("GET", 200, 50_000), ("GET", 404, 50_000)]);
    let histogram = route.histogram();
    assert_eq!(histogram.get_sample_count(), 100_000);
    assert_eq!(histogram.get_bucket()[0].cumulative_count(), 100 * 101);
    assert!((histogram.get_sample_sum() - 100.0 * 0.4995).abs() < 1e-9);
}

/// A probation compares sums over all routes, and a reload takes routes away.
#[test]
fn what_routes_that_are_gone_have_counted_stays_in_the_sum() {
    let requests = Requests::new().expect("described");
    let (stays, goes) = (requests.route("stays"), requests.route("goes"));
    requests.tell(["stays", "goes"].into_iter());
    for (route, status) in [(&stays, 200), (&goes, 200), (&goes, 503)] {
        route.count(&Method::GET, status, Duration::from_millis(1));
    }
    let before = requests.totals();
    assert_eq!((before.requests(), before.errors), (3, 1));
    drop(goes);
    for _ in 0..2 {
        requests.forget_unheld();
        assert_eq!(requests.totals(), before);
    }
    let mut told = Vec::new();
    let names = |name: &str, _: &RouteMetrics| told.push(name.to_owned());
    requests.routes.for_each(names);
    assert_eq!(told, ["stays"]);
}

#[test]
fn unheard_of_statuses_count_by_their_time_only() {
    let route = RouteMetrics::default();
    for status in [0, 99, 600, 999, u16::MAX] {
        route.count(&Method::GET, status, Duration::MAX);
    }
    route.for_each_code(|_, status, _| panic!("{status} has a label"));
    assert_eq!(route.histogram().get_sample_count(), 5);
}
