//! Cookies as a browser keeps them, of one shop.

use std::cell::RefCell;

use http::{HeaderMap, HeaderValue, header};

/// Cookies that are kept at most.
const COOKIES_MAX: usize = 16;

/// What a browser keeps.
#[derive(Debug, Default)]
pub(crate) struct Cookies(RefCell<Vec<(String, String)>>);

impl Cookies {
    /// Takes over what an answer sets, of these names, and forgets what it takes back.
    pub(crate) fn keep(&self, fields: &HeaderMap, is_wanted: impl Fn(&str) -> bool) {
        let mut kept = self.0.borrow_mut();
        for value in fields.get_all(header::SET_COOKIE) {
            let Ok(text) = value.to_str() else { continue };
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if !is_wanted(name) {
                continue;
            }
            kept.retain(|(known, _)| known != name);
            let is_taken_back = parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
            if !is_taken_back && kept.len() < COOKIES_MAX {
                kept.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The field of a request; none without cookies.
    pub(crate) fn field(&self) -> Option<HeaderValue> {
        let kept = self.0.borrow();
        let pairs: Vec<String> = kept
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        HeaderValue::try_from(pairs.join("; ")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_replaced_and_taken_back() {
        let cookies = Cookies::default();
        let keep = |set: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in set {
                fields.append(header::SET_COOKIE, HeaderValue::from_static(value));
            }
            cookies.keep(&fields, |name| name != "unwanted");
        };
        assert_eq!(cookies.field(), None);
        keep(&["a=1; Path=/", "b=2=3; Secure; HttpOnly", "unwanted=1", "c"]);
        assert_eq!(cookies.field().expect("some"), "a=1; b=2=3");
        keep(&["a=4", "b=; Max-Age=0"]);
        assert_eq!(cookies.field().expect("some"), "a=4");
    }
}
