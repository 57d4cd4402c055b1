//! Another rate or burst of a rule that goes on with what it remembers.

use super::*;

/// Requests that are admitted at once after a change of terms, of a client that had used up some of its burst.
#[test]
fn what_was_used_up_stays_so_under_other_terms() {
    let terms = |rate: u32, seconds, burst| Limit {
        period: Duration::from_secs(seconds),
        ..rule(rate, burst, 100, LimitAction::Reject)
    };
    let start = Duration::from_secs(7);
    // Rate, its period in seconds and burst; then how many were used, how many are left under the other terms, and
    // how many milliseconds later there is one more.
    for (before, after, used, left, later) in [
        ((5, 60, 5), (5, 60, 6), 5, 1, 12_000),
        ((5, 60, 6), (5, 60, 5), 6, 0, 12_000),
        ((5, 60, 6), (5, 60, 5), 2, 3, 12_000),
        // Four of six in 48 s: with a burst of two that is more than all of it.
        ((5, 60, 6), (5, 60, 2), 4, 0, 12_000),
        ((5, 60, 5), (6, 60, 5), 5, 0, 10_000),
        ((6, 60, 5), (5, 60, 5), 5, 0, 12_000),
        ((6, 60, 5), (5, 60, 5), 2, 3, 12_000),
        // Nobody waits for longer than anybody may have to under the new terms.
        ((5, 60, 5), (50, 1, 100), 5, 95, 20),
        ((50, 1, 100), (5, 60, 5), 100, 0, 12_000),
        ((5, 60, 5), (10, 60, 5), 1, 4, 6_000),
    ] {
        let rule = |(rate, seconds, burst)| terms(rate, seconds, burst);
        let old = with(&rule(before), None);
        for _ in 0..used {
            assert!(is_in(&old, "192.0.2.1", start));
        }
        let new = with(&rule(after), Some(old.memory()));
        new.go_on_from(&old, start);
        let case = format!("{before:?} to {after:?}, {used} used");
        for _ in 0..left {
            assert!(is_in(&new, "192.0.2.1", start), "{case}");
        }
        assert!(!is_in(&new, "192.0.2.1", start), "{case}");
        let tick = Duration::from_millis(1);
        let later = Duration::from_millis(later);
        assert!(!is_in(&new, "192.0.2.1", start + later - tick), "{case}");
        assert!(is_in(&new, "192.0.2.1", start + later), "{case}");
        // Others are as they are under the new terms alone.
        for _ in 0..new.burst {
            assert!(is_in(&new, "192.0.2.2", start), "{case}");
        }
        assert!(!is_in(&new, "192.0.2.2", start), "{case}");
    }
}

/// A rate by mistake, and its rollback.
#[test]
fn another_rate_and_back_is_as_if_nothing_had_been() {
    let start = Duration::from_secs(7);
    let many = with(&rule(1000, 1000, 100, LimitAction::Reject), None);
    for _ in 0..6 {
        assert!(is_in(&many, "192.0.2.1", start));
    }
    let few = Limit {
        period: Duration::from_secs(60),
        ..rule(1, 1000, 100, LimitAction::Reject)
    };
    let few = with(&few, Some(many.memory()));
    few.go_on_from(&many, start);
    let back = with(
        &rule(1000, 1000, 100, LimitAction::Reject),
        Some(few.memory()),
    );
    back.go_on_from(&few, start);
    for _ in 0..994 {
        assert!(is_in(&back, "192.0.2.1", start));
    }
    assert!(!is_in(&back, "192.0.2.1", start));
}

/// Nobody waits because more is allowed.
#[test]
fn a_higher_rate_slows_nobody_down() {
    let delay = LimitAction::Delay {
        max: Duration::from_secs(5),
    };
    let start = Duration::from_secs(7);
    let slow = with(&rule(1, 20, 100, delay), None);
    for _ in 0..3 {
        assert!(is_in(&slow, "192.0.2.1", start));
    }
    let fast = with(&rule(1000, 20, 100, delay), Some(slow.memory()));
    fast.go_on_from(&slow, start);
    for _ in 0..17 {
        assert!(is_in(&fast, "192.0.2.1", start));
    }
}

