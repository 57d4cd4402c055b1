use super::*;

const MS: Duration = Duration::from_millis(1);

fn settled(fate: Fate, latency: Duration) -> Settled<'static> {
    Settled {
        step: "home",
        protocol: Protocol::H2,
        kind: 0,
        is_safe: true,
        target: "/",
        fate,
        stored: Stored::Hit,
        latency,
    }
}

#[test]
fn latencies_are_of_what_was_answered_or_awaited_in_vain() {
    let start = Instant::now();
    let mut record = Record::new(start, vec![false]).expect("books");
    for i in 1..=100 {
        record
            .settle(start, &settled(Fate::Right, i * MS))
            .expect("counted");
    }
    record
        .settle(start, &settled(Fate::Reset, MS / 10))
        .expect("counted");
    record
        .settle(start, &settled(Fate::TimedOut, 10_000 * MS))
        .expect("counted");
    let home = &record.steps["home"];
    assert_eq!((home.requests(), home.failed()), (102, 2));
    assert_eq!(home.latency_us.len(), 101);
    let near = |quantile, wanted: f64| {
        let got = home.latency_us.value_at_quantile(quantile) as f64;
        assert!(
            (0.995..1.005).contains(&(got / wanted)),
            "{quantile}: {got}"
        );
    };
    near(0.5, 51_000.0);
    near(0.98, 99_000.0);
    near(1.0, 10_000_000.0);
}

#[test]
fn a_late_start_is_the_generators() {
    let start = Instant::now();
    let mut record = Record::new(start, vec![false]).expect("books");
    for after_due in [0, 4, 5, 6, 20] {
        record.begin(start, after_due * MS);
    }
    assert_eq!((record.begun, record.late, record.latest), (5, 2, 20 * MS));
}

#[test]
fn seconds_have_what_was_settled_in_them() {
    let start = Instant::now();
    let mut record = Record::new(start, vec![false]).expect("books");
    record
        .settle(start, &settled(Fate::Right, 2 * MS))
        .expect("counted");
    record
        .settle(start + 2500 * MS, &settled(Fate::Right, 8 * MS))
        .expect("counted");
    record
        .settle(start + 2600 * MS, &settled(Fate::Cut, 8 * MS))
        .expect("counted");
    let ended = record.tick(start + 3001 * MS, 7, 2).expect("a second");
    assert_eq!((ended.visitors, ended.latency_us[0] / 1000), (7, 8));
    let p50: Vec<u64> = record
        .seconds
        .iter()
        .map(|s| s.latency_us[0] / 1000)
        .collect();
    assert_eq!(p50, [2, 0, 8, 0]);
    assert_eq!(record.seconds[2].fates[Fate::Cut as usize], 1);
}

#[test]
fn who_is_unwelcome_fails_by_himself() {
    let start = Instant::now();
    let mut record = Record::new(start, vec![true]).expect("books");
    record
        .settle(start, &settled(Fate::Limited, MS))
        .expect("counted");
    assert_eq!(
        (record.kinds[0].failed(), record.kinds[0].refused()),
        (0, 1)
    );
    assert!(record.steps.is_empty());
    assert_eq!(record.protocols[Protocol::H2 as usize][0].requests(), 0);
    assert_eq!(record.seconds[0].fates[Fate::Limited as usize], 0);
}

#[test]
fn what_was_stored_may_not_fail() {
    let start = Instant::now();
    let mut record = Record::new(start, vec![false]).expect("books");
    let mut settle = |fate, stored, target| {
        let settled = Settled {
            stored,
            target,
            ..settled(fate, MS)
        };
        record.settle(start, &settled).expect("counted");
        record.failed_though_stored
    };
    assert_eq!(settle(Fate::Busy, Stored::Untold, "/a"), 0);
    assert_eq!(settle(Fate::Right, Stored::Kept, "/a"), 0);
    assert_eq!(settle(Fate::Right, Stored::Forwarded, "/cart"), 0);
    assert_eq!(settle(Fate::Busy, Stored::Untold, "/cart"), 0);
    assert_eq!(settle(Fate::Busy, Stored::Untold, "/a"), 1);
}

#[test]
fn an_order_number_is_given_once() {
    let mut record = Record::new(Instant::now(), vec![]).expect("books");
    for number in ["1", "2", "1"] {
        record.order(number);
    }
    assert_eq!((record.orders.len(), record.orders_twice), (2, 1));
}

#[test]
fn what_the_store_did() {
    for (value, said) in [
        (None, Stored::Untold),
        (Some("dhal; hit; ttl=58"), Stored::Hit),
        (
            Some("dhal; hit; detail=shop-window; ttl=-3"),
            Stored::ShopWindow,
        ),
        (
            Some("dhal; hit; detail=stale-while-revalidate"),
            Stored::Stale,
        ),
        (Some("dhal; fwd=uri-miss; stored; ttl=60"), Stored::Kept),
        (
            Some("dhal; fwd=uri-miss; stored; collapsed"),
            Stored::Collapsed,
        ),
        (Some("dhal; fwd=bypass"), Stored::Forwarded),
    ] {
        let mut fields = HeaderMap::new();
        if let Some(value) = value {
            fields.insert("cache-status", value.parse().expect("a value"));
        }
        assert_eq!(Stored::of(&fields), said, "{value:?}");
    }
}
