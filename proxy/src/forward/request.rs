//! The request as a shop gets it: our own word on who asks, and nothing a visitor could pose with.

use std::{borrow::Cow, io::Write, net::IpAddr};

use http::{
    HeaderName, HeaderValue,
    header::{CONNECTION, TE, UPGRADE},
};
use http_caching::Fields;
use http1_wire::{Body, request::RawFields};

use super::{Request, answer::is_nominated};
use crate::{
    cache::head::{VIA_SELF, put_field, value},
    config::model::ForwardedField,
    observe::Protocol,
    random,
    respond::fields::{NEVER_FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO},
    route::{action::Refused, template::Values},
    upstream::connect::http2,
};

/// Options of `Connection` that a request may have.
const MAX_OPTIONS: usize = 10;

/// The field lines of a request, one after the other.
pub trait FieldLines: Fields + Sync {
    /// Calls `f` with name and value of each.
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8]));
}

impl FieldLines for RawFields<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.lines() {
            f(name, value);
        }
    }
}

/// What `Connection` says of a request's fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nominated {
    Nothing,
    /// Fields of this hop.
    Some,
}

/// Writes the head as HTTP/1.1 has it. `Err` says why a request is refused, see [`each_field`].
pub(super) fn compose(out: &mut Vec<u8>, request: &Request<'_>) -> Result<(), &'static str> {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target(request)?.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // One spelling of the authority, the one that stands in the cache key; HTTP/1.0 may have come without
    // any.
    put_field(out, "host", authority(request).as_bytes());
    each_field(request, |name, value| {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    })?;
    if request.content == Body::Unknown {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if request.upgrade {
        out.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The head as HTTP/2 has it (RFC 9113 §8.3). `Err` as with [`compose`], or where the target cannot be told.
pub(super) fn compose_http2(
    request: &Request<'_>,
    over_tls: bool,
) -> Result<http::Request<()>, &'static str> {
    let mut head = http2::request_head(
        request.method,
        over_tls,
        authority(request),
        &target(request)?,
    )
    .ok_or("the target cannot be told in HTTP/2")?;
    let fields = head.headers_mut();
    let mut odd = None;
    each_field(request, |name, value| {
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => {
                fields.append(name, value);
            }
            _ => odd = Some("a field cannot be told in HTTP/2"),
        }
    })?;
    // A visitor of HTTP/1.1 would not get them.
    if request.protocol == Protocol::Http2 && takes_trailers(request.fields) {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    odd.map_or(Ok(head), Err)
}

/// Target, authority and fields as a shop would get them, for those who want to know; `Err` as with [`compose`].
#[allow(clippy::type_complexity, reason = "fields are names and values")]
pub(crate) fn told(
    request: &Request<'_>,
) -> Result<(String, String, Vec<(Vec<u8>, Vec<u8>)>), &'static str> {
    let mut fields = Vec::new();
    each_field(request, |name, value| {
        fields.push((name.to_ascii_lowercase(), value.to_vec()))
    })?;
    Ok((
        target(request)?.into_owned(),
        authority(request).to_owned(),
        fields,
    ))
}

/// What a shop is asked for: what the visitor asked for, unless the route says otherwise.
fn target<'a>(request: &Request<'a>) -> Result<Cow<'a, str>, &'static str> {
    let forward = request.forward;
    match &forward.route.rewrite {
        None => Ok(Cow::Borrowed(&forward.target)),
        Some(rewrite) => {
            let applied = rewrite.apply(&values(request), &forward.target);
            applied.map_err(|Refused(why)| why)
        }
    }
}

/// `Host`, or `:authority`.
fn authority<'a>(request: &Request<'a>) -> &'a str {
    let forward = request.forward;
    let own = forward.route.upstream_host.as_deref();
    own.unwrap_or(&forward.authority)
}

