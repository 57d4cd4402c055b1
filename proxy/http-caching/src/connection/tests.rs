use super::*;
use crate::testing::{fields, names};

/// RFC 9110 §7.6.1, §11.7; RFC 9111 §3.1.
#[test]
fn fields_of_one_hop() {
    for (lines, expected) in [
        (&["Host: shop", "Accept: */*", "Trailer: X-Sum"][..], &[][..]),
        (&["Connection: keep-alive", "Keep-Alive: timeout=5"], &["connection", "keep-alive"]),
        (&["Proxy-Connection: close"], &["proxy-connection"]),
        (&["TE: trailers", "Connection: TE"], &["connection", "te"]),
        (&["Transfer-Encoding: chunked"], &["transfer-encoding"]),
        (&["Connection: upgrade", "Upgrade: websocket"], &["connection", "upgrade"]),
        (
            &["Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x"],
            &["proxy-authenticate", "proxy-authentication-info"],
        ),
        (&["Proxy-Authorization: Basic x"], &["proxy-authorization"]),
        // Named, in any case, on any line, once.
        (
            &["Connection: X-A,, x-b", "Connection: x-a", "X-A: 1", "X-B: 1"],
            &["connection", "x-a", "x-b"],
        ),
        // Named but absent, or no name at all.
        (&["Connection: close, X-A, @, \"x-b\", a b", "X-B: 1"], &["connection"]),
        // Fields for every recipient stay (§7.6.1: never appropriate as connection options).
        (
            &[
                "Connection: Host, Cache-Control, Content-Length, Vary, Content-Encoding",
                "Host: shop",
                "Cache-Control: private",
                "Content-Length: 1",
                "Vary: a",
                "Content-Encoding: gzip",
            ],
            &["connection"],
        ),
    ] {
        let mut found = hop_by_hop(&fields(lines));
        found.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        assert_eq!(found, names(expected), "{lines:?}");
    }
}
