//! Changes of fields, of requests and of answers: which may be changed, and into what.

use http::{HeaderName, HeaderValue};
use toml::{Spanned, de::DeValue};

use super::{
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown},
    file,
    model::PathPattern,
    read::{Field, List, OneOrMany, Read, Scalar, choice},
    scalar::TOKEN,
};
use crate::{
    respond::dress::{Change, ChangeKind},
    route::{
        headers::RequestHeaders,
        template::{Known, Template},
    },
};

/// Longest value: a policy of what a page may load is long, and a head has 32 KiB.
const VALUE_MAX: usize = 8 * 1024;
/// Names in one table.
const NAMES_MAX: usize = 64;

/// About a connection, or about where a message ends (RFC 9110 §7.6.1, RFC 9112 §6).
const OF_THE_CONNECTION: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldName(pub(super) HeaderName);

impl Scalar for FieldName {
    const WANTED: &'static str = "the name of a field, such as \"x-frame-options\"";

    fn pattern() -> Option<String> {
        Some(format!("^{TOKEN}+$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        HeaderName::from_bytes(text.as_bytes())
            .map(Self)
            .map_err(|_| {
                Complaint::new(format!("{} is no name of a field", shown(text)))
                    .help("write a name such as \"x-frame-options\"")
            })
    }
}

/// A line of a field, or several.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: Spanned<HeaderName>,
    pub(super) values: Vec<Spanned<String>>,
}

/// Values by the names of fields, in the order of the file.
#[derive(Debug)]
pub(super) struct FieldTable(pub(super) Vec<Line>);

impl Read for FieldTable {
    fn shape() -> Shape {
        Shape::Named(Box::new(Shape::Either(vec![
            String::shape(),
            List::<String>::shape(),
        ])))
    }

    fn wanted() -> String {
        "a table of names of fields, each with its value".to_owned()
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            cx.wrong_type(value, &Self::wanted());
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        if let Some((name, _)) = entries.get(NAMES_MAX) {
            cx.error(name.span(), format!("there are at most {NAMES_MAX} fields"));
        }
        let mut lines: Vec<Line> = Vec::new();
        for (name, value) in entries {
            let FieldName(parsed) = match FieldName::parse(name.get_ref()) {
                Ok(parsed) => parsed,
                Err(complaint) => {
                    cx.error(name.span(), complaint);
                    continue;
                }
            };
            if lines.iter().any(|line| *line.name.get_ref() == parsed) {
                cx.error(
                    name.span(),
                    "this field is listed twice: case makes no difference",
                );
                continue;
            }
            let Some(OneOrMany(List { items, .. })) = OneOrMany::<String>::read(value, cx) else {
                continue;
            };
            lines.push(Line {
                name: Spanned::new(name.span(), parsed),
                values: items,
            });
        }
        Some(Self(lines))
    }
}

/// Which answers fields are changed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Always,
    Success,
}

impl Scalar for On {
    const WANTED: &'static str = "which answers, \"always\" or \"success\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("success", Self::Success)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What somebody wants of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Say,
    Remove,
}

/// Why a field of requests is not to be changed, and what to do instead.
fn objection_to_request(name: &str, wish: Wish) -> Option<(&'static str, Option<&'static str>)> {
    if OF_THE_CONNECTION.contains(&name) {
        return Some(("it is about the connection, and ours to say", None));
    }
    if name.starts_with("if-") || name == "range" {
        return Some(("by it the store asks for what it needs", None));
    }
    if name.contains('_') {
        return Some((
            "shops behind CGI or WSGI could take it for another, so it never goes along",
            Some("write `-` in the place of `_`"),
        ));
    }
    Some(match name {
        "host" => (
            "it has a key of its own",
            Some("write `upstream_host = \"upstream\"`, or a name"),
        ),
        "x-forwarded-for" | "x-request-id" | "via" | "traceparent" => (
            "Dhal writes it, and shops rely on it",
            Some("give what you want to say a name of its own"),
        ),
        "accept-encoding" if wish == Wish::Say => (
            "the store asks for plain content, and compresses it itself",
            Some("remove it from `set` and `add`; it may stand in `remove`"),
        ),
        _ => return None,
    })
}

/// The same for answers.
fn objection_to_response(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    if OF_THE_CONNECTION.contains(&name) {
        return Some(("it is about the connection, and ours to say", None));
    }
    Some(match name {
        "age" | "cache-status" | "date" | "via" | "x-request-id" | "ratelimit"
        | "ratelimit-policy" => ("Dhal writes it", None),
        "content-encoding" | "content-range" | "content-type" => (
            "it says what the content is, which does not change",
            Some("let the shop say it, or `content_type` of `respond`"),
        ),
        _ => return None,
    })
}

fn complain(
    name: &Spanned<HeaderName>,
    objection: Option<(&'static str, Option<&'static str>)>,
    cx: &mut Context<'_>,
) -> bool {
    let Some((why, help)) = objection else {
        return false;
    };
    let complaint = Complaint::new(format!(
        "{} cannot be changed: {why}",
        shown(name.get_ref().as_str())
    ));
    cx.error(
        name.span(),
        match help {
            Some(help) => complaint.help(help),
            None => complaint,
        },
    );
    true
}

