//! What holds for every input: the arithmetic of ages and ranges, and the encoding of keys.

use std::collections::BTreeSet;
use std::time::Duration;

use http::header::{COOKIE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::freshness::{MAX_DELTA, delta_seconds, initial_age, is_fresh};
use crate::partial::MAX_SPANS;
use crate::range::MAX_RANGES;
use crate::testing::{at, fields, s};
use crate::*;

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..200).prop_map(s),
        any::<u64>().prop_map(s),
        any::<u32>().prop_map(|millis| Duration::from_millis(millis.into())),
        Just(Duration::MAX),
    ]
}

fn lifetimes() -> impl Strategy<Value = Lifetimes> {
    (duration(), duration(), duration(), any::<bool>(), any::<bool>()).prop_map(
        |(lifetime, stale_while_revalidate, stale_if_error, always_validate, may_be_stale)| {
            Lifetimes {
                lifetime,
                stale_while_revalidate,
                stale_if_error,
                always_validate,
                may_be_stale,
            }
        },
    )
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

proptest! {
    /// RFC 9111 §4.2.3: no age is less than what the response, its date or the way say, nor more than
    /// all of them together.
    #[test]
    fn ages_are_bounded(age in 0_u64..1 << 33, date in -5000_i64..5000, delay in -50_i64..5000) {
        let response = fields(&[&format!("Age: {age}"), &format!("Date: {{{}}}", -date)]);
        let found = initial_age(&response, at(-delay), at(0));
        let (stated, delay) = (s(age).min(MAX_DELTA), s(delay.max(0).unsigned_abs()));
        let apparent = s(date.max(0).unsigned_abs());
        prop_assert!(found >= stated + delay && found >= apparent);
        prop_assert!(found == stated + delay || found == apparent);
    }

    /// RFC 9111 §4.2.3: time in the store only adds, and never overflows.
    #[test]
    fn ages_grow(initial in duration(), resident in duration(), more in duration()) {
        let age = current_age(initial, resident);
        prop_assert!(age >= initial && age >= resident);
        prop_assert!(current_age(initial, resident.saturating_add(more)) >= age);
    }

    /// RFC 9111 §4.2: what remains is there exactly while the response is fresh.
    #[test]
    fn remaining_agrees_with_fresh(lifetimes in lifetimes(), age in duration()) {
        let remaining = remaining(&lifetimes, age);
        prop_assert_eq!(!remaining.is_zero(), is_fresh(lifetimes.lifetime, age));
        prop_assert!(remaining <= lifetimes.lifetime);
    }

    /// RFC 9111 §1.2.2: digits are read as they are, up to the bound.
    #[test]
    fn deltas(seconds in any::<u64>(), zeros in 0_usize..30) {
        let text = format!("{}{seconds}", "0".repeat(zeros));
        prop_assert_eq!(delta_seconds(text.as_bytes()), Some(s(seconds).min(MAX_DELTA)));
    }

    /// RFC 9111 §4.2.4: time, an operator's mark and a demanding request never make a response better,
    /// save that the mark opens a window of its own where the response was stale already.
    #[test]
    fn reuse_only_gets_worse(
        lifetimes in lifetimes(),
        age in duration(),
        more in duration(),
        mark in duration(),
        max_age in proptest::option::of(duration()),
        min_fresh in proptest::option::of(duration()),
        no_cache in any::<bool>(),
    ) {
        let plain = CacheControl::default();
        let now = rank(reuse(&lifetimes, age, None, &plain));
        let later = age.saturating_add(more);
        prop_assert!(now <= rank(reuse(&lifetimes, later, None, &plain)));
        let marked = rank(reuse(&lifetimes, age, Some(mark), &plain));
        prop_assert!(marked <= rank(reuse(&lifetimes, later, Some(mark.saturating_add(more)), &plain)));
        prop_assert!(marked > 0);
        let demanding = CacheControl { max_age, min_fresh, no_cache, ..CacheControl::default() };
        prop_assert!(now <= rank(reuse(&lifetimes, age, None, &demanding)));
        if lifetimes.always_validate {
            prop_assert_eq!(now, 3);
        }
        if !lifetimes.may_be_stale {
            prop_assert!(now == 0 || now == 3);
            prop_assert_eq!(marked, 3);
        }
    }
}

/// One range-spec, and the positions it means of a content of `length` bytes.
#[derive(Clone, Copy, Debug)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl Spec {
    fn text(self) -> String {
        match self {
            Self::From(first) => format!("{first}-"),
            Self::Between(first, last) => format!("{first}-{last}"),
            Self::Suffix(length) => format!("-{length}"),
        }
    }

    fn positions(self, length: u64) -> BTreeSet<u64> {
        (0..length)
            .filter(|at| match self {
                Self::From(first) => *at >= first,
                Self::Between(first, last) => (first..=last).contains(at),
                Self::Suffix(suffix) => length - at <= suffix,
            })
            .collect()
    }
}

