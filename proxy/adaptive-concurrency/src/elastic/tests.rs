use std::{cmp::Reverse, collections::BinaryHeap};

use proptest::prelude::*;

use super::*;

/// A server with so many workers, always as many requests as the limit lets, for so long. Each takes between half
/// and one and a half of `work`. Returns the mean limit over the last half.
fn saturate(
    elastic: &mut Elastic,
    from: Duration,
    seconds: u64,
    workers: usize,
    work: Duration,
) -> f64 {
    let mut random = 7_u64;
    let mut free: BinaryHeap<Reverse<Duration>> = (0..workers).map(|_| Reverse(from)).collect();
    let mut ends: BinaryHeap<Reverse<(Duration, Duration)>> = BinaryHeap::new();
    let (mut now, until) = (from, from + Duration::from_secs(seconds));
    let (mut limits, mut n) = (0.0, 0.0);
    while now < until {
        while ends.len() < elastic.limit() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let share = 0.5 + (random >> 33) as f64 / (1_u64 << 31) as f64;
            let Reverse(worker) = free.pop().expect("a worker");
            let end = worker.max(now) + work.mul_f64(share);
            free.push(Reverse(end));
            ends.push(Reverse((end, now)));
            elastic.started(now, ends.len());
        }
        let Reverse((end, since)) = ends.pop().expect("one at work");
        now = end;
        elastic.finished(now, now - since, ends.len() + 1, Verdict::Answered);
        if now > from + Duration::from_secs(seconds / 2) {
            limits += elastic.limit() as f64;
            n += 1.0;
        }
    }
    limits / n
}

#[test]
fn it_finds_the_workers() {
    for (workers, work, least, most) in [
        (1, 20, 1.0, 6.0),
        (4, 20, 3.5, 12.0),
        (16, 50, 14.0, 34.0),
        (100, 50, 85.0, 190.0),
    ] {
        let mut elastic = Elastic::new(1, 1_000);
        let work = Duration::from_millis(work);
        let found = saturate(&mut elastic, Duration::ZERO, 60, workers, work);
        assert!((least..=most).contains(&found), "{found} of {workers}");
    }
}

#[test]
fn slower_pages_do_not_change_it() {
    let mut elastic = Elastic::new(2, 1_000);
    let quick = saturate(
        &mut elastic,
        Duration::ZERO,
        40,
        16,
        Duration::from_millis(20),
    );
    let from = Duration::from_secs(50);
    let slow = saturate(&mut elastic, from, 80, 16, Duration::from_millis(200));
    assert!((14.0..=40.0).contains(&quick), "{quick}");
    assert!((12.0..=40.0).contains(&slow), "{slow}");
}

#[test]
fn without_demand_nothing_is_learned() {
    let mut elastic = Elastic::new(2, 1_000);
    let before = elastic.limit();
    let mut now = Duration::ZERO;
    for _ in 0..5_000 {
        elastic.started(now, 1);
        now += Duration::from_millis(10);
        elastic.finished(now, Duration::from_millis(10), 1, Verdict::Answered);
    }
    assert_eq!(elastic.limit(), before);
    assert!(elastic.latency() >= Duration::from_millis(9));
}

#[test]
fn words_of_overload_that_come_together_are_one() {
    let mut elastic = Elastic::new(2, 1_000);
    let before = elastic.limit();
    let second = Duration::from_secs(1);
    for _ in 0..50 {
        elastic.finished(second, second, 10, Verdict::Overloaded);
    }
    let once = elastic.limit();
    assert!(once < before && once > before / 2, "{before} {once}");
    for n in 2..40 {
        elastic.finished(second * n, second, 10, Verdict::Overloaded);
    }
    assert!(elastic.limit() <= 3);
}

#[test]
fn a_few_words_of_overload_beside_answers_change_nothing() {
    let mut elastic = Elastic::new(2, 1_000);
    let before = elastic.limit();
    let each = Duration::from_millis(10);
    for n in 1..6_000 {
        let now = each * n;
        elastic.started(now, 1);
        match n % 33 {
            0 => elastic.finished(now, 200 * each, 1, Verdict::Overloaded),
            16 => elastic.hangs(now, 1),
            _ => elastic.finished(now, each, 1, Verdict::Answered),
        }
        assert_eq!(elastic.limit(), before, "after {n}");
    }
    // Many are heard, and answers in between are no excuse.
    for n in 6_000..9_000 {
        let now = each * n;
        elastic.started(now, 1);
        match n % 3 {
            0 => elastic.hangs(now, 1),
            _ => elastic.finished(now, each, 1, Verdict::Answered),
        }
    }
    assert!(elastic.limit() <= 3);
}

#[test]
fn a_window_ends_by_time_too() {
    let mut elastic = Elastic::new(2, 1_000);
    elastic.started(Duration::ZERO, 1);
    let begun = elastic.window.begins;
    elastic.started(Duration::from_secs(5), 2);
    assert!(elastic.window.begins > begun, "nothing was answered");
}

proptest! {
    /// It stays within its bounds, and never fails, whatever it is told.
    #[test]
    fn it_stays_within_its_bounds(
        told in prop::collection::vec((0..3_u8, 0..5_000_000_u64, 0..100_000_000_u64, 0..3_000_usize), 1..800),
        (min, more) in (0..50_usize, 0..500_usize),
    ) {
        let mut elastic = Elastic::new(min, min + more);
        let mut now = Duration::ZERO;
        for (what, passed, latency, at_work) in told {
            now += Duration::from_micros(passed);
            let latency = Duration::from_micros(latency);
            let verdict = [Verdict::Answered, Verdict::Overloaded, Verdict::Unknown][usize::from(what)];
            elastic.started(now, at_work);
            elastic.finished(now, latency, at_work, verdict);
            prop_assert!((min.max(1)..=(min + more).max(1)).contains(&elastic.limit()));
        }
    }
}
