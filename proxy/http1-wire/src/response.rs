//! Strict HTTP/1.1 response heads (RFC 9112 §2–§6), without allocation per response.
//!
//! What could be read in two ways is refused: an answer that we and the client behind us delimit
//! differently is how responses are split.

use crate::{
    Refusal, bad,
    lines::{FieldTable, Lines, RawFields, Span, content_length, field_line},
};

/// Most field lines of a head. Shops answer with more than visitors ask with: cookies and policies.
pub const MAX_FIELDS: usize = 256;
/// Longest head in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// How the content of a response ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the fields say: to HEAD, and with 1xx, 204 and 304.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A response head, as positions in the buffer it was parsed from. Reused from response to response.
#[derive(Debug)]
pub struct Head {
    /// Status code, from 100 to 999.
    pub status: u16,
    /// HTTP/1.0 rather than HTTP/1.1.
    pub is_http10: bool,
    /// How the content ends.
    pub framing: Framing,
    /// `Content-Length`, where it is one; with [`Framing::None`] it speaks of content that does not come.
    pub length: Option<u64>,
    /// The connection is of no use afterwards.
    pub close: bool,
    /// `Connection` names fields of this hop besides its own options.
    pub nominates: bool,
    reason: Span,
    fields: FieldTable,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            status: 0,
            is_http10: false,
            framing: Framing::None,
            length: None,
            close: false,
            nominates: false,
            reason: Span::default(),
            fields: FieldTable::default(),
        }
    }
}

impl Head {
    /// The field lines; `bytes` are those that were parsed.
    pub fn fields<'a>(&'a self, bytes: &'a [u8]) -> RawFields<'a> {
        self.fields.of(bytes)
    }

    /// The reason phrase; may be empty.
    pub fn reason<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.reason.of(bytes)
    }

    /// Whether it is an interim response (RFC 9110 §15.2). One that changes the protocol is not.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Parses a complete head, from the first byte of the status line to the empty line. `to_head` tells
    /// that it answers HEAD.
    pub fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<(), Refusal> {
        let mut lines = Lines { bytes, at: 0 };
        let status_line = lines.next_line().ok_or(bad("empty response"))?;
        self.status_line(bytes, status_line)?;
        self.fields.clear();
        let mut told = Told::default();
        while let Some(line) = lines.next_line() {
            if line.start == line.end {
                break;
            }
            if self.fields.len() == MAX_FIELDS {
                return Err(bad("too many field lines"));
            }
            let (name, value) = field_line(bytes, line)?;
            self.fields.push(bytes, name, value);
            told.note(name.of(bytes), value.of(bytes))?;
        }
        self.settle(&told, to_head)
    }

    fn status_line(&mut self, bytes: &[u8], line: Span) -> Result<(), Refusal> {
        const ODD: Refusal = bad("malformed status line");
        let text = line.of(bytes);
        let (version, rest) = text.split_at_checked(9).ok_or(ODD)?;
        self.is_http10 = match version {
            b"HTTP/1.1 " => false,
            b"HTTP/1.0 " => true,
            _ => return Err(bad("unknown HTTP version")),
        };
        let (code, rest) = rest.split_at_checked(3).ok_or(ODD)?;
        if !code.iter().all(u8::is_ascii_digit) || code[0] == b'0' {
            return Err(bad("malformed status code"));
        }
        self.status = code.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        // Some servers leave out the space before a reason that is empty, which cannot be misread.
        match rest {
            [] => {}
            [b' ', reason @ ..] if reason.iter().all(|b| is_text(*b)) => {}
            _ => return Err(ODD),
        }
        self.reason = Span {
            start: line.end - rest.len().saturating_sub(1) as u32,
            end: line.end,
        };
        Ok(())
    }

    /// Where the content ends (RFC 9112 §6.3).
    fn settle(&mut self, told: &Told, to_head: bool) -> Result<(), Refusal> {
        if told.chunked && self.is_http10 {
            return Err(bad("Transfer-Encoding in HTTP/1.0"));
        }
        self.nominates = told.nominates;
        self.close = told.close || (self.is_http10 && !told.keep_alive);
        self.length = told.length;
        if told.chunked && told.length.is_some() {
            // Chunks win and the length goes; who sends both may be confused about more than this answer.
            self.length = None;
            self.close = true;
        }
        let never = self.status < 200 || self.status == 204;
        if never && (told.chunked || told.length.is_some_and(|length| length > 0)) {
            // Content may follow though none can.
            self.close = true;
        }
        self.framing = if to_head || never || self.status == 304 {
            Framing::None
        } else if told.chunked {
            Framing::Chunked
        } else if let Some(length) = told.length {
            Framing::Length(length)
        } else {
            self.close = true;
            Framing::UntilClose
        };
        Ok(())
    }
}

/// What framing and connection fields have said so far.
#[derive(Default)]
struct Told {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    nominates: bool,
}

impl Told {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // The length tells most names apart without looking at them.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        self.keep_alive = true;
                    } else {
                        self.nominates |= !option.is_empty();
                    }
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

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests;
