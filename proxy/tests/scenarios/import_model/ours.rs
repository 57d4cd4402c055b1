//! What Dhal makes of a request with the configuration that was imported.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use dhal::{
    config,
    edge::{
        self, Body, Connection, Decision, Forward, OwnAnswer, RequestView, Scheme, decide::Now,
    },
    shared::Shared,
    snapshot::Snapshot,
};
use http::{HeaderMap, Method};
use nginx_import::Files;

use super::nginx::Asked;

/// The one file of an import.
pub(super) struct Alone<'a>(pub(super) &'a str);

impl Files for Alone<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "nginx.conf" => Ok(self.0.to_owned()),
            _ => Err("there is none".to_owned()),
        }
    }

    fn matching(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// A compiled configuration.
pub(super) struct Ours {
    shared: Shared,
    snapshot: Snapshot,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A refusal of its own.
    Refused(u16),
    Led,
    Fixed(u16),
    /// An upstream, or a file where that has no name, at this target.
    Passed {
        upstream: String,
        target: String,
    },
}

impl Ours {
    /// Compiles it, or says why `dhal check` refuses it.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let surroundings = config::Surroundings {
            folder: Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("dhal.toml", text, &surroundings).map_err(|e| e.to_string())?;
        let config = config.config;
        let (shared, _) = Shared::new(&config.cache, 1);
        let snapshot = Snapshot::build(config, 1, &shared).map_err(|e| e.to_string())?;
        Ok(Self { shared, snapshot })
    }

    pub(super) fn answer(&self, door: SocketAddr, asked: &Asked) -> Outcome {
        let fields = HeaderMap::new();
        let request = RequestView {
            method: &Method::from_bytes(asked.method.as_bytes()).expect("a method"),
            authority: &asked.host,
            target: &asked.target,
            fields: &fields,
            body: Body::None,
            client: asked.client,
            connection: &Connection {
                peer: SocketAddr::new(asked.client, 1),
                scheme: Scheme::Http,
                redirect_to_https: None,
                sni: None,
                listener: door,
                proof: None,
            },
        };
        let now = Now {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            tick: Duration::from_secs(1_000),
        };
        match edge::decide(&self.snapshot, &self.shared, &request, now) {
            Decision::Reject(rejection) => Outcome::Refused(rejection.status),
            Decision::Redirect { .. } => Outcome::Led,
            Decision::Own(own) => match own.answer {
                OwnAnswer::Redirect { .. } => Outcome::Led,
                OwnAnswer::Fixed(fixed) => match fixed.status {
                    status @ 400.. => Outcome::Refused(status),
                    status => Outcome::Fixed(status),
                },
            },
            Decision::Forward(forward) => passed(forward),
            Decision::Fetch(fetch) => passed(fetch.own),
            Decision::Respond(_)
            | Decision::Challenge(_)
            | Decision::Delay(_)
            | Decision::Wait(_) => panic!("nothing is stored, and nobody waits"),
        }
    }
}

fn passed(forward: Forward) -> Outcome {
    let servers = forward.upstream.config.servers.first();
    Outcome::Passed {
        upstream: servers.map_or_else(String::new, |server| server.name.clone()),
        target: forward.target,
    }
}
