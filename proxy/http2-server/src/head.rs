//! The head of a request: what a field block says, checked as RFC 9113 §8 asks.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_caching::Fields;

use crate::hpack::{Field, Kind, OVERHEAD, STATIC, Sink};

/// A field, by its place in the octets of the head.
#[derive(Clone, Copy, Debug)]
struct Line {
    at: u32,
    name_len: u32,
    value_len: u32,
    is_cookie: bool,
}

/// A run of the text of the head.
type Run = (u32, u32);

/// What reading a block has found out so far.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    is_trailer: bool,
    max_size: usize,
    max_fields: usize,
    size: usize,
    count: usize,
    cookies: u32,
    /// Pseudo-header fields that were there, a bit each.
    seen: u8,
    has_regular: bool,
    host: Option<u32>,
    is_too_large: bool,
    malformed: Option<&'static str>,
}

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;

/// What a block turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sound,
    TooLarge,
    Malformed(&'static str),
}

/// The head of a request. A caller owns one, or one a thread, and lends it for every call of
/// [`Connection::next`](crate::Connection::next): once it has grown, reading a head allocates nothing.
///
/// What it says is of the last [`Event::Request`](crate::Event::Request), and stands until the next call.
#[derive(Debug, Default)]
pub struct Head {
    method: Method,
    scheme: &'static str,
    /// Pseudo-header fields, and `Host` where it stands in for one.
    text: String,
    authority: Run,
    target: Run,
    octets: Vec<u8>,
    lines: Vec<Line>,
    content_length: Option<u64>,
    reading: Reading,
}

impl Head {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// `http` or `https`; empty for CONNECT.
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// `:authority`, else `Host`; where both are there they agree (RFC 9113 §8.3.1). Empty if neither is.
    pub fn authority(&self) -> &str {
        self.text(self.authority)
    }

    /// `:path`: begins with `/`, or is `*` (for OPTIONS), or empty (for CONNECT). Visible ASCII.
    pub fn target(&self) -> &str {
        self.text(self.target)
    }

    /// How many fields there are, without pseudo-header fields.
    pub fn field_count(&self) -> usize {
        self.lines.len()
    }

