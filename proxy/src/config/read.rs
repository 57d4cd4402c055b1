//! Typed reading of a parsed file that reports every mistake and goes on.
//!
//! A derived deserialiser stops at the first mistake; these readers note it and leave a
//! [`Field::Wrong`] behind, so that nothing that follows from it is reported as well.

use std::{
    ops::{Range, RangeInclusive},
    path::Path,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown, suggest},
    secret,
    units::{self, ByteRate, Rate, Shown, Size},
};

/// Something that can be read from the file.
pub(super) trait Read: Sized {
    /// What is expected, for the message when something else stands there.
    fn wanted() -> String;

    /// What may stand there, for the schema and the reference page.
    fn shape() -> Shape;

    /// The value, or `None` once the reason is reported.
    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self>;
}

/// Something written as a string.
pub(super) trait Scalar: Sized + 'static {
    /// What is expected, with its article.
    const WANTED: &'static str;

    /// The words it may be, where there are only these.
    const CHOICES: &'static [(&'static str, Self)] = &[];

    /// An expression that every valid text matches, and few others, in what JSON Schema and Rust have in common.
    fn pattern() -> Option<String> {
        None
    }

    fn parse(text: &str) -> Result<Self, Complaint>;

    /// A path in it is relative to this folder.
    fn starting_at(self, _folder: &Path) -> Self {
        self
    }

    /// The text with its path made absolute.
    fn resolved(text: &str, _folder: &Path) -> String {
        text.to_owned()
    }
}

impl<T: Scalar> Read for T {
    fn wanted() -> String {
        Self::WANTED.to_owned()
    }

    fn shape() -> Shape {
        Shape::scalar::<T>()
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(value, Self::WANTED)?;
        match Self::parse(&text) {
            Ok(parsed) => Some(parsed.starting_at(cx.source.folder(value.span().start))),
            Err(complaint) => {
                let complaint = match secret::in_value(value.get_ref()) {
                    // It would repeat the value.
                    Some(name) => Complaint::new(format!(
                        "expected {}; the value of `${{{name}}}` is none, and not shown",
                        Self::WANTED
                    )),
                    None => complaint,
                };
                cx.error(value.span(), complaint);
                None
            }
        }
    }
}

impl Scalar for String {
    const WANTED: &'static str = "a string";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text.is_empty() {
            true => Err("an empty string means nothing here".into()),
            false => Ok(text.to_owned()),
        }
    }
}

impl Scalar for Duration {
    const WANTED: &'static str = "a duration with its unit, such as \"10s\"";

    fn pattern() -> Option<String> {
        Some(units::duration_pattern())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        units::duration(text)
    }
}

impl Scalar for Size {
    const WANTED: &'static str = "a size with its unit, such as \"512MiB\"";

    fn pattern() -> Option<String> {
        Some(units::size_pattern())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        units::size(text)
    }
}

impl Scalar for ByteRate {
    const WANTED: &'static str = "a rate of bytes, such as \"240B/s\"";

    fn pattern() -> Option<String> {
        Some(units::byte_rate_pattern())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        units::byte_rate(text)
    }
}

impl Scalar for Rate {
    const WANTED: &'static str = "a rate with its period, such as \"50/s\"";

    fn pattern() -> Option<String> {
        Some(units::rate_pattern())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        units::rate(text)
    }
}

/// One of several words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Complaint> {
    match choices.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(Complaint::new(format!("{} is no choice here", shown(text)))
            .help(suggest(text, choices.iter().map(|(word, _)| *word)))),
    }
}

impl Read for u64 {
    fn wanted() -> String {
        "a whole number".to_owned()
    }

    fn shape() -> Shape {
        Shape::Whole
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let wanted = Self::wanted();
        let parsed = match (cx.expanded(value, &wanted)?, value.get_ref()) {
            (Some(text), _) => text.parse().ok(),
            (None, DeValue::Integer(number)) => {
                let digits = number.as_str();
                let digits = digits.strip_prefix('+').unwrap_or(digits);
                Self::from_str_radix(digits, number.radix()).ok()
            }
            _ => {
                cx.wrong_type(value, &wanted);
                return None;
            }
        };
        if parsed.is_none() {
            cx.error(
                value.span(),
                "expected a whole number that is not negative and fits 64 bits",
            );
        }
        parsed
    }
}

impl Read for bool {
    fn wanted() -> String {
        "`true` or `false`".to_owned()
    }

    fn shape() -> Shape {
        Shape::Bool
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let wanted = Self::wanted();
        let text = cx.expanded(value, &wanted)?;
        match (text.as_deref(), value.get_ref()) {
            (Some("true"), _) => Some(true),
            (Some("false"), _) => Some(false),
            (None, DeValue::Boolean(value)) => Some(*value),
            _ => {
                cx.wrong_type(value, &wanted);
                None
            }
        }
    }
}

/// A list; items that could not be read are left out, `written` counts them too.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<Spanned<T>>,
    pub(super) written: usize,
}

