//! Words, `;`, `{` and `}`, told apart as nginx does.
//!
//! A word ends at white space, `;` or `{`, unless it is in quotes or the `{` follows a `$`. A backslash
//! keeps the next character from ending anything. `}` is special only where a directive could begin:
//! inside a word it is a character like others. `#` begins a comment only where a word could begin.

/// Longest word: nginx reads through a buffer of this size, and refuses what is longer.
pub(crate) const WORD_MAX: usize = 4096;

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word { text: String, quoted: bool },
    Semicolon,
    Open,
    Close,
}

/// What is wrong with the text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) why: String,
}

/// Reads tokens from a text, one by one.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// After a quoted word nothing but the end of the word may follow.
    after_quote: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            // Editors of other systems put a mark at the front.
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            at: 0,
            line: 1,
            after_quote: false,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong {
            line: self.line,
            why: why.into(),
        }
    }

    /// The line that is read, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The next token and the line in which it begins; nothing at the end. `is_first`: a directive
    /// could begin here, so that `}` ends a block.
    pub(crate) fn next(&mut self, is_first: bool) -> Result<Option<(Token, usize)>, Wrong> {
        loop {
            let Some(byte) = self.peek() else {
                return Ok(None);
            };
            if byte.is_ascii_whitespace() {
                self.after_quote = false;
                self.step();
                continue;
            }
            if self.after_quote && !matches!(byte, b';' | b'{' | b')') {
                return Err(self.wrong(format!(
                    "unexpected `{}` after a closing quote",
                    self.shown()
                )));
            }
            self.after_quote = false;
            let line = self.line;
            let token = match byte {
                b';' => Token::Semicolon,
                b'{' => Token::Open,
                b'}' if is_first => Token::Close,
                b'}' => return Err(self.wrong("unexpected `}`: a `;` is missing before it")),
                b'#' => {
                    self.comment();
                    continue;
                }
                b'"' | b'\'' => return self.quoted(byte).map(|t| Some((t, line))),
                _ => return self.word().map(|t| Some((t, line))),
            };
            self.step();
            return Ok(Some((token, line)));
        }
    }

    /// The character that is next, for a message.
    fn shown(&self) -> char {
        self.text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or('?')
    }

    fn comment(&mut self) {
        while let Some(byte) = self.step() {
            if byte == b'\n' {
                break;
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Token, Wrong> {
        let line = self.line;
        self.step();
        let start = self.at;
        loop {
            match self.step() {
                None => {
                    return Err(Wrong {
                        line,
                        why: format!("the quote `{}` is not closed", quote as char),
                    });
                }
                Some(b'\\') => {
                    self.step();
                }
                Some(byte) if byte == quote => break,
                Some(_) => {}
            }
        }
        self.after_quote = true;
        let raw = &self.text[start..self.at - 1];
        self.bounded(raw, true, line)
    }

    fn word(&mut self) -> Result<Token, Wrong> {
        let line = self.line;
        let start = self.at;
        let mut after_dollar = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' if after_dollar => {}
                b';' | b'{' => break,
                _ if byte.is_ascii_whitespace() => break,
                b'\\' => {
                    self.step();
                }
                _ => {}
            }
            after_dollar = byte == b'$';
            if self.step().is_none() {
                break;
            }
        }
        // A backslash may have been the last byte before a character of several.
        let mut end = self.at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        self.at = end;
        let raw = &self.text[start..end];
        self.bounded(raw, false, line)
    }

    fn bounded(&self, raw: &str, quoted: bool, line: usize) -> Result<Token, Wrong> {
        if raw.len() > WORD_MAX {
            return Err(Wrong {
                line,
                why: format!("a word of more than {WORD_MAX} bytes, is a quote or `;` missing?"),
            });
        }
        Ok(Token::Word {
            text: unescape(raw),
            quoted,
        })
    }

    /// The content of a block in another language, up to the `}` that closes it. Its strings and
    /// comments are Lua's, in which braces mean nothing.
    pub(crate) fn foreign_block(&mut self) -> Result<String, Wrong> {
        let line = self.line;
        let start = self.at;
        let mut depth = 0usize;
        loop {
            let open = || Wrong {
                line,
                why: "the block is not closed".to_owned(),
            };
            match self.peek().ok_or_else(open)? {
                b'{' => depth += 1,
                b'}' if depth == 0 => break,
                b'}' => depth -= 1,
                b'-' if self.text[self.at..].starts_with("--") => {
                    self.at += 2;
                    if !self.long_bracket() {
                        self.comment();
                    }
                    continue;
                }
                b'[' if self.long_bracket() => continue,
                quote @ (b'"' | b'\'') => {
                    self.step();
                    loop {
                        match self.step().ok_or_else(open)? {
                            b'\\' => {
                                self.step();
                            }
                            // An unfinished string ends with its line.
                            byte if byte == quote || byte == b'\n' => break,
                            _ => {}
                        }
                    }
                    continue;
                }
                _ => {}
            }
            self.step();
        }
        let content = self.text[start..self.at].to_owned();
        self.step();
        Ok(content)
    }

    /// Passes `[[…]]` or `[=[…]=]`, if that is what stands here.
    fn long_bracket(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(inner) = rest.strip_prefix('[') else {
            return false;
        };
        let level = inner.bytes().take_while(|b| *b == b'=').count();
        if !inner[level..].starts_with('[') {
            return false;
        }
        let close = format!("]{}]", "=".repeat(level));
        let length = match rest.find(&close) {
            Some(found) => found + close.len(),
            None => rest.len(),
        };
        self.line += rest[..length].matches('\n').count();
        self.at += length;
        true
    }
}

