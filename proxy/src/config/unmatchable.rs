//! Expressions that match no path which a request can have: a blank, a letter beyond ASCII, `%2f`.
//!
//! What a matched path may be (`edge/path.rs`, decision 12) is a small automaton, and so is an expression; both are walked
//! at once, until the expression matches or there is nowhere left to go. To tell why there is not, the path is allowed
//! one thing more at a time.

use std::collections::{HashSet, VecDeque};

use regex_automata::{
    Input,
    hybrid::{LazyStateID, dfa::DFA},
    util::syntax,
};

use crate::edge::path::EncodedSlashes;

/// Pairs of states that are looked at; where that is not enough, nothing is said.
const PAIRS_MAX: usize = 20_000;
/// The same for all expressions of a configuration: a reload waits for it.
const ALL_PAIRS_MAX: usize = 300_000;
/// Octets of an expression in memory that take as long to make as a pair takes to look at.
const OCTETS_OF_PAIR: usize = 256;
/// Memory that an expression's states may take, the same.
const STATES_MAX: usize = 4 << 20;

/// Something that stands in no matched path, and that somebody may have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Nothing,
    /// Not `/` first.
    Start,
    Blank,
    Query,
    Fragment,
    /// Octets above 0x7f.
    Letters,
    /// What else no target may hold.
    Octets,
    /// A `%` by itself.
    Percent,
    /// `//`
    Doubled,
    /// `/./` and `/../`
    Dots,
    /// `%2f`, where that is a slash.
    Slashes,
    /// `%c3`
    LowerCase,
    /// `%7E`, `%40`: what a path can say as it is.
    Escapes,
}

const EXCESSES: [(Excess, &str); 12] = [
    (Excess::Start, "a path begins with `/`"),
    (Excess::Blank, "a blank is `%20` in a path"),
    (
        Excess::Query,
        "what stands behind `?` is no part of the path; a `?` within it is `%3F`",
    ),
    (
        Excess::Fragment,
        "browsers keep `#` and what follows to themselves; one within a path is `%23`",
    ),
    (
        Excess::Letters,
        "letters beyond ASCII stand percent-encoded in a path, as `%C3%A4` for `ä`",
    ),
    (
        Excess::Octets,
        "no path has `\"`, `<`, `>`, `\\`, `^`, `` ` ``, `{`, `}` or a control byte as it is: write `%22` and the like",
    ),
    (
        Excess::Doubled,
        "doubled slashes are one when a route is chosen: write `/`",
    ),
    (Excess::Dots, "dot segments are gone when a route is chosen"),
    (
        Excess::Slashes,
        "encoded slashes are none when a route is chosen: write `/`, or `encoded_slashes = \"keep\"` in [server]",
    ),
    (
        Excess::LowerCase,
        "the digits of escapes are upper case: write `%C3`, not `%c3`",
    ),
    (
        Excess::Escapes,
        "what a path can say as it is stands decoded when a route is chosen: write `~`, not `%7E`",
    ),
    (Excess::Percent, "a `%` within a path is `%25`"),
];

/// Looks at the expressions of a configuration, one after the other.
pub(super) struct Looks {
    slashes: EncodedSlashes,
    /// Pairs that may still be looked at.
    left: usize,
}

impl Looks {
    pub(super) fn new(slashes: EncodedSlashes) -> Self {
        Self {
            slashes,
            left: ALL_PAIRS_MAX,
        }
    }

    /// What to write instead, where an expression matches no path; `None` where it matches one, or it takes too long to
    /// tell.
    pub(super) fn why(&mut self, expression: &str) -> Option<&'static str> {
        if self.left == 0 {
            return None;
        }
        let config = DFA::config()
            .unicode_word_boundary(true)
            .cache_capacity(STATES_MAX)
            .minimum_cache_clear_count(Some(0));
        let dfa = DFA::builder()
            .configure(config)
            .syntax(syntax::Config::new())
            .build(expression)
            .ok()?;
        self.spend(dfa.get_nfa().memory_usage() / OCTETS_OF_PAIR);
        if self.matches(&dfa, Excess::Nothing)? {
            return None;
        }
        let is_kept = self.slashes == EncodedSlashes::Keep;
        let mut reasons = EXCESSES
            .iter()
            .filter(|(excess, _)| !(is_kept && *excess == Excess::Slashes));
        let reason = reasons.find(|(excess, _)| self.matches(&dfa, *excess) == Some(true));
        let known = reason.map(|(_, help)| *help);
        Some(known.unwrap_or("docs/paths.md says which form of a path routes are chosen by"))
    }

    fn spend(&mut self, pairs: usize) {
        self.left = self.left.saturating_sub(pairs);
    }

    /// Whether an expression matches a path; `None` where that is too much to tell.
    fn matches(&mut self, dfa: &DFA, excess: Excess) -> Option<bool> {
        let mut cache = dfa.create_cache();
        let language = Language {
            slashes: self.slashes,
            excess,
        };
        let start = dfa.start_state_forward(&mut cache, &Input::new("")).ok()?;
        let mut seen: HashSet<(LazyStateID, At)> = HashSet::new();
        let mut waiting = VecDeque::from([(start, At::Start)]);
        while let Some((state, at)) = waiting.pop_front() {
            self.spend(1);
            if language.may_end(at) && dfa.next_eoi_state(&mut cache, state).ok()?.is_match() {
                return Some(true);
            }
            for octet in 0..=u8::MAX {
                let Some(next) = language.step(at, octet) else {
                    continue;
                };
                let state = dfa.next_state(&mut cache, state, octet).ok()?;
                // Whatever follows: every beginning of a path is one of a whole path.
                if state.is_match() {
                    return Some(true);
                }
                // One that gives up at octets beyond ASCII, for the sake of `\b`.
                if state.is_dead() || state.is_quit() || !seen.insert((state, next)) {
                    continue;
                }
                waiting.push_back((state, next));
            }
            if seen.len() > PAIRS_MAX || self.left == 0 {
                return None;
            }
        }
        Some(false)
    }
}