/// What the request puts in the place of placeholders.
fn values<'a>(request: &Request<'a>) -> Values<'a> {
    let (authority, target) = (&request.forward.authority, &request.forward.target);
    Values {
        client: request.client,
        request_id: request.request_id,
        ..Values::new(request.scheme.as_str(), authority, target)
    }
}

/// Whether `TE` says that trailers are welcome (RFC 9110 §10.1.4).
fn takes_trailers(fields: &dyn Fields) -> bool {
    let mut takes = false;
    fields.for_each(&TE, &mut |value| {
        takes |= value
            .split(|b| *b == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    });
    takes
}

/// The fields that go along, whatever the server speaks; those of framing and of the connection are not among
/// them, but for `Content-Length`. `Err` says why a request is refused that takes fields away from itself which
/// others rely on (RFC 9110 §7.6.1).
fn each_field(
    request: &Request<'_>,
    mut put: impl FnMut(&[u8], &[u8]),
) -> Result<(), &'static str> {
    let nominated = nominated(request.fields)?;
    let changes = &request.forward.route.request_headers;
    let mut seen = Seen {
        proto: changes.replaces(X_FORWARDED_PROTO.as_str().as_bytes()),
        host: changes.replaces(X_FORWARDED_HOST.as_str().as_bytes()),
        trace: false,
    };
    request.fields.each(&mut |name, value| {
        // What is of this hop stands for nothing of ours.
        if !(nominated == Nominated::Some && is_nominated(request.fields, name))
            && passes(name, request, &mut seen)
            && !changes.replaces(name)
        {
            put(name, value);
        }
    });
    put_forwarded_for(&mut put, request);
    if !seen.proto {
        put(b"x-forwarded-proto", request.scheme.as_str().as_bytes());
    }
    if !seen.host {
        put(b"x-forwarded-host", request.forward.authority.as_bytes());
    }
    put_client_certificate(&mut put, request);
    put(b"x-request-id", request.request_id.as_bytes());
    if !seen.trace {
        put(b"traceparent", &traceparent(&random::id()));
    }
    put(b"via", VIA_SELF.as_bytes());
    if !changes.is_empty() {
        changes.each(&values(request), |name, value| {
            put(name.as_str().as_bytes(), value.as_bytes());
        });
    }
    Ok(())
}

/// Fields of a visitor that stand for ours.
#[derive(Default)]
struct Seen {
    proto: bool,
    host: bool,
    trace: bool,
}

fn passes(name: &[u8], request: &Request<'_>, seen: &mut Seen) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    // The length tells most names apart without looking at them.
    let own = match name.len() {
        2 => is(b"te"),
        4 => is(b"host"),
        7 => is(b"upgrade") || is(b"trailer"),
        10 => is(b"connection") || is(b"keep-alive"),
        11 if is(b"traceparent") => {
            seen.trace = true;
            return true;
        }
        12 => is(b"x-request-id"),
        // The length that the shop is told is the one that we count by.
        14 if is(b"content-length") => return request.content != Body::Unknown,
        14 => is(b"http2-settings"),
        15 => is(b"x-forwarded-for"),
        16 if is(b"x-forwarded-host") => {
            seen.host |= request.trusted;
            return request.trusted;
        }
        17 if is(b"x-forwarded-proto") => {
            seen.proto |= request.trusted;
            return request.trusted;
        }
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        18 => is(b"proxy-authenticate"),
        19 => is(b"proxy-authorization"),
        _ => false,
    };
    if own {
        return false;
    }
    // `X_Forwarded_For` is `X-Forwarded-For` to a shop behind CGI or WSGI.
    memchr::memchr(b'_', name).is_none() && !is_never_forwarded(name)
}

