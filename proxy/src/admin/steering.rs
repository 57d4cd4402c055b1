//! What operators do with the store of the running edge: purge it, and fill it.

use std::{net::Ipv4Addr, sync::Arc, time::SystemTime};

use http::{HeaderMap, Method};
use tokio::sync::mpsc;

use super::{PurgeOrder, PurgeUrl, Warmed};
use crate::{
    cache::{
        purge::{self, Prefix},
        status::Outcome,
    },
    edge::{
        Body, Connection, Decision, Fetch, Hit, RequestView,
        decide::{self, Now},
        keyed::KeyedTarget,
        path,
    },
    fill::{Answered, Order, Served, content::Content},
    random,
    server::Control,
};

/// Bytes of a text that is fetched for an operator: a sitemap may have 50 MB.
const TEXT_MAX: usize = 50 * 1024 * 1024;

impl Control {
    /// Takes responses out of the store, or makes them stale; returns the number of the step. It is
    /// durable by then, and in force for every request that starts after it.
    pub async fn purge(&self, order: PurgeOrder) -> Result<u64, String> {
        let uris: Vec<u64> = order.urls.iter().flat_map(|url| self.uris(url)).collect();
        let tags = order.tags.iter().map(|tag| tag.as_bytes());
        let numbers = uris.into_iter().chain(tags.map(purge::tag_number));
        let prefixes = order.prefixes.iter().map(|url| Prefix {
            scheme: url.scheme.as_str().to_owned(),
            authority: url.authority.clone(),
            target: url.target.clone(),
        });
        let step = purge::Order {
            numbers: numbers.collect(),
            prefixes: prefixes.collect(),
            all: order.all,
            soft: order.soft,
        };
        let shared = Arc::clone(&self.shared);
        let done =
            tokio::task::spawn_blocking(move || shared.store.purges.purge(step, SystemTime::now()));
        let seq = done.await.map_err(|why| why.to_string())?.map_err(|why| {
            format!(
                "the purge is in force, but not on disk, so that a restart would forget it: {why}"
            )
        })?;
        let mode = if order.soft { "soft" } else { "hard" };
        let counted = [
            ("url", order.urls.len()),
            ("prefix", order.prefixes.len()),
            ("tag", order.tags.len()),
            ("all", usize::from(order.all)),
        ];
        for (by, count) in counted {
            let counter = self
                .shared
                .metrics
                .cache
                .purges
                .with_label_values(&[by, mode]);
            counter.inc_by(count as u64);
        }
        tracing::info!(
            step = seq,
            mode,
            urls = order.urls.len(),
            prefixes = order.prefixes.len(),
            tags = order.tags.len(),
            all = order.all,
            "purged"
        );
        Ok(seq)
    }

    /// The numbers of a URL, as the policies of the routes that it could take have it in their keys.
    fn uris(&self, url: &PurgeUrl) -> Vec<u64> {
        let snapshot = self.current.load();
        let Ok(target) = path::normalise(&url.target, snapshot.config.server.encoded_slashes)
        else {
            return Vec::new();
        };
        let host = host(&url.authority);
        let route = snapshot.router.find(host, target.matched());
        let number = |policy| {
            let uri = KeyedTarget::new(policy, &target).uri(url.scheme, &url.authority);
            purge::uri_number(&uri)
        };
        let own = route.and_then(|route| route.policy.as_deref()).map(number);
        // Its spelling with every parameter as well, under which an earlier configuration may have kept it.
        let plain = {
            let mut key = Vec::new();
            let (scheme, query) = (url.scheme.as_str(), target.query());
            http_caching::cache_key(scheme, &url.authority, target.path(), query, &mut key);
            purge::uri_number(&key)
        };
        own.into_iter().chain([plain]).collect()
    }

