//! Strict HTTP/1.1 request heads (RFC 9112 §2–§6), without allocation per request.
//!
//! Where the RFC lets a recipient be lenient, this one refuses: a lenient reader and a strict one
//! behind it, or the reverse, is how requests are smuggled.

use http::Method;

pub use crate::lines::RawFields;
use crate::{
    Body, Refusal, bad,
    lines::{FieldTable, Lines, Span, content_length, field_line},
    syntax::{is_authority, is_target, is_token},
};

/// Most field lines of a head; beyond it `431`.
pub const MAX_FIELDS: usize = 100;

/// A request head, as positions in the buffer it was parsed from. Reused from request to request.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// HTTP/1.0 rather than HTTP/1.1.
    pub is_http10: bool,
    /// How the body is framed.
    pub body: Body,
    /// The client wants the connection closed, or did not ask for it to stay (HTTP/1.0).
    pub close: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The client asks for another protocol.
    pub upgrade: bool,
    target: Span,
    host: Span,
    fields: FieldTable,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            method: Method::GET,
            is_http10: false,
            body: Body::None,
            close: false,
            expects_continue: false,
            upgrade: false,
            target: Span::default(),
            host: Span::default(),
            fields: FieldTable::default(),
        }
    }
}

impl Head {
    /// The field lines; `bytes` are those that were parsed.
    pub fn fields<'a>(&'a self, bytes: &'a [u8]) -> RawFields<'a> {
        self.fields.of(bytes)
    }