/// Where in a path an octet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Start,
    /// Behind a slash.
    Slash,
    /// Behind `/.` and `/..`.
    Dot,
    TwoDots,
    /// Within a segment.
    Segment,
    /// Behind `%`.
    Percent,
    /// Behind `%` and this digit.
    Digit(u8),
}

/// Paths by which routes are chosen.
struct Language {
    slashes: EncodedSlashes,
    excess: Excess,
}

impl Language {
    fn has(&self, excess: Excess) -> bool {
        self.excess == excess
    }

    fn may_end(&self, at: At) -> bool {
        let is_lone = matches!(at, At::Percent | At::Digit(_)) && self.has(Excess::Percent);
        is_lone || matches!(at, At::Slash | At::Segment)
    }

    /// Where an octet leads; `None` where it may not stand.
    fn step(&self, at: At, octet: u8) -> Option<At> {
        match (at, octet) {
            (At::Start, b'/') => Some(At::Slash),
            (At::Start, _) if !self.has(Excess::Start) => None,
            // No escape begins there.
            (At::Percent | At::Digit(_), _)
                if self.has(Excess::Percent) && !octet.is_ascii_hexdigit() =>
            {
                self.step(At::Segment, octet)
            }
            (At::Percent, _) => {
                let is_digit = octet.is_ascii_digit() || (b'A'..=b'F').contains(&octet);
                let is_lower = (b'a'..=b'f').contains(&octet)
                    && (self.has(Excess::LowerCase) || self.has(Excess::Slashes));
                (is_digit || is_lower).then_some(At::Digit(octet))
            }
            (At::Digit(high), _) => self.escape(high, octet).then_some(At::Segment),
            (At::Slash, b'/') => self.has(Excess::Doubled).then_some(At::Slash),
            (At::Dot | At::TwoDots, b'/') => self.has(Excess::Dots).then_some(At::Slash),
            (_, b'/') => Some(At::Slash),
            (At::Slash, b'.') => Some(match self.has(Excess::Dots) {
                true => At::Segment,
                false => At::Dot,
            }),
            (At::Dot, b'.') => Some(At::TwoDots),
            (_, b'%') => Some(At::Percent),
            (_, octet) => self.stands(octet).then_some(At::Segment),
        }
    }

    /// Whether an octet stands as it is within a segment.
    fn stands(&self, octet: u8) -> bool {
        match octet {
            b'?' => self.has(Excess::Query),
            b'#' => self.has(Excess::Fragment),
            b' ' => self.has(Excess::Blank),
            0x80.. => self.has(Excess::Letters),
            _ if is_plain(octet) => true,
            _ => self.has(Excess::Octets),
        }
    }

    /// Whether an octet stands there as `%` and two digits.
    fn escape(&self, high: u8, low: u8) -> bool {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (Some(first), Some(second)) = (digit(high), digit(low)) else {
            return false;
        };
        let Ok(octet) = u8::try_from(first * 16 + second) else {
            return false;
        };
        let is_slash = matches!(octet, b'/' | b'\\');
        let is_upper = ![high, low].iter().any(u8::is_ascii_lowercase);
        let is_spelt = is_upper
            || self.has(Excess::LowerCase)
            || (is_slash && self.has(Excess::Slashes))
            || (is_plain(octet) && self.has(Excess::Escapes));
        is_spelt
            && match octet {
                0..0x20 | 0x7f => false,
                _ if is_slash => self.slashes == EncodedSlashes::Keep || self.has(Excess::Slashes),
                _ if is_plain(octet) => self.has(Excess::Escapes),
                _ => true,
            }
    }
}

