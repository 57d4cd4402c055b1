use super::*;
use crate::testing::{at, fields, names, now, s};

const NONE: Policy = Policy {
    ttl: None,
    stale_while_revalidate: s(0),
    stale_if_error: s(0),
    set_cookie: SetCookie::Refuse,
    legacy: Legacy { x_accel_expires: false, surrogate_control: false },
};
const WIDE: Policy =
    Policy { ttl: Some(s(60)), stale_while_revalidate: s(30), stale_if_error: s(3600), ..NONE };

fn get(
    request: &[&str],
    status: u16,
    response: &[&str],
    policy: &Policy,
) -> Result<Storable, NotStored> {
    let status = StatusCode::from_u16(status).unwrap();
    storable(&Method::GET, &fields(request), status, &fields(response), policy, now(), now())
}

/// RFC 9111 §3: only GET fills the store.
#[test]
fn methods() {
    for (method, expected) in [
        (Method::GET, None),
        (Method::HEAD, Some(NotStored::Method)),
        (Method::POST, Some(NotStored::Method)),
        (Method::OPTIONS, Some(NotStored::Method)),
        (Method::from_bytes(b"get").unwrap(), Some(NotStored::Method)),
    ] {
        let response = fields(&["Cache-Control: max-age=60"]);
        let result =
            storable(&method, &fields(&[]), StatusCode::OK, &response, &NONE, now(), now());
        assert_eq!(result.err(), expected, "{method}");
    }
}

/// RFC 9111 §3, §4.2.2; RFC 9110 §15.1; RFC 6585: with a stated lifetime, and with only a policy.
#[test]
fn statuses() {
    use NotStored::{NoFreshness, Partial, Status};
    for (statuses, stated, unstated) in [
        (&[200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501][..], None, None),
        (&[302, 303, 307, 403, 406, 409, 422, 451, 500, 502, 503, 504], None, Some(NoFreshness)),
        (&[206], Some(Partial), Some(Partial)),
        // Not final.
        (&[100, 101, 103], Some(Status), Some(Status)),
        // RFC 9110 §15: unknown, so as the first of their class; §3 lets us.
        (&[209, 299, 399, 512, 520, 599], None, Some(NoFreshness)),
        // Not a response to store, or an unknown way of saying 400.
        (&[201, 202, 205, 207, 208, 226, 304, 305, 306], Some(Status), Some(Status)),
        (&[402, 418, 423, 424, 430, 440, 499, 600, 999], Some(Status), Some(Status)),
        // The connection, or WebDAV
        (&[505, 506, 507, 508, 510], Some(Status), Some(Status)),
        // Depends on the request or the connection beyond the cache key.
        (
            &[400, 401, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426],
            Some(Status),
            Some(Status),
        ),
        // RFC 6585 §3-§6
        (&[428, 429, 431, 511], Some(Status), Some(Status)),
    ] {
        for status in statuses {
            let result = get(&[], *status, &["Cache-Control: max-age=60"], &NONE);
            assert_eq!(result.err(), stated, "{status} with max-age");
            assert_eq!(get(&[], *status, &[], &WIDE).err(), unstated, "{status} with a policy");
            assert!(get(&[], *status, &[], &NONE).is_err(), "{status} with nothing");
        }
    }
}

