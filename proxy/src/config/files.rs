//! `files` of a route.

use std::collections::BTreeMap;

use http_caching::Coding;
use toml::{Spanned, de::DeValue};

use super::{
    actions::content_type,
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown},
    file,
    model::PathPattern,
    read::{Field, Read, Scalar, choice},
};
use crate::files::{
    Below, Fallback, Rules,
    beneath::Symlinks,
    path::Name,
    types::{LONGEST, Types},
};

/// Types that a configuration names at most.
const TYPES_MAX: usize = 512;
/// Files that may stand for a folder: each is looked for in turn.
const INDEX_MAX: usize = 16;

/// The name of a file, without a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName(String);

impl Scalar for FileName {
    const WANTED: &'static str = "the name of a file such as \"index.html\"";

    fn pattern() -> Option<String> {
        Some("^[^/]+$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "" | "." | ".." => Err(format!("expected {}", Self::WANTED).into()),
            text if text.contains(['/', '\0']) => Err(Complaint::new(format!(
                "{} is no name of a file: it lies in the folder itself",
                shown(text)
            ))),
            text => Ok(Self(text.to_owned())),
        }
    }
}

/// What answers where there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FallbackName {
    NotFound,
    Upstream,
    File(String),
}

impl Scalar for FallbackName {
    const WANTED: &'static str = "\"404\", \"upstream\" or a file such as \"/index.html\"";

    fn pattern() -> Option<String> {
        Some("^(404|upstream|/.+)$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "404" => Ok(Self::NotFound),
            "upstream" => Ok(Self::Upstream),
            text if text.starts_with('/') => match Name::of(text, 0, true) {
                Some(name) if !name.is_folder => Ok(Self::File(text.to_owned())),
                _ => Err(format!("{} is no file beneath the folder", shown(text)).into()),
            },
            text => Err(Complaint::new(format!("{} is no fallback", shown(text)))
                .help(format!("write {}", Self::WANTED))),
        }
    }
}

/// A form that lies beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodingName(Coding);

impl Scalar for CodingName {
    const WANTED: &'static str = "a coding, \"br\", \"zstd\" or \"gzip\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("br", Self(Coding::Brotli)),
        ("zstd", Self(Coding::Zstd)),
        ("gzip", Self(Coding::Gzip)),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SymlinksName(Symlinks);

impl Scalar for SymlinksName {
    const WANTED: &'static str = "which links are followed, \"none\", \"within\" or \"all\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("none", Self(Symlinks::None)),
        ("within", Self(Symlinks::Within)),
        ("all", Self(Symlinks::All)),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What texts are written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CharsetName(Option<String>);

impl Scalar for CharsetName {
    const WANTED: &'static str = "a charset such as \"utf-8\", or \"none\"";

    fn pattern() -> Option<String> {
        Some("^[A-Za-z0-9._-]{1,40}$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        match text {
            "none" => Ok(Self(None)),
            text if (1..=40).contains(&text.len()) && text.bytes().all(plain) => {
                Ok(Self(Some(text.to_owned())))
            }
            text => Err(format!("{} is no charset", shown(text)).into()),
        }
    }
}

/// A type of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeName(String);

impl Scalar for TypeName {
    const WANTED: &'static str = "a type of content such as \"text/html\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match content_type(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(
                Complaint::new(format!("{} is no type of content", shown(text)))
                    .help("write one such as \"text/html\""),
            ),
        }
    }
}

/// Types by the ends of names.
#[derive(Debug)]
pub(super) struct TypeTable(BTreeMap<String, String>);

impl Read for TypeTable {
    fn shape() -> Shape {
        Shape::Named(Box::new(TypeName::shape()))
    }

    fn wanted() -> String {
        "a table of ends of names, each with its type".to_owned()
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            cx.wrong_type(value, &Self::wanted());
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        if let Some((name, _)) = entries.get(TYPES_MAX) {
            cx.error(name.span(), format!("there are at most {TYPES_MAX} types"));
        }
        let mut types = BTreeMap::new();
        for (name, value) in entries {
            let end = name.get_ref().as_ref();
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-+".contains(&b);
            if end.is_empty() || end.len() > LONGEST || !end.bytes().all(plain) {
                cx.error(
                    name.span(),
                    Complaint::new(format!("{} is no end of a name", shown(end)))
                        .help("write what follows the last dot, in lower case, such as `css`"),
                );
                continue;
            }
            if let Some(TypeName(kind)) = TypeName::read(value, cx) {
                types.insert(end.to_owned(), kind);
            }
        }
        Some(Self(types))
    }
}