fn spec(bound: u64) -> impl Strategy<Value = Spec> {
    prop_oneof![
        1 => (0..bound).prop_map(Spec::From),
        6 => (0..bound, 0..8_u64).prop_map(|(first, more)| Spec::Between(first, first + more)),
        1 => (0..8_u64).prop_map(Spec::Suffix),
    ]
}

fn asked(specs: &[Spec], length: u64) -> RangeOutcome {
    let set: Vec<String> = specs.iter().map(|spec| spec.text()).collect();
    let request = fields(&[&format!("{RANGE}: bytes={}", set.join(", "))]);
    range(&Method::GET, &request, &HeaderMap::new(), length)
}

proptest! {
    /// RFC 9110 §14.1.2: one range is the bytes it means, or there are none.
    #[test]
    fn single_ranges(spec in spec(120), length in 0_u64..100) {
        let positions = spec.positions(length);
        let expected = match (positions.first(), positions.last()) {
            (Some(first), Some(last)) => RangeOutcome::Part { first: *first, last: *last },
            // See `range`: no `Content-Range` describes the last bytes of nothing.
            _ if length == 0 && matches!(spec, Spec::Suffix(1..)) => RangeOutcome::Whole,
            _ => RangeOutcome::Unsatisfiable,
        };
        prop_assert_eq!(asked(&[spec], length), expected);
    }

    /// RFC 9110 §14.2, §15.3.7.2: several ranges are served as exactly the bytes they mean, in as few
    /// parts as there can be, the part of the first range first.
    #[test]
    fn several_ranges(specs in proptest::collection::vec(spec(220), 1..=MAX_RANGES + 2), length in 1_u64..200) {
        let sizes: Vec<BTreeSet<u64>> = specs.iter().map(|spec| spec.positions(length)).collect();
        let wanted: BTreeSet<u64> = sizes.iter().flatten().copied().collect();
        let sum: usize = sizes.iter().map(BTreeSet::len).sum();
        let parts = match asked(&specs, length) {
            RangeOutcome::Whole => {
                prop_assert!(specs.len() > MAX_RANGES || sum as u64 > length);
                return Ok(());
            }
            RangeOutcome::Unsatisfiable => Vec::new(),
            RangeOutcome::Part { first, last } => vec![(first, last)],
            RangeOutcome::Several(parts) => parts,
        };
        prop_assert!(specs.len() <= MAX_RANGES && sum as u64 <= length);
        let served: BTreeSet<u64> = parts.iter().flat_map(|part| part.0..=part.1).collect();
        prop_assert_eq!(&served, &wanted);
        let holes = served.iter().filter(|at| !served.contains(&(*at + 1))).count();
        prop_assert_eq!(parts.len(), holes);
        let first = sizes.iter().find_map(|positions| positions.first());
        prop_assert_eq!(parts.first().map(|part| first.is_some_and(|at| (part.0..=part.1).contains(at))), first.map(|_| true));
    }

    /// RFC 9111 §3.4: spans hold exactly the bytes put in.
    #[test]
    fn spans_are_sets(inserted in proptest::collection::vec((0_u64..150, 0_u64..9), 0..90), length in 0_u64..160) {
        let (mut spans, mut positions) = (Spans::default(), BTreeSet::new());
        for (first, more) in inserted {
            if spans.insert(first, first + more) {
                positions.extend(first..=first + more);
            } else {
                prop_assert_eq!(spans.as_slice().len(), MAX_SPANS);
            }
        }
        let held: BTreeSet<u64> = spans.as_slice().iter().flat_map(|span| span.0..=span.1).collect();
        prop_assert_eq!(&held, &positions);
        prop_assert!(spans.as_slice().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        let missing = (0..length).find(|at| !positions.contains(at));
        prop_assert_eq!(spans.first_gap(length).map(|gap| gap.0), missing);
        if let Some((first, last)) = spans.first_gap(length) {
            prop_assert!(!(first..=last).any(|at| positions.contains(&at)));
            prop_assert!(last + 1 == length || positions.contains(&(last + 1)));
        }
    }

    /// RFC 9110 §14.4: what we would write we read.
    #[test]
    fn content_ranges(first in any::<u64>(), last in any::<u64>(), complete in any::<u64>()) {
        let found = ContentRange::parse(format!("bytes {first}-{last}/{complete}").as_bytes());
        let expected = ContentRange { first, last, complete: Some(complete) };
        prop_assert_eq!(found, (first <= last && last < complete).then_some(expected));
    }
}

/// Short texts of few letters, so that different ones often look alike.
fn text() -> impl Strategy<Value = String> {
    "[ab/?&=%\\x00]{0,5}"
}

fn query() -> impl Strategy<Value = String> {
    proptest::collection::vec("(a|b|c|%61){0,2}(=[ab=]{0,2})?", 0..6)
        .prop_map(|parameters| parameters.join("&"))
}

fn request() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![Just(COOKIE), Just(X_A), Just(X_B)];
    let value = prop_oneof!["[ab]{0,2}", "[ab]{1,2}=[ab]{0,2}(; ?[abc]{1}=[ab\"=]{0,2}){0,4};?"];
    proptest::collection::vec((name, value), 0..5).prop_map(|lines| {
        lines.into_iter().map(|(name, value)| (name, HeaderValue::try_from(value).unwrap())).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    })
}

