//! Normalising the request target, once, before routing, key and upstream see it (RFC 3986 §6.2.2).

use std::borrow::Cow;

/// Why a target is refused; every one is a `400`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTarget {
    /// Not `/…`: asterisk-form, authority-form, or nothing.
    NotOriginForm,
    /// A byte that no URI may hold: control, space, `"<>\^`{|}`, 8-bit, or a fragment.
    ForbiddenByte,
    /// `%` without two hexadecimal digits, or an encoded control byte.
    BadEscape,
    /// `..` leads above the root.
    AboveRoot,
    /// An encoded slash, where none may be.
    EncodedSlash,
}

impl BadTarget {
    /// A sentence for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOriginForm => "request target does not begin with /",
            Self::ForbiddenByte => "request target holds a byte that is not allowed in a URI",
            Self::BadEscape => "request target holds a malformed percent-encoding",
            Self::AboveRoot => "request target leads above the root",
            Self::EncodedSlash => "request target holds an encoded slash",
        }
    }
}

/// What a slash or backslash that is percent-encoded in a path (`%2F`, `%5C`) is to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlashes {
    /// A slash.
    #[default]
    Decode,
    /// A letter of its segment.
    Keep,
    /// A reason for `400`.
    Refuse,
}

/// A normalised target, borrowed from the request where nothing had to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// `path[?query]` as the upstream gets it.
    pub whole: Cow<'a, str>,
    /// Bytes of the path at the start of `whole`.
    path_len: usize,
    /// The path as routes read it, where that is another.
    matched: Option<String>,
}

impl Target<'_> {
    /// The path without the query.
    pub fn path(&self) -> &str {
        &self.whole[..self.path_len]
    }

    /// The path by which everything is chosen: routes, and whatever they name parts of. Of the spellings that shops may
    /// take for one path it is the shortest, see [`matched`].
    pub fn matched(&self) -> &str {
        self.matched.as_deref().unwrap_or_else(|| self.path())
    }

    /// The query without its `?`; an empty one differs from none.
    pub fn query(&self) -> Option<&str> {
        self.whole.get(self.path_len + 1..)
    }
}

/// Normalises an origin-form target.
///
/// Unreserved characters are decoded, the hexadecimal digits of the others become upper case, and
/// dot segments go, also encoded ones. Doubled and encoded slashes stay: they mean something to some shops, and only
/// routes look past them. The exception are encoded slashes beside dot segments (`/a%2F..%2Fb`) where they are read as
/// slashes: no two shops need to agree on what such a path is, so it goes on as it was read. The query keeps its bytes.
pub fn normalise(target: &str, slashes: EncodedSlashes) -> Result<Target<'_>, BadTarget> {
    let bytes = target.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadTarget::NotOriginForm);
    }
    let mut path_len = bytes.len();
    let (mut plain, mut doubled) = (true, false);
    for (i, &b) in bytes.iter().enumerate() {
        if !ALLOWED[usize::from(b)] {
            return Err(BadTarget::ForbiddenByte);
        }
        if path_len == bytes.len() {
            match b {
                b'?' => path_len = i,
                b'%' => plain = false,
                b'.' if bytes[i - 1] == b'/' => plain = false,
                b'/' if i > 0 && bytes[i - 1] == b'/' => doubled = true,
                _ => {}
            }
        }
    }
    check_escapes(&bytes[path_len..])?;
    if plain {
        return Ok(Target {
            whole: Cow::Borrowed(target),
            path_len,
            matched: doubled.then(|| read(&target[..path_len], slashes).0),
        });
    }
    let mut path = decode_unreserved(&bytes[..path_len])?;
    if path.contains("/.") {
        path = remove_dot_segments(&path)?;
    }
    let mut matched = None;
    if has_other_reading(&path) {
        let (read, has_slash) = read(&path, slashes);
        match slashes {
            EncodedSlashes::Refuse if has_slash => return Err(BadTarget::EncodedSlash),
            EncodedSlashes::Decode if has_slash && has_dots(&read) => {
                path = remove_dot_segments(&read)?;
            }
            _ => matched = (read != path).then_some(read),
        }
    }
    let new_len = path.len();
    path.push_str(&target[path_len..]);
    Ok(Target {
        whole: Cow::Owned(path),
        path_len: new_len,
        matched,
    })
}