/// What becomes of `files`. `upstream` is the one that the route names, where that is known.
pub(super) fn files(
    given: &Spanned<file::Files>,
    route: &file::Route,
    upstream: Option<usize>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Rules> {
    let files = given.get_ref();
    let place = match (&files.root, &files.alias) {
        (Field::Given(_), Field::Given(alias)) => {
            cx.error(
                alias.span(),
                Complaint::new("`root` and `alias` are both given").help(
                    "`root` is for the whole path, `alias` for what follows the route's `path`",
                ),
            );
            None
        }
        (Field::Absent, Field::Absent) => {
            cx.error(
                given.span(),
                Complaint::new("`root` is missing").help("name the folder that the files are in"),
            );
            None
        }
        (Field::Given(root), _) => Some((cx.path(&root.get_ref().0), Below::Path)),
        (_, Field::Given(alias)) => aliased(alias, path, cx),
        _ => None,
    };
    let index = files.index.given().map(|index| &index.get_ref().0);
    if let Some(one) = index.and_then(|index| index.items.get(INDEX_MAX)) {
        cx.error(one.span(), format!("there are at most {INDEX_MAX}"));
    }
    let index = match index {
        Some(index) => (index.items.iter().map(|name| name.get_ref().0.clone())).collect(),
        None => vec!["index.html".to_owned()],
    };
    let fallback = fallback(&files.fallback, route, upstream, cx);
    let mut precompressed = Vec::new();
    for coding in files.precompressed.items() {
        let known = coding.get_ref().0;
        if precompressed.contains(&known) {
            cx.error(coding.span(), "this coding is listed twice");
        }
        precompressed.push(known);
    }
    let (folder, below) = place?;
    Some(Rules {
        folder,
        below,
        index,
        fallback: fallback?,
        expires: files.expires.value().copied(),
        recheck: files.recheck.value,
        precompressed,
        hidden: files.hidden.value().copied().unwrap_or(false),
        symlinks: files.symlinks.value().map_or(Symlinks::Within, |s| s.0),
        types: Types {
            own: files.types.value().map(|t| t.0.clone()).unwrap_or_default(),
            default: files
                .default_type
                .value()
                .map_or_else(|| Types::default().default, |kind| kind.0.clone()),
            charset: files
                .charset
                .value()
                .map_or_else(|| Types::default().charset, |charset| charset.0.clone()),
        },
    })
}

/// A folder in the place of the route's path, or a file where that is a whole one.
fn aliased(
    alias: &Spanned<super::scalar::FolderPath>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<(std::path::PathBuf, Below)> {
    let folder = cx.path(&alias.get_ref().0);
    match path {
        PathPattern::Prefix(prefix) => Some((folder, Below::Rest(prefix.len()))),
        PathPattern::Exact(_) => {
            let name = folder.file_name().and_then(|name| name.to_str());
            match (folder.parent(), name) {
                (Some(parent), Some(name)) => {
                    Some((parent.to_owned(), Below::File(name.to_owned())))
                }
                _ => {
                    cx.error(alias.span(), "of a whole path, `alias` is a file");
                    None
                }
            }
        }
        PathPattern::Segments(_) | PathPattern::Regex(_) => {
            cx.error(
                alias.span(),
                Complaint::new(
                    "`alias` needs a plain `path`: one that ends in `*`, or a whole one",
                )
                .help("write `root`, and `rewrite` for another path below it"),
            );
            None
        }
    }
}

fn fallback(
    given: &Field<FallbackName>,
    route: &file::Route,
    upstream: Option<usize>,
    cx: &mut Context<'_>,
) -> Option<Fallback> {
    let named = route.upstream.given().map(Spanned::span);
    let wanted = match given {
        Field::Absent => &FallbackName::NotFound,
        Field::Wrong => return None,
        Field::Given(given) => given.get_ref(),
    };
    match (wanted, named) {
        (FallbackName::Upstream, None) if matches!(route.upstream, Field::Absent) => {
            let place = given.given().map(Spanned::span).unwrap_or_default();
            let complaint = Complaint::new("there is no upstream to fall back to");
            cx.error(place, complaint.help("name one: `upstream = \"…\"`"));
            None
        }
        (FallbackName::Upstream, _) => upstream.map(Fallback::Upstream),
        (_, Some(place)) => {
            cx.error(
                place,
                Complaint::new("`upstream` does nothing: files answer all of this route")
                    .help("write `fallback = \"upstream\"` in `files`"),
            );
            None
        }
        (FallbackName::NotFound, None) => Some(Fallback::NotFound),
        (FallbackName::File(path), None) => Some(Fallback::File(path.clone())),
    }
}