    /// Fetches a page into the store as a visitor's request would.
    pub async fn warm(&self, url: PurgeUrl) -> Result<Warmed, String> {
        let warmed = |status, outcome: &str, bytes| Warmed {
            status,
            outcome: outcome.to_owned(),
            bytes,
        };
        let fetch = match self.decide(&url) {
            Decision::Fetch(fetch) => fetch,
            // Whoever warms a page wants it fresh: it may be stale or purged softly and answer all the same.
            Decision::Respond(Hit {
                refresh: Some(refresh),
                ..
            }) => *refresh,
            Decision::Respond(hit) => {
                let stored = &hit.stored;
                let outcome = match hit.outcome {
                    Outcome::Hit => "fresh",
                    // A refresh is on its way or has failed just now.
                    _ => "failed",
                };
                return Ok(warmed(stored.status(), outcome, stored.content_length()));
            }
            Decision::Forward(_) => return Ok(warmed(0, "not-storable", 0)),
            Decision::Redirect { .. }
            | Decision::Challenge(_)
            | Decision::Own(_)
            | Decision::Reject(_)
            | Decision::Delay(_)
            | Decision::Wait(_) => {
                return Err(no_route(&url));
            }
        };
        let order = Arc::new(self.order(&url, fetch));
        let (interim, _) = mpsc::channel(1);
        let Answered {
            served, outcome, ..
        } = self.filler.get(&order, &interim).await;
        Ok(match served {
            Served::Own => warmed(0, "not-storable", 0),
            Served::Failed(failure) => warmed(failure.status, "failed", 0),
            // Nobody has asked for a part.
            Served::Part(..) => warmed(206, "not-storable", 0),
            Served::Stored(stored) => {
                let known = match outcome {
                    Outcome::Forwarded { .. } | Outcome::Revalidated(_) => "stored",
                    _ => "fresh",
                };
                warmed(stored.status(), known, stored.content_length())
            }
            Served::Stream(head, reader) => {
                let mut content = Content::Arriving(reader);
                let mut bytes = 0;
                let status = head.header.status.as_u16();
                loop {
                    match content.next().await {
                        Ok(Some(piece)) => bytes += piece.len() as u64,
                        Ok(None) if status >= 500 => break warmed(status, "failed", bytes),
                        Ok(None) if head.is_stored => break warmed(status, "stored", bytes),
                        Ok(None) => break warmed(status, "not-storable", bytes),
                        Err(_) => break warmed(status, "failed", bytes),
                    }
                }
            }
        })
    }

    /// Fetches a text through the routes, past the store, bounded in size.
    pub async fn fetch_text(&self, url: PurgeUrl) -> Result<String, String> {
        let fetch = match self.decide(&url) {
            Decision::Fetch(fetch) => fetch,
            Decision::Forward(own) => Fetch {
                key: url.target.as_bytes().into(),
                uri_length: 0,
                target: own.target.clone(),
                own,
                validate: false,
            },
            Decision::Respond(hit) => {
                return match hit.stored.status() {
                    200 => text(&url, hit.stored.content().to_vec()),
                    status => Err(not_ok(&url, status)),
                };
            }
            Decision::Redirect { .. }
            | Decision::Challenge(_)
            | Decision::Own(_)
            | Decision::Reject(_)
            | Decision::Delay(_)
            | Decision::Wait(_) => {
                return Err(no_route(&url));
            }
        };
        let order = Arc::new(self.order(&url, fetch));
        let (status, content) = self
            .filler
            .fetch_once(order, TEXT_MAX)
            .await
            .map_err(|why| format!("{url}: {why}"))?;
        if status != 200 {
            return Err(not_ok(&url, status));
        }
        text(&url, content)
    }

    /// What would become of a request for this URL. Limits do not count operators.
    fn decide(&self, url: &PurgeUrl) -> Decision {
        let connection = Connection {
            peer: (Ipv4Addr::LOCALHOST, 0).into(),
            scheme: url.scheme,
            redirect_to_https: None,
            sni: None,
            listener: (Ipv4Addr::UNSPECIFIED, 0).into(),
            proof: None,
        };
        let view = RequestView {
            method: &Method::GET,
            authority: &url.authority,
            target: &url.target,
            fields: &HeaderMap::new(),
            body: Body::None,
            client: Ipv4Addr::LOCALHOST.into(),
            connection: &connection,
        };
        let snapshot = self.current.load();
        decide::decide_without_limits(&snapshot, &self.shared, &view, self.now())
    }

    fn now(&self) -> Now {
        Now {
            wall: SystemTime::now(),
            tick: self.started.elapsed(),
        }
    }

    fn order(&self, url: &PurgeUrl, fetch: Fetch) -> Order {
        let local = Ipv4Addr::LOCALHOST.into();
        Order {
            fetch,
            snapshot: self.current.load_full(),
            method: Method::GET,
            fields: HeaderMap::new(),
            client: local,
            peer: local,
            trusted: false,
            scheme: url.scheme,
            request_id: random::id().into_iter().map(char::from).collect(),
            began: self.now(),
            shows_key: false,
        }
    }
}

fn no_route(url: &PurgeUrl) -> String {
    format!("no route takes {url}")
}

fn not_ok(url: &PurgeUrl, status: u16) -> String {
    format!("{url} is answered {status}")
}

fn text(url: &PurgeUrl, content: Vec<u8>) -> Result<String, String> {
    String::from_utf8(content).map_err(|_| format!("{url} is no text"))
}

/// The host of an authority, as routes match it.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}
