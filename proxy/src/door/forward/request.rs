//! The request as a shop gets it: our own word on who asks, and nothing a visitor could pose with.

use http::{
    HeaderName,
    header::{HOST, VIA},
};
use pingora::{Result, http::RequestHeader};

use super::Handover;
use crate::{
    cache::head::{VIA_SELF, value},
    forward::forwarded_for,
    random,
    respond::fields::{
        NEVER_FORWARDED, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
        X_REQUEST_ID,
    },
};

/// Sets what we vouch for and drops what we do not.
pub(super) fn prepare(request: &mut RequestHeader, handover: &Handover) -> Result<()> {
    for name in NEVER_FORWARDED {
        request.remove_header(name);
    }
    // `X_Forwarded_For` is `X-Forwarded-For` to a shop behind CGI or WSGI.
    let underscored: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in underscored {
        request.remove_header(&name);
    }
    let chain = forwarded_for(
        &request.headers,
        handover.trusted,
        handover.peer,
        handover.client,
    );
    request.insert_header(X_FORWARDED_FOR, chain)?;
    if !(handover.trusted && request.headers.contains_key(X_FORWARDED_PROTO)) {
        request.insert_header(X_FORWARDED_PROTO, handover.scheme.as_str())?;
    }
    if !(handover.trusted && request.headers.contains_key(X_FORWARDED_HOST)) {
        request.insert_header(X_FORWARDED_HOST, value(&handover.forward.authority))?;
    }
    // One spelling of the authority, the one that stands in the cache key; HTTP/1.0 may have come
    // without any.
    request.insert_header(HOST, value(&handover.forward.authority))?;
    request.insert_header(X_REQUEST_ID, value(&handover.request_id))?;
    if !request.headers.contains_key(TRACEPARENT) {
        let id = random::id();
        let trace = String::from_utf8_lossy(&id);
        request.insert_header(
            TRACEPARENT,
            value(&format!("00-{trace}-{}-00", &trace[8..24])),
        )?;
    }
    request.append_header(VIA, VIA_SELF)?;
    Ok(())
}
