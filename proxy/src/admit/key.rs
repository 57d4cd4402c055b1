//! What a limit counts by.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::header::COOKIE;
use http_caching::Fields;

use super::clients::Client;
use crate::config::model::{LimitKey, PathPattern, Segment};

/// How much of an address is one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bits of an IPv4 address, 1..=32.
    pub ipv4: u8,
    /// Bits of an IPv6 address, 1..=128.
    pub ipv6: u8,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { ipv4: 32, ipv6: 64 }
    }
}

impl Prefix {
    /// The first address of the network that an address lies in. One that is mapped into IPv6 is an IPv4 address.
    pub fn network(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let rest = 32 - u32::from(self.ipv4.min(32));
                let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let rest = 128 - u32::from(self.ipv6.min(128));
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }
}

/// The names of a route's parameters, and which segment of the path each is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Box<[(Box<str>, usize)]>);

impl Params {
    /// Those of a pattern.
    pub fn of(pattern: &PathPattern) -> Self {
        let PathPattern::Segments(segments) = pattern else {
            return Self::default();
        };
        let named = segments.iter().enumerate().filter_map(|(at, segment)| {
            let Segment::Param(name) = segment else {
                return None;
            };
            Some((name.as_str().into(), at))
        });
        Self(named.collect())
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| **known == *name)
    }

    fn value<'a>(&self, name: &str, path: &'a str) -> Option<&'a str> {
        let (_, at) = self.0.iter().find(|(known, _)| **known == *name)?;
        path.strip_prefix('/')?.split('/').nth(*at)
    }
}

/// What a request may be counted by.
pub struct Asked<'a> {
    /// The visitor.
    pub client: IpAddr,
    /// Normalised host, without a port.
    pub host: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Where its route has parameters.
    pub params: &'a Params,
    /// Field lines.
    pub fields: &'a dyn Fields,
}

/// A rule's way to tell requests apart.
#[derive(Clone)]
pub(super) struct Key {
    parts: Vec<LimitKey>,
    prefix: Prefix,
}

impl Key {
    pub(super) fn new(parts: &[LimitKey], prefix: Prefix) -> Self {
        Self {
            parts: parts.to_vec(),
            prefix,
        }
    }

    /// The networks that it counts by, where it counts by nothing else: any process calls them by the same numbers.
    pub(super) fn networks(&self) -> Option<Prefix> {
        let is_network = self.parts == [LimitKey::ClientIp] && self.prefix.ipv6 <= 64;
        is_network.then_some(self.prefix)
    }

