//! The steps from top to bottom.

use std::{net::IpAddr, net::Ipv4Addr, sync::Arc};

use http::HeaderMap;
use http_caching::Reuse;

use super::{
    Explanation, Outcome, Question, Scene, Step, VERSION, Wrong, cache, limits,
    question::Request,
    recorder::Recorder,
    routes,
    sent::{self, Visitor},
    span, upstream,
};
use crate::{
    admit::{
        class::class,
        client::{client_address, is_trusted},
        state::LimitState,
    },
    cache::status,
    config::model::{ForwardedField, Listener},
    edge::{
        Answer, Connection, Decision, Forward, Own, OwnAnswer, Passed, RequestView, Scheme,
        authority, decide::decide_observed,
    },
    listen::tls::Proof,
    route::Missing,
};

pub(super) fn tell(scene: &Scene<'_>, question: &Question) -> Result<Explanation, Wrong> {
    let request = question.read(scene.snapshot)?;
    let mut story = Story {
        scene,
        steps: Vec::new(),
        outcome: Outcome::default(),
        by: "the upstream",
    };
    story.run(question, &request);
    story.outcome.said = said(&story.outcome, scene.is_running, story.by);
    Ok(Explanation {
        version: VERSION,
        source: if scene.is_running { "running" } else { "file" }.to_owned(),
        generation: scene.is_running.then_some(scene.snapshot.generation),
        method: request.method.to_string(),
        url: question.url.clone(),
        steps: story.steps,
        outcome: story.outcome,
    })
}

struct Story<'a> {
    scene: &'a Scene<'a>,
    steps: Vec<Step>,
    outcome: Outcome,
    /// Who answers where the store does not.
    by: &'static str,
}

impl<'a> Story<'a> {
    fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn run(&mut self, question: &Question, request: &Request) {
        let snapshot = self.scene.snapshot;
        let listener = self.listener(request);
        let (address, redirects) = match listener {
            Some(listener) => {
                let port = listener.redirect_to_https.then_some(listener.https_port);
                (listener.address, port)
            }
            None => ((Ipv4Addr::UNSPECIFIED, 0).into(), None),
        };
        let connection = Connection {
            peer: (request.peer, 0).into(),
            scheme: request.scheme,
            redirect_to_https: redirects,
            sni: sni(request),
            listener: address,
            proof: self.proof(request, address),
        };
        let head = match &request.head {
            Ok(head) => head,
            Err(refusal) => {
                let said = format!("refused as it is read: {}", refusal.reason);
                self.step(Step::new("request", said).with("target", request.target.as_str()));
                self.outcome = rejected(refusal.status, refusal.reason, None);
                return;
            }
        };
        let raw = head.fields(&request.bytes);
        let fields = raw.to_map();
        let client = self.client(question, request, listener, &fields);
        let view = RequestView {
            method: &head.method,
            authority: &request.authority,
            target: head.target(&request.bytes),
            fields: &raw,
            body: head.body,
            client,
            connection: &connection,
        };
        let trusted = is_trusted(request.peer, &snapshot.bounds.trusted_proxies);
        let visitor = Visitor {
            head,
            bytes: &request.bytes,
            authority: &request.authority,
            client,
            peer: request.peer,
            trusted,
            scheme: request.scheme,
            proof: connection.proof.as_deref(),
            id: Visitor::id(&fields, trusted),
        };
        let mut recorder = Recorder::default();
        let mut decision = self.decide(&view, Passed::default(), &mut recorder);
        if let Decision::Delay(delay) = &decision {
            // What comes behind the wait, as far as it can be seen from here. A second one may follow at the limits
            // that count what the store does not answer.
            let mut waits = vec![delay.wait];
            let mut passed = delay.passed.clone();
            let mut limit = passed.limit.clone();
            for _ in 0..2 {
                decision = self.decide(&view, passed.clone(), &mut recorder);
                let Decision::Delay(next) = &mut decision else {
                    break;
                };
                waits.push(next.wait);
                limit = next.passed.limit.clone();
                passed = next.passed.clone();
            }
            self.outcome.delay_ms = Some(waits.iter().copied().map(limits::millis).sum());
            self.outcome.limit = limit.map(|limit| limit.decision.as_str().to_owned());
        }
        self.told(&view, &visitor, &fields, &recorder, decision);
    }

    fn decide(&self, view: &RequestView<'_>, passed: Passed, recorder: &mut Recorder) -> Decision {
        let Scene {
            snapshot,
            shared,
            now,
            ..
        } = *self.scene;
        decide_observed(snapshot, shared, view, now, passed, recorder)
    }

