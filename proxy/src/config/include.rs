//! `include`: which files belong to a configuration, and how their sections are joined.
//!
//! The texts stand one behind the other in one [`Source`](super::diagnostic::Source), and the values of a file
//! that is included carry spans of that text: whatever comes after knows nothing of files.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    context::{Context, Value},
    describe::{Key, Shape},
    diagnostic::{Complaint, shown},
    read::{Field, List, Scalar},
};
use crate::regular;

/// Files of one configuration: a shop has a dozen of them, and who has thousands names a folder that was not meant.
const FILES_MAX: usize = 256;
/// Largest file: ten thousand routes and their comments.
const FILE_MAX: u64 = 1 << 20;
/// All files together.
const BYTES_MAX: usize = 8 << 20;

/// The path of a file, in whose name `*` and `?` stand for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Scalar for Pattern {
    const WANTED: &'static str = "the path of a file to include, such as \"conf.d/*.toml\"";

    fn pattern() -> Option<String> {
        Some(r"\.toml$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let wild = |text: &str| text.contains(['*', '?']);
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        if text.starts_with("~/") {
            return Err(Complaint::new("`~` is not expanded").help("write `${HOME}` instead"));
        }
        if wild(folder) {
            return Err(Complaint::new(
                "`*` and `?` stand for letters of a file's name, not of a folder's",
            )
            .help("name each folder by itself"));
        }
        if text.contains('\0') || name.contains("**") || !name.ends_with(".toml") {
            return Err(
                Complaint::new(format!("{} names no file to include", shown(text))).help(
                    "the names of files that are included end in `.toml`, as in \"conf.d/*.toml\"",
                ),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl Pattern {
    fn is_wild(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// The folder, as written, in which files are looked for by a pattern.
    pub(super) fn folder(&self) -> Option<&str> {
        let (folder, _) = self.0.rsplit_once('/')?;
        (self.is_wild() && !folder.is_empty()).then_some(folder)
    }
}

/// Whether a file's name fits; hidden files do so only where the pattern names the dot.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut letter) = (0, 0);
    // Where the last `*` is, and how many letters it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while letter < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, letter));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[letter] => {
                at += 1;
                letter += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                (at, letter) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// What belongs to a configuration besides its own file.
#[derive(Debug, Default)]
pub(super) struct Included {
    files: Vec<Text>,
    /// Folders in which a new file may appear.
    pub(super) folders: Vec<PathBuf>,
}

#[derive(Debug)]
struct Text {
    path: PathBuf,
    text: String,
    /// Where it begins in the text of all files.
    start: usize,
}

impl Included {
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The texts of all files one after the other, where there are several; `name` is that of the first.
    pub(super) fn together(&self, name: &str, main: &str) -> Arc<str> {
        if self.files.is_empty() {
            return main.into();
        }
        let mut all = format!("# {name}\n{main}\n");
        for file in &self.files {
            all.push_str(&format!("# {}\n{}\n", file.path.display(), file.text));
        }
        all.into()
    }
}

/// Reads the files that `text`, which stands at `main`, includes, and puts them behind it.
pub(super) fn gather(text: &str, main: &Path, cx: &mut Context<'_>) -> Included {
    let (root, _) = DeTable::parse_recoverable(text);
    let said = cx.diagnostics.len();
    let patterns: Field<List<Pattern>> = Field::read(root.get_ref().get("include"), cx);
    // What is wrong with the key is told when all of the file is read.
    cx.diagnostics.truncate(said);

    let mut gathering = Gathering {
        main: identity(main),
        folder: cx.outside.folder.to_owned(),
        seen: Vec::new(),
        bytes: text.len(),
        included: Included::default(),
        complaints: Vec::new(),
    };
    for pattern in patterns.items() {
        gathering.pattern(pattern);
    }
    let Gathering {
        mut included,
        complaints,
        ..
    } = gathering;
    let mut source = (*cx.source).clone();
    for file in &mut included.files {
        let folder = file.path.parent().unwrap_or_else(|| Path::new(""));
        file.start = source.add(&file.path.display().to_string(), folder, &file.text);
    }
    cx.source = source.into();
    for (span, complaint) in complaints {
        cx.error(span, complaint);
    }
    included
}

/// What tells a file from others, whatever it is called.
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

struct Gathering {
    /// The file that includes.
    main: Option<PathBuf>,
    folder: PathBuf,
    seen: Vec<PathBuf>,
    bytes: usize,
    included: Included,
    complaints: Vec<(Range<usize>, Complaint)>,
}

impl Gathering {
    fn complain(&mut self, span: Range<usize>, complaint: impl Into<Complaint>) {
        self.complaints.push((span, complaint.into()));
    }

    fn pattern(&mut self, pattern: &Spanned<Pattern>) {
        let written = &pattern.get_ref().0;
        if !pattern.get_ref().is_wild() {
            return self.file(self.folder.join(written), pattern.span(), false);
        }
        let (below, name) = written.rsplit_once('/').unwrap_or(("", written));
        let folder = match (below, written.starts_with('/')) {
            ("", true) => PathBuf::from("/"),
            _ => self.folder.join(below),
        };
        if !self.included.folders.contains(&folder) {
            self.included.folders.push(folder.clone());
        }
        match matches(&folder, name) {
            Ok(names) => {
                for name in names {
                    self.file(folder.join(name), pattern.span(), true);
                }
            }
            // A folder that is not there yet has no files in it.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => self.complain(
                pattern.span(),
                format!("cannot read the folder {}: {why}", folder.display()),
            ),
        }
    }

    fn file(&mut self, path: PathBuf, span: Range<usize>, is_matched: bool) {
        let identity = identity(&path);
        if identity.is_some() && identity == self.main {
            if !is_matched {
                self.complain(span, "this file includes itself");
            }
            return;
        }
        if let Some(identity) = identity {
            // Named by two patterns, or by a link.
            if self.seen.contains(&identity) {
                return;
            }
            self.seen.push(identity);
        }
        if self.included.files.len() == FILES_MAX {
            let more = format!("more than {FILES_MAX} files would be included");
            if !self.complaints.iter().any(|(at, _)| *at == span) {
                self.complain(span, more);
            }
            return;
        }
        match read_regular(&path) {
            Ok(text) if self.bytes + text.len() > BYTES_MAX => self.complain(
                span,
                format!("with {} all files together exceed 8 MiB", path.display()),
            ),
            Ok(text) => {
                self.bytes += text.len();
                self.included.files.push(Text {
                    path,
                    text,
                    start: 0,
                });
            }
            Err(why) => {
                let complaint = match why.kind() {
                    io::ErrorKind::NotFound => {
                        Complaint::new(format!("there is no file {}", path.display()))
                    }
                    _ => Complaint::new(format!("cannot read {}: {why}", path.display())),
                };
                self.complain(span, complaint);
            }
        }
    }
}

/// Names in a folder that fit, in their order.
fn matches(folder: &Path, pattern: &str) -> io::Result<Vec<OsString>> {
    let here = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(here)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| fits(pattern, name)) {
            names.push(name);
        }
        // One more, so that it is noticed.
        if names.len() > FILES_MAX {
            break;
        }
    }
    names.sort();
    Ok(names)
}

/// The text of the file that is named to the program; it may be a pipe.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    text_of(File::open(path)?)
}

/// The text of a file that is included, or of one that is read again; a pipe or a device might never come to an end.
pub(super) fn read_regular(path: &Path) -> io::Result<String> {
    text_of(regular::open(path)?)
}

fn text_of(file: File) -> io::Result<String> {
    let mut text = String::new();
    let read = file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    match read as u64 > FILE_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(text),
    }
}

