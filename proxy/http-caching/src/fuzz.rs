//! Whatever bytes arrive, no rule panics and none breaks a promise. The bytes are made of fragments
//! that matter to the parsers, in an order that is the same in every run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::*;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::testing::{now, s};
use crate::validation::{confirms, entity_tags};
use crate::*;

const ROUNDS: usize = 20_000;

const NAMES: [HeaderName; 27] = [
    CACHE_CONTROL,
    AGE,
    DATE,
    EXPIRES,
    VARY,
    ETAG,
    LAST_MODIFIED,
    SET_COOKIE,
    AUTHORIZATION,
    CONTENT_RANGE,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    CONNECTION,
    ACCEPT,
    COOKIE,
    CONTENT_LENGTH,
    TE,
    PRAGMA,
    ACCEPT_ENCODING,
    targeted::CDN_CACHE_CONTROL,
    targeted::SURROGATE_CONTROL,
    targeted::X_ACCEL_EXPIRES,
    tags::CACHE_TAG,
];

const FRAGMENTS: &[&[u8]] = &[
    b"",
    b",",
    b" ",
    b"\t",
    b"=",
    b";",
    b"\"",
    b"\\",
    b"*",
    b"-",
    b"W/",
    b"bytes=",
    b"0",
    b"9",
    b"60",
    b"-1",
    b"1.5",
    b"18446744073709551616",
    b"max-age",
    b"max-age=60",
    b"s-maxage=60",
    b"stale-while-revalidate=60",
    b"stale-if-error=",
    b"no-store",
    b"no-cache",
    b"private",
    b"public",
    b"must-understand",
    b"max-stale",
    b"min-fresh=1",
    b"\"a\"",
    b"W/\"a\"",
    b"\"a,b\"",
    b"accept",
    b"cookie",
    b"Set-Cookie",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Fri, 31 Dec 9999 23:59:59 GMT",
    b"Sat, 30 Feb 1900 24:60:60 GMT",
    b"%",
    b"%2",
    b"%41",
    b"+",
    b"&",
    b"?",
    b"#",
    b"//",
    b"https://",
    b"shop",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xe0\xa6\xa2",
    b"\r\n",
];

/// Lines of raw bytes, which a connection's buffer may hold and a `HeaderMap` would refuse.
#[derive(Debug, Default)]
struct Raw(Vec<(HeaderName, Vec<u8>)>);

impl Fields for Raw {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| known == name) {
            f(value);
        }
    }
}

impl Raw {
    fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                map.append(name.clone(), value);
            }
        }
        map
    }
}

/// A xorshift generator with a fixed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.roll(8) {
            if self.roll(8) == 0 {
                bytes.push(self.roll(256) as u8);
            } else {
                bytes.extend_from_slice(self.pick::<&[u8]>(FRAGMENTS));
            }
        }
        bytes
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn fields(&mut self) -> Raw {
        Raw((0..self.roll(12)).map(|_| (self.pick(&NAMES).clone(), self.bytes())).collect())
    }

    fn time(&mut self) -> SystemTime {
        let times = [UNIX_EPOCH, UNIX_EPOCH - s(1 << 40), UNIX_EPOCH + s(1 << 40), now()];
        *self.pick(&times)
    }

    fn duration(&mut self) -> Duration {
        *self.pick(&[Duration::ZERO, s(1), s(60), s(1 << 31), Duration::MAX])
    }

    fn policy(&mut self) -> Policy {
        Policy {
            ttl: (self.roll(2) == 0).then(|| self.duration()),
            stale_while_revalidate: self.duration(),
            stale_if_error: self.duration(),
            set_cookie: *self.pick(&[SetCookie::Refuse, SetCookie::Strip, SetCookie::Store]),
            legacy: Legacy {
                x_accel_expires: self.roll(2) == 0,
                surrogate_control: self.roll(2) == 0,
            },
        }
    }
}

