//! Who waits, who is held back, and who is kept out.

use super::{World, describe};
use crate::edge::{Decision, Passed};

#[test]
fn who_waits() {
    let world = World::new();
    for path in ["/all/stored", "/origin/stored"] {
        world.store(path, &[("cache-control", "max-age=60")], &[]);
    }
    let page = &[("accept", "text/html")][..];
    for (line, fields, wanted) in [
        // Programs are not counted while there is a place.
        ("GET /all/stored", &[][..], "Whole age 1"),
        ("POST /all/x", &[], "method /all/x"),
        // Nor are browsers, before they bring back what they were given.
        ("GET /all/stored", page, "Whole age 1"),
        ("GET /all/stored", page, "Whole age 1"),
        ("GET /all/stored again", page, "Whole age 1"),
        ("GET /all/stored", page, "503 wait"),
        ("GET /all/x", page, "503 wait"),
        ("HEAD /all/x", page, "503 wait"),
        ("GET /all/stored", &[], "503 wait"),
        ("POST /all/x", &[], "503 wait"),
        // Each room has its own places, and this one only for what the store does not answer.
        ("GET /origin/stored", page, "Whole age 1"),
        ("GET /origin/x again", page, "uri-miss /origin/x fetch"),
        ("GET /origin/x", page, "503 wait"),
        ("POST /origin/x", &[], "503 wait"),
        ("GET /origin/stored", page, "Whole age 1"),
        // What is refused anyway is refused, and no route has more than it had.
        ("TRACE /all/x", page, "405 close"),
        ("GET /pages/x", page, "uri-miss /pages/x fetch"),
        ("GET /.dhal/rooms/all", &[], "200 wait"),
        ("GET /.dhal/rooms/all?x", page, "200 wait"),
        ("GET /.dhal/rooms/none", &[], "404"),
        ("POST /.dhal/rooms/all", &[], "404"),
    ] {
        let mut fields = fields.to_vec();
        let (line, again) = line
            .strip_suffix(" again")
            .map_or((line, false), |l| (l, true));
        if again {
            let first = world.decide("192.0.2.1", None, 1, line, &fields, Passed::default());
            let room = match &first {
                Decision::Respond(hit) => &hit.room,
                Decision::Fetch(fetch) => &fetch.own.room,
                _ => panic!("{line}: {}", describe(&first)),
            };
            let cookie = room
                .as_ref()
                .and_then(|pass| pass.cookie())
                .expect("a ticket");
            let cookie: &'static str = cookie.to_owned().leak();
            fields.push(("cookie", cookie.split(';').next().expect("a pair")));
        }
        assert_eq!(world.ask(1, line, &fields), wanted, "{line} {fields:?}");
    }
}

#[test]
fn limits_count_by_client() {
    let world = World::new();
    assert_eq!(world.ask(0, "GET /limited", &[]), "bypass /limited");
    assert_eq!(world.ask(1, "GET /limited", &[]), "429");
    assert_eq!(
        world.ask_as("192.0.2.2", None, 1, "GET /limited", &[]),
        "bypass /limited"
    );
    assert_eq!(world.ask(60, "GET /limited", &[]), "bypass /limited");
}

#[test]
fn limits_count_by_what_they_are_told() {
    let world = World::new();
    let session = |value: &'static str| [("cookie", value)];
    for (client, line, fields, wanted) in [
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session=a")[..],
            "bypass /by-session",
        ),
        (
            "192.0.2.2",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        ("192.0.2.3", "GET /by-session", &session("session=a"), "429"),
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session=b"),
            "bypass /by-session",
        ),
        // Without it the address counts.
        ("192.0.2.1", "GET /by-session", &[], "bypass /by-session"),
        (
            "192.0.2.1",
            "GET /by-session",
            &session("session="),
            "bypass /by-session",
        ),
        ("192.0.2.1", "GET /by-session", &[], "429"),
        ("192.0.2.9", "GET /by-session", &[], "bypass /by-session"),
        // Whom the rule does not count.
        (
            "198.51.100.7",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        (
            "::ffff:198.51.100.7",
            "GET /by-session",
            &session("session=a"),
            "bypass /by-session",
        ),
        // A parameter as it is normalised, together with the host.
        ("192.0.2.1", "GET /by/a/x", &[], "bypass /by/a/x"),
        (
            "192.0.2.2",
            "GET /by/%61/x?y",
            &[("host", "SHOP.example:80")],
            "429",
        ),
        ("192.0.2.2", "GET /by/b/x", &[], "bypass /by/b/x"),
        (
            "192.0.2.2",
            "GET /by/a/x",
            &[("host", "other.example")],
            "bypass /by/a/x",
        ),
    ] {
        assert_eq!(
            world.ask_as(client, None, 0, line, fields),
            wanted,
            "{client} {line} {fields:?}"
        );
    }
}

