//! Where it comes in, and who asks.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;

use super::Story;
use crate::{
    admit::client::{client_address, is_trusted},
    config::model::{ForwardedField, Listener},
    edge::{Decision, RequestView, Scheme, authority, path::matched},
    explain::{
        Question, Step, cache, limits, question::Request, recorder::Recorder, routes, sent::Visitor,
    },
    listen::tls::Proof,
    route::Missing,
};

impl<'a> Story<'a> {
    /// The listener that takes it: at the port of the URL, or the first that speaks its scheme.
    pub(super) fn listener(&mut self, request: &Request) -> Option<&'a Listener> {
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
    pub(super) fn proof(
        &mut self,
        request: &Request,
        address: std::net::SocketAddr,
    ) -> Option<Box<Proof>> {
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
    pub(super) fn client(
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

    pub(super) fn told(
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
        let path = &*matched(path, scene.snapshot.config.server.encoded_slashes);
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
}

/// The name that a browser asks a certificate for: none for an address.
pub(super) fn sni(request: &Request) -> Option<Box<str>> {
    let is_address = request.host.starts_with('[') || request.host.parse::<IpAddr>().is_ok();
    let is_named = request.scheme == Scheme::Https && !is_address;
    is_named.then(|| request.host.as_str().into())
}