fn is_never_forwarded(name: &[u8]) -> bool {
    // They begin so, and hardly anything else does.
    matches!(name.first(), Some(b'x' | b'X' | b'f' | b'F' | b'c' | b'C'))
        && NEVER_FORWARDED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

fn put_forwarded_for(put: &mut impl FnMut(&[u8], &[u8]), request: &Request<'_>) {
    const NAME: &[u8] = b"x-forwarded-for";
    if request.trusted {
        let named_in = request.visitors.forwarded_field;
        let chain = forwarded_for(request.fields, Some(named_in), request.peer, request.client);
        return put(NAME, chain.as_bytes());
    }
    // The longest IPv6 address has no more.
    let mut text = [0; 48];
    let mut room = &mut text[..];
    let _ = write!(room, "{}", request.client);
    let left = room.len();
    put(NAME, &text[..text.len() - left]);
}

/// Whom a certificate names, on connections whose visitors are asked for one. Values that would be empty are left
/// out.
fn put_client_certificate(put: &mut impl FnMut(&[u8], &[u8]), request: &Request<'_>) {
    let Some(proof) = request.proof else { return };
    put(b"x-client-verify", proof.verdict().as_bytes());
    let Some(certificate) = &proof.certificate else {
        return;
    };
    for (name, value) in [
        ("client-cert", &certificate.whole),
        ("x-client-subject", &certificate.subject),
        ("x-client-issuer", &certificate.issuer),
        ("x-client-serial", &certificate.serial),
        ("x-client-fingerprint", &certificate.fingerprint),
        ("x-client-san", &certificate.names),
    ] {
        if !value.is_empty() {
            put(name.as_bytes(), value.as_bytes());
        }
    }
}

/// `00-…-…-00`: a new trace (W3C Trace Context).
pub(crate) fn traceparent(id: &[u8; 32]) -> [u8; 55] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    out[3..35].copy_from_slice(id);
    out[36..52].copy_from_slice(&id[8..24]);
    out
}

/// Checks the options of `Connection`: that there are few, and that none names a field by
/// which we vouch for the visitor.
fn nominated(fields: &dyn FieldLines) -> Result<Nominated, &'static str> {
    let mut options = 0;
    let mut nominated = Nominated::Nothing;
    let mut wrong = None;
    fields.for_each(&CONNECTION, &mut |value| {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() {
                continue;
            }
            options += 1;
            if options > MAX_OPTIONS {
                wrong = Some("too many options in Connection");
            } else if VOUCHED.iter().any(|name| option.eq_ignore_ascii_case(name)) {
                wrong = Some("Connection names a field of the next hop");
            }
            let own = [&b"close"[..], b"keep-alive", UPGRADE.as_str().as_bytes()];
            if !own.iter().any(|name| option.eq_ignore_ascii_case(name)) {
                nominated = Nominated::Some;
            }
        }
    });
    wrong.map_or(Ok(nominated), Err)
}

const VOUCHED: [&[u8]; 4] = [
    b"host",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// `X-Forwarded-For`: the visitor, or what a trusted proxy says in the field by which it is believed, and the proxy
/// itself. A chain in another form is not passed on, but for the visitor that it names.
pub(crate) fn forwarded_for(
    fields: &(impl Fields + ?Sized),
    believed: Option<ForwardedField>,
    peer: IpAddr,
    client: IpAddr,
) -> HeaderValue {
    let mut chain: Vec<u8> = Vec::new();
    if believed == Some(ForwardedField::XForwardedFor) {
        fields.for_each(&X_FORWARDED_FOR, &mut |value| {
            chain.extend_from_slice(value);
            chain.extend_from_slice(b", ");
        });
    }
    if chain.is_empty() {
        return value(&client.to_string());
    }
    chain.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| value(&client.to_string()))
}

/// Whether a visitor asks for a protocol that may take the connection over: WebSocket, and none that a
/// shop and we could read differently.
pub fn asks_for_websocket(fields: &dyn Fields) -> bool {
    let (mut asked, mut others) = (false, false);
    fields.for_each(&UPGRADE, &mut |value| {
        let websocket = value.eq_ignore_ascii_case(b"websocket");
        asked |= websocket;
        others |= !websocket;
    });
    asked && !others
}

#[cfg(test)]
mod tests;