    /// The listener that takes it: at the port of the URL, or the first that speaks its scheme.
    fn listener(&mut self, request: &Request) -> Option<&'a Listener> {
        let snapshot: &'a Arc<_> = self.scene.snapshot;
        let is_tls = request.scheme == Scheme::Https;
        let listeners = &snapshot.config.listeners;
        let mut speaking = listeners.iter().filter(|listener| listener.tls == is_tls);
        let at_port = |listener: &&Listener| Some(listener.address.port()) == request.port;
        let found = speaking.clone().find(at_port).or_else(|| speaking.next());
        let scheme = request.scheme.as_str();
        let Some(listener) = found else {
            let said =
                format!("none speaks {scheme}: nobody could connect; told as though one did");
            self.steps
                .push(Step::new("listener", said).with("address", None::<String>));
            return None;
        };
        let mut said = format!("{} ({scheme}", listener.address);
        for (is_so, what) in [
            (listener.redirect_to_https, ", redirects to https"),
            (listener.proxy_protocol, ", behind PROXY headers"),
        ] {
            if is_so {
                said += what;
            }
        }
        said.push(')');
        let step = Step::new("listener", said).with("address", listener.address.to_string());
        self.steps.push(step);
        Some(listener)
    }

    /// What a visitor without a certificate is asked for.
    fn proof(&mut self, request: &Request, address: std::net::SocketAddr) -> Option<Box<Proof>> {
        let certificates = self.scene.snapshot.certificates.as_ref();
        let certificates = certificates.filter(|_| request.scheme == Scheme::Https)?;
        let (proof, is_required) = certificates.unproven(address, &request.host)?;
        let said = match is_required {
            true => {
                "visitors are asked for a certificate, without which the handshake fails; told as though one that \
                 names nobody had been shown"
            }
            false => "visitors are asked for a certificate; told for one who shows none",
        };
        self.step(Step::new("note", said).with("certificate_required", is_required));
        Some(Box::new(proof))
    }

    /// Who the visitor is, and how that is known.
    fn client(
        &mut self,
        question: &Question,
        request: &Request,
        listener: Option<&Listener>,
        fields: &HeaderMap,
    ) -> IpAddr {
        let bounds = &self.scene.snapshot.bounds;
        let (peer, field) = (request.peer.to_canonical(), bounds.visitors.forwarded_field);
        let client = client_address(request.peer, fields, &bounds.trusted_proxies, field);
        let name = match field {
            ForwardedField::XForwardedFor => "x-forwarded-for",
            ForwardedField::Forwarded => "forwarded",
        };
        let trusted = is_trusted(peer, &bounds.trusted_proxies);
        let said = match (trusted, client == peer) {
            (true, false) => format!("{client}, named in {name} by the trusted proxy {peer}"),
            (true, true) => format!("{client}, a trusted proxy that names nobody else in {name}"),
            (false, _) => format!("{client}, the peer of the connection"),
        };
        let mut step = Step::new("client", said)
            .with("client", client.to_string())
            .with("peer", peer.to_string())
            .with("trusted", trusted);
        if question.client.is_none() {
            step = step.line("assumed; --client says another");
        }
        if !trusted && fields.contains_key(name) {
            step = step.line(format!(
                "{name} is not believed: {peer} is none of trusted_proxies"
            ));
        }
        if listener.is_some_and(|listener| listener.proxy_protocol) {
            step = step.line("the peer is whom the PROXY header names");
        }
        self.step(step);
        client
    }

    fn told(
        &mut self,
        view: &RequestView<'_>,
        visitor: &Visitor<'_>,
        fields: &HeaderMap,
        recorder: &Recorder,
        decision: Decision,
    ) {
        let scene = self.scene;
        let config = &scene.snapshot.config;
        self.request(view, recorder);
        let host = recorder.authority.as_deref().and_then(|whole| {
            Some(
                authority::normalise(whole, view.connection.scheme)?
                    .host()
                    .to_owned(),
            )
        });
        let host = host.unwrap_or_default();
        let path = recorder.target.as_deref().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let route = recorder.route.as_ref();
        match (&decision, route) {
            (_, Some(route)) => {
                let step = routes::step(config, &route.name, view.method, &host, path);
                self.step(step);
            }
            (Decision::Reject(rejection), None) if rejection.reason == "no route" => {
                self.step(routes::none(config, &host, path));
            }
            (Decision::Reject(_), None) if recorder.target.is_some() => {
                let found = scene.snapshot.router.route(view.method, &host, path);
                if let Err(Missing::Method(allow)) = found {
                    self.step(routes::other_methods(config, &host, path, &allow));
                }
            }
            _ => {}
        }
        let own = route.map(|route| (&route.allow[..], &route.deny[..]));
        let lists = limits::lists(&scene.snapshot.deny, own, view.client, recorder.kept);
        self.steps.extend(lists);
        for rule in &recorder.rules {
            let step = limits::rule(scene, rule);
            self.step(step);
        }
        if let Some(of_file) = route.and_then(|route| {
            let mut routes = config.routes.iter();
            routes.find(|of_file| of_file.name == route.name)
        }) {
            let is_reached = !matches!(decision, Decision::Reject(_) | Decision::Wait(_));
            if is_reached {
                self.step(Step::new("serves", routes::serves(config, of_file)));
            }
        }
        let policy = route.and_then(|route| route.policy.as_deref());
        let stored = match &decision {
            Decision::Respond(_)
            | Decision::Fetch(_)
            | Decision::Forward(_)
            | Decision::Wait(_) => {
                self.steps.extend(cache::plan(recorder, policy));
                let fetch = match &decision {
                    Decision::Fetch(fetch) => Some(fetch),
                    _ => None,
                };
                cache::stored(scene, recorder, fetch, fields)
            }
            _ => None,
        };
        let on_disk = stored.as_ref().and_then(|lies| lies.on_disk);
        let stored_status = stored
            .as_ref()
            .and_then(|lies| lies.step.facts.get("status")?.as_u64());
        self.steps.extend(stored.map(|lies| lies.step));
        self.room(recorder, &decision);
        self.finish(visitor, fields, recorder, decision, on_disk, stored_status);
    }

    fn request(&mut self, view: &RequestView<'_>, recorder: &Recorder) {
        let (Some(target), Some(authority)) = (&recorder.target, &recorder.authority) else {
            return;
        };
        let mut step = Step::new("request", format!("{target} of {authority}"))
            .with("target", target.as_str())
            .with("authority", authority.as_str());
        if target != view.target {
            step = step.line(format!("sent as {}", view.target));
        }
        if authority != view.authority {
            step = step.line(format!("sent to {}", view.authority));
        }
        self.step(step);
    }

    fn room(&mut self, recorder: &Recorder, decision: &Decision) {
        let Some((room, state)) = &recorder.room else {
            return;
        };
        let name = room.name;
        let step = |said: String| Step::new("room", said).with("room", name);
        if !self.scene.is_running {
            let said = format!("{name}: who is inside is unknown; it is taken to be empty");
            return self.step(step(said));
        }
        let figures = room.figures();
        let word = match *state {
            "inside" => "the visitor is inside",
            "admitted" => "the visitor is let in",
            "guest" => "goes on, and is counted when it comes back with its cookie",
            "passing" => "goes on, and is not counted",
            "early" => "waits for the opening",
            _ => "waits",
        };
        let mut told = step(format!("{name}: {word}"))
            .with("state", *state)
            .with("inside", figures.inside)
            .with("capacity", room.capacity())
            .with("waiting", figures.waiting)
            .line(format!(
                "{} of {} inside, {} wait",
                figures.inside,
                room.capacity(),
                figures.waiting
            ));
        if let Decision::Wait(wait) = decision
            && let Some(place) = &wait.notice.look.told
        {
            let time = std::time::Duration::from_millis(place.wait);
            told = told.with("wait_ms", place.wait).with("place", place.place);
            told = told.line(match place.place {
                Some(place) => format!("place {place}, {} to go", span(time)),
                None => format!("{} to go", span(time)),
            });
        }
        self.step(told);
    }

    fn finish(
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
        self.outcome.limit = limit.or(self.outcome.limit.take());
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

/// The name that a browser asks a certificate for: none for an address.
fn sni(request: &Request) -> Option<Box<str>> {
    let is_address = request.host.starts_with('[') || request.host.parse::<IpAddr>().is_ok();
    let is_named = request.scheme == Scheme::Https && !is_address;
    is_named.then(|| request.host.as_str().into())
}

fn forwarded(reason: crate::edge::decision::ForwardReason) -> status::Outcome {
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

fn rejected(status: u16, reason: &str, route: Option<&str>) -> Outcome {
    Outcome {
        decision: "reject".to_owned(),
        status: Some(status),
        reason: Some(reason.to_owned()),
        route: route.map(str::to_owned),
        ..Outcome::default()
    }
}

/// The outcome in a line.
fn said(outcome: &Outcome, is_running: bool, by: &str) -> String {
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
