//! What may be stored (RFC 9111 §3) and for how long it is fresh (§4.2).

use crate::{
    origin::page,
    rules::{BOTH, Case, Scene, age, are_not_stored, are_stored, date, pages},
};

/// RFC 9111 §3: only what answers GET fills the store; the same answer to another method does not.
#[test]
fn only_get_fills_the_store() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            page(format!("{} {}", r.method, r.nth)).fresh(60)
        });
        for (n, method) in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"]
            .into_iter()
            .enumerate()
        {
            let path = format!("/{method}");
            for nth in 1..=2 {
                let body = (n < 4).then_some("x");
                let answer = scene.visitor.send(method, &path, &[], body);
                assert_eq!(answer.text(), format!("{method} {nth}"));
                assert_eq!(answer.cache(), "dhal; fwd=method", "{method}");
            }
            assert_eq!(scene.get(&path).text(), "GET 3", "{method}");
        }
    }
}

/// RFC 9111 §3: a final status that is understood, or that nobody has registered and that stands for
/// the first of its class (RFC 9110 §15).
#[test]
fn statuses_that_are_stored() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let status = r.target[1..].parse().expect("a status");
            page(format!("{} {}", r.target, r.nth))
                .status(status)
                .fresh(60)
        });
        for status in [
            200, 203, 204, 300, 301, 302, 303, 307, 308, 403, 404, 405, 406, 409, 410, 414, 422,
            451, 500, 501, 502, 503, 504, 209, 299, 309, 399, 512, 599,
        ] {
            let path = format!("/{status}");
            let first = scene.get(&path);
            assert_eq!(first.status, status);
            assert_eq!(first.cache(), "dhal; fwd=uri-miss; stored", "{status}");
            let second = scene.get(&path);
            assert!(second.is_hit(), "{status}: {}", second.cache());
            assert_eq!((second.status, &second.body), (status, &first.body));
            assert_eq!(scene.shop.count(&path), 1, "{status}");
        }
    }
}

/// Those that speak of a request field, of a part, of the connection or of one client; RFC 6585 forbids
/// 428, 429, 431 and 511.
#[test]
fn statuses_that_are_not_stored() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let status = r.target[1..].parse().expect("a status");
            page(format!("{} {}", r.target, r.nth))
                .status(status)
                .fresh(60)
        });
        for status in [
            201, 202, 207, 208, 226, 305, 400, 401, 402, 407, 408, 411, 412, 413, 415, 416, 417,
            421, 423, 424, 425, 426, 428, 429, 431, 499, 505, 507, 508, 511,
        ] {
            let path = format!("/{status}");
            for nth in 1..=2 {
                let answer = scene.get(&path);
                assert_eq!(answer.status, status);
                assert_eq!(answer.cache(), "dhal; fwd=uri-miss", "{status}");
                assert_eq!(answer.text(), format!("{path} {nth}"));
            }
        }
    }
}

/// RFC 9111 §4.2.2: the policy's lifetime is for answers that state none and whose status allows to
/// guess (RFC 9110 §15.1).
#[test]
fn heuristics_are_the_policys() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "ttl = \"100s\"", |r| {
            let status = r.target[1..].parse().expect("a status");
            page(format!("{}", r.nth)).status(status)
        });
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            let path = format!("/{status}");
            scene.get(&path);
            let second = scene.get(&path);
            assert!(second.is_hit(), "{status}: {}", second.cache());
            assert!((90..=100).contains(&second.ttl().expect("a ttl")));
        }
        for status in [
            302, 303, 307, 403, 406, 409, 422, 451, 500, 502, 503, 504, 599,
        ] {
            let path = format!("/{status}");
            scene.get(&path);
            assert_eq!(scene.get(&path).cache(), "dhal; fwd=uri-miss", "{status}");
        }
    }
    // Without one nothing is guessed, however old the page is.
    are_not_stored(
        "",
        &[
            ("/silent", |a| a),
            ("/modified", |a| a.field("Last-Modified", date(-86_400))),
            ("/public", |a| a.field("Cache-Control", "public")),
        ],
    );
}

/// RFC 9111 §4.2.1: the policy's lifetime does not count where the answer states one.
#[test]
fn what_the_shop_states_goes_before_the_policy() {
    are_not_stored(
        "ttl = \"100s\"",
        &[
            ("/zero", |a| a.fresh(0)),
            ("/expired", |a| a.field("Expires", date(-1))),
            ("/expires-0", |a| a.field("Expires", "0")),
            ("/no-cache", |a| a.field("Cache-Control", "no-cache")),
            ("/no-store", |a| a.field("Cache-Control", "no-store")),
            ("/private", |a| a.field("Cache-Control", "private")),
        ],
    );
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "ttl = \"100s\"", |_| page("x").fresh(1000));
        assert!(scene.get("/").ttl() > Some(900));
    }
}