/// Whether a text can be the value of a field (RFC 9110 §5.5); control characters and what is beyond ASCII cannot.
fn is_value(text: &Spanned<String>, cx: &mut Context<'_>) -> bool {
    let value = text.get_ref();
    let why = if value.len() > VALUE_MAX {
        format!("the value of a field has at most {VALUE_MAX} bytes")
    } else if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        "the value of a field has visible ASCII characters and spaces only".to_owned()
    } else if value.trim() != value {
        "the value of a field neither begins nor ends with a space".to_owned()
    } else {
        return true;
    };
    cx.error(text.span(), why);
    false
}

/// Names that two of the three tables have.
fn contradictions(
    set: &Field<FieldTable>,
    add: &Field<FieldTable>,
    remove: &Field<List<FieldName>>,
    cx: &mut Context<'_>,
) {
    let names = |table: &Field<FieldTable>| -> Vec<HeaderName> {
        let lines = table.value().map_or(&[][..], |table| &table.0);
        lines
            .iter()
            .map(|line| line.name.get_ref().clone())
            .collect()
    };
    let (set, add) = (names(set), names(add));
    let mut seen: Vec<&HeaderName> = Vec::new();
    for name in remove.items() {
        let wanted = &name.get_ref().0;
        if set.contains(wanted) || add.contains(wanted) {
            let complaint = Complaint::new(format!(
                "{} is removed and said as well",
                shown(wanted.as_str())
            ));
            cx.error(
                name.span(),
                complaint.help("`set` takes the place of what was said before"),
            );
        }
        if seen.contains(&wanted) {
            cx.error(name.span(), "this field is listed twice");
        }
        seen.push(wanted);
    }
}

/// `request_headers` of a route.
pub(super) fn request_headers(
    given: &Field<file::RequestHeaders>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> RequestHeaders {
    let Some(given) = given.value() else {
        return RequestHeaders::default();
    };
    let known = Known {
        path,
        regex: None,
        visitor: true,
    };
    contradictions(&given.set, &given.add, &given.remove, cx);
    let set = said(&given.set, &known, cx);
    let add = said(&given.add, &known, cx);
    let mut remove = Vec::new();
    for name in given.remove.items() {
        let FieldName(wanted) = name.get_ref();
        let spanned = Spanned::new(name.span(), wanted.clone());
        if !complain(
            &spanned,
            objection_to_request(wanted.as_str(), Wish::Remove),
            cx,
        ) {
            remove.push(wanted.clone());
        }
    }
    RequestHeaders::new(set, add, remove)
}

/// Values with placeholders.
fn said(
    table: &Field<FieldTable>,
    known: &Known<'_>,
    cx: &mut Context<'_>,
) -> Vec<(HeaderName, Template)> {
    let mut said = Vec::new();
    for Line { name, values } in table.value().map_or(&[][..], |table| &table.0) {
        let objection = objection_to_request(name.get_ref().as_str(), Wish::Say);
        if complain(name, objection, cx) {
            continue;
        }
        for text in values {
            if !is_value(text, cx) {
                continue;
            }
            match Template::parse(text.get_ref(), known) {
                Ok(template) => said.push((name.get_ref().clone(), template)),
                Err((why, help)) => {
                    let complaint = Complaint::new(why);
                    cx.error(
                        text.span(),
                        match help {
                            Some(help) => complaint.help(help),
                            None => complaint,
                        },
                    );
                }
            }
        }
    }
    said
}

/// `response_headers` of a route or of the server.
pub(super) fn response_headers(
    given: &Field<OneOrMany<file::ResponseHeaders>>,
    cx: &mut Context<'_>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let tables = given.value().map_or(&[][..], |list| &list.0.items);
    for table in tables.iter().map(Spanned::get_ref) {
        contradictions(&table.set, &table.add, &table.remove, cx);
        let on_success = table.on.value() == Some(&On::Success);
        for name in table.remove.items() {
            let FieldName(wanted) = name.get_ref();
            let spanned = Spanned::new(name.span(), wanted.clone());
            if !complain(&spanned, objection_to_response(wanted.as_str()), cx) {
                changes.push(Change {
                    name: wanted.clone(),
                    kind: ChangeKind::Remove,
                    on_success,
                });
            }
        }
        for (table, sets) in [(&table.set, true), (&table.add, false)] {
            for Line { name, values } in table.value().map_or(&[][..], |table| &table.0) {
                if complain(name, objection_to_response(name.get_ref().as_str()), cx) {
                    continue;
                }
                let values = constants(values, cx);
                changes.push(Change {
                    name: name.get_ref().clone(),
                    kind: match sets {
                        true => ChangeKind::Set(values),
                        false => ChangeKind::Add(values),
                    },
                    on_success,
                });
            }
        }
    }
    changes
}

/// Values that are the same for everybody: they lie ready for what the store answers.
fn constants(values: &[Spanned<String>], cx: &mut Context<'_>) -> Vec<HeaderValue> {
    let mut constants = Vec::new();
    for text in values {
        if !is_value(text, cx) {
            continue;
        }
        const PLACEHOLDERS: [&str; 7] = [
            "{host}",
            "{path}",
            "{query}",
            "{scheme}",
            "{rest}",
            "{client_ip}",
            "{request_id}",
        ];
        let value = text.get_ref();
        if let Some(name) = PLACEHOLDERS.iter().find(|name| value.contains(**name)) {
            cx.warning(
                text.span(),
                format!(
                    "`{name}` is sent as it stands here: what visitors get has no placeholders"
                ),
            );
        }
        constants.extend(HeaderValue::from_str(value).ok());
    }
    constants
}