/// A normalised path as routes read it: doubled slashes are one, what a path can say as it is is not encoded, and
/// encoded slashes are what `slashes` says.
///
/// Of all paths that a shop may take for the same one, this is the only one that is its own reading. So what one route
/// keeps closed is not had through another by another spelling.
pub fn matched(path: &str, slashes: EncodedSlashes) -> Cow<'_, str> {
    if has_other_reading(path) {
        let (read, _) = read(path, slashes);
        if read != path {
            return Cow::Owned(read);
        }
    }
    Cow::Borrowed(path)
}

/// A path of the configuration, or a segment of one, as requests are compared with it; encoded slashes stay. `None` where
/// no request can have it.
pub fn literal(text: &str) -> Option<String> {
    let decoded = decode_unreserved(text.as_bytes()).ok()?;
    Some(matched(&decoded, EncodedSlashes::Keep).into_owned())
}

fn has_other_reading(path: &str) -> bool {
    path.contains('%') || path.contains("//")
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// The reading of a path, and whether it has an encoded slash.
fn read(path: &str, slashes: EncodedSlashes) -> (String, bool) {
    let mut out = String::with_capacity(path.len());
    let mut has_slash = false;
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let escape = match next {
            '%' => rest
                .get(1..3)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        let is_slash = matches!(escape, Some(b'/' | b'\\'));
        has_slash |= is_slash;
        let (read, length) = match escape {
            Some(_) if is_slash && slashes == EncodedSlashes::Decode => ('/', 3),
            Some(byte) if b"!$&'()*+,;=:@[]|".contains(&byte) => (char::from(byte), 3),
            _ => (next, next.len_utf8()),
        };
        if !(read == '/' && out.ends_with('/')) {
            out.push(read);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    (out, has_slash)
}

/// Bytes a target may hold: unreserved, reserved except `#[]`, and `%` (RFC 3986 §2). `[`, `]` and
/// `|` are let through in practice by every browser's query, so they are allowed as well.
const ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let good =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?@!$&'()*+,;=%[]|";
    let mut i = 0;
    while i < good.len() {
        table[good[i] as usize] = true;
        i += 1;
    }
    table
};

fn check_escapes(bytes: &[u8]) -> Result<(), BadTarget> {
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            decoded(&bytes[i..])?;
            i += 2;
        }
        i += 1;
    }
    Ok(())
}

/// The byte that the escape at the start of `bytes` stands for.
fn decoded(bytes: &[u8]) -> Result<u8, BadTarget> {
    let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    let (Some(high), Some(low)) = (digit(1), digit(2)) else {
        return Err(BadTarget::BadEscape);
    };
    let byte = u8::try_from(high * 16 + low).map_err(|_| BadTarget::BadEscape)?;
    if byte == 0 {
        return Err(BadTarget::BadEscape);
    }
    Ok(byte)
}

fn decode_unreserved(path: &[u8]) -> Result<String, BadTarget> {
    let mut out = String::with_capacity(path.len());
    let mut i = 0;
    while i < path.len() {
        if path[i] != b'%' {
            out.push(char::from(path[i]));
            i += 1;
            continue;
        }
        let byte = decoded(&path[i..])?;
        if byte < 0x20 || byte == 0x7f {
            return Err(BadTarget::BadEscape);
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for b in &path[i + 1..i + 3] {
                out.push(char::from(b.to_ascii_uppercase()));
            }
        }
        i += 3;
    }
    Ok(out)
}

