//! What the shop is asked when its answer is to be shared.
//!
//! What is not in the key must not shape what is stored. So this request is not the visitor's: it is
//! composed here, from the key, from the fields that the policy or the shop's own `Vary` name, and from
//! what we say of ourselves. Everything else of the visitor's request stays behind; if the answer then
//! is none to be shared, the visitor's own request goes out whole.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, COOKIE, ETAG, FORWARDED, HOST,
        IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
        TE, UPGRADE_INSECURE_REQUESTS, USER_AGENT, VARY, VIA,
    },
};
use http_caching::Fields;
use pingora_error::{Error, ErrorType::InvalidHTTPHeader, OrErr, Result};
use pingora_http::RequestHeader;

use super::Order;
use crate::{
    cache::{
        head::{HeadFields, VIA_SELF, value},
        store::Variation,
    },
    edge::keyed::FORWARDED_URL,
    forward::{forwarded_for, traceparent},
    random,
    respond::fields::{
        NEVER_FORWARDED, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
        X_REQUEST_ID,
    },
    route::{action::Refused, headers::RequestHeaders, template::Values},
};

/// What a shop that wants to know sees of us where no visitor's browser counts.
const AGENT: &str = concat!("dhal/", env!("CARGO_PKG_VERSION"));

/// Fields whose value follows from the key, or that never reach a shop with such a request, so that
/// `Vary` may name them without consequence. Shops are asked for plain content: compressing is our part.
const SETTLED: [HeaderName; 4] = [HOST, X_FORWARDED_PROTO, X_FORWARDED_HOST, ACCEPT_ENCODING];

/// Fields that are never a visitor's: those of one hop, of conditions and parts, and what is ours to say.
const UNTOLD: [HeaderName; 18] = [
    X_FORWARDED_FOR,
    X_REQUEST_ID,
    TRACEPARENT,
    HeaderName::from_static("tracestate"),
    VIA,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("upgrade"),
    HeaderName::from_static("expect"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("content-length"),
    TE,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// Fields of a visitor's request that say nothing about the page it wants.
const HARMLESS: [HeaderName; 24] = [
    HOST,
    ACCEPT_ENCODING,
    CACHE_CONTROL,
    CONNECTION,
    PRAGMA,
    TE,
    UPGRADE_INSECURE_REQUESTS,
    USER_AGENT,
    VIA,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
    TRACEPARENT,
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("dnt"),
    HeaderName::from_static("priority"),
    HeaderName::from_static("content-length"),
];

/// A request to fill the store with, and the fields that could shape its answer.
pub(super) struct Composed {
    pub(super) header: RequestHeader,
    /// What it says of the visitor or of us, for comparing by `Vary`.
    pub(super) sent: HeaderMap,
}

/// The fields of `Vary` that tell responses of one key apart; `None` where the shop names some that it
/// is never asked with, so that nobody can say whom the answer is for.
pub(super) fn significant(
    vary: &[HeaderName],
    changes: &RequestHeaders,
) -> Option<Vec<HeaderName>> {
    // What the route says itself is the same for one key, unless it says who asks.
    let never = |name: &HeaderName| match changes.has(name) {
        true => changes.is_personal(name),
        false => NEVER_FORWARDED.contains(&name.as_str()) || UNTOLD.contains(name),
    };
    if vary.iter().any(never) {
        return None;
    }
    let kept = vary.iter().filter(|name| !SETTLED.contains(name));
    // Beside what the route adds, what a visitor says goes along.
    let kept = kept.filter(|name| !changes.replaces(name.as_str().as_bytes()));
    Some(kept.cloned().collect())
}

/// Whether a response to a request with the fields `sent`, which varies on these, is one for `request`.
pub(super) fn fits(vary: &[HeaderName], sent: &HeaderMap, request: &HeaderMap) -> bool {
    let value = |fields: &HeaderMap, name: &HeaderName| {
        let mut out = Vec::new();
        http_caching::variance(std::slice::from_ref(name), fields, &mut out);
        out
    };
    vary.iter()
        .all(|name| value(sent, name) == value(request, name))
}

/// The fields that an answer names in `Vary`.
pub(super) fn named_by_vary(response: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for line in response.get_all(VARY) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            match name.trim_ascii() {
                b"" | b"*" => {}
                name => names.extend(HeaderName::from_bytes(name)),
            }
        }
    }
    names.retain(|name| !SETTLED.contains(name));
    names
}

