//! As much of HTML as it takes to read the shop's pages.

use memchr::memmem;

/// What stands between two texts, the first time.
pub(crate) fn between<'a>(page: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a [u8]> {
    let from = memmem::find(page, before)? + before.len();
    let length = memmem::find(&page[from..], after)?;
    Some(&page[from..from + length])
}

/// The text of the first heading.
pub(crate) fn heading(page: &[u8]) -> Option<String> {
    between(page, b"<h1>", b"</h1>").map(|text| unescaped(&String::from_utf8_lossy(text)))
}

/// The value of a hidden field of a form.
pub(crate) fn hidden(page: &[u8], name: &str) -> Option<String> {
    let before = format!("name=\"{name}\" value=\"");
    let value = between(page, before.as_bytes(), b"\"")?;
    Some(unescaped(&String::from_utf8_lossy(value)))
}

/// Names of the pictures a page shows, without `/images/` and `.png`; each once, in order, at most so many.
pub(crate) fn pictures(page: &[u8], most: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    for at in memmem::find_iter(page, b"<img src=\"/images/") {
        if found.len() == most {
            break;
        }
        let name = between(&page[at..], b"/images/", b".png\"");
        found.extend(name.filter(|name| !found.contains(name)));
    }
    found
}

/// Text with its references resolved.
pub(crate) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let read = rest[1..].split_once(';').and_then(|(name, after)| {
            let c = match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                _ => name
                    .strip_prefix('#')
                    .and_then(|code| code.parse().ok())
                    .and_then(char::from_u32),
            };
            c.map(|c| (c, after))
        });
        match read {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The content of a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

/// Percent-encodes what has a meaning in forms and targets.
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let page = br#"<h1>A &#38; B&lt; &x; 5&#34;</h1><input name="csrf" value="ab&amp;c">
            <img src="/images/one.png"><img src="/images/two.png"><img src="/images/one.png"><img src="/images/3.png">"#;
        assert_eq!(heading(page).as_deref(), Some("A & B< &x; 5\""));
        assert_eq!(hidden(page, "csrf").as_deref(), Some("ab&c"));
        assert_eq!(hidden(page, "key"), None);
        assert_eq!(pictures(page, 9), [&b"one"[..], b"two", b"3"]);
        assert_eq!(pictures(page, 1), [b"one"]);
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            form(&[("a", "b c"), ("d", "e&f=é")]),
            "a=b+c&d=e%26f%3D%C3%A9"
        );
    }
}
