//! Which field says how an answer is stored (RFC 9213), and those from before it.

use crate::{
    origin::page,
    rules::{BOTH, Case, Scene, are_not_stored, are_stored, date, pages},
};

/// Stored under the policy, with so many seconds of freshness: the number that each path begins with.
fn have_lifetimes(policy: &str, cases: &'static [Case]) {
    are_stored(policy, cases);
    let mut scene = Scene::new(BOTH[0], policy, pages(cases));
    for (path, _) in cases {
        let wanted: i64 = path[1..]
            .split('/')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        scene.get(path);
        let ttl = scene.get(path).ttl().expect("a ttl");
        assert!((wanted - 20..=wanted).contains(&ttl), "{path}: {ttl}");
    }
}

/// RFC 9213 §2.2: the first field of the list that can be read counts, and those behind it do not.
#[test]
fn precedence() {
    have_lifetimes(
        "",
        &[
            ("/100/dhal", |a| {
                a.field("Dhal-Cache-Control", "max-age=100")
                    .field("CDN-Cache-Control", "no-store")
                    .field("Cache-Control", "no-store")
            }),
            ("/200/cdn", |a| {
                a.field("CDN-Cache-Control", "max-age=200")
                    .field("Cache-Control", "private, max-age=0")
                    .field("Expires", "0")
            }),
            ("/300/plain", |a| a.fresh(300)),
            ("/50/s-maxage", |a| {
                a.field("CDN-Cache-Control", "max-age=200, s-maxage=50")
            }),
            ("/60/lines", |a| {
                a.field("CDN-Cache-Control", "public")
                    .field("CDN-Cache-Control", "max-age=60")
            }),
            // RFC 9651 §3.2: of one key the last counts, and parameters do not.
            ("/70/twice", |a| {
                a.field("CDN-Cache-Control", "max-age=10, max-age=70;for=you")
            }),
            // RFC 9213 §2.1: a member of the wrong type is as if it were not there.
            ("/80/types", |a| {
                a.field(
                    "CDN-Cache-Control",
                    "no-store=(a b), max-age=80, private=1.5, s-maxage=\"9\"",
                )
            }),
        ],
    );
    are_not_stored(
        "",
        &[
            ("/dhal", |a| {
                a.fresh(60).field("Dhal-Cache-Control", "no-store")
            }),
            ("/cdn", |a| {
                a.fresh(60).field("CDN-Cache-Control", "private")
            }),
            ("/order", |a| {
                a.field("CDN-Cache-Control", "max-age=60")
                    .field("Dhal-Cache-Control", "max-age=0")
            }),
            // The others do not count, not even where this one says nothing of the lifetime.
            ("/silent", |a| {
                a.fresh(60)
                    .field("Expires", date(60))
                    .field("CDN-Cache-Control", "public")
            }),
            ("/wrong-type", |a| {
                a.fresh(60).field("CDN-Cache-Control", "max-age=\"60\"")
            }),
        ],
    );
}

/// RFC 9213 §2.1: a field that is empty or no dictionary is ignored.
#[test]
fn what_cannot_be_read_is_ignored() {
    have_lifetimes(
        "",
        &[
            ("/60/junk", |a| {
                a.fresh(60).field("CDN-Cache-Control", "max-age=0, &&&")
            }),
            ("/60/case", |a| {
                a.fresh(60).field("Dhal-Cache-Control", "Max-Age=0")
            }),
            ("/60/empty", |a| a.fresh(60).field("Dhal-Cache-Control", "")),
            ("/60/comma", |a| {
                a.fresh(60).field("CDN-Cache-Control", "no-store,")
            }),
            ("/70/next", |a| {
                a.fresh(60)
                    .field("CDN-Cache-Control", "max-age=70")
                    .field("Dhal-Cache-Control", "max-age=80;;")
            }),
        ],
    );
}

