//! What of a request stands in its cache key, and so reaches the shop with a fetch.

use std::borrow::Cow;

use http::HeaderName;

use super::{RequestView, Scheme, path};
use crate::{
    respond::fields::{X_FORWARDED_HOST, X_FORWARDED_PROTO},
    snapshot::Policy,
};

/// A target as the key has it, and as the shop is asked for it.
pub(crate) struct KeyedTarget<'a> {
    path: &'a str,
    query: Option<Cow<'a, str>>,
}

/// A cache key.
pub(crate) struct Key {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of it that are the URI; chosen fields and cookies follow.
    pub(crate) uri_length: usize,
}

impl<'a> KeyedTarget<'a> {
    pub(crate) fn new(policy: &Policy, target: &'a path::Target<'_>) -> Self {
        let query = target.query();
        Self {
            path: target.path(),
            query: query.and_then(|query| http_caching::keyed_query(query, &policy.key)),
        }
    }

    /// The URI's part of the key.
    pub(crate) fn uri(&self, scheme: Scheme, authority: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(160);
        let query = self.query.as_deref();
        http_caching::cache_key(scheme.as_str(), authority, self.path, query, &mut key);
        key
    }

    /// All of the key. `trusted` says whether the peer's forwarding fields are believed.
    pub(super) fn key(
        &self,
        trusted: bool,
        policy: &Policy,
        request: &RequestView<'_>,
        authority: &str,
    ) -> Key {
        let mut bytes = self.uri(request.connection.scheme, authority);
        let uri_length = bytes.len();
        http_caching::push_keyed(&policy.key, request.fields, &mut bytes);
        if trusted && says_other_url(request) {
            // A trusted proxy may say that the visitor asked for another URL, and the shop hears of it.
            http_caching::variance(&FORWARDED_URL, request.fields, &mut bytes);
        }
        Key { bytes, uri_length }
    }

    /// `path[?query]`.
    pub(crate) fn whole(&self) -> String {
        match &self.query {
            Some(query) => [self.path, "?", query].concat(),
            None => self.path.to_owned(),
        }
    }
}

/// What a trusted proxy says of the URL that the visitor asked for.
pub(crate) const FORWARDED_URL: [HeaderName; 2] = [X_FORWARDED_PROTO, X_FORWARDED_HOST];

fn says_other_url(request: &RequestView<'_>) -> bool {
    FORWARDED_URL
        .iter()
        .any(|name| request.fields.contains(name))
}