/// The TOML of all files as one table. What is no TOML is reported, and false is returned beside what is left
/// of it: the tables of intact files.
pub(super) fn joined<'t>(
    main: &'t str,
    included: &'t Included,
    keys: &[Key],
    cx: &mut Context<'_>,
) -> (Value<'t>, bool) {
    let (root, is_toml) = table(main, 0, cx);
    let span = root.span();
    let mut all = match is_toml {
        true => root.into_inner(),
        false => DeTable::new(),
    };
    let mut is_whole = is_toml;
    for file in &included.files {
        let (root, is_toml) = table(&file.text, file.start, cx);
        is_whole &= is_toml;
        if !is_toml {
            continue;
        }
        let mut table = shifted(root.into_inner(), file.start);
        if let Some((key, _)) = table.remove_entry("include") {
            cx.error(
                key.span(),
                Complaint::new("a file that is included cannot include others")
                    .help("name them in `include` of the first file"),
            );
        }
        join(&mut all, table, keys, "", cx);
    }
    (Value::new(span, DeValue::Table(all)), is_whole)
}

/// A file's table, and whether it is as it was meant.
fn table<'t>(text: &'t str, start: usize, cx: &mut Context<'_>) -> (Spanned<DeTable<'t>>, bool) {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let mut complaint = Complaint::new(error.message());
        let word = text.get(span.clone()).unwrap_or_default().trim();
        if error.message().starts_with("string values must be quoted") && !word.is_empty() {
            complaint = Complaint::new("a string needs quotes").help(format!("write \"{word}\""));
        }
        cx.error(span.start + start..span.end + start, complaint);
    }
    (root, errors.is_empty())
}

/// The same values, whose places are counted from further ahead.
fn shifted(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    let mut all = DeTable::new();
    for (key, value) in table {
        let key = Spanned::new(moved(key.span()), key.into_inner());
        all.insert(key, shifted_value(value, by));
    }
    all
}

fn shifted_value(value: Value<'_>, by: usize) -> Value<'_> {
    let span = value.span().start + by..value.span().end + by;
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|v| shifted_value(v, by)).collect())
        }
        DeValue::Table(table) => DeValue::Table(shifted(table, by)),
        scalar => scalar,
    };
    Spanned::new(span, value)
}

