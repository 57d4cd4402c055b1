//! What of an exchange goes into the store, and what of the store it makes untrue.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, Method,
    header::{
        CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LOCATION, RANGE, TRANSFER_ENCODING,
    },
};
use http_caching::{CacheControl, Fields};
use pingora::{
    Result,
    cache::{CacheMeta, CachePhase, NoCacheReason},
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{Handover, exchange::Exchange};
use crate::{
    cache::{Store, storage::Judgement},
    edge,
};

/// Judges an answer by the rules of `http-caching` and by what the store can take. `waited` is the time
/// since the server was asked; a refusal says why.
pub(super) fn judge(
    store: &Store,
    session: &Session,
    response: &ResponseHeader,
    exchange: &Exchange,
    waited: Duration,
) -> Result<Result<CacheMeta, NoCacheReason>> {
    let route = exchange.handover.as_ref().map(|h| &h.forward.route);
    let Some(policy) = route.and_then(|route| route.policy.as_ref()) else {
        return Ok(Err(NoCacheReason::NeverEnabled));
    };
    let length = response.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > store.max_object()) {
        return Ok(Err(NoCacheReason::ResponseTooLarge));
    }
    let mut header = response.clone();
    if let Some(fresh) = &exchange.not_modified {
        // It must be about what is stored (RFC 9111 §4.3.4).
        let old = session.cache.maybe_cache_meta().map(|meta| meta.headers());
        if old.is_some_and(|old| !http_caching::confirms(old, fresh)) {
            return Ok(Err(NoCacheReason::Custom("not-confirmed")));
        }
        // All fields of the 304, not only those that Pingora merges (RFC 9111 §3.2).
        let mut fields = header.headers.clone();
        http_caching::update_stored(&mut fields, fresh);
        header = with_fields(&header, &fields)?;
    }
    if !has_known_end(&header) {
        // Nobody can tell a whole one from one that was cut off (RFC 9112 §8).
        return Ok(Err(NoCacheReason::Custom("unknown-length")));
    }
    let request = &session.req_header().headers;
    if may_be_personal(request, &header) {
        return Ok(Err(NoCacheReason::Custom("cookie")));
    }
    let now = SystemTime::now();
    // What fills the store is asked with GET.
    let judged = http_caching::storable(
        &Method::GET,
        request,
        header.status,
        &header.headers,
        &policy.rules,
        now.checked_sub(waited).unwrap_or(now),
        now,
    );
    Ok(match judged {
        Err(why) => Err(NoCacheReason::Custom(why.as_str())),
        Ok(rules) => {
            let judgement = Judgement {
                rules,
                response_time: now,
            };
            Ok(judgement.meta(header))
        }
    })
}

/// A response to a request with cookies may be about their owner, unless the origin says that it is
/// for everyone.
fn may_be_personal(request: &dyn Fields, response: &ResponseHeader) -> bool {
    let control = CacheControl::parse(&response.headers);
    request.contains(&COOKIE) && !control.public && control.s_maxage.is_none()
}

/// Whether the framing says where a response ends, rather than the end of the connection.
fn has_known_end(response: &ResponseHeader) -> bool {
    let fields = &response.headers;
    fields.contains_key(CONTENT_LENGTH)
        || fields.contains_key(TRANSFER_ENCODING)
        || matches!(response.status.as_u16(), 204 | 304)
}

/// The same status under other fields.
fn with_fields(header: &ResponseHeader, fields: &HeaderMap) -> Result<ResponseHeader> {
    let mut new = ResponseHeader::build(header.status, Some(fields.len()))?;
    for (name, value) in fields {
        new.append_header(name.clone(), value.clone())?;
    }
    Ok(new)
}

/// Whether the answer at hand is on its way from a server into the store. Cut short for the client, it
/// would be cut short for the store as well.
pub(super) fn is_filling(session: &Session) -> bool {
    matches!(
        session.cache.phase(),
        CachePhase::Miss | CachePhase::Expired
    )
}

/// A refresh wants the whole response, whatever its visitor wanted of it.
pub(super) fn ask_for_all(request: &mut RequestHeader) {
    request.set_method(Method::GET);
    for name in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        request.remove_header(&name);
    }
}

/// Drops what is stored for the target of a successful unsafe request, and for what its answer points
/// at within the same origin (RFC 9111 §4.4).
pub(super) fn invalidate(store: &Store, handover: &Handover, response: &ResponseHeader) {
    let Some(policy) = &handover.forward.route.policy else {
        return;
    };
    let scheme = handover.scheme.as_str();
    let authority = &handover.forward.authority;
    let target = &handover.forward.target;
    let mut targets: Vec<(&str, Option<&str>)> = vec![match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }];
    let fields = [LOCATION, CONTENT_LOCATION].map(|name| response.headers.get(name)?.to_str().ok());
    let named = fields.into_iter().flatten();
    targets.extend(named.filter_map(|at| http_caching::same_origin_target(scheme, authority, at)));
    for (path, query) in targets {
        let query = query.and_then(|query| edge::decide::keyed_query(policy, query));
        let mut key = Vec::with_capacity(128);
        http_caching::cache_key(scheme, authority, path, query.as_deref(), &mut key);
        store.remove(&key);
    }
}
