//! Waiting rooms: who waits, who goes on, and what each is told.

use crate::{
    client::Response,
    edge::{Edge, Site},
    h2::H2,
    origin::{Origin, page},
    tools::{Gate, eventually},
};

pub(crate) const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// Products are stored, the checkout is not.
pub(crate) fn config(shop: &Origin, room: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]

        [waiting_rooms.sale]
        {room}

        [[routes]]
        upstream = "shop"
        cache = "default"
        waiting_room = "sale"

        [[routes]]
        path = "/free/*"
        upstream = "shop"
        "#
    )
}

pub(crate) fn shop() -> Origin {
    Origin::start(|seen| match seen.target.as_str() {
        "/cart" => page("in the cart").field("set-cookie", "cart=7; Path=/"),
        "/empty" => page("out of it").field("set-cookie", "cart=; Max-Age=0; Path=/"),
        "/broken" => page("no").status(500),
        target if target.starts_with("/own") => page("yours").field("cache-control", "private"),
        _ => page("a product").fresh(60),
    })
}

/// A browser: it keeps the room's cookie.
#[derive(Default, Clone)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn get(&mut self, edge: &Edge, path: &str) -> Response {
        let answer = self.ask(edge, "GET", path);
        self.keep(&answer);
        answer
    }

    /// A page and what belongs to it, so that the room knows a visitor who keeps cookies: the
    /// last of the answers.
    pub(crate) fn comes(&mut self, edge: &Edge, path: &str) -> Response {
        self.get(edge, path);
        self.get(edge, path)
    }

    pub(crate) fn ask(&self, edge: &Edge, method: &str, path: &str) -> Response {
        let mut fields = vec![HTML];
        if let Some(cookie) = &self.cookie {
            fields.push(("cookie", cookie));
        }
        edge.ask(method, path, &fields)
    }

    fn keep(&mut self, answer: &Response) {
        for (name, value) in &answer.fields {
            if name.eq_ignore_ascii_case("set-cookie") && value.starts_with("dhal_room_") {
                self.cookie = value.split(';').next().map(str::to_owned);
            }
        }
    }
}

pub(crate) fn room_cookies(answer: &Response) -> Vec<&str> {
    let all = answer
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let room = all.filter(|(_, value)| value.starts_with("dhal_room_sale="));
    room.map(|(_, value)| value.as_str()).collect()
}