#[test]
fn what_the_store_answers_can_be_free() {
    let world = World::new();
    world.store("/misses/a", &[("cache-control", "max-age=60")], &[]);
    for (seconds, line, wanted) in [
        (0, "GET /misses/a", "Whole age 0"),
        (0, "GET /misses/b", "uri-miss /misses/b fetch"),
        (0, "GET /misses/b", "503"),
        (1, "POST /misses/a", "503"),
        (1, "GET /misses/a", "Whole age 1"),
        (2, "GET /misses/a", "Whole age 2"),
        (61, "GET /misses/a", "stale /misses/a fetch"),
        (61, "GET /misses/a", "503"),
    ] {
        assert_eq!(world.ask(seconds, line, &[]), wanted, "{seconds} {line}");
    }
}

#[test]
fn who_is_held_back_is_decided_again() {
    let world = World::new();
    let ask =
        |seconds, passed| world.decide("192.0.2.1", None, seconds, "GET /later/a", &[], passed);
    let first = ask(0, Passed::default());
    assert_eq!(describe(&first), "uri-miss /later/a fetch");
    let second = ask(0, Passed::default());
    assert_eq!(describe(&second), "delay 1000 ms");
    assert_eq!(describe(&ask(0, Passed::default())), "429");
    let Decision::Delay(delay) = second else {
        panic!("held back")
    };
    assert!(delay.passed.all && !delay.passed.origin);
    assert_eq!(delay.held.len(), 1);
    assert_eq!(world.snapshot.limits[3].waiting(), 1);
    drop(delay.held);
    // Its turn at the other rule has come meanwhile; for the next one it has not.
    let again = ask(1, delay.passed.clone());
    assert_eq!(describe(&again), "uri-miss /later/a fetch");
    let Decision::Fetch(fetch) = again else {
        panic!("fetched")
    };
    let limit = fetch.own.limit.expect("both rules");
    assert_eq!(limit.delay.as_millis(), 1000);
    assert_eq!(limit.decision.as_str(), "delayed");
    let held = ask(1, delay.passed.clone());
    assert_eq!(describe(&held), "delay 1000 ms");
    let Decision::Delay(held) = held else {
        panic!("held back")
    };
    assert_eq!(
        held.passed.limit.as_ref().map(|l| l.delay.as_millis()),
        Some(2000)
    );
    assert_eq!(describe(&ask(2, held.passed)), "uri-miss /later/a fetch");
    // What was stored while it waited answers it, and the rule for misses does not count it.
    world.store("/later/a", &[("cache-control", "max-age=60")], &[]);
    assert_eq!(describe(&ask(2, delay.passed)), "Whole age 2");
}

#[test]
fn who_is_kept_out() {
    let world = World::new();
    for (client, line, wanted) in [
        ("203.0.113.200", "GET /pages/a", "403"),
        ("::ffff:203.0.113.200", "GET /nowhere", "403"),
        ("2001:db8::7", "TRACE /pages/a", "403"),
        ("203.0.113.2", "GET /pages/a", "uri-miss /pages/a fetch"),
        ("198.51.100.7", "GET /office", "bypass /office"),
        ("192.0.2.1", "GET /office", "403"),
        // On both lists: `deny` goes before `allow`.
        ("203.0.113.1", "GET /office", "403"),
    ] {
        assert_eq!(
            world.ask_as(client, None, 0, line, &[]),
            wanted,
            "{client} {line}"
        );
    }
    let redirected = world.ask_as("203.0.113.200", Some(443), 0, "GET /", &[]);
    assert_eq!(redirected, "403");
    let text = String::from_utf8(world.shared.metrics.render()).expect("text");
    for line in [
        r#"dhal_address_list_refused_total{list="worse",why="denied"} 4"#,
        r#"dhal_address_list_refused_total{list="bad",why="denied"} 1"#,
        r#"dhal_address_list_refused_total{list="office",why="not_allowed"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
