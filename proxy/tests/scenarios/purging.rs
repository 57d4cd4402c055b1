//! Purges: what they take, what they leave, and that they hold.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    disk::{kept, with_disk},
    edge::Edge,
    h2::H2,
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

fn purge(edge: &Edge, json: &str) {
    let (status, answer) = edge.admin_json("/purge", json);
    assert_eq!(status, 200, "{json}: {answer}");
}

/// The page's path and how often it was asked for, fresh for long, with these tags.
fn numbered(tags: &'static str) -> Origin {
    Origin::start(move |r| {
        page(format!("{} {}", r.target, r.nth))
            .fresh(600)
            .field("Surrogate-Key", tags)
    })
}

#[test]
fn a_url_is_purged_with_all_its_variants() {
    let shop = Origin::start(|r| {
        page(format!("{:?} {}", r.field("accept-language"), r.nth))
            .fresh(600)
            .field("Vary", "Accept-Language")
    });
    let edge = Edge::start(&smallest(&shop));
    let get = |language| edge.ask("GET", "/a", &[("Accept-Language", language)]);
    let languages = ["bn", "en", "de"];
    for language in languages {
        get(language);
        assert!(get(language).is_hit(), "{language}");
    }
    purge(&edge, r#"{"urls": ["http://shop.example/a"]}"#);
    for language in languages {
        assert!(!get(language).is_hit(), "{language}");
        assert!(get(language).is_hit(), "{language}");
    }
}

#[test]
fn a_url_is_purged_however_its_query_was_keyed() {
    let shop = Origin::start(|r| {
        let cookie = r.field("cookie").unwrap_or("none").to_owned();
        page(format!("{} {cookie} {}", r.target, r.nth)).fresh(600)
    });
    let config = format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        [cache.policies.pages]
        ignore_query = ["utm_*"]
        sort_query = true
        key_cookies = ["currency"]
        [[routes]]
        upstream = "shop"
        cache = "pages"
        "#
    );
    let edge = Edge::start(&config);
    let get = |target, currency| edge.ask("GET", target, &[("Cookie", currency)]);
    let all = [
        ("/a?x=1&y=2", "currency=bdt"),
        ("/a?y=2&x=1&utm_source=mail", "currency=bdt"),
        ("/a?y=2&x=1", "currency=usd"),
    ];
    let fill = || {
        for (target, currency) in all {
            get(target, currency);
            assert!(get(target, currency).is_hit(), "{target} {currency}");
        }
    };
    for url in [
        "http://shop.example/a?x=1&y=2",
        "http://shop.example/a?y=2&utm_campaign=eid&x=1",
    ] {
        fill();
        purge(&edge, &format!("{{\"urls\": [\"{url}\"]}}"));
        assert!(!get(all[0].0, all[0].1).is_hit(), "{url}");
        assert!(get(all[1].0, all[1].1).is_hit(), "{url}: the same page");
        assert!(!get(all[2].0, all[2].1).is_hit(), "{url}");
    }
    fill();
    purge(
        &edge,
        r#"{"urls": ["http://shop.example/a", "http://shop.example/a?x=1"]}"#,
    );
    for (target, currency) in all {
        assert!(get(target, currency).is_hit(), "another URL: {target}");
    }
}

#[test]
fn both_doors_see_it() {
    let shop = numbered("tag");
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    let mut kept_open = edge.connect();
    for order in [
        r#"{"tags": ["tag"]}"#,
        r#"{"urls": ["http://shop.example/", "https://shop.example/"]}"#,
        r#"{"prefixes": ["http://shop.example/", "https://shop.example/"]}"#,
        r#"{"all": true}"#,
    ] {
        h2.get("/");
        kept_open.get("/");
        assert!(
            h2.get("/").is_hit() && kept_open.get("/").is_hit(),
            "{order}"
        );
        purge(&edge, order);
        assert!(
            !h2.get("/").is_hit() && !kept_open.get("/").is_hit(),
            "{order}"
        );
    }
}

#[test]
fn what_is_made_stale_answers_without_any_window() {
    // Lifetimes that say nothing of staleness, and one that forbids it.
    let gate = Gate::default();
    let opened = gate.clone();
    let shop = Origin::start(move |r| {
        let control = match r.target.as_str() {
            "/strict" => "max-age=600, must-revalidate",
            _ => "max-age=600",
        };
        let answer = page(format!("{}", r.nth)).field("Cache-Control", control);
        match (r.target.as_str(), r.nth) {
            ("/plain", 2) => answer.when(&opened),
            _ => answer,
        }
    });
    let edge = Edge::start(&smallest(&shop));
    for order in [
        r#"{"all": true, "soft": true}"#,
        r#"{"prefixes": ["http://shop.example/"], "soft": true}"#,
        r#"{"urls": ["http://shop.example/plain", "http://shop.example/strict"], "soft": true}"#,
    ] {
        for path in ["/plain", "/strict"] {
            eventually("it is fresh", || edge.get(path).is_hit());
        }
        let (plain, strict) = (edge.get("/plain").text(), edge.get("/strict").text());
        purge(&edge, order);
        let answer = edge.get("/plain");
        assert_eq!(answer.text(), plain, "{order}: nobody waits");
        assert_eq!(answer.cache(), "dhal; hit; detail=stale-while-revalidate");
        let answer = edge.get("/strict");
        assert_ne!(answer.text(), strict, "{order}");
        gate.open();
        eventually("it is refreshed", || edge.get("/plain").text() != plain);
    }
    assert_eq!((shop.count("/plain"), shop.count("/strict")), (4, 4));
}