/// A number of `Dhal-Room`.
pub(crate) fn told(answer: &Response, name: &str) -> Option<u64> {
    let mut parameters = answer.field("dhal-room")?.split(';').skip(1);
    parameters.find_map(|p| p.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

pub(crate) fn json(answer: &Response) -> serde_json::Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn while_there_are_places_nobody_waits_and_then_everyone_does() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 1"));
    // Programs pass, and are not counted.
    assert_eq!(edge.get("/p").status, 200);
    assert_eq!(edge.ask("POST", "/own", &[]).status, 200);
    let mut first = Browser::default();
    let guest = first.get(&edge, "/p");
    assert_eq!((guest.status, guest.text().as_str()), (200, "a product"));
    let ticket = room_cookies(&guest);
    assert!(
        ticket.len() == 1 && ticket[0].contains("Max-Age=300"),
        "{ticket:?}"
    );
    assert_eq!(edge.metric("dhal_room_inside{room=\"sale\"}"), Some(0.0));
    // It keeps cookies: it is counted, and has a pass.
    let answer = first.get(&edge, "/p");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a product"));
    assert!(answer.is_hit());
    let cookies = room_cookies(&answer);
    assert_eq!(cookies.len(), 1);
    for attribute in ["Path=/", "Max-Age=450", "HttpOnly", "SameSite=Lax"] {
        assert!(
            cookies[0].contains(attribute),
            "{attribute} in {}",
            cookies[0]
        );
    }
    assert!(!cookies[0].contains("Secure"), "this is no TLS");
    let controls: Vec<_> = answer
        .fields
        .iter()
        .filter(|(n, _)| n == "cache-control")
        .map(|(_, v)| v.as_str())
        .collect();
    assert_eq!(
        controls,
        ["max-age=60", "private"],
        "no cache in front gives the pass to others"
    );
    // With the pass the store and the shop answer as ever, with nothing added.
    for path in ["/p", "/own", "/q"] {
        let answer = first.get(&edge, path);
        assert_eq!(
            (answer.status, room_cookies(&answer).len()),
            (200, 0),
            "{path}"
        );
    }

    let mut second = Browser::default();
    let waits = second.get(&edge, "/p");
    assert_eq!(waits.status, 503);
    assert_eq!(waits.field("cache-control"), Some("no-store"));
    let field = waits.field("dhal-room").expect("where it stands");
    assert!(
        field.starts_with("sale;state=waiting;place=1;ahead=0;wait="),
        "{field}"
    );
    let refresh: u64 = waits
        .field("refresh")
        .expect("a page")
        .parse()
        .expect("seconds");
    assert!((1..=2).contains(&refresh), "the next one: {refresh}");
    assert_eq!(waits.field("retry-after"), waits.field("refresh"));
    assert_eq!(
        waits.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(room_cookies(&waits).len(), 1);
    let text = waits.text();
    assert!(text.len() < 8 * 1024);
    for part in [
        "<b>১</b>",
        "0 ahead of you",
        "http-equiv=\"refresh\"",
        "class=\"waiting\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let mut third = Browser::default();
    assert_eq!(told(&third.get(&edge, "/p"), "place"), Some(2));
    // However often they ask.
    for _ in 0..3 {
        assert_eq!(told(&second.get(&edge, "/own"), "place"), Some(1));
    }
    assert_eq!(told(&third.get(&edge, "/p"), "place"), Some(2));
    // Programs are refused now, and get no ticket.
    for (method, accept) in [
        ("GET", "*/*"),
        ("GET", "application/json"),
        ("POST", "application/json"),
    ] {
        let refused = edge.ask(method, "/p", &[("accept", accept)]);
        assert_eq!(
            (refused.status, refused.count("set-cookie")),
            (503, 0),
            "{method} {accept}"
        );
        assert!(refused.field("retry-after").is_some() && refused.field("refresh").is_none());
        let body = json(&refused);
        assert_eq!(
            (body["room"].as_str(), body["state"].as_str()),
            (Some("sale"), Some("waiting"))
        );
        assert!(body["place"].is_null());
    }
    assert_eq!(edge.get("/free/x").status, 200, "another route has no room");

    for (series, value) in [
        ("dhal_room_inside{room=\"sale\"}", 1.0),
        ("dhal_room_capacity{room=\"sale\"}", 1.0),
        ("dhal_room_waiting{room=\"sale\"}", 2.0),
        ("dhal_room_admitted_total{room=\"sale\"}", 1.0),
        ("dhal_room_guests_total{room=\"sale\"}", 1.0),
        ("dhal_room_tickets_issued_total{room=\"sale\"}", 2.0),
        ("dhal_room_tickets_kept_total{room=\"sale\"}", 3.0),
        ("dhal_room_waits_total{room=\"sale\"}", 9.0),
    ] {
        assert_eq!(edge.metric(series), Some(value), "{series}");
    }
    let counted = |state: &str| {
        let of_state = |line: &serde_json::Value| line["room_state"] == state;
        edge.log().iter().filter(|line| of_state(line)).count()
    };
    eventually("the log is written", || {
        let states = ["guest", "admitted", "passing", "waiting"];
        states.map(counted) == [1, 1, 2, 9]
    });
    assert!(
        edge.log()
            .iter()
            .any(|l| l["room"] == "sale" && l["reason"] == "waiting room")
    );
    let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
    assert!(
        status.contains("1 of 1 inside (0 with a cart), 2 wait"),
        "{status}"
    );
}

#[test]
fn a_form_that_has_to_wait_is_not_sent_and_says_so() {
    let shop = shop();
    let site = Site::new(&config(
        &shop,
        "capacity = 1\nstay = \"5s\"\ntemplate = \"own.html\"",
    ));
    let own = "<meta http-equiv=\"refresh\" content=\"{refresh}\">";
    std::fs::write(site.path("own.html"), own).expect("written");
    let edge = Edge::start_at(site);
    Browser::default().comes(&edge, "/p");
    let mut visitors = Vec::new();
    for (referer, link) in [
        ("http://shop.example/cart?a=1&b=2", "/cart?a=1&amp;b=2"),
        ("http://other.example/cart", "/"),
    ] {
        let fields = [HTML, ("referer", referer)];
        let answer = edge.ask("POST", "/order", &fields);
        assert_eq!((answer.status, answer.field("refresh")), (503, None));
        assert!(answer.field("retry-after").is_some());
        let text = answer.text();
        assert!(
            !text.contains("http-equiv"),
            "it would be asked for with GET"
        );
        assert!(text.contains("Nothing was sent"), "{text}");
        assert!(text.contains(&format!("href=\"{link}\"")), "{text}");
        assert_eq!(room_cookies(&answer).len(), 1, "its place is kept");
        let mut browser = Browser::default();
        browser.keep(&answer);
        visitors.push(browser);
    }
    // The first of the two: before the second are as many as are likely to come back.
    let mut browser = visitors.swap_remove(0);
    let waits = browser.get(&edge, "/cart");
    assert_eq!((waits.status, told(&waits, "place")), (503, Some(1)));
    assert!(
        waits.text().contains("http-equiv"),
        "this one renews itself"
    );
    let answer = browser.ask(&edge, "POST", "/order");
    assert_eq!(told(&answer, "place"), Some(1));
    assert!(answer.text().contains("href=\"/\""));
    assert_eq!(shop.count("/order"), 0);
    eventually("it comes in", || browser.get(&edge, "/own").status == 200);
    assert_eq!(browser.ask(&edge, "POST", "/order").status, 200);
}

#[test]
fn forged_and_foreign_tickets_are_none() {
    let shop = shop();
    let site = Site::new(&config(
        &shop,
        "capacity = 2\nkeys = [{ id = \"a\", file = \"a.key\" }]",
    ));
    std::fs::write(site.path("a.key"), "0123456789abcdef0123456789abcdef\n").expect("written");
    let edge = Edge::start_at(site);
    let mut own = Browser::default();
    own.comes(&edge, "/p");
    Browser::default().comes(&edge, "/p");
    let good = own.cookie.clone().expect("a pass");
    let mut bytes = good.clone().into_bytes();
    let last = bytes.len() - 1;
    bytes[last] = if bytes[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(bytes).expect("text");
    let long = format!("dhal_room_sale={}", "A".repeat(5_000));
    for cookie in [
        forged.as_str(),
        &long,
        "dhal_room_sale=",
        "dhal_room_other=x",
    ] {
        let answer = edge.ask("GET", "/p", &[HTML, ("cookie", cookie)]);
        assert_eq!(answer.status, 503, "{cookie}");
    }
    assert_eq!(
        edge.ask("GET", "/p", &[HTML, ("cookie", "cart=7")]).status,
        503
    );
    // Of several the first good one counts, and one whose pass it is may do what it likes.
    let both = format!("{forged}; {good}; dhal_room_sale=x");
    assert_eq!(edge.ask("GET", "/p", &[("cookie", &both)]).status, 200);
    assert_eq!(edge.ask("POST", "/own", &[("cookie", &good)]).status, 200);
    for (why, count) in [("forged", 2.0), ("malformed", 2.0), ("key", 0.0)] {
        let series = format!("dhal_room_tickets_refused_total{{room=\"sale\",why=\"{why}\"}}");
        assert_eq!(edge.metric(&series), Some(count), "{why}");
    }
    assert_eq!(edge.metric("dhal_room_inside{room=\"sale\"}"), Some(2.0));
}

#[test]
fn who_only_needs_the_store_does_not_wait() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 1\ncovers = \"origin\""));
    let mut first = Browser::default();
    assert_eq!(first.get(&edge, "/p").status, 200);
    assert!(first.cookie.is_some(), "the shop was asked");
    assert_eq!(first.get(&edge, "/own").status, 200);
    let mut second = Browser::default();
    let stored = second.get(&edge, "/p");
    assert_eq!(
        (stored.status, stored.is_hit(), second.cookie.is_some()),
        (200, true, false)
    );
    assert_eq!(second.get(&edge, "/other").status, 503);
    assert_eq!(second.get(&edge, "/own").status, 503);
    assert_eq!(second.get(&edge, "/p").status, 200);
    assert_eq!(shop.count("/other"), 0, "who waits does not reach the shop");
    assert_eq!(first.get(&edge, "/own").status, 200);
}

#[test]
fn where_one_stands_can_be_asked() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 1"));
    let ask = |cookie: Option<&str>| {
        let cookie: Vec<_> = cookie.map(|c| ("cookie", c)).into_iter().collect();
        let answer = edge.ask("GET", "/.dhal/rooms/sale", &cookie);
        assert_eq!(
            (answer.status, answer.field("cache-control")),
            (200, Some("no-store"))
        );
        assert_eq!(answer.count("set-cookie"), 0);
        json(&answer)
    };
    assert_eq!(ask(None)["state"], "open");
    let (mut first, mut second) = <(Browser, Browser)>::default();
    first.comes(&edge, "/p");
    second.get(&edge, "/p");
    assert_eq!(ask(first.cookie.as_deref())["state"], "inside");
    let waits = ask(second.cookie.as_deref());
    assert_eq!(
        (waits["state"].as_str(), waits["place"].as_u64()),
        (Some("waiting"), Some(1))
    );
    assert_eq!(waits["ahead"], 0);
    assert!(
        waits["wait_seconds"].as_u64() > Some(0) && waits["refresh_seconds"].as_u64() >= Some(1)
    );
    assert_eq!(ask(None)["state"], "waiting");
    assert_eq!(
        edge.get("/.dhal/rooms/none").status,
        503,
        "of no room: a path like others"
    );
}

