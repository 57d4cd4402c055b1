//! Who the visitor is: the connection's peer, or whom a trusted proxy names.

use std::net::IpAddr;

use http::HeaderName;
use http_caching::Fields;
use ipnet::IpNet;

use super::forwarded::{MAX_HOPS, forwarded, x_forwarded_for};
use crate::config::model::ForwardedField;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Whether forwarding fields from this peer are believed.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&peer))
}

/// Walks the field of forwarding from the right, over trusted proxies, to the first address that is not
/// one. Anything that is not an address ends the walk, as do 64 hops: what is left of it may be invented.
pub fn client_address(
    peer: IpAddr,
    fields: &dyn Fields,
    trusted: &[IpNet],
    field: ForwardedField,
) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    // The last hops, oldest first; what is before them does not count.
    let mut chain: Vec<Option<IpAddr>> = Vec::new();
    let name = match field {
        ForwardedField::XForwardedFor => &X_FORWARDED_FOR,
        ForwardedField::Forwarded => &FORWARDED,
    };
    fields.for_each(name, &mut |value| {
        match field {
            ForwardedField::XForwardedFor => x_forwarded_for(value, &mut chain),
            ForwardedField::Forwarded => forwarded(value, &mut chain),
        }
        let beyond = chain.len().saturating_sub(MAX_HOPS);
        chain.drain(..beyond);
    });
    let mut client = peer;
    for hop in chain.into_iter().rev() {
        let Some(address) = hop else { break };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn client(field: ForwardedField, peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("net")];
        let mut fields = HeaderMap::new();
        let (name, other) = match field {
            ForwardedField::XForwardedFor => (X_FORWARDED_FOR, FORWARDED),
            ForwardedField::Forwarded => (FORWARDED, X_FORWARDED_FOR),
        };
        // The other field is never looked at.
        for value in ["for=203.0.113.99", "203.0.113.99"] {
            fields.append(&other, HeaderValue::from_static(value));
        }
        for line in lines {
            fields.append(&name, HeaderValue::from_str(line).expect("a value"));
        }
        let peer = peer.parse().expect("address");
        client_address(peer, &fields, &trusted, field).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        for (peer, forwarded, wanted) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, junk, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", ",,198.51.100.7,,", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7:5678", "198.51.100.7"),
            ("10.0.0.1", "[2001:db8::1]:80, 10.0.0.2:1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ] {
            let client = client(ForwardedField::XForwardedFor, peer, &[forwarded]);
            assert_eq!(client, wanted, "{peer} {forwarded}");
        }
    }

    #[test]
    fn forwarded_is_walked_likewise() {
        for (lines, wanted) in [
            (&["for=198.51.100.7"][..], "198.51.100.7"),
            (
                &["For=\"[2001:db8:cafe::17]:4711\";proto=https"],
                "2001:db8:cafe::17",
            ),
            (
                &["for=203.0.113.9, for=198.51.100.7;by=10.0.0.9"],
                "198.51.100.7",
            ),
            (&["for=198.51.100.7", "for=10.0.0.2"], "198.51.100.7"),
            (&["for=198.51.100.7, for=unknown, for=10.0.0.2"], "10.0.0.2"),
            (&["for=198.51.100.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=198.51.100.7, proto=http, for=10.0.0.2"], "10.0.0.2"),
            (&["for=\"198.51.100.7"], "10.0.0.1"),
            (&["junk, =, for=198.51.100.7"], "198.51.100.7"),
            (
                &["x\"y, for=203.0.113.9\"z, for=198.51.100.7"],
                "198.51.100.7",
            ),
            (&["for=\"203.0.113.9, for=198.51.100.7"], "10.0.0.1"),
            // A comma in quotes divides nothing.
            (
                &["host=\"a, for=203.0.113.9\";for=198.51.100.7"],
                "198.51.100.7",
            ),
            (
                &["for=198.51.100.7;host=\"x, for=203.0.113.9\""],
                "198.51.100.7",
            ),
            // Nobody has two addresses.
            (&["for=198.51.100.7;for=203.0.113.9"], "10.0.0.1"),
            (&["198.51.100.7"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            let client = client(ForwardedField::Forwarded, "10.0.0.1", lines);
            assert_eq!(client, wanted, "{lines:?}");
        }
    }

    #[test]
    fn absurd_chains_end_somewhere() {
        let of = |entry: &str, count| vec![entry; count].join(", ");
        for (field, entry, invented) in [
            (ForwardedField::XForwardedFor, "10.1.1.1", "203.0.113.1"),
            (ForwardedField::Forwarded, "for=10.1.1.1", "for=203.0.113.1"),
        ] {
            // Behind so many proxies that claim to be ours, nobody is believed.
            let long = format!("{invented}, {}", of(entry, 5_000));
            assert_eq!(client(field, "10.0.0.1", &[&long]), "10.1.1.1");
            let lines: Vec<&str> = std::iter::once(invented)
                .chain(std::iter::repeat_n(entry, 5_000))
                .collect();
            assert_eq!(client(field, "10.0.0.1", &lines), "10.1.1.1");
            let short = format!("{invented}, {}", of(entry, MAX_HOPS - 1));
            assert_eq!(client(field, "10.0.0.1", &[&short]), "203.0.113.1");
            let junk = format!("{}, {invented}", of("x", 5_000));
            assert_eq!(client(field, "10.0.0.1", &[&junk]), "203.0.113.1");
        }
    }
}