const X_A: HeaderName = HeaderName::from_static("x-a");
const X_B: HeaderName = HeaderName::from_static("x-b");

fn key_policy() -> impl Strategy<Value = KeyPolicy> {
    let fields = proptest::sample::subsequence(vec![X_A, X_B], 0..=2);
    let cookies = proptest::sample::subsequence(["a", "b", "ab"].map(String::from).to_vec(), 0..=3);
    (fields, cookies).prop_map(|(fields, cookies)| KeyPolicy {
        fields,
        cookies,
        ..KeyPolicy::default()
    })
}

/// What the origin server can see of a request where the policy rules: lines of the fields, and one of
/// the chosen cookies.
fn visible(policy: &KeyPolicy, request: &HeaderMap) -> (Vec<Option<Vec<u8>>>, Option<Vec<u8>>) {
    let joined = |name: &HeaderName| {
        let lines: Vec<&[u8]> = request.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        (!lines.is_empty()).then(|| lines.join(&b", "[..]))
    };
    (policy.fields.iter().map(joined).collect(), keyed_cookies(request, &policy.cookies))
}

type Target = (String, String, String, Option<String>);

fn key(target: &Target, policy: &KeyPolicy, request: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    cache_key(&target.0, &target.1, &target.2, target.3.as_deref(), &mut out);
    push_keyed(policy, request, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// RFC 9111 §2: equal keys are equal targets, seen through equal fields and cookies.
    #[test]
    fn keys_do_not_collide(
        a in (text(), text(), text(), proptest::option::of(text())),
        b in (text(), text(), text(), proptest::option::of(text())),
        policy in key_policy(),
        one in request(),
        two in request(),
    ) {
        let same = a == b && visible(&policy, &one) == visible(&policy, &two);
        prop_assert_eq!(key(&a, &policy, &one) == key(&b, &policy, &two), same);
        // The likelier half of the comparison: one target, two requests.
        let seen_alike = visible(&policy, &one) == visible(&policy, &two);
        prop_assert_eq!(key(&a, &policy, &one) == key(&a, &policy, &two), seen_alike);
        // No key begins another, so that more may be appended to them.
        let (first, second) = (key(&a, &policy, &one), key(&a, &policy, &two));
        prop_assert!(first == second || !second.starts_with(&first));
        // Nor does a key with fields equal one without.
        if !policy.fields.is_empty() || !policy.cookies.is_empty() {
            prop_assert_ne!(key(&a, &policy, &one), key(&b, &KeyPolicy::default(), &two));
        }
    }

    /// Sorting again changes nothing, and sorting loses nothing.
    #[test]
    fn sorting_is_idempotent(query in query()) {
        let policy = KeyPolicy { sort_query: true, ..KeyPolicy::default() };
        let sorted = keyed_query(&query, &policy).unwrap();
        prop_assert_eq!(keyed_query(&sorted, &policy).unwrap(), &*sorted);
        prop_assert_eq!(sorted.len(), query.len());
        for name in ["", "a", "b", "c", "ab"] {
            let of_name = |query: &str| {
                let named = query.split('&').filter(|part| part.split('=').next() == Some(name));
                named.map(String::from).collect::<Vec<_>>()
            };
            prop_assert_eq!(of_name(&sorted), of_name(&query));
        }
    }

    /// Dropping and sorting come to the same in either order.
    #[test]
    fn dropping_and_sorting_commute(query in query()) {
        let drops = KeyPolicy { ignore_query: vec!["a".into(), "b*".into()], ..KeyPolicy::default() };
        let sorts = KeyPolicy { sort_query: true, ..KeyPolicy::default() };
        let both = KeyPolicy { sort_query: true, ..drops.clone() };
        let together = keyed_query(&query, &both);
        let dropped_first = keyed_query(&query, &drops).and_then(|query| keyed_query(&query, &sorts).map(String::from));
        let sorted_first = keyed_query(&keyed_query(&query, &sorts).unwrap(), &drops).map(String::from);
        prop_assert_eq!(together.as_deref(), dropped_first.as_deref());
        prop_assert_eq!(together.as_deref(), sorted_first.as_deref());
    }

    /// What the origin server gets of the cookies is what the key knows: the request as it is sent has
    /// the same key, and other cookies make no difference.
    #[test]
    fn cookies_sent_are_cookies_keyed(policy in key_policy(), request in request()) {
        let sent = keyed_cookies(&request, &policy.cookies);
        let mut forwarded = request.clone();
        forwarded.remove(COOKIE);
        if let Some(sent) = &sent {
            forwarded.append(COOKIE, HeaderValue::from_bytes(sent).unwrap());
        }
        prop_assert_eq!(&keyed_cookies(&forwarded, &policy.cookies), &sent);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        push_keyed(&policy, &request, &mut before);
        push_keyed(&policy, &forwarded, &mut after);
        prop_assert_eq!(&before, &after);
        if let Some(sent) = sent {
            prop_assert!(before.ends_with(&sent));
        }
    }
}
