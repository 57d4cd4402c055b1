use super::Coding::{Brotli, Gzip, Zstd};
use super::*;
use crate::testing::fields;

/// RFC 9110 §12.5.3, §12.4.2: the best of zstd, br and gzip, in this order among equals.
#[test]
fn choices() {
    for (lines, expected) in [
        // Said nothing, or wants nothing
        (&[][..], None),
        (&["Accept-Encoding:"], None),
        (&["Accept-Encoding: identity"], None),
        (&["Accept-Encoding: compress"], None),
        (&["Accept-Encoding: gzip"], Some(Gzip)),
        (&["Accept-Encoding: gzip, deflate, br, zstd"], Some(Zstd)),
        (&["Accept-Encoding: gzip, br"], Some(Brotli)),
        (&["Accept-Encoding: gzip", "Accept-Encoding: br"], Some(Brotli)),
        // §8.4.1: names in any case; §8.4.1.3: x-gzip
        (&["Accept-Encoding: GZip"], Some(Gzip)),
        (&["Accept-Encoding: X-GZIP;Q=1"], Some(Gzip)),
        // Weights go before our order.
        (&["Accept-Encoding: zstd;q=0.5, br;q=0.8, gzip"], Some(Gzip)),
        (&["Accept-Encoding: zstd;q=0.5, br;q=0.501"], Some(Brotli)),
        (&["Accept-Encoding: gzip;q=0.001"], Some(Gzip)),
        (&["Accept-Encoding: gzip ; q=0.5"], Some(Gzip)),
        (&["Accept-Encoding: gzip;q=0"], None),
        (&["Accept-Encoding: gzip;q=0.000, br"], Some(Brotli)),
        // `*` is any that is not named.
        (&["Accept-Encoding: *"], Some(Zstd)),
        (&["Accept-Encoding: *, zstd;q=0"], Some(Brotli)),
        (&["Accept-Encoding: *;q=0.1, gzip"], Some(Gzip)),
        (&["Accept-Encoding: gzip, *;q=0"], Some(Gzip)),
        (&["Accept-Encoding: *;q=0"], None),
        // A client that likes it plain
        (&["Accept-Encoding: gzip;q=0.5, identity"], None),
        (&["Accept-Encoding: gzip;q=0.5, identity;q=0.5"], Some(Gzip)),
        (&["Accept-Encoding: gzip;q=0.5, identity;q=0"], Some(Gzip)),
        (&["Accept-Encoding: identity;q=0"], None),
        // Weights that are none; named twice
        (&["Accept-Encoding: gzip;q=2"], None),
        (&["Accept-Encoding: gzip;q=1.001"], None),
        (&["Accept-Encoding: gzip;q=0.0001"], None),
        (&["Accept-Encoding: gzip;q=.5"], None),
        (&["Accept-Encoding: gzip;q=-1"], None),
        (&["Accept-Encoding: gzip;q="], None),
        (&["Accept-Encoding: gzip;q"], None),
        (&["Accept-Encoding: gzip;"], None),
        (&["Accept-Encoding: gzip;level=9"], None),
        (&["Accept-Encoding: gzip;q=1.000"], Some(Gzip)),
        (&["Accept-Encoding: gzip;q=1."], Some(Gzip)),
        (&["Accept-Encoding: gzip, gzip;q=0"], None),
        (&["Accept-Encoding: gzip, x-gzip;q=0"], None),
    ] {
        assert_eq!(choose(&fields(lines), &[Zstd, Brotli, Gzip]), expected, "{lines:?}");
    }
    let any = fields(&["Accept-Encoding: gzip, br, zstd"]);
    assert_eq!(choose(&any, &[Gzip, Brotli]), Some(Gzip));
    assert_eq!(choose(&any, &[]), None);
}

/// RFC 9110 §12.5.3, rules 1 to 4.
#[test]
fn acceptable_codings() {
    for (lines, coding, expected) in [
        // No field, no objection.
        (&[][..], "gzip", true),
        (&[], "identity", true),
        // Empty: nothing but identity.
        (&["Accept-Encoding:"], "gzip", false),
        (&["Accept-Encoding:"], "identity", true),
        (&["Accept-Encoding:"], "", true),
        (&["Accept-Encoding: gzip"], "gzip", true),
        (&["Accept-Encoding: gzip"], "X-Gzip", true),
        (&["Accept-Encoding: x-gzip"], "gzip", true),
        (&["Accept-Encoding: gzip"], "br", false),
        (&["Accept-Encoding: gzip"], "identity", true),
        (&["Accept-Encoding: gzip;q=0"], "gzip", false),
        (&["Accept-Encoding: *"], "anything", true),
        (&["Accept-Encoding: *;q=0"], "identity", false),
        (&["Accept-Encoding: *;q=0, identity"], "identity", true),
        (&["Accept-Encoding: identity;q=0"], "", false),
        (&["Accept-Encoding: identity;q=0, *"], "gzip", true),
        // §8.4: several codings, one after the other
        (&["Accept-Encoding: gzip, br"], "gzip, br", true),
        (&["Accept-Encoding: gzip"], "gzip, br", false),
    ] {
        let request = fields(lines);
        assert_eq!(is_acceptable(&request, coding.as_bytes()), expected, "{lines:?} {coding}");
    }
}