/// RFC 9111 §3, §3.5, §5.2: what forbids a stored copy.
#[test]
fn refusals() {
    use NotStored::{
        AlreadyStale, Authorization, NoFreshness, NoStore, Partial, Private, RequestNoStore,
        SetCookie,
    };
    for (request, response, expected) in [
        (&[][..], &["Cache-Control: max-age=60"][..], None),
        // §5.2.2.5
        (&[], &["Cache-Control: max-age=60, no-store"], Some(NoStore)),
        (&[], &["Cache-Control: max-age=60", "Cache-Control: NO-STORE"], Some(NoStore)),
        (&[], &["Cache-Control: no-store, public, s-maxage=60"], Some(NoStore)),
        // §5.2.2.3: understood, so no-store does not count; the rest does.
        (&[], &["Cache-Control: no-store, must-understand, max-age=60"], None),
        (&[], &["Cache-Control: no-store, must-understand=1, max-age=60"], Some(NoStore)),
        (&[], &["Cache-Control: no-store, must-understand, private, max-age=60"], Some(Private)),
        // §5.2.2.7, both forms, and against anything that permits
        (&[], &["Cache-Control: private, max-age=60"], Some(Private)),
        (&[], &["Cache-Control: private=\"Set-Cookie\", max-age=60"], None),
        (&[], &["Cache-Control: private=\"\", max-age=60"], Some(Private)),
        (&[], &["Cache-Control: private=\"Content-Encoding\", max-age=60"], Some(Private)),
        (&[], &["Cache-Control: private=\"x, vary\", max-age=60"], Some(Private)),
        (&[], &["Cache-Control: private=\"cache-control\", max-age=60"], Some(Private)),
        (&[], &["Cache-Control: public, private, s-maxage=60"], Some(Private)),
        (&[], &["Cache-Control: private; max-age=60"], Some(Private)),
        // §7.3: a cookie is for one visitor.
        (&[], &["Cache-Control: public, max-age=60", "Set-Cookie: a=b"], Some(SetCookie)),
        (&[], &["Cache-Control: no-cache=\"Set-Cookie\", max-age=60", "Set-Cookie: a=b"], None),
        (&[], &["Cache-Control: max-age=60", "Set-Cookie:"], Some(SetCookie)),
        // §5.2.1.5
        (&["Cache-Control: no-store"], &["Cache-Control: max-age=60"], Some(RequestNoStore)),
        (
            &["Cache-Control: no-store"],
            &["Cache-Control: max-age=60, must-understand"],
            Some(RequestNoStore),
        ),
        (&["Cache-Control: no-cache", "Pragma: no-cache"], &["Cache-Control: max-age=60"], None),
        // §3.5
        (&["Authorization: Basic x"], &["Cache-Control: max-age=60"], Some(Authorization)),
        (
            &["Authorization: Basic x"],
            &["Cache-Control: max-age=60, proxy-revalidate"],
            Some(Authorization),
        ),
        (
            &["Authorization: Basic x"],
            &["Cache-Control: max-age=60, no-cache", "ETag: \"a\""],
            Some(Authorization),
        ),
        (&["Authorization:"], &["Expires: {+60}"], Some(Authorization)),
        (&["Authorization: Basic x"], &["Cache-Control: max-age=60, public"], None),
        (
            &["Authorization: Basic x"],
            &["Cache-Control: max-age=60, public=x"],
            Some(Authorization),
        ),
        (&["Authorization: Basic x"], &["Cache-Control: max-age=60, must-revalidate"], None),
        (&["Authorization: Basic x"], &["Cache-Control: s-maxage=60"], None),
        (&["Cookie: a=b"], &["Cache-Control: max-age=60"], None),
        // RFC 9110 §14.4: 200 with a Content-Range is nonsense.
        (&[], &["Cache-Control: max-age=60", "Content-Range: bytes 0-1/9"], Some(Partial)),
        // §4.2.2: no heuristic.
        (
            &[],
            &["Last-Modified: {-86400}", "ETag: \"a\"", "Cache-Control: public"],
            Some(NoFreshness),
        ),
        // §5.4: Pragma says nothing in a response.
        (&[], &["Pragma: no-cache", "Cache-Control: max-age=60"], None),
        // Of no use: stale and not to be validated.
        (&[], &["Cache-Control: max-age=0"], Some(AlreadyStale)),
        (&[], &["Cache-Control: max-age=60, max-age=0"], Some(AlreadyStale)),
        (&[], &["Expires: 0"], Some(AlreadyStale)),
        (&[], &["Expires: {-1}"], Some(AlreadyStale)),
        (&[], &["Cache-Control: max-age=60", "Age: 60"], Some(AlreadyStale)),
        (&[], &["Cache-Control: max-age=60", "Date: {-61}"], Some(AlreadyStale)),
        (&[], &["Cache-Control: max-age=60", "Age: 99999999999"], Some(AlreadyStale)),
        (&[], &["Cache-Control: no-cache, max-age=60"], Some(AlreadyStale)),
        (&[], &["Cache-Control: no-cache"], Some(AlreadyStale)),
        (
            &[],
            &["Cache-Control: max-age=0", "ETag: unquoted", "Last-Modified: 0"],
            Some(AlreadyStale),
        ),
        (&[], &["Cache-Control: max-age=0, stale-if-error=10", "Age: 10"], Some(AlreadyStale)),
        // With a validator or a window it is.
        (&[], &["Cache-Control: max-age=0", "ETag: W/\"a\""], None),
        (&[], &["Cache-Control: max-age=0", "Last-Modified: {-60}"], None),
        (&[], &["Cache-Control: no-cache", "ETag: \"a\""], None),
        (&[], &["Cache-Control: max-age=0, stale-if-error=10", "Age: 9"], None),
        (&[], &["Cache-Control: max-age=60", "Age: -1"], None),
    ] {
        assert_eq!(get(request, 200, response, &NONE).err(), expected, "{request:?} {response:?}");
    }
}

