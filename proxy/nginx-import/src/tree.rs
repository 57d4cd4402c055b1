//! The directives of a configuration, with their places, and the files it includes.

use crate::lex::{Lexer, Token, Wrong};

/// Blocks within blocks: nginx itself knows six kinds.
const DEPTH_MAX: usize = 32;

/// Files that include files.
const INCLUDES_MAX: usize = 16;

/// Files in all; a host with a file for each of its thousand shops is within it.
const FILES_MAX: usize = 4_096;

/// Text in all.
const TEXT_MAX: usize = 32 << 20;

/// Directives in all: what includes multiply is bounded too.
const DIRECTIVES_MAX: usize = 500_000;

/// Words of one directive; lists of names and of MIME types are the longest.
const WORDS_MAX: usize = 4_096;

/// The files of a configuration.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in a few words.
    fn read(&self, path: &str) -> Result<String, String>;

    /// The files that match a pattern with `*`, `?` or `[`, in order; none where nothing matches.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Where a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index into [`Tree::files`].
    pub file: usize,
    /// From 1.
    pub line: usize,
}

/// A word after a directive's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Without its quotes.
    pub text: String,
    /// Whether it had quotes.
    pub quoted: bool,
}

/// A directive, with what it encloses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its number in the tree, from 0; an included file counts each time it is included.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// The words that follow.
    pub args: Vec<Arg>,
    /// Where it begins.
    pub at: Place,
    /// The directives of its block, where it has one.
    pub block: Option<Vec<Self>>,
}

impl Directive {
    /// A word by its number, from 0; empty where there are fewer.
    #[must_use]
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", |arg| &arg.text)
    }

    /// All words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|arg| arg.text.as_str())
    }

    /// The directives of its block; none where it has no block.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it was written, in one line, and without its block.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = self.name.clone();
        for arg in &self.args {
            out.push(' ');
            match arg.quoted {
                true => {
                    out.push('"');
                    out += &arg.text.replace('\\', "\\\\").replace('"', "\\\"");
                    out.push('"');
                }
                false => out += &arg.text,
            }
        }
        out += if self.block.is_some() {
            " { … }"
        } else {
            ";"
        };
        // A comment has one line.
        out.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

/// A configuration with all its files.
#[derive(Debug)]
pub struct Tree {
    /// The files, in the order in which they were first read; the first is the one asked for.
    pub files: Vec<String>,
    /// The directives outside all blocks.
    pub directives: Vec<Directive>,
    /// The number of directives.
    pub count: usize,
}

impl Tree {
    /// `nginx.conf:12`, with the file as it was named.
    #[must_use]
    pub fn place(&self, at: Place) -> String {
        let file = self.files.get(at.file).map_or("?", String::as_str);
        format!("{file}:{}", at.line)
    }

    /// All directives, blocks before what they enclose.
    pub fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Directive)) {
        fn walk<'a>(directives: &'a [Directive], f: &mut dyn FnMut(&'a Directive)) {
            for directive in directives {
                f(directive);
                walk(directive.children(), f);
            }
        }
        walk(&self.directives, f);
    }
}

/// Why a configuration cannot be read: `nginx.conf:12: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {why}")]
pub struct Error {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// Reads a configuration and everything it includes. Relative names start at the folder of `path`,
/// wherever the `include` stands, as with nginx.
///
/// # Errors
///
/// Where a file cannot be read, its text is not what nginx would take, or there is too much of it.
pub fn parse(files: &dyn Files, path: &str) -> Result<Tree, Error> {
    let prefix = path.rfind('/').map_or("", |slash| &path[..=slash]);
    let mut reader = Reader {
        files,
        prefix,
        names: Vec::new(),
        open: Vec::new(),
        bytes: 0,
        count: 0,
        read: 0,
    };
    let directives = reader.file(path, None)?;
    Ok(Tree {
        files: reader.names,
        directives,
        count: reader.count,
    })
}

struct Reader<'a> {
    files: &'a dyn Files,
    prefix: &'a str,
    names: Vec<String>,
    /// The files that are being read: one includes the next.
    open: Vec<String>,
    bytes: usize,
    count: usize,
    read: usize,
}

