//! What lists and limits say.

use std::time::Duration;

use super::{Scene, Step, recorder::Rule, span};
use crate::{
    admit::{lists::AddressList, state::LimitDecision},
    config::model::{LimitAction, LimitCount},
    observe::limit_metrics::Kept,
};
use std::{net::IpAddr, sync::Arc};

/// Which lists speak of a client; `None` where there are none.
pub(super) fn lists(
    server: &[Arc<AddressList>],
    route: Option<(&[Arc<AddressList>], &[Arc<AddressList>])>,
    client: IpAddr,
    kept: Option<(&'static str, Kept)>,
) -> Option<Step> {
    let (allow, deny) = route.unwrap_or_default();
    let mut lines = Vec::new();
    for (place, lists) in [
        ("server.deny", server),
        ("route deny", deny),
        ("route allow", allow),
    ] {
        for list in lists {
            let is_on = if list.contains(client) {
                "on"
            } else {
                "not on"
            };
            lines.push((place, list.name, is_on));
        }
    }
    if lines.is_empty() {
        return None;
    }
    let said = match kept {
        None => "nothing keeps the client out".to_owned(),
        Some((list, Kept::Denied)) => format!("denied: the client is on {list:?}"),
        Some((_, Kept::NotAllowed)) => {
            "not allowed: the client is on none of the lists of allow".to_owned()
        }
    };
    let mut step = Step::new("lists", said).with("kept_out", kept.is_some());
    if let Some((list, _)) = kept {
        step = step.with("list", list);
    }
    for (place, list, is_on) in lines {
        step = step.line(format!("{place}: {is_on} {list:?}"));
    }
    Some(step)
}

/// What a rule says.
pub(super) fn rule(scene: &Scene<'_>, rule: &Rule) -> Step {
    let name = rule.name;
    let counts = match rule.count {
        LimitCount::All => "all",
        LimitCount::Origin => "origin",
    };
    let step = |said: String| {
        Step::new("limit", said)
            .with("limit", name)
            .with("count", counts)
            .with("by", rule.by.as_str())
    };
    let left = match &rule.left {
        Err(list) => {
            return step(format!(
                "{name}: does not count the client, who is on {list:?}"
            ))
            .with("decision", "exempt");
        }
        Ok(left) => left,
    };
    let Some(state) = &rule.state else {
        return step(format!("{name}: does not count the client"));
    };
    let said = match state.decision {
        _ if rule.is_skipped => "not asked: the one before refuses".to_owned(),
        LimitDecision::Admitted => "admitted".to_owned(),
        LimitDecision::WouldReject => "beyond the rate, and only logged".to_owned(),
        LimitDecision::Delayed => format!("held back for {}", span(state.delay)),
        LimitDecision::Rejected => format!("refused, Retry-After: {}", state.retry_after),
    };
    let what = match rule.count {
        LimitCount::All => "all requests",
        LimitCount::Origin => "requests that the store does not answer",
    };
    let told = step(format!("{name}: {said}"))
        .with("decision", state.decision.as_str())
        .with("skipped", rule.is_skipped)
        .with("burst", left.burst)
        .with("pause_ms", millis(left.pause))
        .line(format!(
            "counts {what} by {}; one more each {}, {} at once{}",
            rule.by,
            span(left.pause),
            left.burst,
            match rule.action {
                LimitAction::Delay { max } => format!("; held back for {} at most", span(max)),
                LimitAction::Log => "; only logs".to_owned(),
                LimitAction::Reject => String::new(),
            }
        ));
    if !scene.is_running {
        return told.line("what the client has left is unknown; it is taken to be rested");
    }
    let told = told
        .with("left", left.tokens)
        .with("full_in_ms", millis(left.full_in));
    told.line(match left.is_known && left.full_in > Duration::ZERO {
        true => format!(
            "{} of {} left before it, all again in {}",
            left.tokens,
            left.burst,
            span(left.full_in)
        ),
        false => format!(
            "{0} of {0} left before it: the client is rested",
            left.burst
        ),
    })
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