/// A backslash goes before a quote or another backslash; with `t`, `r` and `n` it is a control
/// character, and before everything else it stays (regular expressions need it).
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some(c @ ('"' | '\'' | '\\')) => out.push(c),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, Wrong> {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        let mut is_first = true;
        while let Some((token, _)) = lexer.next(is_first)? {
            is_first = !matches!(token, Token::Word { .. });
            out.push(match token {
                Token::Word { text, quoted: true } => format!("\"{text}\""),
                Token::Word { text, .. } => text,
                Token::Semicolon => ";".to_owned(),
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
            });
        }
        Ok(out)
    }

    #[test]
    fn what_a_word_is() {
        for (text, expected) in [
            ("listen 80;", &["listen", "80", ";"][..]),
            ("a{b c;}", &["a", "{", "b", "c", ";", "}"]),
            ("a # b\nc;", &["a", "c", ";"]),
            ("a b#c;", &["a", "b#c", ";"]),
            ("a ${b}c;", &["a", "${b}c", ";"]),
            ("a $b{", &["a", "$b", "{"]),
            ("a x}y;", &["a", "x}y", ";"]),
            (r#"a "b c" 'd;e';"#, &["a", "\"b c\"", "\"d;e\"", ";"]),
            (r#"a "b\"c";"#, &["a", "\"b\"c\"", ";"]),
            (r"a \.php$ b\;c;", &["a", r"\.php$", r"b\;c", ";"]),
            (r"a b\ c;", &["a", r"b\ c", ";"]),
            (r"a \\. x\tb;", &["a", r"\.", "x\tb", ";"]),
            ("a b\"c d;", &["a", "b\"c", "d", ";"]),
            ("if ($a = \"b\") {", &["if", "($a", "=", "\"b\"", ")", "{"]),
            ("~ ^/\\d{3}$", &["~", "^/\\d", "{", "3}$"]),
            ("\u{feff}a é;", &["a", "é", ";"]),
            ("a \\é;", &["a", "\\é", ";"]),
            ("a \"\";", &["a", "\"\"", ";"]),
        ] {
            assert_eq!(words(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_of_nginx() {
        for (text, line, why) in [
            ("a \"b", 1, "not closed"),
            ("a\n'b\nc", 2, "not closed"),
            ("a \"b\"c;", 1, "after a closing quote"),
            ("a }", 1, "`;` is missing"),
        ] {
            let wrong = words(text).expect_err(text);
            assert_eq!(wrong.line, line, "{text}");
            assert!(wrong.why.contains(why), "{}", wrong.why);
        }
        let long = format!("a {};", "x".repeat(WORD_MAX + 1));
        assert!(words(&long).is_err());
    }

    #[test]
    fn lua_is_passed_over() {
        let text =
            "if x then y = { 1, \"}\" } end -- }\n s = [[ } ]] --[[ } ]] t = [==[ ]] } ]==]\n} a;";
        let mut lexer = Lexer::new(text);
        let content = lexer.foreign_block().expect("closed");
        assert!(content.ends_with("]==]\n"), "{content}");
        assert_eq!(lexer.line(), 3);
        assert!(Lexer::new("{ } -- }").foreign_block().is_err());
    }
}