#[test]
fn a_pass_goes_with_every_kind_of_answer_and_to_nobody_else() {
    let shop = Origin::start(move |seen| match seen.target.as_str() {
        "/broken" => page("no").status(500),
        _ => page("a product").fresh(60),
    });
    let edge = Edge::start(&config(&shop, "capacity = 100"));
    for (path, fields) in [
        ("/miss", &[][..]),
        ("/miss", &[("if-none-match", "\"x\"")]),
        ("/miss", &[("range", "bytes=0-2")]),
        ("/broken", &[]),
    ] {
        // As a guest's ticket, and as the pass.
        let guest = guest(&edge);
        for ticket in [None, guest.cookie.as_deref()] {
            let mut all = vec![HTML];
            all.extend(ticket.map(|ticket| ("cookie", ticket)));
            all.extend_from_slice(fields);
            let answer = edge.ask("GET", path, &all);
            assert_eq!(
                room_cookies(&answer).len(),
                1,
                "{path} {fields:?}: {answer:?}"
            );
        }
    }
    // What is stored has none of them.
    let plain = edge.get("/miss");
    assert_eq!((plain.is_hit(), plain.count("set-cookie")), (true, 0));
    // A server that does not answer: the place is taken, so the pass goes with the page that says so.
    let lost = config(&shop, "capacity = 100").replace(&shop.to_string(), "127.0.0.1:9");
    assert!(edge.reload(&lost).status.success());
    for path in ["/new", "/own"] {
        let failed = guest(&edge).get(&edge, path);
        assert!(failed.status >= 502, "{path}: {}", failed.status);
        assert_eq!(room_cookies(&failed).len(), 1, "{path}");
    }
    assert_eq!(edge.metric("dhal_room_inside{room=\"sale\"}"), Some(6.0));
}