#[test]
fn there_and_back_is_as_if_nothing_had_been() {
    let slow = with(&rule(1, 5, 100, LimitAction::Reject), None);
    let start = Duration::from_secs(7);
    for _ in 0..3 {
        assert!(is_in(&slow, "192.0.2.1", start));
    }
    let more = with(&rule(1, 9, 100, LimitAction::Reject), Some(slow.memory()));
    more.go_on_from(&slow, start);
    let back = with(&rule(1, 5, 100, LimitAction::Reject), Some(more.memory()));
    back.go_on_from(&more, start);
    assert!(is_in(&back, "192.0.2.1", start));
    assert!(is_in(&back, "192.0.2.1", start));
    assert!(!is_in(&back, "192.0.2.1", start));
}

/// A request under way when the terms change ends under those that it began with, maybe after a wait.
#[test]
fn what_is_charged_under_the_terms_before_shuts_nobody_out_for_longer() {
    let hour = Limit {
        period: Duration::from_secs(3600),
        ..rule(1, 5, 100, LimitAction::Reject)
    };
    let start = Duration::from_secs(7);
    let slow = with(&hour, None);
    assert!(is_in(&slow, "192.0.2.1", start));
    let fast = with(
        &rule(100, 50, 100, LimitAction::Reject),
        Some(slow.memory()),
    );
    fast.go_on_from(&slow, start);
    assert!(is_in(&slow, "192.0.2.1", start), "what was left behind");
    assert!(
        !is_in(&fast, "192.0.2.1", start),
        "an hour is no half second"
    );
    fast.forget_idle(start);
    let later = start + Duration::from_millis(9);
    assert!(!is_in(&fast, "192.0.2.1", later), "all is used up");
    let later = start + Duration::from_millis(10);
    assert!(is_in(&fast, "192.0.2.1", later), "and comes back in time");
    // Whoever is within bounds keeps what it has used up, however late a sweep is.
    let busy = with(&rule(1, 20, 100, LimitAction::Reject), None);
    for _ in 0..20 {
        assert!(is_in(&busy, "192.0.2.2", start));
    }
    busy.forget_idle(start - Duration::from_secs(5));
    assert!(!is_in(&busy, "192.0.2.2", start));
}

/// The same change, with an upgrade in the place of a reload. Some bursts take days to be replenished.
#[test]
fn the_next_process_knows_what_was_used_up() {
    let terms = |rate: u32, seconds, burst| Limit {
        period: Duration::from_secs(seconds),
        ..rule(rate, burst, 100, LimitAction::Reject)
    };
    let (start, begins) = (Duration::from_secs(7), Duration::from_secs(70));
    for (before, after, used, left) in [
        ((5, 60, 5), (5, 60, 5), 5, 0),
        ((5, 60, 5), (5, 60, 5), 3, 2),
        ((10, 3600, 1_000), (10, 3600, 1_000), 1_000, 0),
        ((50, 1, 100), (5, 60, 5), 100, 0),
        ((50, 1, 100), (5, 60, 5), 3, 2),
        ((5, 60, 5), (50, 1, 100), 5, 95),
    ] {
        let rule = |(rate, seconds, burst)| terms(rate, seconds, burst);
        let old = with(&rule(before), None);
        for _ in 0..used {
            assert!(is_in(&old, "192.0.2.1", start));
        }
        let told = old.known(start).expect("networks");
        let told = serde_json::to_string(&told).expect("told");
        let new = with(&rule(after), None);
        new.take_over(&serde_json::from_str(&told).expect("heard"), begins);
        let case = format!("{before:?} to {after:?}, {used} used");
        for _ in 0..left {
            assert!(is_in(&new, "192.0.2.1", begins), "{case}");
        }
        assert!(!is_in(&new, "192.0.2.1", begins), "{case}");
    }
    // A version that does not say how fast it replenished.
    let new = with(&terms(5, 60, 5), None);
    let known = r#"{"networks": [32, 64], "clients": [[4294967297, 60000000000]]}"#;
    new.take_over(&serde_json::from_str(known).expect("heard"), begins);
    assert_eq!(new.tracked(), 1);
    let most = new.memory().clients.ahead(begins.as_nanos() as u64);
    assert_eq!(most, [(4_294_967_297, 60_000_000_000)]);
}
