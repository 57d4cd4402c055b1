//! What consistent hashing goes by.

use std::{borrow::Cow, net::IpAddr};

use http::header::COOKIE;
use http_caching::Fields;

use crate::config::model::{Balance, HashKey};
use crate::upstream::Upstream;

impl Upstream {
    /// The key of a visitor's own request: what the configuration says, or the target (path and query) where
    /// the request has nothing of the kind.
    ///
    /// What is fetched for the store has no visitor: it goes by the target.
    pub fn hash_key<'a>(
        &self,
        fields: &(impl Fields + ?Sized),
        target: &'a [u8],
        client: IpAddr,
    ) -> Cow<'a, [u8]> {
        if self.config.balance != Balance::ConsistentHash {
            return target.into();
        }
        key(&self.config.hash_key, fields, client).map_or(Cow::Borrowed(target), Cow::Owned)
    }
}

fn key(by: &HashKey, fields: &(impl Fields + ?Sized), client: IpAddr) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    match by {
        HashKey::Target => {}
        HashKey::ClientIp => match client.to_canonical() {
            IpAddr::V4(ip) => key.extend(ip.octets()),
            IpAddr::V6(ip) => key.extend(ip.octets()),
        },
        // Several lines are one value (RFC 9110 §5.3).
        HashKey::Header(name) => fields.for_each(name, &mut |value| {
            if !key.is_empty() {
                key.push(b',');
            }
            key.extend_from_slice(value);
        }),
        HashKey::Cookie(name) => fields.for_each(&COOKIE, &mut |line| {
            for pair in line.split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                let value = pair.strip_prefix(name.as_bytes());
                let value = value.and_then(|rest| rest.strip_prefix(b"="));
                // Of several of one name the first counts, as most shops have it.
                if let Some(value) = value.filter(|_| key.is_empty()) {
                    key.extend_from_slice(value);
                }
            }
        }),
    }
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::upstream::testing;

    fn by(balance: Balance, hash_key: HashKey, lines: &[(&'static str, &'static str)]) -> String {
        let upstream = testing::upstream(1, |config| {
            config.balance = balance;
            config.hash_key = hash_key;
        });
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        let client = Ipv4Addr::new(b'1', b'2', b'3', b'4').to_ipv6_mapped();
        let key = upstream.hash_key(&fields, b"/target", client.into());
        String::from_utf8_lossy(&key).into_owned()
    }

    #[test]
    fn keys() {
        let user = || HashKey::Header(HeaderName::from_static("x-user"));
        let cookie = || HashKey::Cookie("session".to_owned());
        for (hash_key, lines, wanted) in [
            (HashKey::Target, &[("x-user", "a")][..], "/target"),
            (HashKey::ClientIp, &[], "1234"),
            (user(), &[("x-user", "a")], "a"),
            (user(), &[("x-user", "a"), ("x-user", "b")], "a,b"),
            (user(), &[("x-user", "")], "/target"),
            (user(), &[], "/target"),
            (cookie(), &[("cookie", "a=b; session=1; c=d")], "1"),
            (
                cookie(),
                &[("cookie", "a=b"), ("cookie", "session=2;session=3")],
                "2",
            ),
            (
                cookie(),
                &[("cookie", "xsession=1; session2=3; session")],
                "/target",
            ),
            (cookie(), &[("cookie", "session=")], "/target"),
            (cookie(), &[], "/target"),
        ] {
            let key = by(Balance::ConsistentHash, hash_key.clone(), lines);
            assert_eq!(key, wanted, "{hash_key:?} {lines:?}");
            assert_eq!(by(Balance::RoundRobin, hash_key, lines), "/target");
        }
    }
}
