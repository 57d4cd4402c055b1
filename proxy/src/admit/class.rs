//! What a request matters: by its route, and on routes for browsing by whether a person or a program asks.

use std::{fmt, net::IpAddr, sync::Arc};

use adaptive_concurrency::Class;
use http::header::USER_AGENT;
use http_caching::Fields;
use memchr::memmem;

use crate::snapshot::Route;

/// Whether a program at an address is known, and is not to be shed before persons. Nobody is by default.
#[derive(Clone, Default)]
pub struct KnownBots(Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>);

impl KnownBots {
    /// Those whom `is_known` knows.
    pub fn by(is_known: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_known)))
    }

    fn has(&self, client: IpAddr) -> bool {
        self.0.as_ref().is_some_and(|is_known| is_known(client))
    }
}

impl fmt::Debug for KnownBots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownBots")
    }
}

/// What a request matters.
pub fn class(route: &Route, fields: &dyn Fields, client: IpAddr) -> Class {
    let looks_around = route.class == Class::Browse;
    match looks_around && is_program(fields) && !route.known_bots.has(client) {
        true => Class::Bot,
        false => route.class,
    }
}

/// What browsers have never had in their `User-Agent`, and programs that are honest and pose as one do: the address
/// of a page about them, or a word for what they are. Lower case.
const WORDS: [&[u8]; 5] = [b"://", b"bot/", b"crawl", b"spider", b"headless"];

/// Whether `User-Agent` is not that of a browser: it is absent, begins neither with `Mozilla/` nor with `Opera/`, or
/// has one of the [`WORDS`] in it. Programs that lie are persons here; rate limits are for them.
fn is_program(fields: &dyn Fields) -> bool {
    let mut is_program = true;
    fields.for_each(&USER_AGENT, &mut |value| {
        let browser = value.starts_with(b"Mozilla/") || value.starts_with(b"Opera/");
        // Longer ones are no browser's.
        is_program = !browser || value.len() > 1024 || {
            let value = value.to_ascii_lowercase();
            WORDS
                .iter()
                .any(|word| memmem::find(&value, word).is_some())
        };
    });
    is_program
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn programs_are_told_by_their_name() {
        for (agent, wanted) in [
            ("", true),
            ("curl/8.5.0", true),
            ("python-requests/2.32", true),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                true,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
                true,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Mobile Safari/537.36",
                false,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile Safari/604.1",
                false,
            ),
            (
                "Mozilla/5.0 (Linux; Android 9; CUBOT NOVA) AppleWebKit/537.36 Chrome/99.0 Mobile Safari/537.36",
                false,
            ),
            (
                "Opera/9.80 (Android; Opera Mini/12.0/191.308) Presto/2.12.423 Version/12.16",
                false,
            ),
        ] {
            let mut fields = HeaderMap::new();
            if !agent.is_empty() {
                fields.insert(USER_AGENT, agent.parse().expect("a value"));
            }
            assert_eq!(is_program(&fields), wanted, "{agent}");
        }
    }

    #[test]
    fn who_is_known_is_known_by_address() {
        let known = KnownBots::by(|client| client.is_loopback());
        assert!(known.has([127, 0, 0, 1].into()));
        assert!(!known.has([192, 0, 2, 1].into()));
        assert!(!KnownBots::default().has([127, 0, 0, 1].into()));
    }
}
