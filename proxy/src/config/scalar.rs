//! Values written as strings: addresses, paths, names.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf, absolute},
};

use ipnet::IpNet;

use super::{
    diagnostic::{Complaint, shown},
    model::{
        Balance, CheckKind, ClientAuthMode, Covers, ForwardedField, HashKey, LimitCount, LimitKey,
        LogFormat, SetCookie, StatusRange, TlsProfile, UpstreamProtocol,
    },
    read::{Scalar, choice},
};

/// Longest path of a Unix socket: `sun_path` without its closing zero.
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// A character of a field's name (RFC 9110 §5.6.2), as patterns have it.
pub(super) const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
/// One of a cookie's name.
const COOKIE: &str = "[!#$%&'+.^_`~0-9A-Za-z-]";
/// An IP address with its port.
const SOCKET: &str = r"([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):[0-9]+";
/// A path in the file system: `~/` is not expanded.
const PATH: &str = "^([^~]|~$|~[^/])";

impl Scalar for Balance {
    const WANTED: &'static str = "a way to balance, such as \"least-requests\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("least-requests", Self::LeastRequests),
        ("round-robin", Self::RoundRobin),
        ("consistent-hash", Self::ConsistentHash),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

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

impl Scalar for UpstreamProtocol {
    const WANTED: &'static str = "a protocol, \"http1\" or \"h2\"";

    const CHOICES: &'static [(&'static str, Self)] = &[("http1", Self::Http1), ("h2", Self::Http2)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// A switch that is written as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnOff {
    On,
    Off,
}

impl Scalar for OnOff {
    const WANTED: &'static str = "\"on\" or \"off\"";

    const CHOICES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// Permissions of a file, octal as `chmod` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileMode(pub(super) u32);

impl Scalar for FileMode {
    const WANTED: &'static str = "permissions such as \"0660\"";

    fn pattern() -> Option<String> {
        Some("^0?[67][0-7]{2}$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        const OWNER_NEEDS: u32 = 0o600;
        let plain = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| plain);
        match mode.filter(|mode| *mode <= 0o777) {
            Some(mode) if mode & OWNER_NEEDS == OWNER_NEEDS => Ok(Self(mode)),
            Some(_) => Err(Complaint::new("its owner could not open the socket")
                .help("let the first digit be 6, as in \"0660\"")),
            None => Err(
                Complaint::new(format!("{} are no permissions", shown(text)))
                    .help("write them octal, as in \"0660\""),
            ),
        }
    }
}

impl Scalar for TlsProfile {
    const WANTED: &'static str = "a profile, \"intermediate\" or \"modern\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("intermediate", Self::Intermediate),
        ("modern", Self::Modern),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for ClientAuthMode {
    const WANTED: &'static str = "a mode, \"require\" or \"optional\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("require", Self::Require), ("optional", Self::Optional)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for CheckKind {
    const WANTED: &'static str = "a kind of check, such as \"http\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("http", Self::Http),
        ("https", Self::Https),
        ("tcp", Self::Tcp),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
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

impl Scalar for LimitCount {
    const WANTED: &'static str = "which requests to count, \"all\" or \"origin\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("origin", Self::Origin)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What becomes of requests beyond a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionName {
    Reject,
    Delay,
    Log,
}

impl Scalar for ActionName {
    const WANTED: &'static str = "what to do, \"reject\", \"delay\" or \"log\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("reject", Self::Reject),
        ("delay", Self::Delay),
        ("log", Self::Log),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for ForwardedField {
    const WANTED: &'static str = "a field, \"x-forwarded-for\" or \"forwarded\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("x-forwarded-for", Self::XForwardedFor),
        ("forwarded", Self::Forwarded),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for Covers {
    const WANTED: &'static str = "what a waiting room covers, \"all\" or \"origin\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("origin", Self::Origin)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for SetCookie {
    const WANTED: &'static str = "what to do with `Set-Cookie`, such as \"refuse\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("refuse", Self::Refuse),
        ("strip", Self::Strip),
        ("store", Self::Store),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What a request's `Cache-Control` counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientControl {
    Ignore,
    Honour,
}

impl Scalar for ClientControl {
    const WANTED: &'static str =
        "what a visitor's `Cache-Control` counts for, \"ignore\" or \"honour\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("ignore", Self::Ignore), ("honour", Self::Honour)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for LogFormat {
    const WANTED: &'static str = "a format, \"json\" or \"combined\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("combined", Self::Combined)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for SocketAddr {
    const WANTED: &'static str = "an address with its port, such as \"127.0.0.1:8080\"";

    fn pattern() -> Option<String> {
        Some(format!("^{SOCKET}$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| {
            let complaint = Complaint::new(format!("{} is no IP address with a port", shown(text)));
            match text.rsplit_once(':') {
                Some(("" | "*", port)) => {
                    complaint.help(format!("write \"0.0.0.0:{port}\" for every IPv4 address of the host, \"[::]:{port}\" for IPv6"))
                }
                _ => complaint.help("write \"127.0.0.1:8080\", \"0.0.0.0:80\" or \"[::1]:8080\""),
            }
        })
    }
}

/// A path in the file system, as written, and the folder where it starts if it is relative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) String, pub(super) PathBuf);

/// A path as it is the same wherever it is read.
fn resolved(written: &str, folder: &Path) -> String {
    let path = folder.join(written);
    let path = absolute(&path).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

impl Scalar for FilePath {
    const WANTED: &'static str = "the path of a file";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        path(text, Self::WANTED).map(|path| Self(path, PathBuf::new()))
    }

    fn starting_at(self, folder: &Path) -> Self {
        Self(self.0, folder.to_owned())
    }

    fn resolved(text: &str, folder: &Path) -> String {
        resolved(text, folder)
    }
}

/// A folder, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderPath(pub(super) FilePath);

impl Scalar for FolderPath {
    const WANTED: &'static str = "the path of a folder";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        path(text, Self::WANTED).map(|path| Self(FilePath(path, PathBuf::new())))
    }

    fn starting_at(self, folder: &Path) -> Self {
        Self(self.0.starting_at(folder))
    }

    fn resolved(text: &str, folder: &Path) -> String {
        resolved(text, folder)
    }
}

fn path(text: &str, wanted: &str) -> Result<String, Complaint> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("expected {wanted}").into());
    }
    if text.starts_with("~/") {
        return Err(Complaint::new("`~` is not expanded").help("write `${HOME}` instead"));
    }
    Ok(text.to_owned())
}

/// Where the admin endpoint listens, the path of a socket as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AdminEndpoint {
    Tcp(SocketAddr),
    Unix(FilePath),
}