/// RFC 9213 §2.2: what is said to us alone is told to nobody; what is said to all caches of the shop is
/// told to those in front of us.
#[test]
fn what_is_for_us_stays_with_us() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let answer = match r.target.as_str() {
                "/own" => page("x").field("Dhal-Cache-Control", "no-store"),
                "/failing" => page("x")
                    .status(500)
                    .field("Dhal-Cache-Control", "no-store"),
                _ => page("x").field("Dhal-Cache-Control", "max-age=60"),
            };
            answer
                .field("CDN-Cache-Control", "max-age=5")
                .field("Cache-Control", "private")
        });
        for path in ["/", "/own", "/failing"] {
            for nth in 1..=2 {
                let answer = scene.get(path);
                assert_eq!(answer.count("dhal-cache-control"), 0, "{path} {nth}");
                assert_eq!(answer.field("cdn-cache-control"), Some("max-age=5"));
                assert_eq!(answer.field("cache-control"), Some("private"));
            }
        }
        assert!(scene.get("/").is_hit());
        let post = scene.ask("POST", "/", &[("content-length", "0")]);
        assert_eq!(post.count("dhal-cache-control"), 0);
    }
}

/// nginx's field counts where the policy accepts it: over the lifetime, not over other directives.
#[test]
fn x_accel_expires() {
    let accepting = "accept_x_accel_expires = true";
    have_lifetimes(
        accepting,
        &[
            ("/60/alone", |a| a.field("X-Accel-Expires", "60")),
            ("/61/over", |a| {
                a.fresh(0)
                    .field("Expires", "0")
                    .field("X-Accel-Expires", "61")
            }),
            ("/100/at", |a| {
                let now = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs();
                a.field("X-Accel-Expires", format!("@{}", now + 100))
            }),
            ("/62/junk", |a| a.fresh(62).field("X-Accel-Expires", "soon")),
            ("/63/behind", |a| {
                a.field("X-Accel-Expires", "0")
                    .field("CDN-Cache-Control", "max-age=63")
            }),
        ],
    );
    are_not_stored(
        accepting,
        &[
            ("/zero", |a| a.fresh(60).field("X-Accel-Expires", "0")),
            ("/past", |a| a.fresh(60).field("X-Accel-Expires", "@1")),
            ("/private", |a| {
                a.field("Cache-Control", "private")
                    .field("X-Accel-Expires", "60")
            }),
        ],
    );
    are_not_stored("", &[("/ignored", |a| a.field("X-Accel-Expires", "60"))]);
    are_stored(
        "",
        &[("/ignored", |a| a.fresh(60).field("X-Accel-Expires", "0"))],
    );
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, accepting, |_| {
            page("x").field("X-Accel-Expires", "60")
        });
        for _ in 0..2 {
            assert_eq!(scene.get("/").field("x-accel-expires"), None);
        }
    }
}

/// `Surrogate-Control` (W3C Edge Architecture 1.0) counts where the policy accepts it.
#[test]
fn surrogate_control() {
    let accepting = "accept_surrogate_control = true";
    have_lifetimes(
        accepting,
        &[
            ("/60/over", |a| {
                a.field("Surrogate-Control", "max-age=60, content=\"ESI/1.0\"")
                    .field("Cache-Control", "no-store")
            }),
            ("/61/stale", |a| {
                a.field("Surrogate-Control", "max-age=61+30")
            }),
            ("/62/ours", |a| {
                a.field("Surrogate-Control", "no-store;other, max-age=62;dhal")
            }),
            ("/63/other", |a| {
                a.fresh(63)
                    .field("Surrogate-Control", "content=\"ESI/1.0\"")
            }),
            ("/64/behind", |a| {
                a.field("Surrogate-Control", "no-store")
                    .field("CDN-Cache-Control", "max-age=64")
            }),
        ],
    );
    are_not_stored(
        accepting,
        &[
            ("/no-store", |a| {
                a.fresh(60).field("Surrogate-Control", "no-store")
            }),
            ("/junk", |a| {
                a.fresh(60).field("Surrogate-Control", "max-age=long")
            }),
        ],
    );
    are_not_stored(
        "",
        &[("/ignored", |a| a.field("Surrogate-Control", "max-age=60"))],
    );
    are_stored(
        "",
        &[("/ignored", |a| {
            a.fresh(60).field("Surrogate-Control", "no-store")
        })],
    );
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, accepting, |_| {
            page("x").field("Surrogate-Control", "max-age=60")
        });
        for _ in 0..2 {
            assert_eq!(scene.get("/").field("surrogate-control"), None);
        }
    }
}