#[test]
fn what_is_made_stale_answers_while_the_shop_fails() {
    let mut shop = numbered("tag");
    let config = smallest(&shop).replace("[[routes]]", "retry = { attempts = 0 }\n[[routes]]");
    let edge = Edge::start(&config);
    edge.get("/soft");
    edge.get("/hard");
    shop.stop();
    purge(
        &edge,
        r#"{"urls": ["http://shop.example/soft"], "soft": true}"#,
    );
    purge(&edge, r#"{"urls": ["http://shop.example/hard"]}"#);
    for _ in 0..5 {
        let answer = edge.get("/soft");
        assert_eq!((answer.status, answer.text().as_str()), (200, "/soft 1"));
        assert!(edge.get("/hard").status >= 500, "gone is gone");
    }
    shop.restart();
    eventually("it is refreshed", || edge.get("/soft").text() != "/soft 1");
}

#[test]
fn a_purge_holds_for_what_is_on_its_way() {
    for (order, gone) in [
        (r#"{"tags": ["tag"]}"#, true),
        (r#"{"urls": ["http://shop.example/"]}"#, true),
        (r#"{"prefixes": ["http://shop.example/"]}"#, true),
        (r#"{"all": true}"#, true),
        (r#"{"tags": ["other"]}"#, false),
    ] {
        let gate = Gate::default();
        let opened = gate.clone();
        let shop = Origin::start(move |r| {
            let answer = page(format!("{}", r.nth)).fresh(600);
            let answer = answer.field("Cache-Tag", "tag, more");
            if r.nth == 1 {
                answer.when(&opened)
            } else {
                answer
            }
        });
        let edge = Edge::start(&smallest(&shop));
        let before: Vec<_> = (0..5)
            .map(|_| {
                let mut conn = edge.connect();
                conn.request("GET", "/", &[]);
                conn
            })
            .collect();
        eventually("it is under way", || shop.count("/") == 1);
        purge(&edge, order);
        // One who comes while the old answer is still on its way.
        let mut during = edge.connect();
        during.request("GET", "/", &[]);
        eventually("all are connected", || {
            edge.metric("dhal_connections_accepted_total") == Some(6.0)
        });
        gate.open();
        let during = during.response("GET").text();
        for mut conn in before {
            let answer = conn.response("GET");
            assert!(["1", "2"].contains(&answer.text().as_str()), "{order}");
        }
        assert_eq!(during, if gone { "2" } else { "1" }, "{order}");
        for _ in 0..3 {
            assert_eq!(
                edge.get("/").text(),
                if gone { "2" } else { "1" },
                "{order}"
            );
        }
    }
}

#[test]
fn a_purge_during_the_content_holds_for_those_who_come_after() {
    let gate = Gate::default();
    let opened = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => crate::origin::raw(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 6\r\n\r\nold",
        )
        .then(&opened, "old"),
        _ => page("new").fresh(600),
    });
    let edge = Edge::start(&smallest(&shop));
    let mut before = edge.connect();
    before.request("GET", "/", &[]);
    assert_eq!(before.head().expect("a head").0, 200);
    purge(&edge, r#"{"all": true}"#);
    assert_eq!(
        edge.get("/").text(),
        "new",
        "without waiting for the old one"
    );
    gate.open();
    assert_eq!(before.take(6).expect("whole"), b"oldold");
    for _ in 0..3 {
        assert_eq!(edge.get("/").text(), "new");
    }
}

#[test]
fn purges_survive_a_kill() {
    for order in [
        r#"{"tags": ["tag"]}"#,
        r#"{"urls": ["http://shop.example/a", "http://shop.example/b"]}"#,
        r#"{"prefixes": ["http://shop.example/"]}"#,
        r#"{"all": true}"#,
    ] {
        let shop = numbered("tag");
        let mut edge = Edge::start(&with_disk(&shop, "max_object = \"1KiB\""));
        for path in ["/a", "/b"] {
            edge.get(path);
        }
        kept(&edge, 2);
        purge(&edge, order);
        edge.restart(Signal::SIGKILL);
        for path in ["/a", "/b"] {
            assert_eq!(edge.get(path).text(), format!("{path} 2"), "{order}");
            assert!(edge.get(path).is_hit(), "{order}: {path} is stored anew");
        }
        kept(&edge, 2);
        for _ in 0..2 {
            edge.restart(Signal::SIGKILL);
            for path in ["/a", "/b"] {
                let answer = edge.get(path);
                assert_eq!(answer.text(), format!("{path} 2"), "{order}");
                assert!(
                    answer.is_hit(),
                    "{order}: the purge is over for what came after"
                );
            }
        }
    }
}

#[test]
fn soft_purges_survive_a_kill() {
    let shop = numbered("tag");
    let mut edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/");
    kept(&edge, 1);
    purge(&edge, r#"{"tags": ["tag"], "soft": true}"#);
    edge.restart(Signal::SIGKILL);
    let answer = edge.get("/");
    assert_eq!(answer.text(), "/ 1");
    assert_eq!(answer.cache(), "dhal; hit; detail=stale-while-revalidate");
    eventually("it is refreshed", || edge.get("/").text() == "/ 2");
}

#[test]
fn an_unsafe_request_holds_after_a_kill() {
    let shop = numbered("tag");
    let mut edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/");
    kept(&edge, 1);
    let journal = edge.site.path("store/purges");
    let length = || std::fs::metadata(&journal).map_or(0, |journal| journal.len());
    let before = length();
    edge.ask("POST", "/", &[("Content-Length", "0")]);
    // The visitor does not wait for the disk.
    eventually("it is written down", || length() > before);
    edge.restart(Signal::SIGKILL);
    assert_eq!(edge.get("/").text(), "/ 3");
}

#[test]
fn purges_are_counted() {
    let shop = numbered("tag");
    let edge = Edge::start(&smallest(&shop));
    let count = |by: &str, mode: &str| {
        let series = format!("dhal_cache_purges_total{{by=\"{by}\",mode=\"{mode}\"}}");
        edge.metric(&series).expect("it is there from the start")
    };
    purge(
        &edge,
        r#"{"tags": ["a", "b"], "urls": ["http://shop.example/"], "soft": true}"#,
    );
    purge(
        &edge,
        r#"{"prefixes": ["http://shop.example/a", "http://shop.example/b"]}"#,
    );
    purge(&edge, r#"{"all": true}"#);
    edge.admin_json("/purge", r#"{"tags": ["a b"]}"#);
    for (by, mode, wanted) in [
        ("tag", "soft", 2.0),
        ("url", "soft", 1.0),
        ("prefix", "hard", 2.0),
        ("all", "hard", 1.0),
        ("tag", "hard", 0.0),
        ("all", "soft", 0.0),
    ] {
        assert!((count(by, mode) - wanted).abs() < 0.1, "{by} {mode}");
    }
}

/// Asks for the pages from one number to another, many at a time on one connection; returns how many
/// of them were hits.
fn ask_for(address: std::net::SocketAddr, from: usize, to: usize) -> usize {
    let mut conn = Conn::open(address);
    let numbers: Vec<_> = (from..to).collect();
    let mut hits = 0;
    for chunk in numbers.chunks(50) {
        for n in chunk {
            conn.request("GET", &format!("/{n}"), &[]);
        }
        for _ in chunk {
            let answer = conn.response("GET");
            assert_eq!(answer.status, 200);
            hits += usize::from(answer.is_hit());
        }
    }
    hits
}

fn ask_for_all(edge: &Edge, pages: usize) -> usize {
    let address = edge.site.http;
    let parts = 8;
    let asking: Vec<_> = (0..parts)
        .map(|i| {
            thread::spawn(move || ask_for(address, pages * i / parts, pages * (i + 1) / parts))
        })
        .collect();
    let hits = asking.into_iter().map(|a| a.join().expect("answered"));
    hits.sum()
}

#[test]
fn a_tag_of_many_thousand_pages_is_purged_at_once() {
    const PAGES: usize = 20_000;
    let shop = numbered("list everything");
    let edge = Edge::start(&smallest(&shop));
    ask_for_all(&edge, PAGES);
    assert_eq!(ask_for_all(&edge, PAGES), PAGES, "all are stored");
    let began = Instant::now();
    purge(&edge, r#"{"tags": ["list"]}"#);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(ask_for_all(&edge, PAGES), 0, "no hit afterwards");
}

#[test]
fn a_reload_keeps_what_is_stored_and_what_is_purged() {
    let shop = numbered("tag");
    let config = with_disk(&shop, "");
    let edge = Edge::start(&config);
    for path in ["/kept", "/purged"] {
        edge.get(path);
    }
    kept(&edge, 2);
    purge(&edge, r#"{"urls": ["http://shop.example/purged"]}"#);
    let output = edge.reload(&(config.clone() + "[limits.all]\nrate = \"1000/s\"\n"));
    assert!(output.status.success(), "{output:?}");
    assert!(edge.get("/kept").is_hit());
    assert_eq!(edge.get("/purged").text(), "/purged 2");

    let output = edge.reload(&config.replace("1GiB", "2GiB"));
    assert!(output.status.success(), "{output:?}");
    assert!(edge.get("/kept").is_hit());

    for changed in [
        config.replace("@dir/store", "@dir/elsewhere"),
        smallest(&shop),
    ] {
        let output = edge.reload(&changed);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("cache.disk") && said.contains("restart"),
            "{said}"
        );
        assert!(edge.get("/kept").is_hit());
    }
    assert!(!edge.site.path("elsewhere").exists());
    assert_eq!(edge.metric("dhal_config_last_reload_successful"), Some(0.0));
    let output = edge.reload(&config);
    assert!(output.status.success(), "{output:?}");
}
