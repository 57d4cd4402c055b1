//! Names in certificates as text (RFC 4514): printable ASCII, safe in fields and logs.

use std::fmt::Write;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Short names of attribute types, the first nine by RFC 4514 §3.
const TYPES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    // As OpenSSL writes them.
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN"),
];

/// `CN=shop,O=Example`: the last part first, what could be misread escaped.
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter().collect();
    let mut out = String::new();
    for part in parts.iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (n, attribute) in part.iter().enumerate() {
            if n > 0 {
                out.push('+');
            }
            put(attribute, &mut out);
        }
    }
    out
}

fn put(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    match TYPES.iter().find(|(known, _)| *known == oid) {
        Some((_, short)) => out.push_str(short),
        None => out.push_str(&oid),
    }
    out.push('=');
    match attribute.as_str() {
        Ok(text) => escape(text, out),
        // A value that is no text: its octets (RFC 4514 §2.4).
        Err(_) => {
            out.push('#');
            for byte in attribute.as_slice() {
                // Writing to memory does not fail.
                let _ = write!(out, "{byte:02X}");
            }
        }
    }
}

/// RFC 4514 §2.4, and everything beyond printable ASCII as its octets.
fn escape(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' | b'#' if is_edge => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to memory does not fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        for (given, wanted) in [
            ("plain name", "plain name"),
            ("a,b+c\"d\\e;f<g>h", "a\\,b\\+c\\\"d\\\\e\\;f\\<g\\>h"),
            (" edge ", "\\ edge\\ "),
            ("#1", "\\#1"),
            ("a#1", "a#1"),
            ("ঢাল", "\\E0\\A6\\A2\\E0\\A6\\BE\\E0\\A6\\B2"),
            ("a\r\nx-evil: 1", "a\\0D\\0Ax-evil: 1"),
            (" ", "\\ "),
            ("", ""),
        ] {
            let mut out = String::new();
            escape(given, &mut out);
            assert_eq!(out, wanted);
        }
    }
}
