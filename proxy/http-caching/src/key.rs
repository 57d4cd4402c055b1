//! Cache keys (RFC 9111 §2): what makes two requests ask for the same thing.

use std::borrow::Cow;

use http::HeaderName;
use http::header::COOKIE;

use crate::fields::{Fields, trim};
use crate::reuse::variance;

/// What an operator leaves out of the cache key, and what comes in beside the target.
#[derive(Clone, Debug, Default)]
pub struct KeyPolicy {
    /// Query parameters that change nothing: `name` or `prefix*`, compared with decoded names.
    pub ignore_query: Vec<String>,
    /// Whether the order of differently named query parameters changes nothing.
    pub sort_query: bool,
    /// Request fields that every response depends on.
    pub fields: Vec<HeaderName>,
    /// Cookies that every response depends on, and the only ones that the origin server sees.
    pub cookies: Vec<String>,
}

/// The query as it stands in the cache key: without ignored parameters and, where the policy says so,
/// sorted by name.
///
/// Parameters keep their bytes, and those of one name their order. Names are compared decoded, for
/// which of `a` and `%61` comes first can decide what the origin server answers. `None` when nothing remains after
/// dropping; a query that was empty before stays empty.
pub fn keyed_query<'q>(query: &'q str, policy: &KeyPolicy) -> Option<Cow<'q, str>> {
    if query.is_empty() {
        return Some(Cow::Borrowed(query));
    }
    let ignore = &policy.ignore_query;
    let drops = !ignore.is_empty() && query.split('&').any(|parameter| ignored(parameter, ignore));
    let in_order = |a: &&str, b: &&str| decode(name(a)).cmp(decode(name(b)));
    let sorts = policy.sort_query && !query.split('&').is_sorted_by(|a, b| in_order(a, b).is_le());
    if !drops && !sorts {
        return Some(Cow::Borrowed(query));
    }
    let mut kept: Vec<&str> =
        query.split('&').filter(|parameter| !drops || !ignored(parameter, ignore)).collect();
    if sorts {
        kept.sort_by(in_order);
    }
    let kept = kept.join("&");
    (!kept.is_empty()).then_some(Cow::Owned(kept))
}

/// The name of a query parameter, not decoded.
fn name(parameter: &str) -> &[u8] {
    parameter.split('=').next().unwrap_or_default().as_bytes()
}

fn ignored(parameter: &str, ignore: &[String]) -> bool {
    let name = name(parameter);
    ignore.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => {
            let mut decoded = decode(name);
            prefix.bytes().all(|byte| decoded.next() == Some(byte))
        }
        None => decode(name).eq(pattern.bytes()),
    })
}

/// Decodes `%41` and `+` as forms do; a `%` that starts no escape stands for itself.
fn decode(mut encoded: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (byte, rest) = match encoded {
            [] => return None,
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (b'%', &encoded[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        encoded = rest;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends the cache key of a target to `out`: scheme, authority, path and query, each behind its
/// length, so that no two targets share a key.
///
/// Scheme and authority are taken in lower case, for they mean the same in any (RFC 9110 §4.2.3).
/// The absent query and the empty one differ.
pub fn cache_key(
    scheme: &str,
    authority: &str,
    path: &str,
    query: Option<&str>,
    out: &mut Vec<u8>,
) {
    let query_length = query.map_or(0, str::len);
    out.reserve(4 * LENGTH + 1 + scheme.len() + authority.len() + path.len() + query_length);
    for part in [scheme, authority] {
        push_length(out, part.len());
        out.extend(part.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    push_length(out, path.len());
    out.extend_from_slice(path.as_bytes());
    match query {
        None => out.push(0),
        Some(query) => {
            out.push(1);
            push_length(out, query.len());
            out.extend_from_slice(query.as_bytes());
        }
    }
}

/// Appends the fields and cookies that the policy names to `out`; nothing when it names none.
///
/// Field values are compared as [`variance`] does. The cookies are those of [`keyed_cookies`], to the
/// byte: what the origin server sees is what the key knows.
pub fn push_keyed(policy: &KeyPolicy, request: &dyn Fields, out: &mut Vec<u8>) {
    if policy.fields.is_empty() && policy.cookies.is_empty() {
        return;
    }
    // `cache_key` ends with 0 or with 1 and a query of known length, so this is neither.
    out.push(KEYED);
    push_length(out, policy.fields.len());
    variance(&policy.fields, request, out);
    match keyed_cookies(request, &policy.cookies) {
        None => out.push(0),
        Some(cookies) => {
            out.push(1);
            push_length(out, cookies.len());
            out.extend_from_slice(&cookies);
        }
    }
}

const KEYED: u8 = 2;

/// The `Cookie` value with only the chosen cookies; `None` when the request has none of them.
///
/// They come in the order of `names`, whatever order the client has, so that one visitor's order is
/// not another page. A cookie that comes several times comes with all its values, in the order of the
/// request, for which one counts is for the origin server to say. Names are compared as they are.
pub fn keyed_cookies(request: &dyn Fields, names: &[String]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            continue;
        }
        request.for_each(&COOKIE, &mut |value| {
            for pair in value.split(|byte| *byte == b';').map(trim) {
                if cookie_name(pair) == Some(name.as_bytes()) {
                    if !kept.is_empty() {
                        kept.extend_from_slice(b"; ");
                    }
                    kept.extend_from_slice(pair);
                }
            }
        });
    }
    (!kept.is_empty()).then_some(kept)
}

/// The name of a cookie pair (RFC 6265 §4.2.1); what has no `=` has none.
fn cookie_name(pair: &[u8]) -> Option<&[u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    Some(trim(&pair[..at]))
}

/// The URI at the front of a cache key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedUri<'a> {
    /// Lower case.
    pub scheme: &'a [u8],
    /// Lower case.
    pub authority: &'a [u8],
    /// As it is.
    pub path: &'a [u8],
    /// As it is; the absent and the empty one differ.
    pub query: Option<&'a [u8]>,
}

/// Reads the URI back out of what [`cache_key`] wrote.
pub fn split(key: &[u8]) -> Option<KeyedUri<'_>> {
    fn part(key: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = key.split_first_chunk::<LENGTH>()?;
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
    }
    let (scheme, rest) = part(key)?;
    let (authority, rest) = part(rest)?;
    let (path, rest) = part(rest)?;
    let query = match rest.split_first()? {
        (0, _) => None,
        (_, rest) => Some(part(rest)?.0),
    };
    Some(KeyedUri { scheme, authority, path, query })
}

const LENGTH: usize = size_of::<u64>();

/// Appends a length that stands before the bytes it counts.
pub(crate) fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests;
