//! Rates at given times.

use std::num::NonZeroU32;

use std::net::IpAddr;

use http::HeaderMap;

use super::*;
use crate::{
    admit::key::{Params, Prefix},
    config::model::LimitKey,
};

mod terms;

fn rule(rate: u32, burst: u32, max_keys: usize, action: LimitAction) -> Limit {
    Limit {
        name: "test".into(),
        key: vec![LimitKey::ClientIp],
        prefix: Prefix::default(),
        rate: NonZeroU32::new(rate).expect("rate"),
        period: Duration::from_secs(1),
        burst: NonZeroU32::new(burst).expect("burst"),
        count: LimitCount::All,
        action,
        status: 429,
        exempt: Vec::new(),
        max_keys,
    }
}

fn with(rule: &Limit, memory: Option<Arc<Memory>>) -> RateLimit {
    RateLimit::new(rule, memory, Vec::new(), Arc::default())
}

fn limit(rate: u32, burst: u32, max_keys: usize) -> RateLimit {
    with(&rule(rate, burst, max_keys, LimitAction::Reject), None)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn ask(limit: &RateLimit, client: IpAddr, now: Duration) -> Checked {
    let asked = Asked {
        client,
        host: "shop.example",
        path: "/",
        params: &Params::default(),
        fields: &HeaderMap::new(),
    };
    limit.check(&asked, now).expect("nobody is exempt")
}

fn is_in(limit: &RateLimit, client: &str, now: Duration) -> bool {
    ask(limit, ip(client), now).state.decision == LimitDecision::Admitted
}

#[test]
fn a_burst_then_the_rate() {
    let limit = limit(10, 3, 100);
    let at = |ms: u64| Duration::from_millis(1_000 + ms);
    for left in [2, 1, 0] {
        let state = ask(&limit, ip("192.0.2.1"), at(0)).state;
        assert_eq!(
            (state.decision, state.remaining),
            (LimitDecision::Admitted, left)
        );
    }
    let refused = ask(&limit, ip("192.0.2.1"), at(0)).state;
    assert_eq!(
        (refused.quota, refused.window, refused.retry_after),
        (3, 1, 1)
    );
    assert_eq!(refused.reason, Some("rate"));
    assert!(
        is_in(&limit, "192.0.2.2", at(0)),
        "another client is not concerned"
    );
    assert!(!is_in(&limit, "192.0.2.1", at(90)));
    assert!(is_in(&limit, "192.0.2.1", at(100)));
}

#[test]
fn ipv6_counts_by_its_64() {
    let limit = limit(1, 1, 100);
    let now = Duration::from_secs(1);
    assert!(is_in(&limit, "2001:db8::1", now));
    assert!(!is_in(&limit, "2001:db8::2", now));
    assert!(is_in(&limit, "2001:db8:0:1::1", now));
    assert!(is_in(&limit, "::ffff:192.0.2.1", now));
    assert!(!is_in(&limit, "192.0.2.1", now), "mapped and plain are one");
}

#[test]
fn the_table_is_bounded_and_forgets() {
    let limit = limit(1, 1, 10);
    let now = Duration::from_secs(1);
    for i in 0..1000u32 {
        ask(&limit, IpAddr::from(i.to_be_bytes()), now);
    }
    assert_eq!(limit.tracked(), 10);
    assert!(is_in(&limit, "198.51.100.1", now), "newcomers are welcome");
    assert_eq!((limit.tracked(), limit.max_keys()), (10, 10));
    assert_eq!(limit.counts().pushed_out(), 991);
    assert!(limit.is_newly_full());
    assert!(!limit.is_newly_full(), "it is said once");
    limit.forget_idle(Duration::from_secs(60));
    assert_eq!(limit.tracked(), 0);
    assert!(is_in(&limit, "198.51.100.1", Duration::from_secs(60)));
}

/// As nginx paces what is within `burst` of a `limit_req` without `nodelay`.
#[test]
fn who_is_early_waits_for_its_turn() {
    let max = Duration::from_millis(300);
    let limit = with(&rule(10, 2, 100, LimitAction::Delay { max }), None);
    let at = |ms: u64| Duration::from_millis(1_000 + ms);
    let mut kept = Vec::new();
    let mut ask = |now: u64| {
        let checked = ask(&limit, ip("192.0.2.1"), at(now));
        kept.extend(checked.held);
        let LimitState {
            decision,
            delay,
            reason,
            retry_after,
            ..
        } = checked.state;
        assert_eq!(decision == LimitDecision::Rejected, retry_after > 0);
        (decision, delay.as_millis(), reason)
    };
    let (admitted, delayed, rejected) = (
        LimitDecision::Admitted,
        LimitDecision::Delayed,
        LimitDecision::Rejected,
    );
    for (now, wanted) in [
        (0, (admitted, 0, None)),
        (0, (admitted, 0, None)),
        (0, (delayed, 100, Some("rate"))),
        (30, (delayed, 170, Some("rate"))),
        (30, (delayed, 270, Some("rate"))),
        // Its turn would be at 400.
        (30, (rejected, 0, Some("max_delay"))),
        (99, (rejected, 0, Some("max_delay"))),
        (100, (delayed, 300, Some("rate"))),
        // All turns are over, and the burst is not there again.
        (500, (admitted, 0, None)),
        (500, (delayed, 100, Some("rate"))),
    ] {
        assert_eq!(ask(now), wanted, "at {now}");
    }
    assert_eq!(limit.waiting(), 5);
    kept.clear();
    assert_eq!(limit.waiting(), 0, "who leaves gives its place up");
}

fn check_as(rules: &[Arc<RateLimit>], client: &str, count: LimitCount, before: u64) -> Outcome {
    let asked = Asked {
        client: ip(client),
        host: "shop.example",
        path: "/",
        params: &Params::default(),
        fields: &HeaderMap::new(),
    };
    check_all(rules, count, &asked, Duration::from_secs(1), before)
}

/// A limit that all share, a delay and a limit of each client, in this order.
fn shared_then_own(own: u32) -> [Arc<RateLimit>; 3] {
    let shared = Limit {
        key: vec![LimitKey::Host],
        ..rule(10, 10, 100, LimitAction::Reject)
    };
    let max = Duration::from_secs(60);
    let slow = rule(1, 1, 100, LimitAction::Delay { max });
    let own = rule(1, own, 100, LimitAction::Reject);
    [shared, slow, own].map(|rule| Arc::new(with(&rule, None)))
}

#[test]
fn a_refused_request_is_charged_by_no_rule() {
    let rules = shared_then_own(2);
    let mut decided = Vec::new();
    for _ in 0..50 {
        decided.push(match check_as(&rules, "192.0.2.1", LimitCount::All, 0) {
            Outcome::Passed(_) => "passed",
            Outcome::Held(_, held) => {
                held.into_iter().for_each(Held::take_turn);
                "held"
            }
            Outcome::Refused(..) => "refused",
        });
    }
    assert_eq!(decided[..3], ["passed", "held", "refused"]);
    assert!(decided[3..].iter().all(|what| *what == "refused"));
    assert_eq!(rules[1].waiting(), 0);
    // The shared one has charged two of its ten, and the queue is as long as one turn.
    let shared = check_as(&rules[..1], "192.0.2.2", LimitCount::All, 0);
    let Outcome::Passed(Some(state)) = shared else {
        panic!("the shared limit is drained");
    };
    assert_eq!(state.remaining, 7);
    let next = ask(&rules[1], ip("192.0.2.1"), Duration::from_secs(1));
    assert_eq!(next.state.delay.as_secs(), 2);
}

#[test]
fn who_leaves_gives_its_turn_back() {
    let rules = shared_then_own(100);
    let delay = |leaves: bool| match check_as(&rules, "192.0.2.1", LimitCount::All, 0) {
        Outcome::Held(state, held) => {
            if !leaves {
                held.into_iter().for_each(Held::take_turn);
            }
            state.delay.as_secs()
        }
        _ => 0,
    };
    assert_eq!(delay(false), 0);
    for _ in 0..30 {
        assert_eq!(delay(true), 1, "the turn is there again");
    }
    assert_eq!((delay(false), delay(false)), (1, 2));
    match check_as(&rules[..1], "192.0.2.2", LimitCount::All, 0) {
        Outcome::Passed(Some(state)) => assert_eq!(state.remaining, 6),
        _ => panic!("the shared limit is drained"),
    }
}

#[test]
fn limits_of_the_origin_hand_back_what_others_charged() {
    let all = rule(1, 10, 100, LimitAction::Reject);
    let of_origin = |action| Limit {
        count: LimitCount::Origin,
        ..rule(1, 1, 100, action)
    };
    let max = Duration::from_secs(1);
    for action in [LimitAction::Reject, LimitAction::Delay { max }] {
        let rules = [all.clone(), of_origin(action)].map(|rule| Arc::new(with(&rule, None)));
        let mut left = Vec::new();
        for _ in 0..30 {
            let outcome = check_as(&rules, "192.0.2.1", LimitCount::All, 0);
            let Outcome::Passed(Some(state)) = outcome else {
                panic!("refused after {left:?}");
            };
            left.push(state.remaining);
            assert_eq!(state.charged, 1);
            // Who is held leaves.
            check_as(&rules, "192.0.2.1", LimitCount::Origin, state.charged);
        }
        assert_eq!(left[..2], [9, 8]);
        assert!(left[2..].iter().all(|left| *left == 8), "{left:?}");
    }
}

#[test]
fn so_many_wait_and_no_more() {
    let max = Duration::from_secs(1);
    let limit = with(&rule(1, 1, 10_000, LimitAction::Delay { max }), None);
    let now = Duration::from_secs(1);
    let mut held = Vec::new();
    let mut ask_twice = |client: u32| {
        let client = IpAddr::from(client.to_be_bytes());
        ask(&limit, client, now);
        let checked = ask(&limit, client, now);
        let state = (checked.state.decision, checked.state.reason);
        held.extend(checked.held);
        state
    };
    for client in 0..WAITING_MOST as u32 {
        assert_eq!(ask_twice(client).0, LimitDecision::Delayed, "{client}");
    }
    let refused = (LimitDecision::Rejected, Some("waiting"));
    assert_eq!(ask_twice(1 << 24), refused);
    assert_eq!(limit.waiting(), WAITING_MOST);
    held.clear();
    let again = ask(&limit, IpAddr::from((1_u32 << 24).to_be_bytes()), now);
    assert_eq!(
        again.state.decision,
        LimitDecision::Delayed,
        "who was refused has used nothing up"
    );
}

#[test]
fn who_looks_on_refuses_nobody_and_tells_nobody() {
    let limit = with(&rule(1, 2, 10, LimitAction::Log), None);
    let now = Duration::from_secs(1);
    for wanted in [
        LimitDecision::Admitted,
        LimitDecision::Admitted,
        LimitDecision::WouldReject,
    ] {
        let state = ask(&limit, ip("192.0.2.1"), now).state;
        assert_eq!((state.decision, state.is_told), (wanted, false));
        assert_eq!(state.retry_after, 0);
    }
    assert_eq!(limit.counts().get(LimitDecision::WouldReject), 1);
    assert_eq!(limit.counts().get(LimitDecision::Admitted), 2);
}

#[test]
fn another_action_keeps_the_memory() {
    let now = Duration::from_secs(1);
    let before = limit(1, 1, 10);
    assert!(is_in(&before, "192.0.2.1", now));
    let max = Duration::from_secs(2);
    let after = rule(1, 1, 10, LimitAction::Delay { max });
    let after = with(&after, Some(before.memory()));
    let checked = ask(&after, ip("192.0.2.1"), now);
    assert_eq!(checked.state.decision, LimitDecision::Delayed);
    assert_eq!(checked.state.delay.as_millis(), 1000);
    assert_eq!(before.waiting(), 1, "and who waits is known to both");
}

/// The tick never goes back by itself; if it did, nobody would get more for it.
#[test]
fn a_tick_that_stands_still_or_jumps() {
    let limit = limit(1, 2, 10);
    let at = Duration::from_secs;
    for (now, wanted) in [
        (1000, true),
        (1000, true),
        // It stands still.
        (1000, false),
        (1000, false),
        // It goes back.
        (10, false),
        (0, false),
        (1001, true),
        (1001, false),
        // It goes on by a year: a whole burst, and no more.
        (32_000_000, true),
        (32_000_000, true),
        (32_000_000, false),
    ] {
        assert_eq!(is_in(&limit, "192.0.2.1", at(now)), wanted, "at {now}");
    }
    limit.forget_idle(at(0));
    assert_eq!(limit.tracked(), 1, "nobody is forgotten too early");
}

#[test]
fn a_copy_says_what_the_rule_then_says_and_changes_nothing() {
    let max = Duration::from_millis(250);
    for action in [
        LimitAction::Reject,
        LimitAction::Log,
        LimitAction::Delay { max },
    ] {
        let rule = with(&rule(10, 3, 100, action), None);
        let (client, fields) = (ip("192.0.2.1"), HeaderMap::new());
        let params = Params::default();
        let asked = Asked {
            client,
            host: "shop.example",
            path: "/",
            params: &params,
            fields: &fields,
        };
        let mut held = Vec::new();
        for n in 0..40u64 {
            let now = Duration::from_secs(1) + Duration::from_millis(n * n);
            let tracked = rule.tracked();
            let counted = LimitDecision::ALL.map(|decision| rule.counts().get(decision));
            for _ in 0..20 {
                drop(rule.copied(&asked).check(&asked, now));
            }
            let Ok(left) = rule.left(&asked, now) else {
                panic!("nobody is exempt");
            };
            let foreseen = rule
                .copied(&asked)
                .check(&asked, now)
                .expect("nobody is exempt");
            assert_eq!((rule.tracked(), rule.waiting()), (tracked, held.len()));
            assert_eq!(
                LimitDecision::ALL.map(|decision| rule.counts().get(decision)),
                counted
            );
            let then = rule.check(&asked, now).expect("nobody is exempt");
            let told = |checked: &Checked| {
                let state = &checked.state;
                (
                    state.decision,
                    state.remaining,
                    state.retry_after,
                    state.delay,
                )
            };
            assert_eq!(told(&foreseen), told(&then), "{action:?} {n}");
            let admitted = then.state.decision == LimitDecision::Admitted;
            assert_eq!(left.tokens > 0, admitted, "{action:?} {n}: {left:?}");
            if admitted {
                assert_eq!(left.tokens - 1, then.state.remaining, "{action:?} {n}");
            }
            held.extend(then.held);
        }
        held.into_iter().for_each(Held::take_turn);
    }
}
