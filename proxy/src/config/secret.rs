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

/// Whether the environment's variable of this name holds a secret: `API_TOKEN` does, `PORT` does not.
pub(super) fn is_variable(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_path = name.ends_with("_file") || name.ends_with("_path");
    !is_path && words.into_iter().any(|word| WORDS.contains(&word))
}

/// Whether a key of the file of this name holds a secret itself: a file's name is none, and neither is what
/// requests are counted by.
pub(super) fn is_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['_', '-']);
    // What requests are counted by is a `key` too.
    let is_secret = |word: &str| word != "key" && WORDS.contains(&word);
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
}