/// RFC 9111 §3, §3.5, §7.3: what must never be in the store never is.
#[test]
fn storing_and_reusing() {
    let mut dice = Dice(0x9111);
    let mut stored_some = 0;
    for _ in 0..ROUNDS {
        let (request, response, policy) = (dice.fields(), dice.fields(), dice.policy());
        let status =
            StatusCode::from_u16(*dice.pick(&[200, 200, 200, 206, 304, 404, 500, 100, 999]))
                .unwrap();
        let times = (dice.time(), dice.time());
        let Ok(stored) =
            storable(&Method::GET, &request, status, &response, &policy, times.0, times.1)
        else {
            continue;
        };
        stored_some += 1;
        let effective = effective_control(&response, policy.legacy, times.1);
        let control = effective.control;
        let context = format!("{request:?} {response:?}");
        assert!(!control.private && (!control.no_store || control.must_understand), "{context}");
        assert!(!response.contains(&CONTENT_RANGE), "{context}");
        assert!(
            !response.contains(&SET_COOKIE)
                || policy.set_cookie == SetCookie::Store
                || stored.excluded.contains(&SET_COOKIE),
            "{context}"
        );
        assert!(
            !request.contains(&AUTHORIZATION)
                || control.public
                || control.must_revalidate
                || control.s_maxage.is_some()
        );
        assert!(
            stored.vary.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()),
            "{context}"
        );
        let lifetimes = stored.lifetimes;
        assert!(!control.no_cache || lifetimes.always_validate, "{context}");
        assert!(control.s_maxage.is_none() || !lifetimes.may_be_stale, "{context}");

        let age = current_age(stored.age, dice.duration());
        let asked = request_control(&request);
        let purged = (dice.roll(2) == 0).then(|| dice.duration());
        match reuse(&lifetimes, age, purged, &asked) {
            Reuse::Fresh => {
                assert!(lifetimes.lifetime > age && !lifetimes.always_validate, "{context}");
                assert!(purged.is_none() && !remaining(&lifetimes, age).is_zero(), "{context}");
            }
            Reuse::WhileRevalidate | Reuse::IfError => {
                assert!(lifetimes.may_be_stale && !lifetimes.always_validate, "{context}");
            }
            Reuse::Validate => {}
        }
        let (mut one, mut two) = (Vec::new(), Vec::new());
        variance(&stored.vary, &request, &mut one);
        variance(&stored.vary, &request, &mut two);
        assert_eq!(one, two);
    }
    assert!(stored_some > ROUNDS / 100, "too few were stored to mean anything: {stored_some}");
}

/// RFC 9110 §13, §14: a part lies within the content.
#[test]
fn conditions_and_ranges() {
    let mut dice = Dice(0x9110);
    let mut parts = 0;
    for _ in 0..ROUNDS {
        let (mut request, stored) = (dice.fields(), dice.fields());
        let positions = (dice.pick(&["", "0", "5", "99"]), dice.pick(&["", "0", "5", "99"]));
        request.0.push((RANGE, format!("bytes={}-{}", positions.0, positions.1).into_bytes()));
        let length = *dice.pick(&[0, 1, 10, u64::MAX]);
        match range(&Method::GET, &request, &stored, length) {
            RangeOutcome::Part { first, last } => {
                parts += 1;
                assert!(first <= last && last < length, "{request:?} {length}");
            }
            RangeOutcome::Several(several) => {
                assert!(several.iter().all(|part| part.0 <= part.1 && part.1 < length));
            }
            RangeOutcome::Whole | RangeOutcome::Unsatisfiable => {}
        }
        let asked = request.contains(&IF_NONE_MATCH) || request.contains(&IF_MODIFIED_SINCE);
        let outcome = precondition(&Method::GET, &request, &stored);
        assert!(asked || outcome != Precondition::NotModified, "{request:?} {stored:?}");
        entity_tags(&dice.bytes()).for_each(drop);
    }
    assert!(parts > ROUNDS / 100, "too few parts to mean anything: {parts}");
}

/// RFC 9111 §3.2: an update brings neither cookies nor fields of one hop, and is stable.
#[test]
fn updating() {
    let mut dice = Dice(0x304);
    for _ in 0..ROUNDS {
        let (old, new) = (dice.fields().to_map(), dice.fields().to_map());
        confirms(&old, &new);
        let mut updated = old.clone();
        update_stored(&mut updated, &new);
        for kept in [SET_COOKIE, CONTENT_LENGTH, CONNECTION, TE] {
            assert!(updated.get_all(&kept).iter().eq(old.get_all(&kept).iter()), "{kept}");
        }
        let once = updated.clone();
        update_stored(&mut updated, &new);
        assert_eq!(updated, once);
    }
}

/// Filtering a query drops whole parameters and nothing else.
#[test]
fn keys_and_targets() {
    let mut dice = Dice(0x3986);
    for _ in 0..ROUNDS {
        let (query, pattern) = (dice.text(), dice.text());
        let policy = KeyPolicy { ignore_query: vec![pattern], ..KeyPolicy::default() };
        if let Some(filtered) = keyed_query(&query, &policy) {
            let mut rest = query.split('&');
            assert!(filtered.split('&').all(|kept| rest.any(|known| known == kept)));
            assert_eq!(keyed_query(&filtered, &policy).as_deref(), Some(&*filtered));
        }
        let mut key = Vec::new();
        cache_key(&dice.text(), &dice.text(), &dice.text(), Some(&query), &mut key);
        assert!(key.ends_with(query.as_bytes()));
        same_origin_target(&dice.text(), &dice.text(), &query);
    }
}
