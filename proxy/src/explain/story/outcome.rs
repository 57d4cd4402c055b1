//! What comes of it.

use std::net::IpAddr;

use http::HeaderMap;
use http_caching::Reuse;

use super::Story;
use crate::{
    admit::{class::class, state::LimitState},
    cache::status,
    edge::{Answer, Decision, Forward, Own, OwnAnswer},
    explain::{
        Outcome, Step,
        recorder::Recorder,
        sent::{self, Visitor},
        span, upstream,
    },
};

impl<'a> Story<'a> {
    pub(super) fn finish(
        &mut self,
        visitor: &Visitor<'_>,
        fields: &HeaderMap,
        recorder: &Recorder,
        decision: Decision,
        on_disk: Option<Reuse>,
        stored_status: Option<u64>,
    ) {
        let scene = self.scene;
        let waited = (self.outcome.delay_ms, self.outcome.limit.take());
        let word = |limit: &Option<LimitState>| {
            let limit = limit.as_ref();
            limit.map(|limit| limit.decision.as_str().to_owned())
        };
        let route = |name: &str| Some(name.to_owned());
        let own = |decision: &str| Outcome {
            decision: decision.to_owned(),
            route: recorder.route.as_ref().map(|route| route.name.clone()),
            ..Outcome::default()
        };
        self.outcome = match decision {
            Decision::Challenge(_) => Outcome {
                status: Some(200),
                ..own("challenge")
            },
            Decision::Redirect { status, location } => Outcome {
                status: Some(status),
                location: Some(location),
                ..own("redirect")
            },
            Decision::Own(Own {
                route: by,
                answer,
                limit,
            }) => {
                let (status, location) = match answer {
                    OwnAnswer::Redirect { status, location } => (status, Some(location)),
                    OwnAnswer::Fixed(fixed) => (fixed.status, None),
                };
                Outcome {
                    status: Some(status),
                    location,
                    limit: word(&limit),
                    route: route(&by.name),
                    ..own("own")
                }
            }
            Decision::Reject(rejection) => Outcome {
                limit: word(&rejection.limit),
                ..rejected(
                    rejection.status,
                    rejection.reason,
                    recorder.route.as_ref().map(|r| r.name.as_str()),
                )
            },
            Decision::Wait(wait) => Outcome {
                decision: "wait".to_owned(),
                limit: word(&wait.rejection.limit),
                ..rejected(
                    wait.rejection.status,
                    wait.rejection.reason,
                    recorder.route.as_ref().map(|r| r.name.as_str()),
                )
            },
            // It is decided to its end.
            Decision::Delay(_) => own("delay"),
            Decision::Respond(hit) => Outcome {
                status: Some(match hit.answer {
                    Answer::Whole => hit.stored.status(),
                    Answer::Part { .. } | Answer::Parts(_) => 206,
                    Answer::NotModified => 304,
                    Answer::RangeNotSatisfiable => 416,
                }),
                cache: cache_status(hit.outcome),
                limit: word(&hit.limit),
                ..own("respond")
            },
            Decision::Fetch(fetch) => {
                let stored = match (&recorder.judged, on_disk) {
                    (Some((_, reuse)), _) if !fetch.validate => Some(*reuse),
                    (_, on_disk) => on_disk,
                };
                let outcome = match stored {
                    Some(Reuse::Fresh) => status::Outcome::Hit,
                    Some(Reuse::WhileRevalidate) => status::Outcome::HitStale,
                    Some(Reuse::IfError) if recorder.window.is_some() => status::Outcome::HitWindow,
                    Some(Reuse::IfError | Reuse::Validate) => {
                        forwarded(crate::edge::decision::ForwardReason::Stale)
                    }
                    None => forwarded(fetch.own.reason),
                };
                let answers = matches!(
                    outcome,
                    status::Outcome::Hit | status::Outcome::HitStale | status::Outcome::HitWindow
                );
                let limit = word(&fetch.own.limit);
                let mut server = None;
                if !answers {
                    let is_told = fetch.own.upstream.files.is_none();
                    let step = is_told.then(|| sent::fetch(scene, visitor, &fetch, fields));
                    server =
                        self.upstream(&fetch.own, fetch.target.as_bytes(), fields, visitor.client);
                    self.steps.extend(step.flatten());
                }
                let is_plain = visitor.head.method == http::Method::GET
                    && !fields.contains_key(http::header::RANGE);
                Outcome {
                    status: stored_status
                        .filter(|_| answers && is_plain)
                        .and_then(|status| u16::try_from(status).ok()),
                    cache: cache_status(outcome).filter(|_| scene.is_running),
                    limit,
                    server,
                    ..own("fetch")
                }
            }
            Decision::Forward(forward) => {
                let raw = visitor.head.fields(visitor.bytes);
                let key =
                    forward
                        .upstream
                        .hash_key(&raw, forward.target.as_bytes(), visitor.client);
                let is_told = forward.upstream.files.is_none();
                let step = is_told.then(|| sent::own(scene, visitor, &forward));
                let refused = step
                    .as_ref()
                    .and_then(|step| step.facts.get("refused")?.as_str())
                    .map(str::to_owned);
                let server = self.upstream(&forward, &key, fields, visitor.client);
                self.steps.extend(step);
                Outcome {
                    status: refused.as_ref().map(|_| 400),
                    // Where nothing could be stored nothing is said of a store.
                    cache: cache_status(forwarded(forward.reason))
                        .filter(|_| refused.is_none() && forward.route.policy.is_some()),
                    reason: refused,
                    limit: word(&forward.limit),
                    server,
                    ..own("forward")
                }
            }
        };
        let (delay, limit) = waited;
        self.outcome.delay_ms = delay;
        self.outcome.limit = limit.or_else(|| self.outcome.limit.take());
    }

