use super::*;

#[test]
fn what_carries_over() {
    for (pattern, expected) in [
        (r"\.php$", r"\.php$"),
        (r"^/old/(.*)$", r"^/old/(.*)$"),
        (r"^/p/([^/]+)/x", r"^/p/([^/]+)/x"),
        (r"\.(jpg|png)$", r"\.(jpg|png)$"),
        ("^/(a|b)/", "^/(a|b)/"),
        ("(/a|/b)c", "(/a|/b)c"),
        ("admin", "admin"),
    ] {
        assert_eq!(translated(pattern, false).as_deref(), Ok(expected));
    }
    for (pattern, is_fine) in [
        (r"\.php$", true),
        (r"^/p/(?<id>\d+)$", true),
        (r"\.(jpg|png)$", true),
        (r"^/(?!admin)", false),
        (r"(a)\1", false),
        (r"a*\bx", false),
        (r"^/a\/b", true),
        (r"(", false),
    ] {
        assert_eq!(translated(pattern, true).is_ok(), is_fine, "{pattern}");
    }
    assert_eq!(translated("/a", true).as_deref(), Ok("(?i)/a"));
}

#[test]
fn what_is_encoded_in_paths() {
    for (pattern, path, expected) in [
        ("^/sp x", "/sp%20x", true),
        ("^/é", "/%C3%A9", true),
        ("#hash", "/%23hash", true),
        ("^/[a&&b]z", "/az", true),
        ("^/[a&&b]z", "/&z", true),
        ("^/a.b$", "/a%20b", true),
        ("^/a[^/]b$", "/a%20b", true),
        ("^/a[^/]b$", "/a/b", false),
        (r"^/a\{b", "/a%7Bb", true),
        // Both spellings are read as this one.
        (r"^/a\|b", "/a|b", true),
        // What is encoded is one byte, and none of a word.
        (r"^/a\Wb", "/a%20b", true),
        (r"^/a\Db", "/a%20b", true),
        (r"^/\D+$", "/%20x", true),
        ("^/[^0-9]+x$", "/%20x", true),
        (r"^/[^\d]*b", "/%20b", true),
        (r"\badmin\b", "/%20admin%20", true),
        (r"\badmin\b", "/xadmin", false),
        ("20", "/%20x", false),
        ("20", "/%20", false),
        ("20", "/a20", true),
        ("(2|0x)", "/%20x", false),
        ("(x)?0y", "/%20y", false),
        ("(?i)a$", "/x%EA", false),
        ("(?i)a$", "/x%EAa", true),
        ("^/.*0", "/%20", false),
        ("^/.*0", "/%200", true),
        ("^/(.*)0x", "/%20x", false),
        (r"[a-z]+\.p$", "/%C3.p", false),
        ("^/a{2}$", "/aa", true),
    ] {
        assert_eq!(
            Compiled::of(pattern, false).matches(path),
            expected,
            "{pattern} {path}"
        );
    }
    assert!(translated("^/[a-c--b]", false).is_err());
    assert!(translated("^/[ a]", false).is_err());
    assert!(translated("^/a++b", false).is_err());
}

#[test]
fn what_takes_more_where_no_other_can_be_said() {
    for (pattern, expected) in [
        ("^/(?!pub)secret", Some("^/secret")),
        (r"/end\Z", Some("/end$")),
        (r"\.php(?!x)$", Some(r"\.php$")),
        ("^/a(?#why)b", Some("^/ab")),
        (r"^/abc\Qd\E", Some("^/abc")),
        (r"\Rx", None),
        ("(?!a)*x", None),
        (r"/x\Bb", Some("/xb")),
    ] {
        assert_eq!(superset(pattern, false).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn expressions_below_a_prefix() {
    use Within::{Exactly, Mostly, No};
    for (prefix, own, expected) in [
        ("/", r"\.php$", Exactly(r"\.php$".to_owned())),
        ("/b/", r"\.php$", Exactly(r"^/b/.*\.php$".to_owned())),
        (
            "/b/",
            r"(?i)\.php$",
            Exactly(r"^/b/.*(?i)\.php$".to_owned()),
        ),
        ("/b/", "/wp", Exactly("^(?:/b/.*|/b)/wp".to_owned())),
        ("/b/", "^/b/x", Exactly("^/b/x".to_owned())),
        ("/b/", "^/(b|c)/x", No),
        ("/b/", "(a|b)", Mostly("^/b/.*(a|b)".to_owned())),
        ("/b/", "a|b", Mostly("^/b/.*(?:a|b)".to_owned())),
    ] {
        assert_eq!(within(prefix, own), expected, "{prefix} {own}");
    }
}

#[test]
fn single_paths() {
    for (pattern, expected) in [
        (r"^/old\.html$", Some("/old.html")),
        ("^/old$", Some("/old")),
        ("^/old.html$", None),
        ("^/old/?$", None),
        ("/old$", None),
        (r"^/a\d$", None),
    ] {
        assert_eq!(only_path(pattern).as_deref(), expected, "{pattern}");
    }
}