/// RFC 9111 §4.2.1: `s-maxage`, `max-age`, `Expires`, in this order.
#[test]
fn lifetimes() {
    are_stored(
        "",
        &[
            ("/max-age", |a| a.fresh(60)),
            ("/s-maxage", |a| {
                a.field("Cache-Control", "s-maxage=60, max-age=0")
            }),
            ("/expires", |a| a.field("Expires", date(60))),
            ("/before-expires", |a| {
                a.fresh(60).field("Expires", date(-60))
            }),
            ("/same-expires-twice", |a| {
                let later = date(60);
                a.field("Expires", &later).field("Expires", &later)
            }),
            // §5.2: a quoted argument means the same, names are case-insensitive.
            ("/quoted", |a| a.field("Cache-Control", "max-age=\"60\"")),
            ("/case", |a| a.field("Cache-Control", "Max-AGE=60")),
            ("/empty-members", |a| {
                a.field("Cache-Control", ", ,max-age=60,,")
            }),
            ("/unknown", |a| {
                a.field("Cache-Control", "nice, max-age=60, pretty=\"a, no-store\"")
            }),
            // §1.2.2: more than fits means a very long time.
            ("/huge", |a| {
                a.field("Cache-Control", "max-age=99999999999999999999")
            }),
            // §5.4: means nothing in an answer.
            ("/pragma", |a| a.fresh(60).field("Pragma", "no-cache")),
            ("/immutable", |a| {
                a.field("Cache-Control", "max-age=60, immutable")
            }),
        ],
    );
    are_not_stored(
        "",
        &[
            ("/s-maxage-0", |a| {
                a.field("Cache-Control", "max-age=60, s-maxage=0")
            }),
            // §4.2.1: of contradictory values the more restrictive, and unreadable is stale.
            ("/twice", |a| {
                a.field("Cache-Control", "max-age=60, max-age=0")
            }),
            ("/two-lines", |a| a.fresh(60).fresh(0)),
            ("/word", |a| a.field("Cache-Control", "max-age=soon")),
            ("/fraction", |a| a.field("Cache-Control", "max-age=60.5")),
            ("/negative", |a| a.field("Cache-Control", "max-age=-60")),
            ("/nothing", |a| a.field("Cache-Control", "max-age=")),
            ("/bare", |a| a.field("Cache-Control", "max-age")),
            ("/spaced", |a| a.field("Cache-Control", "max-age = 60")),
            ("/expires-word", |a| a.field("Expires", "tomorrow")),
            ("/expires-twice", |a| {
                a.field("Expires", date(60)).field("Expires", date(90))
            }),
        ],
    );
}

/// RFC 9111 §5.2.2: directives that restrict are found, however they are written.
#[test]
fn directives_that_forbid() {
    are_not_stored(
        "",
        &[
            ("/case", |a| {
                a.field("Cache-Control", "max-age=60, No-Store")
            }),
            ("/line", |a| a.fresh(60).field("Cache-Control", "no-store")),
            ("/semicolon", |a| {
                a.field("Cache-Control", "max-age=60; no-store")
            }),
            ("/space", |a| a.field("Cache-Control", "max-age=60 private")),
            ("/open-quote", |a| {
                a.field("Cache-Control", "max-age=60, x=\"a, no-store")
            }),
            ("/argument", |a| {
                a.field("Cache-Control", "max-age=60, no-store=yes")
            }),
            ("/private-empty", |a| {
                a.field("Cache-Control", "max-age=60, private=\"\"")
            }),
            // Without these the content means something else.
            ("/private-type", |a| {
                a.field("Cache-Control", "max-age=60, private=\"content-type\"")
            }),
            // §3: nothing to validate it by, so it could never answer.
            ("/no-cache", |a| {
                a.field("Cache-Control", "max-age=60, no-cache")
            }),
        ],
    );
}