impl<T: Read> List<T> {
    fn of<'v, 'i: 'v>(values: impl Iterator<Item = &'v Value<'i>>, cx: &mut Context<'_>) -> Self {
        let mut written = 0;
        let items = values
            .inspect(|_| written += 1)
            .filter_map(|value| Some(Spanned::new(value.span(), T::read(value, cx)?)))
            .collect();
        Self { items, written }
    }
}

impl<T: Read> Read for List<T> {
    fn wanted() -> String {
        format!("a list, each item {}", T::wanted())
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(values) => Some(Self::of(values.iter(), cx)),
            DeValue::String(_) => {
                let help = format!("write [{}]", cx.source.slice(value.span()));
                cx.error(
                    value.span(),
                    Complaint::new(format!("expected {}, found a string", Self::wanted()))
                        .help(help),
                );
                None
            }
            _ => {
                cx.wrong_type(value, &Self::wanted());
                None
            }
        }
    }
}

/// A list, or its only item alone.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub(super) List<T>);

impl<T: Read> Read for OneOrMany<T> {
    fn wanted() -> String {
        format!("{}, or a list of them", T::wanted())
    }

    fn shape() -> Shape {
        Shape::OneOrMany(Box::new(T::shape()))
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(_) => List::read(value, cx).map(Self),
            _ => Some(Self(List::of(std::iter::once(value), cx))),
        }
    }
}

/// Longest name of an upstream, policy or limit: it becomes a label of every metric.
pub(super) const NAME_MAX: usize = 64;

/// `[upstreams.NAME]`: tables by name, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(Spanned<String>, Field<T>)>);

impl<T: Read> Read for Named<T> {
    fn wanted() -> String {
        format!("a table of names, each with {}", T::wanted())
    }

    fn shape() -> Shape {
        Shape::Named(Box::new(T::shape()))
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            cx.wrong_type(value, &Self::wanted());
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut named = Vec::new();
        for (name, value) in entries {
            let text = name.get_ref();
            if !matches!(value.get_ref(), DeValue::Table(_)) {
                cx.error(
                    name.span(),
                    Complaint::new(format!(
                        "expected a name with a table, found the key {}",
                        shown(text)
                    ))
                    .help("the name belongs into the header, as in `[upstreams.shop]`"),
                );
                continue;
            }
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
            if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(plain) {
                cx.error(
                    name.span(),
                    format!("a name has 1 to {NAME_MAX} letters, digits, `_`, `-` or `.`"),
                );
            }
            let name = Spanned::new(name.span(), text.to_string());
            named.push((name, Field::read(Some(value), cx)));
        }
        match named.is_empty() && !table.is_empty() {
            true => None,
            false => Some(Self(named)),
        }
    }
}

/// What stands at a key.
#[derive(Debug)]
pub(super) enum Field<T> {
    /// Nothing.
    Absent,
    /// Something unusable, already reported.
    Wrong,
    /// A value.
    Given(Spanned<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(Spanned::get_ref)
    }

    /// The value; its absence is an error at `section`.
    pub(super) fn require(
        &self,
        key: &str,
        section: Range<usize>,
        cx: &mut Context<'_>,
    ) -> Option<&Spanned<T>> {
        if matches!(self, Self::Absent) {
            cx.error(section, format!("`{key}` is missing"));
        }
        self.given()
    }
}

impl<T: Read> Field<T> {
    pub(super) fn read(value: Option<&Value<'_>>, cx: &mut Context<'_>) -> Self {
        match value {
            None => Self::Absent,
            Some(value) => match T::read(value, cx) {
                Some(read) => Self::Given(Spanned::new(value.span(), read)),
                None => Self::Wrong,
            },
        }
    }
}

impl<T: Shown + PartialOrd> Field<T> {
    /// Reports a value that lies beyond its bounds.
    pub(super) fn within(
        self,
        key: &str,
        bounds: &RangeInclusive<T>,
        cx: &mut Context<'_>,
    ) -> Self {
        match self {
            Self::Given(given) if !bounds.contains(given.get_ref()) => {
                let (least, most) = (bounds.start().shown(), bounds.end().shown());
                cx.error(
                    given.span(),
                    format!("`{key}` must lie between {least} and {most}"),
                );
                Self::Wrong
            }
            field => field,
        }
    }
}

impl<T> Field<List<T>> {
    /// The items; none where the list is absent or unusable.
    pub(super) fn items(&self) -> &[Spanned<T>] {
        self.value().map_or(&[], |list| &list.items)
    }
}

impl<T> Field<Named<T>> {
    /// The entries; none where the table is absent or unusable.
    pub(super) fn entries(&self) -> &[(Spanned<String>, Field<T>)] {
        self.value().map_or(&[], |named| &named.0)
    }
}

/// A value that always exists: the one given, within bounds, or the default.
#[derive(Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    /// Where it is given.
    pub(super) span: Option<Range<usize>>,
}