/// Whether the visitor's request says no more about the page it wants than the composed one does.
pub(super) fn is_all_of(order: &Order, sent: &HeaderMap) -> bool {
    let fields = &order.fields;
    let changes = &order.fetch.own.route.request_headers;
    order.method == Method::GET
        && !fields.contains_key(RANGE)
        && !fields.contains_key(IF_RANGE)
        && fields.iter().all(|(name, value)| {
            let everything = *name == ACCEPT && value == "*/*";
            everything
                || HARMLESS.contains(name)
                || name.as_str().starts_with("sec-fetch-")
                || NEVER_FORWARDED.contains(&name.as_str())
                || changes.replaces(name.as_str().as_bytes())
                || sent.get_all(name).iter().any(|there| there == value)
        })
}

/// The request for a key, for those who want to know; `None` where it cannot be composed.
pub(crate) fn told(
    order: &Order,
    variation: Option<&Variation>,
    stored: Option<HeadFields<'_>>,
) -> Option<RequestHeader> {
    let composed = compose(order, variation, stored, &[]).ok()?;
    Some(composed.header)
}

/// Composes the request. The stored response is validated by all that it has for that; or others, which
/// the shop may choose from, by their entity tags (RFC 9111 §4.3.1).
pub(super) fn compose(
    order: &Order,
    variation: Option<&Variation>,
    stored: Option<HeadFields<'_>>,
    others: &[HeadFields<'_>],
) -> Result<Composed> {
    let fetch = &order.fetch;
    let mut sent = HeaderMap::new();
    sent.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let policy = fetch.own.route.policy.as_ref();
    let keyed = policy.map(|policy| &policy.key);
    let named = keyed.map_or(&[][..], |key| &key.fields);
    let varies = variation.map_or(&[][..], |variation| &variation.fields);
    for name in named.iter().chain(varies) {
        sent.remove(name);
        for value in order.fields.get_all(name) {
            sent.append(name.clone(), value.clone());
        }
    }
    if let Some(key) = keyed
        && !sent.contains_key(COOKIE)
        && let Some(cookies) = http_caching::key::keyed_cookies(&order.fields, &key.cookies)
        && let Ok(cookies) = HeaderValue::from_bytes(&cookies)
    {
        sent.insert(COOKIE, cookies);
    }

    let route = &fetch.own.route;
    // Everything that takes the place of placeholders follows from the key, but for who asks.
    let values = Values {
        client: order.client,
        request_id: &order.request_id,
        ..Values::new(order.scheme.as_str(), &fetch.own.authority, &fetch.target)
    };
    let target = match &route.rewrite {
        None => Cow::Borrowed(fetch.target.as_str()),
        Some(rewrite) => {
            let applied = rewrite.apply(&values, &fetch.target);
            applied.map_err(|Refused(why)| Error::explain(InvalidHTTPHeader, why))?
        }
    };
    let mut header = RequestHeader::build_no_case(Method::GET, target.as_bytes(), Some(24))?;
    header.set_version(http::Version::HTTP_11);
    let host = route.upstream_host.as_deref();
    header.insert_header(HOST, value(host.unwrap_or(&fetch.own.authority)))?;
    for (name, value) in &sent {
        header.append_header(name.clone(), value.clone())?;
    }
    let named_in = order.snapshot.bounds.visitors.forwarded_field;
    let believed = order.trusted.then_some(named_in);
    let chain = forwarded_for(&order.fields, believed, order.peer, order.client);
    header.insert_header(X_FORWARDED_FOR, chain)?;
    header.insert_header(X_FORWARDED_PROTO, order.scheme.as_str())?;
    header.insert_header(X_FORWARDED_HOST, value(&fetch.own.authority))?;
    if order.trusted {
        // These stand in the key; see `decide`.
        for name in FORWARDED_URL {
            if let Some(said) = order.fields.get(&name) {
                header.insert_header(name, said.clone())?;
            }
        }
    }
    header.insert_header(X_REQUEST_ID, value(&order.request_id))?;
    let trace = traceparent(&random::id());
    let trace = HeaderValue::from_bytes(&trace).or_err(InvalidHTTPHeader, "trace")?;
    header.insert_header(TRACEPARENT, trace)?;
    header.insert_header(VIA, VIA_SELF)?;
    change(&route.request_headers, &values, &mut header)?;
    if let Some(stored) = stored {
        for (name, value) in http_caching::conditions(&stored) {
            header.insert_header(name, value)?;
        }
    }
    let mut tags: Vec<Vec<u8>> = Vec::new();
    for fields in others {
        fields.for_each(&ETAG, &mut |tag| tags.push(tag.to_vec()));
    }
    if !tags.is_empty() {
        tags.dedup();
        let list = HeaderValue::from_bytes(&tags.join(&b", "[..]));
        header.insert_header(
            IF_NONE_MATCH,
            list.or_err(InvalidHTTPHeader, "entity tags")?,
        )?;
    }
    Ok(Composed { header, sent })
}

/// What the route changes.
fn change(changes: &RequestHeaders, values: &Values<'_>, header: &mut RequestHeader) -> Result<()> {
    for name in changes.replaced() {
        header.remove_header(name);
    }
    let mut done = Ok(());
    changes.each(values, |name, text| {
        if done.is_ok() {
            done = header.append_header(name.clone(), value(text)).map(|_| ());
        }
    });
    done
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_LANGUAGE;

    use super::*;
    use crate::{
        config::model::PathPattern,
        route::template::{Known, Template},
    };

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn vary_counts_as_far_as_a_visitor_can_shape_it() {
        let names = |names: &[&'static str]| -> Vec<HeaderName> {
            names.iter().copied().map(HeaderName::from_static).collect()
        };
        let plain = RequestHeaders::default();
        assert_eq!(
            significant(
                &names(&["accept-encoding", "accept-language", "host"]),
                &plain
            ),
            Some(vec![ACCEPT_LANGUAGE])
        );
        assert_eq!(significant(&names(&["x-forwarded-for"]), &plain), None);
        assert_eq!(significant(&names(&["forwarded", "accept"]), &plain), None);
    }

    #[test]
    fn vary_counts_as_far_as_the_route_leaves_it_to_visitors() {
        let template = |text: &str| {
            let known = Known {
                path: &PathPattern::Prefix("/".to_owned()),
                regex: None,
                visitor: true,
            };
            Template::parse(text, &known).expect("a template")
        };
        let name = HeaderName::from_static;
        let changes = RequestHeaders::new(
            vec![
                (name("x-real-ip"), template("{client_ip}")),
                (name("x-edge"), template("{host}")),
            ],
            vec![(name("accept-language"), template("bn"))],
            vec![name("accept")],
        );
        for (vary, wanted) in [
            ("x-edge", Some(vec![])),
            ("accept", Some(vec![])),
            ("accept-language", Some(vec![ACCEPT_LANGUAGE])),
            // Nobody could say whom the answer is for.
            ("x-real-ip", None),
        ] {
            assert_eq!(significant(&[name(vary)], &changes), wanted, "{vary}");
        }
    }

    #[test]
    fn an_answer_fits_who_would_have_asked_the_same() {
        let vary = [ACCEPT_LANGUAGE];
        let none = map(&[]);
        let bengali = map(&[("accept-language", "bn, en")]);
        let spaced = map(&[("accept-language", "bn,en")]);
        assert!(fits(&vary, &none, &none));
        assert!(!fits(&vary, &none, &bengali));
        assert!(fits(&vary, &bengali, &spaced));
        assert!(fits(&[], &none, &bengali));
    }
}