impl Scalar for AdminEndpoint {
    const WANTED: &'static str =
        "an address such as \"127.0.0.1:9900\" or \"unix:/run/dhal/admin.sock\"";

    fn pattern() -> Option<String> {
        Some(format!("^(unix:.+|{SOCKET})$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return FilePath::parse(path).map(Self::Unix);
        }
        if text.starts_with('/') || text.ends_with(".sock") {
            return Err(
                Complaint::new(format!("{} is no address", shown(text))).help(format!(
                    "write \"unix:{text}\" for a socket in the file system"
                )),
            );
        }
        SocketAddr::parse(text).map(Self::Tcp)
    }

    fn starting_at(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(path.starting_at(folder)),
            tcp @ Self::Tcp(_) => tcp,
        }
    }

    fn resolved(text: &str, folder: &Path) -> String {
        match text.strip_prefix("unix:") {
            Some(path) => format!("unix:{}", resolved(path, folder)),
            None => text.to_owned(),
        }
    }
}

/// Where the access log goes, the path as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogPath {
    Stdout,
    File(FilePath),
}

impl Scalar for LogPath {
    const WANTED: &'static str = "\"stdout\" or the path of a file";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" | "off" | "none" => Err(Complaint::new(format!(
                "{} is no target for the access log",
                shown(text)
            ))
            .help("write \"stdout\" or the path of a file; leave out [access_log] for no log")),
            _ => FilePath::parse(text).map(Self::File),
        }
    }

    fn starting_at(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(path.starting_at(folder)),
            Self::Stdout => Self::Stdout,
        }
    }

    fn resolved(text: &str, folder: &Path) -> String {
        match text {
            "stdout" => text.to_owned(),
            _ => resolved(text, folder),
        }
    }
}

/// A network; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(pub(super) IpNet);

impl Scalar for Network {
    const WANTED: &'static str = "a network such as \"10.0.0.0/8\"";

