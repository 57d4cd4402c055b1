//! The store's part: the key, what lies there, and why it answers or does not.

use http_caching::Reuse;

use super::{Scene, Step, bytes, limits::millis, recorder::Recorder, span};
use crate::{
    cache::{Stored, disk::Loaded, status::readable},
    edge::{Fetch, observer::Why},
    snapshot::Policy,
};

/// The policy, the key, and what of the request stands in it.
pub(super) fn plan(recorder: &Recorder, policy: Option<&Policy>) -> Option<Step> {
    let why = recorder.passed.map(|why| (why, told(why, policy)));
    let Some(policy) = policy else {
        let (why, said) = why?;
        return Some(Step::new("cache", said).with("passed", why.as_str()));
    };
    let mut step = match &why {
        Some((_, said)) => Step::new("cache", format!("policy {:?}: {said}", policy.name)),
        None => Step::new("cache", format!("policy {:?}", policy.name)),
    };
    step = step.with("policy", policy.name.as_str());
    if let Some((why, _)) = why {
        step = step.with("passed", why.as_str());
    }
    let Some(key) = &recorder.key else {
        return Some(step);
    };
    let key = readable(key, recorder.uri_length).trim_end().to_owned();
    step = step.line(format!("key {key}")).with("key", key);
    let ignored = ignored(recorder.target.as_deref().unwrap_or_default(), policy);
    if !ignored.is_empty() {
        step = step.line(format!("ignored parameters: {}", ignored.join(", ")));
        step = step.with("ignored", ignored);
    }
    let fields = policy.key.fields.iter().map(|name| format!("field {name}"));
    let cookies = policy
        .key
        .cookies
        .iter()
        .map(|name| format!("cookie {name}"));
    let keyed: Vec<_> = fields.chain(cookies).collect();
    if !keyed.is_empty() {
        step = step
            .line(format!("keyed on {}", keyed.join(", ")))
            .with("keyed_on", keyed);
    }
    if let Some(window) = recorder.window {
        let line = format!(
            "no server can answer: what is stored does for {} after its end (shop_window)",
            span(window)
        );
        step = step.line(line).with("shop_window_s", window.as_secs());
    }
    Some(step)
}

/// The parameters that the policy leaves out.
fn ignored(target: &str, policy: &Policy) -> Vec<String> {
    let Some((_, query)) = target.split_once('?') else {
        return Vec::new();
    };
    let all = query.split('&').filter(|parameter| !parameter.is_empty());
    all.filter(|one| http_caching::keyed_query(one, &policy.key).is_none())
        .map(|one| one.split('=').next().unwrap_or_default().to_owned())
        .collect()
}

fn told(why: Why, policy: Option<&Policy>) -> String {
    match why {
        Why::NoPolicy => "none: the route has no policy, so that nothing is stored".to_owned(),
        Why::Method => "only answers to GET and HEAD are stored".to_owned(),
        Why::OriginOnly => {
            "only a server can answer this one: content, If-Match, If-Unmodified-Since, Upgrade, or a \
             Connection that takes fields away"
                .to_owned()
        }
        Why::NoStore => "the request says no-store, and client_cache_control is \"honour\"".to_owned(),
        Why::BypassCookie => {
            let names = policy.map_or(&[][..], |policy| &policy.bypass_cookies);
            format!("the request has a cookie of bypass_cookies ({})", names.join(", "))
        }
        Why::Credentials => {
            "the request has credentials, and nothing is stored that may be shared with such".to_owned()
        }
        Why::Uncacheable => {
            "the last answer under this key could not be stored, which is remembered for 30 s".to_owned()
        }
    }
}

/// What lies under the key.
pub(super) struct Lies {
    pub(super) step: Step,
    /// Found on the disk by a fetch: what it is good for.
    pub(super) on_disk: Option<Reuse>,
}

/// What is stored, in memory or on the disk. Blocks.
pub(super) fn stored(
    scene: &Scene<'_>,
    recorder: &Recorder,
    fetch: Option<&Fetch>,
    fields: &http::HeaderMap,
) -> Option<Lies> {
    let key = recorder.key.as_ref()?;
    if !scene.is_running {
        let step = Step::new(
            "store",
            "unknown: only the running edge knows what is stored",
        );
        return Some(Lies {
            step: step.with("known", false),
            on_disk: None,
        });
    }
    let store = &scene.shared.store;
    if let Some((stored, reuse)) = &recorder.judged {
        let place = if stored.is_on_disk() {
            "on disk"
        } else {
            "in memory"
        };
        let step = response(scene, stored, *reuse, place);
        return Some(Lies {
            step: variants(scene, step, key),
            on_disk: None,
        });
    }
    // A cookie has kept it from being looked for.
    recorder.missed?;
    if fetch.is_some()
        && let Some((stored, reuse)) = on_disk(scene, key, fields)
    {
        let step = response(scene, &stored, reuse, "on disk");
        return Some(Lies {
            step: variants(scene, step, key),
            on_disk: Some(reuse),
        });
    }
    let said = match store.variation(key) {
        Some(_) => "nothing for these field values",
        None => "nothing under this key",
    };
    let mut step = Step::new("store", said).with("found", false);
    if store.is_uncacheable(key) {
        step = step.line(match store.looks_too_large(key) {
            true => "the last answer was too large to be stored",
            false => "the last answer could not be shared",
        });
    }
    if scene.shared.flights.has(key) {
        step = step.line("a fetch for this key is on its way, which this request would share");
        step = step.with("collapsed", true);
    }
    Some(Lies {
        step: variants(scene, step, key),
        on_disk: None,
    })
}