/// RFC 9110 §12.5.5, RFC 9111 §4.1.
#[test]
fn vary_fields() {
    use NotStored::{VaryMalformed, VaryStar};
    for (lines, expected) in [
        (&[][..], Ok(&[][..])),
        (&["Vary:"], Ok(&[])),
        (&["Vary: Accept-Encoding"], Ok(&["accept-encoding"])),
        (&["Vary: b, A,,b", "Vary: c, a"], Ok(&["a", "b", "c"])),
        (&["Vary: *"], Err(VaryStar)),
        (&["Vary: a, *"], Err(VaryStar)),
        (&["Vary: a", "Vary: *"], Err(VaryStar)),
        (&["Vary: a b, *"], Err(VaryStar)),
        (&["Vary: a b"], Err(VaryMalformed)),
        (&["Vary: a;b"], Err(VaryMalformed)),
        (&["Vary: \"a\""], Err(VaryMalformed)),
        (&["Vary: a", "Vary: :"], Err(VaryMalformed)),
    ] {
        let response = [&["Cache-Control: max-age=60"], lines].concat();
        let found = get(&[], 200, &response, &NONE).map(|stored| stored.vary);
        assert_eq!(found, expected.map(names), "{lines:?}");
    }
    let many: Vec<String> = (0..=MAX_VARY).map(|at| format!("f{at}")).collect();
    let wide = |count: usize| {
        let vary = format!("Vary: {}", many[..count].join(","));
        get(&[], 200, &["Cache-Control: max-age=60", &vary], &NONE).map(|stored| stored.vary.len())
    };
    assert_eq!(wide(MAX_VARY), Ok(MAX_VARY));
    assert_eq!(wide(MAX_VARY + 1), Err(VaryMalformed));
}

