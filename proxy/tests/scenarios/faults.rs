//! Faults of a shop, as `docs/faults.md` lists them: what each visitor gets, and that nobody else notices.
//!
//! A [`Row`] is one fault. It is played to visitors of both protocols, on a route that passes on and on one
//! that stores, by a shop that is alone and by one that has a spare beside it. After each fault the same edge
//! has to answer other requests with their own pages, and in the end it must hold nothing any more.

use std::net::TcpStream;

use crate::{
    client::Response,
    edge::Edge,
    rules::{BOTH, Protocol},
    tools::eventually,
};

pub(crate) use crate::{
    faults_guest::{Guest, Upload},
    faults_shop::{Asked, Shop, Then, answers, right, says},
};

/// Idle connections that an edge may keep after a row: fewer than there were faults.
const KEPT: usize = 8;

/// What a visitor may get.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// An answer of the shop, with this content.
    Whole(u16, &'static str),
    /// The right page, as if nothing were wrong.
    Right,
    /// An error page of ours that says what went wrong.
    Clear(u16),
    /// The same, or 503 while it is known that no connection comes about.
    Unreached(u16),
    /// A clear error, or the right page.
    ClearOrRight(u16),
    /// A part of an answer that can never be taken for the whole.
    Cut,
    /// The same, or an error page.
    ClearOrCut(u16),
    /// The same, or 503 while it is known that no connection comes about.
    UnreachedOrCut(u16),
}

impl Outcome {
    pub(crate) fn check(self, what: &str, target: &str, got: Result<Response, String>) {
        match (self, got) {
            (Self::ClearOrRight(_), Ok(answer)) if answer.status == 200 => {
                assert_eq!(answer.text(), right(target), "{what}");
            }
            (Self::Whole(status, content), Ok(answer)) => {
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (status, content),
                    "{what}"
                );
            }
            (Self::Right, Ok(answer)) => {
                assert_eq!(
                    (answer.status, answer.text()),
                    (200, right(target)),
                    "{what}"
                );
            }
            (
                Self::Clear(status)
                | Self::Unreached(status)
                | Self::ClearOrRight(status)
                | Self::ClearOrCut(status)
                | Self::UnreachedOrCut(status),
                Ok(answer),
            ) => {
                let known = matches!(self, Self::Unreached(_) | Self::UnreachedOrCut(_));
                let fits = answer.status == status || (known && answer.status == 503);
                assert!(fits, "{what}: {} {:?}", answer.status, answer.text());
                let id = answer.field("x-request-id").expect("an id");
                assert!(
                    answer.text().contains("<!doctype html>"),
                    "{what}: {answer:?}"
                );
                assert!(answer.text().contains(id), "{what}: {answer:?}");
                assert_eq!(answer.field("cache-control"), Some("no-store"), "{what}");
            }
            (Self::Cut | Self::ClearOrCut(_) | Self::UnreachedOrCut(_), Err(_)) => {}
            (Self::Cut, Ok(answer)) => panic!("{what}: it looks whole: {answer:?}"),
            (_, Err(why)) => panic!("{what}: {why}"),
        }
    }
}

/// A fault and what comes of it.
pub(crate) struct Row {
    shop: Shop,
    method: &'static str,
    upload: Upload,
    outcome: Outcome,
    /// Of the access log.
    reason: Option<&'static str>,
    timeouts: &'static str,
    /// What a visitor gets where another server could answer.
    beside: Outcome,
    is_blamed: bool,
    /// What is waited for after a fault.
    after: Box<dyn Fn()>,
}