/// RFC 3986 §5.2.4, but `..` at the root is an error rather than ignored.
fn remove_dot_segments(path: &str) -> Result<String, BadTarget> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                if kept.pop().is_none() {
                    return Err(BadTarget::AboveRoot);
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{
        EncodedSlashes::{Decode, Keep, Refuse},
        *,
    };

    #[test]
    fn targets_are_normalised() {
        for (given, wanted) in [
            ("/", "/"),
            ("/a/b?c=d", "/a/b?c=d"),
            ("/%7Euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2e/c", "/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a//b", "/a//b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("/a?x=/../y", "/a?x=/../y"),
            ("/a?", "/a?"),
            ("/%e0%a6%a2", "/%E0%A6%A2"),
        ] {
            for slashes in [Keep, Decode] {
                let whole = |given| normalise(given, slashes).map(|t| t.whole.into_owned());
                assert_eq!(whole(given).as_deref(), Ok(wanted), "{given}");
                assert_eq!(whole(wanted).as_deref(), Ok(wanted), "stable: {given}");
            }
        }
    }

    #[test]
    fn targets_that_no_uri_may_be_are_refused() {
        for (given, wanted) in [
            ("", BadTarget::NotOriginForm),
            ("*", BadTarget::NotOriginForm),
            ("a", BadTarget::NotOriginForm),
            ("/a b", BadTarget::ForbiddenByte),
            ("/a\\b", BadTarget::ForbiddenByte),
            ("/a#b", BadTarget::ForbiddenByte),
            ("/a\u{e4}", BadTarget::ForbiddenByte),
            ("/a\0", BadTarget::ForbiddenByte),
            ("/%", BadTarget::BadEscape),
            ("/%4", BadTarget::BadEscape),
            ("/%zz", BadTarget::BadEscape),
            ("/%00", BadTarget::BadEscape),
            ("/%0d%0a", BadTarget::BadEscape),
            ("/?a=%", BadTarget::BadEscape),
            ("/..", BadTarget::AboveRoot),
            ("/a/../../b", BadTarget::AboveRoot),
            ("/%2e%2e/b", BadTarget::AboveRoot),
        ] {
            assert_eq!(normalise(given, Decode), Err(wanted), "{given:?}");
        }
    }

    #[test]
    fn path_and_query_are_told_apart() {
        let target = normalise("/a/%62?q=1?2", Decode).expect("valid");
        assert_eq!((target.path(), target.query()), ("/a/b", Some("q=1?2")));
        assert_eq!(normalise("/a", Decode).expect("valid").query(), None);
        assert_eq!(normalise("/a?", Decode).expect("valid").query(), Some(""));
    }

    /// What is asked for, and for `decode` and `keep` what goes on and what routes read.
    type Spelling = (
        &'static str,
        (&'static str, &'static str),
        (&'static str, &'static str),
    );

    const SPELLINGS: &[Spelling] = &[
        ("/a/b", ("/a/b", "/a/b"), ("/a/b", "/a/b")),
        ("//a", ("//a", "/a"), ("//a", "/a")),
        ("//", ("//", "/"), ("//", "/")),
        (
            "///a//b///?c//d",
            ("///a//b///?c//d", "/a/b/"),
            ("///a//b///?c//d", "/a/b/"),
        ),
        ("/a/.//b", ("/a//b", "/a/b"), ("/a//b", "/a/b")),
        ("/a%2fb", ("/a%2Fb", "/a/b"), ("/a%2Fb", "/a%2Fb")),
        ("/a%5cb", ("/a%5Cb", "/a/b"), ("/a%5Cb", "/a%5Cb")),
        (
            "/a%252Fb",
            ("/a%252Fb", "/a%252Fb"),
            ("/a%252Fb", "/a%252Fb"),
        ),
        ("/%2Fa", ("/%2Fa", "/a"), ("/%2Fa", "/%2Fa")),
        ("/a/%2F/b", ("/a/%2F/b", "/a/b"), ("/a/%2F/b", "/a/%2F/b")),
        ("/a%2F", ("/a%2F", "/a/"), ("/a%2F", "/a%2F")),
        ("/a?b=%2F", ("/a?b=%2F", "/a"), ("/a?b=%2F", "/a")),
        // Beside dot segments nobody shall read it in another way.
        (
            "/a%2F..%2Fb?c",
            ("/b?c", "/b"),
            ("/a%2F..%2Fb?c", "/a%2F..%2Fb"),
        ),
        (
            "/a%2f%2e%2e%2fb",
            ("/b", "/b"),
            ("/a%2F..%2Fb", "/a%2F..%2Fb"),
        ),
        ("/a/..%2Fb", ("/b", "/b"), ("/a/..%2Fb", "/a/..%2Fb")),
        ("/a%2F../b", ("/b", "/b"), ("/a%2F../b", "/a%2F../b")),
        ("/a%5C..%5Cb", ("/b", "/b"), ("/a%5C..%5Cb", "/a%5C..%5Cb")),
        ("/a%2F.", ("/a/", "/a/"), ("/a%2F.", "/a%2F.")),
        (
            "/a%2F%2F..%2Fb",
            ("/b", "/b"),
            ("/a%2F%2F..%2Fb", "/a%2F%2F..%2Fb"),
        ),
        ("/a%2F.b", ("/a%2F.b", "/a/.b"), ("/a%2F.b", "/a%2F.b")),
        ("/a%2F...", ("/a%2F...", "/a/..."), ("/a%2F...", "/a%2F...")),
        // What a path can say as it is.
        ("/a%2bb", ("/a%2Bb", "/a+b"), ("/a%2Bb", "/a+b")),
        ("/%40%3A%3b", ("/%40%3A%3B", "/@:;"), ("/%40%3A%3B", "/@:;")),
        ("/a%20b", ("/a%20b", "/a%20b"), ("/a%20b", "/a%20b")),
        (
            "/%E0%A6%A2",
            ("/%E0%A6%A2", "/%E0%A6%A2"),
            ("/%E0%A6%A2", "/%E0%A6%A2"),
        ),
        (
            "/%3Fa%23b",
            ("/%3Fa%23b", "/%3Fa%23b"),
            ("/%3Fa%23b", "/%3Fa%23b"),
        ),
    ];

    #[test]
    fn routes_read_one_spelling() {
        for (given, decode, keep) in SPELLINGS {
            for (slashes, (whole, read)) in [(Decode, decode), (Keep, keep)] {
                let target = normalise(given, slashes).expect(given);
                assert_eq!((target.whole.as_ref(), target.matched()), (*whole, *read));
                assert_eq!(matched(target.path(), slashes), *read, "alone: {given}");
                assert_eq!(matched(read, slashes), *read, "stable: {given}");
                let again = normalise(whole, slashes).expect(given);
                assert_eq!((again.whole.as_ref(), again.matched()), (*whole, *read));
            }
        }
        assert_eq!(
            normalise("/a%2F..%2F..%2Fb", Decode),
            Err(BadTarget::AboveRoot)
        );
        assert_eq!(normalise("/%2F..%2Fb", Decode), Err(BadTarget::AboveRoot));
    }

    #[test]
    fn encoded_slashes_may_be_refused() {
        for (given, wanted) in [
            ("/a%2Fb", Err(BadTarget::EncodedSlash)),
            ("/a%2f..%2fb", Err(BadTarget::EncodedSlash)),
            ("/a%5cb", Err(BadTarget::EncodedSlash)),
            ("/a?b=%2F", Ok("/a")),
            ("//a%252F%2B", Ok("/a%252F+")),
        ] {
            let target = normalise(given, Refuse);
            let read = target.as_ref().map(Target::matched).map_err(|why| *why);
            assert_eq!(read, wanted, "{given}");
        }
    }

    #[test]
    fn whatever_is_asked_for_has_one_reading() {
        const PIECES: [&str; 14] = [
            "/", "//", "a", ".", "..", "%2F", "%2f", "%5C", "%2e", "%252F", "%2B", ";", "%C3%A9",
            "b/",
        ];
        let mut count = 0;
        let deep = PIECES.len().pow(5);
        for number in 0..deep {
            let mut target = String::from("/");
            let mut left = number;
            while left > 0 {
                target.push_str(PIECES[left % PIECES.len()]);
                left /= PIECES.len();
            }
            for slashes in [Decode, Keep, Refuse] {
                let Ok(once) = normalise(&target, slashes) else {
                    continue;
                };
                let again = normalise(&once.whole, slashes).expect("normalised");
                assert_eq!(
                    (&again.whole, again.matched()),
                    (&once.whole, once.matched())
                );
                let read = once.matched();
                assert!(read.starts_with('/') && !read.contains("//"), "{target}");
                assert!(!has_dots(read), "{target}");
                let (alone, _) = (normalise(read, slashes).expect("a path"), count += 1);
                assert_eq!((alone.path(), alone.matched()), (read, read), "{target}");
            }
        }
        assert!(count > 100_000, "{count}");
    }
}