/// RFC 9111 §4.2.1, §4.2.3, §4.2.4; RFC 5861: lifetime, age and both windows.
#[test]
fn times() {
    for (lines, policy, lifetime, age, while_revalidate, if_error) in [
        // The policy speaks where the origin server does not.
        (&[][..], &WIDE, 60, 0, 30, 3600),
        (&["Cache-Control: max-age=5"], &WIDE, 5, 0, 30, 3600),
        (&["Cache-Control: max-age=5"], &NONE, 5, 0, 0, 0),
        (&["Cache-Control: public"], &WIDE, 60, 0, 30, 3600),
        (&["Expires: {+9}", "Date: {-1}"], &WIDE, 10, 1, 30, 3600),
        (&["Expires: 0"], &WIDE, 0, 0, 30, 3600),
        (&["Cache-Control: max-age=5", "Age: 2"], &NONE, 5, 2, 0, 0),
        (&["Cache-Control: max-age=5", "Age: 2, 4"], &NONE, 5, 2, 0, 0),
        // RFC 5861 §3, §4: the wider window of response and policy.
        (
            &["Cache-Control: max-age=5, stale-while-revalidate=7, stale-if-error=8"],
            &NONE,
            5,
            0,
            7,
            8,
        ),
        (
            &["Cache-Control: max-age=5, stale-while-revalidate=31, stale-if-error=8"],
            &WIDE,
            5,
            0,
            31,
            3600,
        ),
        (&["Cache-Control: stale-while-revalidate=0"], &WIDE, 60, 0, 30, 3600),
        (&["Cache-Control: stale-if-error=9999"], &WIDE, 60, 0, 30, 9999),
        // §4.2.4: forbidden whatever else is said, §5.2.2.2, §5.2.2.8, §5.2.2.10
        (&["Cache-Control: max-age=5, must-revalidate, stale-if-error=8"], &WIDE, 5, 0, 0, 0),
        (&["Cache-Control: max-age=5, proxy-revalidate"], &WIDE, 5, 0, 0, 0),
        (&["Cache-Control: max-age=5, s-maxage=6, stale-while-revalidate=7"], &WIDE, 6, 0, 0, 0),
        (&["Cache-Control: must-revalidate"], &WIDE, 60, 0, 0, 0),
        // §1.2.2
        (&["Cache-Control: max-age=99999999999"], &NONE, 1 << 31, 0, 0, 0),
    ] {
        let stored = get(&[], 200, lines, policy).unwrap();
        let found = stored.lifetimes;
        assert_eq!((found.lifetime, stored.age), (s(lifetime), s(age)), "{lines:?}");
        assert_eq!(
            (found.stale_while_revalidate, found.stale_if_error),
            (s(while_revalidate), s(if_error)),
            "{lines:?}"
        );
        assert!(!found.always_validate, "{lines:?}");
    }
}

/// RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10: who forbids stale answers.
#[test]
fn stale_answers() {
    for (control, expected) in [
        ("max-age=60", true),
        ("max-age=60, must-understand", true),
        ("max-age=60, no-cache=\"x-a\"", true),
        ("max-age=60, must-revalidate", false),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, s-maxage=60", false),
        ("max-age=60, no-cache", false),
    ] {
        let response = [&format!("Cache-Control: {control}"), "ETag: \"a\""];
        let stored = get(&[], 200, &response, &WIDE).unwrap();
        assert_eq!(stored.lifetimes.may_be_stale, expected, "{control}");
    }
}

/// RFC 9111 §3.5: which responses answer requests with credentials.
#[test]
fn sharing_with_credentials() {
    for (control, expected) in [
        ("max-age=60", false),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let stored = get(&[], 200, &[&format!("Cache-Control: {control}")], &NONE).unwrap();
        assert_eq!(stored.shared_with_credentials, expected, "{control}");
    }
}

/// RFC 9111 §5.2.2.4: stored, but never reused without validation.
#[test]
fn no_cache_is_always_validated() {
    for lines in [
        &["Cache-Control: no-cache, max-age=60", "ETag: \"a\""][..],
        // Field names that cannot be read, or without which the content means something else
        &["Cache-Control: no-cache=\"\", max-age=60", "ETag: \"a\""],
        &["Cache-Control: no-cache=\"content-type\", max-age=60", "ETag: \"a\""],
        &["Cache-Control: no-cache, max-age=60, stale-if-error=60", "Last-Modified: {-60}"],
    ] {
        let stored = get(&[], 200, lines, &WIDE).unwrap().lifetimes;
        let expected = Lifetimes { lifetime: s(60), always_validate: true, ..Lifetimes::default() };
        assert_eq!(stored, expected, "{lines:?}");
    }
    // Alone it is a lifetime of nothing, not a gap for the policy to fill.
    let stored = get(&[], 200, &["Cache-Control: no-cache", "ETag: \"a\""], &WIDE).unwrap();
    assert_eq!(stored.lifetimes.lifetime, s(0));
}