impl Row {
    /// GET of a fault after which visitors get `outcome`, another server or not.
    pub(crate) fn new(
        script: impl Fn(&mut TcpStream, &Asked<'_>) -> Then + Send + Sync + 'static,
        outcome: Outcome,
    ) -> Self {
        Self {
            shop: Shop::start(script),
            method: "GET",
            upload: Upload::None,
            outcome,
            reason: None,
            timeouts: "response = \"10s\"",
            beside: outcome,
            is_blamed: false,
            after: Box::new(|| {}),
        }
    }

    /// Of the access log.
    pub(crate) fn reason(self, reason: &'static str) -> Self {
        let reason = Some(reason);
        Self { reason, ..self }
    }

    pub(crate) fn timeouts(self, timeouts: &'static str) -> Self {
        Self { timeouts, ..self }
    }

    pub(crate) fn method(self, method: &'static str, upload: Upload) -> Self {
        Self {
            method,
            upload,
            ..self
        }
    }

    /// Where there is another server it answers.
    pub(crate) fn another_answers(self) -> Self {
        let beside = Outcome::Right;
        Self { beside, ..self }
    }

    /// It counts against the server.
    pub(crate) fn blames_the_server(self) -> Self {
        let is_blamed = true;
        Self { is_blamed, ..self }
    }

    /// Waits for something after each fault of the shop that is alone.
    pub(crate) fn after(self, after: impl Fn() + 'static) -> Self {
        let after = Box::new(after);
        Self { after, ..self }
    }

    /// Plays it.
    pub(crate) fn holds(self) {
        let spare = Shop::start(answers);
        let edge = Edge::start_tls(&config(&self.shop, &spare, self.timeouts));
        for way in ways() {
            let mut guest = Guest::new(&edge, way.protocol);
            for nth in 1..=2 {
                let target = format!("/{way}/alone/fault");
                let what = format!("{} {target}, {nth}", self.method);
                let got = guest.ask(self.method, &target, self.upload);
                if let Ok(answer) = &got
                    && !matches!(self.outcome, Outcome::Whole(..) | Outcome::Right)
                {
                    assert!(!answer.is_hit(), "{what} is not stored");
                }
                self.outcome.check(&what, &target, got);
                (self.after)();
                control(&mut guest, &way, &["alone", "beside"], nth);
                let safe = matches!(self.method, "GET" | "HEAD");
                assert!(
                    safe || self.shop.count(&target) <= nth,
                    "{what}: done twice"
                );
            }
            if let Some(reason) = self.reason {
                let target = format!("/{way}/alone/fault");
                is_logged(&edge, &target, reason);
            }
            let target = format!("/{way}/beside/fault");
            let what = format!("{} {target}", self.method);
            let got = guest.ask(self.method, &target, self.upload);
            self.beside.check(&what, &target, got);
            let upstream = format!("{}-beside", way.name());
            let wanted = match self.is_blamed {
                true => "ejected",
                false => "up",
            };
            let server = self.shop.beside.to_string();
            // What is told of the server may come after the answer.
            let mut state = String::new();
            eventually(&format!("{what}: the server is {wanted}"), || {
                state = server_state(&edge, &upstream, &server);
                state == wanted
            });
            control(&mut guest, &way, &["alone", "beside"], 3);
        }
        holds_nothing(&edge, &self.shop);
    }
}

/// Other pages, over the same connections.
pub(crate) fn control(guest: &mut Guest, way: &Way, upstreams: &[&str], nth: usize) {
    for upstream in upstreams {
        for page in ["a", "b"] {
            let target = format!("/{way}/{upstream}/{page}{nth}");
            let answer = guest.get(&target);
            assert_eq!((answer.status, answer.text()), (200, right(&target)));
        }
    }
}

/// Waits until a request has been written down with this reason.
pub(crate) fn is_logged(edge: &Edge, target: &str, reason: &str) {
    is_logged_with(edge, target, &[reason]);
}

/// The same with one of these reasons.
pub(crate) fn is_logged_with(edge: &Edge, target: &str, reasons: &[&str]) {
    let of = |line: &serde_json::Value| line["path"] == target;
    let fits = |line: &serde_json::Value| reasons.iter().any(|reason| line["reason"] == *reason);
    eventually(&format!("{target} is logged with {reasons:?}"), || {
        edge.log().iter().any(|line| of(line) && fits(line))
    });
}

/// The edge works on nothing any more, and keeps no more connections than it may use again.
pub(crate) fn holds_nothing(edge: &Edge, shop: &Shop) {
    eventually("nothing is in flight", || in_flight(edge) == 0);
    eventually("connections to the shop are closed", || {
        shop.connections() <= KEPT
    });
}

fn status(edge: &Edge) -> serde_json::Value {
    let (code, text) = edge.admin("GET", "/status");
    assert_eq!(code, 200);
    serde_json::from_str(&text).expect("JSON")
}

fn servers(status: &serde_json::Value) -> impl Iterator<Item = (&str, &serde_json::Value)> {
    let upstreams = status["upstreams"].as_array().into_iter().flatten();
    upstreams.flat_map(|upstream| {
        let name = upstream["name"].as_str().unwrap_or_default();
        let servers = upstream["servers"].as_array().into_iter().flatten();
        servers.map(move |server| (name, server))
    })
}

fn in_flight(edge: &Edge) -> u64 {
    let status = status(edge);
    let of = |(_, server): (&str, &serde_json::Value)| server["in_flight"].as_u64();
    servers(&status)
        .map(|server| of(server).expect("a number"))
        .sum()
}

fn server_state(edge: &Edge, upstream: &str, server: &str) -> String {
    let status = status(edge);
    let mut known = servers(&status);
    let found = known.find(|(name, known)| *name == upstream && known["name"] == server);
    found.expect("a server").1["state"]
        .as_str()
        .expect("a word")
        .to_owned()
}

/// A protocol, and a route.
pub(crate) struct Way {
    pub(crate) protocol: Protocol,
    is_stored: bool,
}

impl Way {
    fn name(&self) -> &'static str {
        match (self.protocol, self.is_stored) {
            (Protocol::H1, false) => "h1-passes",
            (Protocol::H1, true) => "h1-stores",
            (Protocol::H2, false) => "h2-passes",
            (Protocol::H2, true) => "h2-stores",
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// All of them.
pub(crate) fn ways() -> impl Iterator<Item = Way> {
    BOTH.into_iter().flat_map(|protocol| {
        [false, true].map(|is_stored| Way {
            protocol,
            is_stored,
        })
    })
}

/// For each way a route to the shop alone, asked once, and one to the shop and a spare, which puts a server
/// out at its first failure.
pub(crate) fn config(shop: &Shop, spare: &Shop, timeouts: &str) -> String {
    let (alone, beside, spare) = (shop.alone, shop.beside, spare.alone);
    let mut config = "[server]\nthreads = 1\n".to_owned();
    for way in ways() {
        let cache = match way.is_stored {
            true => "cache = \"default\"",
            false => "",
        };
        config += &format!(
            r#"
            [upstreams.{way}-alone]
            servers = ["{alone}"]
            retry = {{ attempts = 0 }}
            timeouts = {{ {timeouts} }}
            [[routes]]
            path = "/{way}/alone/*"
            upstream = "{way}-alone"
            max_body = "2GiB"
            {cache}
            [upstreams.{way}-beside]
            servers = ["{beside}", {{ address = "{spare}", backup = true }}]
            retry = {{ attempts = 1, budget_percent = 100 }}
            eject = {{ consecutive_failures = 1, base_time = "1h", max_percent = 100 }}
            timeouts = {{ {timeouts} }}
            [[routes]]
            path = "/{way}/beside/*"
            upstream = "{way}-beside"
            max_body = "2GiB"
            {cache}
            "#
        );
    }
    config
}