    /// Names, in lower case, and values of all fields in order, without pseudo-header fields. Lines of
    /// `cookie` have been joined into one (RFC 9113 §8.2.3).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| self.split(*line))
    }

    /// The same as a map.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for (name, value) in self.iter() {
            // Both were checked more strictly than here, and the map holds more than `max_fields` allows.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                let _ = map.try_append(name, value);
            }
        }
        map
    }

    /// `Content-Length`. DATA frames were, or will be, checked against it.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Gives the memory back.
    pub fn shrink(&mut self) {
        *self = Self::default();
    }

    /// Begins a list of at most so many octets, counted as RFC 9113 §6.5.2 does, and fields.
    pub(crate) fn begin(&mut self, is_trailer: bool, max_size: usize, max_fields: usize) {
        self.method = Method::GET;
        self.scheme = "";
        self.text.clear();
        self.authority = (0, 0);
        self.target = (0, 0);
        self.octets.clear();
        self.lines.clear();
        self.content_length = None;
        self.reading = Reading { is_trailer, max_size, max_fields, ..Reading::default() };
    }

    /// Judges the list as a whole.
    pub(crate) fn finish(&mut self) -> Verdict {
        if let Some(reason) = self.reading.malformed {
            return Verdict::Malformed(reason);
        }
        if self.reading.is_too_large {
            return Verdict::TooLarge;
        }
        if self.reading.is_trailer {
            return Verdict::Sound;
        }
        if let Err(reason) = self.check_pseudo().and_then(|()| self.check_host()) {
            return Verdict::Malformed(reason);
        }
        if self.reading.cookies > 1 {
            self.join_cookies();
        }
        Verdict::Sound
    }

    fn text(&self, (from, to): Run) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    fn split(&self, line: Line) -> (&[u8], &[u8]) {
        let from = line.at as usize;
        let field = &self.octets[from..from + (line.name_len + line.value_len) as usize];
        field.split_at(line.name_len as usize)
    }

    fn check_pseudo(&self) -> Result<(), &'static str> {
        let seen = self.reading.seen;
        if self.method == Method::CONNECT && seen & METHOD != 0 {
            // RFC 9113 §8.5.
            return match seen {
                _ if seen == METHOD | AUTHORITY => Ok(()),
                _ => Err("CONNECT with other pseudo-header fields than :authority"),
            };
        }
        if seen & (METHOD | SCHEME | PATH) != METHOD | SCHEME | PATH {
            return Err("a pseudo-header field is missing");
        }
        match self.target().as_bytes() {
            [b'/', ..] => Ok(()),
            b"*" if self.method == Method::OPTIONS => Ok(()),
            b"" => Err(":path is empty"),
            _ => Err(":path does not begin with a slash"),
        }
    }

    fn check_host(&mut self) -> Result<(), &'static str> {
        let Some(place) = self.reading.host else { return Ok(()) };
        let line = self.lines[place as usize];
        let from = (line.at + line.name_len) as usize;
        let host = &self.octets[from..from + line.value_len as usize];
        if !is_authority(host) {
            return Err("Host is not an authority");
        }
        if self.reading.seen & AUTHORITY == 0 {
            self.authority = put_text(&mut self.text, host);
        } else if !host.eq_ignore_ascii_case(self.authority().as_bytes()) {
            return Err("Host differs from :authority");
        }
        Ok(())
    }

    /// The lines of `cookie` become one, where the first was. Empty ones add nothing, since a value does not end
    /// with a blank.
    fn join_cookies(&mut self) {
        let at = self.octets.len();
        self.octets.extend_from_slice(b"cookie");
        let name_len = self.octets.len() - at;
        for place in 0..self.lines.len() {
            let line = self.lines[place];
            if line.is_cookie && line.value_len > 0 {
                if self.octets.len() > at + name_len {
                    self.octets.extend_from_slice(b"; ");
                }
                let from = (line.at + line.name_len) as usize;
                self.octets.extend_from_within(from..from + line.value_len as usize);
            }
        }
        let value_len = (self.octets.len() - at - name_len) as u32;
        let mut is_first = true;
        self.lines.retain_mut(|line| {
            if !line.is_cookie {
                return true;
            }
            *line = Line { at: at as u32, name_len: name_len as u32, value_len, is_cookie: true };
            std::mem::replace(&mut is_first, false)
        });
    }

    /// Counts a field; false if the list is too large to keep it.
    fn count(&mut self, len: usize) -> bool {
        let reading = &mut self.reading;
        reading.size += len + OVERHEAD;
        reading.count += 1;
        reading.is_too_large |=
            reading.size > reading.max_size || reading.count > reading.max_fields;
        !reading.is_too_large
    }

    fn is_pseudo_allowed(&mut self, bit: u8) -> Result<(), &'static str> {
        if self.reading.is_trailer {
            return Err("a pseudo-header field in trailers");
        }
        if self.reading.has_regular {
            return Err("a pseudo-header field behind a field");
        }
        if self.reading.seen & bit != 0 {
            return Err("a pseudo-header field twice");
        }
        self.reading.seen |= bit;
        Ok(())
    }

    fn take(&mut self, field: Field) -> Result<(), &'static str> {
        let Field { at, name_len, kind, sound } = field;
        if !sound {
            return Err("a field value with octets that no value has");
        }
        let value = at + name_len;
        match kind {
            Kind::Method => {
                self.is_pseudo_allowed(METHOD)?;
                let method = Method::from_bytes(&self.octets[value..]);
                self.method = method.map_err(|_| ":method is not a token")?;
            }
            Kind::Scheme => {
                self.is_pseudo_allowed(SCHEME)?;
                self.scheme = match &self.octets[value..] {
                    scheme if scheme.eq_ignore_ascii_case(b"https") => "https",
                    scheme if scheme.eq_ignore_ascii_case(b"http") => "http",
                    _ => return Err(":scheme is not one of HTTP"),
                };
            }
            Kind::Authority => {
                self.is_pseudo_allowed(AUTHORITY)?;
                let authority = &self.octets[value..];
                if !is_authority(authority) {
                    return Err(":authority is not one");
                }
                self.authority = put_text(&mut self.text, authority);
            }
            Kind::Path => {
                self.is_pseudo_allowed(PATH)?;
                let path = &self.octets[value..];
                if !is_visible(path) {
                    return Err(":path with octets that no target has");
                }
                self.target = put_text(&mut self.text, path);
            }
            Kind::UnknownPseudo => return Err("an unknown pseudo-header field"),
            Kind::BadName => return Err("a field name that is none, or not in lower case"),
            Kind::ConnectionSpecific => return Err("a field of the connection"),
            Kind::Te if !self.octets[value..].eq_ignore_ascii_case(b"trailers") => {
                return Err("TE says more than trailers");
            }
            Kind::Host | Kind::ContentLength if self.reading.is_trailer => {
                return Err("a trailer field that frames or routes");
            }
            Kind::Host => {
                if self.reading.host.replace(self.lines.len() as u32).is_some() {
                    return Err("Host twice");
                }
                return self.keep(field);
            }
            Kind::ContentLength => {
                if self.content_length.is_some() {
                    return Err("Content-Length twice");
                }
                let length = parse_length(&self.octets[value..]);
                self.content_length = Some(length.ok_or("Content-Length is not a number")?);
                return self.keep(field);
            }
            Kind::Cookie => {
                self.reading.cookies += 1;
                return self.keep(field);
            }
            Kind::Plain | Kind::Te => return self.keep(field),
        }
        self.octets.truncate(at);
        Ok(())
    }

    fn keep(&mut self, field: Field) -> Result<(), &'static str> {
        self.reading.has_regular = true;
        let value_len = self.octets.len() - field.at - field.name_len;
        self.lines.push(Line {
            at: field.at as u32,
            name_len: field.name_len as u32,
            value_len: value_len as u32,
            is_cookie: field.kind == Kind::Cookie,
        });
        Ok(())
    }
}

