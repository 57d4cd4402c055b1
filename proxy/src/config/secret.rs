//! Which values nobody is to read in a message, a log or a print-out: those that are named like a secret.

use toml::de::DeValue;

/// What stands in the place of a secret that the file holds in the clear.
pub(crate) const HIDDEN: &str = "(hidden)";

/// The same with a digest of the secret; it is never printed, see [`super::Effective::digests`].
pub(super) fn with_digest(digest: &str) -> String {
    format!("(hidden {digest})")
}

/// The digest that stands in the place of a secret.
pub(super) fn digest_of(text: &str) -> Option<&str> {
    let digest = text.strip_prefix("(hidden ")?.strip_suffix(')')?;
    (digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digest)
}

/// Words of a name that tell of a secret.
const WORDS: [&str; 17] = [
    "auth",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "hmac",
    "jwt",
    "key",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "private",
    "pwd",
    "secret",
    "signature",
    "token",
];

/// What words that tell of a secret end in, where two are written as one: `PGPASSWORD`, `apikey`.
const ENDS: [&str; 9] = [
    "accesskey",
    "apikey",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "secret",
    "secrets",
    "token",
];

fn is_telling(word: &str) -> bool {
    WORDS.contains(&word) || ENDS.iter().any(|end| word.ends_with(end))
}

/// Whether the environment's variable of this name holds a secret: `API_TOKEN` does, `PORT` does not.
pub(super) fn is_variable(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_path = name.ends_with("_file") || name.ends_with("_path");
    !is_path && words.into_iter().any(is_telling)
}

/// Whether a key of the file of this name holds a secret itself: a file's name is none, and neither is what
/// requests are counted by.
pub(super) fn is_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['_', '-']);
    // What requests are counted by is a `key` too.
    let is_secret = |word: &str| word != "key" && is_telling(word);
    let is_path = name.ends_with("_file") || name.ends_with("_path");
    let is_field = ["cookie", "set-cookie"].contains(&name.as_str())
        || name.ends_with("api_key")
        || name.ends_with("api-key");
    !is_path && (is_field || words.any(is_secret))
}

/// The names of the environment's variables in a text.
pub(super) fn variables(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let is_escaped = rest[..at].ends_with('$');
        rest = &rest[at + 2..];
        if is_escaped {
            continue;
        }
        let inner = rest.split('}').next().unwrap_or_default();
        names.push(inner.split(":-").next().unwrap_or_default());
    }
    names
}

/// A text with references to secret variables as it may be shown: without what is said for the case that they are not
/// set.
pub(super) fn without_defaults(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let is_escaped = rest[..at].ends_with('$');
        let (before, behind) = rest.split_at(at + 2);
        out += before;
        rest = behind;
        let inner = rest.split('}').next().unwrap_or_default();
        if let Some((name, default)) = inner.split_once(":-")
            && !is_escaped
            && is_variable(name)
            && !default.is_empty()
        {
            out += &format!("{name}:-{HIDDEN}");
            rest = &rest[inner.len()..];
        }
    }
    out + rest
}

/// What the fields that tell who somebody is begin with; no secret.
const SCHEMES: [&str; 3] = ["Bearer ", "Basic ", "Token "];

/// Whether a text is references to secret variables, and nothing besides.
pub(super) fn is_reference(text: &str) -> bool {
    let scheme = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    let mut rest = scheme.unwrap_or(text);
    while let Some((inner, behind)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
        if !is_variable(inner.split(":-").next().unwrap_or_default()) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty() && text.ends_with('}')
}

/// The first variable of a string that holds a secret.
pub(super) fn in_value<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    let DeValue::String(text) = value else {
        return None;
    };
    variables(text).into_iter().find(|name| is_variable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "API_TOKEN",
            "DB_PASSWORD",
            "eab_hmac",
            "SECRET",
            "STRIPE_KEY",
            "DB_PASS",
            "BASIC_AUTH",
            "JWT",
            "BEARER_OF_SHOP",
            "PRIVATE_PEM",
            "SIGNATURE",
            "PGPASSWORD",
            "STRIPE_APIKEY",
            "DB_PASSWORDS",
        ] {
            assert!(is_variable(name), "{name}");
        }
        for name in [
            "PORT",
            "HOME",
            "TOKEN_FILE",
            "MONKEY",
            "KEYBOARD",
            "BYPASS",
            "AUTHOR",
            "PASS_FILE",
        ] {
            assert!(!is_variable(name), "{name}");
        }
        for name in [
            "authorization",
            "hmac_key",
            "x-api-key",
            "password",
            "X-Auth-Token",
            "X-Origin-Auth",
            "db_pass",
            "x-jwt",
            "x-signature",
            "cookie",
            "apikey",
            "X-AccessToken",
        ] {
            assert!(is_key(name), "{name}");
        }
        for name in [
            "key",
            "keys",
            "token_file",
            "key_cookies",
            "bypass_cookies",
            "hash_key",
            "set_cookie",
            "cart_cookies",
            "max_keys",
            "key_headers",
            "keys_by_token_file",
            "bypass",
            "author",
        ] {
            assert!(!is_key(name), "{name}");
        }
    }

    #[test]
    fn variables_of_a_text() {
        for (text, names) in [
            ("", &[][..]),
            ("a${B}c${D:-e}", &["B", "D"]),
            ("$${B}", &[]),
            ("${B", &["B"]),
        ] {
            assert_eq!(variables(text), names, "{text}");
        }
    }

    #[test]
    fn references_as_they_are_shown() {
        for (text, shown, alone) in [
            ("${API_TOKEN}", "${API_TOKEN}", true),
            ("Bearer ${API_TOKEN}", "Bearer ${API_TOKEN}", true),
            ("${A_KEY}${B_KEY:-}", "${A_KEY}${B_KEY:-}", true),
            ("${A_KEY:-dev}", "${A_KEY:-(hidden)}", true),
            ("ab${A_KEY:-dev}cd", "ab${A_KEY:-(hidden)}cd", false),
            ("${PORT:-80}${A_KEY}", "${PORT:-80}${A_KEY}", false),
            ("$${A_KEY:-dev}", "$${A_KEY:-dev}", false),
            ("${A_KEY", "${A_KEY", false),
            ("", "", false),
            ("Bearer ", "Bearer ", false),
        ] {
            assert_eq!(without_defaults(text), shown, "{text}");
            assert_eq!(is_reference(text), alone, "{text}");
        }
    }
}
