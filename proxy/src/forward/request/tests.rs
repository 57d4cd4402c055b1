//! What `Connection` may say, and who is vouched for.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

struct Lines(HeaderMap);

impl Fields for Lines {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        self.0.for_each(name, f);
    }
}

impl FieldLines for Lines {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.0 {
            f(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

fn lines(name: HeaderName, values: &[&str]) -> Lines {
    let mut map = HeaderMap::new();
    for value in values {
        map.append(&name, HeaderValue::from_str(value).expect("a value"));
    }
    Lines(map)
}

#[test]
fn options_of_connection() {
    let many = "a,".repeat(MAX_OPTIONS);
    let too_many = "a,".repeat(MAX_OPTIONS + 1);
    for (values, wanted) in [
        (&[][..], Some(Nominated::Nothing)),
        (&["keep-alive"], Some(Nominated::Nothing)),
        (&["Close, Upgrade"], Some(Nominated::Nothing)),
        (&[" , "], Some(Nominated::Nothing)),
        (&["close", "x-secret"], Some(Nominated::Some)),
        (&[&many], Some(Nominated::Some)),
        (&[&too_many], None),
        (&["close, Host"], None),
        (&["X-Forwarded-For"], None),
        (&["x-forwarded-host"], None),
        (&["x-forwarded-proto"], None),
    ] {
        let fields = lines(CONNECTION, values);
        assert_eq!(nominated(&fields).ok(), wanted, "{values:?}");
    }
}

#[test]
fn the_chain_of_forwarders() {
    use crate::config::model::ForwardedField::{Forwarded, XForwardedFor};
    let address = |text: &str| text.parse().expect("an address");
    let (peer, client) = (address("::ffff:10.0.0.1"), address("198.51.100.7"));
    let fields = lines(X_FORWARDED_FOR, &["203.0.113.1", "198.51.100.7"]);
    for (believed, fields, wanted) in [
        (None, &fields, "198.51.100.7"),
        (Some(Forwarded), &fields, "198.51.100.7"),
        (
            Some(XForwardedFor),
            &lines(X_FORWARDED_FOR, &[]),
            "198.51.100.7",
        ),
        (
            Some(XForwardedFor),
            &fields,
            "203.0.113.1, 198.51.100.7, 10.0.0.1",
        ),
    ] {
        assert_eq!(forwarded_for(fields, believed, peer, client), wanted);
    }
}

#[test]
fn only_websocket_is_asked_for() {
    for (values, wanted) in [
        (&[][..], false),
        (&["WebSocket"], true),
        (&["h2c"], false),
        (&["websocket, h2c"], false),
        (&["websocket", "h2c"], false),
    ] {
        assert_eq!(
            asks_for_websocket(&lines(UPGRADE, values)),
            wanted,
            "{values:?}"
        );
    }
}

#[test]
fn a_trace_of_its_own() {
    let id = *b"0123456789abcdef0123456789abcdef";
    assert_eq!(
        &traceparent(&id),
        b"00-0123456789abcdef0123456789abcdef-89abcdef01234567-00"
    );
}
