//! Who the visitor is: the connection's peer, or whom a trusted proxy names.

use std::net::IpAddr;

use http::HeaderName;
use http_caching::Fields;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether forwarding fields from this peer are believed.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&peer))
}

/// Walks `X-Forwarded-For` from the right, over trusted proxies, to the first address that is not
/// one. Anything that is not an address ends the walk: what is left of it may be invented.
pub fn client_address(peer: IpAddr, fields: &dyn Fields, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    let mut chain: Vec<Option<IpAddr>> = Vec::new();
    fields.for_each(&X_FORWARDED_FOR, &mut |value| {
        for part in value.split(|b| *b == b',') {
            let text = std::str::from_utf8(part.trim_ascii()).ok();
            chain.push(
                text.and_then(|t| t.parse().ok())
                    .map(|ip: IpAddr| ip.to_canonical()),
            );
        }
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

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("net")];
        for (peer, forwarded, wanted) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, junk, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(X_FORWARDED_FOR, HeaderValue::from_static(forwarded));
            let peer = peer.parse().expect("address");
            let client = client_address(peer, &fields, &trusted);
            assert_eq!(
                client,
                wanted.parse::<IpAddr>().expect("address"),
                "{peer} {forwarded}"
            );
        }
    }
}
