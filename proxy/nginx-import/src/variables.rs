//! Texts with variables, and what stands for them in Dhal.

use crate::dialect;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// The pieces of a text: `$name`, `${name}`, `$1`, and what is between.
pub(crate) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(found) = rest[from..].find('$') {
        let at = from + found;
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{') {
            Some(inner) => match inner.find('}') {
                Some(end) => (&inner[..end], end + 3),
                None => ("", 1),
            },
            None => {
                let digits = after.bytes().next().is_some_and(|b| b.is_ascii_digit());
                let end = match digits {
                    true => 1,
                    false => after
                        .bytes()
                        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                        .count(),
                };
                (&after[..end], end + 1)
            }
        };
        if name.is_empty() {
            from = at + 1;
            continue;
        }
        if at > 0 {
            out.push(Part::Text(&rest[..at]));
        }
        out.push(Part::Variable(name));
        rest = &rest[at + length..];
        from = 0;
    }
    if !rest.is_empty() {
        out.push(Part::Text(rest));
    }
    out
}

/// Whether a text has variables.
pub(crate) fn has_any(text: &str) -> bool {
    parts(text)
        .iter()
        .any(|part| matches!(part, Part::Variable(_)))
}

/// Where a text will stand: not every placeholder means something everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// `to` of a redirect, or a rewrite.
    Target,
    /// The value of a field.
    Field,
}

/// The text with Dhal's placeholders, or the variable for which there is none. `server_name`: the
/// first name of the server, which is what nginx puts in.
pub(crate) fn placeholders(text: &str, place: Use, server_name: &str) -> Result<String, String> {
    let parts = parts(text);
    let mut out = String::new();
    for (index, part) in parts.iter().enumerate() {
        let name = match part {
            Part::Text(text) => {
                // `?$args` is the query with its mark.
                let next = parts.get(index + 1);
                let is_query = matches!(next, Some(Part::Variable("args" | "query_string")));
                match text.strip_suffix(['?', '&']) {
                    Some(before) if is_query && place == Use::Target => {
                        out += &dialect::literal(before);
                    }
                    _ => out += &dialect::literal(text),
                }
                continue;
            }
            Part::Variable(name) => *name,
        };
        let before = index.checked_sub(1).map(|i| &parts[i]);
        out += match name {
            "host" | "http_host" | "proxy_host" => "{host}",
            "scheme" => "{scheme}",
            "remote_addr" | "realip_remote_addr" if place == Use::Field => "{client_ip}",
            "request_id" if place == Use::Field => "{request_id}",
            "request_uri" => dialect::PATH_AND_QUERY,
            "uri" | "document_uri" => "{path}",
            "is_args"
                if matches!(
                    parts.get(index + 1),
                    Some(Part::Variable("args" | "query_string"))
                ) =>
            {
                ""
            }
            "args" | "query_string" => match before {
                Some(Part::Variable("is_args")) => dialect::QUERY,
                Some(Part::Text(text)) if text.ends_with('?') && place == Use::Target => {
                    dialect::QUERY
                }
                Some(Part::Text(text)) if text.ends_with('&') && place == Use::Target => {
                    dialect::QUERY_TOO
                }
                _ => "{query}",
            },
            "server_name" if !server_name.is_empty() => server_name,
            _ if name.bytes().all(|b| b.is_ascii_digit()) && place == Use::Target => {
                out += &format!("{{{name}}}");
                continue;
            }
            _ => return Err(format!("${name}")),
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        use Part::{Text, Variable};
        for (text, expected) in [
            ("", &[][..]),
            ("a", &[Text("a")]),
            ("$a", &[Variable("a")]),
            (
                "x${a}y$b-",
                &[
                    Text("x"),
                    Variable("a"),
                    Text("y"),
                    Variable("b"),
                    Text("-"),
                ],
            ),
            ("$1x", &[Variable("1"), Text("x")]),
            ("a$", &[Text("a$")]),
            ("a$ b$c", &[Text("a$ b"), Variable("c")]),
            ("${a", &[Text("${a")]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_for_variables() {
        for (text, expected) in [
            (
                "https://$host$request_uri",
                Ok("https://{host}{path}{?query}"),
            ),
            (
                "https://$server_name$uri$is_args$args",
                Ok("https://shop.example{path}{?query}"),
            ),
            ("/x?$args", Ok("/x{?query}")),
            ("/p/$1", Ok("/p/{1}")),
            ("/a?b=$args", Ok("/a?b={query}")),
            ("$cookie_a", Err("$cookie_a")),
        ] {
            let got = placeholders(text, Use::Target, "shop.example");
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        }
        assert_eq!(placeholders("{a}", Use::Field, "").as_deref(), Ok("{{a}}"));
        assert!(placeholders("$1", Use::Field, "").is_err());
    }
}
