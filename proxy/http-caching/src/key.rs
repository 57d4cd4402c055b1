//! Cache keys (RFC 9111 §2): what makes two requests ask for the same thing.

/// Drops the query parameters whose decoded name matches one of the patterns, `name` or `prefix*`,
/// and keeps order and bytes of the rest.
///
/// `None` when nothing changes; an empty string when nothing remains.
pub fn filter_query(query: &str, ignore: &[String]) -> Option<String> {
    if ignore.is_empty() || !query.split('&').any(|parameter| ignored(parameter, ignore)) {
        return None;
    }
    let mut kept = String::with_capacity(query.len());
    let mut first = true;
    for parameter in query.split('&').filter(|parameter| !ignored(parameter, ignore)) {
        if !first {
            kept.push('&');
        }
        kept.push_str(parameter);
        first = false;
    }
    Some(kept)
}

fn ignored(parameter: &str, ignore: &[String]) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    ignore.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => {
            let mut decoded = decode(name.as_bytes());
            prefix.bytes().all(|byte| decoded.next() == Some(byte))
        }
        None => decode(name.as_bytes()).eq(pattern.bytes()),
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

const LENGTH: usize = size_of::<u64>();

/// Appends a length that stands before the bytes it counts.
pub(crate) fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests;
