//! Who would be asked, and whether there is a place for the request.

use super::{Scene, Step, limits::millis, span};
use crate::{config::model::Balance, upstream::Upstream};
use adaptive_concurrency::Class;

/// Servers that are told one by one.
const LISTED_MAX: usize = 32;

/// The place among the requests at work.
pub(super) fn places(scene: &Scene<'_>, upstream: &Upstream, class: Class) -> Option<Step> {
    let bounds = upstream.config.concurrency?;
    let class = class.as_str();
    let step = |said: String| Step::new("places", said).with("class", class);
    let state = match scene.is_running {
        true => upstream.lasting.concurrency.state(scene.now.tick),
        false => None,
    };
    let Some(state) = state else {
        let said = format!(
            "{} requests at work at most, class {class}; how many are is unknown",
            bounds.max
        );
        return Some(step(said));
    };
    let would = match state.at_work < state.limit && state.waiting == 0 {
        true => "starts at once",
        false => "waits, or is turned away with 503",
    };
    let said = format!(
        "{would}: {} of {} requests at work, {} wait; class {class}",
        state.at_work, state.limit, state.waiting
    );
    let step = step(said)
        .with("limit", state.limit)
        .with("at_work", state.at_work)
        .with("waiting", state.waiting);
    Some(step)
}

/// The servers, and who of them would be asked; its name where it is known.
pub(super) fn servers(
    scene: &Scene<'_>,
    upstream: &Upstream,
    key: &[u8],
) -> (Step, Option<String>) {
    let preview = upstream.preview(key, scene.now.tick);
    let balance = match upstream.config.balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastRequests => "least-requests",
        Balance::ConsistentHash => "consistent-hash",
    };
    let is_known = scene.is_running;
    let chosen = preview
        .chosen
        .filter(|_| is_known || preview.servers.len() == 1);
    let chosen = chosen.map(|at| preview.servers[at].server.name.clone());
    let name = upstream.name();
    let said = match &chosen {
        Some(server) => format!("{name:?}: {server}, {}", preview.why),
        None if !is_known => {
            format!(
                "{name:?}: one of {} servers ({balance}); who is well is unknown",
                preview.servers.len()
            )
        }
        None => format!("{name:?}: {}", preview.why),
    };
    let mut step = Step::new("upstream", said)
        .with("upstream", name)
        .with("balance", balance)
        .with("server", chosen.clone());
    if !is_known {
        let hosts: Vec<_> = upstream.hosts().collect();
        if !hosts.is_empty() {
            step = step.line(format!("{}: not resolved here", hosts.join(", ")));
        }
    }
    let mut servers = Vec::new();
    for one in &preview.servers {
        let server = &one.server;
        servers.push(serde_json::json!({
            "server": server.name,
            "weight": server.weight,
            "backup": server.backup,
            "class": is_known.then_some(one.class),
            "candidate": one.is_in,
            "at_work": server.state.in_flight(),
            "share_percent": one.percent().unwrap_or(100),
        }));
    }
    for one in preview.servers.iter().take(LISTED_MAX) {
        let server = &one.server;
        let mut line = format!("{} weight {}", server.name, server.weight);
        match is_known {
            true => line += &format!(", {}, {} at work", one.class, server.state.in_flight()),
            false if server.backup => line += ", backup",
            false => {}
        }
        if let Some(percent) = one.percent().filter(|_| is_known) {
            line += &format!(", starts slowly: {percent} % of its weight counts");
        }
        let notes = server.state.notes();
        for note in [
            notes.health.filter(|_| !server.state.is_up()),
            notes.ejection,
            notes.drain,
        ] {
            if let Some(note) = note {
                let since = scene.now.tick.saturating_sub(note.since);
                line += &format!(" ({}, {} ago)", note.why, span(since));
            }
        }
        step = step.line(line);
    }
    if preview.servers.len() > LISTED_MAX {
        step = step.line(format!("{} more", preview.servers.len() - LISTED_MAX));
    }
    let outage = upstream.lasting.outage.lasted(scene.now.tick);
    if let Some(lasted) = outage.filter(|_| is_known) {
        step = step.line(format!("no server has answered for {}", span(lasted)));
        step = step.with("outage_ms", millis(lasted));
    }
    (step.with("servers", servers), chosen)
}