/// What stands in a path as it is, and only so.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@[]|".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edge::path::normalise, random};

    use EncodedSlashes::{Decode, Keep, Refuse};

    #[test]
    fn what_matches_no_path_and_why() {
        for (expression, slashes, told) in [
            ("", Decode, None),
            ("^/$", Decode, None),
            ("^/shop/[0-9]+$", Decode, None),
            ("\\.php$", Decode, None),
            ("^/(a b|c)$", Decode, None),
            ("^/a( b)?$", Decode, None),
            ("^/a\\b", Decode, None),
            ("^/\\w+-\\d{1,9}$", Decode, None),
            ("(?i)^/%E0%A6", Decode, None),
            ("^/[^a]", Decode, None),
            ("^/a%20b$", Decode, None),
            ("^/.well-known/", Decode, None),
            ("^/\\.\\./?\\.x", Decode, None),
            ("^/a/\\.\\.\\.$", Decode, None),
            ("%2F", Keep, None),
            ("^/a b", Decode, Some("`%20`")),
            ("^/a\\sb", Decode, Some("`%20`")),
            ("^/ä", Decode, Some("`%C3%A4`")),
            ("^/ঢাল$", Decode, Some("percent-encoded")),
            ("^/[à-ü]+$", Decode, Some("percent-encoded")),
            ("^/a#b", Decode, Some("`%23`")),
            ("^/a\\?b=c", Decode, Some("no part of the path")),
            ("^/a\"", Decode, Some("`%22`")),
            ("%2f", Decode, Some("keep")),
            ("%2F", Decode, Some("keep")),
            ("%5C", Refuse, Some("keep")),
            ("%2f", Keep, Some("upper case")),
            ("^/%c3%A4", Decode, Some("upper case")),
            ("^/%7Euser", Decode, Some("decoded")),
            ("^/a%40b", Decode, Some("decoded")),
            ("^/a//b", Decode, Some("doubled")),
            ("//", Keep, Some("doubled")),
            ("^/a/\\.\\./b", Decode, Some("dot segments")),
            ("/\\.$", Decode, Some("dot segments")),
            ("^/100%$", Decode, Some("`%25`")),
            ("^/100%-off", Decode, Some("`%25`")),
            ("^shop/", Decode, Some("begins with `/`")),
            ("^$", Decode, Some("docs/paths.md")),
            ("a$b", Decode, Some("docs/paths.md")),
            ("^/a b//c", Decode, Some("docs/paths.md")),
            ("/%2e%2e/", Decode, Some("decoded")),
            ("^/%5fa", Decode, Some("decoded")),
            ("^/100%5$", Decode, Some("`%25`")),
            ("^/%%", Decode, Some("`%25`")),
            // More than one thing, and it is not the `%`.
            ("^/%c3%2f", Decode, Some("docs/paths.md")),
        ] {
            let found = Looks::new(slashes).why(expression);
            match (found, told) {
                (None, None) => {}
                (Some(found), Some(told)) => {
                    assert!(found.contains(told), "{expression}: {found}");
                }
                _ => panic!("{expression} {slashes:?}: {found:?}"),
            }
        }
    }

    /// Whatever a request's path comes to is one of the paths that are walked.
    #[test]
    fn no_path_is_forgotten() {
        const PIECES: [&str; 22] = [
            "/",
            "/",
            ".",
            "..",
            "a",
            "Z9",
            "%2f",
            "%2F",
            "%5c",
            "%2e",
            "%20",
            "%e0",
            "%C3",
            "%7e",
            "%40",
            "%25",
            "%3F",
            "%22",
            "[x]",
            "~!$&'()*+,;=:@|",
            "-_",
            "%5B",
        ];
        let mut walked = 0;
        for _ in 0..20_000 {
            let mut target = "/".to_owned();
            for _ in 0..random::below(9) {
                target.push_str(PIECES[random::below(PIECES.len())]);
            }
            for slashes in [Decode, Keep, Refuse] {
                let Ok(normal) = normalise(&target, slashes) else {
                    continue;
                };
                let language = Language {
                    slashes,
                    excess: Excess::Nothing,
                };
                let step = |at: Option<At>, octet: u8| language.step(at?, octet);
                let matched = normal.matched();
                let end = matched.bytes().fold(Some(At::Start), step);
                assert!(
                    end.is_some_and(|at| language.may_end(at)),
                    "{target} is {matched} with {slashes:?}: {end:?}"
                );
                walked += 1;
            }
        }
        assert!(walked > 10_000, "{walked}");
    }

    /// However many there are: a reload waits for it, and ten thousand may stand in a file.
    #[test]
    fn large_expressions_take_no_long_time() {
        let began = std::time::Instant::now();
        let mut looks = Looks::new(Decode);
        assert!(looks.why("^/a b$").is_some());
        for i in 0..10_000 {
            for expression in [
                format!("^/{i}/[a-z0-9]{{1,200}}$"),
                format!("^/{i}/(a|b)*a(a|b){{12}} $"),
                format!("^/{i}/\\w{{1,9}} $"),
                format!("^/{i}{} ", "a".repeat(900)),
            ] {
                looks.why(&expression);
            }
        }
        assert_eq!(looks.why("^/a b$"), None);
        assert!(began.elapsed() < std::time::Duration::from_secs(60));
    }

    /// Usual ones are all looked at.
    #[test]
    fn ten_thousand_expressions_are_not_too_many() {
        let mut looks = Looks::new(Decode);
        for i in 0..10_000 {
            let found = looks.why(&format!("^/p{i}/([a-z0-9-]+)(?:/|\\.html)?$"));
            assert_eq!(found, None);
        }
        assert!(looks.why("^/a b$").is_some(), "{}", looks.left);
    }
}