/// One who was on a page that is stored.
fn guest(edge: &Edge) -> Browser {
    let mut guest = Browser::default();
    assert_eq!(guest.get(edge, "/stored").status, 200);
    guest
}

#[test]
fn each_who_reads_the_same_fetch_gets_a_pass_of_its_own() {
    let gate = Gate::default();
    let open = gate.clone();
    let shop = Origin::start(move |seen| match seen.target.as_str() {
        "/p" => page("a product").fresh(60).when(&open),
        _ => page("a product").fresh(60),
    });
    let edge = Edge::start(&config(&shop, "capacity = 100"));
    let mut conns: Vec<_> = (0..5).map(|_| edge.connect()).collect();
    for conn in &mut conns {
        let ticket = guest(&edge).cookie.expect("a ticket");
        conn.request("GET", "/p", &[HTML, ("cookie", &ticket)]);
    }
    eventually("all are inside", || {
        edge.metric("dhal_room_inside{room=\"sale\"}") == Some(5.0)
    });
    gate.open();
    let answers: Vec<_> = conns.iter_mut().map(|conn| conn.response("GET")).collect();
    assert_eq!(shop.count("/p"), 1);
    let mut passes: Vec<_> = answers.iter().flat_map(room_cookies).collect();
    passes.sort_unstable();
    passes.dedup();
    assert_eq!(passes.len(), 5);
    assert_eq!(edge.get("/p").count("set-cookie"), 0);
}

