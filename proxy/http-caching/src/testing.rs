//! Shorthand for the tables: fields from text, and moments relative to one fixed day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The moment all tests take as now: Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 §5.6.7.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + s(784_111_777)
}

/// So many seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The HTTP-date so many seconds from now.
pub(crate) fn http_date(offset: i64) -> String {
    httpdate::fmt_http_date(at(offset))
}

/// The moment so many seconds from now.
pub(crate) fn at(offset: i64) -> SystemTime {
    let distance = s(offset.unsigned_abs());
    if offset < 0 { now() - distance } else { now() + distance }
}

/// Fields from `Name: value` lines; `{+60}` and `{-60}` stand for dates relative to now.
pub(crate) fn fields(lines: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a field line");
        let value = with_dates(value);
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a field value"));
    }
    map
}

fn with_dates(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (offset, after) = after.split_once('}').expect("a closing brace");
        result.push_str(before);
        result.push_str(&http_date(offset.parse().expect("an offset")));
        rest = after;
    }
    result + rest
}

/// The field names of that spelling.
pub(crate) fn names(names: &[&str]) -> Vec<HeaderName> {
    names
        .iter()
        .map(|name| HeaderName::from_bytes(name.as_bytes()).expect("a field name"))
        .collect()
}