impl Sink for Head {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    fn field(&mut self, field: Field) {
        if !self.count(self.octets.len() - field.at) || self.reading.malformed.is_some() {
            return self.octets.truncate(field.at);
        }
        if let Err(reason) = self.take(field) {
            self.reading.malformed = Some(reason);
            self.octets.truncate(field.at);
        }
    }

    fn static_entry(&mut self, place: usize) {
        let (name, value, kind) = STATIC[place];
        let known = match (kind, value) {
            (Kind::Method, "GET") => Some(METHOD),
            (Kind::Scheme, _) => Some(SCHEME),
            _ => None,
        };
        if let Some(bit) = known {
            if self.count(name.len() + value.len()) && self.reading.malformed.is_none() {
                self.reading.malformed = self.is_pseudo_allowed(bit).err();
                match bit {
                    METHOD => self.method = Method::GET,
                    _ => self.scheme = value,
                }
            }
            return;
        }
        let at = self.octets.len();
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.extend_from_slice(value.as_bytes());
        self.field(Field { at, name_len: name.len(), kind, sound: true });
    }
}

impl Fields for Head {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        let name = name.as_str().as_bytes();
        for line in self.lines.iter().filter(|line| line.name_len as usize == name.len()) {
            let (known, value) = self.split(*line);
            if known == name {
                f(value);
            }
        }
    }
}

/// Appends octets that are visible ASCII.
fn put_text(text: &mut String, octets: &[u8]) -> Run {
    let from = text.len() as u32;
    text.push_str(std::str::from_utf8(octets).unwrap_or_default());
    (from, text.len() as u32)
}

fn is_visible(octets: &[u8]) -> bool {
    octets.iter().fold(true, |all, octet| all & octet.is_ascii_graphic())
}

/// No user information (RFC 9113 §8.3.1), and nothing that ends an authority (RFC 3986 §3.2). What host and
/// port may be is for the door to say.
fn is_authority(octets: &[u8]) -> bool {
    is_visible(octets) && !octets.iter().any(|octet| b"@/?#\\".contains(octet))
}

/// Digits only, and one number: no list of equal ones as RFC 9110 §8.6 would allow.
fn parse_length(octets: &[u8]) -> Option<u64> {
    if octets.is_empty() || !octets.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(octets).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