/// Adds the keys of one table to another: lists go on, tables of names are united, and everything else stands in
/// one file only.
fn join<'t>(
    all: &mut DeTable<'t>,
    more: DeTable<'t>,
    keys: &[Key],
    above: &str,
    cx: &mut Context<'_>,
) {
    for (key, value) in more {
        let name: &str = key.get_ref();
        let Some((first_key, first)) = all.remove_entry(name) else {
            all.insert(key, value);
            continue;
        };
        let path = match above {
            "" => key.get_ref().to_string(),
            above => format!("{above}.{}", key.get_ref()),
        };
        let shape = keys
            .iter()
            .find(|known| known.name == key.get_ref().as_ref())
            .map(|known| &known.shape);
        let span = first.span();
        let first = match (first.into_inner(), value.into_inner(), shape) {
            (
                DeValue::Array(mut items),
                DeValue::Array(others),
                Some(Shape::List(_) | Shape::OneOrMany(_)),
            ) => {
                for item in others {
                    items.push(item);
                }
                DeValue::Array(items)
            }
            (DeValue::Table(mut names), DeValue::Table(others), Some(Shape::Named(_))) => {
                join(&mut names, others, &[], &path, cx);
                DeValue::Table(names)
            }
            (DeValue::Table(mut table), DeValue::Table(other), Some(Shape::Section(section)))
                if has_names_only(&table, &section().keys)
                    || has_names_only(&other, &section().keys) =>
            {
                join(&mut table, other, &section().keys, &path, cx);
                DeValue::Table(table)
            }
            (first, second, shape) => {
                match shape.filter(|shape| !fits_shape(shape, &second)) {
                    Some(shape) => misplaced(shape, &path, key.span(), &first_key.span(), cx),
                    None => twice(&path, first_key.span(), key.span(), cx),
                }
                first
            }
        };
        all.insert(first_key, Spanned::new(span, first));
    }
}

/// Whether a section was written for the names in it alone, as by `[cache.policies.pages]`.
fn has_names_only(table: &DeTable<'_>, keys: &[Key]) -> bool {
    table.keys().all(|key| {
        let mut known = keys
            .iter()
            .filter(|known| known.name == key.get_ref().as_ref());
        known.any(|known| matches!(known.shape, Shape::Named(_)))
    })
}

fn fits_shape(shape: &Shape, value: &DeValue<'_>) -> bool {
    match shape {
        Shape::List(_) | Shape::OneOrMany(_) => matches!(value, DeValue::Array(_)),
        Shape::Named(_) | Shape::Section(_) => matches!(value, DeValue::Table(_)),
        _ => true,
    }
}

/// Something that could not be added, whatever stands in the other file.
fn misplaced(
    shape: &Shape,
    path: &str,
    here: Range<usize>,
    there: &Range<usize>,
    cx: &mut Context<'_>,
) {
    let (what, written) = match shape {
        Shape::List(_) | Shape::OneOrMany(_) => ("a list", format!("`[[{path}]]`, once for each")),
        Shape::Named(_) => ("a group of tables by name", format!("`[{path}.NAME]`")),
        _ => ("a table", format!("`[{path}]`")),
    };
    let other = cx.line(there);
    cx.error(
        here,
        Complaint::new(format!("{} is {what}, as in {other}", shown(path)))
            .help(format!("write {written}")),
    );
}

fn twice(path: &str, first: Range<usize>, second: Range<usize>, cx: &mut Context<'_>) {
    for (here, there) in [(&first, &second), (&second, &first)] {
        let other = cx.line(there);
        cx.error(
            here.clone(),
            Complaint::new(format!("{} is defined twice, also {other}", shown(path)))
                .help("keep one of them"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit() {
        for (pattern, name, expected) in [
            ("*.toml", "shop.toml", true),
            ("*.toml", ".toml", false),
            ("*.toml", ".shop.toml", false),
            (".*.toml", ".shop.toml", true),
            ("*.toml", "shop.toml~", false),
            ("*.toml", "shop.toml.swp", false),
            ("*.toml", "shop.toml.toml", true),
            ("?.toml", "a.toml", true),
            ("?.toml", "ab.toml", false),
            ("?.toml", "ঢ.toml", true),
            ("a*b*.toml", "axxbxx.toml", true),
            ("a*b*.toml", "axxcxx.toml", false),
            ("[a].toml", "a.toml", false),
            ("[a].toml", "[a].toml", true),
            ("10-*.toml", "10-shop.toml", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        // Many stars take no longer than few.
        assert!(!fits(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn patterns() {
        for text in [
            "a.toml",
            "conf.d/*.toml",
            "/etc/dhal/?.toml",
            "../x.toml",
            "*.toml",
        ] {
            assert!(Pattern::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "conf.d",
            "conf.d/",
            "conf.d/*",
            "*/a.toml",
            "conf.d/**.toml",
            "~/a.toml",
            "a.conf",
            "a\0.toml",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
