//! A scene that visitors of either protocol play: what the rules of caching say is true of both.

use std::time::{Duration, SystemTime};

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{H2, https},
    origin::{Answer, Origin, Seen, page},
};

/// What a visitor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::H1, Protocol::H2];

enum Line {
    H1(Conn),
    H2(Box<H2>),
}

/// A visitor of `https://shop.example`, whatever they speak.
pub(crate) struct Visitor {
    line: Line,
    address: std::net::SocketAddr,
}

impl Visitor {
    pub(crate) fn new(edge: &Edge, protocol: Protocol) -> Self {
        let address = edge.site.https;
        let line = match protocol {
            Protocol::H1 => Line::H1(https(address, "shop.example")),
            Protocol::H2 => Line::H2(Box::new(H2::connect(address))),
        };
        Self { line, address }
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[])
    }

    /// A request without content.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        self.send(method, path, fields, None)
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&'static str>,
    ) -> Response {
        let length = body.map(|body| body.len().to_string());
        let mut fields = fields.to_vec();
        fields.extend(length.as_deref().map(|length| ("content-length", length)));
        match &mut self.line {
            Line::H1(conn) => {
                conn.request(method, path, &fields);
                conn.send(body.unwrap_or_default());
                let answer = conn.response(method);
                if answer.field("connection") == Some("close") {
                    *conn = https(self.address, "shop.example");
                }
                answer
            }
            Line::H2(h2) => {
                let frames = body.map(|body| [body]);
                let frames = frames.as_ref().map(<[_; 1]>::as_slice);
                h2.ask(method, path, &fields, frames).expect("an answer")
            }
        }
    }
}

/// A shop, an edge in front of it, and a visitor.
pub(crate) struct Scene {
    protocol: Protocol,
    pub(crate) visitor: Visitor,
    pub(crate) edge: Edge,
    pub(crate) shop: Origin,
}

impl Scene {
    /// With a cache policy of this content.
    pub(crate) fn new(
        protocol: Protocol,
        policy: &str,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let shop = Origin::start(script);
        let config = configured(&shop, policy);
        Self::at(protocol, shop, &config)
    }

    /// With this configuration, which has no listener.
    pub(crate) fn at(protocol: Protocol, shop: Origin, config: &str) -> Self {
        let edge = Edge::start_tls(config);
        Self {
            protocol,
            visitor: Visitor::new(&edge, protocol),
            edge,
            shop,
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.visitor.get(path)
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        self.visitor.ask(method, path, fields)
    }

    /// Another visitor who speaks the same.
    pub(crate) fn another(&self) -> Visitor {
        Visitor::new(&self.edge, self.protocol)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the visitor spoke {:?}", self.protocol);
        }
    }
}

/// One shop that is asked once, and a route with a cache policy of this content.
pub(crate) fn configured(shop: &Origin, policy: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        retry = {{ attempts = 0 }}

        [[routes]]
        upstream = "shop"
        cache = "pages"

        [cache.policies.pages]
        {policy}
        "#
    )
}

/// A path, and what the shop does to its page there.
pub(crate) type Case = (&'static str, fn(Answer) -> Answer);

/// The pages of a table; they say what was asked, and for the how-manieth time.
pub(crate) fn pages(cases: &'static [Case]) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    move |r| {
        let path = r.target.split('?').next().unwrap_or_default();
        let case = cases.iter().find(|(known, _)| *known == path);
        let (_, script) = case.expect("a path of the table");
        script(page(format!("{path} {}", r.nth)))
    }
}

/// Each page of the table is stored under the policy, and is then the same for all.
pub(crate) fn are_stored(policy: &str, cases: &'static [Case]) {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, policy, pages(cases));
        for (path, _) in cases {
            let first = scene.get(path);
            assert_eq!(first.cache(), "dhal; fwd=uri-miss; stored", "{path}");
            let second = scene.get(path);
            assert_eq!(second.cache(), "dhal; hit", "{path}");
            assert_eq!(second.status, first.status, "{path}");
            assert_eq!(second.body, first.body, "{path}");
            assert_eq!(scene.shop.count(path), 1, "{path}");
        }
    }
}

/// No page of the table is stored under the policy.
pub(crate) fn are_not_stored(policy: &str, cases: &'static [Case]) {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, policy, pages(cases));
        for (path, _) in cases {
            for nth in 1..=2 {
                let answer = scene.get(path);
                assert_eq!(answer.cache(), "dhal; fwd=uri-miss", "{path}");
                if !answer.body.is_empty() {
                    assert_eq!(answer.text(), format!("{path} {nth}"));
                }
                assert_eq!(scene.shop.count(path), nth, "{path}");
            }
        }
    }
}

/// An HTTP date so many seconds from now.
pub(crate) fn date(seconds: i64) -> String {
    let now = SystemTime::now();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    httpdate::fmt_http_date(if seconds < 0 {
        now - distance
    } else {
        now + distance
    })
}

/// The age that an answer says it has.
pub(crate) fn age(answer: &Response) -> u64 {
    let age = answer.field("age").and_then(|age| age.parse().ok());
    age.expect("an age")
}