    /// The origin-form target, as sent.
    pub fn target<'a>(&self, bytes: &'a [u8]) -> &'a str {
        // Only visible ASCII passes `parse`.
        std::str::from_utf8(self.target.of(bytes)).unwrap_or_default()
    }

    /// The value of `Host`; empty where HTTP/1.0 gave none.
    pub fn host<'a>(&self, bytes: &'a [u8]) -> &'a str {
        std::str::from_utf8(self.host.of(bytes)).unwrap_or_default()
    }

    /// Parses a complete head, from the first byte of the request line to the empty line.
    pub fn parse(&mut self, bytes: &[u8], max_target: usize) -> Result<(), Refusal> {
        let mut lines = Lines { bytes, at: 0 };
        let request_line = lines.next_line().ok_or(bad("empty request"))?;
        self.request_line(bytes, request_line, max_target)?;
        self.fields.clear();
        self.host = Span::default();
        let mut framing = Framing::default();
        while let Some(line) = lines.next_line() {
            if line.start == line.end {
                break;
            }
            if self.fields.len() == MAX_FIELDS {
                return Err(Refusal {
                    status: 431,
                    reason: "too many field lines",
                });
            }
            let (name, value) = field_line(bytes, line)?;
            self.fields.push(bytes, name, value);
            framing.note(name.of(bytes), value.of(bytes))?;
            if name.of(bytes).eq_ignore_ascii_case(b"host") {
                if framing.hosts > 1 {
                    return Err(bad("several Host fields"));
                }
                self.host = value;
            }
        }
        self.settle(bytes, &framing)
    }

    fn request_line(&mut self, bytes: &[u8], line: Span, max_target: usize) -> Result<(), Refusal> {
        let text = line.of(bytes);
        let first = memchr::memchr(b' ', text).ok_or(bad("malformed request line"))?;
        let last = memchr::memrchr(b' ', text).ok_or(bad("malformed request line"))?;
        if first == last {
            return Err(bad("request line without target or version"));
        }
        let method = &text[..first];
        if method.len() > 24 || !is_token(method) {
            return Err(bad("malformed method"));
        }
        self.method = Method::from_bytes(method).map_err(|_| bad("malformed method"))?;
        let target = &text[first + 1..last];
        if target.len() > max_target {
            return Err(Refusal {
                status: 414,
                reason: "request target too long",
            });
        }
        if !is_target(target) {
            return Err(bad(
                "request target holds a byte that is not allowed in a URI",
            ));
        }
        self.target = Span {
            start: line.start + first as u32 + 1,
            end: line.start + last as u32,
        };
        self.is_http10 = match &text[last + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            version if version.starts_with(b"HTTP/") && version.len() == 8 => {
                return Err(Refusal {
                    status: 505,
                    reason: "unknown HTTP version",
                });
            }
            _ => return Err(bad("malformed HTTP version")),
        };
        Ok(())
    }

    /// What the fields say together: whose request it is and where it ends (RFC 9112 §3.2, §6.3).
    fn settle(&mut self, bytes: &[u8], framing: &Framing) -> Result<(), Refusal> {
        if framing.hosts == 0 && !self.is_http10 {
            return Err(bad("Host is missing"));
        }
        // Nothing may stand in for a Host that is there, however odd it is.
        let host = self.host.of(bytes);
        if framing.hosts == 1 && !is_authority(host) {
            return Err(bad("malformed Host"));
        }
        self.body = match (framing.chunked, framing.length) {
            (true, Some(_)) => return Err(bad("Content-Length together with Transfer-Encoding")),
            (true, None) if self.is_http10 => return Err(bad("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Body::Unknown,
            (false, None | Some(0)) => Body::None,
            (false, Some(n)) => Body::Length(n),
        };
        // HTTP/1.0 defines no content for these, and a recipient of that time reads a second request there.
        let has_none = matches!(self.method, Method::GET | Method::HEAD | Method::DELETE);
        if self.is_http10 && has_none && self.body != Body::None {
            return Err(bad("content with this method in HTTP/1.0"));
        }
        self.close = framing.close || (self.is_http10 && !framing.keep_alive);
        self.expects_continue = framing.expects_continue && !self.is_http10;
        self.upgrade = framing.upgrade && framing.connection_upgrade && !self.is_http10;
        if self.method == Method::CONNECT {
            return self.authority_form(bytes, framing);
        }
        self.absolute_form(bytes)
    }

    /// `CONNECT host:port`, with the same in `Host` and no content (RFC 9112 §3.2.3, RFC 9110 §9.3.6).
    fn authority_form(&self, bytes: &[u8], framing: &Framing) -> Result<(), Refusal> {
        let target = self.target.of(bytes);
        if !is_authority(target) || target.ends_with(b"]") || !target.contains(&b':') {
            return Err(bad("CONNECT without host and port"));
        }
        if framing.hosts == 1 && target != self.host.of(bytes) {
            return Err(bad("CONNECT target contradicts Host"));
        }
        if self.body != Body::None {
            return Err(bad("CONNECT with content"));
        }
        Ok(())
    }

    /// `http://host/path` must agree with `Host`; what is kept is the path (RFC 9112 §3.2.2).
    fn absolute_form(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let target = self.target.of(bytes);
        if target.starts_with(b"/") {
            return Ok(());
        }
        let rest = [&b"http://"[..], b"https://"]
            .iter()
            .find(|scheme| {
                target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
            })
            .map(|scheme| &target[scheme.len()..])
            .ok_or(bad("request target does not begin with /"))?;
        let slash = memchr::memchr(b'/', rest).ok_or(bad("absolute-form target without a path"))?;
        // Without a Host, which HTTP/1.0 allows, nothing can agree: not even an authority that is empty.
        if slash == 0 || !rest[..slash].eq_ignore_ascii_case(self.host.of(bytes)) {
            return Err(bad("absolute-form target contradicts Host"));
        }
        self.target.start = self.target.end - (rest.len() - slash) as u32;
        Ok(())
    }
}

/// What framing and connection fields have said so far.
#[derive(Default)]
struct Framing {
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    connection_upgrade: bool,
    expects_continue: bool,
}

impl Framing {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // The length tells most names apart without looking at them.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal {
                        status: 417,
                        reason: "unknown expectation",
                    });
                }
                self.expects_continue = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if !option.is_empty() && !is_token(option) {
                        return Err(bad("malformed Connection"));
                    }
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(bad("several Content-Length fields"));
                }
                self.length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("Transfer-Encoding other than chunked"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
