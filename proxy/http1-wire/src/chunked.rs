//! Where a chunked body ends, checked strictly (RFC 9112 §7.1).
//!
//! The body itself is decoded by whoever reads it; this walks along so that nothing behind its end is
//! given away, and so that junk never gets past it.

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
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let run = self.left.min((bytes.len() - at) as u64);
                self.left -= run;
                self.content += run;
                at += run as usize;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
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