    /// What it goes by, in words: values of fields and cookies are not told.
    pub(super) fn told(&self, asked: &Asked<'_>) -> String {
        let network = |address: IpAddr| {
            let bits = match address.to_canonical() {
                IpAddr::V4(_) => self.prefix.ipv4,
                IpAddr::V6(_) => self.prefix.ipv6,
            };
            format!("{}/{bits}", self.prefix.network(address))
        };
        let instead = |name: String, is_there: bool| match is_there {
            true => name,
            false => format!("{name} is absent, so by {}", network(asked.client)),
        };
        let part = |part: &LimitKey| match part {
            LimitKey::ClientIp => network(asked.client),
            LimitKey::Host => format!("host {}", asked.host),
            LimitKey::Param(name) => {
                let value = asked.params.value(name, asked.path).unwrap_or_default();
                instead(
                    format!("path parameter {name} {value:?}"),
                    !value.is_empty(),
                )
            }
            LimitKey::Header(name) => {
                let mut is_there = false;
                asked.fields.for_each(name, &mut |value| {
                    is_there |= !value.trim_ascii().is_empty()
                });
                instead(format!("field {name}"), is_there)
            }
            LimitKey::Cookie(name) => {
                let mut is_there = false;
                asked.fields.for_each(&COOKIE, &mut |value| {
                    is_there |= value.split(|b| *b == b';').any(|pair| {
                        let pair = pair.trim_ascii();
                        let value = pair.strip_prefix(name.as_bytes());
                        let value = value.and_then(|rest| rest.strip_prefix(b"="));
                        value.is_some_and(|value| !value.trim_ascii().is_empty())
                    });
                });
                instead(format!("cookie {name}"), is_there)
            }
        };
        self.parts
            .iter()
            .map(part)
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Whom a request counts for. `keys` hashes what is more than the network of an address.
    pub(super) fn client(&self, asked: &Asked<'_>, keys: &RandomState) -> Client {
        if self.networks().is_some() {
            return Client::of_network(asked.client, self.prefix);
        }
        let mut hasher = keys.build_hasher();
        for part in &self.parts {
            let is_there = match part {
                LimitKey::ClientIp => false,
                LimitKey::Host => put(asked.host.as_bytes(), &mut hasher),
                LimitKey::Param(name) => {
                    let value = asked.params.value(name, asked.path).unwrap_or_default();
                    put(value.as_bytes(), &mut hasher)
                }
                LimitKey::Header(name) => {
                    let mut is_there = false;
                    asked.fields.for_each(name, &mut |value| {
                        is_there = is_there || put(value.trim_ascii(), &mut hasher);
                    });
                    is_there
                }
                LimitKey::Cookie(name) => {
                    let mut is_there = false;
                    asked.fields.for_each(&COOKIE, &mut |value| {
                        for pair in value.split(|b| *b == b';') {
                            let mut halves = pair.splitn(2, |b| *b == b'=');
                            let is_it =
                                halves.next().unwrap_or_default().trim_ascii() == name.as_bytes();
                            if is_it && !is_there {
                                let value = halves.next().unwrap_or_default();
                                is_there = put(value.trim_ascii(), &mut hasher);
                            }
                        }
                    });
                    is_there
                }
            };
            if !is_there {
                // Who leaves a part out is counted by its address, and hence not without a limit.
                hasher.write_u8(0);
                match self.prefix.network(asked.client) {
                    IpAddr::V4(v4) => hasher.write_u32(v4.to_bits()),
                    IpAddr::V6(v6) => hasher.write_u128(v6.to_bits()),
                }
            }
        }
        Client::hashed(hasher.finish())
    }
}

/// Takes a value in, with its length, so that parts cannot run into each other. An empty one is none.
fn put(value: &[u8], hasher: &mut impl Hasher) -> bool {
    if value.is_empty() {
        return false;
    }
    hasher.write_u8(1);
    hasher.write_usize(value.len());
    hasher.write(value);
    true
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    struct Request(
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    );

    #[test]
    fn who_is_the_same() {
        let session = || LimitKey::Cookie("session".to_owned());
        let user = || LimitKey::Header(HeaderName::from_static("x-user"));
        let slug = || LimitKey::Param("slug".to_owned());
        let pattern = PathPattern::Segments(vec![
            Segment::Literal("products".to_owned()),
            Segment::Param("slug".to_owned()),
        ]);
        let params = Params::of(&pattern);
        let keys = RandomState::new();
        let prefix = Prefix {
            ipv4: 24,
            ipv6: 128,
        };
        const ONE: &str = "192.0.2.1";
        const OTHER: &str = "198.51.100.1";
        for (parts, one, two, same) in [
            // Of the same network.
            (
                vec![LimitKey::ClientIp],
                Request(ONE, "/", &[]),
                Request("192.0.2.9", "/x", &[]),
                true,
            ),
            (
                vec![LimitKey::ClientIp],
                Request(ONE, "/", &[]),
                Request(OTHER, "/", &[]),
                false,
            ),
            (
                vec![LimitKey::ClientIp],
                Request("2001:db8::1", "/", &[]),
                Request("2001:db8::2", "/", &[]),
                false,
            ),
            // A cookie goes before the address, wherever it stands.
            (
                vec![session()],
                Request(ONE, "/", &[("cookie", "a=1; session=x")]),
                Request(OTHER, "/", &[("cookie", "session=x"), ("cookie", "b=2")]),
                true,
            ),
            (
                vec![session()],
                Request(ONE, "/", &[("cookie", "session=x")]),
                Request(ONE, "/", &[("cookie", "session=y")]),
                false,
            ),
            (
                vec![session()],
                Request(ONE, "/", &[("cookie", "xsession=x")]),
                Request(ONE, "/", &[]),
                true,
            ),
            // Without it, or with nothing in it, the address counts.
            (
                vec![session()],
                Request(ONE, "/", &[]),
                Request("192.0.2.7", "/", &[("cookie", "session=")]),
                true,
            ),
            (
                vec![session()],
                Request(ONE, "/", &[]),
                Request(OTHER, "/", &[]),
                false,
            ),
            // Only the first of several counts.
            (
                vec![session()],
                Request(ONE, "/", &[("cookie", "session=x; session=z")]),
                Request(ONE, "/", &[("cookie", "session=x; session=y")]),
                true,
            ),
            (
                vec![LimitKey::ClientIp, session()],
                Request(ONE, "/", &[("cookie", "session=x")]),
                Request(OTHER, "/", &[("cookie", "session=x")]),
                false,
            ),
            (
                vec![user()],
                Request(ONE, "/", &[("x-user", "7")]),
                Request(OTHER, "/", &[("x-user", " 7 ")]),
                true,
            ),
            (
                vec![slug()],
                Request(ONE, "/products/a", &[]),
                Request(OTHER, "/products/a", &[]),
                true,
            ),
            (
                vec![slug()],
                Request(ONE, "/products/a", &[]),
                Request(ONE, "/products/b", &[]),
                false,
            ),
            (
                vec![LimitKey::Host],
                Request(ONE, "/", &[]),
                Request(OTHER, "/x", &[]),
                true,
            ),
            // Parts do not run into each other, and one is not taken for another.
            (
                vec![session(), user()],
                Request(ONE, "/", &[("cookie", "session=ab"), ("x-user", "c")]),
                Request(ONE, "/", &[("cookie", "session=a"), ("x-user", "bc")]),
                false,
            ),
            (
                vec![session(), user()],
                Request(ONE, "/", &[("cookie", "session=a")]),
                Request(ONE, "/", &[("x-user", "a")]),
                false,
            ),
        ] {
            let key = Key::new(&parts, prefix);
            let [one, two] = [one, two].map(|Request(client, path, fields)| {
                let mut map = HeaderMap::new();
                for (name, value) in fields {
                    map.append(*name, HeaderValue::from_static(value));
                }
                let asked = Asked {
                    client: client.parse().expect("address"),
                    host: "shop.example",
                    path,
                    params: &params,
                    fields: &map,
                };
                (key.client(&asked, &keys), client, path, fields)
            });
            assert_eq!(one.0 == two.0, same, "{parts:?}: {one:?} {two:?}");
        }
    }
}