#[test]
fn over_http2_and_tls_it_is_the_same() {
    let shop = shop();
    let edge = Edge::start_tls(&config(&shop, "capacity = 1\ncart_cookies = [\"cart\"]"));
    let mut client = H2::connect(edge.site.https);
    let mut ask = |path: &str, cookie: &str| {
        let fields = [HTML, ("cookie", cookie)];
        client.ask("GET", path, &fields, None).expect("an answer")
    };
    let guest = ask("/p", "a=b");
    assert_eq!(guest.status, 200);
    let ticket = room_cookies(&guest)[0].split(';').next().expect("a ticket");
    let first = ask("/p", ticket);
    assert_eq!(first.status, 200);
    let cookies = room_cookies(&first);
    assert!(cookies[0].contains("; Secure"), "{}", cookies[0]);
    let pass = cookies[0].split(';').next().expect("a pass").to_owned();
    let waits = ask("/p", "a=b");
    assert_eq!((waits.status, room_cookies(&waits).len()), (503, 1));
    assert_eq!(told(&waits, "place"), Some(1));
    assert!(waits.field("refresh").is_some());
    for (path, count) in [("/p", 0), ("/own", 0), ("/cart", 1), ("/broken", 0)] {
        let answer = ask(path, &pass);
        assert_ne!(answer.status, 503, "{path}");
        assert_eq!(room_cookies(&answer).len(), count, "{path}");
    }
    let status = ask("/.dhal/rooms/sale", &pass);
    assert_eq!(
        (status.status, json(&status)["state"].as_str()),
        (200, Some("inside"))
    );
}

#[test]
fn a_page_of_the_shops_own() {
    let shop = shop();
    let site = Site::new(&config(&shop, "capacity = 1\ntemplate = \"own.html\""));
    let own =
        "<style>b{color:red}</style><b>{place}/{waiting}</b> {ahead_bn} {room} {refresh} {wait}";
    std::fs::write(site.path("own.html"), own).expect("written");
    let edge = Edge::start_at(site);
    Browser::default().comes(&edge, "/p");
    let waits = Browser::default().comes(&edge, "/p");
    let refresh = waits.field("refresh").expect("seconds");
    let wanted =
        format!("<style>b{{color:red}}</style><b>1/1</b> ০ sale {refresh} about 6 minutes");
    assert_eq!(waits.text(), wanted);
}
