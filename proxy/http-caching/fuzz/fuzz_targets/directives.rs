//! `Cache-Control` of both sides through storing and reuse: no bytes make a private response shared.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::header::*;
use http::{HeaderName, Method, StatusCode};
use http_caching::*;
use libfuzzer_sys::fuzz_target;

mod message;
use message::Message;

static NAMES: [HeaderName; 10] = [
    CACHE_CONTROL,
    EXPIRES,
    DATE,
    AGE,
    SET_COOKIE,
    AUTHORIZATION,
    VARY,
    ETAG,
    LAST_MODIFIED,
    PRAGMA,
];

/// The longest number of seconds a delta can mean (RFC 9111 §1.2.2).
const MAX_DELTA: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|bytes: &[u8]| {
    let [choice, minutes, rest @ ..] = bytes else {
        return;
    };
    let half = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let request = Message::parse(&NAMES, &rest[..half]);
    let response = Message::parse(&NAMES, &rest[half..]);
    let age = Duration::from_secs(u64::from(*minutes) * 60);

    let control = CacheControl::parse(&response);
    for lifetime in [control.max_age, control.s_maxage, control.stale_if_error] {
        assert!(lifetime.is_none_or(|lifetime| lifetime <= MAX_DELTA));
    }
    restrictions_survive_company(&control, &response);

    let policy = Policy {
        ttl: (choice & 1 != 0).then_some(Duration::from_secs(60)),
        stale_while_revalidate: Duration::from_secs(u64::from(choice & 2) * 30),
        stale_if_error: Duration::from_secs(u64::from(choice & 4) * 900),
        set_cookie: match choice >> 6 {
            0 | 1 => SetCookie::Refuse,
            2 => SetCookie::Strip,
            _ => SetCookie::Store,
        },
        legacy: Legacy::default(),
    };
    let status = [200, 404, 302, 599][usize::from(choice >> 3 & 3)];
    let status = StatusCode::from_u16(status).expect("a status");
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let Ok(stored) = storable(&Method::GET, &request, status, &response, &policy, now, now) else {
        return;
    };
    assert!(!control.private && (!control.no_store || control.must_understand));
    assert!(!CacheControl::parse(&request).no_store);
    assert!(!request.contains(&AUTHORIZATION) || stored.shared_with_credentials);
    let cookie_stays = response.contains(&SET_COOKIE) && !stored.excluded.contains(&SET_COOKIE);
    assert!(!cookie_stays || policy.set_cookie == SetCookie::Store);
    for names in [&stored.vary, &stored.excluded] {
        assert!(names.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }
    for name in control.private_fields.iter().chain(&control.no_cache_fields) {
        assert!(stored.excluded.contains(name));
    }
    let lifetimes = stored.lifetimes;
    assert!(lifetimes.may_be_stale || lifetimes.stale_if_error.is_zero());

    // Time never makes a response better, nor does an operator's mark, nor a request that is harder
    // to please.
    let asked = request_control(&request);
    let plain = CacheControl::default();
    let at = |age, purged| rank(reuse(&lifetimes, age, purged, &plain));
    assert!(at(age, None) <= at(age + Duration::from_secs(1), None));
    assert!(rank(Reuse::WhileRevalidate) <= at(age, Some(Duration::ZERO)));
    assert!(at(age, Some(Duration::ZERO)) <= at(age, Some(age)));
    if asked.max_stale.is_none() {
        assert!(at(age, None) <= rank(reuse(&lifetimes, age, None, &asked)));
    }
    assert_eq!(at(age, None) == 0, !remaining(&lifetimes, age).is_zero() && !control.no_cache);
});

/// A restriction stands whatever follows it on another line.
fn restrictions_survive_company(alone: &CacheControl, response: &dyn Fields) {
    let mut lines = Vec::new();
    response.for_each(&CACHE_CONTROL, &mut |line| lines.push(line.to_vec()));
    let company: [&[u8]; 3] = [b"public, max-age=999", b"no-cache=\"x\", private=y", b"\"=,"];
    for line in company {
        let both = CacheControl::parse_values(lines.iter().map(|line| &**line).chain([line]));
        assert!(both.no_store >= alone.no_store && both.private >= alone.private);
        assert!(both.no_cache >= alone.no_cache && both.must_revalidate >= alone.must_revalidate);
        assert!(alone.max_age.is_none_or(|known| both.max_age.is_some_and(|age| age <= known)));
        assert!(alone.s_maxage == both.s_maxage);
    }
}

/// From best to worst.
fn rank(reuse: Reuse) -> u8 {
    match reuse {
        Reuse::Fresh => 0,
        Reuse::WhileRevalidate => 1,
        Reuse::IfError => 2,
        Reuse::Validate => 3,
    }
}