impl<T: Read + Shown + PartialOrd> Setting<T> {
    pub(super) fn read(
        key: &str,
        value: Option<&Value<'_>>,
        default: T,
        bounds: RangeInclusive<T>,
        cx: &mut Context<'_>,
    ) -> Self {
        match Field::<T>::read(value, cx) {
            Field::Given(given) if bounds.contains(given.get_ref()) => Self {
                span: Some(given.span()),
                value: given.into_inner(),
            },
            Field::Given(given) => {
                let (least, most) = (bounds.start().shown(), bounds.end().shown());
                cx.error(
                    given.span(),
                    format!("`{key}` must lie between {least} and {most}"),
                );
                Self {
                    value: default,
                    span: None,
                }
            }
            Field::Absent | Field::Wrong => Self {
                value: default,
                span: None,
            },
        }
    }
}

/// The table behind a section; reports keys it does not know.
pub(super) fn table<'v, 'i>(
    value: &'v Value<'i>,
    section: &str,
    keys: &[&str],
    cx: &mut Context<'_>,
) -> Option<&'v DeTable<'i>> {
    let DeValue::Table(table) = value.get_ref() else {
        cx.wrong_type(value, "a table");
        return None;
    };
    for key in table.keys() {
        if !keys.contains(&key.get_ref().as_ref()) {
            let complaint =
                Complaint::new(format!("unknown key {} in {section}", shown(key.get_ref())))
                    .help(suggest(key.get_ref(), keys.iter().copied()));
            cx.error(key.span(), complaint);
        }
    }
    Some(table)
}

/// Declares a section of the file: its keys once, with purpose, type, default and bounds.
///
/// `key: Type;` becomes a [`Field`]; `key: Type = default, least..=most;` becomes a [`Setting`].
/// Marks may follow, `key: Type, required, within(least..=most);`:
///
/// - `required`: who compiles the section asks for the key with [`Field::require`];
/// - `within(least..=most)`: a value beyond that is an error;
/// - `or(value)`: what an absent key means, for the reference and whoever prints the configuration;
/// - `empty`: that is the same as an empty list or table;
/// - `computed(value)`: it depends on other keys, `effective/computed.rs` puts it in the place of this value;
/// - `only([a, b])`: the whole numbers that are meant, for the reference.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident is $section:literal {
            $(
                $(#[doc = $doc:literal])*
                $key:ident: $kind:ty $(= $default:expr, $bounds:expr)? $(, $mark:ident $(($($of:tt)*))?)*;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(in crate::config) struct $name {
            $($(#[doc = $doc])* pub(in crate::config) $key: section!(@type $kind $(, $default)?),)*
        }

        impl crate::config::read::Read for $name {
            fn wanted() -> String {
                "a table".to_owned()
            }

            fn shape() -> crate::config::describe::Shape {
                crate::config::describe::Shape::Section(Self::describe)
            }

            fn read(
                value: &crate::config::context::Value<'_>,
                cx: &mut crate::config::context::Context<'_>,
            ) -> Option<Self> {
                let keys = [$(stringify!($key)),*];
                let table = crate::config::read::table(value, $section, &keys, cx)?;
                Some(Self::keys(table, cx))
            }
        }

        impl $name {
            fn keys(
                table: &toml::de::DeTable<'_>,
                cx: &mut crate::config::context::Context<'_>,
            ) -> Self {
                Self {
                    $($key: section!(
                        @read table, cx, $key [$($default, $bounds)?] [$(($mark $($($of)*)?))*]
                    ),)*
                }
            }

            /// The section as if it were written without a key.
            #[allow(dead_code, reason = "only optional sections with defaults need it")]
            pub(in crate::config) fn empty(cx: &mut crate::config::context::Context<'_>) -> Self {
                Self::keys(&toml::de::DeTable::new(), cx)
            }

            /// The section for those who want to know what can be written there.
            pub(in crate::config) fn describe() -> crate::config::describe::Section {
                crate::config::describe::Section {
                    keys: vec![$(
                        crate::config::describe::Key::new(
                            stringify!($key),
                            &[$($doc),*],
                            <$kind as crate::config::read::Read>::shape(),
                        )
                            $(.setting($default, $bounds))?
                            $(.$mark($($($of)*)?))*
                    ),*],
                }
            }
        }
    };
    (@type $kind:ty) => { crate::config::read::Field<$kind> };
    (@type $kind:ty, $default:expr) => { crate::config::read::Setting<$kind> };
    (@read $table:ident, $cx:ident, $key:ident [] []) => {
        crate::config::read::Field::read($table.get(stringify!($key)), $cx)
    };
    (@read $table:ident, $cx:ident, $key:ident [] [(within $bounds:expr) $($marks:tt)*]) => {
        section!(@read $table, $cx, $key [] [$($marks)*])
            .within(stringify!($key), &$bounds, $cx)
    };
    (@read $table:ident, $cx:ident, $key:ident [] [($($mark:tt)*) $($marks:tt)*]) => {
        section!(@read $table, $cx, $key [] [$($marks)*])
    };
    (@read $table:ident, $cx:ident, $key:ident [$default:expr, $bounds:expr] [$($marks:tt)*]) => {
        crate::config::read::Setting::read(
            stringify!($key),
            $table.get(stringify!($key)),
            $default,
            $bounds,
            $cx,
        )
    };
}

pub(super) use section;
