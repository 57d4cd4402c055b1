//! `[cache]`: the store and its policies.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{self, File},
    model::{Cache, CachePolicy},
    read::Field,
    units::{Shown, secs},
};

/// Freshness in whole seconds at least, as in `Cache-Control`, and a year at most.
const TTL: RangeInclusive<Duration> = secs(1)..=secs(365 * 86_400);

pub(super) fn cache(given: Option<&file::Cache>, cx: &mut Context<'_>) -> Cache {
    let empty = file::Cache::empty(cx);
    let cache = given.unwrap_or(&empty);
    if let Some(disk) = cache.disk.given() {
        cx.error(
            disk.span(),
            Complaint::new("the disk store is not part of this version").help("remove `disk`"),
        );
    }
    let (memory, object) = (cache.memory.value, cache.max_object.value);
    if let (true, Some(span)) = (object > memory, &cache.max_object.span) {
        cx.error(
            span.clone(),
            format!("`max_object` is larger than `memory`, {}", memory.shown()),
        );
    }
    Cache {
        memory: memory.0,
        max_object: object.min(memory).0,
        lock_timeout: cache.lock_timeout.value,
    }
}

/// The name of the policy that every configuration has.
pub(super) const BUILT_IN_POLICY: &str = "default";

/// All policies, the built-in one first.
pub(super) fn policies(file: &File, cx: &mut Context<'_>) -> Vec<CachePolicy> {
    let mut policies = vec![CachePolicy {
        name: BUILT_IN_POLICY.to_owned(),
        ttl: None,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        ignore_query: Vec::new(),
        bypass_cookies: Vec::new(),
    }];
    for (name, policy) in file.policies().map_or(&[][..], Field::entries) {
        if name.get_ref() == BUILT_IN_POLICY {
            cx.error(
                name.span(),
                Complaint::new("the policy `default` is built in")
                    .help("choose another name, and name it in the routes"),
            );
        }
        let Some(policy) = policy.value() else {
            continue;
        };
        policies.push(self::policy(name.get_ref(), policy, cx));
    }
    policies
}

fn policy(name: &str, policy: &file::Policy, cx: &mut Context<'_>) -> CachePolicy {
    if let Some(ttl) = policy
        .ttl
        .given()
        .filter(|ttl| !TTL.contains(ttl.get_ref()))
    {
        let (least, most) = (TTL.start().shown(), TTL.end().shown());
        cx.error(
            ttl.span(),
            format!("`ttl` must lie between {least} and {most}"),
        );
    }
    for name in policy.ignore_query.items() {
        if name.get_ref().0 == "*" {
            cx.warning(
                name.span(),
                "all of the query is ignored: `/search?q=a` and `/search?q=b` share one response",
            );
        }
    }
    CachePolicy {
        name: name.to_owned(),
        ttl: policy.ttl.value().copied(),
        stale_while_revalidate: policy.stale_while_revalidate.value,
        stale_if_error: policy.stale_if_error.value,
        ignore_query: policy
            .ignore_query
            .items()
            .iter()
            .map(|name| name.get_ref().0.clone())
            .collect(),
        bypass_cookies: policy
            .bypass_cookies
            .items()
            .iter()
            .map(|name| name.get_ref().0.clone())
            .collect(),
    }
}