/// What a fetch would find on the disk.
fn on_disk(scene: &Scene<'_>, key: &[u8], fields: &http::HeaderMap) -> Option<(Stored, Reuse)> {
    let disk = scene.shared.disk.as_ref()?;
    let purges = &scene.shared.store.purges;
    let forgotten = purges.forgotten();
    let variant;
    let key = match scene.shared.store.variation(key) {
        Some(variation) => {
            variant = variation.variant(fields);
            &variant
        }
        None => key,
    };
    // What an earlier process knew to vary is looked at by the fetch itself.
    let Some(Loaded::Response(stored)) = disk.look(key, forgotten) else {
        return None;
    };
    if !purges.lets_stand(&stored) {
        return None;
    }
    let now = scene.now.wall;
    let control = http_caching::CacheControl::default();
    let reuse = http_caching::reuse(
        &stored.lifetimes(),
        stored.age(now),
        stored.purged_softly(now),
        &control,
    );
    Some((stored, reuse))
}

fn response(scene: &Scene<'_>, stored: &Stored, reuse: Reuse, place: &str) -> Step {
    let now = scene.now.wall;
    let (age, ttl, lifetimes) = (stored.age(now), stored.ttl(now), stored.lifetimes());
    let left = std::time::Duration::from_secs(ttl.unsigned_abs());
    let softly = stored.purged_softly(now);
    let fresh = match reuse {
        Reuse::Fresh => format!("fresh for {} more", span(left)),
        Reuse::WhileRevalidate if softly.is_some() => {
            "purged softly, answers while it is fetched anew".to_owned()
        }
        Reuse::WhileRevalidate => format!(
            "stale since {}, answers while it is fetched anew",
            span(left)
        ),
        Reuse::IfError if softly.is_some() => "purged softly, to be validated".to_owned(),
        Reuse::IfError => format!(
            "stale since {}, to be validated; answers should that fail",
            span(left)
        ),
        Reuse::Validate if ttl > 0 => "to be validated".to_owned(),
        Reuse::Validate => format!("stale since {}, to be validated", span(left)),
    };
    let mut step = Step::new("store", format!("{} {place}: {fresh}", stored.status()))
        .with("found", true)
        .with("place", place)
        .with("status", stored.status())
        .with("age_s", age.as_secs())
        .with("ttl_s", ttl)
        .with("size", stored.content_length())
        .with(
            "stale_while_revalidate_s",
            lifetimes.stale_while_revalidate.as_secs(),
        )
        .with("stale_if_error_s", lifetimes.stale_if_error.as_secs())
        .line(format!(
            "age {} of {}; stale-while-revalidate {}, stale-if-error {}",
            span(age),
            span(lifetimes.lifetime),
            span(lifetimes.stale_while_revalidate),
            span(lifetimes.stale_if_error)
        ));
    let forms = stored.encoded().map_or("", |_| ", with compressed forms");
    step = step.line(format!(
        "{} of content{forms}",
        bytes(stored.content_length())
    ));
    if let Some(softly) = softly {
        step = step.line(format!("purged softly {} ago", span(softly)));
        step = step.with("purged_softly_ms", millis(softly));
    }
    if stored.rests(now) {
        step = step.line("a refresh has failed just now, so that none is tried");
    }
    // Their names are for caches like this one, and not kept.
    match stored.stamp().tags.len() {
        0 => {}
        1 => step = step.line("1 tag by which it can be purged"),
        tags => step = step.line(format!("{tags} tags by which it can be purged")),
    }
    step = step.with("tags", stored.stamp().tags.len());
    step
}

/// What the responses under a key vary on.
fn variants(scene: &Scene<'_>, step: Step, key: &[u8]) -> Step {
    let Some(variation) = scene.shared.store.variation(key) else {
        return step;
    };
    let names: Vec<_> = variation.fields.iter().map(ToString::to_string).collect();
    step.line(format!("answers vary on {}", names.join(", ")))
        .with("varies_on", names)
}
