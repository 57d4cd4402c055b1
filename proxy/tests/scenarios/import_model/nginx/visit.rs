//! The rewrite module.

use nginx_import::Directive;
use regex::Regex;

use super::{Asked, LOOKING, Outcome};

/// What the rewrite module did.
pub(super) enum Rewritten {
    Answer(Outcome),
    /// The path is another one, and a location is looked for.
    Anew,
    Stays,
}

pub(super) struct Visit<'a> {
    pub(super) asked: &'a Asked,
    pub(super) uri: String,
    pub(super) args: String,
    pub(super) is_internal: bool,
}

impl Visit<'_> {
    /// The rules of the rewrite module in a block, in their order.
    pub(super) fn rewrite(&mut self, block: &[Directive], is_server: bool) -> Rewritten {
        let mut changed = false;
        for directive in block {
            match self.rule(directive, &mut changed) {
                Some(Rewritten::Anew) if is_server => return Rewritten::Stays,
                Some(done) => return done,
                None => {}
            }
        }
        match changed && !is_server {
            true => Rewritten::Anew,
            false => Rewritten::Stays,
        }
    }

    fn rule(&mut self, directive: &Directive, changed: &mut bool) -> Option<Rewritten> {
        match directive.name.as_str() {
            "return" => Some(Rewritten::Answer(match directive.arg(0).parse::<u16>() {
                Ok(status @ 400..) => Outcome::Refused(status),
                Ok(status @ 300..) => Outcome::Led(status),
                Ok(status) => Outcome::Fixed(status),
                Err(_) => Outcome::Led(302),
            })),
            "if" if self.holds(directive) => {
                for inner in directive.children() {
                    if let Some(done) = self.rule(inner, changed) {
                        return Some(done);
                    }
                }
                None
            }
            "rewrite" => {
                let regex = Regex::new(&with_line_breaks(directive.arg(0))).expect("an expression");
                let captures = regex.captures(&self.uri)?;
                let to = directive.arg(1);
                let flag = directive.arg(2);
                if to.starts_with("http") || matches!(flag, "permanent" | "redirect") {
                    let status = if flag == "permanent" { 301 } else { 302 };
                    return Some(Rewritten::Answer(Outcome::Led(status)));
                }
                let (path, args) = to.split_once('?').unwrap_or((to, ""));
                let mut uri = path.to_owned();
                for number in 1..=9 {
                    let value = captures.get(number).map_or("", |m| m.as_str());
                    uri = uri.replace(&format!("${number}"), value);
                }
                if args.is_empty() && to.ends_with('?') {
                    self.args.clear();
                } else if !args.is_empty() {
                    self.args = format!("{args}&{}", self.args);
                }
                self.uri = uri;
                self.is_internal = true;
                *changed = true;
                match flag {
                    "last" => Some(Rewritten::Anew),
                    "break" => Some(Rewritten::Stays),
                    _ => None,
                }
            }
            "break" => Some(Rewritten::Stays),
            _ => None,
        }
    }

    fn holds(&self, directive: &Directive) -> bool {
        let words: Vec<_> = directive.words().collect();
        let joined = words.join(" ");
        let inner = joined
            .trim_start_matches('(')
            .strip_suffix(')')
            .expect("a condition");
        let mut words = inner.trim().splitn(3, ' ');
        let name = words.next().unwrap_or_default();
        let operator = words.next();
        let value = words.next().unwrap_or_default().trim_matches('"');
        let host = self
            .asked
            .host
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        let is = match name {
            "$request_method" => self.asked.method.to_owned(),
            "$uri" => self.uri.clone(),
            "$request_uri" => self.asked.target.clone(),
            "$args" => self.args.clone(),
            "$host" => host,
            "$http_host" => self.asked.host.clone(),
            "$remote_addr" => self.asked.client.to_string(),
            "$scheme" => "http".to_owned(),
            // Visitors show nothing.
            name if name.starts_with("$http_") || name.starts_with("$cookie_") => String::new(),
            name => panic!("{name} of {joined}"),
        };
        match operator {
            None => !is.is_empty() && is != "0",
            Some("=") => is == value,
            Some("!=") => is != value,
            Some("~") => matches(value, false, &is),
            Some("~*") => matches(value, true, &is),
            Some("!~") => !matches(value, false, &is),
            Some("!~*") => !matches(value, true, &is),
            Some(other) => panic!("{other} of {joined}"),
        }
    }
}

/// An expression as PCRE reads it: `$` is also true before a line break at the end.
fn with_line_breaks(pattern: &str) -> String {
    pattern.replace('$', r"\n?$")
}

pub(super) fn matches(pattern: &str, ignore_case: bool, text: &str) -> bool {
    let looking = LOOKING.iter().find(|(own, _, _)| *own == pattern);
    let is = |pattern: &str| {
        let built = regex::RegexBuilder::new(&with_line_breaks(pattern))
            .case_insensitive(ignore_case)
            .build();
        built.expect("an expression").is_match(text)
    };
    match looking {
        Some((_, with, without)) => is(with) && !is(without),
        None => is(pattern),
    }
}
