//! The request as a server would get it.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use http1_wire::request::Head;

use super::{Scene, Step};
use crate::{
    edge::{Fetch, Forward, Scheme},
    fill,
    forward::{self, FieldLines as _},
    listen::tls::Proof,
    observe::Protocol,
};

/// What is drawn for each request stands as this.
const NEW: &str = "(a new one)";
/// Longest value that is told.
const VALUE_MAX: usize = 200;

/// A request that a door has read.
pub(super) struct Visitor<'a> {
    pub(super) head: &'a Head,
    pub(super) bytes: &'a [u8],
    pub(super) authority: &'a str,
    pub(super) client: IpAddr,
    pub(super) peer: IpAddr,
    pub(super) trusted: bool,
    pub(super) scheme: Scheme,
    pub(super) proof: Option<&'a Proof>,
    /// That a trusted proxy gives it, or [`NEW`].
    pub(super) id: String,
}

impl Visitor<'_> {
    /// The id that a trusted peer gives, or none of its own.
    pub(super) fn id(fields: &HeaderMap, trusted: bool) -> String {
        let given = fields.get("x-request-id").filter(|_| trusted);
        let given = given.and_then(|id| id.to_str().ok());
        given.unwrap_or(NEW).to_owned()
    }
}

/// The visitor's own request.
pub(super) fn own(scene: &Scene<'_>, visitor: &Visitor<'_>, forward: &Forward) -> Step {
    let fields = visitor.head.fields(visitor.bytes);
    let request = forward::Request {
        forward,
        method: &visitor.head.method,
        fields: &fields,
        content: visitor.head.body,
        upgrade: visitor.head.upgrade && forward::asks_for_websocket(&fields),
        body_timeout: scene.snapshot.bounds.body_timeout,
        visitors: scene.snapshot.bounds.visitors,
        began: scene.now,
        client: visitor.client,
        peer: visitor.peer,
        trusted: visitor.trusted,
        scheme: visitor.scheme,
        proof: visitor.proof,
        protocol: Protocol::Http11,
        request_id: &visitor.id,
        host: visitor.authority,
        target: visitor.head.target(visitor.bytes),
    };
    match forward::told(&request) {
        Err(why) => {
            Step::new("sent", format!("nothing: {why}, which is answered 400")).with("refused", why)
        }
        Ok((target, authority, sent)) => {
            let line = format!("{} {target}, Host: {authority}", visitor.head.method);
            told(
                Step::new("sent", line).with("target", target),
                visitor,
                forward,
                &sent,
            )
        }
    }
}

/// The request that is composed for the store.
pub(super) fn fetch(
    scene: &Scene<'_>,
    visitor: &Visitor<'_>,
    fetch: &Fetch,
    fields: &HeaderMap,
) -> Option<Step> {
    let order = fill::Order {
        fetch: fetch.clone(),
        snapshot: Arc::clone(scene.snapshot),
        method: visitor.head.method.clone(),
        fields: fields.clone(),
        client: visitor.client,
        peer: visitor.peer,
        trusted: visitor.trusted,
        scheme: visitor.scheme,
        request_id: visitor.id.clone(),
        began: scene.now,
        shows_key: false,
    };
    let store = &scene.shared.store;
    let variation = store.variation(&fetch.key);
    let found = match fetch.validate {
        true => store.look(&fetch.key, fields),
        false => crate::cache::Found::Nothing,
    };
    let stored = match &found {
        crate::cache::Found::Fit(stored) => Some(stored.fields()),
        _ => None,
    };
    let composed = fill::request::told(&order, variation.as_deref(), stored)?;
    let target = String::from_utf8_lossy(composed.raw_path()).into_owned();
    let host = composed
        .headers
        .get("host")
        .map_or("", |host| host.to_str().unwrap_or_default());
    let line = format!("GET {target}, Host: {host}, composed from the key for all who ask");
    let sent: Vec<_> = composed
        .headers
        .iter()
        .filter(|(name, _)| *name != http::header::HOST)
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    let step = Step::new("sent", line).with("target", target);
    Some(told(step, visitor, &fetch.own, &sent))
}

/// What is added and what stays behind.
fn told(
    mut step: Step,
    visitor: &Visitor<'_>,
    forward: &Forward,
    sent: &[(Vec<u8>, Vec<u8>)],
) -> Step {
    let mut asked: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    visitor.head.fields(visitor.bytes).each(&mut |name, value| {
        asked.push((name.to_ascii_lowercase(), value.to_vec()));
    });
    let changes = &forward.route.request_headers;
    let (mut added, mut kept, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in sent {
        let text = String::from_utf8_lossy(name).into_owned();
        if asked.contains(&(name.clone(), value.clone())) {
            kept.push(text);
            continue;
        }
        let value = match &text[..] {
            // Values of the configuration may be secrets.
            _ if changes.replaces(name) => "(by request_headers)".to_owned(),
            "traceparent" => NEW.to_owned(),
            _ => short(&String::from_utf8_lossy(value)),
        };
        added.push(format!("{text}: {value}"));
    }
    for (name, _) in &asked {
        let is_there = sent.iter().any(|(other, _)| other == name);
        let text = String::from_utf8_lossy(name).into_owned();
        if !is_there && name != b"host" && !left.contains(&text) {
            left.push(text);
        }
    }
    for field in &added {
        step = step.line(format!("+ {field}"));
    }
    if !left.is_empty() {
        step = step.line(format!("- {}", left.join(", ")));
    }
    if !kept.is_empty() {
        step = step.line(format!("= {}", kept.join(", ")));
    }
    step.with("added", added)
        .with("stripped", left)
        .with("kept", kept)
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