    /// The place at work and the servers.
    fn upstream(
        &mut self,
        forward: &Forward,
        key: &[u8],
        fields: &HeaderMap,
        client: IpAddr,
    ) -> Option<String> {
        let scene = self.scene;
        if forward.upstream.files.is_some() {
            let said = "nobody: the file is looked for when it is asked for";
            self.step(Step::new("upstream", said).with("upstream", "(files)"));
            self.by = "the files";
            return None;
        }
        let class = class(&forward.route, fields, client);
        self.steps
            .extend(upstream::places(scene, &forward.upstream, class));
        let (step, server) = upstream::servers(scene, &forward.upstream, key);
        self.step(step);
        server
    }
}

pub(super) fn forwarded(reason: crate::edge::decision::ForwardReason) -> status::Outcome {
    status::Outcome::Forwarded {
        reason,
        stored: false,
        collapsed: false,
    }
}

fn cache_status(outcome: status::Outcome) -> Option<String> {
    let value = outcome.field_value(None, None)?;
    value.to_str().ok().map(str::to_owned)
}

pub(super) fn rejected(status: u16, reason: &str, route: Option<&str>) -> Outcome {
    Outcome {
        decision: "reject".to_owned(),
        status: Some(status),
        reason: Some(reason.to_owned()),
        route: route.map(str::to_owned),
        ..Outcome::default()
    }
}

/// The outcome in a line.
pub(super) fn said(outcome: &Outcome, is_running: bool, by: &str) -> String {
    let mut said = match (outcome.decision.as_str(), outcome.status) {
        ("respond", Some(status)) => format!("{status} from the store"),
        ("challenge", _) => "200 with what an authority asks for".to_owned(),
        ("redirect" | "own", Some(status)) => match &outcome.location {
            Some(location) => format!("{status} to {location}"),
            None => format!("{status} by the route itself"),
        },
        ("wait", Some(status)) => format!("{status}: waiting room"),
        (_, Some(status)) => match &outcome.reason {
            Some(reason) => format!("{status}: {reason}"),
            None => format!("{status} from the store"),
        },
        ("fetch", None) if !is_running => {
            format!("from the store, or by {by} and then stored if it may be")
        }
        ("fetch", None) if outcome.server.is_none() && is_hit(outcome) => {
            "from the store".to_owned()
        }
        ("fetch", None) => format!("by {by}, and stored if it may be"),
        _ => format!("by {by}, and not stored"),
    };
    if let Some(cache) = &outcome.cache {
        said += &format!("; Cache-Status: {cache}");
    }
    if let Some(delay) = outcome.delay_ms {
        let delay = span(std::time::Duration::from_millis(delay));
        said = format!("held back for {delay}, then {said}");
    }
    said
}

fn is_hit(outcome: &Outcome) -> bool {
    let cache = outcome.cache.as_deref();
    cache.is_some_and(|cache| cache.starts_with("dhal; hit"))
}
