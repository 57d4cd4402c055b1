//! Which answers make stored responses untrue (RFC 9111 §4.4).

use http::{Method, StatusCode};

/// Whether the answer to this request invalidates what is stored for its target: a method that is
/// unsafe, or of which we do not know that it is safe, and a status that reports no error.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The path and query of a `Location` or `Content-Location` of such an answer, when it lies in the
/// origin of the request and may be invalidated too: an absolute path, or a URI that starts with the
/// same scheme and authority.
///
/// Other origins are out of reach, or one shop could empty another's store. References relative to
/// the path are left alone.
pub fn same_origin_target<'a>(
    scheme: &str,
    authority: &str,
    reference: &'a str,
) -> Option<(&'a str, Option<&'a str>)> {
    let reference = reference.split('#').next().unwrap_or_default();
    let target = match reference.strip_prefix("//") {
        Some(rest) => strip_authority(rest, scheme, authority)?,
        None if reference.starts_with('/') => reference,
        None => {
            let rest = strip_prefix_ignoring_case(reference, scheme)?;
            strip_authority(rest.strip_prefix("://")?, scheme, authority)?
        }
    };
    Some(match target.split_once('?') {
        Some((path, query)) => (non_empty_path(path), Some(query)),
        None => (non_empty_path(target), None),
    })
}

/// What follows the authority, if the reference has this one.
fn strip_authority<'a>(rest: &'a str, scheme: &str, authority: &str) -> Option<&'a str> {
    let (named, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let [named, authority] = [named, authority].map(|text| without_default_port(scheme, text));
    named.eq_ignore_ascii_case(authority).then_some(rest)
}

/// The default port and an empty one mean the same as none (RFC 9110 §4.2.3).
fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    [port, ":"].iter().find_map(|port| authority.strip_suffix(port)).unwrap_or(authority)
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// An empty path and `/` are the same target (RFC 9110 §4.2.3).
fn non_empty_path(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests;
