//! Which fields end at this hop (RFC 9110 §7.6.1) and are neither forwarded nor stored
//! (RFC 9111 §3.1).

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName};

use crate::fields::{Fields, members};

/// Fields of one hop, with or without a `Connection` that names them. `Trailer` is not among them:
/// since RFC 9110 §6.6.2 it travels with the message.
const ALWAYS: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
];

/// Fields meant for every recipient, which no sender may name in `Connection`. A client could
/// otherwise have us forward its request without them.
const NEVER: [HeaderName; 5] = [HOST, CONTENT_LENGTH, CONTENT_ENCODING, CACHE_CONTROL, VARY];

/// The fields of this message to remove when it is forwarded or stored: `Connection`, those it
/// names, and those that always concern one hop. Only names that are present, each once.
pub fn hop_by_hop(fields: &HeaderMap) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> =
        ALWAYS.into_iter().filter(|name| fields.contains_key(name)).collect();
    fields.for_each(&CONNECTION, &mut |value| {
        for member in members(value) {
            if let Ok(name) = HeaderName::from_bytes(member)
                && fields.contains_key(&name)
                && !NEVER.contains(&name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    });
    names
}

#[cfg(test)]
mod tests;