    fn pattern() -> Option<String> {
        Some(r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let parsed = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map(Self).map_err(|_| {
            Complaint::new(format!("{} is no network", shown(text)))
                .help("write an IP address or a network such as \"10.0.0.0/8\" or \"fd00::/8\"")
        })
    }
}

/// `host:port` of a server: an IP address, or a name to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAddress(pub(super) String);

impl Scalar for ServerAddress {
    const WANTED: &'static str = "an address with its port, such as \"127.0.0.1:3000\"";

    fn pattern() -> Option<String> {
        Some(format!("^([0-9A-Za-z_.-]+:[0-9]+|{SOCKET})$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.contains("://") {
            return Err(Complaint::new("a server is `host:port`, without a scheme")
                .help("leave out the scheme; `tls = true` of the upstream says that its servers speak TLS"));
        }
        let wrong = || {
            Complaint::new(format!("{} is no `host:port`", shown(text)))
                .help("write an IP address or a name, and a port: \"127.0.0.1:3000\", \"[::1]:3000\" or \"shop.internal:3000\"")
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match (address.port(), address.ip().is_unspecified()) {
                (0, _) => Err("a server needs a port other than 0".into()),
                (_, true) => Err(
                    Complaint::new("a server needs an address to connect to").help(format!(
                        "write \"127.0.0.1:{}\" for this host",
                        address.port()
                    )),
                ),
                _ => Ok(Self(text.to_owned())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let lettered = host.bytes().any(|b| b.is_ascii_alphabetic());
        let port = port.parse::<u16>().is_ok_and(|port| port != 0);
        match port && lettered && host.len() <= 253 && host.bytes().all(name) {
            true => Ok(Self(text.to_owned())),
            false => Err(wrong()),
        }
    }
}

/// A path to request, possibly with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestPath(pub(super) String);

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
pub(super) struct QueryName(pub(super) String);

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
pub(super) struct CookieName(pub(super) String);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Scalar>(valid: &[&str], wrong: &[&str]) {
        for text in valid {
            assert!(T::parse(text).is_ok(), "{text}");
        }
        for text in wrong {
            assert!(T::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        check::<SocketAddr>(
            &["127.0.0.1:0", "0.0.0.0:80", "[::]:443", "[::1]:8080"],
            &[
                "",
                "8080",
                ":8080",
                "localhost:8080",
                "::1:8080",
                "127.0.0.1",
                "127.0.0.1:65536",
                "127.0.0.1:-1",
            ],
        );
        check::<ServerAddress>(
            &[
                "127.0.0.1:3000",
                "[::1]:3000",
                "shop:3000",
                "shop_1.internal.:3000",
            ],
            &[
                "",
                "shop",
                ":3000",
                "shop:",
                "shop:0",
                "shop:99999",
                "127.0.0.1:0",
                "0.0.0.0:3000",
                "127.1:3000",
                "http://shop:3000",
                "shop:3000/",
                "sh op:3000",
                "user@shop:3000",
                "unix:/run/shop.sock",
                "দোকান:3000",
            ],
        );
        check::<AdminEndpoint>(
            &[
                "127.0.0.1:9900",
                "unix:/run/dhal/admin.sock",
                "unix:../var/admin.sock",
            ],
            &[
                "",
                "unix:",
                "/run/dhal/admin.sock",
                "localhost:9900",
                "9900",
            ],
        );
        check::<Network>(
            &["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1"],
            &["", "10.0.0.0/33", "10.0.0", "any"],
        );
    }

    #[test]
    fn paths_and_names() {
        check::<FilePath>(&["/a", "../a b", "দোকান.pem"], &["", "~/a", "a\0"]);
        check::<FolderPath>(&["/var/cache/dhal", "../store"], &["", "~/store", "a\0"]);
        check::<LogPath>(&["stdout", "/var/log/dhal.log"], &["", "stderr", "off"]);
        check::<RequestPath>(
            &["/", "/healthz?full=1"],
            &["", "healthz", "/a b", "/a#b", "/ঢ", "/a\r\nX: y"],
        );
        check::<QueryName>(
            &["a", "utm_*", "*", "a.b[]"],
            &["", "*a", "a*b", "a=b", "a b", "a&b", "**"],
        );
        check::<CookieName>(
            &["session", "__Host-id"],
            &["", "a b", "a=b", "a;b", "sess*"],
        );
    }
}
