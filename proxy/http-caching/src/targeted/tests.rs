use super::*;
use crate::testing::{fields, names, now, s};

const BOTH: Legacy = Legacy { x_accel_expires: true, surrogate_control: true };

fn effective(lines: &[&str], legacy: Legacy) -> Effective {
    effective_control(&fields(lines), legacy, now())
}

/// RFC 9213 §2.2: the first field that can be read, and no other.
#[test]
fn precedence() {
    use Source::{CacheControl, Cdn, Dhal, SurrogateControl, XAccelExpires};
    let none = Legacy::default();
    let dhal = "Dhal-Cache-Control: max-age=1";
    let cdn = "CDN-Cache-Control: max-age=2";
    let surrogate = "Surrogate-Control: max-age=3";
    let accel = "X-Accel-Expires: 4";
    let plain = "Cache-Control: max-age=5";
    for (lines, legacy, source, lifetime) in [
        (&[plain, accel, surrogate, cdn, dhal][..], BOTH, Dhal, Some(1)),
        (&[plain, accel, surrogate, cdn], BOTH, Cdn, Some(2)),
        (&[plain, accel, surrogate], BOTH, SurrogateControl, Some(3)),
        (&[plain, accel], BOTH, XAccelExpires, Some(4)),
        (&[plain], BOTH, CacheControl, Some(5)),
        (&["Expires: {+6}"], BOTH, CacheControl, Some(6)),
        (&[], BOTH, CacheControl, None),
        // What the operator does not accept does not count.
        (&[plain, accel, surrogate], none, CacheControl, Some(5)),
        (
            &[plain, accel, surrogate],
            Legacy { x_accel_expires: true, ..none },
            XAccelExpires,
            Some(4),
        ),
        (
            &[plain, accel, surrogate],
            Legacy { surrogate_control: true, ..none },
            SurrogateControl,
            Some(3),
        ),
        // §2.1: empty or unreadable is absent.
        (&["Dhal-Cache-Control:", cdn], none, Cdn, Some(2)),
        (&["Dhal-Cache-Control: ?", cdn], none, Cdn, Some(2)),
        (&["CDN-Cache-Control: max-age=", plain], none, CacheControl, Some(5)),
        (&["Surrogate-Control: content=\"ESI/1.0\"", plain], BOTH, CacheControl, Some(5)),
        (&["X-Accel-Expires: off", plain], BOTH, CacheControl, Some(5)),
        // §2.2: readable is what counts, even where it says nothing, and Expires goes as well.
        (&["CDN-Cache-Control: foo", plain, "Expires: {+6}"], none, Cdn, None),
        (&["Surrogate-Control: no-store", "Expires: {+6}"], BOTH, SurrogateControl, None),
        (&["X-Accel-Expires: 4", "Expires: {+6}"], BOTH, XAccelExpires, Some(4)),
    ] {
        let found = effective(lines, legacy);
        let found = (found.source, found.lifetime(&fields(lines), now()));
        assert_eq!(found, (source, lifetime.map(s)), "{lines:?} {legacy:?}");
    }
}

/// RFC 9213 §2.1, RFC 9651 §4.2.2: dictionaries, and what a member may be.
#[test]
fn dictionaries() {
    let none = CacheControl::default();
    for (lines, expected) in [
        (&["max-age=60"][..], Some(CacheControl { max_age: Some(s(60)), ..none.clone() })),
        (&["s-maxage=60"], Some(CacheControl { s_maxage: Some(s(60)), ..none.clone() })),
        (&["no-store"], Some(CacheControl { no_store: true, ..none.clone() })),
        (&["no-store=?1"], Some(CacheControl { no_store: true, ..none.clone() })),
        (
            &["public, immutable, no-transform"],
            Some(CacheControl {
                public: true,
                immutable: true,
                no_transform: true,
                ..none.clone()
            }),
        ),
        (
            &["must-revalidate, proxy-revalidate, must-understand"],
            Some(CacheControl {
                must_revalidate: true,
                proxy_revalidate: true,
                must_understand: true,
                ..none.clone()
            }),
        ),
        (
            &["stale-while-revalidate=5, stale-if-error=6"],
            Some(CacheControl {
                stale_while_revalidate: Some(s(5)),
                stale_if_error: Some(s(6)),
                ..none.clone()
            }),
        ),
        (
            &["no-cache, private"],
            Some(CacheControl { no_cache: true, private: true, ..none.clone() }),
        ),
        (
            &["no-cache=\"a, b\", private=\"c\""],
            Some(CacheControl {
                no_cache_fields: names(&["a", "b"]),
                private_fields: names(&["c"]),
                ..none.clone()
            }),
        ),
        // Of the right type, but no list of names: all of it
        (&["private=\"\""], Some(CacheControl { private: true, ..none.clone() })),
        (&["no-cache=\"a b\""], Some(CacheControl { no_cache: true, ..none.clone() })),
        // §2.1: parameters, unknown members and values of another type are ignored.
        (
            &["max-age=60;x=1;y, foo=bar, x=(a b)"],
            Some(CacheControl { max_age: Some(s(60)), ..none.clone() }),
        ),
        (&["max-age=-1"], Some(none.clone())),
        (&["max-age=60.0"], Some(none.clone())),
        (&["max-age=\"60\""], Some(none.clone())),
        (&["max-age"], Some(none.clone())),
        (&["max-age=(60)"], Some(none.clone())),
        (&["max-age=@60"], Some(none.clone())),
        (&["no-store=?0, public=1, private=a, no-cache=:AA==:"], Some(none.clone())),
        (&["max-stale=5, min-fresh=5, only-if-cached"], Some(none.clone())),
        // RFC 9651 §4.2.2: of members of one name the last, whatever its type
        (&["max-age=60, max-age=90"], Some(CacheControl { max_age: Some(s(90)), ..none.clone() })),
        (&["max-age=60, max-age=x"], Some(none.clone())),
        (
            &["private, private=\"a\""],
            Some(CacheControl { private_fields: names(&["a"]), ..none.clone() }),
        ),
        (&["no-store, no-store=(a)"], Some(none.clone())),
        // RFC 9111 §1.2.2
        (
            &["max-age=999999999999999"],
            Some(CacheControl { max_age: Some(s(1 << 31)), ..none.clone() }),
        ),
        // RFC 9651 §4.2: lines are joined.
        (
            &["max-age=60", "public"],
            Some(CacheControl { max_age: Some(s(60)), public: true, ..none.clone() }),
        ),
        // No dictionary
        (&[""], None),
        (&["max-age=60,"], None),
        (&["max-age=60", ""], None),
        (&["max-age = 60"], None),
        (&["Max-Age=60"], None),
        (&["max-age=60; no-store=,"], None),
        (&["max-age=60 no-store"], None),
        (&["max-age=9999999999999999"], None),
        (&["private=\"a"], None),
        (&["max-age=60, ঢাল"], None),
    ] {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("CDN-Cache-Control: {line}")).collect();
        let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        let found = targeted(&fields(&lines), &CDN_CACHE_CONTROL);
        assert_eq!(found, expected, "{lines:?}");
    }
}

