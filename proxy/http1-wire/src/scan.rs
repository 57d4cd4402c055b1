//! Where a head ends, found out as its bytes arrive.

use crate::{Refusal, bad};

/// Finds the end of a head as bytes arrive, looking at each byte once.
#[derive(Debug, Default)]
pub struct HeadScanner {
    /// Where the current line begins.
    line: usize,
    /// How far we have looked.
    seen: usize,
}

impl HeadScanner {
    /// Length of the head including its empty line, `None` while it is incomplete.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let newline = self.seen + at;
            if newline == 0 || bytes[newline - 1] != b'\r' {
                return Err(bad("bare LF in a head"));
            }
            let empty = newline - 1 == self.line;
            self.seen = newline + 1;
            self.line = newline + 1;
            if empty {
                return Ok(Some(newline + 1));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}
