//! Where a chunked body ends, checked strictly (RFC 9112 §7.1).
//!
//! A [`ChunkScanner`] walks along so that nothing behind the end is given away, and so that junk never gets
//! past it. It either leaves the bytes alone ([`ChunkScanner::scan`]) or takes the content out of its
//! framing where it lies ([`ChunkScanner::decode`]).

use std::ops::Range;

use crate::syntax::{is_control, is_tchar};

/// Longest chunk-size line with its extensions, and longest trailer section.
const MAX_LINE: usize = 4096;

/// Fields that say where a message goes or ends: in a trailer section they come too late (RFC 9110 §6.5.1).
const BANNED: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
const LONGEST_BANNED: usize = b"transfer-encoding".len();

/// A chunked body that breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the hexadecimal digits, so many of them.
    Size(u8),
    /// In an extension behind the size.
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line.
    Trailer,
    /// In the name of a trailer field, so many bytes.
    TrailerName(u8),
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// What [`ChunkScanner::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Where the content lies now.
    pub content: Range<usize>,
    /// Bytes that belong to the body, framing included.
    pub used: usize,
}

/// Walks over the bytes of a chunked body.
#[derive(Debug)]
pub struct ChunkScanner {
    state: State,
    /// Bytes of the current chunk still to come; while its size is read, the size so far.
    left: u64,
    /// Bytes of the current line or trailer section.
    line: usize,
    /// Bytes of content so far.
    content: u64,
    /// The beginning of the current trailer field's name, in lower case.
    name: [u8; LONGEST_BANNED],
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self {
            state: State::Size(0),
            left: 0,
            line: 0,
            content: 0,
            name: [0; LONGEST_BANNED],
        }
    }
}

impl ChunkScanner {
    /// Whether the end was seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of content so far, framing not counted.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Takes in bytes; returns how many of them belong to the body.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while self.next_run(bytes, &mut at)?.is_some() {}
        Ok(at)
    }

    /// Takes in bytes, and moves the content among them together, into one run without framing. Content that
    /// comes as one chunk is not moved. Trailers are dropped (RFC 9112 §7.1.2).
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let mut at = 0;
        let mut content = 0..0;
        while let Some(run) = self.next_run(bytes, &mut at)? {
            if content.is_empty() {
                content = run;
            } else {
                let length = run.len();
                bytes.copy_within(run, content.end);
                content.end += length;
            }
        }
        Ok(Decoded { content, used: at })
    }

    /// Walks on to the end of the next run of content; `None` where the bytes or the body end.
    fn next_run(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<Option<Range<usize>>, Malformed> {
        while *at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let start = *at;
                let run = self.left.min((bytes.len() - start) as u64);
                self.left -= run;
                self.content += run;
                *at += run as usize;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Some(start..*at));
            }
            self.state = self.step(bytes[*at])?;
            *at += 1;
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        self.line += 1;
        if self.line > MAX_LINE {
            return Err(Malformed("chunk-size line or trailer section too long"));
        }
        match (self.state, byte) {
            (State::Size(digits), b'\r') if digits > 0 => Ok(State::SizeLf),
            (State::Size(digits), b';') if digits > 0 => Ok(State::Extension),
            (State::Size(digits), _) => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .ok_or(Malformed("junk in chunk size"))?;
                if digits == 15 {
                    return Err(Malformed("chunk size too large"));
                }
                self.left = self.left * 16 + u64::from(digit);
                Ok(State::Size(digits + 1))
            }
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b) if !is_control(b) => Ok(State::Extension),
            (State::SizeLf, b'\n') => {
                self.line = 0;
                Ok(if self.left == 0 {
                    State::Trailer
                } else {
                    State::Data
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(State::Size(0))
            }
            (State::Trailer, b'\r') => Ok(State::EndLf),
            (State::Trailer, b) if is_tchar(b) => {
                self.name[0] = b.to_ascii_lowercase();
                Ok(State::TrailerName(1))
            }
            // As long as the name of any other field: 255 bytes.
            (State::TrailerName(length), b) if is_tchar(b) && length < u8::MAX => {
                if let Some(place) = self.name.get_mut(usize::from(length)) {
                    *place = b.to_ascii_lowercase();
                }
                Ok(State::TrailerName(length + 1))
            }
            (State::TrailerName(length), b':') => {
                let name = self.name.get(..usize::from(length)).unwrap_or_default();
                if BANNED.contains(&name) {
                    return Err(Malformed("framing or routing field in the trailer section"));
                }
                Ok(State::TrailerValue)
            }
            (State::TrailerValue, b) if !is_control(b) => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(Malformed("malformed chunked framing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_at_every_split() {
        let body = b"5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\nHosts:\r\n\r\nGET /";
        let end = body.len() - 5;
        for split in 0..=body.len() {
            let mut scanner = ChunkScanner::default();
            let first = scanner.scan(&body[..split]).expect("clean");
            let second = scanner.scan(&body[split..]).expect("clean");
            assert_eq!(first + second, end, "split at {split}");
            assert!(scanner.is_done());
            assert_eq!(scanner.content(), 15);
        }
    }

    #[test]
    fn content_is_taken_out_at_every_split() {
        let body = b"5\r\nhello\r\n1\r\n,\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET /";
        let end = body.len() - 5;
        for split in 0..=body.len() {
            let mut scanner = ChunkScanner::default();
            let (mut content, mut used) = (Vec::new(), 0);
            for part in [&body[..split], &body[split..]] {
                let mut part = part.to_vec();
                let decoded = scanner.decode(&mut part).expect("clean");
                content.extend_from_slice(&part[decoded.content]);
                used += decoded.used;
            }
            assert_eq!(content, b"hello,0123456789", "split at {split}");
            assert_eq!(used, end, "split at {split}");
            assert!(scanner.is_done());
        }
    }

    #[test]
    fn junk_is_found() {
        for body in [
            "\r\n",
            "g\r\n",
            "5 \r\nhello\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-1\r\n",
            "5\nhello\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "1000000000000000\r\n",
            "0\r\n\n",
            "0\r\nT: v\n\r\n",
            "0\r\nT\r\n\r\n",
            "0\r\nT : v\r\n\r\n",
            "0\r\n: v\r\n\r\n",
            "0\r\nT: v\r\n w\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nContent-Length: 1\r\n\r\n",
            "0\r\nT: v\r\ntransfer-encoding: chunked\r\n\r\n",
            "0\r\nhost: a\r\n\r\n",
            "5;\x01\r\n",
            "5\rX",
        ] {
            assert!(
                ChunkScanner::default().scan(body.as_bytes()).is_err(),
                "{body:?}"
            );
        }
        for long in [
            format!("5;{}\r\n", "a".repeat(MAX_LINE)),
            format!("0\r\n{}: v\r\n\r\n", "a".repeat(256)),
            format!("0\r\n{}\r\n", "T: v\r\n".repeat(MAX_LINE / 6 + 1)),
        ] {
            assert!(
                ChunkScanner::default().scan(long.as_bytes()).is_err(),
                "{long:?}"
            );
        }
    }
}