/// W3C Edge Architecture 1.0 §2.
#[test]
fn surrogate_control_field() {
    for (lines, expected) in [
        (&["max-age=60"][..], Some((false, Some(60), 0))),
        (&["max-age=60+30"], Some((false, Some(60), 30))),
        (&["max-age=60+30, max-age=90+10"], Some((false, Some(60), 10))),
        (&["max-age=60", "no-store"], Some((true, Some(60), 0))),
        (&["no-store"], Some((true, None, 0))),
        (&["No-Store-Remote"], Some((true, None, 0))),
        (&["max-age=60, content=\"ESI/1.0, x\""], Some((false, Some(60), 0))),
        // Meant for us, for another, and a parameter that names nobody
        (&["max-age=60;dhal"], Some((false, Some(60), 0))),
        (&["max-age=60;other"], None),
        (&["no-store;other, max-age=60"], Some((false, Some(60), 0))),
        (&["no-store;x=1"], Some((true, None, 0))),
        // What cannot be read is no time.
        (&["max-age"], Some((false, Some(0), 0))),
        (&["max-age=x"], Some((false, Some(0), 0))),
        (&["max-age=60+"], Some((false, Some(0), 0))),
        (&["max-age=60+x"], Some((false, Some(0), 0))),
        (&["max-age=+30"], Some((false, Some(0), 0))),
        (&["max-age=-1"], Some((false, Some(0), 0))),
        (&["content=\"ESI/1.0\""], None),
        (&[""], None),
    ] {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("Surrogate-Control: {line}")).collect();
        let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        let found = surrogate_control(&fields(&lines)).map(|control| {
            let stale = control.stale_while_revalidate.unwrap_or_default();
            (control.no_store, control.max_age, stale)
        });
        let expected = expected.map(|(no_store, age, stale)| (no_store, age.map(s), s(stale)));
        assert_eq!(found, expected, "{lines:?}");
    }
}

/// nginx, `ngx_http_upstream`: seconds, a moment, or `0`; and the rest of `Cache-Control` stays.
#[test]
fn accel_expires() {
    let none = CacheControl::default();
    for (lines, expected) in [
        (&["X-Accel-Expires: 60"][..], CacheControl { max_age: Some(s(60)), ..none.clone() }),
        (
            &["X-Accel-Expires: 60", "Cache-Control: max-age=5, private, no-transform"],
            CacheControl {
                max_age: Some(s(60)),
                private: true,
                no_transform: true,
                ..none.clone()
            },
        ),
        // RFC 9111 §5.2.2.10: the ban on stale answers outlives the number.
        (
            &["X-Accel-Expires: 60", "Cache-Control: s-maxage=5"],
            CacheControl { max_age: Some(s(60)), proxy_revalidate: true, ..none.clone() },
        ),
        (
            &["X-Accel-Expires: 0", "Cache-Control: max-age=60, must-understand"],
            CacheControl { max_age: Some(s(0)), no_store: true, ..none.clone() },
        ),
        // The present is second 784111777.
        (&["X-Accel-Expires: @784111837"], CacheControl { max_age: Some(s(60)), ..none.clone() }),
        (
            &["X-Accel-Expires: @784111837", "Date: {-10}"],
            CacheControl { max_age: Some(s(70)), ..none.clone() },
        ),
        (&["X-Accel-Expires: @1"], CacheControl { max_age: Some(s(0)), ..none.clone() }),
        (
            &["X-Accel-Expires: @9999999999999"],
            CacheControl { max_age: Some(s(1 << 31)), ..none.clone() },
        ),
        // Unreadable, or more than one
        (
            &["X-Accel-Expires: -1", "Cache-Control: max-age=5"],
            CacheControl { max_age: Some(s(5)), ..none.clone() },
        ),
        (&["X-Accel-Expires: @"], none.clone()),
        (&["X-Accel-Expires: @+5"], none.clone()),
        (&["X-Accel-Expires: @18446744073709551616"], none.clone()),
        (&["X-Accel-Expires: @18446744073709551615"], none.clone()),
        (&["X-Accel-Expires:"], none.clone()),
        (&["X-Accel-Expires: 5", "X-Accel-Expires: 5"], none.clone()),
    ] {
        assert_eq!(effective(lines, BOTH).control, expected, "{lines:?}");
    }
}
