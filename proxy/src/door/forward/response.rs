//! The shop's answer: refused where it breaks HTTP, and completed with our own fields.

use http::{
    StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, VIA},
};
use http_caching::targeted::DHAL_CACHE_CONTROL;
use pingora::{Error, ErrorType, Result, http::ResponseHeader};

use super::{Handover, exchange::Exchange};
use crate::{
    cache::{
        head::{FOR_CACHES, VIA_SELF, value},
        status::{CACHE_STATUS, Outcome},
    },
    respond::{
        failure::kind,
        fields::{RATELIMIT, RATELIMIT_POLICY, X_REQUEST_ID, ratelimit, ratelimit_policy},
    },
};

/// Refuses an answer whose end cannot be known for certain (RFC 9112 §6.3), and a change of protocol
/// that the client did not ask for (RFC 9110 §7.8).
pub(crate) fn check(response: &ResponseHeader, upgrade_asked: bool) -> Result<()> {
    let lengths = response.headers.get_all(CONTENT_LENGTH).iter().count();
    let codings: Vec<_> = response.headers.get_all(TRANSFER_ENCODING).iter().collect();
    let wrong = if response.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade_asked {
        Some("another protocol that nobody asked for")
    } else if lengths > 1 {
        Some("several Content-Length fields")
    } else if lengths == 1 && !codings.is_empty() {
        Some("Content-Length together with Transfer-Encoding")
    } else if codings.len() > 1
        || codings
            .iter()
            .any(|c| !c.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        Some("Transfer-Encoding other than chunked")
    } else {
        None
    };
    match wrong {
        None => Ok(()),
        Some(why) => {
            let mut error = Error::explain(ErrorType::Custom(kind::BAD_ANSWER), why);
            error.as_up();
            Err(error)
        }
    }
}

/// How the store took part: it did not.
pub(super) fn outcome(handover: &Handover) -> Outcome {
    Outcome::Forwarded {
        reason: handover.forward.reason,
        stored: false,
        collapsed: false,
    }
}

/// Adds what every answer carries.
pub(super) fn complete(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        // The framing towards the client is Pingora's to say.
        for name in http_caching::hop_by_hop(&response.headers) {
            if name != TRANSFER_ENCODING {
                response.remove_header(&name);
            }
        }
    }
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let Some(handover) = &exchange.handover else {
        return Ok(());
    };
    // It speaks to us alone, whether the answer is stored or not (RFC 9213 §2).
    response.remove_header(&DHAL_CACHE_CONTROL);
    // Ours, whatever the shop speaks (RFC 9110 §2.5).
    response.set_version(Version::HTTP_11);
    response.append_header(VIA, VIA_SELF)?;
    response.insert_header(X_REQUEST_ID, value(&handover.request_id))?;
    if handover.forward.route.policy.is_some() {
        for name in FOR_CACHES {
            response.remove_header(name);
        }
        if let Some(status) = outcome(handover).field_value(None, None) {
            response.append_header(CACHE_STATUS, status)?;
        }
    }
    if let Some(limit) = &handover.forward.limit {
        response.insert_header(RATELIMIT_POLICY, value(&ratelimit_policy(limit)))?;
        response.insert_header(RATELIMIT, value(&ratelimit(limit)))?;
    }
    Ok(())
}