/// RFC 9111 §5.2.2.3: `must-understand` lifts `no-store` for a status that we know, and asks that we
/// know it.
#[test]
fn must_understand() {
    are_stored(
        "",
        &[
            ("/known", |a| {
                a.field("Cache-Control", "must-understand, no-store, max-age=60")
            }),
            ("/unknown-without", |a| a.status(299).fresh(60)),
        ],
    );
    are_not_stored(
        "",
        &[
            ("/unknown", |a| {
                a.status(299)
                    .field("Cache-Control", "must-understand, max-age=60")
            }),
            ("/unknown-no-store", |a| {
                a.status(299)
                    .field("Cache-Control", "must-understand, no-store, max-age=60")
            }),
        ],
    );
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: a field that is named is for nobody else; the rest is for all.
#[test]
fn named_fields_are_kept_from_others() {
    for protocol in BOTH {
        for directive in ["no-cache", "private"] {
            let mut scene = Scene::new(protocol, "", move |_| {
                page("for all")
                    .field(
                        "Cache-Control",
                        format!("max-age=60, {directive}=\"X-Secret, set-cookie\""),
                    )
                    .field("X-Secret", "mine")
                    .field("Set-Cookie", "id=mine")
                    .field("X-Open", "ours")
            });
            scene.get("/");
            let mut other = scene.another();
            for _ in 0..2 {
                let answer = other.get("/");
                assert!(answer.is_hit(), "{directive}: {}", answer.cache());
                assert_eq!(answer.text(), "for all");
                assert_eq!(answer.field("x-open"), Some("ours"));
                assert_eq!(answer.count("x-secret") + answer.count("set-cookie"), 0);
            }
        }
    }
}

/// RFC 9111 §5.2.2.4: `no-cache` is stored where it can be validated, and never answers without.
#[test]
fn no_cache_is_validated_each_time() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "stale_if_error = \"1h\"", |r| {
            let answer = page("content")
                .field("Cache-Control", "no-cache, max-age=60")
                .field("ETag", "\"v\"");
            match (r.nth, r.field("if-none-match")) {
                (4, _) => page("broken").status(503),
                (_, Some("\"v\"")) => answer.status(304),
                _ => answer,
            }
        });
        assert_eq!(scene.get("/").cache(), "dhal; fwd=uri-miss; stored");
        for _ in 0..2 {
            let answer = scene.get("/");
            assert_eq!(answer.cache(), "dhal; fwd=stale; fwd-status=304; stored");
            assert_eq!(answer.text(), "content");
        }
        assert_eq!(scene.get("/").status, 503, "not even if the shop fails");
    }
}

/// RFC 9111 §4.2.3: `Age` counts; what cannot be read does not, and of several the first counts (§5.1).
#[test]
fn ages() {
    let cases: &[Case] = &[
        ("/0", |a| a.fresh(600)),
        ("/100", |a| a.fresh(600).field("Age", "100")),
        ("/101", |a| a.fresh(600).field("Age", "101, 500")),
        ("/102", |a| {
            a.fresh(600).field("Age", "102").field("Age", "500")
        }),
        ("/0/word", |a| a.fresh(600).field("Age", "old")),
        ("/0/negative", |a| a.fresh(600).field("Age", "-100")),
        ("/0/fraction", |a| a.fresh(600).field("Age", "100.5")),
        ("/0/empty", |a| a.fresh(600).field("Age", "")),
        ("/200/date", |a| a.fresh(600).instead("Date", date(-200))),
        ("/200/both", |a| {
            a.fresh(600).instead("Date", date(-200)).field("Age", "100")
        }),
        ("/300/both", |a| {
            a.fresh(600).instead("Date", date(-200)).field("Age", "300")
        }),
        ("/0/ahead", |a| a.fresh(600).instead("Date", date(3600))),
        ("/0/no-date", |a| a.fresh(600).without("Date")),
        ("/0/bad-date", |a| a.fresh(600).instead("Date", "today")),
        // §4.2.1: `Expires` counts from `Date`.
        ("/3600/expires", |a| {
            a.instead("Date", date(-3600)).field("Expires", date(600))
        }),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", pages(cases));
        for (path, _) in cases {
            let first = scene.get(path);
            assert_eq!(first.cache(), "dhal; fwd=uri-miss; stored", "{path}");
            let hit = scene.get(path);
            assert!(hit.is_hit(), "{path}: {}", hit.cache());
            let least: u64 = path[1..]
                .split('/')
                .next()
                .expect("a number")
                .parse()
                .expect("a number");
            assert!(
                (least..least + 20).contains(&age(&hit)),
                "{path}: {}",
                age(&hit)
            );
            assert_eq!((hit.count("age"), hit.count("date")), (1, 1), "{path}");
        }
    }
    are_not_stored(
        "",
        &[
            ("/as-old", |a| a.fresh(60).field("Age", "60")),
            ("/huge", |a| {
                a.fresh(60).field("Age", "99999999999999999999")
            }),
            ("/dated", |a| a.fresh(60).instead("Date", date(-61))),
            ("/expires-before-date", |a| {
                a.instead("Date", date(600)).field("Expires", date(300))
            }),
        ],
    );
}