/// RFC 9111 §5.2.2.4, §5.2.2.7, §7.3: fields that stay out of the store.
#[test]
fn excluded_fields() {
    use SetCookie::{Refuse, Store, Strip};
    for (lines, set_cookie, expected) in [
        (&[][..], Refuse, Ok(&[][..])),
        (
            &["Cache-Control: private=\"X-B, x-a\", no-cache=\"x-c, x-a\""],
            Refuse,
            Ok(&["x-a", "x-b", "x-c"]),
        ),
        (&["Set-Cookie: a=b"], Refuse, Err(NotStored::SetCookie)),
        (&["Set-Cookie: a=b"], Strip, Ok(&["set-cookie"])),
        (&["Set-Cookie: a=b"], Store, Ok(&[])),
        // Named, so that the rest may be shared.
        (
            &["Set-Cookie: a=b", "Cache-Control: private=\"set-cookie\""],
            Refuse,
            Ok(&["set-cookie"]),
        ),
        (&["Set-Cookie: a=b", "Cache-Control: no-cache=set-cookie"], Store, Ok(&["set-cookie"])),
        (&["Set-Cookie: a=b", "Cache-Control: private=\"x-a\""], Refuse, Err(NotStored::SetCookie)),
        (&["Set-Cookie: a=b", "Cache-Control: private"], Strip, Err(NotStored::Private)),
    ] {
        let policy = Policy { set_cookie, ..WIDE };
        let found = get(&[], 200, lines, &policy).map(|stored| stored.excluded);
        assert_eq!(found, expected.map(names), "{lines:?} {set_cookie:?}");
    }
    // A validator that is not stored validates nothing (§4.3.1).
    let response = ["Cache-Control: max-age=0, no-cache=\"etag\"", "ETag: \"a\""];
    assert_eq!(get(&[], 200, &response, &NONE).err(), Some(NotStored::AlreadyStale));
}

/// RFC 9213 §2.2: the field for this cache decides, and the others do not count.
#[test]
fn targeted_fields() {
    for (lines, expected) in [
        (&["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"][..], Ok(60)),
        (&["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"], Err(NotStored::NoStore)),
        (&["CDN-Cache-Control: public", "Expires: {+60}"], Err(NotStored::NoFreshness)),
        (
            &["CDN-Cache-Control: max-age=\"60\"", "Cache-Control: max-age=9"],
            Err(NotStored::NoFreshness),
        ),
        (&["CDN-Cache-Control: max-age=", "Cache-Control: max-age=9"], Ok(9)),
        (&["CDN-Cache-Control: max-age=60", "Dhal-Cache-Control: max-age=9"], Ok(9)),
    ] {
        let found = get(&[], 200, lines, &NONE).map(|stored| stored.lifetimes.lifetime);
        assert_eq!(found, expected.map(s), "{lines:?}");
    }
}

/// RFC 9111 §5.2.2.3: who asks for understanding is not stored without it.
#[test]
fn must_understand() {
    for (status, control, expected) in [
        (200, "must-understand, no-store, max-age=60", None),
        (299, "max-age=60", None),
        (299, "must-understand, max-age=60", Some(NotStored::Status)),
        (299, "must-understand, no-store, max-age=60", Some(NotStored::Status)),
        (400, "must-understand, max-age=60", Some(NotStored::Status)),
    ] {
        let result = get(&[], status, &[&format!("Cache-Control: {control}")], &NONE);
        assert_eq!(result.err(), expected, "{status} {control}");
    }
}

/// RFC 9111 §4.2.3: time on the way counts as age.
#[test]
fn the_way_to_the_origin_server_ages() {
    let response = fields(&["Cache-Control: max-age=60", "Age: 10"]);
    let result =
        storable(&Method::GET, &fields(&[]), StatusCode::OK, &response, &NONE, at(-3), now());
    assert_eq!(result.map(|stored| stored.age), Ok(s(13)));
}

/// The reasons appear in logs and fields: words and hyphens, no two alike.
#[test]
fn reasons_have_names() {
    use NotStored::*;
    let all = [
        Method,
        Status,
        Partial,
        RequestNoStore,
        NoStore,
        Private,
        SetCookie,
        Authorization,
        VaryStar,
        VaryMalformed,
        NoFreshness,
        AlreadyStale,
    ];
    let mut seen: Vec<&str> = all.map(NotStored::as_str).to_vec();
    assert!(
        seen.iter()
            .all(|name| { name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') })
    );
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all.len());
}
