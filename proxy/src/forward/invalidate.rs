//! What of the store a successful unsafe request makes untrue.

use std::time::SystemTime;

use http::header::{CONTENT_LOCATION, LOCATION};
use http_caching::Fields;

use crate::{
    cache::purge,
    edge::{Forward, Scheme, keyed::KeyedTarget, path},
    shared::Shared,
};

/// Drops what is stored for the target of such a request, and for what its answer points at within the
/// same origin (RFC 9111 §4.4).
pub(crate) fn invalidate(
    shared: &Shared,
    scheme: Scheme,
    forward: &Forward,
    response: &dyn Fields,
) {
    let Some(policy) = &forward.route.invalidates else {
        return;
    };
    let authority = &forward.authority;
    let mut targets = vec![forward.target.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let mut first = true;
        response.for_each(&name, &mut |value| {
            if !std::mem::take(&mut first) {
                return;
            }
            let named = std::str::from_utf8(value)
                .ok()
                .and_then(|at| http_caching::same_origin_target(scheme.as_str(), authority, at))
                .map(|(path, query)| match query {
                    Some(query) => format!("{path}?{query}"),
                    None => path.to_owned(),
                });
            targets.extend(named);
        });
    }
    let uris = targets.iter().filter_map(|target| {
        let target = path::normalise(target, forward.route.encoded_slashes).ok()?;
        let uri = KeyedTarget::new(policy, &target).uri(scheme, authority);
        Some(purge::uri_number(&uri))
    });
    if let Err(why) = shared
        .store
        .purges
        .invalidate(uris.collect(), SystemTime::now())
    {
        tracing::warn!(%why, "an invalidation could not be written down");
    }
}