impl Reader<'_> {
    /// The directives of a file; `from`: who includes it.
    fn file(&mut self, path: &str, from: Option<Place>) -> Result<Vec<Directive>, Error> {
        let at = from.unwrap_or(Place { file: 0, line: 0 });
        let wrong = |reader: &Self, why: String| reader.error(at, why);
        if self.open.iter().any(|open| open == path) {
            return Err(wrong(self, format!("{path} includes itself")));
        }
        if self.open.len() >= INCLUDES_MAX {
            return Err(wrong(
                self,
                format!("more than {INCLUDES_MAX} files include one another"),
            ));
        }
        self.read += 1;
        if self.read > FILES_MAX {
            return Err(wrong(self, format!("more than {FILES_MAX} files")));
        }
        let text = self.files.read(path).map_err(|why| {
            if from.is_none() {
                return Error {
                    file: path.to_owned(),
                    line: 1,
                    why: format!("cannot be read: {why}"),
                };
            }
            wrong(self, format!("{path} cannot be read: {why}"))
        })?;
        self.bytes += text.len();
        if self.bytes > TEXT_MAX {
            return Err(wrong(self, format!("more than {} MiB", TEXT_MAX >> 20)));
        }
        let known = self.names.iter().position(|name| name == path);
        let index = known.unwrap_or_else(|| {
            self.names.push(path.to_owned());
            self.names.len() - 1
        });
        self.open.push(path.to_owned());
        let mut lexer = Lexer::new(&text);
        let directives = self.block(&mut lexer, index, 0)?;
        self.open.pop();
        Ok(directives)
    }

    fn error(&self, at: Place, why: impl Into<String>) -> Error {
        Error {
            file: self.names.get(at.file).cloned().unwrap_or_default(),
            line: at.line,
            why: why.into(),
        }
    }

    /// The directives up to the end of the block, or of the file where `depth` is 0.
    fn block(
        &mut self,
        lexer: &mut Lexer<'_>,
        file: usize,
        depth: usize,
    ) -> Result<Vec<Directive>, Error> {
        let opened = lexer.line();
        let mut out = Vec::new();
        loop {
            let place = |line| Place { file, line };
            let refuse = |reader: &Self, wrong: Wrong| reader.error(place(wrong.line), wrong.why);
            let (name, line) = match lexer.next(true).map_err(|wrong| refuse(self, wrong))? {
                None if depth == 0 => return Ok(out),
                None => {
                    return Err(self.error(
                        place(opened),
                        "the block that begins here is not closed: a `}` is missing",
                    ));
                }
                Some((Token::Close, _)) if depth > 0 => return Ok(out),
                Some((Token::Close, line)) => {
                    return Err(self.error(place(line), "unexpected `}`: no block is open"));
                }
                Some((Token::Semicolon, line)) => {
                    return Err(self.error(place(line), "unexpected `;`"));
                }
                Some((Token::Open, line)) => {
                    return Err(self.error(place(line), "unexpected `{`: a name is missing"));
                }
                Some((Token::Word { text, .. }, line)) => (text, line),
            };
            let at = place(line);
            let mut args = Vec::new();
            let has_block = loop {
                let token = lexer.next(false).map_err(|wrong| refuse(self, wrong))?;
                match token {
                    Some((Token::Word { text, quoted }, _)) => args.push(Arg { text, quoted }),
                    Some((Token::Semicolon, _)) => break false,
                    Some((Token::Open, _)) => break true,
                    Some((Token::Close, _)) | None => {
                        return Err(self.error(at, format!("`{name}` has no `;` at its end")));
                    }
                }
                if args.len() > WORDS_MAX {
                    return Err(self.error(
                        at,
                        format!("`{name}` has more than {WORDS_MAX} words, is a `;` missing?"),
                    ));
                }
            };
            if name == "include" && !has_block {
                self.include(&args, at, &mut out)?;
                continue;
            }
            let id = self.count;
            self.count += 1;
            if self.count > DIRECTIVES_MAX {
                return Err(self.error(at, format!("more than {DIRECTIVES_MAX} directives")));
            }
            let block = match has_block {
                false => None,
                true if name.ends_with("_by_lua_block") => {
                    lexer.foreign_block().map_err(|wrong| refuse(self, wrong))?;
                    Some(Vec::new())
                }
                true if depth + 1 > DEPTH_MAX => {
                    return Err(self.error(
                        at,
                        format!("more than {DEPTH_MAX} blocks within one another"),
                    ));
                }
                true => Some(self.block(lexer, file, depth + 1)?),
            };
            out.push(Directive {
                id,
                name,
                args,
                at,
                block,
            });
        }
    }

    fn include(&mut self, args: &[Arg], at: Place, out: &mut Vec<Directive>) -> Result<(), Error> {
        let [Arg { text, .. }] = args else {
            return Err(self.error(at, "`include` has one file or pattern"));
        };
        let path = match text.starts_with('/') {
            true => text.clone(),
            false => format!("{}{text}", self.prefix),
        };
        let paths = match path.contains(['*', '?', '[']) {
            true => self
                .files
                .matching(&path)
                .map_err(|why| self.error(at, why))?,
            false => vec![path],
        };
        for path in paths {
            out.extend(self.file(&path, Some(at))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Memory;

    fn parsed(text: &str) -> Result<Tree, Error> {
        parse(
            &Memory::of(&[("/etc/nginx/nginx.conf", text)]),
            "/etc/nginx/nginx.conf",
        )
    }

    #[test]
    fn blocks_and_places() {
        let tree = parsed("user www;\nhttp {\n  server { listen 80; }\n}\n").expect("right");
        let [user, http] = &tree.directives[..] else {
            panic!("{tree:?}");
        };
        assert_eq!((user.text().as_str(), user.at.line), ("user www;", 1));
        let listen = &http.children()[0].children()[0];
        assert_eq!(tree.place(listen.at), "/etc/nginx/nginx.conf:3");
        assert_eq!(tree.count, 4);
    }

    #[test]
    fn includes() {
        let files = Memory::of(&[
            (
                "/etc/nginx/nginx.conf",
                "http { include conf.d/*.conf; include none/*.x; }",
            ),
            (
                "/etc/nginx/conf.d/b.conf",
                "server { include snippets/tls; }",
            ),
            ("/etc/nginx/conf.d/a.conf", "gzip on;"),
            ("/etc/nginx/snippets/tls", "ssl on;\nbad"),
        ]);
        let error = parse(&files, "/etc/nginx/nginx.conf").expect_err("a `;` is missing");
        assert_eq!(
            error.to_string(),
            "/etc/nginx/snippets/tls:2: `bad` has no `;` at its end"
        );
        let files = Memory::of(&[("nginx.conf", "a;include x;\nb;"), ("x", "c;d{e;}")]);
        let tree = parse(&files, "nginx.conf").expect("right");
        let names: Vec<_> = tree.directives.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["a", "c", "d", "b"]);
        assert_eq!(tree.place(tree.directives[1].at), "x:1");
    }

    #[test]
    fn what_is_refused() {
        for (text, expected) in [
            ("a", "1: `a` has no `;`"),
            ("a;\n}", "2: unexpected `}`"),
            ("a {\nb;\n", "1: the block that begins here is not closed"),
            (";", "1: unexpected `;`"),
            ("a;\n\n{", "3: unexpected `{`"),
            ("include a b;", "1: `include` has one"),
            ("include missing;", "1: /etc/nginx/missing cannot be read"),
            ("include nginx.conf;", "includes itself"),
            ("a \"b", "1: the quote"),
        ] {
            let error = parsed(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = "a {".repeat(DEPTH_MAX + 1);
        assert!(
            parsed(&deep)
                .expect_err("deep")
                .why
                .contains("blocks within")
        );
        let lua = "content_by_lua_block { local t = { '}' } -- }\n }\na;";
        let tree = parsed(lua).expect("tolerated");
        assert_eq!((tree.directives.len(), tree.directives[1].at.line), (2, 3));
    }

    #[test]
    fn includes_do_not_multiply_without_end() {
        let mut texts = Vec::new();
        for level in 0..10 {
            let include = format!("include l{};", level + 1).repeat(30);
            texts.push((format!("l{level}"), include));
        }
        texts.push(("l10".to_owned(), "a;".to_owned()));
        let named: Vec<_> = texts
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect();
        let error = parse(&Memory::of(&named), "l0").expect_err("too many");
        assert!(error.why.contains("more than"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the text, there is a tree or an error with a line of the text.
        #[test]
        fn nothing_panics(text in "[ a-c;{}\"'\\\\$#\n)é]{0,60}") {
            match parsed(&text) {
                Ok(tree) => tree.each(&mut |d| assert!(!d.text().is_empty())),
                Err(error) => prop_assert!(error.line <= text.lines().count().max(1)),
            }
        }

        /// What is read and written is read as the same again.
        #[test]
        fn texts_are_read_again(words in prop::collection::vec("[a-z$\"'\\\\ ;{}#]{1,8}", 1..5)) {
            let quoted: Vec<_> = words
                .iter()
                .map(|w| format!("\"{}\"", w.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            let tree = parsed(&format!("name {};", quoted.join(" "))).expect("quoted");
            let read: Vec<_> = tree.directives[0].words().collect();
            prop_assert_eq!(&read, &words);
            let again = parsed(&tree.directives[0].text()).expect("its own text");
            prop_assert_eq!(&again.directives[0].args, &tree.directives[0].args);
        }
    }
}
