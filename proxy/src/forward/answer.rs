//! The shop's answer as a visitor gets it: without what concerned our hop, and with our own fields.

use std::time::SystemTime;

use http::header::{CONNECTION, DATE, SET_COOKIE};
use http_caching::Fields;
use http1_wire::{
    request::RawFields,
    response::{Framing, Head},
};

use super::{Request, visitor::Announced};
use crate::{
    cache::{
        head::{FOR_CACHES, VIA_SELF},
        status::Outcome,
    },
    edge::Scheme,
    respond::{
        fields::{ratelimit, ratelimit_policy},
        hsts::Hsts,
        room::{CDN_CACHE_CONTROL, PRIVATE},
    },
};

/// The head of an answer where it lies in its buffer, with what is added to it.
pub struct AnswerHead<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    request: &'a Request<'a>,
}

impl<'a> AnswerHead<'a> {
    pub(super) fn new(head: &'a Head, bytes: &'a [u8], request: &'a Request<'a>) -> Self {
        Self {
            head,
            bytes,
            request,
        }
    }

    /// Status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Reason phrase; may be empty.
    pub fn reason(&self) -> &'a [u8] {
        self.head.reason(self.bytes)
    }

    /// All field lines as they came.
    pub(super) fn fields(&self) -> RawFields<'a> {
        self.head.fields(self.bytes)
    }

    /// What content follows.
    pub(super) fn announced(&self) -> Announced {
        match self.head.framing {
            Framing::None if self.head.status == 101 => Announced::Tunnel,
            // RFC 9110 §8.6: a length must not be told with these.
            Framing::None if self.head.status < 200 || self.head.status == 204 => {
                Announced::Nothing(None)
            }
            Framing::None => Announced::Nothing(self.head.length),
            Framing::Length(length) => Announced::Length(length),
            Framing::Chunked | Framing::UntilClose => Announced::Unknown,
        }
    }

    /// Each field line that the visitor gets, but for those of its connection and of the framing.
    /// Names are in the spelling of the shop.
    pub fn each(&self, mut f: impl FnMut(&[u8], &[u8])) {
        let fields = self.head.fields(self.bytes);
        let lines = self.request.forward.route.dress.lines(self.status());
        let passes = |name: &[u8]| {
            self.goes_on(name)
                && !(self.head.nominates && is_nominated(&fields, name))
                && !lines.is_some_and(|lines| lines.removes(name))
        };
        for (name, value) in fields.lines() {
            if passes(name) {
                f(name, value);
            }
        }
        if self.head.is_interim() {
            // Of those on the way to another answer only hints are read for what they say.
            let added = lines.filter(|_| self.status() == 103);
            for (name, value) in added.iter().flat_map(|lines| lines.added()) {
                f(name, value);
            }
            return;
        }
        // RFC 9110 §6.6.1: what has none was made now. A change of protocol need not say when.
        let removes_date = || lines.is_some_and(|lines| lines.removes(b"date"));
        if self.status() != 101 && !fields.contains(&DATE) && !removes_date() {
            f(
                b"date",
                httpdate::fmt_http_date(SystemTime::now()).as_bytes(),
            );
        }
        f(b"via", VIA_SELF.as_bytes());
        f(b"x-request-id", self.request.request_id.as_bytes());
        let forward = self.request.forward;
        if let Some(hsts) = self.hsts() {
            f(b"strict-transport-security", hsts.value().as_bytes());
        }
        if forward.route.policy.is_some()
            && let Some(status) = self.request.outcome().field_value(None, None)
        {
            f(b"cache-status", status.as_bytes());
        }
        if let Some(limit) = forward.limit.as_ref().filter(|limit| limit.is_told) {
            f(b"ratelimit-policy", ratelimit_policy(limit).as_bytes());
            f(b"ratelimit", ratelimit(limit).as_bytes());
        }
        for (name, value) in lines.iter().flat_map(|lines| lines.added()) {
            f(name, value);
        }
        let Some(pass) = &forward.room else { return };
        let mut is_cart = false;
        fields.for_each(&SET_COOKIE, &mut |value| is_cart |= pass.is_cart(value));
        let with_cart = if is_cart { pass.with_cart() } else { None };
        if let Some(cookie) = with_cart.as_deref().or_else(|| pass.cookie()) {
            f(b"set-cookie", cookie.as_bytes());
            f(b"cache-control", PRIVATE.as_bytes());
            f(CDN_CACHE_CONTROL.as_bytes(), PRIVATE.as_bytes());
        }
    }

    /// What browsers are told of TLS, in the place of what the shop says.
    fn hsts(&self) -> Option<Hsts> {
        let hsts = self.request.forward.route.hsts;
        hsts.filter(|_| self.request.scheme == Scheme::Https)
    }

    /// Whether a field travels on (RFC 9110 §7.6.1), and is not set anew.
    fn goes_on(&self, name: &[u8]) -> bool {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let forward = self.request.forward;
        let cached = forward.route.policy.is_some();
        let tells_limit = || forward.limit.as_ref().is_some_and(|limit| limit.is_told);
        // The length tells most names apart without looking at them.
        match name.len() {
            2 => !is(b"te"),
            // Most trailers end here, so that nothing announces them. A change of protocol is the exception
            // among the fields of one hop.
            7 => !(is(b"trailer") || (is(b"upgrade") && self.head.status != 101)),
            9 if is(b"cache-tag") => !cached,
            9 if is(b"ratelimit") => !tells_limit(),
            10 if is(b"connection") => self.head.status == 101,
            10 => !is(b"keep-alive"),
            12 => !is(b"x-request-id"),
            13 | 15 if cached => !FOR_CACHES.iter().any(|other| is(other.as_bytes())),
            14 => !is(b"content-length"),
            16 if is(b"ratelimit-policy") => !tells_limit(),
            16 => !is(b"proxy-connection"),
            17 if is(b"surrogate-control") => !cached,
            17 => !is(b"transfer-encoding"),
            // It speaks to us alone, whether the answer is stored or not (RFC 9213 §2).
            18 => !(is(b"dhal-cache-control") || is(b"proxy-authenticate")),
            19 => !is(b"proxy-authorization"),
            25 if is(b"strict-transport-security") => self.hsts().is_none(),
            25 => !is(b"proxy-authentication-info"),
            _ => true,
        }
    }
}

impl Request<'_> {
    /// How the store took part: it did not.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::Forwarded {
            reason: self.forward.reason,
            stored: false,
            collapsed: false,
        }
    }
}

/// Whether `Connection` names a field, and one that may be named: those for every recipient may not.
pub(super) fn is_nominated(fields: &dyn Fields, name: &[u8]) -> bool {
    // `Upgrade` goes along where the protocol changes, and nowhere else.
    let for_all: [&[u8]; 6] = [
        b"host",
        b"content-length",
        b"content-encoding",
        b"cache-control",
        b"vary",
        b"upgrade",
    ];
    if for_all.iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return false;
    }
    let mut named = false;
    fields.for_each(&CONNECTION, &mut |value| {
        named |= value
            .split(|b| *b == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name));
    });
    named
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn what_connection_may_name() {
        let mut fields = HeaderMap::new();
        for value in ["close, X-Secret", " , x-other"] {
            fields.append(CONNECTION, HeaderValue::from_static(value));
        }
        fields.append(CONNECTION, HeaderValue::from_static("vary, cache-control"));
        for (name, named) in [
            ("x-secret", true),
            ("X-OTHER", true),
            ("x-third", false),
            ("Vary", false),
            ("Cache-Control", false),
        ] {
            assert_eq!(is_nominated(&fields, name.as_bytes()), named, "{name}");
        }
    }
}
