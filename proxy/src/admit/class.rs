//! What a request matters: by its route, and on routes for browsing by whether a person or a program asks.

use std::net::IpAddr;

use adaptive_concurrency::Class;
use http::header::USER_AGENT;
use http_caching::Fields;
use memchr::memmem;

use crate::snapshot::Route;

/// What a request matters.
pub fn class(route: &Route, fields: &dyn Fields, client: IpAddr) -> Class {
    let looks_around = route.class == Class::Browse;
    match looks_around && is_program(fields) && !is_known(route, client) {
        true => Class::Bot,
        false => route.class,
    }
}

/// Whether a program is not to be shed before persons.
fn is_known(route: &Route, client: IpAddr) -> bool {
    route.known_bots.iter().any(|list| list.contains(client))
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
}
