//! What requests and answers have in them: names of fields and cookies, paths, statuses.

use crate::config::{
    diagnostic::{Complaint, shown},
    model::{HashKey, LimitKey, StatusRange},
    read::Scalar,
};

/// A character of a field's name (RFC 9110 §5.6.2), as patterns have it.
pub(in crate::config) const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
/// One of a cookie's name.
const COOKIE: &str = "[!#$%&'+.^_`~0-9A-Za-z-]";

/// What tells requests apart, as limits and hashing name it alike.
enum Part {
    ClientIp,
    Header(http::HeaderName),
    Cookie(String),
}

/// `client-ip`, `header:NAME` or `cookie:NAME`; `None` where it is none of them.
fn part_of_request(text: &str) -> Option<Result<Part, Complaint>> {
    if text == "client-ip" {
        return Some(Ok(Part::ClientIp));
    }
    if let Some(name) = text.strip_prefix("cookie:") {
        return Some(CookieName::parse(name).map(|name| Part::Cookie(name.0)));
    }
    let name = text.strip_prefix("header:")?;
    Some(name.parse().map(Part::Header).map_err(|_| {
        Complaint::new(format!("{} is no name of a field", shown(name)))
            .help("write a name such as \"header:x-user\"")
    }))
}

impl Scalar for HashKey {
    const WANTED: &'static str = "what to hash, such as \"target\"";

    fn pattern() -> Option<String> {
        Some(format!(
            "^(target|client-ip|header:{TOKEN}+|cookie:{COOKIE}+)$"
        ))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(part) = part_of_request(text) {
            return part.map(|part| match part {
                Part::ClientIp => Self::ClientIp,
                Part::Header(name) => Self::Header(name),
                Part::Cookie(name) => Self::Cookie(name),
            });
        }
        match text {
            "target" => Ok(Self::Target),
            _ => Err(
                Complaint::new(format!("{} is nothing to hash", shown(text)))
                    .help("write \"target\", \"client-ip\", \"header:NAME\" or \"cookie:NAME\""),
            ),
        }
    }
}

impl Scalar for StatusRange {
    const WANTED: &'static str = "a status such as \"200\" or \"200-299\"";

    fn pattern() -> Option<String> {
        Some(r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let status = |text: &str| {
            let plain = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            let status = text.parse::<u16>().ok().filter(|_| plain);
            status.filter(|status| (100..=599).contains(status))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(
                Complaint::new(format!("{} is no status", shown(text))).help(
                    "write one such as \"200\", or the first and the last of several: \"200-299\"",
                ),
            ),
        }
    }
}

impl Scalar for LimitKey {
    const WANTED: &'static str = "what to count by, such as \"client-ip\"";

    fn pattern() -> Option<String> {
        Some(format!(
            "^(client-ip|host|param:.+|header:{TOKEN}+|cookie:{COOKIE}+)$"
        ))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(part) = part_of_request(text) {
            return part.map(|part| match part {
                Part::ClientIp => Self::ClientIp,
                Part::Header(name) => Self::Header(name),
                Part::Cookie(name) => Self::Cookie(name),
            });
        }
        if let Some(name) = text.strip_prefix("param:")
            && !name.is_empty()
        {
            return Ok(Self::Param(name.to_owned()));
        }
        match text {
            "host" => Ok(Self::Host),
            _ => Err(
                Complaint::new(format!("{} is nothing to count by", shown(text))).help(
                    "write \"client-ip\", \"header:NAME\", \"cookie:NAME\", \"param:NAME\" or \"host\"",
                ),
            ),
        }
    }
}

/// A path to request, possibly with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct RequestPath(pub(in crate::config) String);

impl Scalar for RequestPath {
    const WANTED: &'static str = "a path such as \"/healthz\"";

    fn pattern() -> Option<String> {
        Some("^/[!-\"$-~]*$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let sendable = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        match text.starts_with('/') && sendable {
            true => Ok(Self(text.to_owned())),
            false => Err(
                Complaint::new(format!("{} is no path to request", shown(text))).help(
                    "a path begins with `/` and has neither spaces nor `#`, such as \"/healthz\"",
                ),
            ),
        }
    }
}

/// A query parameter, or all that begin alike: `utm_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct QueryName(pub(in crate::config) String);

impl Scalar for QueryName {
    const WANTED: &'static str = "the name of a query parameter";

    fn pattern() -> Option<String> {
        Some(r#"^([!"$%'-)+-<>@-~]+\*?|\*)$"#.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"*?&=#".contains(&b));
        match plain && !text.is_empty() {
            true => Ok(Self(text.to_owned())),
            false => Err(Complaint::new(format!("{} is no query parameter", shown(text)))
                .help("write a name such as \"fbclid\", or the beginning of several with a `*` at the end: \"utm_*\"")),
        }
    }
}

/// The name of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct CookieName(pub(in crate::config) String);

impl Scalar for CookieName {
    const WANTED: &'static str = "the name of a cookie";

    fn pattern() -> Option<String> {
        Some(format!("^{COOKIE}+$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        // A token of RFC 9110, section 5.6.2; `*` and `|` are legal there, but mean a pattern to most readers.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`~".contains(&b);
        match !text.is_empty() && text.bytes().all(token) {
            true => Ok(Self(text.to_owned())),
            false => Err(
                Complaint::new(format!("{} is no name of a cookie", shown(text)))
                    .help("write the whole name, such as \"session\"; patterns are not known here"),
            ),
        }
    }
}
