//! `respond`: an answer that is the same for everybody.

use http::HeaderValue;
use toml::Spanned;

use super::span;
use crate::{
    config::{
        context::Context,
        diagnostic::{Complaint, shown},
        file,
        model::Respond,
        read::Field,
        units::Size,
    },
    route::action::FixedBody,
};

/// Longest content that stands in the configuration itself.
const BODY_MAX: Size = Size(64 * 1024);

pub(super) fn respond(given: &Spanned<file::Respond>, cx: &mut Context<'_>) -> Option<Respond> {
    let respond = given.get_ref();
    let status = respond.status.value;
    let status_place = || respond.status.span.clone().unwrap_or_else(|| given.span());
    let help = match status {
        206 | 304 | 416 => Some("it answers a range or a condition, and this answer has none"),
        300..=399 => Some("write `redirect = { to = …, status = … }`"),
        _ => None,
    };
    if let Some(help) = help {
        let complaint = Complaint::new(format!("{status} cannot be the answer to everything"));
        cx.error(status_place(), complaint.help(help));
    }
    let has_content = !matches!(status, 204 | 205);
    if let (false, Some(place)) = (
        has_content,
        span(&respond.body).or_else(|| span(&respond.body_file)),
    ) {
        cx.error(
            place,
            format!("an answer with status {status} has no content"),
        );
    }
    let body = match (&respond.body, &respond.body_file) {
        (Field::Given(_), Field::Given(file)) => {
            cx.error(file.span(), "`body` and `body_file` are both given");
            return None;
        }
        (Field::Wrong, _) | (_, Field::Wrong) => return None,
        (Field::Given(text), Field::Absent) => {
            if text.get_ref().len() as u64 > BODY_MAX.0 {
                cx.error(
                    text.span(),
                    Complaint::new("`body` has more than 64 KiB")
                        .help("put it into a file, and name that as `body_file`"),
                );
            }
            FixedBody::Inline(text.get_ref().clone())
        }
        (Field::Absent, Field::Given(file)) => FixedBody::File(cx.path(file.get_ref())),
        (Field::Absent, Field::Absent) => FixedBody::Absent,
    };
    let content_type = match (&respond.content_type, &body) {
        (Field::Wrong, _) => return None,
        (Field::Given(given), FixedBody::Absent) => {
            cx.error(
                given.span(),
                "`content_type` does nothing: there is no content",
            );
            HeaderValue::from_static("text/plain; charset=utf-8")
        }
        (Field::Given(given), _) => match content_type(given.get_ref()) {
            Some(value) => value,
            None => {
                let complaint = format!("{} is no type of content", shown(given.get_ref()));
                cx.error(
                    given.span(),
                    Complaint::new(complaint)
                        .help("write one such as \"text/html; charset=utf-8\""),
                );
                return None;
            }
        },
        (Field::Absent, body) => HeaderValue::from_static(type_of(body)),
    };
    Some(Respond {
        status: u16::try_from(status).ok()?,
        body,
        content_type,
    })
}

pub(in crate::config) fn content_type(text: &str) -> Option<HeaderValue> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !text.is_empty() && text.bytes().all(plain)
    };
    let (kind, sub) = essence.split_once('/')?;
    let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    (token(kind) && token(sub) && visible && text.trim() == text)
        .then(|| HeaderValue::from_str(text).ok())?
}

/// What the name of a file says of its content.
fn type_of(body: &FixedBody) -> &'static str {
    let FixedBody::File(path) = body else {
        return "text/plain; charset=utf-8";
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
}
